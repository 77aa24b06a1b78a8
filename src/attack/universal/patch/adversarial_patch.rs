//! A patch by gradient steps over batches of images, in random places.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::overlay::PatchOverlay;
use super::patch::Patch;
use super::placement::{Placement, Places};
use super::shape::PatchShape;
use crate::attack::Goal;
use crate::attack::Origin;
use crate::attack::lessons::{Lessons, first_shape, same_lessons};
use crate::attack::prelude::*;
use crate::attack::steps::Adam;
use crate::attack::universal::perturbation::ORDER;
use crate::classifier::Frozen;
use crate::parameter;
use crate::random::generator;

const PLACE: Purpose = Purpose::named("the place of a patch while it is learned");

/// How a patch is moved along its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatchOptimizer {
    /// Adam with the constants of its paper.
    Adam,
    /// Steps of the learning rate along the sign of the gradient.
    Sign,
}

/// Learns a [`Patch`] in the expectation over images, places, scales and rotations.
///
/// Brown, Mané, Roy, Abadi & Gilmer, "Adversarial Patch", arXiv 1712.09665, 2017: the patch of the largest `E
/// log p_target(A(p, x, place))`, or of the largest cross-entropy of the labels where the goals are
/// untargeted. From mid-gray, each step along the mean gradient of a batch, whose images get a place each,
/// and back into \[0,1\]. As `AdversarialPatchPyTorch` of IBM ART, whose Adam follows the *sum* of all
/// gradients so far, as it never clears them; this one follows the gradient, as Adam is meant to.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | size: side of the patch in pixels | required | at least 1 |
/// | shape | a disc | |
/// | passes over the images | 500 | at least 1 |
/// | batch size | 16 | at least 1 |
/// | optimizer | Adam | |
/// | learning rate | 5/255 | a finite number above 0 |
/// | rotation max, in degrees | 22.5 | a number from 0 to 180 |
/// | scale min, of the images' shorter edge | 0.1 | a number above 0, up to scale max |
/// | scale max | 1 | a number above 0, up to 1 |
/// | location: row and column of a corner, in place of scale and shift | none | a corner within the images |
/// | seed | 0 | any |
///
/// ```
/// use histoguard::attack::AdversarialPatch;
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// // Four bright images, fetched by position as a data set would, that are to be taken for dark ones.
/// let images = |positions: &[usize]| {
///     let images = positions.iter().map(|&p| Tensor::full([1, 1, 8, 8], 0.51 + 0.01 * p as f32, &device));
///     Ok::<_, AttackError>((Tensor::cat(images.collect(), 0), Goal::targeted(vec![0; positions.len()])))
/// };
/// let learner = AdversarialPatch::new(8).with_passes(30).with_scale_min(0.5).with_scale_max(0.7);
/// let patch = learner.learn(&victim, 4, images)?;
/// let patched = patch.perturb(&victim, Tensor::full([1, 1, 8, 8], 0.55, &device), &Goal::targeted([0]))?;
/// assert_eq!(victim.predict(patched), [0]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct AdversarialPatch {
    /// Side of the patch in its own pixels.
    pub size: usize,
    /// Its outline.
    #[config(default = "PatchShape::Circle")]
    pub shape: PatchShape,
    /// Passes over the images.
    #[config(default = 500)]
    pub passes: usize,
    /// Images of a step.
    #[config(default = 16)]
    pub batch_size: usize,
    /// How it is moved.
    #[config(default = "PatchOptimizer::Adam")]
    pub optimizer: PatchOptimizer,
    /// The size of a step, on the \[0,1\] scale.
    #[config(default = 0.0196078431372549)]
    pub learning_rate: f64,
    /// The largest rotation in either direction, in degrees.
    #[config(default = 22.5)]
    pub rotation_max: f64,
    /// The smallest side, as a share of the images' shorter edge.
    #[config(default = 0.1)]
    pub scale_min: f64,
    /// The largest side.
    #[config(default = 1.0)]
    pub scale_max: f64,
    /// Row and column of the upper left corner of a patch in its own size, in place of any scale and shift.
    pub location: Option<[usize; 2]>,
    /// The order of the images and the places come from it.
    #[config(default = 0)]
    pub seed: u64,
}

impl AdversarialPatch {
    const NAME: &str = "Adversarial patch";

    fn origin(&self) -> Origin {
        Origin::new(Self::NAME, self.settings())
    }

    /// Where patches are laid.
    pub fn places(&self) -> Places {
        let &Self { rotation_max, scale_min, scale_max, location, .. } = self;
        Places { rotation_max, scale_min, scale_max, location }
    }

