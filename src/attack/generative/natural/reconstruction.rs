//! How well an inverter finds images again.

use burn::config::Config;
use serde::{Deserialize, Serialize};

use crate::parameter::{self, Parameter, ParameterError};
use crate::statistics::Proportion;

/// How well images that nothing was learned from come back from their codes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reconstruction {
    /// Number of images.
    pub images: usize,
    /// The mean over images of the root mean square difference of an image from what the generator makes of
    /// its code, on the \[0,1\] scale.
    pub error: f64,
    /// The same of the mean of these images in place of every one.
    pub mean_image_error: f64,
    /// For each class, of the images that the classifier gives it, those whose reconstructions it gives it
    /// too.
    pub kept: Vec<Proportion>,
}

/// What a generator and its inverter have to reach on held-out images before anything is searched with them.
///
/// A poor inverter makes every search succeed: what it starts from is another image already. Of all single
/// images the mean of the data is nearest to them, so an inverter that is no nearer than that may know
/// nothing of the image, and its error is measured by the mean image's, whatever the data's contrast; another
/// image of the data has 1.4 of it. And what is to be an adversarial version of an image has to be of its
/// class before the search: for each class by itself, as an inverter that always gives an image of one class
/// keeps that one whole.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | largest error | 1, of the mean image's | a finite number above 0 |
/// | least kept | 0.5, of each class | a number from 0 to 1 |
#[derive(Config, Copy, Debug, PartialEq)]
pub struct ReconstructionLimits {
    /// The largest [error](Reconstruction::error), as a share of the
    /// [mean image's](Reconstruction::mean_image_error).
    #[config(default = 1.0)]
    pub largest_error: f64,
    /// The least share of each class that is [kept](Reconstruction::kept).
    #[config(default = 0.5)]
    pub least_kept: f64,
}

impl ReconstructionLimits {
    /// Whether they are in their ranges, before anything is learned for them.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] if a parameter is out of its documented range.
    pub fn check(&self) -> Result<(), ParameterError> {
        parameter::check(self.parameters())
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::above_zero("largest error", self.largest_error),
            Parameter::within("least kept", self.least_kept, 0.0..=1.0),
        ]
    }

    /// These figures beside the limits.
    pub(super) fn judge(&self, found: &Reconstruction) -> Vec<Parameter> {
        let Reconstruction { images, error, mean_image_error, .. } = found;
        let most = self.largest_error * mean_image_error;
        let range = format!("at most {most:.4}, {} times the mean image's", self.largest_error);
        let seen = format!("{error:.4} on {images} held-out images");
        let mut parameters = vec![Parameter::new("reconstruction error", range, *error <= most, seen)];
        parameters.extend(found.kept.iter().enumerate().map(|(class, kept)| {
            let enough = kept.total == 0 || kept.hits as f64 >= self.least_kept * kept.total as f64;
            let range = format!("at least {} of what the classifier gives it", self.least_kept);
            Parameter::new(format!("reconstructions that stay in class {class}"), range, enough, kept)
        }));
        parameters
    }
}
