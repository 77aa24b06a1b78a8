//! The attack that lays a learned patch on every image.

use std::fmt::{Debug, Formatter};
use std::path::Path;

use burn::tensor::{Device, TensorData};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::overlay::PatchOverlay;
use super::placement::{Placement, Places, edge};
use super::shape::PatchShape;
use crate::attack::Draws;
use crate::attack::Origin;
use crate::attack::prelude::*;
use crate::attack::steps::Adam;
use crate::attack::stored::{Stored, StoredError};
use crate::parameter;
use crate::random::generator;

/// A patch that is laid on every image, whatever the image: an attack that needs no gradient, no query and no
/// time once it is there, and that a printed sticker can carry out.
///
/// Brown, Mané, Roy, Abadi & Gilmer, "Adversarial Patch", arXiv 1712.09665, 2017. It comes from
/// [`AdversarialPatch`](super::AdversarialPatch), which learns it from training images, or from a
/// [file](Self::load). Report it on images of other slides, beside a [random](Self::random) patch in the same
/// places, which hides as much; [`PatchSuccess`](crate::evaluate::PatchSuccess) has the figures.
///
/// Each image gets its own place, drawn from the seed and the image's index;
/// [`Restarts`](crate::attack::Restarts) tries others. The budget is in L0, which is what a patch is held to:
/// the values that it covers at most, a pixel's channels counted singly. A smaller one makes it smaller; one
/// that is too small for a single pixel leaves images as they are.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | norm | L0 | L0 |
/// | image shape | that of the images it was learned from | that of [`for_images`](Self::for_images) |
///
/// ```
/// use histoguard::attack::{Patch, PatchShape, Places};
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| x.mean_dims(&[2, 3]).reshape([-1, 2]));
/// let places = Places { scale_min: 0.5, scale_max: 0.5, ..Places::default() };
/// // The control for every learned patch: as large, of random colours.
/// let random = Patch::random(PatchShape::Square, 4, [2, 8, 8], places, 0, &device)?;
/// let images = Tensor::full([1, 2, 8, 8], 0.5, &device);
/// let patched = random.perturb(&victim, images.clone(), &Goal::untargeted([0]))?;
/// let changed: f32 = Norm::L0.measure(patched - images).into_scalar();
/// assert!(changed > 0.0 && random.profile().budget().unwrap().holds(f64::from(changed)));
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone)]
pub struct Patch {
    /// `[1, channels, size, size]`
    values: Tensor<4>,
    about: About,
    /// What Adam remembers, while it is learned.
    pub(super) adam: Option<Adam>,
    /// A budget other than what it covers at most.
    budget: Option<Budget>,
}

/// What the file of a patch says beside its values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct About {
    shape: PatchShape,
    places: Places,
    /// Channels, height and width of the images.
    image: [usize; 3],
    seed: u64,
    origin: Origin,
    /// Adam's steps so far, while it is learned.
    steps: Option<usize>,
}

const VALUES: &str = "patch";
const MOMENTS: [&str; 2] = ["adam.first", "adam.second"];
const PLACE: Purpose = Purpose::named("the place of a patch");
const RANDOM: Purpose = Purpose::named("a random patch");

impl Patch {
    pub(in crate::attack) const KIND: &str = "patch";

    /// A patch of one's own, `[channels, size, size]`, for images of these channels, height and width.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] on values outside \[0,1\], a patch that is not square or has other channels
    /// than the images, or places out of their ranges: angles from 0 to 180, scales above 0 and up to 1,
    /// locations within the images.
    pub fn new(
        values: Tensor<3>,
        shape: PatchShape,
        image: [usize; 3],
        places: Places,
        seed: u64,
        origin: Origin,
    ) -> Result<Self, AttackError> {
        let [channels, height, width] = values.dims();
        let square = height == width && height > 0 && channels == image[0];
        let range = format!("{} channels of a square", image[0]);
        let pixels = !image.contains(&0);
        parameter::check([
            Parameter::new("image shape", "images with pixels", pixels, format!("{image:?}")),
            Parameter::new("patch", range, square, format!("{channels} of {height}x{width}")),
        ])?;
        let values: Tensor<4> = values.inner().unsqueeze();
        let outside =
            crate::rows::values(values.clone()).into_iter().find(|value| !(0.0..=1.0).contains(value));
        let found = outside.map_or_else(String::new, |value| value.to_string());
        parameter::check([Parameter::new("patch", "values in [0,1]", outside.is_none(), found)])?;
        parameter::check(places.parameters(height, [image[1], image[2]]))?;
        let about = About { shape, places, image, seed, origin, steps: None };
        Ok(Self { values, about, adam: None, budget: None })
    }