    /// Nothing learned yet, for images of these channels, height and width: a gray patch.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] on a setting out of its range.
    pub fn start(&self, image: [usize; 3], device: &Device) -> Result<Patch, AttackError> {
        parameter::check([
            Parameter::at_least("size", self.size, 1),
            Parameter::at_least("passes", self.passes, 1),
            Parameter::at_least("batch size", self.batch_size, 1),
            Parameter::above_zero("learning rate", self.learning_rate),
        ])?;
        let gray = Tensor::full([image[0], self.size, self.size], 0.5, device);
        Patch::new(gray, self.shape, image, self.places(), self.seed, self.origin())
    }

    /// One more pass over the images, or nothing if all are done; whether any is left then. What it leaves
    /// can be [saved](Patch::save), loaded and passed here again: the result is the same.
    ///
    /// `images` gives those at these positions, of `count` in all, `[batch, channels, height, width]` in
    /// \[0,1\], with labels or targets as a [`Goal`]. An image that is of the target class already teaches
    /// nothing: leave such images out.
    ///
    /// # Errors
    ///
    /// What `images` fails with, and [`AttackError`]: a patch of other settings or another number of images,
    /// an image or label that does not fit, or [`AttackError::Stopped`] if a stop was asked for through
    /// [`Frozen::watch`], at which the patch stays as it was before the pass.
    pub fn pass<E: From<AttackError>>(
        &self,
        victim: &Frozen,
        patch: &mut Patch,
        count: usize,
        images: impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
    ) -> Result<bool, E> {
        same_lessons(victim, ("patch", patch.origin(), patch.image()), &self.origin(), count)?;
        let (pass, batches) = (patch.origin().passes, count.div_ceil(self.batch_size));
        if pass == self.passes {
            return Ok(false);
        }
        let mut lessons = Lessons { victim, count, images };
        let mut values: Tensor<4> = patch.values().unsqueeze();
        let mut adam = match (self.optimizer, &patch.adam) {
            (PatchOptimizer::Sign, _) => None,
            (PatchOptimizer::Adam, Some(adam)) => Some(adam.clone().at_rate(self.learning_rate)),
            (PatchOptimizer::Adam, None) => Some(Adam::new(self.learning_rate, &values)),
        };
        for (number, positions) in lessons.order(ORDER, self.seed, pass).chunks(self.batch_size).enumerate() {
            lessons.step(Self::NAME, pass * batches + number, self.passes * batches)?;
            let (images, goal) = lessons.at(positions)?;
            let profile =
                Profile::within(Self::NAME, patch.covers(), Access::Gradients, 1, Queries::gradients(1));
            let task = Task::new(victim, images, &goal, profile)?;
            parameter::check([patch.fits(task.shape())]).map_err(AttackError::from)?;
            let gradient = self.gradient(&task, &values, &self.drawn(task.shape(), pass, positions));
            let moved = match &mut adam {
                Some(adam) => values - adam.step(gradient.neg()),
                None => values + gradient.sign() * self.learning_rate,
            };
            values = moved.clamp(0.0, 1.0);
        }
        let finished = pass + 1 == self.passes;
        let origin = Origin { passes: pass + 1, images: count, finished, ..patch.origin().clone() };
        *patch = patch.after(values, adam.filter(|_| !finished), origin);
        Ok(!finished)
    }

    /// The places of the images at these positions in this pass.
    fn drawn(&self, [_, height, width]: [usize; 3], pass: usize, positions: &[usize]) -> Vec<Placement> {
        let places = self.places();
        let place = |&position: &usize| {
            let mut rng = generator(PLACE, self.seed, &[pass as u64, position as u64]);
            places.draw(self.size, [height, width], f64::INFINITY, &mut rng)
        };
        positions.iter().map(place).collect()
    }

    /// The mean gradient of the goals' objective over the task's images, at the patch: the way up.
    fn gradient(&self, task: &Task<'_>, values: &Tensor<4>, places: &[Placement]) -> Tensor<4> {
        let images = task.images();
        let overlay = PatchOverlay::new(self.shape, self.size, &images);
        let patch = values.clone().to_device(&images.device()).squeeze_dim(0);
        let found = task.ascent(&overlay.apply(&images, &patch, places));
        let mean = overlay.adjoint(&found.gradient, places) / task.len() as f64;
        mean.to_device(&values.device()).unsqueeze()
    }

    /// All passes over the images: see [`pass`](Self::pass).
    ///
    /// # Errors
    ///
    /// As [`pass`](Self::pass).
    pub fn learn<E: From<AttackError>>(
        &self,
        victim: &Frozen,
        count: usize,
        mut images: impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
    ) -> Result<Patch, E> {
        let image = first_shape(count, &mut images)?;
        let mut patch = self.start(image, victim.device())?;
        while self.pass(victim, &mut patch, count, &mut images)? {}
        Ok(patch)
    }
}
