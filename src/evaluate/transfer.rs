//! Adversarial images of one model, judged by another.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::EvaluationError;
use super::result::{AttackRecord, Judged, Metrics, readable, share};
use super::run::{
    Chunk, Conduct, Journal, Loaded, Passes, Run, Shard, check_data, classify, images_identity,
};
use crate::attack::{Attack, Profile};
use crate::classifier::Frozen;
use crate::data::LabeledImages;
use crate::parameter::{self, Parameter};
use crate::statistics::Proportion;

/// Attacks every image on every model, and shows the results to all of them.
///
/// How it goes about the work (batches, progress, resuming) is set by [`Run`].
///
/// ```
/// use histoguard::data::TensorSet;
/// use histoguard::evaluate::Transferability;
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// // Two classes by brightness, with the boundary at another place.
/// let bright = |threshold: f64| {
///     Frozen::from_fn(2, &device, move |x| {
///         let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - threshold;
///         Tensor::cat(vec![bright.clone().neg(), bright], 1)
///     })
/// };
/// let images = Tensor::<1>::from_floats([0.2, 0.9], &device).reshape([2, 1, 1, 1]);
/// let data = TensorSet::new(images, vec![0, 1], vec!["dark".into(), "bright".into()])?;
/// let (one, other) = (bright(0.5), bright(0.4));
/// let attack = Fgsm::new(Budget::linf(Epsilon::unit(0.25)));
/// let matrix = Transferability::new(&attack).model("one", &one).model("other", &other).run(&data)?;
/// // 0.2 + 0.25 is bright for the other model alone, whoever crafted it.
/// assert_eq!(matrix.cells[0][1].accuracy.hits, 1);
/// assert_eq!(matrix.cells[1][0].accuracy.hits, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Transferability<'a> {
    attack: &'a dyn Attack,
    models: Vec<(String, &'a Frozen)>,
    conduct: Conduct<'a>,
}

impl<'a> Run<'a> for Transferability<'a> {
    fn conduct(&mut self) -> &mut Conduct<'a> {
        &mut self.conduct
    }
}

/// Which model's adversarial images break which other model.
///
/// Off the diagonal this is the black-box attack with a substitute network (Papernot et al., "Practical
/// black-box attacks against machine learning", ASIA CCS 2017); a model that falls to another one's images
/// while it resists its own has masked gradients (Athalye, Carlini & Wagner, ICML 2018, section 3.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransferMatrix {
    /// What the attack says of itself.
    pub attack: Profile,
    /// All its settings.
    pub settings: Value,
    /// Names of the models.
    pub models: Vec<String>,
    /// Each model without attack.
    pub clean: Vec<Proportion>,
    /// `cells[i][j]`: crafted on model `i`, judged by model `j`.
    pub cells: Vec<Vec<Transferred>>,
}

/// Images crafted on one model and judged by another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transferred {
    /// Images that the judging model gets right under attack, of all.
    pub accuracy: Proportion,
    /// Images that it gets wrong under attack, of those that it gets right without.
    pub success: Proportion,
    /// The mean over slides of their share of right images.
    pub patient_rate: Option<f64>,
}

impl<'a> Transferability<'a> {
    /// Of this attack, between no models yet.
    pub fn new(attack: &'a dyn Attack) -> Self {
        Self { attack, models: Vec::new(), conduct: Conduct::default() }
    }

    /// With this model too.
    pub fn model(mut self, name: impl Into<String>, model: &'a Frozen) -> Self {
        self.models.push((name.into(), model));
        self
    }

    /// Attacks these images on every model and shows the results to all of them.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`]: no model, no image, a batch size of 0, a model with another number of classes, an
    /// image that cannot be read, an attack that refuses, a state folder that does not fit, or the cancel
    /// flag.
    pub fn run(&self, data: &dyn LabeledImages) -> Result<TransferMatrix, EvaluationError> {
        let journal = self.cross_all(data, None)?;
        Ok(self.assembled(data, &journal))
    }

    /// Attacks this shard of the images, and gives their number: as
    /// [`Evaluation::run_shard`](super::Evaluation::run_shard) does, for [`run`](Self::run) to put together.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); and [`EvaluationError::Parameter`] without a folder to
    /// [resume from](Run::resume_from).
    pub fn run_shard(&self, data: &dyn LabeledImages, shard: Shard) -> Result<usize, EvaluationError> {
        self.conduct.state_parameter().check()?;
        self.cross_all(data, Some(shard))?;
        Ok(self.conduct.images(Some(shard), data.len()))
    }

