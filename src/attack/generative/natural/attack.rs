//! Natural adversarial examples as an attack.

use std::fmt::{Debug, Formatter};
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::super::fits::{mismatch, same_shape};
use super::super::numbers::{numbers, path_name};
use super::super::parts;
use super::super::stored_checks::check_settings;
use super::config::LatentConfig;
use super::generator::LatentGenerator;
use super::inverter::Inverter;
use super::models::Models;
use super::reconstruction::{Reconstruction, ReconstructionLimits};
use super::search::{NaturalExample, NaturalOutcome, rms, search};
use super::shells::ShellSearch;
use super::training::WganTraining;
use super::wgan::Wgan;
use crate::attack::prelude::*;
use crate::attack::stored::{Numbers, StoredError, sha256_of_parts};
use crate::attack::{Goal, Origin};
use crate::classifier::Frozen;
use crate::parameter;
use crate::pixels::round;
use crate::statistics::Proportion;

const PARTS: [&str; 2] = ["generator.", "inverter."];
/// Held-out images that are looked at at once.
const AT_ONCE: usize = 32;

/// Natural adversarial examples: images that a generator makes of codes near that of an image, the nearest
/// that reaches the goal. They look like images of the data as far as the generator's do; they are other
/// images than the one that was attacked, and no norm bounds how far they are from it.
///
/// Zhao, Dua & Singh, "Generating Natural Adversarial Examples", ICLR 2018. [`Wgan`] learns the generator and
/// its inverter, [`ShellSearch`] searches, by the victim's labels alone. An image whose reconstruction
/// reaches the goal by itself comes back as it is, where the paper's search would succeed at once: it is
/// [misread](NaturalOutcome::Misread) by the inverter. So does one for which nothing is found. What
/// [`search`](Self::search) says beside each image, above all the error of its reconstruction, belongs beside
/// every result.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | search | [`ShellSearch`]'s | as there |
/// | image shape | that of the images it was learned from | the same |
///
/// ```
/// use histoguard::attack::{Natural, ReconstructionLimits, ShellSearch, Wgan};
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// // Images of one brightness each, as a data set would give them by position.
/// let images = |positions: &[usize]| {
///     let image = |&p: &usize| Tensor::full([1, 1, 16, 16], 0.3 + 0.05 * p as f32, &device);
///     let classes: Vec<usize> = positions.iter().map(|&p| usize::from(p > 4)).collect();
///     let images = Tensor::cat(positions.iter().map(image).collect(), 0);
///     Ok::<_, AttackError>((images, Goal::untargeted(classes)))
/// };
/// let mut wgan = Wgan::new().with_latent(2).with_width(2);
/// wgan.schedule = wgan.schedule.with_epochs(4).with_batch_size(9);
/// let training = wgan.learn(&victim, 9, images)?;
/// // Held-out images belong here; these are those that it was learned from. Four epochs are too few.
/// let refused = Natural::learned(&wgan, &training, ReconstructionLimits::new(), &victim, 9, images);
/// let said = refused.unwrap_err().to_string();
/// assert!(said.starts_with("reconstruction error: expected at most 0.1111"), "{said}");
/// // Searched all the same, its results are worth as little.
/// let any = ReconstructionLimits { largest_error: 10.0, least_kept: 0.0 };
/// let search = ShellSearch::new().with_samples(20).with_step(0.5);
/// let attack = Natural::learned(&wgan, &training, any, &victim, 9, images)?.with_search(search);
/// let (image, goal) = images(&[6])?;
/// let example = &attack.search(&victim, image, &goal)?[0];
/// assert!(example.reconstruction_error > 0.05);
/// if let Some(adversary) = example.found() {
///     assert_eq!(victim.predict(adversary.image.clone()), [0]);
/// }
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone)]
pub struct Natural {
    about: About,
    weights: Arc<[Numbers; 2]>,
    models: Models,
}

/// What the file says beside the weights.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct About {
    networks: LatentConfig,
    /// What it is searched with unless something else is said.
    search: ShellSearch,
    reconstruction: Reconstruction,
    origin: Origin,
    sha256: String,
}

impl Natural {
    pub(crate) const KIND: &str = "natural adversary";
    const NAME: &str = "Natural adversary";

    fn new(about: About, weights: [Numbers; 2], device: &Device) -> Result<Self, (String, String)> {
        let models = Models::new(about.networks, weights.each_ref(), device)?;
        Ok(Self { about, weights: Arc::new(weights), models })
    }

