//! Carlini & Wagner's attack in L-infinity.

use burn::tensor::Tensor;

use crate::attack::adam::Adam;
use crate::attack::base::{check, check_parameter, step};
use crate::attack::best::{Best, unset};
use crate::attack::hinge::{Hinge, reached_with};
use crate::attack::parameters::{above_zero, at_least_one, from_zero};
use crate::attack::rows::{choose, factors, take, values};
use crate::attack::{Attack, AttackError, Goal, Norm, tanh_space};
use crate::classifier::Frozen;
use crate::pixels::Epsilon;

/// Below this bound the authors' code stops: less than a grey level.
const SMALLEST_TAU: f64 = 1.0 / 256.0;

/// Carlini & Wagner's L-infinity attack: a bound tau on every change that shrinks as long as it can be kept.
///
/// Carlini & Wagner, "Towards Evaluating the Robustness of Neural Networks", S&P 2017, section VI.C: minimise
/// `c * max(0, confidence - margin(x')) + sum_i max(0, |x'_i - x_i| - tau)` by Adam with
/// `x' = (tanh(w) + 1) / 2`, from the last success on. Once the loss is below `c / 10000` and the goal is
/// reached, tau becomes the decrease factor times the smaller of tau and the largest change; if the steps do
/// not suffice, c grows by its factor. It ends at a tau of 1/256 or the largest c: the authors' `li_attack.py`,
/// here for a batch whose images each have their own tau, c and clock. Images that the goal fits from the start,
/// or for which nothing is found, come back as they are.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | confidence | 0 | finite, at least 0, in logits |
/// | steps | 1000 for each (tau, c) | at least 1 |
/// | learning rate | 0.005 | finite, above 0 |
/// | constants | from 0.00001, times 2, below 20 | finite, above 0; above 1; at least the first |
/// | decrease factor | 0.9 | above 0, below 1 |
/// | limit | none | finite, at least 0 |
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
/// let attack = CarliniWagnerLinf::new().with_constants(0.01, 2.0, 20.0);
/// let change = attack.perturb(&victim, images.clone(), &Goal::untargeted([0]))? - images;
/// let largest = Norm::Linf.measure(change).into_scalar::<f32>();
/// assert!((0.1..0.12).contains(&largest));
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CarliniWagnerLinf {
    confidence: f64,
    steps: usize,
    learning_rate: f64,
    initial_constant: f64,
    constant_factor: f64,
    largest_constant: f64,
    decrease_factor: f64,
    limit: Option<Epsilon>,
}

impl CarliniWagnerLinf {
    /// The attack with the settings of the authors' code.
    pub fn new() -> Self {
        Self {
            confidence: 0.0,
            steps: 1000,
            learning_rate: 5e-3,
            initial_constant: 1e-5,
            constant_factor: 2.0,
            largest_constant: 20.0,
            decrease_factor: 0.9,
            limit: None,
        }
    }

    /// The margin by which the goal has to be reached.
    pub fn with_confidence(mut self, confidence: f64) -> Self {
        self.confidence = confidence;
        self
    }

    /// Steps of Adam for each tau and constant.
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Adam's learning rate, in the space of `w`.
    pub fn with_learning_rate(mut self, rate: f64) -> Self {
        self.learning_rate = rate;
        self
    }

    /// The first constant, the factor to the next one, and the end that none of them reaches.
    pub fn with_constants(mut self, initial: f64, factor: f64, largest: f64) -> Self {
        (self.initial_constant, self.constant_factor, self.largest_constant) = (initial, factor, largest);
        self
    }

    /// By how much tau shrinks after each success.
    pub fn with_decrease_factor(mut self, factor: f64) -> Self {
        self.decrease_factor = factor;
        self
    }

    /// Leaves images as they are whose perturbation would be larger.
    pub fn with_limit(mut self, limit: Epsilon) -> Self {
        self.limit = Some(limit);
        self
    }

    fn check(&self) -> Result<(), AttackError> {
        from_zero("confidence", self.confidence)?;
        at_least_one("steps", self.steps)?;
        above_zero("learning_rate", self.learning_rate)?;
        above_zero("initial_constant", self.initial_constant)?;
        let factor = self.constant_factor;
        let grows = factor.is_finite() && factor > 1.0;
        check_parameter(grows, "constant_factor", "a finite number above 1", factor)?;
        let largest = self.largest_constant;
        let fits = largest.is_finite() && largest >= self.initial_constant;
        check_parameter(
            fits,
            "largest_constant",
            "a finite number of at least the initial constant",
            largest,
        )?;
        let decrease = self.decrease_factor;
        let shrinks = decrease > 0.0 && decrease < 1.0;
        check_parameter(shrinks, "decrease_factor", "a number between 0 and 1", decrease)
    }

