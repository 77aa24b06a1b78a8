//! Natural adversarial examples: image, reconstruction and adversary side by side.

use burn::tensor::Tensor;
use image::RgbImage;

use super::canvas::{Align, Canvas, INK, MARGIN, PALETTE, TOP, line_height, shorten};
use super::figure::Paint;
use super::picture::{Tiles, alike, picture};
use crate::report::ReportError;

const TILES: Tiles = Tiles { side: 260, gap: 24 };
const CAPTION: f64 = 16.0;
const MAX_ROWS: usize = 8;

/// An image, what comes back from its code, and what was found near that code.
#[derive(Clone, Debug)]
pub struct NaturalRow {
    /// The image's name.
    pub name: String,
    /// Name of the true class.
    pub truth: String,
    /// The image, its reconstruction and the adversary, each `[channels, height, width]` in \[0,1\] and of
    /// the same shape.
    pub images: [Tensor<3>; 3],
    /// Predicted class of each and its probability.
    pub answers: [(String, f64); 3],
    /// The root mean square difference of the reconstruction from the image, on the \[0,1\] scale.
    pub reconstruction_error: f64,
    /// How far the adversary's code is from the image's.
    pub distance: f64,
}

/// Images beside their reconstructions and their natural adversaries, with what the classifier says of each,
/// the reconstruction's error and the distance of codes, one row an image; at most 8 rows are drawn.
#[derive(Clone, Debug)]
pub struct NaturalPanel {
    title: String,
    rows: Vec<NaturalRow>,
    synthetic: bool,
}

impl NaturalPanel {
    /// These images under a title, such as `Natural adversaries, test images`.
    pub fn new(title: impl Into<String>, rows: Vec<NaturalRow>) -> Self {
        Self { title: title.into(), rows, synthetic: false }
    }

    /// Stamps the figure if the images were drawn, not photographed.
    pub fn synthetic(mut self, synthetic: bool) -> Self {
        self.synthetic = synthetic;
        self
    }
}

impl Paint for NaturalPanel {
    fn paint(&self) -> Result<Canvas, ReportError> {
        let rows: Vec<Row<'_>> = self.rows.iter().take(MAX_ROWS).map(Row::of).collect::<Result<_, _>>()?;
        if rows.is_empty() {
            return Err(ReportError::refused("rows", "at least one", "none"));
        }
        let mut y = TOP + line_height(CAPTION + 2.0) + 16;
        let height: i32 = rows.iter().map(Row::height).sum();
        let mut canvas = Canvas::new(TILES.width(3), y + height - TILES.gap + MARGIN);
        canvas.heading(&self.title, self.synthetic)?;
        for (column, name) in ["image", "reconstruction", "natural adversary"].into_iter().enumerate() {
            canvas.text(name, (TILES.left(column), TOP), CAPTION + 2.0, INK, Align::Left)?;
        }
        for row in &rows {
            row.draw(&mut canvas, y)?;
            y += row.height();
        }
        Ok(canvas)
    }
}

/// A row and its pictures.
struct Row<'r> {
    row: &'r NaturalRow,
    tiles: [RgbImage; 3],
}

impl<'r> Row<'r> {
    fn of(row: &'r NaturalRow) -> Result<Self, ReportError> {
        let [image, reconstruction, adversary] = &row.images;
        alike(image, reconstruction, "reconstruction")?;
        alike(image, adversary, "natural adversary")?;
        let tiles = [
            picture(image, "image")?,
            picture(reconstruction, "reconstruction")?,
            picture(adversary, "natural adversary")?,
        ];
        Ok(Self { row, tiles: tiles.map(|tile| TILES.fit(&tile)) })
    }

    fn line() -> i32 {
        line_height(CAPTION) + 8
    }

    fn height(&self) -> i32 {
        self.tiles[0].height() as i32 + 3 * Self::line() + TILES.gap
    }

    fn draw(&self, canvas: &mut Canvas, top: i32) -> Result<(), ReportError> {
        let NaturalRow { name, truth, answers, reconstruction_error, distance, .. } = self.row;
        let name = format!("{name}, true class: {truth}");
        canvas.text_within(&name, (MARGIN, top), TILES.width(3) - 2 * MARGIN, CAPTION, Align::Left)?;
        let below = top + Self::line() + self.tiles[0].height() as i32 + 8;
        let figures = [
            String::new(),
            format!("RMS error {reconstruction_error:.3}"),
            format!("distance of codes {distance:.3}"),
        ];
        for (column, ((class, probability), figure)) in answers.iter().zip(figures).enumerate() {
            canvas.paste(&self.tiles[column], (TILES.left(column), top + Self::line()));
            // Right and wrong differ in words too, not by colour alone.
            let (verdict, color) = if class == truth { ("right", PALETTE[0]) } else { ("wrong", PALETTE[1]) };
            let text = format!("{verdict}: {class} ({:.1} %)", 100.0 * probability);
            let (text, left) = (shorten(&text, CAPTION, TILES.side)?, TILES.left(column));
            canvas.text(&text, (left, below), CAPTION, color, Align::Left)?;
            if !figure.is_empty() {
                let at = (left, below + Self::line());
                canvas.text_within(&figure, at, TILES.side, CAPTION, Align::Left)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::Figure;
    use burn::tensor::Device;

    fn row(height: usize, width: usize, name: &str) -> NaturalRow {
        let image = Tensor::full([3, height, width], 0.5, &Device::default());
        NaturalRow {
            name: name.into(),
            truth: name.into(),
            images: [image.clone(), image.clone() + 0.03, image * 0.5],
            answers: [(name.into(), 0.999), (name.into(), 0.6), ("other".repeat(20), 0.51)],
            reconstruction_error: 0.123_456,
            distance: 123_456.789,
        }
    }

    #[test]
    fn text_stays_clear_of_the_pictures() {
        let long = "SOB_M_DC-14-15572-100-007.png ".repeat(8);
        for (height, width) in [(64, 64), (460, 700), (30, 400), (1, 1)] {
            let rows = vec![row(height, width, &long), row(height, width, "malignant")];
            let clashes = NaturalPanel::new(long.clone(), rows).synthetic(true).paint().unwrap().clashes();
            assert!(clashes.is_empty(), "{height}x{width}: {clashes:?}");
        }
    }

    #[test]
    fn refuses_no_row_and_unlike_shapes() {
        assert!(NaturalPanel::new("", vec![]).draw().is_err());
        for unlike in [1, 2] {
            let mut row = row(4, 4, "");
            row.images[unlike] = Tensor::zeros([3, 4, 5], &Device::default());
            let error = NaturalPanel::new("", vec![row]).draw().unwrap_err().to_string();
            assert!(error.contains("the original's shape"), "{error}");
        }
    }
}
