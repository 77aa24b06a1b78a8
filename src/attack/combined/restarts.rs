//! Several runs of one attack.

use serde::Serialize;

use super::tries::{together, worst_try};
use crate::attack::prelude::*;

/// Any attack several times, with random numbers of its own in each run: the worst case of each image, as an
/// [`Ensemble`](super::Ensemble) of the runs finds it.
///
/// The first run draws as the attack alone does, so that more runs never help the defender. An attack that
/// draws nothing gives the same again. A result that leaves the attack's budget or is not finite is an error.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | attack | required | any; its norm and budget are those of the whole |
/// | runs | required | at least 1 |
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// // Class 0 is a narrow gap of brightness, where the gradient leads astray.
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     let gap = (bright.clone() - 0.56).abs().lower_elem(0.01).float();
///     Tensor::cat(vec![gap, bright], 1)
/// });
/// let (image, goal) = (Tensor::full([1, 1, 1, 1], 0.5, &device), Goal::untargeted([1]));
/// let noise = RandomNoise::uniform(Epsilon::unit(0.1));
/// let once = noise.perturb(&victim, image.clone(), &goal)?;
/// let often = Restarts::new(noise, 100).perturb(&victim, image, &goal)?;
/// assert_eq!((victim.predict(once), victim.predict(often)), (vec![1], vec![0]));
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Debug, Serialize)]
pub struct Restarts {
    attack: Box<dyn Attack>,
    runs: usize,
}

impl Restarts {
    /// So many runs of this attack.
    pub fn new(attack: impl Attack + 'static, runs: usize) -> Self {
        Self { attack: Box::new(attack), runs }
    }
}

impl Attack for Restarts {
    fn profile(&self) -> Profile {
        let profile = self.attack.profile();
        together(format!("{} x {}", profile.name, self.runs), &[profile], self.runs)
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        [vec![Parameter::at_least("runs", self.runs, 1)], self.attack.parameters(task)].concat()
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { attack: self.attack.at(budget), runs: self.runs })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        worst_try(&task, self.profile().aim, self.runs, |task, run| {
            (self.attack.profile(), self.attack.craft(task.in_run(run).afresh()))
        })
    }
}
