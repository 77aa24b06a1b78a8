//! Another laboratory's stain, found by following gradients.

use crate::attack::prelude::*;
use crate::attack::steps::{Tried, Worst, cosine, worst_of};
use crate::pixels::{StainShift, StainSpace};

const STARTS: Purpose = Purpose::named("starts of the stain attack");

/// The worst stain within a range: `s' = (1 + a) s + b` for the amount of each of three stains, six numbers
/// an image between minus and plus the strength.
///
/// The transformation is the stain augmentation of Tellez et al., Medical Image Analysis 58, 2019
/// ([`StainShift`]), in the amounts of Ruifrok & Johnston's color deconvolution ([`StainSpace`]); the search
/// is [`Pgd`](crate::attack::Pgd)'s in the six numbers: steps of the gradient's sign on the margin of Carlini
/// & Wagner, which does not flatten where the network is sure, cut to the range. Steps shrink from the
/// strength along a cosine. The first try starts at the image, the others anywhere in the range; of all
/// points the worst of each image counts. Pixels are cut to \[0,1\], which the gradient sees.
///
/// An image stays at the first point that reaches the goal. What changes is the whole image's color: no norm
/// bounds the change, and it does not look like noise. [`StainGrid`](super::StainGrid) asks without
/// gradients.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | strength | required; 0.05 is the paper's "HED-light", 0.2 its "HED-strong" | a number from 0 to 1 |
/// | steps | 10 | at least 1 |
/// | restarts | 5 | at least 1 |
/// | seed | 0 | any |
/// | stain colors | haematoxylin, eosin, DAB | three that are linearly independent |
/// | stain unit | 1: natural optical density | a finite number above 0 |
/// | channels | the images' | 3: red, green and blue |
///
/// The range of b has a unit. In natural optical density, the default, 0.2 more haematoxylin leaves 88 % of
/// the red light. In scikit-image's unit ([`StainSpace::SKIMAGE`]) it leaves 17 %: no stain of any
/// laboratory.
///
/// ```
/// use histoguard::attack::Stain;
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// // Calls an image malignant that is blue rather than red.
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let blue = x.clone().narrow(1, 2, 1) - x.narrow(1, 0, 1);
///     let blue = blue.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.05;
///     Tensor::cat(vec![blue.clone().neg(), blue], 1)
/// });
/// let tissue = Tensor::<1>::from_floats([0.6, 0.4, 0.7], &device).reshape([1, 3, 1, 1]).expand([1, 3, 8, 8]);
/// let attack = Stain::strong();
/// assert_eq!(attack.profile().norm(), None);
/// let adversarial = attack.perturb(&victim, tissue, &Goal::untargeted([1]))?;
/// assert_eq!(victim.predict(adversarial), [0]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct Stain {
    /// How far each of the six numbers may be from 0.
    pub strength: f64,
    /// Number of steps a try.
    #[config(default = 10)]
    pub steps: usize,
    /// Number of tries: one from the image, the others from random points.
    #[config(default = 5)]
    pub restarts: usize,
    /// The seed of the random starts.
    #[config(default = 0)]
    pub seed: u64,
    /// Which stains there are.
    #[config(default = "StainSpace::HED")]
    pub space: StainSpace,
}

impl Stain {
    /// At the strength of "HED-light", [`StainShift::LIGHT`].
    pub fn light() -> Self {
        Self::new(StainShift::LIGHT)
    }

    /// At the strength of "HED-strong", [`StainShift::STRONG`].
    pub fn strong() -> Self {
        Self::new(StainShift::STRONG)
    }

    /// Where each image starts in this run.
    fn start(&self, task: &Task<'_>) -> Vec<StainShift> {
        if task.run() == 0 {
            return vec![StainShift::default(); task.len()];
        }
        let draws = task.draws(STARTS, self.seed, &[]);
        (0..task.len()).map(|row| StainShift::uniform(self.strength, &mut draws.generator(row))).collect()
    }

    /// A step of this length up the gradient, within the range.
    fn step(&self, from: StainShift, gradient: StainShift, length: f64) -> StainShift {
        let (from, gradient) = (from.numbers(), gradient.numbers());
        let moved = |i: usize| {
            // Not `signum`, by which zero has a sign.
            let sign = f64::from(gradient[i] > 0.0) - f64::from(gradient[i] < 0.0);
            (from[i] + length * sign).clamp(-self.strength, self.strength)
        };
        StainShift::new(std::array::from_fn(moved))
    }

    /// The worst point of one run.
    fn climb(&self, task: &Task<'_>) -> Result<Tried, AttackError> {
        let mut worst = Worst::new(task.images());
        let (mut standing, mut shifts) = (task.afresh(), self.start(task));
        let mut stains = self.space.stains(task.images());
        for number in 0..self.steps {
            standing.step()?;
            let shifted = self.space.shifted(stains.clone(), &shifts);
            let images = shifted.clone().clamp(0.0, 1.0);
            let found = standing.gradient(&images, |logits| standing.goal().margin(logits));
            let reached = standing.goal().reached(found.logits.clone());
            let scores = values(standing.goal().margin(found.logits));
            worst.offer(standing.positions(), &Tried { images, reached: reached.clone(), scores });
            let left = flagged(&reached, false);
            if left.is_empty() {
                return Ok(worst.0);
            }
            // Past the end of the light scale nothing moves any more.
            let gradient = found.gradient.mask_fill(shifted.clone().greater_elem(1.0), 0.0);
            let gradients = self.space.shift_gradient(&stains, shifted, gradient).keep(&left);
            let length = cosine(self.strength, 0.0, number, self.steps);
            let from = shifts.keep(&left).into_iter();
            shifts = from.zip(gradients).map(|(from, up)| self.step(from, up, length)).collect();
            (standing, stains) = (standing.keep(&left), stains.keep(&left));
        }
        let last = self.space.shifted(stains, &shifts).clamp(0.0, 1.0);
        worst.offer(standing.positions(), &Tried::judged(&standing, last));
        Ok(worst.0)
    }
}

impl Attack for Stain {
    fn profile(&self) -> Profile {
        let each = Queries::gradients(self.steps) + Queries::forwards(1);
        let queries = (0..self.restarts).fold(Queries::NONE, |sum, _| sum + each);
        let steps = self.restarts * self.steps;
        Profile::semantic(format!("Stain {}", self.strength), Access::Gradients, steps, queries)
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        let search = vec![
            Parameter::at_least("steps", self.steps, 1),
            Parameter::at_least("restarts", self.restarts, 1),
        ];
        [parameters(self.strength, &self.space, task), search].concat()
    }

    /// The same: its range is no budget.
    fn at(&self, _: Budget) -> Box<dyn Attack> {
        Box::new(*self)
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        Some(Box::new(self.with_restarts(2 * self.restarts)))
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        worst_of(&task, self.restarts, false, |task| self.climb(task))
    }
}

/// What both searches check.
pub(super) fn parameters(strength: f64, space: &StainSpace, task: &Task<'_>) -> Vec<Parameter> {
    let [channels, ..] = task.shape();
    let colored = Parameter::new("channels", "3: red, green and blue", channels == 3, channels);
    [vec![StainShift::strength(strength), colored], space.parameters()].concat()
}