    fn cross_all(&self, data: &dyn LabeledImages, shard: Option<Shard>) -> Result<Journal, EvaluationError> {
        parameter::check([self.conduct.parameter(), Parameter::at_least("models", self.models.len(), 1)])?;
        let models = || self.models.iter().map(|(_, model)| *model);
        check_data(data, models())?;
        let mut journal = self.journal(data, shard)?;
        let images = self.conduct.images(shard, data.len());
        let passes = Passes::new(&self.conduct, shard, self.models.len() * images);
        (0..self.models.len()).for_each(|source| passes.expect(&from(source), images, 1.0));
        let everyone: Vec<usize> = (0..data.len()).collect();
        self.conduct.watched(models(), || {
            for positions in passes.batches(&everyone) {
                for source in 0..self.models.len() {
                    let loaded = Loaded::new(data, self.models[source].1, positions);
                    let crossed = self.cross(loaded, source, &mut journal, &passes)?;
                    passes.add(&from(source), positions.len(), crossed);
                }
            }
            Ok(())
        })?;
        Ok(journal)
    }

    fn journal(&self, data: &dyn LabeledImages, shard: Option<Shard>) -> Result<Journal, EvaluationError> {
        self.conduct.journal(shard, || {
            let identity =
                |(name, model): &(String, &Frozen)| Ok(json!([name, self.conduct.identity(model, data)?]));
            Ok(vec![
                ("attack", json!(self.attack)),
                ("classes", json!(data.classes())),
                ("images", images_identity(data).into()),
                ("models", self.models.iter().map(identity).collect::<Result<_, EvaluationError>>()?),
            ])
        })
    }

    /// Some images crafted on one model and judged by all; the images as they are by itself. Gives whether
    /// any of that was not yet known.
    fn cross(
        &self,
        mut loaded: Loaded<'_>,
        source: usize,
        journal: &mut Journal,
        passes: &Passes<'_, '_>,
    ) -> Result<bool, EvaluationError> {
        let (model, judges) = (self.models[source].1, self.models.len());
        let run = from(source);
        let pending = loaded.chosen(|p| journal.record(&run, judges, p).is_none());
        if pending.is_empty() {
            return Ok(false);
        }
        passes.go_on()?;
        let targets = loaded.targets(&pending)?;
        let result = self.attack.perturb(model, targets.images.clone(), &targets.goal);
        let result = result.map_err(|error| passes.ended(&self.attack.profile().name, error))?;
        let crafted = targets.crafted(result, self.attack.profile().budget())?.images;
        let mut chunk = Chunk::of(&run);
        let crafted = self.models.iter().map(|(_, judge)| (*judge, &crafted));
        for (place, (judge, images)) in crafted.chain([(model, &targets.images)]).enumerate() {
            let outcomes = classify(judge, images.clone().to_device(judge.device()))?;
            let records = outcomes.into_iter().map(|outcome| AttackRecord::untouched(outcome, outcome));
            chunk.put(place, &pending, records.collect());
        }
        journal.add(chunk)?;
        Ok(true)
    }

    fn assembled(&self, data: &dyn LabeledImages, journal: &Journal) -> TransferMatrix {
        let (everyone, models) = (0..data.len(), self.models.len());
        let groups: Vec<String> = everyone.clone().map(|p| data.group(p)).collect();
        let outcome = |source: usize, place: usize, p: usize| {
            journal.record(&from(source), place, p).expect("every image was crossed").outcome
        };
        let right = |source: usize, place: usize, p: usize| outcome(source, place, p).is(data.label(p));
        let cell = |i: usize, j: usize| {
            let judged =
                |p: usize| Judged { label: data.label(p), group: &groups[p], outcome: outcome(i, j, p) };
            let metrics = Metrics::new(data.classes(), &everyone.clone().map(judged).collect::<Vec<_>>());
            let before = everyone.clone().filter(|&p| right(j, models, p));
            Transferred {
                accuracy: metrics.accuracy,
                success: share(before.map(|p| !right(i, j, p))),
                patient_rate: metrics.patient_rate,
            }
        };
        let clean = |i: usize| share(everyone.clone().map(|p| right(i, models, p)));
        TransferMatrix {
            attack: self.attack.profile().rounded(),
            settings: readable(self.attack.settings()),
            models: self.models.iter().map(|(name, _)| name.clone()).collect(),
            clean: (0..models).map(clean).collect(),
            cells: (0..models).map(|i| (0..models).map(|j| cell(i, j)).collect()).collect(),
        }
    }
}

/// A run in the journal: what each model says to images crafted on this one, and last what this one says to
/// the images as they are.
fn from(source: usize) -> String {
    format!("from {source}")
}
