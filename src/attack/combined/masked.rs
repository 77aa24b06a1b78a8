//! An attack on a part of the image.

use serde::Serialize;

use crate::attack::prelude::*;
use crate::attack::{Mask, Profile};

/// Any attack, restricted to the pixels of a [`Mask`]: all others come back as they were, bit for bit.
///
/// The attack works in the space of the values that may change: gradients are zero elsewhere, random numbers
/// are drawn for these values alone, and budgets and smallest perturbations are those of the masked change,
/// so that nothing is spent outside. Equal to IBM ART's `mask` for PGD. Every attack here does so by way of
/// its [`Task`]; one that keeps its points within [`Task::project`] or [`Task::add`] needs nothing else, and
/// of any other the change outside the mask is undone in the end.
///
/// Reports name the mask's share ("PGD, masked to 12 % of the pixels"), settings its digest. The result is a
/// bound on what the attack can do in that place; a classifier that withstands it need not withstand the same
/// budget elsewhere.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | attack | required | any; its norm and budget are those of the whole |
/// | mask | required | 1 or as many channels as the images, their height and width; one mask, or one an image |
///
/// ```
/// use histoguard::attack::{Mask, Masked};
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let image = Tensor::full([1, 1, 4, 4], 0.55, &device);
/// let attack = Masked::new(Pgd::new(Budget::linf(Epsilon::unit(0.3))), Mask::centre([4, 4], 2)?);
/// let adversarial = attack.perturb(&victim, image.clone(), &Goal::untargeted([1]))?;
/// assert_eq!(attack.profile().name, "PGD, masked to 25 % of the pixels");
/// assert_eq!(victim.predict(adversarial.clone()), [0]);
/// // 4 of the 16 pixels have changed.
/// assert_eq!(Norm::L0.measure(adversarial - image).into_scalar::<f32>(), 4.0);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Debug, Serialize)]
pub struct Masked {
    attack: Box<dyn Attack>,
    mask: Mask,
}

impl Masked {
    /// This attack on these pixels.
    pub fn new(attack: impl Attack + 'static, mask: Mask) -> Self {
        Self::boxed(Box::new(attack), mask)
    }

    /// The same of an attack that is chosen at run time.
    pub fn boxed(attack: Box<dyn Attack>, mask: Mask) -> Self {
        Self { attack, mask }
    }

    /// The pixels that it may change.
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    fn around(&self, attack: Box<dyn Attack>) -> Box<dyn Attack> {
        Box::new(Self { attack, mask: self.mask.clone() })
    }
}

impl Attack for Masked {
    fn profile(&self) -> Profile {
        let (profile, summary) = (self.attack.profile(), self.mask.summary());
        Profile { name: format!("{}, masked to {summary}", profile.name), mask: Some(summary), ..profile }
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        let without = (0..task.len())
            .map(|row| task.goal().index(row))
            .find(|&index| self.mask.of_image(index).is_none());
        let expected = format!("one mask, or one for each image: {} found", self.mask.count());
        let found = without.map_or_else(String::new, |index| format!("an image with index {index}"));
        let own =
            vec![self.mask.fits(task.shape()), Parameter::new("mask", expected, without.is_none(), found)];
        [own, self.attack.parameters(task)].concat()
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        self.around(self.attack.at(budget))
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        self.attack.stronger().map(|attack| self.around(attack))
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        let task = task.masked(&self.mask);
        Ok(task.compose(self.attack.craft(task.clone())?))
    }

    fn craft_each(&self, task: &Task<'_>, budgets: &[Budget]) -> Result<Option<Vec<Tensor<4>>>, AttackError> {
        let task = task.masked(&self.mask);
        let each = self.attack.craft_each(&task, budgets)?;
        Ok(each.map(|each| each.into_iter().map(|images| task.compose(images)).collect()))
    }

    fn substitute_logits(&self, images: Tensor<4>) -> Option<Tensor<2>> {
        self.attack.substitute_logits(images)
    }
}
