//! Carlini & Wagner's attack in L2.

use crate::attack::prelude::*;
use crate::attack::steps::{Adam, Descent, Path, Slope, Smallest, tanh_space};

/// Carlini & Wagner's L2 attack: the smallest change that still succeeds, by Adam in the space of `w` with
/// `x' = (tanh(w) + 1) / 2`.
///
/// Carlini & Wagner, "Towards Evaluating the Robustness of Neural Networks", S&P 2017, section VI.A: minimise
/// `|x' - x|_2^2 + c * max(0, confidence - margin(x'))`, where the margin is that of
/// [`Goal::margin`](crate::attack::Goal::margin), with the smallest c that succeeds, found by a search of its
/// own for each image (times ten until it does, then bisection). The same steps as foolbox's
/// `L2CarliniWagnerAttack`, with two differences: an image's optimisation stops early by its own loss, not by
/// the batch's, so that it does not depend on its neighbours; and images that the goal fits from the start,
/// or for which nothing is found, come back as they are. (torchattacks' `CW` has no search over c.)
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | limit | none | a budget in the attack's norm |
/// | confidence | 0 | a finite number of at least 0 |
/// | search steps | 9 | at least 1 |
/// | steps | 10000 for each c | at least 1 |
/// | learning rate | 0.01 | a finite number above 0 |
/// | initial constant | 0.001 | a finite number above 0 |
/// | abort early | true: no progress of 0.01 % in a tenth of the steps | |
///
/// Up to `search steps * steps` gradients an image.
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone(), bright.neg() + 1.0], 1)
/// });
/// // "Bright" ends at a mean of 0.5: nearest where each of the four pixels gives 0.1.
/// let images = Tensor::full([1, 1, 2, 2], 0.6, &device);
/// let attack = CarliniWagner::new().with_steps(100);
/// let change = attack.perturb(&victim, images.clone(), &Goal::untargeted([0]))? - images;
/// assert!((Norm::L2.measure(change).into_scalar::<f32>() - 0.2).abs() < 0.01);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct CarliniWagner {
    /// Images that need a larger perturbation stay as they are.
    pub limit: Option<Budget>,
    /// The margin by which the goal has to be reached, in logits.
    #[config(default = 0.0)]
    pub confidence: f64,
    /// How many constants to try.
    #[config(default = 9)]
    pub search_steps: usize,
    /// Steps of Adam for each constant.
    #[config(default = 10_000)]
    pub steps: usize,
    /// Adam's learning rate, in the space of `w`.
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
    struct AdamInW {
        w: Tensor<4>,
        /// The images as they come back from the space of `w`.
        rebuilt: Tensor<4>,
        adam: Adam,
    }
}

impl Path for AdamInW {
    fn points(&self) -> Tensor<4> {
        tanh_space::to_images(self.w.clone())
    }

    fn origin(&self, _: &Task<'_>) -> Tensor<4> {
        self.rebuilt.clone()
    }

    fn step(&mut self, task: &Task<'_>, at: Slope, _: usize, found: &mut Smallest) -> Vec<bool> {
        found.offer(task.positions(), &at.points, &at.reached);
        let gradient = tanh_space::pull_back(at.gradient, &at.points);
        self.w = self.w.clone() - self.adam.step(gradient);
        at.reached
    }
}

impl CarliniWagner {
    fn descent(&self) -> Descent {
        let &Self { confidence, initial_constant, search_steps, steps, abort_early, .. } = self;
        Descent { confidence, initial_constant, search_steps, steps, abort_early }
    }
}

impl Attack for CarliniWagner {
    fn profile(&self) -> Profile {
        let steps = self.search_steps * self.steps;
        let queries = Queries::forwards(1) + Queries::gradients(steps);
        Profile::smallest("Carlini & Wagner", (Norm::L2, self.limit), Access::Gradients, steps, queries)
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        let rate = Parameter::above_zero("learning rate", self.learning_rate);
        [self.descent().parameters(), vec![rate]].concat()
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { limit: Some(budget), ..*self })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        self.descent().search(&task, (Norm::L2, self.limit), |task| {
            let w = tanh_space::from_images(task.images());
            let rebuilt = tanh_space::to_images(w.clone());
            AdamInW { adam: Adam::new(self.learning_rate, &w), w, rebuilt }
        })
    }
}
