//! The fast minimum-norm attack.

use crate::attack::prelude::*;
use crate::attack::steps::{Smallest, cosine};
use crate::classifier::InputGradient;
use crate::pixels::{change, changed};
use crate::rows::each;

/// The shortest gradient, in a division, as in the reference.
const TINY: f64 = 1e-12;

/// The fast minimum-norm attack (FMN): steps along the gradient, projected onto a ball whose radius shrinks
/// while the point is adversarial and grows while it is not.
///
/// Pintor, Roli, Brendel & Biggio, "Fast Minimum-norm Adversarial Attacks through Adaptive Norm
/// Constraints", NeurIPS 2021, algorithm 1: steps of length alpha along the margin's gradient, normalised in
/// L2 whatever the norm; until the first adversarial point the radius is the distance to the linearised
/// boundary, after it the last one less or plus a share gamma, and never more than the smallest perturbation
/// found; alpha and gamma fall along a cosine. In L0 the radius is a whole number that starts at 1 and
/// changes by at least 1.
///
/// As adv-lib's `fmn` without starting points, point for point, so with its projections: in L2 points go
/// onto the sphere, not only into the ball; in L0, which counts values and not pixels, changes as large as
/// the last one that fits stay too, and at least one. One gradient a step. Images for which nothing is found
/// within the limit come back as they are.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | norm | required | Linf, L2, L1 or L0 |
/// | limit | none | a budget in the attack's norm |
/// | steps | 100, as foolbox has it (adv-lib: 10) | at least 1 |
/// | alpha init: first step size | 1 | a finite number above 0 |
/// | alpha final: last step size | a hundredth of the first | a finite number of at least 0 |
/// | gamma init: first change of the radius | 0.05 | a number from 0 to 1 |
/// | gamma final: last change of the radius | 0.001 | a number from 0 to 1 |
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.sqrt(), Tensor::full([1, 1], 0.5f64.sqrt(), &Device::default())], 1)
/// });
/// // "Bright" ends at a mean of 0.5: each of the four pixels gives 0.1.
/// let images = Tensor::full([1, 1, 2, 2], 0.6, &device);
/// for (norm, smallest) in [(Norm::Linf, 0.1), (Norm::L2, 0.2), (Norm::L1, 0.4)] {
///     let fallen = Fmn::new(norm).perturb(&victim, images.clone(), &Goal::untargeted([0]))?;
///     let size: f32 = norm.measure(fallen - images.clone()).into_scalar();
///     assert!((size / smallest - 1.0).abs() < 0.01, "{norm}: {size}");
/// }
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct Fmn {
    /// The norm in which the smallest perturbation is looked for.
    pub norm: Norm,
    /// The largest perturbation that counts.
    pub limit: Option<Budget>,
    /// Number of steps.
    #[config(default = 100)]
    pub steps: usize,
    /// The size of the first step.
    #[config(default = 1.0)]
    pub alpha_init: f64,
    /// The size that steps fall to; without one a hundredth of the first.
    pub alpha_final: Option<f64>,
    /// The share by which the radius shrinks or grows at first.
    #[config(default = 0.05)]
    pub gamma_init: f64,
    /// The share that it falls to.
    #[config(default = 0.001)]
    pub gamma_final: f64,
}

/// How far one image may be changed.
struct Radius {
    norm: Norm,
    now: f64,
    /// Of any change.
    widest: f64,
    /// Of the smallest adversarial change, whatever the limit.
    best: Option<f64>,
}

impl Radius {
    fn new(norm: Norm, widest: f64) -> Self {
        let now = if norm == Norm::L0 { 1.0 } else { f64::INFINITY };
        Self { norm, now, widest, best: None }
    }

    /// After a point that lies so far from the image, and about so far from the boundary.
    fn update(&mut self, reached: bool, size: f64, to_boundary: f64, gamma: f64) {
        if reached {
            self.best = Some(self.best.map_or(size, |best| best.min(size)));
        }
        let found = self.best.unwrap_or(self.widest);
        self.now = match (self.norm, reached) {
            (Norm::L0, true) => (self.now - 1.0).min((self.now * (1.0 - gamma)).floor()).min(found).max(0.0),
            (Norm::L0, false) => (self.now + 1.0).max((self.now * (1.0 + gamma)).floor()),
            (_, true) => (self.now * (1.0 - gamma)).min(found),
            (_, false) if self.best.is_some() => self.now * (1.0 + gamma),
            (_, false) => size + to_boundary,
        }
        .min(self.widest);
    }

