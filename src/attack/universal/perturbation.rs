//! The attack that adds one perturbation to every image.

use std::fmt::{Debug, Formatter};
use std::path::Path;

use burn::tensor::{Device, TensorData};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::attack::Origin;
use crate::attack::prelude::*;
use crate::attack::stored::{Stored, StoredError};
use crate::parameter;
use crate::pixels::normal;
use crate::random::generator;

/// One perturbation that is added to every image, whatever the image: an attack that needs no gradient, no
/// query and no time once it is there.
///
/// Moosavi-Dezfooli, Fawzi, Fawzi & Frossard, "Universal adversarial perturbations", CVPR 2017. It comes from
/// [`SgdUap`](super::SgdUap) or [`DeepFoolUap`](super::DeepFoolUap), which learn it from training images, or
/// from a [file](Self::load). Learn it on training images and report it on those of other slides;
/// [`Fooling`](crate::evaluate::Fooling) has the figures.
///
/// `x' = clip(x + v, 0, 1)`. With another budget in its norm, `v` is scaled: that is not the perturbation
/// which would have been learned there.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | norm | the one it was learned in | the same |
/// | image shape | that of the images it was learned from | the same |
///
/// ```
/// use histoguard::attack::UniversalPerturbation;
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// // The control for every universal perturbation: as large, of random signs.
/// let random = UniversalPerturbation::random(Budget::pixels(8.0), [1, 4, 4], 0, &device)?;
/// let image = Tensor::full([1, 1, 4, 4], 0.6, &device);
/// let moved = random.perturb(&victim, image.clone(), &Goal::untargeted([1]))?;
/// assert!(((moved - image).abs().max().into_scalar::<f32>() - 8.0 / 255.0).abs() < 1e-6);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone)]
pub struct UniversalPerturbation {
    /// `[1, channels, height, width]`
    values: Tensor<4>,
    /// The budget that it was learned with.
    learned: Budget,
    /// The budget that it is used with.
    budget: Budget,
    origin: Origin,
}

/// What the file of a perturbation says beside its values.
#[derive(Serialize, Deserialize)]
struct About {
    budget: Budget,
    origin: Origin,
}

const VALUES: &str = "perturbation";
/// Of patches too.
pub(super) const ORDER: Purpose =
    Purpose::named("the order of images that a universal perturbation is learned from");
const RANDOM: Purpose = Purpose::named("a random universal perturbation");

impl UniversalPerturbation {
    pub(in crate::attack) const KIND: &str = "universal perturbation";

    /// A perturbation of one's own, `[channels, height, width]`; it is projected into the budget.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] on a budget that is not above zero or on values that are NaN or infinite.
    pub fn new(values: Tensor<3>, budget: Budget, origin: Origin) -> Result<Self, AttackError> {
        let finite = values.clone().is_finite().all().into_scalar::<bool>();
        let found = if finite { "finite ones" } else { "some that are not" };
        parameter::check([
            Parameter::above_zero("budget", budget.size()),
            Parameter::new("perturbation", "finite values", finite, found),
        ])?;
        let values = budget.norm().project(values.inner().unsqueeze(), budget.size());
        Ok(Self { values, learned: budget, budget, origin })
    }

    /// A random perturbation that uses the whole budget: Gaussian numbers, in L-infinity their signs. It is
    /// the control that a learned one has to beat.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] on a budget that is not above zero, or in L0.
    pub fn random(
        budget: Budget,
        shape: [usize; 3],
        seed: u64,
        device: &Device,
    ) -> Result<Self, AttackError> {
        let norm = budget.norm();
        parameter::check([norm_among(norm, &[Norm::Linf, Norm::L2, Norm::L1])])?;
        let mut values = vec![0.0; shape.iter().product()];
        normal(&mut values, &mut generator(RANDOM, seed, &[]));
        let values = Tensor::<3>::from_data(TensorData::new(values, shape), device).unsqueeze();
        let full = norm.unit_step(values) * budget.size();
        let settings = serde_json::json!({ "budget": budget, "seed": seed });
        let origin = Origin { finished: true, ..Origin::new("random perturbation", settings) };
        Self::new(full.squeeze_dim(0), budget, origin)
    }

    /// The perturbation within its budget, `[channels, height, width]`, outside autodiff.
    pub fn values(&self) -> Tensor<3> {
        self.scaled().squeeze_dim(0)
    }

