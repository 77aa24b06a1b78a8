//! Evaluating a classifier without and under attack.

use serde_json::json;
use std::collections::BTreeSet;
use web_time::Instant;

use super::checks;
use super::error::EvaluationError;
use super::exhibits::{Exhibit, exhibits};
use super::result::{EvaluationResult, Ran, Setting, readable};
use super::run::{Conduct, Engine, Journal, Passes, Plan, Run, Shard, check_data, images_identity};
use crate::attack::Attack;
use crate::classifier::{Frozen, FrozenFeatures};
use crate::data::LabeledImages;
use crate::parameter::{self, Parameter};
use crate::pixels::Budget;

/// Classifies every image, attacks those that are right, and judges the result.
///
/// The attacks are untargeted and run only on images that are classified correctly; the others stay as they
/// are and stay wrong. Every result is held to its budget here: what leaves the ball or \[0,1\] is projected
/// back and counted. An adversarial image with a NaN logit counts as wrong. An attack that looks for the
/// smallest perturbation without a limit runs once and is judged with every budget by what it found; with one
/// it runs with every budget as its limit.
///
/// [`run`](Self::run) gives one result: each attack and the worst case of all, slides, intervals, costs and
/// [checks](super::Check) of the evaluation itself. How it goes about the work (batches, progress, resuming)
/// is set by [`Run`]; results do not depend on it, nor on the number of threads, as far as the classifier
/// itself treats images independently.
///
/// A [semantic](crate::attack::Aim::Semantic) attack, such as [`Stain`](crate::attack::Stain), is bounded by
/// the range of its parameters and by no norm: it runs once on every image that is right, is held to \[0,1\]
/// and to finite values, and has a result of its own (`semantic`), which no worst case, sweep over budgets or
/// check counts.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | attacks | none: only clean metrics | away from the true class |
/// | budgets | each attack's own | a finite number of at least 0, in an attack's norm |
/// | only survivors | no: every attack on every image that is right | |
/// | seed | 0 | of the bootstrap |
/// | resamples | 2000 | at least 1 |
/// | check images | 16 | 0 for no checks that need further attacks |
/// | features | none: no binarization test | as many classes as the classifier |
///
/// ```
/// use histoguard::data::TensorSet;
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// // "bright" above one half.
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let images = Tensor::<1>::from_floats([0.2, 0.45, 0.6, 0.9], &device).reshape([4, 1, 1, 1]);
/// let data = TensorSet::new(images, vec![0, 0, 1, 1], vec!["dark".into(), "bright".into()])?;
///
/// let [near, far] = [0.07, 0.2].map(|size| Budget::linf(Epsilon::unit(size)));
/// let result = Evaluation::new(&victim)
///     .attack(Fgsm::new(near))
///     .attack(Fgsm::new(Budget::l2(0.1)))
///     .budgets([near, far])
///     .run(&data)?;
/// assert_eq!(result.clean.metrics.accuracy.hits, 4);
/// assert_eq!(result.attacks[0].label, "FGSM Linf");
/// assert_eq!(result.attacks[0].at(near).unwrap().metrics.accuracy.hits, 3);
/// assert_eq!(result.worst_case(Norm::Linf).unwrap().sweep[1].metrics.accuracy.hits, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Evaluation<'a> {
    victim: &'a Frozen,
    attacks: Vec<Box<dyn Attack>>,
    budgets: Vec<Budget>,
    only_survivors: bool,
    seed: u64,
    resamples: usize,
    check_images: usize,
    training_groups: Option<BTreeSet<String>>,
    features: Option<&'a FrozenFeatures>,
    conduct: Conduct<'a>,
}

impl<'a> Run<'a> for Evaluation<'a> {
    fn conduct(&mut self) -> &mut Conduct<'a> {
        &mut self.conduct
    }
}

impl<'a> Evaluation<'a> {
    /// An evaluation of this classifier, without attack.
    pub fn new(victim: &'a Frozen) -> Self {
        Self {
            victim,
            attacks: Vec::new(),
            budgets: Vec::new(),
            only_survivors: false,
            seed: 0,
            resamples: 2000,
            check_images: 16,
            training_groups: None,
            features: None,
            conduct: Conduct::default(),
        }
    }

    /// With this attack too.
    pub fn attack(self, attack: impl Attack + 'static) -> Self {
        self.attacks([Box::new(attack) as Box<dyn Attack>])
    }

    /// With these attacks too, chosen at run time.
    pub fn attacks(mut self, attacks: impl IntoIterator<Item = Box<dyn Attack>>) -> Self {
        self.attacks.extend(attacks);
        self
    }

    /// With the attacks at each of these budgets in their norm instead of their own; they are sorted, and
    /// each is run once. An attack in a norm without any keeps its own; a budget in a norm without an attack
    /// is refused. A budget of zero is the unattacked classifier.
    pub fn budgets(mut self, budgets: impl IntoIterator<Item = Budget>) -> Self {
        self.budgets.extend(budgets);
        self
    }

