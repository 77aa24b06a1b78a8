//! Box-constrained L-BFGS, the first attack.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use basin::{
    BoxBounds, ConstraintDescription, ConstraintSet, Constraints, CostFunction, Executor, FirstOrderState,
    Gradient, Lbfgsb,
};
use burn::tensor::{Tensor, TensorData};

use super::base::{check, check_parameter, finite_or_zero, step};
use super::best::{Best, unset};
use super::constant::ConstantSearch;
use super::parameters::{above_zero, at_least_one};
use super::rows::{take, values};
use super::{Attack, AttackError, Goal, Norm};
use crate::classifier::Frozen;
use crate::pixels::Epsilon;

/// Where the optimiser stops, scipy's default for the gradient.
const GRADIENT_TOLERANCE: f64 = 1e-5;

/// Where the optimiser stops, what a sum of single-precision numbers resolves.
const REDUCTION_TOLERANCE: f64 = 1e-7;

/// Box-constrained L-BFGS: a penalty for being far from the image and from the target, minimised anew for each
/// weight of the two.
///
/// Szegedy, Zaremba, Sutskever, Bruna, Erhan, Goodfellow & Fergus, "Intriguing properties of neural networks",
/// ICLR 2014, section 4.1: minimise `|x' - x|_2^2 + c * J(x', target)` over \[0,1\], with J the cross-entropy and
/// the smallest c whose minimum reaches the target, by a search of its own for each image (times ten until it
/// does, then bisection): CleverHans' `LBFGS`, and its settings. The optimiser is the L-BFGS-B of the crate
/// basin, a port of version 3.0 of its authors' code, as scipy's is; the images' runs advance together, so that
/// the victim sees them as one batch.
///
/// Targeted. Images that are classified as the target from the start, or for which nothing is found, come back
/// as they are.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | search steps | 5 | at least 1 |
/// | iterations | 1000 for each c | at least 1 |
/// | initial constant | 0.01 | finite, above 0 |
/// | limit | none | finite, at least 0 |
///
/// An iteration costs one gradient, at times a few.
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lbfgs {
    search_steps: usize,
    iterations: usize,
    initial_constant: f64,
    limit: Option<Epsilon>,
}

impl Lbfgs {
    /// The attack with CleverHans' settings.
    pub fn new() -> Self {
        Self { search_steps: 5, iterations: 1000, initial_constant: 0.01, limit: None }
    }

    /// How many constants to try.
    pub fn with_search_steps(mut self, steps: usize) -> Self {
        self.search_steps = steps;
        self
    }

    /// Iterations of the optimiser for each constant, at most.
    pub fn with_iterations(mut self, iterations: usize) -> Self {
        self.iterations = iterations;
        self
    }

    /// The first constant.
    pub fn with_initial_constant(mut self, constant: f64) -> Self {
        self.initial_constant = constant;
        self
    }

    /// Leaves images as they are whose perturbation would be larger.
    pub fn with_limit(mut self, limit: Epsilon) -> Self {
        self.limit = Some(limit);
        self
    }

    fn check(&self, goal: &Goal) -> Result<(), AttackError> {
        check_parameter(goal.is_targeted(), "goal", "a targeted one", "an untargeted one")?;
        at_least_one("search_steps", self.search_steps)?;
        at_least_one("iterations", self.iterations)?;
        above_zero("initial_constant", self.initial_constant)
    }

    /// The minimum for each image with its constant. Each optimiser has a thread; every round takes one message
    /// from each that still runs, so that its questions can be put to the victim as one batch.
    fn minimise(
        &self,
        victim: &Frozen,
        originals: &Tensor<4>,
        goal: &Goal,
        constants: &[f64],
        round: usize,
    ) -> Result<Tensor<4>, AttackError> {
        let shape = originals.dims();
        let pixels: Vec<f64> = values(originals.clone()).into_iter().map(f64::from).collect();
        let size = pixels.len() / shape[0];
        let batch = |points: Vec<f32>| {
            let count = points.len() / size;
            Tensor::<4>::from_data(
                TensorData::new(points, [count, shape[1], shape[2], shape[3]]),
                &originals.device(),
            )
        };
        let (say, heard) = channel();
        thread::scope(|scope| {
            let answers: Vec<Sender<Answer>> = (0..shape[0])
                .map(|slot| {
                    let (answer, answers) = channel();
                    let original = &pixels[slot * size..(slot + 1) * size];
                    let run = Run {
                        original,
                        constant: constants[slot],
                        bounds: (vec![0.0; size], vec![1.0; size]),
                        slot,
                        say: say.clone(),
                        answers,
                    };
                    let iterations = self.iterations as u64;
                    let end = End { slot, say: say.clone(), point: original.to_vec() };
                    scope.spawn(move || run.minimise(end, iterations));
                    answer
                })
                .collect();
            let mut points = pixels.iter().map(|&pixel| pixel as f32).collect::<Vec<f32>>();
            let (mut running, mut done) = (shape[0], 0);
            while running > 0 {
                let mut asking = vec![];
                let messages: Vec<(usize, Message)> =
                    (0..running).map(|_| heard.recv().expect("this function holds a sender")).collect();
                for (slot, message) in messages {
                    let (Message::Point(point) | Message::End(point)) = &message;
                    let image = &mut points[slot * size..(slot + 1) * size];
                    image.iter_mut().zip(point).for_each(|(pixel, &value)| *pixel = value as f32);
                    match message {
                        Message::Point(_) => asking.push(slot),
                        Message::End(_) => running -= 1,
                    }
                }
                if asking.is_empty() {
                    continue;
                }
                let total = self.search_steps * self.iterations;
                step(victim, NAME, round * self.iterations + done.min(self.iterations - 1), total)?;
                done += 1;
                asking.sort_unstable();
                let images =
                    batch(asking.iter().flat_map(|s| points[s * size..(s + 1) * size].to_vec()).collect());
                let goal = goal.select(&asking);
                let pass = victim.input_gradient(images, |logits| goal.objective(logits).neg());
                let losses = values(goal.objective(pass.logits).neg());
                let gradients = values(finite_or_zero(pass.gradient));
                for (i, &slot) in asking.iter().enumerate() {
                    let answer = (f64::from(losses[i]), gradients[i * size..(i + 1) * size].to_vec());
                    // A run that is gone has said so, and is heard in the next round.
                    let _ = answers[slot].send(answer);
                }
            }
            Ok(batch(points))
        })
    }
}

