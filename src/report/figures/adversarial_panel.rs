//! The paper's Fig. 6: original and adversarial images side by side, and what changed.

use burn::tensor::Tensor;
use image::RgbImage;

use super::canvas::{Align, Canvas, INK, MARGIN, PALETTE, TOP, line_height, shorten};
use super::figure::Paint;
use super::picture::{Tiles, alike, picture};
use crate::report::ReportError;

const TILES: Tiles = Tiles { side: 320, gap: 24 };
const CAPTION: f64 = 18.0;
const MAX_ROWS: usize = 8;

/// One image before and after an attack.
#[derive(Clone, Debug)]
pub struct AdversarialExample {
    /// The image's name.
    pub name: String,
    /// Name of the true class.
    pub truth: String,
    /// The original image `[channels, height, width]` in \[0,1\].
    pub original: Tensor<3>,
    /// The adversarial image, of the same shape.
    pub adversarial: Tensor<3>,
    /// Predicted class of the original and its probability.
    pub before: (String, f64),
    /// Predicted class of the adversarial image and its probability.
    pub after: (String, f64),
}

/// The paper's Fig. 6: original image, adversarial image and their magnified difference, with what the
/// classifier says, one row an example; at most 8 rows are drawn.
#[derive(Clone, Debug)]
pub struct AdversarialPanel {
    title: String,
    examples: Vec<AdversarialExample>,
    synthetic: bool,
}

impl AdversarialPanel {
    /// These examples under a title, such as `FGSM, epsilon 8/255, original model`.
    pub fn new(title: impl Into<String>, examples: Vec<AdversarialExample>) -> Self {
        Self { title: title.into(), examples, synthetic: false }
    }

    /// Stamps the figure if the images were drawn, not photographed.
    pub fn synthetic(mut self, synthetic: bool) -> Self {
        self.synthetic = synthetic;
        self
    }
}

impl Paint for AdversarialPanel {
    fn paint(&self) -> Result<Canvas, ReportError> {
        let changes: Vec<Change<'_>> =
            self.examples.iter().take(MAX_ROWS).map(Change::of).collect::<Result<_, _>>()?;
        if changes.is_empty() {
            return Err(ReportError::refused("examples", "at least one", "none"));
        }
        let largest = changes.iter().map(|change| change.largest).fold(0.0, f64::max);
        let factor = if largest > 0.0 { (0.5 / largest).floor().clamp(1.0, 1000.0) } else { 1.0 };

        let mut y = TOP + line_height(CAPTION + 2.0) + 16;
        let rows: i32 = changes.iter().map(Change::height).sum();
        let mut canvas = Canvas::new(TILES.width(3), y + rows - TILES.gap + MARGIN);
        canvas.heading(&self.title, self.synthetic)?;
        let names = ["original".into(), "adversarial".into(), format!("difference ×{factor} (grey: none)")];
        for (column, name) in names.iter().enumerate() {
            canvas.text(name, (TILES.left(column), TOP), CAPTION + 2.0, INK, Align::Left)?;
        }
        for change in &changes {
            change.draw(&mut canvas, y, factor)?;
            y += change.height();
        }
        Ok(canvas)
    }
}

/// An example and what changed in it.
struct Change<'e> {
    example: &'e AdversarialExample,
    /// Original and adversarial image.
    tiles: [RgbImage; 2],
    difference: Tensor<3>,
    largest: f64,
}

impl<'e> Change<'e> {
    fn of(example: &'e AdversarialExample) -> Result<Self, ReportError> {
        let AdversarialExample { original, adversarial, .. } = example;
        alike(original, adversarial, "adversarial image")?;
        let tiles = [picture(original, "original image")?, picture(adversarial, "adversarial image")?];
        let original = original.clone().inner();
        let difference = adversarial.clone().inner().to_device(&original.device()) - original;
        let largest = f64::from(difference.clone().abs().max().into_scalar::<f32>());
        Ok(Self { example, tiles: tiles.map(|tile| TILES.fit(&tile)), difference, largest })
    }

    fn line() -> i32 {
        line_height(CAPTION) + 8
    }

    fn height(&self) -> i32 {
        self.tiles[0].height() as i32 + 3 * Self::line() + TILES.gap
    }

    fn draw(&self, canvas: &mut Canvas, top: i32, factor: f64) -> Result<(), ReportError> {
        let Self { example, tiles: [original, adversarial], .. } = self;
        let name = format!("{}, true class: {}", example.name, example.truth);
        let room = TILES.width(3) - 2 * MARGIN;
        canvas.text_within(&name, (MARGIN, top), room, CAPTION, Align::Left)?;
        let shown = (self.difference.clone() * factor + 0.5).clamp(0.0, 1.0);
        let shown = TILES.fit(&picture(&shown, "difference")?);
        for (column, tile) in [original, adversarial, &shown].into_iter().enumerate() {
            canvas.paste(tile, (TILES.left(column), top + Self::line()));
        }
        let below = top + Self::line() + original.height() as i32 + 8;
        for (column, (class, probability)) in [&example.before, &example.after].into_iter().enumerate() {
            // Right and wrong differ in words too, not by colour alone.
            let right = *class == example.truth;
            let (verdict, color) = if right { ("right", PALETTE[0]) } else { ("wrong", PALETTE[1]) };
            let text = format!("predicted {class} ({:.1} %)", 100.0 * probability);
            let (text, left) = (shorten(&text, CAPTION, TILES.side)?, TILES.left(column));
            canvas.text(&text, (left, below), CAPTION, color, Align::Left)?;
            canvas.text(verdict, (left, below + Self::line()), CAPTION, color, Align::Left)?;
        }
        let note = format!("largest change {:.1}/255", 255.0 * self.largest);
        canvas.text(&note, (TILES.left(2), below), CAPTION, INK, Align::Left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::Figure;
    use burn::tensor::Device;

    fn example(height: usize, width: usize, name: &str, class: &str) -> AdversarialExample {
        let original = Tensor::full([3, height, width], 0.5, &Device::default());
        AdversarialExample {
            name: name.into(),
            truth: class.into(),
            adversarial: original.clone() + 0.03,
            original,
            before: (class.into(), 0.999),
            after: ("other".repeat(20), 0.6),
        }
    }

    #[test]
    fn text_stays_clear_of_the_pictures() {
        let long = "SOB_M_DC-14-15572-100-007.png ".repeat(8);
        for (height, width) in [(224, 224), (460, 700), (30, 400), (1, 1)] {
            let examples = vec![
                example(height, width, &long, &long),
                example(height, width, "image 1", "malignant"),
                example(height, width, "image 2", "benign"),
            ];
            let panel = AdversarialPanel::new(long.clone(), examples).synthetic(true);
            let clashes = panel.paint().unwrap().clashes();
            assert!(clashes.is_empty(), "{height}x{width}: {clashes:?}");
        }
    }

    #[test]
    fn refuses_no_example_and_unlike_shapes() {
        assert!(AdversarialPanel::new("", vec![]).draw().is_err());
        let mut unlike = example(4, 4, "", "");
        unlike.adversarial = Tensor::zeros([3, 4, 5], &Device::default());
        assert!(AdversarialPanel::new("", vec![unlike]).draw().is_err());
    }
}
