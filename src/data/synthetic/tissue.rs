//! The settings of a drawing, and the set of images that it is.

use std::sync::Arc;

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::appearance::TissueParameters;
use super::draw::draw;
use crate::data::{DataError, ImageSet, Sample, Source};
use crate::parameter::{self, Parameter, ParameterError};

/// Drawn breast tissue in the colours of haematoxylin and eosin: pink fibrous stroma, epithelium and nuclei.
/// Benign images have glands, rings of even nuclei round a pale lumen; malignant ones have crowded, larger,
/// irregular nuclei in solid nests, and few glands left. Some images are borderline, and stain and light
/// differ more between slides than the classes do in their mean colour.
///
/// An image is drawn when it is read and depends only on these settings and its number. It is no photograph
/// and stands in for none: sets of such images say that they are synthetic.
///
/// | field | default | purpose | range |
/// | --- | --- | --- | --- |
/// | `image_size` | 224 x 224 | width and height in pixels | 16 to 4096 each |
/// | `count_per_class` | 30 | images of each class | 1 to 1,000,000 |
/// | `slides_per_class` | 6 | slides that a class's images are from, in turn | 1 to `count_per_class` |
/// | `seed` | 0 | everything drawn | |
///
/// ```
/// use histoguard::data::SyntheticTissue;
///
/// let images = SyntheticTissue::default().images()?;
/// assert!(images.is_synthetic());
/// assert_eq!(images.describe(), "synthetic tissue (drawn, not photographed): 60 images (30 benign, 30 malignant)");
/// # Ok::<(), histoguard::data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyntheticTissue {
    /// Width and height in pixels.
    pub image_size: [u32; 2],
    /// Images of each class.
    pub count_per_class: usize,
    /// Slides that a class's images are from, in turn.
    pub slides_per_class: usize,
    /// Seed of everything drawn.
    pub seed: u64,
}

impl Default for SyntheticTissue {
    fn default() -> Self {
        Self { image_size: [224, 224], count_per_class: 30, slides_per_class: 6, seed: 0 }
    }
}

/// Names of the two classes, by label.
const CLASSES: [&str; 2] = ["benign", "malignant"];

impl SyntheticTissue {
    /// The images as a set: first all benign, then all malignant ones. None is drawn yet.
    ///
    /// # Errors
    ///
    /// [`DataError::Parameter`] if a field is out of its range.
    pub fn images(&self) -> Result<ImageSet, DataError> {
        self.validate()?;
        let samples = (0..2 * self.count_per_class).map(|number| {
            let (class, slide) = (CLASSES[self.label(number)], self.slide(number) + 1);
            let group = format!("synthetic-{class}-{slide:02}");
            let name = format!("{group}-{:04}", number % self.count_per_class);
            Sample::new(Drawn { tissue: *self, number }, self.label(number), name)
                .from_slide(group.clone(), group)
        });
        let classes = CLASSES.map(str::to_string).to_vec();
        ImageSet::new("synthetic tissue (drawn, not photographed)", classes, samples.collect())
    }

    /// Draws an image.
    pub fn draw(&self, number: usize) -> RgbImage {
        draw(self.image_size, &self.parameters(number))
    }

    /// What an image shows.
    pub fn parameters(&self, number: usize) -> TissueParameters {
        TissueParameters::new(self.seed, self.label(number), self.slide(number) as u64, number as u64)
    }

    fn label(&self, number: usize) -> usize {
        usize::from(number >= self.count_per_class)
    }

    /// Number of the slide within its class.
    fn slide(&self, number: usize) -> usize {
        number % self.count_per_class.max(1) % self.slides_per_class.max(1)
    }

    fn validate(&self) -> Result<(), ParameterError> {
        let ([width, height], count, slides) = (self.image_size, self.count_per_class, self.slides_per_class);
        let size_fits = [width, height].iter().all(|side| (16..=4096).contains(side));
        let size = format!("{width} x {height}");
        parameter::check([
            Parameter::new("image_size", "16 to 4096 pixels each way", size_fits, size),
            Parameter::new("count_per_class", "1 to 1,000,000", (1..=1_000_000).contains(&count), count),
            Parameter::new("slides_per_class", "1 to count_per_class", (1..=count).contains(&slides), slides),
        ])
    }
}