impl Default for Lbfgs {
    fn default() -> Self {
        Self::new()
    }
}

const NAME: &str = "L-BFGS";

/// The cross-entropy of the target at a point, and its gradient.
type Answer = (f64, Vec<f32>);

enum Message {
    /// A question: what does the victim say here?
    Point(Vec<f64>),
    /// The last word of a run.
    End(Vec<f64>),
}

/// Says a run's last word, also when the run panics: nobody waits for it then.
struct End {
    slot: usize,
    say: Sender<(usize, Message)>,
    point: Vec<f64>,
}

impl Drop for End {
    fn drop(&mut self) {
        // Nobody listens after a stop.
        let _ = self.say.send((self.slot, Message::End(std::mem::take(&mut self.point))));
    }
}

/// The optimisation for one image and constant.
struct Run<'a> {
    original: &'a [f64],
    constant: f64,
    bounds: (Vec<f64>, Vec<f64>),
    slot: usize,
    say: Sender<(usize, Message)>,
    answers: Receiver<Answer>,
}

/// The attack was stopped while a run waited for an answer.
#[derive(Debug)]
struct Gone;

impl Run<'_> {
    fn minimise(self, mut end: End, iterations: u64) {
        let solver = Lbfgsb::new()
            .with_absolute_projected_gradient_tolerance(GRADIENT_TOLERANCE)
            .with_relative_cost_reduction_tolerance(REDUCTION_TOLERANCE);
        let start = FirstOrderState::new(self.original.to_vec());
        if let Ok(found) = Executor::new(self, solver, start).max_iter(iterations).run() {
            end.point.clone_from(found.param());
        }
    }

    fn ask(&self, point: &[f64]) -> Result<(f64, Vec<f64>), Gone> {
        self.say.send((self.slot, Message::Point(point.to_vec()))).map_err(|_| Gone)?;
        let (loss, slope) = self.answers.recv().map_err(|_| Gone)?;
        let mut cost = self.constant * loss;
        let gradient: Vec<f64> = point
            .iter()
            .zip(self.original)
            .zip(slope)
            .map(|((&pixel, &original), slope)| {
                cost += (pixel - original).powi(2);
                2.0 * (pixel - original) + self.constant * f64::from(slope)
            })
            .collect();
        Ok((cost, gradient))
    }
}

impl Constraints for Run<'_> {
    type Set = ConstraintSet<BoxBounds<Vec<f64>>>;

    fn constraints(&self) -> <Self::Set as ConstraintDescription>::Borrowed<'_> {
        ConstraintSet::new().with_bounds(BoxBounds::new(Some(&self.bounds.0), Some(&self.bounds.1)))
    }
}

impl CostFunction for Run<'_> {
    type Param = Vec<f64>;
    type Output = f64;
    type Error = Gone;

    fn cost(&self, point: &Vec<f64>) -> Result<f64, Gone> {
        Ok(self.ask(point)?.0)
    }
}

impl Gradient for Run<'_> {
    type Gradient = Vec<f64>;

    fn gradient(&self, point: &Vec<f64>) -> Result<Vec<f64>, Gone> {
        Ok(self.ask(point)?.1)
    }

    fn cost_and_gradient(&self, point: &Vec<f64>) -> Result<(f64, Vec<f64>), Gone> {
        self.ask(point)
    }
}

impl Attack for Lbfgs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn norm(&self) -> Norm {
        Norm::L2
    }

    fn epsilon(&self) -> Option<Epsilon> {
        self.limit
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        Box::new(self.with_limit(epsilon))
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        check(victim, &images, goal, self.limit)?;
        self.check(goal)?;
        let images = images.inner();
        if images.shape().num_elements() == 0 {
            return Ok(images);
        }
        step(victim, NAME, 0, self.search_steps * self.iterations)?;
        let reached = goal.reached(victim.logits(images.clone()));
        let positions = unset(&reached);
        let mut best = Best::new(images.clone(), Norm::L2, self.limit);
        if positions.is_empty() {
            return Ok(best.into_images());
        }
        let originals = take(&images, &positions);
        let goal = goal.select(&positions);
        let mut search = ConstantSearch::new(positions.len(), self.initial_constant, self.search_steps);
        for round in 0..self.search_steps {
            let found = self.minimise(victim, &originals, &goal, search.constants(), round)?;
            let reached = goal.reached(victim.logits(found.clone()));
            best.offer(&positions, &found, &reached);
            search.update(&reached);
        }
        Ok(best.into_images())
    }
}