    /// Whether an attack runs only on images that no earlier attack of its norm has broken with the same
    /// budget or a smaller one. The worst case is the same and comes sooner; the accuracy of a later attack
    /// is then that of itself and all attacks before it.
    pub fn only_survivors(mut self, only: bool) -> Self {
        self.only_survivors = only;
        self
    }

    /// Seed of the bootstrap.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Draws of the bootstrap.
    pub fn resamples(mut self, resamples: usize) -> Self {
        self.resamples = resamples;
        self
    }

    /// Images on which the checks attack again: without bound, with twice the effort, and with every query
    /// recorded where the attack failed; noise is added to them, too. They are spread over the images that
    /// are right. With 0 those checks, and the one for random answers, do not apply.
    pub fn check_images(mut self, images: usize) -> Self {
        self.check_images = images;
        self
    }

    /// The slides or patients of the training images, for the check that none of them is tested on.
    pub fn training_groups(mut self, groups: impl IntoIterator<Item = String>) -> Self {
        self.training_groups = Some(groups.into_iter().collect());
        self
    }

    /// The classifier seen at its last hidden layer, for the binarization test of the attacks: it must give
    /// the classifier's own answers, so it goes through the same preprocessing. The test costs 211 passes and
    /// one more run of each white box of several steps for every check image, one image at a time.
    pub fn features(mut self, features: &'a FrozenFeatures) -> Self {
        self.features = Some(features);
        self
    }

    /// Evaluates these images without attack and under every one.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`]: a parameter out of its range, no image, a classifier with another number of
    /// classes, an image that cannot be read, an attack that refuses, a result of the wrong shape, a state
    /// folder that does not fit, or the cancel flag.
    pub fn run(&self, data: &dyn LabeledImages) -> Result<EvaluationResult, EvaluationError> {
        let started = Instant::now();
        self.check(data)?;
        let plan = Plan::new(&self.attacks, &self.budgets)?;
        let mut engine = self.engine(&plan, data, None)?;
        let mut result = self.conduct.watched([self.victim], || {
            engine.run()?;
            let mut result = self.assembled(&engine);
            let training_groups = self.training_groups.as_ref();
            result.checks =
                checks::all(&mut engine, &result, self.check_images, training_groups, self.features)?;
            Ok(result)
        })?;
        result.timing.seconds = started.elapsed().as_secs_f64();
        Ok(result)
    }

    /// Evaluates this shard of the images, every so manieth batch, and keeps what came out in the folder of
    /// [`resume_from`](Run::resume_from), where several shards may be at work at once, each once. Then
    /// [`run`](Self::run) with the same settings, batch size and folder puts all shards together, does what
    /// they have left, the checks included, and gives the result that it would have given by itself. A run
    /// or shard with other settings or batches of another size is refused, and so are shards of another count and those that come after
    /// that run has begun.
    ///
    /// Gives the number of images in the shard: 0 where there are more shards than batches.
    ///
    /// On machines that do not share a folder, the folders `shard-...` of all of them are to be copied into
    /// one before. Where processors differ in their instructions or devices in their arithmetic, logits
    /// differ in their last digits: give the classifier a [`fingerprint`](Run::fingerprint), as
    /// [`weights::fingerprint`](crate::weights::fingerprint) of the network.
    ///
    /// ```
    /// use histoguard::data::TensorSet;
    /// use histoguard::evaluate::Shard;
    /// use histoguard::prelude::*;
    ///
    /// # let device = Device::default();
    /// # let victim = Frozen::from_fn(2, &device, |x| {
    /// #     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
    /// #     Tensor::cat(vec![bright.clone().neg(), bright], 1)
    /// # });
    /// # let images = Tensor::<1>::from_floats([0.2, 0.45, 0.6, 0.9], &device).reshape([4, 1, 1, 1]);
    /// # let data = TensorSet::new(images, vec![0, 0, 1, 1], vec!["dark".into(), "bright".into()])?;
    /// let folder = tempfile::tempdir()?;
    /// let attack = Fgsm::new(Budget::linf(Epsilon::unit(0.07)));
    /// let evaluation = Evaluation::new(&victim).attack(attack).batch_size(1).resume_from(folder.path());
    /// // Each in a process of its own.
    /// for index in 0..2 {
    ///     assert_eq!(evaluation.run_shard(&data, Shard::new(index, 2)?)?, 2);
    /// }
    /// let result = evaluation.run(&data)?;
    /// assert_eq!(result.clean.metrics.accuracy.total, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); and [`EvaluationError::Parameter`] without a folder.
    pub fn run_shard(&self, data: &dyn LabeledImages, shard: Shard) -> Result<usize, EvaluationError> {
        self.conduct.state_parameter().check()?;
        self.check(data)?;
        let plan = Plan::new(&self.attacks, &self.budgets)?;
        let mut engine = self.engine(&plan, data, Some(shard))?;
        self.conduct.watched([self.victim], || engine.run())?;
        Ok(self.conduct.images(Some(shard), data.len()))
    }

