//! Carlini & Wagner's attack in L-infinity.

use crate::attack::prelude::*;
use crate::attack::steps::{Adam, Hinge, Smallest, tanh_space};

/// Below this bound the authors' code stops: less than a grey level.
const SMALLEST_TAU: f64 = 1.0 / 256.0;

/// Carlini & Wagner's L-infinity attack: a bound tau on every change that shrinks as long as it can be kept.
///
/// Carlini & Wagner, "Towards Evaluating the Robustness of Neural Networks", S&P 2017, section VI.C: minimise
/// `c * max(0, confidence - margin(x')) + sum_i max(0, |x'_i - x_i| - tau)` by Adam with
/// `x' = (tanh(w) + 1) / 2`, from the last success on. Once the loss is below `c / 10000` and the goal is
/// reached, tau becomes the decrease factor times the smaller of tau and the largest change; if the steps do
/// not suffice, c grows by its factor. It ends at a tau of 1/256 or the largest c: the authors'
/// `li_attack.py`, here for a batch whose images each have their own tau, c and clock. Images that the goal
/// fits from the start, or for which nothing is found, come back as they are.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | limit | none | a budget in the attack's norm |
/// | confidence | 0 | a finite number of at least 0 |
/// | steps | 1000 for each (tau, c) | at least 1 |
/// | learning rate | 0.005 | a finite number above 0 |
/// | initial constant | 0.00001 | a finite number above 0 |
/// | constant factor | 2 | a finite number above 1 |
/// | largest constant | 20, which c stays below | a finite number of at least the initial constant |
/// | decrease factor | 0.9 | a number between 0 and 1 |
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone(), bright.neg() + 1.0], 1)
/// });
/// // "Bright" ends at a mean of 0.5: nearest where every pixel gives 0.1.
/// let images = Tensor::full([1, 1, 2, 2], 0.6, &device);
/// let attack = CarliniWagnerLinf::new().with_initial_constant(0.01);
/// let change = attack.perturb(&victim, images.clone(), &Goal::untargeted([0]))? - images;
/// let largest = Norm::Linf.measure(change).into_scalar::<f32>();
/// assert!((0.1..0.12).contains(&largest));
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct CarliniWagnerLinf {
    /// Images that need a larger perturbation stay as they are.
    pub limit: Option<Budget>,
    /// The margin by which the goal has to be reached, in logits.
    #[config(default = 0.0)]
    pub confidence: f64,
    /// Steps of Adam for each tau and constant.
    #[config(default = 1000)]
    pub steps: usize,
    /// Adam's learning rate, in the space of `w`.
    #[config(default = 0.005)]
    pub learning_rate: f64,
    /// The first constant.
    #[config(default = 0.00001)]
    pub initial_constant: f64,
    /// From a constant to the next one.
    #[config(default = 2.0)]
    pub constant_factor: f64,
    /// The end that no later constant reaches.
    #[config(default = 20.0)]
    pub largest_constant: f64,
    /// By how much tau shrinks after each success.
    #[config(default = 0.9)]
    pub decrease_factor: f64,
}

crate::rows! {
    /// The images whose tau still shrinks.
    struct Running<'a> {
        task: Task<'a>,
        w: Tensor<4>,
        adam: Adam,
        taus: Vec<f64>,
        constants: Vec<f64>,
        /// Steps since tau or the constant last changed.
        steps: Vec<usize>,
    }
}

impl CarliniWagnerLinf {
    /// One step of Adam, and what it means for tau and the constant.
    fn advance(&self, running: &mut Running<'_>, found: &mut Smallest) {
        let tried = running.task.compose(tanh_space::to_images(running.w.clone()));
        let constants: Vec<f32> = running.constants.iter().map(|&c| c as f32).collect();
        let hinge = Hinge::new(&running.task, &tried, self.confidence, &constants);
        let change = tried.clone() - running.task.images();
        let excess = (change.clone().abs() - factors(&running.taus, &change)).clamp_min(0.0);
        let penalties = values(Norm::L1.measure(excess.clone()));
        let succeeds: Vec<bool> = (0..penalties.len())
            .map(|i| hinge.reached[i] && hinge.losses[i] + penalties[i] < 1e-4 * constants[i])
            .collect();
        found.offer(running.task.positions(), &tried, &succeeds);

        let gradient = hinge.gradient + change.clone().sign() * excess.sign();
        let moved = running.w.clone() - running.adam.step(tanh_space::pull_back(gradient, &tried));
        // A success is where the search for a smaller tau starts anew.
        running.w = choose(&succeeds, tanh_space::from_images(tried), moved);
        running.adam.restart(&succeeds);
        let largest = values(Norm::Linf.measure(change));
        for (i, succeeds) in succeeds.into_iter().enumerate() {
            running.steps[i] += 1;
            if succeeds {
                running.taus[i] = running.taus[i].min(f64::from(largest[i])) * self.decrease_factor;
                running.steps[i] = 0;
            } else if running.steps[i] == self.steps {
                running.constants[i] *= self.constant_factor;
                running.steps[i] = 0;
            }
        }
    }
}

impl Attack for CarliniWagnerLinf {
    fn profile(&self) -> Profile {
        // Every one of the shrinks and of the constants may use up its own.
        let shrinks = SMALLEST_TAU.ln() / self.decrease_factor.ln();
        let constants = (self.largest_constant / self.initial_constant).ln() / self.constant_factor.ln();
        let steps = ((shrinks.ceil() + constants.ceil() + 1.0) as usize).saturating_mul(self.steps);
        let (norm, queries) = (Norm::Linf, Queries::forwards(1) + Queries::gradients(steps));
        Profile::smallest("Carlini & Wagner Linf", (norm, self.limit), Access::Gradients, steps, queries)
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        let (largest, decrease) = (self.largest_constant, self.decrease_factor);
        let fits = largest.is_finite() && largest >= self.initial_constant;
        let shrinks = decrease > 0.0 && decrease < 1.0;
        let least = "a finite number of at least the initial constant";
        vec![
            Parameter::from_zero("confidence", self.confidence),
            Parameter::at_least("steps", self.steps, 1),
            Parameter::above_zero("learning rate", self.learning_rate),
            Parameter::above_zero("initial constant", self.initial_constant),
            Parameter::finite_above("constant factor", self.constant_factor, 1.0),
            Parameter::new("largest constant", least, fits, largest),
            Parameter::new("decrease factor", "a number between 0 and 1", shrinks, decrease),
        ]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { limit: Some(budget), ..*self })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        Smallest::search(&task, (Norm::Linf, self.limit), self.confidence, |task, _, found| {
            let w = tanh_space::from_images(task.images());
            let (count, adam) = (task.len(), Adam::new(self.learning_rate, &w));
            let (taus, constants) = (vec![1.0; count], vec![self.initial_constant; count]);
            let mut running = Running { task, w, adam, taus, constants, steps: vec![0; count] };
            loop {
                running.task.step()?;
                self.advance(&mut running, found);
                let goes_on = |&i: &usize| {
                    running.taus[i] > SMALLEST_TAU && running.constants[i] < self.largest_constant
                };
                let going: Vec<usize> = (0..running.taus.len()).filter(goes_on).collect();
                if going.is_empty() {
                    return Ok(());
                }
                running = running.keep(&going);
            }
        })
    }
}
