//! A black-box attack by way of another network.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Tensor;

use super::base::{check, check_parameter, step};
use super::{Access, Attack, AttackError, Goal, Norm};
use crate::classifier::Frozen;
use crate::pixels::Epsilon;

/// Examples crafted on a substitute network and handed to the victim, which is never asked.
///
/// Papernot et al., "Practical Black-Box Attacks against Machine Learning", ASIA CCS 2017; most examples transfer
/// between networks for the same task (Szegedy et al., ICLR 2014). Black box is a substitute of another
/// architecture, trained on other images of the task. Grey box, as in the paper that this crate reproduces, is a
/// substitute that shares something with the victim: its architecture, its training images, or both, as the
/// undefended network does that attacks its own defended copy. Which of the two a result is depends on the
/// substitute alone: name it beside the number.
///
/// [`MiFgsm`](super::MiFgsm) with its options is made for this, [`Pgd`](super::Pgd) should run without early stop,
/// and an attack that looks for the smallest perturbation gives examples that barely fool the substitute.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | attack | required | any; its norm and epsilon are the transfer's |
/// | substitute | required | as many classes as the victim, in the same order |
/// | name | `Transfer` | |
///
/// The substitute's queries are counted on its own [watch](Frozen::watch), the victim's stay as they are; the
/// victim's watch sees the steps and stops them. Copies share one substitute and take turns.
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
/// let transfer = Transfer::new(MiFgsm::new(Epsilon::unit(0.1)), substitute);
/// let image = Tensor::full([1, 1, 2, 2], 0.55, &device);
/// let adversarial = transfer.perturb(&victim, image, &Goal::untargeted([1]))?;
/// assert_eq!(victim.watch().queries().gradients, 0);
/// assert_eq!(victim.predict(adversarial), [0]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Debug)]
pub struct Transfer {
    name: &'static str,
    attack: Box<dyn Attack>,
    substitute: Arc<Mutex<Frozen>>,
}

impl Transfer {
    /// This attack, run on this substitute.
    pub fn new(attack: impl Attack + 'static, substitute: Frozen) -> Self {
        Self { name: "Transfer", attack: Box::new(attack), substitute: Arc::new(Mutex::new(substitute)) }
    }

    /// Another name in reports, to tell several attacks or substitutes apart.
    pub fn with_name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }
}

impl Attack for Transfer {
    fn name(&self) -> &'static str {
        self.name
    }

    fn norm(&self) -> Norm {
        self.attack.norm()
    }

    fn epsilon(&self) -> Option<Epsilon> {
        self.attack.epsilon()
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        let attack = self.attack.with_epsilon(epsilon);
        Box::new(Self { attack, name: self.name, substitute: Arc::clone(&self.substitute) })
    }

    fn access(&self) -> Access {
        Access::Transfer
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        check(victim, &images, goal, self.epsilon())?;
        // A substitute is not left half changed by a panic, so a poisoned lock is as good as any.
        let substitute = self.substitute.lock().unwrap_or_else(PoisonError::into_inner);
        let classes = substitute.num_classes();
        let same = classes == victim.num_classes();
        check_parameter(same, "substitute", "as many classes as the victim", classes)?;
        step(victim, self.name, 0, 1)?;

        let (own, theirs) = (substitute.watch().clone(), victim.watch().clone());
        substitute.watch().on_step(move |step| {
            theirs.report(step);
            if theirs.is_stopped() {
                own.stop();
            }
        });
        let device = images.device();
        let result = self.attack.perturb(&substitute, images.inner().to_device(substitute.device()), goal);
        // The callback holds the watch that holds it.
        substitute.watch().on_step(|_| {});
        if victim.watch().is_stopped() {
            substitute.watch().resume();
        }
        Ok(result?.to_device(&device.inner()))
    }
}