    fn project(&self, change: &mut [f64]) {
        match self.norm {
            Norm::Linf | Norm::L1 => self.norm.project_values(change, self.now),
            Norm::L2 => {
                let scale = self.now / Norm::L2.measure_values(change).max(TINY);
                change.iter_mut().for_each(|d| *d *= scale);
            }
            Norm::L0 => {
                let mut sizes: Vec<f64> = change.iter().map(|d| d.abs()).collect();
                let last = (self.now as usize).clamp(1, sizes.len()) - 1;
                let (_, least, _) = sizes.select_nth_unstable_by(last, |a, b| b.total_cmp(a));
                change.iter_mut().filter(|d| d.abs() < *least).for_each(|d| *d = 0.0);
            }
        }
    }
}

impl Fmn {
    /// The step size and the change of the radius in this step.
    fn schedule(&self, step: usize) -> (f64, f64) {
        let between = |first, last| cosine(first, last, step, self.steps);
        let alpha_final = self.alpha_final.unwrap_or(self.alpha_init / 100.0);
        (between(self.alpha_init, alpha_final), between(self.gamma_init, self.gamma_final))
    }
}

impl Attack for Fmn {
    fn profile(&self) -> Profile {
        let queries = Queries::forwards(1) + Queries::gradients(self.steps);
        Profile::smallest("FMN", (self.norm, self.limit), Access::Gradients, self.steps, queries)
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        vec![
            norm_among(self.norm, &[Norm::Linf, Norm::L2, Norm::L1, Norm::L0]),
            Parameter::at_least("steps", self.steps, 1),
            Parameter::above_zero("alpha init", self.alpha_init),
            Parameter::from_zero("alpha final", self.alpha_final.unwrap_or_default()),
            Parameter::within("gamma init", self.gamma_init, 0.0..=1.0),
            Parameter::within("gamma final", self.gamma_final, 0.0..=1.0),
        ]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { norm: budget.norm(), limit: Some(budget), ..*self })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        Smallest::search(&task, (self.norm, self.limit), 0.0, |task, _, found| {
            let (size, clean, goal) = (task.size(), values(task.images()), task.goal());
            let clean = |row: usize| &clean[row * size..][..size];
            let mut radii: Vec<Radius> = (0..task.len())
                .map(|row| Radius::new(self.norm, task.farthest(row, self.norm, clean(row))))
                .collect();
            let mut points = task.images();
            for step in 0..self.steps {
                task.step()?;
                let (alpha, gamma) = self.schedule(step);
                let InputGradient { logits, gradient } = task.gradient(&points, |logits| goal.margin(logits));
                let reached = goal.reached(logits.clone());
                found.offer(task.positions(), &points, &reached);

                let [margins, at, gradients] =
                    [values(goal.margin(logits)), values(points.clone()), values(gradient)];
                let of = |all: &[f32], row: usize| {
                    all[row * size..][..size].iter().map(|&g| f64::from(g)).collect::<Vec<f64>>()
                };
                for (row, radius) in radii.iter_mut().enumerate() {
                    let gone = self.norm.measure_values(&change(clean(row), &at[row * size..][..size]));
                    let slope = match self.norm {
                        Norm::L0 => 1.0,
                        norm => norm.dual().measure_values(&of(&gradients, row)).max(TINY),
                    };
                    radius.update(reached[row], gone, f64::from(margins[row]).abs() / slope, gamma);
                }
                points = each(&points, |row, point| {
                    let gradient = of(&gradients, row);
                    let scale = alpha / Norm::L2.measure_values(&gradient).max(TINY);
                    let moved = change(clean(row), point).into_iter().zip(gradient);
                    let mut moved: Vec<f64> = moved.map(|(d, g)| d + g * scale).collect();
                    radii[row].project(&mut moved);
                    changed(clean(row), moved)
                });
            }
            Ok(())
        })
    }
}