    /// A patch of random colours, each uniform in \[0,1\]: what hides as much of an image and says nothing.
    /// With the same seed it lies where others lie.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn random(
        shape: PatchShape,
        size: usize,
        image: [usize; 3],
        places: Places,
        seed: u64,
        device: &Device,
    ) -> Result<Self, AttackError> {
        let mut rng = generator(RANDOM, seed, &[]);
        let values: Vec<f32> = (0..image[0] * size * size).map(|_| rng.random()).collect();
        let values = Tensor::from_data(TensorData::new(values, [image[0], size, size]), device);
        let settings = serde_json::json!({ "size": size, "seed": seed });
        let origin = Origin { finished: true, ..Origin::new("Random patch", settings) };
        Self::new(values, shape, image, places, seed, origin)
    }

    /// The same for images of these channels, height and width.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] if it has other channels, or if its location lies outside.
    pub fn for_images(&self, image: [usize; 3]) -> Result<Self, AttackError> {
        self.with(|about| about.image = image)
    }

    /// The same in other places.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] on places out of their ranges.
    pub fn at_places(&self, places: Places) -> Result<Self, AttackError> {
        self.with(|about| about.places = places)
    }

    /// The same in places of another seed.
    pub fn with_seed(&self, seed: u64) -> Self {
        self.with(|about| about.seed = seed).expect("checked before")
    }

    fn with(&self, change: impl FnOnce(&mut About)) -> Result<Self, AttackError> {
        let mut about = self.about.clone();
        change(&mut about);
        let About { shape, places, image, seed, origin, .. } = about;
        Self::new(self.values(), shape, image, places, seed, origin)
    }

    /// The patch, `[channels, size, size]`, outside autodiff, values in \[0,1\].
    pub fn values(&self) -> Tensor<3> {
        self.values.clone().squeeze_dim(0)
    }

    /// The patch on mid-gray where it is clear, `[channels, size, size]`.
    pub fn picture(&self) -> Tensor<3> {
        let opacity = self.about.shape.opacity(self.size());
        let like = Tensor::zeros([1, 1, self.size(), self.size()], &self.values.device());
        let opacity = crate::rows::batch(opacity, &like);
        (self.values.clone() * opacity.clone() + (opacity.neg() + 1.0) * 0.5).squeeze_dim(0)
    }

    /// Side of the patch in its own pixels.
    pub fn size(&self) -> usize {
        self.values.dims()[2]
    }

    /// Its outline.
    pub fn shape(&self) -> PatchShape {
        self.about.shape
    }

    /// Where it is laid.
    pub fn places(&self) -> Places {
        self.about.places
    }

    /// Channels, height and width of the images that it is for.
    pub fn image(&self) -> [usize; 3] {
        self.about.image
    }

    /// The seed of its places.
    pub fn seed(&self) -> u64 {
        self.about.seed
    }

    /// How it came about.
    pub fn origin(&self) -> &Origin {
        &self.about.origin
    }

    /// The values that it covers at most: the budget that it is used with, unless [`at`](Attack::at) says
    /// another.
    pub fn covers(&self) -> Budget {
        let [channels, height, width] = self.about.image;
        let (image, size) = ([height, width], self.size());
        let scale = self.about.places.largest(size, image);
        let pixels = self.about.shape.most_pixels(size, edge(image), scale).min((height * width) as f64);
        Budget::l0(pixels.floor() as usize * channels)
    }

    /// The largest scale within the budget.
    fn largest_scale(&self) -> f64 {
        let [channels, height, width] = self.about.image;
        let (image, size) = ([height, width], self.size());
        let own = self.about.places.largest(size, image);
        match self.budget {
            Some(budget) if budget < self.covers() => {
                let pixels = budget.size() / channels as f64;
                self.about.shape.largest_scale(size, edge(image), pixels).min(own)
            }
            _ => own,
        }
    }

    /// The place in the image of this row.
    fn place(&self, draws: &Draws, row: usize) -> Placement {
        let [_, height, width] = self.about.image;
        let (image, mut rng) = ([height, width], draws.generator(row));
        self.about.places.draw(self.size(), image, self.largest_scale(), &mut rng)
    }

    /// Writes it as safetensors, the values as `patch` `[channels, size, size]`, which any other program can
    /// read; the file is complete or absent at any moment. While it is learned, what the optimiser remembers
    /// is beside it.
    ///
    /// # Errors
    ///
    /// [`StoredError`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), StoredError> {
        let steps = self.adam.as_ref().map(|adam| adam.times()[0] as usize);
        let mut stored = Stored::new(Self::KIND, &About { steps, ..self.about.clone() });
        let shape = [self.about.image[0], self.size(), self.size()];
        stored.add(VALUES, &shape, values(self.values.clone()));
        if let Some(adam) = &self.adam {
            for (name, moment) in MOMENTS.iter().zip(adam.moments()) {
                stored.add(name, &shape, values(moment.clone()));
            }
        }
        stored.write(path.as_ref())
    }

    /// Reads what [`save`](Self::save) wrote, finished or not.
    ///
    /// # Errors
    ///
    /// [`StoredError`] on a file that cannot be read, is of another kind, or holds what [`new`](Self::new)
    /// refuses.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, StoredError> {
        let path = path.as_ref();
        let stored = Stored::read(path, Self::KIND)?;
        let wrong = |expected: &str, found: String| StoredError::format(path, expected, found);
        let About { shape, places, image, seed, origin, steps } = stored.about(path)?;
        let tensor = |name: &str| -> Result<Tensor<3>, StoredError> {
            let (shape, values) = stored.tensor(path, name)?;
            let shape: [usize; 3] = shape
                .try_into()
                .map_err(|shape| wrong("a patch of channels, height and width", format!("{shape:?}")))?;
            Ok(Tensor::from_data(TensorData::new(values, shape), device))
        };
        let patch = Self::new(tensor(VALUES)?, shape, image, places, seed, origin)
            .map_err(|error| wrong("an adversarial patch", error.to_string()))?;
        let Some(steps) = steps else { return Ok(patch) };
        let [first, second] =
            [tensor(MOMENTS[0])?, tensor(MOMENTS[1])?].map(|moment| moment.unsqueeze::<4>());
        let alike = [&first, &second].iter().all(|moment| moment.dims() == patch.values.dims());
        let squares = values(second.clone()).iter().all(|square| *square >= 0.0);
        match (alike && squares, i32::try_from(steps)) {
            (true, Ok(steps)) => Ok(Self { adam: Some(Adam::resumed([first, second], steps)), ..patch }),
            _ => {
                Err(wrong("the moments of Adam for every value of the patch", format!("{:?}", first.dims())))
            }
        }
    }

    /// The same with other values and another origin.
    pub(super) fn after(&self, values: Tensor<4>, adam: Option<Adam>, origin: Origin) -> Self {
        Self { values, adam, about: About { origin, ..self.about.clone() }, budget: None }
    }

    pub(super) fn fits(&self, [channels, height, width]: [usize; 3]) -> Parameter {
        let [c, h, w] = self.about.image;
        let range = format!("images of {c}x{h}x{w}, as it is for");
        let found = format!("{channels}x{height}x{width}");
        Parameter::new("image shape", range, [c, h, w] == [channels, height, width], found)
    }
}

