//! A black-box attack by way of another network.

use std::sync::Arc;

use serde::Serialize;

use crate::attack::prelude::*;
use crate::classifier::{Frozen, Watch};

/// Examples crafted on a substitute network and handed to the victim, which is never asked.
///
/// Papernot et al., "Practical Black-Box Attacks against Machine Learning", ASIA CCS 2017; most examples
/// transfer between networks for the same task (Szegedy et al., ICLR 2014). Black box is a substitute of
/// another architecture, trained on other images of the task. Grey box, as in the paper that this crate
/// reproduces, is a substitute that shares something with the victim: its architecture, its training images,
/// or both, as the undefended network does that attacks its own defended copy. Which of the two a result is
/// depends on the substitute alone: that is why it has a name, which stands in the attack's own, for example
/// "BIM from ResNet-18".
///
/// [`MiFgsm`](crate::attack::MiFgsm) with its options is made for this, [`Pgd`](crate::attack::Pgd) should
/// run without early stop, and an attack that looks for the smallest perturbation gives examples that barely
/// fool the substitute.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | attack | required | any; its norm and budget are the transfer's |
/// | substitute | required | as many classes as the victim |
///
/// The substitute's queries are counted on its own [watch](Frozen::watch) when a run ends, the victim's stay as
/// they are. The victim's watch sees the steps, and a stop on either ends a run before its next step. Copies share
/// one substitute, and may run at the same time.
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let brightness = |threshold: f32| {
///     Frozen::from_fn(2, &Device::default(), move |x| {
///         let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - threshold;
///         Tensor::cat(vec![bright.clone().neg(), bright], 1)
///     })
/// };
/// let (victim, substitute) = (brightness(0.5), brightness(0.45));
/// let attack = MiFgsm::new(Budget::linf(Epsilon::unit(0.1)));
/// let transfer = Transfer::new(attack, "lower threshold", substitute);
/// let image = Tensor::full([1, 1, 2, 2], 0.55, &device);
/// let adversarial = transfer.perturb(&victim, image, &Goal::untargeted([1]))?;
/// assert_eq!(transfer.profile().name, "MI-FGSM from lower threshold");
/// assert_eq!(victim.watch().queries().gradients, 0);
/// assert_eq!(victim.predict(adversarial), [0]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Debug, Serialize)]
pub struct Transfer {
    attack: Box<dyn Attack>,
    substitute: String,
    #[serde(skip)]
    network: Arc<Frozen>,
}

impl Transfer {
    /// This attack, run on the substitute of this name.
    pub fn new(attack: impl Attack + 'static, name: impl Into<String>, substitute: Frozen) -> Self {
        Self { attack: Box::new(attack), substitute: name.into(), network: Arc::new(substitute) }
    }

    /// The same task with the substitute as victim, whose steps the task's own victim sees, and stops.
    fn on_substitute<T>(
        &self,
        task: &Task<'_>,
        work: impl FnOnce(Task<'_>) -> Result<T, AttackError>,
    ) -> Result<T, AttackError> {
        task.go_on()?;
        task.on(&self.network).go_on()?;
        // A watch of this run's own: others may attack on the same substitute meanwhile.
        let own = Watch::default();
        let substitute = self.network.shared().watched_by(&own);
        let (run, victims, shared) =
            (own.clone(), task.victim().watch().clone(), self.network.watch().clone());
        own.on_step(move |step| {
            victims.report(step);
            if victims.is_stopped() || shared.is_stopped() {
                run.stop();
            }
        });
        let result = work(task.on(&substitute));
        // The callback holds the watch that holds it.
        own.on_step(|_| {});
        self.network.watch().add(own.queries());
        result
    }
}

impl Attack for Transfer {
    fn profile(&self) -> Profile {
        let profile = self.attack.profile();
        Profile {
            name: format!("{} from {}", profile.name, self.substitute),
            access: Access::Substitute,
            queries: Some(Queries::NONE),
            ..profile
        }
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        let substitute = &self.network;
        let (found, expected) = (substitute.num_classes(), task.victim().num_classes());
        let same = Parameter::new("substitute", "as many classes as the victim", found == expected, found);
        [vec![same], self.attack.parameters(&task.on(substitute))].concat()
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        let (attack, substitute) = (self.attack.at(budget), self.substitute.clone());
        Box::new(Self { attack, substitute, network: Arc::clone(&self.network) })
    }

    fn substitute_logits(&self, images: Tensor<4>) -> Option<Tensor<2>> {
        let substitute = &self.network;
        Some(substitute.logits(images.to_device(substitute.device())))
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        let found = self.on_substitute(&task, |task| self.attack.craft(task))?;
        Ok(found.to_device(&task.images().device()))
    }

    fn craft_each(&self, task: &Task<'_>, budgets: &[Budget]) -> Result<Option<Vec<Tensor<4>>>, AttackError> {
        let found = self.on_substitute(task, |task| self.attack.craft_each(&task, budgets))?;
        let device = task.images().device();
        Ok(found.map(|each| each.into_iter().map(|images| images.to_device(&device)).collect()))
    }
}
