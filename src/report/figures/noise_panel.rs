//! The paper's Fig. 4: an image, the same image with noise, and both enlarged.

use burn::tensor::Tensor;
use image::{RgbImage, imageops};

use super::Figure;
use super::canvas::{Align, Canvas, PALETTE, Rect, line_height};
use super::picture::{fit, picture};
use crate::report::ReportError;

const MARGIN: i32 = 24;
const TILE: i32 = 420;
const GAP: i32 = 28;
const CAPTION: f64 = 20.0;

/// The paper's Fig. 4: an image, the same image with noise, and a region of both enlarged.
#[derive(Clone, Debug)]
pub struct NoisePanel {
    original: Tensor<3>,
    noisy: Tensor<3>,
    caption: String,
    zoom: Option<[usize; 4]>,
    synthetic: bool,
}

impl NoisePanel {
    /// Both images `[channels, height, width]` in \[0,1\], and the noise in words, such as `sigma 0.1`. The
    /// middle quarter is enlarged.
    pub fn new(original: Tensor<3>, noisy: Tensor<3>, caption: impl Into<String>) -> Self {
        Self { original, noisy, caption: caption.into(), zoom: None, synthetic: false }
    }

    /// Enlarges another region: its left, top, width and height in pixels.
    pub fn zoom(mut self, region: [usize; 4]) -> Self {
        self.zoom = Some(region);
        self
    }

    /// Stamps the figure if the images were drawn, not photographed.
    pub fn synthetic(mut self, synthetic: bool) -> Self {
        self.synthetic = synthetic;
        self
    }

    fn region(&self) -> Result<[u32; 4], ReportError> {
        let [_, height, width] = self.original.dims();
        let quarter = [width * 3 / 8, height * 3 / 8, (width / 4).max(1), (height / 4).max(1)];
        let region = self.zoom.unwrap_or(quarter);
        let [x, y, w, h] = region;
        let inside = |start: usize, length: usize, whole: usize| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= whole)
        };
        if !inside(x, w, width) || !inside(y, h, height) {
            return Err(ReportError::Figure {
                input: "zoom",
                expected: "a region inside the image: left, top, width, height",
                found: format!("{region:?} of {width}x{height}"),
            });
        }
        Ok(region.map(|v| v as u32))
    }

    fn paint(&self) -> Result<Canvas, ReportError> {
        if self.original.dims() != self.noisy.dims() {
            return Err(ReportError::Figure {
                input: "noisy image",
                expected: "the original's shape",
                found: format!("{:?} and {:?}", self.original.dims(), self.noisy.dims()),
            });
        }
        let pictures = [picture(&self.original, "original image")?, picture(&self.noisy, "noisy image")?];
        let [x, y, w, h] = self.region()?;
        let wholes = pictures.each_ref().map(|p| fit(p, TILE as u32));
        let zooms =
            pictures.each_ref().map(|p| fit(&imageops::crop_imm(p, x, y, w, h).to_image(), TILE as u32));
        let (whole, zoom) = (wholes[0].dimensions(), zooms[0].dimensions());

        let line = line_height(CAPTION) + 14;
        let top = MARGIN + 44;
        let second = top + line + whole.1 as i32 + GAP;
        let mut canvas = Canvas::new(2 * MARGIN + 2 * TILE + GAP, second + line + zoom.1 as i32 + MARGIN);
        canvas.heading("Gaussian noise on a training image", MARGIN, self.synthetic)?;
        let captions = ["original".to_string(), format!("with noise, {}", self.caption)];
        for (column, caption) in captions.iter().enumerate() {
            let left = MARGIN + column as i32 * (TILE + GAP);
            canvas.text_within(caption, (left, top), TILE, CAPTION, Align::Left)?;
            canvas.paste(&wholes[column], (left, top + line));
            let scale = f64::from(whole.0) / f64::from(pictures[column].width());
            let scaled = |v: u32| (f64::from(v) * scale).round() as i32;
            let marked =
                Rect::new(left + scaled(x), top + line + scaled(y), scaled(w).max(3), scaled(h).max(3));
            canvas.outline(marked, PALETTE[4], 3)?;
            let caption = format!("marked region, {w}x{h} pixels enlarged");
            canvas.text_within(&caption, (left, second), TILE, CAPTION, Align::Left)?;
            canvas.paste(&zooms[column], (left, second + line));
            let frame = Rect::new(left, second + line, zoom.0 as i32, zoom.1 as i32);
            canvas.outline(frame, PALETTE[4], 3)?;
        }
        Ok(canvas)
    }
}

impl Figure for NoisePanel {
    fn draw(&self) -> Result<RgbImage, ReportError> {
        Ok(self.paint()?.into_image())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn image(height: usize, width: usize) -> Tensor<3> {
        Tensor::full([3, height, width], 0.5, &Device::default())
    }

    #[test]
    fn text_stays_clear_of_the_pictures() {
        for (height, width) in [(224, 224), (460, 700), (1, 1), (40, 400), (400, 40)] {
            let caption = "sigma 0.1 ".repeat(20);
            let panel = NoisePanel::new(image(height, width), image(height, width), caption).synthetic(true);
            let clashes = panel.paint().unwrap().clashes();
            assert!(clashes.is_empty(), "{height}x{width}: {clashes:?}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_show() {
        let other = NoisePanel::new(image(8, 8), image(8, 9), "").draw().unwrap_err().to_string();
        assert!(other.contains("the original's shape"), "{other}");
        let outside = NoisePanel::new(image(8, 8), image(8, 8), "").zoom([4, 4, 5, 4]).draw().unwrap_err();
        assert!(outside.to_string().contains("[4, 4, 5, 4] of 8x8"), "{outside}");
        let four = Tensor::<3>::zeros([4, 8, 8], &Device::default());
        assert!(NoisePanel::new(four.clone(), four, "").draw().is_err());
    }
}
