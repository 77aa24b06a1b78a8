//! Another laboratory's stain, found by trying a grid.

use super::stain::parameters;
use crate::attack::prelude::*;
use crate::attack::steps::{Tried, worst_of};
use crate::pixels::{StainShift, StainSpace};

/// The worst of a grid of stains: [`Stain`](super::Stain)'s six numbers, each at so many levels from minus to
/// plus the strength, in every combination.
///
/// It needs no gradient, and says whether those of [`Stain`](super::Stain) lead astray. An image stays at the
/// first point that reaches the goal; one that never does at the one with the largest margin.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | strength | required; 0.05 is "HED-light", 0.2 "HED-strong" | a number from 0 to 1 |
/// | levels | 3, which are 729 stains | from 2 to 9 |
/// | stain colors | haematoxylin, eosin, DAB | three that are linearly independent |
/// | stain unit | 1: natural optical density | a finite number above 0 |
/// | channels | the images' | 3: red, green and blue |
///
/// ```
/// use histoguard::attack::StainGrid;
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let blue = x.clone().narrow(1, 2, 1) - x.narrow(1, 0, 1);
///     let blue = blue.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.05;
///     Tensor::cat(vec![blue.clone().neg(), blue], 1)
/// });
/// let tissue = Tensor::<1>::from_floats([0.6, 0.4, 0.7], &device).reshape([1, 3, 1, 1]).expand([1, 3, 8, 8]);
/// let adversarial = StainGrid::strong().with_levels(2).perturb(&victim, tissue, &Goal::untargeted([1]))?;
/// assert_eq!(victim.predict(adversarial), [0]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct StainGrid {
    /// How far each of the six numbers may be from 0.
    pub strength: f64,
    /// Values of each number: two are both ends of the range, three also the middle.
    #[config(default = 3)]
    pub levels: usize,
    /// Which stains there are.
    #[config(default = "StainSpace::HED")]
    pub space: StainSpace,
}

impl StainGrid {
    /// At the strength of "HED-light", [`StainShift::LIGHT`].
    pub fn light() -> Self {
        Self::new(StainShift::LIGHT)
    }

    /// At the strength of "HED-strong", [`StainShift::STRONG`].
    pub fn strong() -> Self {
        Self::new(StainShift::STRONG)
    }

    /// Number of stains.
    fn points(&self) -> usize {
        self.levels.saturating_pow(6)
    }

    /// The stain with this number: its digits in base `levels`.
    fn point(&self, number: usize) -> StainShift {
        let level = |place: u32| (number / self.levels.pow(place) % self.levels) as f64;
        let number =
            |place: usize| self.strength * (2.0 * level(place as u32) / (self.levels - 1) as f64 - 1.0);
        StainShift::new(std::array::from_fn(number))
    }
}

impl Attack for StainGrid {
    fn profile(&self) -> Profile {
        let (name, points) = (format!("Stain grid {}", self.strength), self.points());
        Profile::semantic(name, Access::Logits, points, Queries::forwards(points))
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        let fits = (2..=9).contains(&self.levels);
        let levels = Parameter::new("levels", "from 2 to 9", fits, self.levels);
        [parameters(self.strength, &self.space, task), vec![levels]].concat()
    }

    /// The same: its range is no budget.
    fn at(&self, _: Budget) -> Box<dyn Attack> {
        Box::new(*self)
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        let stains = self.space.stains(task.images());
        worst_of(&task, self.points(), false, |left| {
            left.step()?;
            let shift = self.point(left.run() as usize);
            let stains = stains.keep(left.positions());
            let shifted = self.space.shifted(stains, &vec![shift; left.len()]);
            let images = left.compose(shifted.clamp(0.0, 1.0));
            Ok(Tried::judged(left, images))
        })
    }
}
