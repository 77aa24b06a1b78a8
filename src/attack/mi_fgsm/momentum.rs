//! The momentum iterative method: its direction.

use burn::tensor::Tensor;
use rand::RngExt;

use super::attack::{Diversity, MiFgsm, Tuning};
use super::separable::{Separable, gaussian_rows, resize_rows};
use crate::attack::ascent::{Direction, Rule};
use crate::attack::base::finite_or_zero;
use crate::attack::draw::{Source, uniform_in_ball};
use crate::attack::{Goal, Norm};
use crate::classifier::Frozen;
use crate::random::Purpose;

/// The running direction of one batch.
pub(super) struct Momentum<'a> {
    attack: &'a MiFgsm,
    step_size: f64,
    smoothing: Option<Separable>,
    momentum: Tensor<4>,
    /// By how much the last step's neighbours differed from its own gradient.
    variance: Option<Tensor<4>>,
}

impl<'a> Momentum<'a> {
    pub(super) fn new(attack: &'a MiFgsm, step_size: f64, images: &Tensor<4>) -> Self {
        let [.., height, width] = images.dims();
        let smoothing = attack.kernel.map(|length| {
            let sides = (gaussian_rows(height, length), gaussian_rows(width, length));
            Separable::new(vec![sides], images)
        });
        Self { attack, step_size, smoothing, momentum: images.zeros_like(), variance: None }
    }

    /// The gradient at a point through the copies and transformations; `pass` tells random draws apart.
    fn gradient(&self, victim: &Frozen, at: &Tensor<4>, goal: &Goal, pass: [u64; 2]) -> Tensor<4> {
        let copies = self.attack.copies;
        let gradients = (0..copies).map(|copy| {
            let scale = 0.5f64.powi(copy as i32);
            let scaled = at.clone() * scale;
            let objective = |logits| goal.objective(logits);
            let raw = |images| finite_or_zero(victim.input_gradient(images, objective).gradient);
            let gradient = match &self.attack.diversity {
                None => raw(scaled),
                Some(diversity) => {
                    let parts = [pass[0], pass[1], copy as u64];
                    let resized = diversity.draw(at, goal, self.attack.seed, &parts);
                    resized.adjoint(raw(resized.apply(scaled)))
                }
            };
            gradient * scale
        });
        let mean =
            gradients.reduce(|sum, gradient| sum + gradient).expect("at least one copy") / copies as f64;
        match &self.smoothing {
            Some(smoothing) => smoothing.apply(mean),
            None => mean,
        }
    }

    /// The mean gradient of the neighbours minus the point's own.
    fn variance(
        &self,
        victim: &Frozen,
        at: &Tensor<4>,
        goal: &Goal,
        step: usize,
        Tuning { neighbours, beta }: Tuning,
        own: Tensor<4>,
    ) -> Tensor<4> {
        let radius = beta * self.attack.epsilon.value();
        let gradients = (1..=neighbours as u64).map(|neighbour| {
            let pass = [step as u64, neighbour];
            let source = Source { purpose: Purpose::VarianceTuning, seed: self.attack.seed, parts: &pass };
            let change = source.perturbations(at, goal, |point, rng| {
                uniform_in_ball(self.attack.norm, radius, point, rng);
            });
            self.gradient(victim, &(at.clone() + change), goal, pass)
        });
        let sum = gradients.reduce(|sum, gradient| sum + gradient).expect("at least one neighbour");
        sum / neighbours as f64 - own
    }
}

impl Rule for Momentum<'_> {
    fn direction(&mut self, victim: &Frozen, at: &Tensor<4>, goal: &Goal, step: usize) -> Direction {
        let attack = self.attack;
        let ahead = match attack.nesterov {
            true => at.clone() + self.momentum.clone() * (attack.decay * self.step_size),
            false => at.clone(),
        };
        let own = self.gradient(victim, &ahead, goal, [step as u64, 0]);
        let tuned = match self.variance.take() {
            Some(variance) => own.clone() + variance,
            None => own.clone(),
        };
        let unit = match attack.norm {
            // Divided by its mean size.
            Norm::Linf => Norm::L1.unit_step(tuned) * at.dims()[1..].iter().product::<usize>() as f64,
            norm => norm.unit_step(tuned),
        };
        self.momentum = self.momentum.clone() * attack.decay + unit;
        if let Some(tuning) = attack.tuning
            && step + 1 < attack.steps
        {
            self.variance = Some(self.variance(victim, at, goal, step, tuning, own));
        }
        Direction { gradient: self.momentum.clone(), logits: None }
    }
}

impl Diversity {
    /// Each image's own resizing and place, or none.
    fn draw(&self, images: &Tensor<4>, goal: &Goal, seed: u64, parts: &[u64]) -> Separable {
        let [batch, _, height, width] = images.dims();
        let source = Source { purpose: Purpose::InputDiversity, seed, parts };
        let smallest = |side: usize| ((side as f64 * self.resize_rate) as usize).max(1);
        let sides = (0..batch).map(|position| {
            let mut rng = source.of(goal.index(position));
            let transformed = rng.random::<f64>() < self.probability && smallest(width) < width;
            let resized = if transformed { rng.random_range(smallest(width)..width) } else { width };
            // The height keeps the proportions of the image.
            let short = ((height * resized) as f64 / width.max(1) as f64).round() as usize;
            let (short, narrow) = (short.clamp(height.min(1), height), resized);
            let mut place = |free: usize| if free > 0 { rng.random_range(0..free) } else { 0 };
            let (top, left) = (place(height - short), place(width - narrow));
            (resize_rows(height, short, top), resize_rows(width, narrow, left))
        });
        Separable::new(sides.collect(), images)
    }
}
