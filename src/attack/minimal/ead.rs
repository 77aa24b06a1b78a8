//! The elastic-net attack.

use serde::{Deserialize, Serialize};

use crate::attack::prelude::*;
use crate::attack::steps::{Descent, Path, Slope, Smallest, reached_by};

/// Which of the successes an [`Ead`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionRule {
    /// The one with the smallest `beta * |x' - x|_1 + |x' - x|_2^2`.
    ElasticNet,
    /// The one with the smallest L1 norm.
    L1,
}

/// The elastic-net attack (EAD): few values change, by iterative shrinkage and thresholding.
///
/// Chen, Sharma, Zhang, Yi & Hsieh, "EAD: Elastic-Net Attacks to Deep Neural Networks via Adversarial
/// Examples", AAAI 2018, algorithm 1: minimise
/// `c * max(0, confidence - margin(x')) + |x' - x|_2^2 + beta * |x' - x|_1` over \[0,1\] by FISTA, with
/// `x_{k+1} = S_beta(y_k - a_k * grad g(y_k))`, `y_{k+1} = x_{k+1} + k / (k + 3) * (x_{k+1} - x_k)` and
/// `a_k = learning rate * sqrt(1 - k / steps)`; S_beta sets changes of at most beta to zero and shortens
/// others by it. c is searched for each image as by [`CarliniWagner`](super::CarliniWagner). The same steps
/// as foolbox's `EADAttack`, with two differences: an image's optimisation stops early by its own loss, not
/// by the batch's; and images that the goal fits from the start, or for which nothing is found, come back as
/// they are. (torchattacks' `EADEN` and `EADL1` do not go back to the image for a new c.)
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | limit | none | a budget in the attack's norm |
/// | beta | 0.001 | a finite number of at least 0 |
/// | decision rule | elastic net | |
/// | confidence | 0 | a finite number of at least 0 |
/// | search steps | 9 | at least 1 |
/// | steps | 1000 for each c | at least 1 |
/// | learning rate | 0.01 | a finite number above 0 |
/// | initial constant | 0.001 | a finite number above 0 |
/// | abort early | true: no progress of 0.01 % in a tenth of the steps | |
///
/// Up to `search steps * steps` gradients, and as many forward passes, an image.
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// // The first pixel counts three times as much as the second.
/// let weights = Tensor::<4>::from_floats([[[[3.0, 1.0]]]], &device);
/// let victim = Frozen::from_fn(2, &device, move |x| {
///     let bright = (x * weights.clone()).sum_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright, Tensor::ones([1, 1], &Device::default())], 1)
/// });
/// let images = Tensor::full([1, 1, 1, 2], 0.3, &device);
/// let attack = Ead::new().with_steps(100).with_beta(0.05);
/// let fallen = attack.perturb(&victim, images, &Goal::untargeted([0]))?;
/// let pixels = fallen.into_data().try_into_vec::<f32>().unwrap();
/// assert!(pixels[0] < 0.25 && pixels[1] == 0.3, "{pixels:?}");
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct Ead {
    /// Images that need a perturbation with a larger L1 norm stay as they are.
    pub limit: Option<Budget>,
    /// The weight of the L1 norm, and the threshold of the shrinkage.
    #[config(default = 0.001)]
    pub beta: f64,
    /// Which of the successes is kept.
    #[config(default = "DecisionRule::ElasticNet")]
    pub decision_rule: DecisionRule,
    /// The margin by which the goal has to be reached, in logits.
    #[config(default = 0.0)]
    pub confidence: f64,
    /// How many constants to try.
    #[config(default = 9)]
    pub search_steps: usize,
    /// Steps for each constant.
    #[config(default = 1000)]
    pub steps: usize,
    /// The size of the first step, which falls to zero.
    #[config(default = 0.01)]
    pub learning_rate: f64,
    /// The first constant.
    #[config(default = 0.001)]
    pub initial_constant: f64,
    /// Whether an image leaves a constant once its loss no longer falls.
    #[config(default = true)]
    pub abort_early: bool,
}

crate::rows! {
    /// The two sequences of FISTA.
    struct Fista<'a> {
        ead: &'a Ead,
        x: Tensor<4>,
        y: Tensor<4>,
    }
}

impl Path for Fista<'_> {
    fn points(&self) -> Tensor<4> {
        self.y.clone()
    }

    fn step(&mut self, task: &Task<'_>, at: Slope, number: usize, found: &mut Smallest) -> Vec<bool> {
        let &Ead { beta, confidence, steps, learning_rate, decision_rule, .. } = self.ead;
        let (images, k) = (task.images(), number as f64);
        let size = learning_rate * (1.0 - k / steps as f64).sqrt();
        // Projected shrinkage-thresholding (the paper's equation 5).
        let change = at.points - at.gradient * size - images.clone();
        let shorter = (change.clone().abs() - beta).clamp_min(0.0) * change.sign();
        let x = (images.clone() + shorter).clamp(0.0, 1.0);
        self.y = x.clone() + (x.clone() - self.x.clone()) * (k / (k + 3.0));
        self.x = x.clone();

        let reached = reached_by(task.goal(), task.victim().logits(x.clone()), confidence);
        let change = x - images;
        let mut scores = values(Norm::L1.measure(change.clone()));
        if decision_rule == DecisionRule::ElasticNet {
            for (score, length) in scores.iter_mut().zip(values(Norm::L2.measure(change))) {
                *score = beta as f32 * *score + length * length;
            }
        }
        found.offer_scored(task.positions(), &self.x, &reached, Some(&scores));
        reached
    }
}

impl Ead {
    fn descent(&self) -> Descent {
        let &Self { confidence, initial_constant, search_steps, steps, abort_early, .. } = self;
        Descent { confidence, initial_constant, search_steps, steps, abort_early }
    }
}

impl Attack for Ead {
    fn profile(&self) -> Profile {
        let steps = self.search_steps * self.steps;
        let queries = Queries::forwards(1 + steps) + Queries::gradients(steps);
        Profile::smallest("EAD", (Norm::L1, self.limit), Access::Gradients, steps, queries)
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        let beta = Parameter::from_zero("beta", self.beta);
        let rate = Parameter::above_zero("learning rate", self.learning_rate);
        [self.descent().parameters(), vec![beta, rate]].concat()
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { limit: Some(budget), ..*self })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        self.descent().search(&task, (Norm::L1, self.limit), |task| Fista {
            ead: self,
            x: task.images(),
            y: task.images(),
        })
    }
}
