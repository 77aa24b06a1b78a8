//! What every figure can do.

use std::path::Path;

use image::{ImageFormat, RgbImage};

use super::canvas::{Canvas, drawing};
use crate::file::write_whole;
use crate::report::ReportError;

/// A figure that can be drawn and saved.
pub trait Figure {
    /// The figure as pixels.
    ///
    /// # Errors
    ///
    /// [`ReportError::Figure`] if it cannot be made from its input.
    fn draw(&self) -> Result<RgbImage, ReportError>;

    /// Writes the figure as PNG, whole or not at all.
    ///
    /// # Errors
    ///
    /// As [`draw`](Self::draw), and [`ReportError::Io`] if the file cannot be written.
    fn save(&self, path: &Path) -> Result<(), ReportError> {
        let image = self.draw()?;
        let mut png = std::io::Cursor::new(Vec::new());
        image.write_to(&mut png, ImageFormat::Png).map_err(drawing)?;
        write_whole(path, png.get_ref()).map_err(|source| ReportError::unwritable(path, source))
    }
}

/// A figure of this crate.
pub(super) trait Paint {
    fn paint(&self) -> Result<Canvas, ReportError>;
}

impl<T: Paint> Figure for T {
    fn draw(&self) -> Result<RgbImage, ReportError> {
        Ok(self.paint()?.into_image())
    }
}
