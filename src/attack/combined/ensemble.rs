//! The worst case of several attacks.

use serde::Serialize;

use super::tries::{together, worst_try};
use crate::attack::prelude::*;

/// Several attacks, one after another, each on the images that withstood those before: the worst case of each
/// image.
///
/// All share one norm and one budget, or are [semantic](Aim::Semantic) ones, each within its own range. An
/// image that withstands all of them comes back as the result with the highest
/// [margin](crate::attack::Goal::margin). If all of them look for the smallest perturbation, each runs on
/// every image instead, and the smallest perturbation that reaches the goal counts.
///
/// An image that reaches the goal unperturbed comes back as it is. Attacks that look for the smallest perturbation join
/// those with a budget by having it as their limit. A result of another shape, outside the attack's budget or with NaN
/// is an error that names the attack.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | attacks | required | at least 1 |
/// | norm | the attacks' | one for all attacks; none for semantic ones |
/// | budget | the attacks' | one for all attacks |
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone().neg() + 0.5, bright - 0.5], 1)
/// });
/// let budget = Budget::linf(Epsilon::unit(0.2));
/// let attack = Ensemble::new(vec![
///     Box::new(Fgsm::new(budget)),
///     Box::new(Apgd::new(budget).with_loss(ApgdLoss::Margin)),
/// ])?;
/// let image = Tensor::full([1, 1, 4, 4], 0.6, &device);
/// let adversarial = attack.perturb(&victim, image, &Goal::untargeted([1]))?;
/// assert_eq!(victim.predict(adversarial), [0]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Debug, Serialize)]
pub struct Ensemble {
    pub(super) name: String,
    /// One at least, all with one norm and budget, or all semantic.
    pub(super) attacks: Vec<Box<dyn Attack>>,
}

impl Ensemble {
    /// These attacks in this order, named "Ensemble".
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] if there is none, or if their norms or budgets differ.
    pub fn new(attacks: Vec<Box<dyn Attack>>) -> Result<Self, AttackError> {
        Parameter::at_least("attacks", attacks.len(), 1).check()?;
        let shown = |budget: Option<Budget>| budget.map_or("no budget".into(), |budget| budget.to_string());
        let first = attacks[0].profile();
        for other in attacks.iter().map(|attack| attack.profile()) {
            let norm = |profile: &Profile| profile.norm().map_or("none".into(), |norm| norm.to_string());
            let found = format!("{} and {} ({})", norm(&first), norm(&other), other.name);
            Parameter::new("norm", "one for all attacks", other.norm() == first.norm(), found).check()?;
            let (ours, theirs) = (first.budget(), other.budget());
            let found = format!("{} and {} ({})", shown(ours), shown(theirs), other.name);
            Parameter::new("budget", "one for all attacks", ours == theirs, found).check()?;
        }
        Ok(Self { name: "Ensemble".into(), attacks })
    }

    /// The same under another name.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The attacks in their order.
    pub fn attacks(&self) -> &[Box<dyn Attack>] {
        &self.attacks
    }
}

impl Attack for Ensemble {
    fn profile(&self) -> Profile {
        let attacks: Vec<Profile> = self.attacks.iter().map(|attack| attack.profile()).collect();
        together(self.name.clone(), &attacks, 1)
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        let attacks = self.attacks.iter();
        attacks
            .flat_map(|attack| [attack.profile().parameters(task.goal()), attack.parameters(task)].concat())
            .collect()
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        let attacks = self.attacks.iter().map(|attack| attack.at(budget)).collect();
        Box::new(Self { name: self.name.clone(), attacks })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        worst_try(&task, self.profile().aim, self.attacks.len(), |task, number| {
            let (attack, profile) = (&self.attacks[number], self.attacks[number].profile());
            (profile.clone(), attack.craft(task.of(profile)))
        })
    }
}
