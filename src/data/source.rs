//! Where an image's pixels come from.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use image::RgbImage;

use super::error::DataError;

/// Something that an image can be had from: a file, memory, a drawing, or whatever else implements this.
///
/// ```
/// use std::sync::Arc;
///
/// use histoguard::data::{DataError, ImageSet, Sample, Source};
/// use image::{Rgb, RgbImage};
///
/// /// A ramp from black to a colour.
/// #[derive(Debug)]
/// struct Ramp([u8; 3]);
///
/// impl Source for Ramp {
///     fn load(&self) -> Result<Arc<RgbImage>, DataError> {
///         let at = |x: u32| Rgb(self.0.map(|value| (u32::from(value) * x / 63) as u8));
///         Ok(Arc::new(RgbImage::from_fn(64, 64, |x, _| at(x))))
///     }
///
///     fn is_synthetic(&self) -> bool {
///         true
///     }
/// }
///
/// let samples = vec![Sample::new(Ramp([255, 0, 0]), 0, "a"), Sample::new(Ramp([0, 0, 255]), 1, "b")];
/// let set = ImageSet::new("ramps", vec!["red".into(), "blue".into()], samples)?;
/// assert_eq!(set.samples()[1].source.load()?.get_pixel(63, 0).0, [0, 0, 255]);
/// # Ok::<(), DataError>(())
/// ```
pub trait Source: Debug + Send + Sync {
    /// The image in RGB, in its own size; the same every time.
    ///
    /// # Errors
    ///
    /// [`DataError`] if the image cannot be had: [`DataError::Io`], [`DataError::Image`] or what else fits.
    fn load(&self) -> Result<Arc<RgbImage>, DataError>;

    /// The file that the image is in, for messages; none where there is no file.
    fn path(&self) -> Option<&Path> {
        None
    }

    /// The orientation (2 to 8, as EXIF numbers them) by which the file wants its image turned and that
    /// [`load`](Self::load) does not apply; none where there is nothing to turn. Sets say how many they have.
    fn ignored_orientation(&self) -> Option<u8> {
        None
    }

    /// Whether the image was drawn, not photographed; sets and reports say so.
    fn is_synthetic(&self) -> bool {
        false
    }
}
