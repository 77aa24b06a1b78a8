//! The smallest epsilon at which the fast gradient sign method succeeds.

use burn::tensor::Tensor;

use super::base::{check, check_parameter, finite_or_zero, step};
use super::rows::{factors, put, take, values};
use super::{Attack, AttackError, Goal, Norm};
use crate::classifier::Frozen;
use crate::pixels::Epsilon;

/// The smallest step along [`Fgsm`](super::Fgsm)'s direction that reaches the goal, image for image.
///
/// A grid of equal steps up to the limit finds the first success (Goodfellow et al., ICLR 2015, searched as by
/// foolbox 2's `GradientSignAttack`), and bisection narrows the gap to the point before it. What succeeds only
/// between two points of the grid is not seen. Images that reach the goal already, that have no gradient, or that
/// no point of the grid fells come back unchanged.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | limit | the diameter of \[0,1\]^n: 1 in L-infinity, sqrt(n) in L2, n in L1 | finite, at least 0 |
/// | norm | L-infinity | L-infinity, L2, L1 |
/// | grid | 100 | at least 1 |
/// | bisections | 10 | any |
///
/// An image costs one gradient, and one forward pass a point of the grid or a bisection, until it falls.
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// // "bright" above one half.
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let image = Tensor::full([1, 1, 2, 2], 0.62, &device);
/// let nearest = MinimalFgsm::new().perturb(&victim, image.clone(), &Goal::untargeted([1]))?;
/// let epsilon: f32 = Norm::Linf.measure(nearest - image).into_scalar();
/// assert!((epsilon - 0.12).abs() < 1e-4);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinimalFgsm {
    limit: Option<Epsilon>,
    norm: Norm,
    grid: usize,
    bisections: usize,
}

impl MinimalFgsm {
    /// The search in L-infinity, without a limit.
    pub fn new() -> Self {
        Self { limit: None, norm: Norm::Linf, grid: 100, bisections: 10 }
    }

    /// The same in another norm.
    pub fn with_norm(mut self, norm: Norm) -> Self {
        self.norm = norm;
        self
    }

    /// So many points, in equal distances up to the limit.
    pub fn with_grid(mut self, points: usize) -> Self {
        self.grid = points;
        self
    }

    /// So many halvings of the gap before the first success.
    pub fn with_bisections(mut self, bisections: usize) -> Self {
        self.bisections = bisections;
        self
    }
}

impl Default for MinimalFgsm {
    fn default() -> Self {
        Self::new()
    }
}

impl Attack for MinimalFgsm {
    fn name(&self) -> &'static str {
        "Minimal FGSM"
    }

    fn norm(&self) -> Norm {
        self.norm
    }

    fn epsilon(&self) -> Option<Epsilon> {
        self.limit
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        Box::new(Self { limit: Some(epsilon), ..*self })
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        let known = matches!(self.norm, Norm::Linf | Norm::L2 | Norm::L1);
        check_parameter(known, "norm", "Linf, L2 or L1", self.norm)?;
        check_parameter(self.grid >= 1, "grid", "at least 1", self.grid)?;
        check(victim, &images, goal, self.limit)?;
        let images = images.inner();
        let size: usize = images.dims()[1..].iter().product();
        let limit =
            self.limit.map_or_else(|| Norm::measure_values(self.norm, &vec![1.0; size]), Epsilon::value);
        if limit == 0.0 || images.dims()[0] == 0 {
            return Ok(images);
        }
        let total = self.grid.saturating_add(self.bisections);
        step(victim, self.name(), 0, total)?;
        let found = victim.input_gradient(images.clone(), |logits| goal.objective(logits));
        let direction = self.norm.unit_step(finite_or_zero(found.gradient));
        let moves = values(Norm::Linf.measure(direction.clone()));
        let at = |positions: &[usize], sizes: &[f64]| {
            let sizes: Vec<f32> = sizes.iter().map(|&size| size as f32).collect();
            let step = take(&direction, positions) * factors(&sizes, &direction);
            (take(&images, positions) + step).clamp(0.0, 1.0)
        };
        let reached = |positions: &[usize], sizes: &[f64]| {
            goal.select(positions).reached(victim.logits(at(positions, sizes)))
        };

        let there = goal.reached(found.logits);
        let mut standing: Vec<usize> = (0..there.len()).filter(|&i| !there[i] && moves[i] > 0.0).collect();
        let mut fallen: Vec<(usize, f64, f64)> = Vec::new();
        let point = |number: usize| limit * number as f64 / self.grid as f64;
        for number in 1..=self.grid {
            if standing.is_empty() {
                break;
            }
            if number > 1 {
                step(victim, self.name(), number - 1, total)?;
            }
            let reached = reached(&standing, &vec![point(number); standing.len()]);
            let mut falls = reached.into_iter();
            standing.retain(|&position| {
                let falls = falls.next() == Some(true);
                if falls {
                    fallen.push((position, point(number - 1), point(number)));
                }
                !falls
            });
        }
        if fallen.is_empty() {
            return Ok(images);
        }
        let positions: Vec<usize> = fallen.iter().map(|(position, ..)| *position).collect();
        for number in 0..self.bisections {
            step(victim, self.name(), self.grid + number, total)?;
            let middles: Vec<f64> = fallen.iter().map(|(_, low, high)| (low + high) / 2.0).collect();
            let reached = reached(&positions, &middles);
            for (((_, low, high), middle), reached) in fallen.iter_mut().zip(middles).zip(reached) {
                *(if reached { high } else { low }) = middle;
            }
        }
        let sizes: Vec<f64> = fallen.iter().map(|(.., high)| *high).collect();
        let nearest = at(&positions, &sizes);
        Ok(put(images, &positions, nearest))
    }
}
