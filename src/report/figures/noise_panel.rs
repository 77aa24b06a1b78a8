//! The paper's Fig. 4: an image, the same image with noise, and both enlarged.

use burn::tensor::Tensor;
use image::imageops;

use super::canvas::{Align, Canvas, MARGIN, PALETTE, Rect, TOP, line_height};
use super::figure::Paint;
use super::picture::{Tiles, alike, picture};
use crate::report::ReportError;

const TILES: Tiles = Tiles { side: 420, gap: 28 };
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
            let found = format!("{region:?} of {width}x{height}");
            let expected = "a region inside the image: left, top, width, height";
            return Err(ReportError::refused("zoom", expected, found));
        }
        Ok(region.map(|v| v as u32))
    }
}

impl Paint for NoisePanel {
    fn paint(&self) -> Result<Canvas, ReportError> {
        alike(&self.original, &self.noisy, "noisy image")?;
        let pictures = [picture(&self.original, "original image")?, picture(&self.noisy, "noisy image")?];
        let [x, y, w, h] = self.region()?;
        let wholes = pictures.each_ref().map(|p| TILES.fit(p));
        let zooms = pictures.each_ref().map(|p| TILES.fit(&imageops::crop_imm(p, x, y, w, h).to_image()));
        let (whole, zoom) = (wholes[0].dimensions(), zooms[0].dimensions());
        let scale = f64::from(whole.0) / f64::from(pictures[0].width());
        let at = [x, y, w, h].map(|v| (f64::from(v) * scale).round() as i32);

        let line = line_height(CAPTION) + 14;
        let second = TOP + line + whole.1 as i32 + TILES.gap;
        let mut canvas = Canvas::new(TILES.width(2), second + line + zoom.1 as i32 + MARGIN);
        canvas.heading("Gaussian noise on a training image", self.synthetic)?;
        let captions = ["original".to_string(), format!("with noise, {}", self.caption)];
        let enlarged = format!("marked region, {w}x{h} pixels enlarged");
        for (column, caption) in captions.iter().enumerate() {
            let left = TILES.left(column);
            let marked = Rect::new(left + at[0], TOP + line + at[1], at[2].max(3), at[3].max(3));
            let frame = Rect::new(left, second + line, zoom.0 as i32, zoom.1 as i32);
            for (text, top, tile, outlined) in
                [(caption, TOP, &wholes[column], marked), (&enlarged, second, &zooms[column], frame)]
            {
                canvas.text_within(text, (left, top), TILES.side, CAPTION, Align::Left)?;
                canvas.paste(tile, (left, top + line));
                canvas.outline(outlined, PALETTE[4], 3)?;
            }
        }
        Ok(canvas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::Figure;
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
