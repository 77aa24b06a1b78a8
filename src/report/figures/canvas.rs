//! A white picture to draw text, images and plotters elements on.

use std::sync::Once;

use image::{Rgb, RgbImage};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::ReportError;

/// White around every figure.
pub(super) const MARGIN: i32 = 24;
/// Where a figure begins below its title.
pub(super) const TOP: i32 = MARGIN + 44;

pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
pub(super) const GRID: RGBColor = RGBColor(214, 214, 214);
/// Okabe & Ito's palette, told apart with every common colour blindness: blue, vermillion, green, purple,
/// orange, sky blue.
pub(super) const PALETTE: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// Height of a line of text of size 1, from the top of the tallest letter to the lowest descender.
const LINE: f64 = 0.9;
/// Where plotters' glyph drawing starts below the top of that line.
const RISE: f64 = 0.17;

/// Everything is drawn this much larger and averaged down: plotters rounds glyphs and lines to whole pixels.
pub(super) const OVERSAMPLING: i32 = 2;

const FONT: &str = "DejaVu Sans subset";

/// Where plotters draws, in enlarged pixels.
pub(super) type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: i32,
    pub(super) height: i32,
}

impl Rect {
    pub(super) const fn new(x: i32, y: i32, width: i32, height: i32) -> Self {
        Self { x, y, width, height }
    }

    fn enlarged(self) -> Self {
        let k = OVERSAMPLING;
        Self::new(self.x * k, self.y * k, self.width * k, self.height * k)
    }

    pub(super) const fn right(&self) -> i32 {
        self.x + self.width
    }

    pub(super) const fn bottom(&self) -> i32 {
        self.y + self.height
    }
}

/// Which part of a text is at the given x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Center,
    Right,
}

pub(super) struct Canvas {
    whole: Rect,
    /// Of the enlarged picture.
    pixels: Vec<u8>,
    /// Every text drawn so far and its box.
    texts: Vec<(String, Rect)>,
    /// Every plot and picture that no text may touch.
    pictures: Vec<Rect>,
}

impl Canvas {
    pub(super) fn new(width: i32, height: i32) -> Self {
        let whole = Rect::new(0, 0, width.max(1), height.max(1));
        let Rect { width, height, .. } = whole.enlarged();
        let pixels = vec![255; width as usize * height as usize * 3];
        Self { whole, pixels, texts: Vec::new(), pictures: Vec::new() }
    }

