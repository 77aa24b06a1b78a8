//! DeepFool.

use crate::attack::prelude::*;
use crate::attack::steps::Smallest;
use crate::classifier::{InputGradient, column, others};

/// DeepFool: step by step to the nearest boundary of a linearised classifier, until the class changes.
///
/// Moosavi-Dezfooli, Fawzi & Frossard, "DeepFool: a simple and accurate method to fool deep neural networks",
/// CVPR 2016, algorithm 2: with `f_k` the logit of class k less that of the true one and `w_k` its gradient,
/// the step goes to the class with the smallest `|f_k| / |w_k|_q`, and is `|f_k| / |w_k|_2^2 * w_k` in L2
/// (q = 2), `|f_k| / |w_k|_1 * sign(w_k)` in L-infinity (q = 1). The steps add up, and the image is the
/// original plus (1 + overshoot) times their sum, clipped to \[0,1\]: as the authors' code and foolbox's
/// `L2DeepFoolAttack` and `LinfDeepFoolAttack` do, image for image, with their 1e-4 added to each distance.
/// (torchattacks overshoots each step anew.)
///
/// Untargeted. The classes to go to are the most likely ones of the original image. Images leave the batch
/// as they fall, so that a step costs (candidates - 1) gradients for those that still stand.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | limit | none | a budget in the attack's norm |
/// | norm | L2 | Linf or L2 |
/// | steps | 50 | at least 1 |
/// | overshoot | 0.02 | a finite number of at least 0 |
/// | candidates | 10 | at least 2 |
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone(), bright.neg() + 1.0], 1)
/// });
/// // "Bright" ends at a mean of 0.5, and every pixel has to give its part.
/// let images = Tensor::full([1, 1, 2, 2], 0.6, &device);
/// let attack = DeepFool::new().with_norm(Norm::Linf);
/// let fallen = attack.perturb(&victim, images, &Goal::untargeted([0]))?;
/// assert!((fallen.mean().into_scalar::<f32>() - 0.498).abs() < 1e-3);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct DeepFool {
    /// Images that need a larger perturbation stay as they are.
    pub limit: Option<Budget>,
    /// The norm whose nearest boundary is looked for.
    #[config(default = "Norm::L2")]
    pub norm: Norm,
    /// Steps at most.
    #[config(default = 50)]
    pub steps: usize,
    /// How far past the boundary to go, as a share of the way.
    #[config(default = 0.02)]
    pub overshoot: f64,
    /// How many of the most likely classes to look at, the true one counted.
    #[config(default = 10)]
    pub candidates: usize,
}

crate::rows! {
    /// The images that still stand.
    struct Standing<'a> {
        task: Task<'a>,
        /// The other classes, the most likely one first.
        others: Vec<Vec<i64>>,
        /// The sum of the steps.
        total: Tensor<4>,
        points: Tensor<4>,
    }
}

crate::rows! {
    /// The boundary to another class of the linearised classifier.
    struct Boundary {
        reached: Vec<bool>,
        distances: Vec<f32>,
        /// Of length one.
        directions: Tensor<4>,
    }
}

impl Standing<'_> {
    fn boundary(&self, norm: Norm, rank: usize) -> Boundary {
        let (goal, classes) = (self.task.goal(), column(&self.others, rank));
        let f = |logits| goal.lead(logits, &classes);
        let InputGradient { logits, gradient: w } = self.task.gradient(&self.points, f);
        let lengths: Vec<f32> =
            values(norm.dual().measure(w.clone())).into_iter().map(|length| length + 1e-8).collect();
        let shares: Vec<f32> = lengths.iter().map(|length| length.recip()).collect();
        let excesses = values(f(logits.clone()));
        Boundary {
            reached: goal.reached(logits),
            distances: excesses.iter().zip(&lengths).map(|(f, length)| f.abs() / length).collect(),
            directions: if norm == Norm::L2 { w.clone() * factors(&shares, &w) } else { w.sign() },
        }
    }
}

impl Attack for DeepFool {
    fn profile(&self) -> Profile {
        let gradients = self.steps.saturating_mul(self.candidates.saturating_sub(1));
        let queries = Queries::forwards(2) + Queries::gradients(gradients);
        Profile::smallest("DeepFool", (self.norm, self.limit), Access::Gradients, self.steps, queries)
            .untargeted()
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        vec![
            norm_among(self.norm, &[Norm::Linf, Norm::L2]),
            Parameter::at_least("steps", self.steps, 1),
            Parameter::from_zero("overshoot", self.overshoot),
            Parameter::at_least("candidates", self.candidates, 2),
        ]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { norm: budget.norm(), limit: Some(budget), ..*self })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        Smallest::search(&task, (self.norm, self.limit), 0.0, |task, logits, found| {
            let candidates = self.candidates.min(task.victim().num_classes());
            if candidates < 2 {
                return Ok(());
            }
            let others = others(logits, task.goal().classes());
            let images = task.images();
            let mut standing = Standing { others, total: images.zeros_like(), points: images, task };
            for _ in 0..self.steps {
                standing.task.step()?;
                let mut nearest = standing.boundary(self.norm, 0);
                found.offer(standing.task.positions(), &standing.points, &nearest.reached);
                let open = flagged(&nearest.reached, false);
                if open.is_empty() {
                    return Ok(());
                }
                (standing, nearest) = (standing.keep(&open), nearest.keep(&open));
                for rank in 1..candidates - 1 {
                    let other = standing.boundary(self.norm, rank);
                    let nearer: Vec<bool> =
                        other.distances.iter().zip(&nearest.distances).map(|(new, old)| new < old).collect();
                    nearest.directions = choose(&nearer, other.directions, nearest.directions);
                    flagged(&nearer, true).iter().for_each(|&i| nearest.distances[i] = other.distances[i]);
                }
                let ways: Vec<f32> = nearest.distances.iter().map(|distance| distance + 1e-4).collect();
                standing.total =
                    standing.total + nearest.directions.clone() * factors(&ways, &nearest.directions);
                let moved = standing.task.images() + standing.total.clone() * (1.0 + self.overshoot);
                standing.points = moved.clamp(0.0, 1.0);
            }
            found.ask(&standing.task, &standing.points);
            Ok(())
        })
    }
}
