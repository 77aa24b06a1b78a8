//! The paper's Fig. 6: original and adversarial images side by side, and what changed.

use burn::tensor::Tensor;
use image::RgbImage;

use super::Figure;
use super::canvas::{Align, Canvas, INK, PALETTE, line_height};
use super::picture::{fit, picture};
use crate::report::ReportError;

const MARGIN: i32 = 24;
const TILE: i32 = 320;
const GAP: i32 = 24;
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

    fn paint(&self) -> Result<Canvas, ReportError> {
        let examples = &self.examples[..self.examples.len().min(MAX_ROWS)];
        if examples.is_empty() {
            let (input, expected) = ("examples", "at least one");
            return Err(ReportError::Figure { input, expected, found: "none".into() });
        }
        let differences: Vec<Tensor<3>> = examples.iter().map(difference).collect::<Result<_, _>>()?;
        let largest = differences.iter().map(largest).fold(0.0, f64::max);
        let factor = if largest > 0.0 { (0.5 / largest).floor().clamp(1.0, 1000.0) } else { 1.0 };

        let line = line_height(CAPTION) + 8;
        let mut rows = Vec::new();
        for (example, difference) in examples.iter().zip(differences) {
            let shown = difference * factor + 0.5;
            let tiles = [
                picture(&example.original, "original image")?,
                picture(&example.adversarial, "adversarial image")?,
                picture(&shown.clamp(0.0, 1.0), "difference")?,
            ];
            rows.push(tiles.map(|tile| fit(&tile, TILE as u32)));
        }
        let below_names = line_height(CAPTION + 2.0) + 16;
        let heights: i32 = rows.iter().map(|r| r[0].height() as i32 + 3 * line + GAP).sum();
        let top = MARGIN + 44;
        let mut canvas =
            Canvas::new(2 * MARGIN + 3 * TILE + 2 * GAP, top + below_names + heights - GAP + MARGIN);
        canvas.heading(&self.title, MARGIN, self.synthetic)?;
        let left = |column: usize| MARGIN + column as i32 * (TILE + GAP);
        let columns =
            ["original".to_string(), "adversarial".to_string(), format!("difference ×{factor} (grey: none)")];
        for (column, name) in columns.iter().enumerate() {
            canvas.text(name, (left(column), top), CAPTION + 2.0, INK, Align::Left)?;
        }
        let mut y = top + below_names;
        for (example, tiles) in examples.iter().zip(rows) {
            let name = format!("{}, true class: {}", example.name, example.truth);
            canvas.text_within(&name, (left(0), y), 3 * TILE + 2 * GAP, CAPTION, Align::Left)?;
            y += line;
            for (column, tile) in tiles.iter().enumerate() {
                canvas.paste(tile, (left(column), y));
            }
            y += tiles[0].height() as i32 + 8;
            for (column, (class, probability)) in [&example.before, &example.after].into_iter().enumerate() {
                let right = *class == example.truth;
                // Right and wrong differ in words too, not by colour alone.
                let verdict = if right { "right" } else { "wrong" };
                let color = if right { PALETTE[0] } else { PALETTE[1] };
                let text = format!("predicted {class} ({:.1} %)", 100.0 * probability);
                let text = super::canvas::shorten(&text, CAPTION, TILE)?;
                canvas.text(&text, (left(column), y), CAPTION, color, Align::Left)?;
                canvas.text(verdict, (left(column), y + line), CAPTION, color, Align::Left)?;
            }
            let note = format!("largest change {:.1}/255", 255.0 * largest_of(example)?);
            canvas.text(&note, (left(2), y), CAPTION, INK, Align::Left)?;
            y += 2 * line - 8 + GAP;
        }
        Ok(canvas)
    }
}

impl Figure for AdversarialPanel {
    fn draw(&self) -> Result<RgbImage, ReportError> {
        Ok(self.paint()?.into_image())
    }
}

fn difference(example: &AdversarialExample) -> Result<Tensor<3>, ReportError> {
    let (original, adversarial) = (example.original.clone().inner(), example.adversarial.clone().inner());
    if original.dims() != adversarial.dims() || original.shape().num_elements() == 0 {
        return Err(ReportError::Figure {
            input: "adversarial image",
            expected: "the original's shape, not empty",
            found: format!("{:?} and {:?}", original.dims(), adversarial.dims()),
        });
    }
    let device = original.device();
    Ok(adversarial.to_device(&device) - original)
}

fn largest(difference: &Tensor<3>) -> f64 {
    f64::from(difference.clone().abs().max().into_scalar::<f32>())
}

fn largest_of(example: &AdversarialExample) -> Result<f64, ReportError> {
    Ok(largest(&difference(example)?))
}

#[cfg(test)]
mod tests {
    use super::*;
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