    /// Draws with plotters inside a rectangle, in enlarged pixels.
    pub(super) fn draw_in(
        &mut self,
        rect: Rect,
        draw: impl FnOnce(&Area<'_>) -> Result<(), ReportError>,
    ) -> Result<(), ReportError> {
        let (rect, whole) = (rect.enlarged(), self.whole.enlarged());
        let size = (whole.width as u32, whole.height as u32);
        let root = BitMapBackend::with_buffer(&mut self.pixels, size).into_drawing_area();
        draw(&root.clone().shrink((rect.x, rect.y), (rect.width, rect.height)))?;
        root.present().map_err(drawing)
    }

    /// A rectangle with data in it, which no text may touch.
    pub(super) fn reserve(&mut self, rect: Rect) {
        self.pictures.push(rect);
    }

    /// Draws one line of text with its top at `y`.
    pub(super) fn text(
        &mut self,
        text: &str,
        (x, y): (i32, i32),
        size: f64,
        color: RGBColor,
        align: Align,
    ) -> Result<(), ReportError> {
        let width = text_width(text, size)?;
        let left = match align {
            Align::Left => x,
            Align::Center => x - width / 2,
            Align::Right => x - width,
        };
        self.texts.push((text.to_string(), Rect::new(left, y, width, line_height(size))));
        let large = size * f64::from(OVERSAMPLING);
        let style = (FONT, large).into_font().color(&color).pos(Pos::new(HPos::Left, VPos::Top));
        let start = (left * OVERSAMPLING, y * OVERSAMPLING + (RISE * large).round() as i32);
        self.draw_in(self.whole, |area| area.draw(&Text::new(text, start, style)).map_err(drawing))
    }

    /// Draws one line of text, shortened with an ellipsis to at most `width`.
    pub(super) fn text_within(
        &mut self,
        text: &str,
        at: (i32, i32),
        width: i32,
        size: f64,
        align: Align,
    ) -> Result<(), ReportError> {
        self.text(&shorten(text, size, width)?, at, size, INK, align)
    }

    /// Puts an image at this position, where it must have room.
    pub(super) fn paste(&mut self, image: &RgbImage, (x, y): (i32, i32)) {
        let rect = Rect::new(x, y, image.width() as i32, image.height() as i32);
        self.reserve(rect);
        let (rect, row) = (rect.enlarged(), self.whole.enlarged().width);
        for (dy, dx) in (0..rect.height).flat_map(|dy| (0..rect.width).map(move |dx| (dy, dx))) {
            let at = ((rect.y + dy) * row + rect.x + dx) as usize * 3;
            let pixel = image.get_pixel((dx / OVERSAMPLING) as u32, (dy / OVERSAMPLING) as u32);
            self.pixels[at..at + 3].copy_from_slice(&pixel.0);
        }
    }

    /// The outline of a rectangle.
    pub(super) fn outline(&mut self, rect: Rect, color: RGBColor, stroke: u32) -> Result<(), ReportError> {
        let rect = rect.enlarged();
        self.draw_in(self.whole, |area| {
            (0..stroke as i32 * OVERSAMPLING).try_for_each(|i| {
                let corners = [(rect.x + i, rect.y + i), (rect.right() - 1 - i, rect.bottom() - 1 - i)];
                area.draw(&Rectangle::new(corners, color)).map_err(drawing)
            })
        })
    }

    /// The figure's title, and a stamp beside it if the images are synthetic.
    pub(super) fn heading(&mut self, title: &str, synthetic: bool) -> Result<(), ReportError> {
        let mut room = self.whole.width - 2 * MARGIN;
        if synthetic {
            let (text, size) = ("SYNTHETIC IMAGES", 18.0);
            let width = text_width(text, size)? + 20;
            let badge = Rect::new(self.whole.width - MARGIN - width, MARGIN - 4, width, 30);
            self.outline(badge, PALETTE[1], 2)?;
            self.text(text, (badge.x + 10, badge.y + 7), size, PALETTE[1], Align::Left)?;
            room -= width + 20;
        }
        self.text_within(title, (MARGIN, MARGIN), room, 26.0, Align::Left)
    }

    pub(super) fn into_image(self) -> RgbImage {
        let (k, row) = (OVERSAMPLING as usize, self.whole.enlarged().width as usize * 3);
        RgbImage::from_fn(self.whole.width as u32, self.whole.height as u32, |x, y| {
            let at = y as usize * k * row + x as usize * k * 3;
            Rgb(std::array::from_fn(|channel| {
                let block = (0..k * k).map(|i| at + i / k * row + i % k * 3 + channel);
                let sum: usize = block.map(|at| usize::from(self.pixels[at])).sum();
                ((sum + k * k / 2) / (k * k)) as u8
            }))
        })
    }
}

pub(super) fn drawing(error: impl std::fmt::Debug) -> ReportError {
    ReportError::Drawing(format!("{error:?}"))
}

pub(super) fn line_height(size: f64) -> i32 {
    (LINE * size).ceil() as i32
}

/// Width of a text in pixels.
pub(super) fn text_width(text: &str, size: f64) -> Result<i32, ReportError> {
    static FONTS: Once = Once::new();
    FONTS.call_once(|| {
        let bytes = include_bytes!("DejaVuSans-subset.ttf");
        // A font that cannot be read is reported by the first text that needs it.
        let _ = register_font(FONT, FontStyle::Normal, bytes);
    });
    let large = size * f64::from(OVERSAMPLING);
    let (width, _) = (FONT, large).into_font().box_size(text).map_err(drawing)?;
    Ok(width as i32 / OVERSAMPLING + 1)
}

/// The text, or as much of it as fits with an ellipsis.
pub(super) fn shorten(text: &str, size: f64, width: i32) -> Result<String, ReportError> {
    if text_width(text, size)? <= width {
        return Ok(text.to_string());
    }
    for short in text.char_indices().rev().map(|(end, _)| format!("{}…", text[..end].trim_end())) {
        if text_width(&short, size)? <= width {
            return Ok(short);
        }
    }
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Canvas {
        /// Texts that run off the canvas, touch a picture or another text.
        pub(in crate::report::figures) fn clashes(&self) -> Vec<String> {
            let touch = |a: &Rect, b: &Rect| {
                a.x < b.right() && b.x < a.right() && a.y < b.bottom() && b.y < a.bottom()
            };
            let mut clashes = Vec::new();
            for (i, (text, rect)) in self.texts.iter().enumerate() {
                let (right, bottom) = (self.whole.width, self.whole.height);
                if rect.x < 0 || rect.y < 0 || rect.right() > right || rect.bottom() > bottom {
                    clashes.push(format!("{text:?} leaves the canvas"));
                }
                for picture in self.pictures.iter().filter(|p| touch(rect, p)) {
                    clashes.push(format!("{text:?} {rect:?} lies on {picture:?}"));
                }
                for (other, _) in self.texts[i + 1..].iter().filter(|(_, r)| touch(rect, r)) {
                    clashes.push(format!("{text:?} and {other:?} overlap"));
                }
            }
            clashes
        }
    }
}