/// One image of a drawing.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    tissue: SyntheticTissue,
    number: usize,
}

impl Source for Drawn {
    fn load(&self) -> Result<Arc<RgbImage>, DataError> {
        Ok(Arc::new(self.tissue.draw(self.number)))
    }

    fn is_synthetic(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    fn tissue(size: u32, count: usize) -> SyntheticTissue {
        SyntheticTissue { image_size: [size, size], count_per_class: count, slides_per_class: 10, seed: 3 }
    }

    /// Share of the values on the right side of the best threshold between the classes, either way round.
    fn best_threshold(values: &[f64]) -> f64 {
        let half = values.len() / 2;
        let accuracy = |threshold: f64| {
            let low = values[..half].iter().filter(|&&v| v < threshold).count();
            let high = values[half..].iter().filter(|&&v| v >= threshold).count();
            let right = (low + high) as f64 / values.len() as f64;
            right.max(1.0 - right)
        };
        values.iter().map(|&v| accuracy(v)).fold(0.0, f64::max)
    }

    #[test]
    fn images_depend_on_settings_and_number_alone() {
        let drawing = SyntheticTissue { image_size: [70, 46], ..tissue(64, 20) };
        let image = drawing.draw(3);
        assert_eq!(image.dimensions(), (70, 46));
        assert_eq!(image, drawing.draw(3));
        assert_ne!(image, drawing.draw(4));
        assert_ne!(image, SyntheticTissue { seed: 4, ..drawing }.draw(3));
        let set = drawing.images().unwrap();
        assert_eq!(*set.subset(&[3]).samples()[0].source.load().unwrap(), image);
    }

    #[test]
    fn slides_are_groups_of_one_class() {
        let set = tissue(32, 20).images().unwrap();
        let slides: std::collections::BTreeSet<_> =
            set.samples().iter().map(|s| (&s.group, s.label)).collect();
        assert_eq!(slides.len(), 20);
        assert_eq!(set.class_counts(), [20, 20]);
        assert_eq!(set.samples()[23].group, "synthetic-malignant-04");
    }

    #[test]
    fn mean_colour_does_not_tell_the_classes_apart() {
        let drawing = tissue(64, 100);
        let means: Vec<[f64; 3]> = (0..200_usize)
            .into_par_iter()
            .map(|number| {
                let image = drawing.draw(number);
                let sum = |c: usize| image.pixels().map(|p| f64::from(p[c])).sum::<f64>();
                [0, 1, 2].map(|c| sum(c) / f64::from(64 * 64))
            })
            .collect();
        for channel in 0..3 {
            let values: Vec<f64> = means.iter().map(|m| m[channel]).collect();
            let accuracy = best_threshold(&values);
            assert!(accuracy < 0.65, "channel {channel}: {accuracy}");
        }
        let brightness: Vec<f64> = means.iter().map(|m| m.iter().sum()).collect();
        assert!(best_threshold(&brightness) < 0.65, "{}", best_threshold(&brightness));
    }

    #[test]
    fn nuclei_and_glands_tell_the_classes_apart() {
        let drawing = tissue(64, 100);
        let of = |feature: fn(&TissueParameters) -> f32| -> Vec<f64> {
            (0..200).map(|n| f64::from(feature(&drawing.parameters(n)))).collect()
        };
        assert!(best_threshold(&of(|p| p.nucleus_radius)) > 0.85);
        assert!(best_threshold(&of(|p| p.size_variation)) > 0.85);
        // Not without fail, either: some images are borderline.
        assert!(best_threshold(&of(|p| p.nucleus_radius)) < 1.0);
    }

    #[test]
    fn ranges_are_checked_at_their_edges() {
        assert!(SyntheticTissue { image_size: [16, 4096], ..tissue(64, 10) }.images().is_ok());
        for image_size in [[15, 64], [64, 15], [4097, 64], [64, 0]] {
            assert!(SyntheticTissue { image_size, ..tissue(64, 10) }.images().is_err());
        }
        assert!(tissue(64, 9).images().is_err());
        assert!(SyntheticTissue { slides_per_class: 0, ..tissue(64, 10) }.images().is_err());
        assert!(SyntheticTissue { slides_per_class: 0, ..tissue(64, 0) }.images().is_err());
    }
}
