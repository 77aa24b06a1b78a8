//! Another laboratory's stain, found by following gradients.

use crate::attack::prelude::*;
use crate::attack::steps::{Tried, Worst, cosine};
use crate::pixels::{StainShift, StainSpace};

const STARTS: Purpose = Purpose::named("starts of the stain attack");
/// Of a range of six numbers.
const CORNERS: usize = 64;

/// The worst stain within a range: `s' = (1 + a) s + b` for the amount of each of three stains, six numbers
/// an image between minus and plus the strength.
///
/// The transformation is the stain augmentation of Tellez et al., Medical Image Analysis 58, 2019
/// ([`StainShift`]), in the amounts of Ruifrok & Johnston's color deconvolution ([`StainSpace`]). The search
/// is [`Pgd`](crate::attack::Pgd)'s in the six numbers: steps of the gradient's sign on the margin of Carlini
/// & Wagner, which does not flatten where the network is sure, cut to the range; steps shrink from the
/// strength to nothing along a cosine. It begins at the image, then at the worst of the range's 64 corners,
/// which are asked about one by one, then at random points; of all points on the way the worst of each image
/// counts. Steps alone end at corners that are only better than their neighbours. Pixels are cut to \[0,1\]
/// at the end, and the gradient knows it.
///
/// An image stays at the first point that reaches the goal. What changes is the whole image's color: no norm
/// bounds the change, and it does not look like noise. [`StainGrid`](super::StainGrid) asks without
/// gradients.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | strength | required; 0.05 is the paper's "HED-light", 0.2 its "HED-strong" | a number from 0 to 1 |
/// | steps | 10 | at least 1 |
/// | corners | 2; 0 asks about none | from 0 to 64 |
/// | random starts | 2 | any |
/// | seed | 0 | any |
/// | stain colors | haematoxylin, eosin, DAB | three that are linearly independent |
/// | stain unit | 1: natural optical density | a finite number above 0 |
/// | channels | the images' | 3: red, green and blue |
///
/// The range of b has a unit. In natural optical density, the default, 0.2 more haematoxylin leaves 88 % of
/// the red light; in scikit-image's unit ([`StainSpace::SKIMAGE`]) it leaves 17 %.
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
    /// Number of steps a start.
    #[config(default = 10)]
    pub steps: usize,
    /// Starts from the worst corners of the range.
    #[config(default = 2)]
    pub corners: usize,
    /// Starts from random points of the range, the last ones.
    #[config(default = 2)]
    pub random_starts: usize,
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

    /// Number of starts: the image, corners and random points.
    fn starts(&self) -> usize {
        1 + self.corners + self.random_starts
    }

    /// The corner of the range with this number.
    fn corner(&self, number: usize) -> StainShift {
        let at = |place: usize| if number >> place & 1 == 1 { self.strength } else { -self.strength };
        StainShift::new(std::array::from_fn(at))
    }

    /// Asks about every corner. For each image, the worst ones first; of images that fall there is no order.
    fn corners(
        &self,
        task: &Task<'_>,
        stains: &Tensor<4>,
        worst: &mut Worst,
    ) -> Result<Vec<Vec<StainShift>>, AttackError> {
        let mut margins: Vec<Vec<(f32, usize)>> = vec![Vec::new(); task.len()];
        for number in 0..CORNERS {
            let rows = worst.standing();
            if rows.is_empty() {
                break;
            }
            task.go_on()?;
            let shifts = vec![self.corner(number); rows.len()];
            let left = task.keep(&rows);
            let images = left.compose(self.space.shifted(stains.keep(&rows), &shifts).clamp(0.0, 1.0));
            let tried = Tried::judged(&left, images);
            rows.iter().zip(&tried.scores).for_each(|(&row, &score)| margins[row].push((score, number)));
            worst.offer(&rows, &tried);
        }
        let ordered = |mut margins: Vec<(f32, usize)>| {
            let rank = |score: f32| if score.is_nan() { f32::NEG_INFINITY } else { score };
            margins.sort_by(|a, b| rank(b.0).total_cmp(&rank(a.0)).then(a.1.cmp(&b.1)));
            margins.into_iter().map(|(_, number)| self.corner(number)).collect()
        };
        Ok(margins.into_iter().map(ordered).collect())
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

    /// The worst point on the way from these starts, one an image of the task.
    fn climb(
        &self,
        task: &Task<'_>,
        mut stains: Tensor<4>,
        mut shifts: Vec<StainShift>,
    ) -> Result<Tried, AttackError> {
        let mut worst = Worst::new(task.images());
        let mut standing = task.afresh();
        for number in 0..self.steps {
            standing.step()?;
            let shifted = self.space.shifted(stains.clone(), &shifts);
            let images = standing.compose(shifted.clone().clamp(0.0, 1.0));
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
        let last = standing.compose(self.space.shifted(stains, &shifts).clamp(0.0, 1.0));
        worst.offer(standing.positions(), &Tried::judged(&standing, last));
        Ok(worst.0)
    }
}

impl Attack for Stain {
    fn profile(&self) -> Profile {
        let steps = self.starts() * self.steps;
        let asked = if self.corners > 0 { CORNERS } else { 0 };
        let queries = Queries::gradients(steps) + Queries::forwards(asked + self.starts());
        Profile::semantic(format!("Stain {}", self.strength), Access::Gradients, steps, queries)
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        let fits = self.corners <= CORNERS;
        let search = vec![
            Parameter::at_least("steps", self.steps, 1),
            Parameter::new("corners", "from 0 to 64", fits, self.corners),
        ];
        [parameters(self.strength, &self.space, task), search].concat()
    }

    /// The same: its range is no budget.
    fn at(&self, _: Budget) -> Box<dyn Attack> {
        Box::new(*self)
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        let (task, stains) = (task.afresh(), self.space.stains(task.images()));
        let mut worst = Worst::new(task.images());
        let climb = |worst: &mut Worst, start: Start<'_>| -> Result<(), AttackError> {
            let rows = worst.standing();
            if rows.is_empty() {
                return Ok(());
            }
            let left = task.keep(&rows);
            let starts = rows.iter().enumerate().map(|(at, &row)| start(&left, at, row)).collect();
            worst.offer(&rows, &self.climb(&left, stains.keep(&rows), starts)?);
            Ok(())
        };
        climb(&mut worst, &|_, _, _| StainShift::default())?;
        if self.corners > 0 {
            let ranked = self.corners(&task, &stains, &mut worst)?;
            (0..self.corners).try_for_each(|rank| climb(&mut worst, &|_, _, row| ranked[row][rank]))?;
        }
        for number in 0..self.random_starts {
            climb(&mut worst, &|left, at, _| {
                let mut generator = left.draws(STARTS, self.seed, &[number as u64]).generator(at);
                StainShift::uniform(self.strength, &mut generator)
            })?;
        }
        Ok(worst.0.images)
    }
}

/// Where an image starts, from the task, its row in the task and its row among all images.
type Start<'a> = &'a dyn Fn(&Task<'_>, usize, usize) -> StainShift;

/// What both searches check.
pub(super) fn parameters(strength: f64, space: &StainSpace, task: &Task<'_>) -> Vec<Parameter> {
    let [channels, ..] = task.shape();
    let colored = Parameter::new("channels", "3: red, green and blue", channels == 3, channels);
    [vec![StainShift::strength(strength), colored], space.parameters()].concat()
}
