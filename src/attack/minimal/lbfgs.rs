//! Box-constrained L-BFGS, the first attack.

use std::sync::mpsc::RecvError;

use basin::{
    BoxBounds, ConstraintDescription, ConstraintSet, Constraints, CostFunction, Executor, FirstOrderState,
    Gradient, Lbfgsb,
};

use crate::attack::prelude::*;
use crate::attack::steps::{Oracle, Smallest, side_by_side, smallest_constants};

/// Where the optimiser stops, scipy's default for the gradient.
const GRADIENT_TOLERANCE: f64 = 1e-5;

/// Where the optimiser stops, what a sum of single-precision numbers resolves.
const REDUCTION_TOLERANCE: f64 = 1e-7;

/// Points that an iteration looks at, at most: two line searches of 20, and the points that they choose.
const LOOKS: usize = 42;

/// Box-constrained L-BFGS: a penalty for being far from the image and from the target, minimised anew for
/// each weight of the two.
///
/// Szegedy, Zaremba, Sutskever, Bruna, Erhan, Goodfellow & Fergus, "Intriguing properties of neural
/// networks", ICLR 2014, section 4.1: minimise `|x' - x|_2^2 + c * J(x', target)` over \[0,1\], with J the
/// cross-entropy and the smallest c whose minimum reaches the target, by a search of its own for each image
/// (times ten until it does, then bisection): CleverHans' `LBFGS`, and its settings. The optimiser is the
/// L-BFGS-B of the crate basin, a port of version 3.0 of its authors' code, as scipy's is; the images' runs
/// advance together, so that the victim sees them as one batch.
///
/// Targeted. Images that are classified as the target from the start, or for which nothing is found, come
/// back as they are.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | limit | none | a budget in the attack's norm |
/// | search steps | 5 | at least 1 |
/// | iterations | 1000 for each c | at least 1 |
/// | initial constant | 0.01 | a finite number above 0 |
///
/// An iteration costs one gradient, at times a few, 42 at most.
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) * 20.0;
///     Tensor::cat(vec![bright.clone(), bright.neg() + 20.0], 1)
/// });
/// // "Bright" ends at a mean of 0.5: nearest where each of the four pixels gives 0.1.
/// let images = Tensor::full([1, 1, 2, 2], 0.6, &device);
/// let change = Lbfgs::new().perturb(&victim, images.clone(), &Goal::targeted([1]))? - images;
/// let length = Norm::L2.measure(change).into_scalar::<f32>();
/// assert!((0.2..0.25).contains(&length), "{length}");
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct Lbfgs {
    /// Images that need a larger perturbation stay as they are.
    pub limit: Option<Budget>,
    /// How many constants to try.
    #[config(default = 5)]
    pub search_steps: usize,
    /// Iterations of the optimiser for each constant, at most.
    #[config(default = 1000)]
    pub iterations: usize,
    /// The first constant.
    #[config(default = 0.01)]
    pub initial_constant: f64,
}

impl Lbfgs {
    /// The minimum for one image and constant.
    fn minimise(&self, image: &[f64], constant: f64, victim: Oracle) -> Vec<f64> {
        let bounds = (vec![0.0; image.len()], vec![1.0; image.len()]);
        let solver = Lbfgsb::new()
            .with_absolute_projected_gradient_tolerance(GRADIENT_TOLERANCE)
            .with_relative_cost_reduction_tolerance(REDUCTION_TOLERANCE);
        let start = FirstOrderState::new(image.to_vec());
        let found = Executor::new(Penalty { image, constant, bounds, victim }, solver, start)
            .max_iter(self.iterations as u64)
            .run();
        found.map_or_else(|_| image.to_vec(), |found| found.param().clone())
    }
}

impl Attack for Lbfgs {
    fn profile(&self) -> Profile {
        let (searches, steps) = (self.search_steps, self.search_steps * self.iterations);
        let queries = Queries::forwards(1 + searches) + Queries::gradients(searches + LOOKS * steps);
        Profile::smallest("L-BFGS", (Norm::L2, self.limit), Access::Gradients, steps, queries).targeted()
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        vec![
            Parameter::at_least("search steps", self.search_steps, 1),
            Parameter::at_least("iterations", self.iterations, 1),
            Parameter::above_zero("initial constant", self.initial_constant),
        ]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { limit: Some(budget), ..*self })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        Smallest::search(&task, (Norm::L2, self.limit), 0.0, |task, _, found| {
            smallest_constants(task.len(), self.initial_constant, self.search_steps, |constants| {
                let points = side_by_side(
                    &task,
                    self.iterations,
                    |goal, logits| goal.objective(logits).neg(),
                    |row, image, victim| self.minimise(image, constants[row], victim),
                )?;
                Ok(found.ask(&task, &task.compose(points)))
            })
        })
    }
}

/// `|x' - x|_2^2 + c * J(x', target)` over \[0,1\] for one image.
struct Penalty<'a> {
    image: &'a [f64],
    constant: f64,
    bounds: (Vec<f64>, Vec<f64>),
    victim: Oracle,
}

impl Constraints for Penalty<'_> {
    type Set = ConstraintSet<BoxBounds<Vec<f64>>>;

    fn constraints(&self) -> <Self::Set as ConstraintDescription>::Borrowed<'_> {
        ConstraintSet::new().with_bounds(BoxBounds::new(Some(&self.bounds.0), Some(&self.bounds.1)))
    }
}

impl CostFunction for Penalty<'_> {
    type Param = Vec<f64>;
    type Output = f64;
    type Error = RecvError;

    fn cost(&self, point: &Vec<f64>) -> Result<f64, RecvError> {
        Ok(self.cost_and_gradient(point)?.0)
    }
}

impl Gradient for Penalty<'_> {
    type Gradient = Vec<f64>;

    fn gradient(&self, point: &Vec<f64>) -> Result<Vec<f64>, RecvError> {
        Ok(self.cost_and_gradient(point)?.1)
    }

    fn cost_and_gradient(&self, point: &Vec<f64>) -> Result<(f64, Vec<f64>), RecvError> {
        let (loss, slope) = self.victim.ask(point)?;
        let mut cost = self.constant * loss;
        let entry = |((&pixel, &original), slope): ((&f64, &f64), f32)| {
            cost += (pixel - original).powi(2);
            2.0 * (pixel - original) + self.constant * f64::from(slope)
        };
        let gradient = point.iter().zip(self.image).zip(slope).map(entry).collect();
        Ok((cost, gradient))
    }
}