    /// What a training by these settings has come to, measured on held-out images, `count` of them as for
    /// [`Wgan::pass`]; the victim is asked about each and its reconstruction.
    ///
    /// # Errors
    ///
    /// What `images` fails with, and [`AttackError::Parameter`]: a training of other settings, no image, one
    /// of another shape, or a reconstruction past the limits, with the figure.
    pub fn learned<E: From<AttackError>>(
        wgan: &Wgan,
        training: &WganTraining,
        limits: ReconstructionLimits,
        victim: &Frozen,
        count: usize,
        images: impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
    ) -> Result<Self, E> {
        let (own, made) = (wgan.origin(), training.origin());
        let same = own.method == made.method && own.settings == made.settings;
        let range = format!("one of {}", own.settings);
        parameter::check([Parameter::new("training", range, same, format!("one of {}", made.settings))])
            .map_err(AttackError::from)?;
        let [generator, _, inverter] = &training.weights;
        let weights = [generator.clone(), inverter.clone()];
        let networks = wgan.networks(training.shape());
        Self::measured((networks, weights, made.clone()), limits, victim, (count, images))
    }

    /// A generator and its inverter of this configuration, measured as [`learned`](Self::learned) does.
    ///
    /// # Errors
    ///
    /// As [`learned`](Self::learned), and networks of another configuration.
    pub fn from_networks<E: From<AttackError>>(
        (generator, inverter): (&LatentGenerator, &Inverter),
        (networks, origin): (LatentConfig, Origin),
        limits: ReconstructionLimits,
        victim: &Frozen,
        count: usize,
        images: impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
    ) -> Result<Self, E> {
        parameter::check(networks.parameters()).map_err(AttackError::from)?;
        let weights = [numbers(generator, path_name), numbers(inverter, path_name)];
        Self::measured((networks, weights, origin), limits, victim, (count, images))
    }

    fn measured<E: From<AttackError>>(
        (networks, weights, origin): (LatentConfig, [Numbers; 2], Origin),
        limits: ReconstructionLimits,
        victim: &Frozen,
        images: (usize, impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>),
    ) -> Result<Self, E> {
        limits.check().map_err(AttackError::from)?;
        let misfit = |misfit| AttackError::from(mismatch("networks", misfit));
        let models = Models::new(networks, weights.each_ref(), victim.device()).map_err(misfit)?;
        let reconstruction = measure(&models, networks.shape, victim, images)?;
        parameter::check(limits.judge(&reconstruction)).map_err(AttackError::from)?;
        let sha256 = digest(&weights);
        let about = About { networks, search: ShellSearch::new(), reconstruction, origin, sha256 };
        Ok(Self { about, weights: Arc::new(weights), models })
    }

    /// The same with another search; its file says it too.
    pub fn with_search(self, search: ShellSearch) -> Self {
        // As JSON gives it back exactly.
        let search = ShellSearch { step: round(search.step), largest: round(search.largest), ..search };
        Self { about: About { search, ..self.about }, ..self }
    }

    /// How its networks came about.
    pub fn origin(&self) -> &Origin {
        &self.about.origin
    }

    /// How well held-out images came back from their codes.
    pub fn reconstruction(&self) -> &Reconstruction {
        &self.about.reconstruction
    }

    /// Channels, height and width of the images that it is for.
    pub fn shape(&self) -> [usize; 3] {
        self.about.networks.shape
    }

    /// What the inverter gives images, and the generator of that.
    ///
    /// # Shapes
    ///
    /// - `images`, output: `[batch, channels, height, width]`
    pub fn reconstructed(&self, images: Tensor<4>) -> Tensor<4> {
        self.models.images(self.models.codes(images.clone()), &images.inner().device())
    }

    /// Searches around the codes of these images, and says of each what was found: what
    /// [`perturb`](Attack::perturb) returns, with the figures that belong beside it.
    ///
    /// # Errors
    ///
    /// As [`perturb`](Attack::perturb).
    pub fn search(
        &self,
        victim: &Frozen,
        images: Tensor<4>,
        goal: &Goal,
    ) -> Result<Vec<NaturalExample>, AttackError> {
        let task = Task::new(victim, images, goal, self.profile())?;
        parameter::check(self.parameters(&task))?;
        victim.check(task.shape())?;
        search(&task, &self.models, self.about.search)
    }

