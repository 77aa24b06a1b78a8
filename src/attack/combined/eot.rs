//! An attack on the mean over fresh draws of a random victim.

use serde::Serialize;

use crate::attack::prelude::*;
use crate::classifier::{Average, Frozen};

/// Any attack on a random victim, which asks it so many times about every point and goes by the mean:
/// expectation over transformation (Athalye et al., "Synthesizing Robust Adversarial Examples", ICML 2018;
/// "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section 5.3).
///
/// For black boxes too: a square that looked good in one lucky draw stays for good, so that Square alone
/// ends at images that fool a draw and not the defense (Qin et al., "Random Noise Defense Against
/// Query-Based Black-Box Attacks", NeurIPS 2021, which averages as well; auto-attack issue 15). Every draw
/// is a query of the victim. The draws are the victim's own: a random
/// [`Preprocess`](crate::defense::Preprocess) draws anew for every question from its seed, the image and
/// how often it was asked about, so that an image's result does not depend on its batch.
///
/// This is for a victim that answers by a single draw; one that answers by the mean of several is a
/// [`Frozen::expectation_over`] of them, which every attack sees as it is.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | attack | required | one that asks the victim; its norm and budget are those of the whole |
/// | draws | required | at least 1 |
/// | average | losses: of the gradients; black boxes see the mean logits | any |
///
/// ```
/// use histoguard::attack::Eot;
/// use histoguard::defense::{Backward, Custom, Preprocess};
/// use histoguard::prelude::*;
/// use histoguard::random::{Purpose, RngExt};
///
/// const LAMP: Purpose = Purpose::named("a flickering lamp");
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// // Every answer is about a darker or a brighter image.
/// let lamp = Custom::random("lamp", |x, draws| {
///     let shift = |row| draws.generator(LAMP, 0, row).random_range(-0.3..0.3f32);
///     let shifts: Vec<f32> = (0..x.dims()[0]).map(shift).collect();
///     x.clone() + Tensor::<1>::from_floats(shifts.as_slice(), &x.device()).reshape([-1, 1, 1, 1])
/// }, Backward::Identity);
/// let flickering = lamp.before(victim)?;
///
/// let image = Tensor::full([1, 1, 2, 2], 0.6, &device);
/// let square = Square::new(Budget::linf(Epsilon::unit(0.15))).with_queries(50);
/// let attack = Eot::new(square, 400);
/// let adversarial = attack.perturb(&flickering, image, &Goal::untargeted([1])).unwrap();
/// assert_eq!(flickering.watch().queries().forwards % 400, 0);
/// let mean = flickering.expectation_over(400, histoguard::classifier::Average::Logits);
/// assert_eq!(mean.predict(adversarial), [0]);
/// # Ok::<(), histoguard::defense::DefenseError>(())
/// ```
#[derive(Debug, Serialize)]
pub struct Eot {
    attack: Box<dyn Attack>,
    draws: usize,
    average: Average,
}

impl Eot {
    /// This attack over so many draws a query.
    pub fn new(attack: impl Attack + 'static, draws: usize) -> Self {
        Self::boxed(Box::new(attack), draws)
    }

    /// The same of an attack that is chosen at run time.
    pub fn boxed(attack: Box<dyn Attack>, draws: usize) -> Self {
        Self { attack, draws, average: Average::Losses }
    }

    /// With the mean of something else.
    pub fn with_average(self, average: Average) -> Self {
        Self { average, ..self }
    }

    fn around(&self, attack: Box<dyn Attack>) -> Self {
        Self { attack, ..*self }
    }

    /// The victim that answers by the mean, on the watch of the one that answers by a draw.
    fn mean(&self, task: &Task<'_>) -> Frozen {
        task.victim().shared().expectation_over(self.draws.max(1), self.average)
    }
}

impl Attack for Eot {
    fn profile(&self) -> Profile {
        let profile = self.attack.profile();
        let draws = self.draws as u64;
        let times = |queries: Queries| Queries {
            forwards: queries.forwards.saturating_mul(draws),
            gradients: queries.gradients.saturating_mul(draws),
        };
        let queries = profile.queries.map(times);
        Profile { name: format!("{}, EOT over {} draws", profile.name, self.draws), queries, ..profile }
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        let profile = self.attack.profile();
        let own = vec![profile.asks("attack"), Parameter::at_least("draws", self.draws, 1)];
        [own, self.attack.parameters(&task.on(&self.mean(task)))].concat()
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(self.around(self.attack.at(budget)))
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        Some(Box::new(self.around(self.attack.stronger()?)))
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        self.attack.craft(task.on(&self.mean(&task)))
    }

    fn craft_each(&self, task: &Task<'_>, budgets: &[Budget]) -> Result<Option<Vec<Tensor<4>>>, AttackError> {
        self.attack.craft_each(&task.on(&self.mean(task)), budgets)
    }
}
