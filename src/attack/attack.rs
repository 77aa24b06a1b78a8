//! The trait that every attack implements.

use std::fmt::Debug;

use burn::tensor::Tensor;
use serde::{Serialize, Serializer};

use super::{AttackError, Goal, Profile, Settings, Task};
use crate::classifier::Frozen;
use crate::parameter::{self, Parameter};
use crate::pixels::Budget;

/// A recipe that turns images into adversarial images: object-safe, stateless, owning no model.
///
/// An attack is its [`craft`](Self::craft): checks, progress, stopping, random numbers and gradients come
/// with the [`Task`]. burn's `Config` writes the rest of what a type of settings needs; in a crate of one's
/// own it takes `burn = { version = "0.22", default-features = false }` beside this crate:
///
/// ```
/// use histoguard::attack::prelude::*;
/// use histoguard::prelude::*;
///
/// /// Follows the sign of the gradient in equal steps.
/// #[derive(Config, Debug)]
/// pub struct SignSteps {
///     /// How far each image may be changed.
///     pub budget: Budget,
///     /// Number of steps.
///     #[config(default = 10)]
///     pub steps: usize,
/// }
///
/// impl Attack for SignSteps {
///     fn profile(&self) -> Profile {
///         let queries = Queries::gradients(self.steps);
///         Profile::within("Sign steps", self.budget, Access::Gradients, self.steps, queries)
///     }
///
///     fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
///         vec![Parameter::at_least("steps", self.steps, 1)]
///     }
///
///     fn at(&self, budget: Budget) -> Box<dyn Attack> {
///         Box::new(Self { budget, ..self.clone() })
///     }
///
///     fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
///         let size = 2.0 * self.budget.size() / self.steps as f64;
///         let mut points = task.images();
///         for _ in 0..self.steps {
///             task.step()?;
///             let gradient = task.ascent(&points).gradient;
///             points = task.project(points + self.budget.norm().unit_step(gradient) * size, self.budget);
///         }
///         Ok(points)
///     }
/// }
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let image = Tensor::full([1, 1, 2, 2], 0.55, &device);
/// let adversarial = SignSteps::new(Budget::pixels(16.0)).perturb(&victim, image, &Goal::untargeted([1]))?;
/// assert_eq!(victim.predict(adversarial), [0]);
/// # Ok::<(), AttackError>(())
/// ```
pub trait Attack: Settings + Debug + Send + Sync {
    /// What the attack says of itself.
    fn profile(&self) -> Profile;

    /// The parameters beside their documented ranges; budget, limit and goal are checked by the
    /// [profile](Self::profile).
    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter>;

    /// The same attack with another budget, for sweeps; in another norm it may be one that the attack
    /// refuses. One that looks for the smallest perturbation then has it as its limit, and leaves the images
    /// as they are for which it finds none within it. A [semantic](super::Aim::Semantic) attack has no
    /// budget: it comes back as it is.
    fn at(&self, budget: Budget) -> Box<dyn Attack>;

    /// The same attack with twice the effort (steps, restarts or queries), for the check that more effort
    /// would not find more; `None` if there is nothing that only adds effort, as for most attacks: twice the
    /// steps are other steps.
    fn stronger(&self) -> Option<Box<dyn Attack>> {
        None
    }

    /// Adversarial versions of the task's images, at least one: the attack's mathematics, called by
    /// [`perturb`](Self::perturb) after all checks.
    ///
    /// It is the attack's duty to return finite images within its budget, or the range of its parameters, and
    /// within \[0,1\], as [`Task::project`] makes them. An image's result depends on that image, its label
    /// and its index alone, not on its neighbours. Under a mask, [`Task::project`], [`Task::add`], gradients
    /// and draws keep to it, and [`Masked`](super::Masked) undoes what is changed outside; whoever asks the
    /// victim about other points [composes](Task::compose) them first.
    ///
    /// # Shapes
    ///
    /// - output: as [`Task::images`]
    ///
    /// # Errors
    ///
    /// [`AttackError::Stopped`] if a stop was asked for.
    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError>;

    /// What [`craft`](Self::craft) gives with each of these budgets, from work that they share; `None` if
    /// there is nothing to share.
    ///
    /// # Errors
    ///
    /// As [`craft`](Self::craft).
    fn craft_each(&self, task: &Task<'_>, budgets: &[Budget]) -> Result<Option<Vec<Tensor<4>>>, AttackError> {
        let _ = (task, budgets);
        Ok(None)
    }

    /// What the network that the attack crafts on in the victim's place says to these images `[batch,
    /// channels, height, width]`: logits `[batch, classes]`, for the check that what fools it fools the
    /// victim too. `None` for an attack on the victim itself, as most are.
    fn substitute_logits(&self, images: Tensor<4>) -> Option<Tensor<2>> {
        let _ = images;
        None
    }

    /// Adversarial versions of `images`, within the budget and within \[0,1\] as [`craft`](Self::craft) keeps
    /// to them; [`Evaluation`](crate::evaluate::Evaluation) corrects and counts what leaves them.
    ///
    /// # Shapes
    ///
    /// - `images`, output: `[batch, channels, height, width]`, values in \[0,1\]
    ///
    /// # Errors
    ///
    /// [`AttackError`] on a bad parameter, label or image, or a victim that cannot be attacked, before any
    /// work; [`AttackError::Stopped`] if a stop was asked for through [`Frozen::watch`].
    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        let profile = self.profile();
        let still = profile.budget().is_some_and(Budget::is_zero);
        let task = Task::new(victim, images, goal, profile)?;
        parameter::check(self.parameters(&task))?;
        victim.check(task.shape())?;
        if still || task.is_empty() { Ok(task.images()) } else { self.craft(task) }
    }

    /// What [`perturb`](Self::perturb) gives with each of these budgets, from work that they share; `None` if
    /// there is nothing to share.
    ///
    /// # Errors
    ///
    /// As [`perturb`](Self::perturb).
    fn perturb_each(
        &self,
        victim: &Frozen,
        images: &Tensor<4>,
        goal: &Goal,
        budgets: &[Budget],
    ) -> Result<Option<Vec<Tensor<4>>>, AttackError> {
        let task = Task::new(victim, images.clone(), goal, self.profile())?;
        for &budget in budgets {
            let at = self.at(budget);
            parameter::check(at.profile().parameters(goal))?;
            parameter::check(at.parameters(&task))?;
        }
        victim.check(task.shape())?;
        if task.is_empty() {
            Ok(Some(vec![task.images(); budgets.len()]))
        } else {
            self.craft_each(&task, budgets)
        }
    }
}

/// Name and settings: what tells an attack from others.
impl Serialize for dyn Attack + '_ {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        serde_json::json!({ "attack": self.profile().name, "settings": self.settings() }).serialize(to)
    }
}