    /// Writes it as safetensors, its search too; the file is complete or absent at any moment.
    ///
    /// # Errors
    ///
    /// [`StoredError`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), StoredError> {
        parts::write(path.as_ref(), Self::KIND, &self.about, &named(&self.weights))
    }

    /// Reads what [`save`](Self::save) wrote, finished or not.
    ///
    /// # Errors
    ///
    /// [`StoredError`] on a file that cannot be read, is of another kind, is damaged, or holds the weights of
    /// other networks than it says.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, StoredError> {
        let path = path.as_ref();
        let (about, weights): (About, _) =
            parts::read(path, Self::KIND, PARTS, |about: &About| about.sha256.as_str())?;
        let LatentConfig { shape, latent, width } = about.networks;
        check_settings(path, &weights[0], (&[shape[0], latent, width], shape), about.parameters())?;
        Self::new(about, weights, device)
            .map_err(|(expected, found)| StoredError::format(path, &expected, found))
    }
}

fn named(weights: &[Numbers; 2]) -> [(&'static str, &Numbers); 2] {
    std::array::from_fn(|part| (PARTS[part], &weights[part]))
}

fn digest(weights: &[Numbers; 2]) -> String {
    sha256_of_parts(&named(weights))
}

/// How these networks do on held-out images.
fn measure<E: From<AttackError>>(
    models: &Models,
    shape: [usize; 3],
    victim: &Frozen,
    (count, mut images): (usize, impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>),
) -> Result<Reconstruction, E> {
    parameter::check([Parameter::at_least("held-out images", count, 1)]).map_err(AttackError::from)?;
    victim.check(shape).map_err(AttackError::from)?;
    let mut batch = |positions: &[usize]| -> Result<Tensor<4>, E> {
        let (images, goal) = images(positions)?;
        let profile = Profile::semantic(Natural::NAME, Access::Label, None, None);
        let task = Task::new(victim, images, &goal, profile)?;
        parameter::check([same_shape(shape, task.shape())]).map_err(AttackError::from)?;
        task.go_on()?;
        Ok(task.images())
    };
    let all: Vec<usize> = (0..count).collect();
    let (mut mean, mut errors) = (None, 0.0);
    let mut kept = vec![[0; 2]; victim.num_classes()];
    for positions in all.chunks(AT_ONCE) {
        let images = batch(positions)?;
        let again = models.images(models.codes(images.clone()), &images.device());
        errors += rms(again.clone() - images.clone()).iter().sum::<f64>();
        let answers = [images.clone(), again].map(|images| victim.predict(images));
        for (&before, &after) in answers[0].iter().zip(&answers[1]) {
            kept[before] = [kept[before][0] + usize::from(before == after), kept[before][1] + 1];
        }
        let part = images.sum_dim(0) / count as f64;
        mean = Some(mean.map_or(part.clone(), |mean: Tensor<4>| mean + part));
    }
    let (mean, mut off) = (mean.expect("an image at least"), 0.0);
    for positions in all.chunks(AT_ONCE) {
        off += rms(batch(positions)? - mean.clone()).iter().sum::<f64>();
    }
    Ok(Reconstruction {
        images: count,
        error: round(errors / count as f64),
        mean_image_error: round(off / count as f64),
        kept: kept.into_iter().map(|[kept, of]| Proportion::new(kept, of)).collect(),
    })
}

impl About {
    fn parameters(&self) -> Vec<Parameter> {
        [self.networks.parameters(), self.search.parameters()].concat()
    }
}

/// Its search, its form, its origin, its reconstructions and a digest of its weights.
impl Serialize for Natural {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.about.serialize(to)
    }
}

impl Debug for Natural {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Natural").field("about", &self.about).finish_non_exhaustive()
    }
}

impl Attack for Natural {
    fn profile(&self) -> Profile {
        let shells = self.about.search.most();
        let asked = shells.map(|shells| shells.saturating_mul(self.about.search.samples).saturating_add(1));
        let most = match (asked, self.about.search.queries) {
            (Some(asked), Some(paid)) => Some(asked.min(paid)),
            (asked, paid) => asked.or(paid),
        };
        let steps = shells.map(|shells| shells.saturating_add(1));
        Profile::semantic(Self::NAME, Access::Label, steps, most.map(Queries::forwards))
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        let mut parameters = self.about.search.parameters();
        parameters.push(same_shape(self.shape(), task.shape()));
        parameters
    }

    /// The same: no norm bounds it.
    fn at(&self, _: Budget) -> Box<dyn Attack> {
        Box::new(self.clone())
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        let examples = search(&task, &self.models, self.about.search)?;
        let found = |example: &NaturalExample| matches!(example.outcome, NaturalOutcome::Found(_));
        let rows: Vec<usize> = (0..examples.len()).filter(|&row| found(&examples[row])).collect();
        let images: Vec<Tensor<4>> =
            examples.iter().filter_map(|example| Some(example.found()?.image.clone())).collect();
        match images.is_empty() {
            true => Ok(task.images()),
            false => Ok(put(task.images(), &rows, Tensor::cat(images, 0))),
        }
    }
}
