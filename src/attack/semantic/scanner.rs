//! What a scanner does to a slide, found by trying a grid.

use crate::attack::prelude::*;
use crate::attack::steps::{Tried, worst_of};
use crate::pixels::{RigidMotion, Subsampling, brightness, contrast, gaussian_blur, jpeg};

/// The worst of what scanners do to the same slide: how it lies (rotation and translation), how it is in
/// focus (blur), how it is lit (brightness, contrast) and how its file is compressed, in every combination of
/// the values given.
///
/// Grid search over rotations and translations is the attack of Engstrom et al., "Exploring the Landscape of
/// Spatial Robustness", ICML 2019: 31 rotations to 30 degrees, 5 by 5 translations to about a tenth of the
/// side. They found gradients to do worse than the grid: there are none here. Blur, brightness, contrast and
/// JPEG are among the corruptions of Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to
/// Common Corruptions and Perturbations", ICLR 2019. The defaults are this crate's: weaker than the first
/// paper's range, and no stronger than the second one's first severity.
///
/// An image stays at the first combination that reaches the goal; one that never does at the one with the
/// largest margin. The steps, in this order, are [`RigidMotion`], [`gaussian_blur`], [`brightness`],
/// [`contrast`] and [`jpeg`] at 4:2:0.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | rotations | 0, -5, 5 | degrees: at least one, each a number from -180 to 180 |
/// | translations | none, 2 % up, down, left, right | shares of height and width: at least one, each a number from -1 to 1 |
/// | blurs | 0, 1 | standard deviations in pixels: at least one, each a number from 0 to 100 |
/// | brightnesses | 1, 0.9, 1.1 | factors: at least one, each a number from 0 to 10 |
/// | contrasts | 1, 0.9, 1.1 | factors: at least one, each a number from 0 to 10 |
/// | qualities | none, 75 | qualities of JPEG or none: at least one, each from 1 to 100 |
/// | channels | the images' | 1 or 3 |
///
/// ```
/// use histoguard::attack::Scanner;
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let image = Tensor::full([1, 3, 16, 16], 0.55, &device);
/// let attack = Scanner::new();
/// assert_eq!(attack.profile().queries.unwrap().forwards, 3 * 5 * 2 * 3 * 3 * 2);
/// let darker = attack.perturb(&victim, image, &Goal::untargeted([1]))?;
/// assert_eq!(victim.predict(darker), [0]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct Scanner {
    /// Degrees counterclockwise.
    #[config(default = "vec![0.0, -5.0, 5.0]")]
    pub rotations: Vec<f64>,
    /// Shares of the height downwards and of the width to the right.
    #[config(default = "vec![[0.0, 0.0], [-0.02, 0.0], [0.02, 0.0], [0.0, -0.02], [0.0, 0.02]]")]
    pub translations: Vec<[f64; 2]>,
    /// Standard deviations in pixels.
    #[config(default = "vec![0.0, 1.0]")]
    pub blurs: Vec<f64>,
    /// Factors.
    #[config(default = "vec![1.0, 0.9, 1.1]")]
    pub brightnesses: Vec<f64>,
    /// Factors.
    #[config(default = "vec![1.0, 0.9, 1.1]")]
    pub contrasts: Vec<f64>,
    /// From 1 to 100; `None` for no compression.
    #[config(default = "vec![None, Some(75)]")]
    pub qualities: Vec<Option<usize>>,
}

impl Scanner {
    /// How many values each part has, from the one that changes last on.
    fn sizes(&self) -> [usize; 6] {
        [
            self.rotations.len(),
            self.translations.len(),
            self.blurs.len(),
            self.brightnesses.len(),
            self.contrasts.len(),
            self.qualities.len(),
        ]
    }

    /// Number of combinations.
    fn points(&self) -> usize {
        self.sizes().into_iter().fold(1, usize::saturating_mul)
    }

    /// The images in the combination with this number.
    fn scanned(&self, images: Tensor<4>, mut number: usize) -> Tensor<4> {
        let mut at = [0; 6];
        for (place, size) in at.iter_mut().zip(self.sizes()).rev() {
            (*place, number) = (number % size, number / size);
        }
        let (degrees, [down, right]) = (self.rotations[at[0]], self.translations[at[1]]);
        let images = RigidMotion { degrees, down, right }.apply(images);
        let images = match self.blurs[at[2]] {
            0.0 => images,
            sigma => gaussian_blur(images, sigma),
        };
        let images = brightness(images, self.brightnesses[at[3]]);
        let images = contrast(images, self.contrasts[at[4]]);
        match self.qualities[at[5]] {
            Some(quality) => jpeg(images, quality, Subsampling::Halved),
            None => images,
        }
    }
}

impl Attack for Scanner {
    fn profile(&self) -> Profile {
        let points = self.points();
        Profile::semantic("Scanner", Access::Logits, points, Queries::forwards(points))
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        let each = |name: &'static str, values: &[f64], range: std::ops::RangeInclusive<f64>| {
            let text = format!("at least one, each a number from {} to {}", range.start(), range.end());
            let fits = !values.is_empty() && values.iter().all(|value| range.contains(value));
            Parameter::new(name, text, fits, format!("{values:?}"))
        };
        let quality = |quality: &Option<usize>| quality.is_none_or(|quality| (1..=100).contains(&quality));
        let compressed = !self.qualities.is_empty() && self.qualities.iter().all(quality);
        let [channels, ..] = task.shape();
        vec![
            each("rotations", &self.rotations, -180.0..=180.0),
            each("translations", self.translations.as_flattened(), -1.0..=1.0),
            each("blurs", &self.blurs, 0.0..=100.0),
            each("brightnesses", &self.brightnesses, 0.0..=10.0),
            each("contrasts", &self.contrasts, 0.0..=10.0),
            Parameter::new(
                "qualities",
                "at least one, each from 1 to 100",
                compressed,
                format!("{:?}", self.qualities),
            ),
            Parameter::new("channels", "1 or 3", channels == 1 || channels == 3, channels),
        ]
    }

    /// The same: its ranges are no budget.
    fn at(&self, _: Budget) -> Box<dyn Attack> {
        Box::new(self.clone())
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        worst_of(&task, self.points(), false, |left| {
            left.step()?;
            let images = left.compose(self.scanned(left.images(), left.run() as usize));
            Ok(Tried::judged(left, images))
        })
    }
}