    /// Steps at most: every one of the shrinks and of the constants may use up its own.
    fn total(&self) -> usize {
        let shrinks = SMALLEST_TAU.ln() / self.decrease_factor.ln();
        let constants = (self.largest_constant / self.initial_constant).ln() / self.constant_factor.ln();
        ((shrinks.ceil() + constants.ceil() + 1.0) as usize).saturating_mul(self.steps)
    }
}

impl Default for CarliniWagnerLinf {
    fn default() -> Self {
        Self::new()
    }
}

/// The images whose tau still shrinks.
struct Running {
    positions: Vec<usize>,
    originals: Tensor<4>,
    w: Tensor<4>,
    adam: Adam,
    goal: Goal,
    taus: Vec<f64>,
    constants: Vec<f64>,
    /// Steps since tau or the constant last changed.
    steps: Vec<usize>,
}

impl Running {
    fn take(&self, slots: &[usize]) -> Self {
        fn pick<T: Copy>(values: &[T], slots: &[usize]) -> Vec<T> {
            slots.iter().map(|&slot| values[slot]).collect()
        }
        Self {
            positions: pick(&self.positions, slots),
            originals: take(&self.originals, slots),
            w: take(&self.w, slots),
            adam: self.adam.take(slots),
            goal: self.goal.select(slots),
            taus: pick(&self.taus, slots),
            constants: pick(&self.constants, slots),
            steps: pick(&self.steps, slots),
        }
    }
}

impl Attack for CarliniWagnerLinf {
    fn name(&self) -> &'static str {
        "Carlini & Wagner Linf"
    }

    fn norm(&self) -> Norm {
        Norm::Linf
    }

    fn epsilon(&self) -> Option<Epsilon> {
        self.limit
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        Box::new(self.with_limit(epsilon))
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        check(victim, &images, goal, self.limit)?;
        self.check()?;
        let images = images.inner();
        if images.dims()[0] == 0 {
            return Ok(images);
        }
        step(victim, self.name(), 0, self.total())?;
        let reached = reached_with(goal, victim.logits(images.clone()), self.confidence);
        let positions = unset(&reached);
        let mut best = Best::new(images.clone(), Norm::Linf, self.limit);
        let originals = take(&images, &positions);
        let w = tanh_space::from_images(originals.clone());
        let mut running = Running {
            adam: Adam::new(self.learning_rate, &w),
            w,
            originals,
            goal: goal.select(&positions),
            taus: vec![1.0; positions.len()],
            constants: vec![self.initial_constant; positions.len()],
            steps: vec![0; positions.len()],
            positions,
        };
        let mut done = 0;
        while !running.positions.is_empty() {
            step(victim, self.name(), done, self.total())?;
            done += 1;
            let tried = tanh_space::to_images(running.w.clone());
            let constants: Vec<f32> = running.constants.iter().map(|&c| c as f32).collect();
            let hinge = Hinge::new(victim, tried.clone(), &running.goal, self.confidence, &constants);
            let change = tried.clone() - running.originals.clone();
            let taus: Vec<f32> = running.taus.iter().map(|&tau| tau as f32).collect();
            let excess = (change.clone().abs() - factors(&taus, &change)).clamp_min(0.0);
            let penalties = values(Norm::L1.measure(excess.clone()));
            let succeeds: Vec<bool> = (0..penalties.len())
                .map(|i| hinge.reached[i] && hinge.losses[i] + penalties[i] < 1e-4 * constants[i])
                .collect();
            best.offer(&running.positions, &tried, &succeeds);

            let gradient = hinge.gradient + change.clone().sign() * excess.sign();
            let moved = running.w.clone() - running.adam.step(tanh_space::pull_back(gradient, &tried));
            // A success is where the search for a smaller tau starts anew.
            running.w = choose(&succeeds, tanh_space::from_images(tried), moved);
            running.adam.restart(&succeeds);
            let largest = values(Norm::Linf.measure(change));
            for (i, &succeeds) in succeeds.iter().enumerate() {
                running.steps[i] += 1;
                if succeeds {
                    running.taus[i] = running.taus[i].min(f64::from(largest[i])) * self.decrease_factor;
                    running.steps[i] = 0;
                } else if running.steps[i] == self.steps {
                    running.constants[i] *= self.constant_factor;
                    running.steps[i] = 0;
                }
            }
            let goes_on =
                |&i: &usize| running.taus[i] > SMALLEST_TAU && running.constants[i] < self.largest_constant;
            let slots: Vec<usize> = (0..succeeds.len()).filter(goes_on).collect();
            if slots.len() < succeeds.len() {
                running = running.take(&slots);
            }
        }
        Ok(best.into_images())
    }
}
