//! Exhibits as pictures that a page can hold, and what each of them takes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ImageBuffer, ImageEncoder, Rgb, RgbImage, imageops};

use crate::evaluate::Exhibit;

/// Larger images are reduced to this length of their longer side: a change of every pixel does not compress.
const SIDE: u32 = 160;
/// Levels on each side of no change, to which changes are rounded. With more of them a page takes megabytes.
const LEVELS: f32 = 3.0;
/// Of the originals and of smooth differences, unless a PNG is smaller.
const JPEG_QUALITY: u8 = 88;
/// No change.
const GREY: f32 = 128.0;

type Floats = ImageBuffer<Rgb<f32>, Vec<f32>>;

/// An exhibit as pictures.
pub(super) struct Encoded<'r> {
    pub(super) exhibit: &'r Exhibit,
    /// Width and height of the pictures.
    pub(super) size: [u32; 2],
    /// The original as a data URI.
    pub(super) original: String,
    /// The versions that found room, by their place.
    pub(super) changes: Vec<Change>,
}

/// What a version changes.
pub(super) struct Change {
    pub(super) version: usize,
    /// The difference as a data URI: grey where nothing changes, white and black at `most`.
    pub(super) picture: String,
    /// The largest change in the picture, on the \[0,1\] scale.
    pub(super) most: f32,
}

/// The exhibits, each class's in turn, as long as there is room for so many characters. Of an exhibit that
/// does not fit whole, the versions that tell most: where it falls first, the largest and the smallest
/// budget, then the others.
pub(super) fn encoded(exhibits: &[Exhibit], mut room: usize) -> Vec<Encoded<'_>> {
    let mut shown = Vec::new();
    for exhibit in exhibits {
        let Some(original) = floats(&exhibit.original, exhibit.shape) else { continue };
        let uri = picture(&original);
        let mut taken = uri.len();
        let mut changes: Vec<Change> = Vec::new();
        for version in by_weight(exhibit) {
            let Some(adversarial) = floats(&exhibit.versions[version].pixels, exhibit.shape) else {
                continue;
            };
            let (picture, most) = difference(&original, &adversarial, exhibit.norm.is_some());
            if taken + picture.len() <= room {
                taken += picture.len();
                changes.push(Change { version, picture, most });
            }
        }
        if changes.is_empty() {
            break;
        }
        room -= taken;
        changes.sort_by_key(|change| change.version);
        let size = [original.width(), original.height()];
        shown.push(Encoded { exhibit, size, original: uri, changes });
    }
    shown
}

fn by_weight(exhibit: &Exhibit) -> Vec<usize> {
    let fallen = |&version: &usize| exhibit.versions[version].after.prediction != Some(exhibit.label);
    let all = 0..exhibit.versions.len();
    let first = all.clone().find(fallen);
    let mut order = Vec::new();
    for version in first.into_iter().chain(all.clone().next_back()).chain(all) {
        if !order.contains(&version) {
            order.push(version);
        }
    }
    order
}

/// Channels side by side, reduced if it is large; one channel is grey. `None` for other numbers of channels.
fn floats(values: &[f32], [channels, height, width]: [usize; 3]) -> Option<Floats> {
    if !matches!(channels, 1 | 3) || height == 0 || width == 0 {
        return None;
    }
    let at = |channel: usize, x: u32, y: u32| {
        values[(channel.min(channels - 1) * height + y as usize) * width + x as usize]
    };
    let whole = Floats::from_fn(width as u32, height as u32, |x, y| Rgb([0, 1, 2].map(|c| at(c, x, y))));
    let longer = whole.width().max(whole.height());
    if longer <= SIDE {
        return Some(whole);
    }
    let reduced = |length: u32| (length * SIDE).div_ceil(longer);
    let size = (reduced(whole.width()), reduced(whole.height()));
    Some(imageops::resize(&whole, size.0, size.1, imageops::FilterType::Triangle))
}

fn bytes(image: &Floats, level: impl Fn(f32) -> f32) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        Rgb(image.get_pixel(x, y).0.map(|value| level(value).round().clamp(0.0, 255.0) as u8))
    })
}

fn picture(image: &Floats) -> String {
    smallest(&bytes(image, |value| 255.0 * value))
}

/// A JPEG, or the PNG if that is smaller.
fn smallest(image: &RgbImage) -> String {
    let mut jpeg = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY);
    encoder
        .write_image(image, image.width(), image.height(), image::ColorType::Rgb8.into())
        .expect("in memory");
    let png = png(image, FilterType::Adaptive);
    if png.len() <= jpeg.len() { uri("png", &png) } else { uri("jpeg", &jpeg) }
}

/// The difference and its largest value, in few levels where it changes from pixel to pixel as attacks within
/// a norm make it; what no norm bounds is as smooth as the image, and compresses as one.
fn difference(original: &Floats, adversarial: &Floats, in_levels: bool) -> (String, f32) {
    let mut change = adversarial.clone();
    change.iter_mut().zip(original.iter()).for_each(|(after, before)| *after -= before);
    let most = change.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let level = |value: f32| match (most > 0.0, in_levels) {
        (true, true) => GREY + (value / most * LEVELS).round() / LEVELS * (GREY - 1.0),
        (true, false) => GREY + value / most * (GREY - 1.0),
        (false, _) => GREY,
    };
    let picture = bytes(&change, level);
    if !in_levels {
        return (smallest(&picture), most);
    }
    // Noise is not foreseen by any filter.
    (uri("png", &png(&picture, FilterType::NoFilter)), most)
}

fn png(image: &RgbImage, filter: FilterType) -> Vec<u8> {
    let mut png = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Best, filter);
    encoder
        .write_image(image, image.width(), image.height(), image::ColorType::Rgb8.into())
        .expect("in memory");
    png
}

fn uri(kind: &str, bytes: &[u8]) -> String {
    format!("data:image/{kind};base64,{}", STANDARD.encode(bytes))
}