/// What it is and where it is laid, its budget and a digest of its values.
impl Serialize for Patch {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut digest = Sha256::new();
        for value in values(self.values.clone()) {
            digest.update(value.to_le_bytes());
        }
        let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let About { shape, places, image, seed, origin, .. } = &self.about;
        serde_json::json!({
            "size": self.size(), "shape": shape, "places": places, "image": image, "seed": seed,
            "budget": self.profile().budget(), "origin": origin, "sha256": digest,
        })
        .serialize(to)
    }
}

impl Debug for Patch {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patch")
            .field("size", &self.size())
            .field("about", &self.about)
            .field("budget", &self.budget)
            .finish()
    }
}

impl Attack for Patch {
    fn profile(&self) -> Profile {
        let budget = self.budget.unwrap_or_else(|| self.covers());
        Profile::within(&self.about.origin.method, budget, Access::Learned, 0, Queries::NONE)
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        let norm = self.budget.map_or(Norm::L0, Budget::norm);
        vec![norm_among(norm, &[Norm::L0]), self.fits(task.shape())]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget: Some(budget), ..self.clone() })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        task.go_on()?;
        let (images, draws) = (task.images(), task.draws(PLACE, self.about.seed, &[]));
        let places: Vec<Placement> = (0..task.len()).map(|row| self.place(&draws, row)).collect();
        let patch = self.values().to_device(&images.device());
        Ok(PatchOverlay::new(self.about.shape, self.size(), &images).apply(&images, &patch, &places))
    }
}
