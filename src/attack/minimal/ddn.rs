//! Decoupled direction and norm.

use crate::attack::prelude::*;
use crate::attack::steps::{Smallest, cosine};
use crate::classifier::InputGradient;
use crate::pixels::{change, changed, normal};
use crate::rows::each;

/// Gradients shorter than this have no direction, as in the reference.
const TINY: f64 = 1e-12;
/// The step size at the end of its cosine.
const LAST_STEP: f64 = 0.01;

/// Decoupled direction and norm (DDN): the gradient says where to go, and whether the last point was
/// adversarial says how far; by default every point that it tries is an image of 8 bits.
///
/// Rony, Hafemann, Oliveira, Ben Ayed, Sabourin & Granger, "Decoupling Direction and Norm for Efficient
/// Gradient-Based L2 Adversarial Attacks and Defenses", CVPR 2019, algorithm 1: steps of length alpha, from
/// 1 to 0.01 along a cosine, up the cross-entropy; then the change gets the norm epsilon, which shrinks by
/// gamma after an adversarial point and grows by it after another one; then the point is cut to \[0,1\] and
/// rounded to the levels. As adv-lib's `ddn`, point for point, but that the direction is found from the
/// logarithm of the odds, whose gradient is parallel to the cross-entropy's and does not vanish where the
/// victim is sure. Where there is no gradient at all the step is standard normal noise, drawn for each
/// image.
///
/// What it finds survives a PNG: an attack that searches between the levels can be undone by rounding.
/// Images that are not on the levels themselves move onto them. One gradient a step; images for which
/// nothing is found within the limit come back as they are.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | limit | none | a budget in the attack's norm |
/// | steps | 100 | at least 1 |
/// | gamma: change of the norm in a step | 0.05 | a number from 0 to 1 |
/// | init norm | 1 | a finite number above 0 |
/// | levels | 256 | none, or at least 2 |
/// | seed | 0 | any |
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone(), bright.neg() + 1.0], 1)
/// });
/// // "Bright" ends at a mean of 0.5: 127.5 grey levels, and pixels have whole ones.
/// let images = Tensor::full([1, 1, 2, 2], 153.0 / 255.0, &device);
/// let fallen = Ddn::new().perturb(&victim, images, &Goal::untargeted([0]))? * 255.0;
/// assert!((fallen.clone() - fallen.clone().round()).abs().max().into_scalar::<f32>() < 1e-4);
/// assert!((fallen.mean().into_scalar::<f32>() - 127.0).abs() < 0.6);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct Ddn {
    /// Images that need a larger perturbation stay as they are.
    pub limit: Option<Budget>,
    /// Number of steps.
    #[config(default = 100)]
    pub steps: usize,
    /// The share by which the norm shrinks or grows in a step.
    #[config(default = 0.05)]
    pub gamma: f64,
    /// The norm of the first step.
    #[config(default = 1.0)]
    pub init_norm: f64,
    /// The number of levels of a pixel's channel, evenly from 0 to 1; `None` to leave points as they are.
    #[config(default = "Some(256)")]
    pub levels: Option<usize>,
    /// The seed of the steps without a gradient.
    #[config(default = 0)]
    pub seed: u64,
}

impl Ddn {
    /// The next point of one image: a step of this length in a direction, rescaled to a norm.
    fn advance(&self, from: [&[f32]; 2], way: &[f32], alpha: f64, epsilon: f64) -> Vec<f32> {
        let [original, point] = from;
        let moved = change(original, point).into_iter().zip(way).map(|(d, &g)| d + alpha * f64::from(g));
        let moved: Vec<f64> = moved.collect();
        let scale = epsilon / Norm::L2.measure_values(&moved).max(TINY);
        let point = changed(original, moved.into_iter().map(|d| d * scale));
        match self.levels {
            Some(levels) => point.into_iter().map(|pixel| rounded(pixel, levels)).collect(),
            None => point,
        }
    }

    /// The gradient at length one, or standard normal noise where there is none.
    fn direction(&self, task: &Task<'_>, gradient: &Tensor<4>, step: usize) -> Vec<f32> {
        let draws = task.draws(Purpose::DDN, self.seed, &[step as u64]);
        let ways = each(gradient, |row, gradient| {
            let length = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            if length >= TINY {
                return gradient.iter().map(|&g| (f64::from(g) / length) as f32).collect();
            }
            let mut noise = vec![0.0; gradient.len()];
            normal(&mut noise, &mut draws.generator(row));
            noise
        });
        values(task.restrict(ways))
    }
}

/// The nearest level, the even one of two.
fn rounded(pixel: f32, levels: usize) -> f32 {
    let last = (levels - 1) as f64;
    ((f64::from(pixel) * last).round_ties_even() / last) as f32
}

impl Attack for Ddn {
    fn profile(&self) -> Profile {
        let queries = Queries::forwards(1) + Queries::gradients(self.steps);
        Profile::smallest("DDN", (Norm::L2, self.limit), Access::Gradients, self.steps, queries)
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        let levels = self.levels.is_none_or(|levels| levels >= 2);
        vec![
            Parameter::at_least("steps", self.steps, 1),
            Parameter::within("gamma", self.gamma, 0.0..=1.0),
            Parameter::above_zero("init norm", self.init_norm),
            Parameter::new("levels", "none, or at least 2", levels, self.levels.unwrap_or(0)),
        ]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { limit: Some(budget), ..*self })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        Smallest::search(&task, (Norm::L2, self.limit), 0.0, |task, _, found| {
            let (size, clean, goal) = (task.size(), values(task.images()), task.goal());
            let clean = |row: usize| &clean[row * size..][..size];
            let widest: Vec<f64> =
                (0..task.len()).map(|row| task.farthest(row, Norm::L2, clean(row))).collect();
            let mut epsilons = vec![self.init_norm; task.len()];
            let mut points = task.images();
            for step in 0..self.steps {
                task.step()?;
                let InputGradient { logits, gradient } =
                    task.gradient(&points, |logits| goal.log_odds(logits));
                let reached = goal.reached(logits);
                found.offer(task.positions(), &points, &reached);

                let alpha = cosine(1.0, LAST_STEP, step, self.steps);
                for (row, epsilon) in epsilons.iter_mut().enumerate() {
                    let factor = if reached[row] { 1.0 - self.gamma } else { 1.0 + self.gamma };
                    *epsilon = (*epsilon * factor).min(widest[row]);
                }
                let ways = self.direction(&task, &gradient, step);
                points = task.compose(each(&points, |row, point| {
                    self.advance([clean(row), point], &ways[row * size..][..size], alpha, epsilons[row])
                }));
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn levels_are_those_of_8_bit_images() {
        for level in 0..=255u8 {
            let pixel = f32::from(level) / 255.0;
            assert_eq!(rounded(pixel, 256), pixel);
            assert_eq!(rounded((pixel + 0.4 / 255.0).min(1.0), 256), pixel);
        }
        assert_eq!([0.25, 0.2500001, 0.75].map(|pixel| rounded(pixel, 3)), [0.0, 0.5, 1.0]);
    }
}