    fn check(&self, data: &dyn LabeledImages) -> Result<(), EvaluationError> {
        parameter::check([self.conduct.parameter(), Parameter::at_least("resamples", self.resamples, 1)])?;
        check_data(data, [self.victim])?;
        if let Some(features) = self.features {
            let (found, expected) = (features.num_classes(), self.victim.num_classes());
            let same = found == expected;
            Parameter::new("features", "as many classes as the classifier", same, found).check()?;
        }
        Ok(())
    }

    fn engine<'e>(
        &'e self,
        plan: &'e Plan<'e>,
        data: &'e dyn LabeledImages,
        shard: Option<Shard>,
    ) -> Result<Engine<'e, 'a>, EvaluationError> {
        let total = self.conduct.images(shard, data.len()) * plan.passes();
        Ok(Engine {
            victim: self.victim,
            plan,
            data,
            passes: Passes::new(&self.conduct, shard, total),
            journal: self.journal(plan, data, shard)?,
            only_survivors: self.only_survivors,
        })
    }

    /// Test images with what the strongest attack of each norm, the one that broke the most, makes of them:
    /// so many a norm, those first that fall at the smallest budget, a class in turn. An attack that took
    /// over 2,000 passes an image shows only where no other broke any. Semantic attacks share as many among
    /// them, one each at least: images that fall to each with the least change of structure (SSIM) first.
    /// The attack runs on them once more, one image at a time, so that an evaluation that was resumed
    /// shows the same images; only a classifier with random answers may answer otherwise than it did
    /// before.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`]: a result of another evaluation or other images, an image that cannot be read, an
    /// attack that refuses, or the cancel flag.
    pub fn exhibits(
        &self,
        data: &dyn LabeledImages,
        result: &EvaluationResult,
        images: usize,
    ) -> Result<Vec<Exhibit>, EvaluationError> {
        let plan = Plan::new(&self.attacks, &self.budgets)?;
        let passes = Passes::new(&self.conduct, None, 0);
        let shown = || exhibits(self.victim, &plan, (data, result), images, &passes);
        self.conduct.watched([self.victim], shown)
    }

    /// The label of every attack with a norm and the budgets that it will be judged with, rising, as the
    /// result will have them.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if [`run`](Self::run) would refuse the attacks or budgets.
    pub fn planned(&self) -> Result<Vec<(String, Vec<Budget>)>, EvaluationError> {
        let plan = Plan::new(&self.attacks, &self.budgets)?;
        Ok(plan.attacks.into_iter().map(|planned| (planned.label, planned.budgets)).collect())
    }

    /// The label of every semantic attack, as the result will have it.
    ///
    /// # Errors
    ///
    /// As [`planned`](Self::planned).
    pub fn planned_semantic(&self) -> Result<Vec<String>, EvaluationError> {
        let plan = Plan::new(&self.attacks, &self.budgets)?;
        Ok(plan.semantic.into_iter().map(|planned| planned.label).collect())
    }

    /// What is finished of an evaluation that is the same in everything that decides on its result.
    fn journal(
        &self,
        plan: &Plan<'_>,
        data: &dyn LabeledImages,
        shard: Option<Shard>,
    ) -> Result<Journal, EvaluationError> {
        self.conduct.journal(shard, || {
            // Other images have other logits: they are told first.
            Ok(vec![
                ("attacks", plan.settings()),
                ("treatment", json!({ "only survivors": self.only_survivors })),
                ("classes", json!(data.classes())),
                ("images", images_identity(data).into()),
                ("classifier", self.conduct.identity(self.victim, data)?.into()),
                (
                    "features",
                    json!(self.features.map(|of| self.conduct.features_identity(of, data)).transpose()?),
                ),
            ])
        })
    }

    fn assembled(&self, engine: &Engine<'_, '_>) -> EvaluationResult {
        let setting = Setting {
            classes: engine.data.classes().to_vec(),
            synthetic: engine.data.is_synthetic(),
            only_survivors: self.only_survivors,
            seed: self.seed,
            resamples: self.resamples,
        };
        let ran = engine.plan.all().map(|planned| Ran {
            label: planned.label.clone(),
            settings: readable(planned.attack.settings()),
            profile: planned.profile.clone().rounded(),
            budgets: planned.budgets.clone(),
            cost: engine.journal.cost(&planned.run),
        });
        EvaluationResult::of_records(setting, ran.collect(), engine.records())
    }
}