    /// The perturbation as an image in \[0,1\], mid-gray where nothing changes and amplified to the whole
    /// range, `[channels, height, width]`.
    pub fn picture(&self) -> Tensor<3> {
        let largest = self.values.clone().abs().max().into_scalar::<f32>();
        let most = if largest > 0.0 { largest } else { 1.0 };
        self.values.clone().squeeze_dim(0) / (2.0 * most) + 0.5
    }

    /// How it came about.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The budget that it is used with.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// Writes it as safetensors, the values as `perturbation` `[channels, height, width]`, which any other
    /// program can read; the file is complete or absent at any moment. Its budget is the one that it was
    /// learned with.
    ///
    /// # Errors
    ///
    /// [`StoredError`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), StoredError> {
        let about = About { budget: self.learned, origin: self.origin.clone() };
        let mut stored = Stored::new(Self::KIND, &about);
        stored.add(VALUES, &self.shape(), values(self.values.clone()));
        stored.write(path.as_ref())
    }

    /// Reads what [`save`](Self::save) wrote, finished or not.
    ///
    /// # Errors
    ///
    /// [`StoredError`] on a file that cannot be read, is of another kind, or holds values that are not finite
    /// or larger than its budget.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, StoredError> {
        let path = path.as_ref();
        let stored = Stored::read(path, Self::KIND)?;
        let wrong = |expected: &str, found: String| StoredError::format(path, expected, found);
        let About { budget, origin } = stored.about(path)?;
        let (shape, values) = stored.tensor(path, VALUES)?;
        let shape: [usize; 3] = shape
            .try_into()
            .map_err(|shape| wrong("a perturbation of channels, height and width", format!("{shape:?}")))?;
        let change: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
        let size = budget.norm().measure_values(&change);
        if !budget.holds(size) {
            return Err(wrong(&format!("a perturbation within {budget}"), format!("one of {size}")));
        }
        let tensor = Tensor::from_data(TensorData::new(values, shape), device);
        Self::new(tensor, budget, origin)
            .map_err(|error| wrong("a universal perturbation", error.to_string()))
    }

    fn scaled(&self) -> Tensor<4> {
        if self.budget == self.learned {
            return self.values.clone();
        }
        let share = self.budget.size() / self.learned.size();
        self.budget.norm().project(self.values.clone() * share, self.budget.size())
    }

    /// The same with other values and a pass more.
    pub(super) fn after(&self, values: Tensor<4>, images: usize, finished: bool) -> Self {
        let passes = self.origin.passes + 1;
        Self { values, origin: Origin { passes, images, finished, ..self.origin.clone() }, ..self.clone() }
    }

    /// Values `[1, channels, height, width]`.
    pub(super) fn learned_values(&self) -> Tensor<4> {
        self.values.clone()
    }

    /// What it is, how it came about and the shape of its images.
    pub(super) fn learned(&self) -> (&'static str, &Origin, [usize; 3]) {
        ("perturbation", &self.origin, self.shape())
    }

    /// Channels, height and width of the images that it is for.
    pub(in crate::attack) fn shape(&self) -> [usize; 3] {
        let [_, channels, height, width] = self.values.dims();
        [channels, height, width]
    }

    pub(super) fn fits(&self, [channels, height, width]: [usize; 3]) -> Parameter {
        let [c, h, w] = self.shape();
        let range = format!("images of {c}x{h}x{w}, as it was learned from");
        let found = format!("{channels}x{height}x{width}");
        Parameter::new("image shape", range, [c, h, w] == [channels, height, width], found)
    }
}

/// Its budgets, its origin and a digest of its values.
impl Serialize for UniversalPerturbation {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut digest = Sha256::new();
        for value in values(self.values.clone()) {
            digest.update(value.to_le_bytes());
        }
        let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        serde_json::json!({
            "budget": self.budget, "learned": self.learned, "origin": self.origin, "sha256": digest,
        })
        .serialize(to)
    }
}

impl Debug for UniversalPerturbation {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UniversalPerturbation")
            .field("shape", &self.values.dims())
            .field("learned", &self.learned)
            .field("budget", &self.budget)
            .field("origin", &self.origin)
            .finish()
    }
}

impl Attack for UniversalPerturbation {
    fn profile(&self) -> Profile {
        Profile::within(&self.origin.method, self.budget, Access::Learned, 0, Queries::NONE)
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        vec![norm_among(self.budget.norm(), &[self.learned.norm()]), self.fits(task.shape())]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget, ..self.clone() })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        task.go_on()?;
        let values = self.scaled().to_device(&task.images().device());
        Ok(task.project(task.images() + values, self.budget))
    }
}
