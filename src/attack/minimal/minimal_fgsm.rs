//! The smallest epsilon at which the fast gradient sign method succeeds.

use crate::attack::prelude::*;

/// The smallest step along [`Fgsm`](crate::attack::Fgsm)'s direction that reaches the goal, image for image.
///
/// A grid of equal steps up to the limit finds the first success (Goodfellow et al., ICLR 2015, searched as
/// by foolbox 2's `GradientSignAttack`), and bisection narrows the gap to the point before it. What succeeds
/// only between two points of the grid is not seen. Images that reach the goal already, that have no
/// gradient, or that no point of the grid fells come back unchanged.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | limit | none | a budget in the attack's norm |
/// | norm | Linf | Linf, L2 or L1 |
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
#[derive(Config, Copy, Debug, PartialEq)]
pub struct MinimalFgsm {
    /// The end of the grid; without one the diameter of \[0,1\]^n: 1 in L-infinity, sqrt(n) in L2, n in L1.
    pub limit: Option<Budget>,
    /// The norm of the step.
    #[config(default = "Norm::Linf")]
    pub norm: Norm,
    /// Number of points, in equal distances up to the limit.
    #[config(default = 100)]
    pub grid: usize,
    /// Halvings of the gap before the first success.
    #[config(default = 10)]
    pub bisections: usize,
}

impl Attack for MinimalFgsm {
    fn profile(&self) -> Profile {
        let looks = self.grid.saturating_add(self.bisections);
        let queries = Queries::gradients(1) + Queries::forwards(looks);
        Profile::smallest("Minimal FGSM", (self.norm, self.limit), Access::Gradients, looks, queries)
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        vec![
            norm_among(self.norm, &[Norm::Linf, Norm::L2, Norm::L1]),
            Parameter::at_least("grid", self.grid, 1),
        ]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { norm: budget.norm(), limit: Some(budget), ..*self })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        let whole = || self.norm.measure_values(&vec![1.0; task.size()]);
        let limit = self.limit.map_or_else(whole, Budget::size);
        let point = |number: usize| limit * number as f64 / self.grid as f64;
        task.go_on()?;
        let images = task.images();
        let start = task.ascent(&images);
        let direction = self.norm.unit_step(start.gradient);
        let along = |rows: &[usize], sizes: &[f64]| {
            (take(&images, rows) + take(&direction, rows) * factors(sizes, &direction)).clamp(0.0, 1.0)
        };
        let reached = |rows: &[usize], sizes: &[f64]| task.keep(rows).reached(&along(rows, sizes));

        let moves = values(Norm::Linf.measure(direction.clone()));
        let mut standing = flagged(&task.goal().reached(start.logits), false);
        standing.retain(|&row| moves[row] > 0.0);
        let (mut fallen, mut gaps) = (vec![], vec![]);
        for number in 1..=self.grid {
            if standing.is_empty() {
                break;
            }
            task.step()?;
            let falls = reached(&standing, &vec![point(number); standing.len()]);
            fallen.extend(standing.keep(&flagged(&falls, true)));
            gaps.resize(fallen.len(), [point(number - 1), point(number)]);
            standing = standing.keep(&flagged(&falls, false));
        }
        if fallen.is_empty() {
            return Ok(images);
        }
        for _ in 0..self.bisections {
            task.step()?;
            let middles: Vec<f64> = gaps.iter().map(|[low, high]| (low + high) / 2.0).collect();
            let reached = reached(&fallen, &middles);
            for ((gap, middle), reached) in gaps.iter_mut().zip(middles).zip(reached) {
                gap[usize::from(reached)] = middle;
            }
        }
        let nearest = along(&fallen, &gaps.iter().map(|gap| gap[1]).collect::<Vec<f64>>());
        Ok(put(images, &fallen, nearest))
    }
}
