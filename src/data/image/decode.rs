//! Reading image files: whole images in RGB with 8 bits, or an error that says what is wrong.

use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use super::tiff;
use crate::data::DataError;
use crate::file::IoError;

/// Largest file that is read; larger ones are no photographs for a classifier.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Largest side of an image that is decoded, in pixels.
const MAX_SIDE: u32 = 16_384;
/// Most memory that a decoder may ask for.
const MAX_DECODED_BYTES: u64 = 512 << 20;

/// The least sample of 16 bits that is no longer black to the eye; an image below it holds numbers on another
/// scale.
const DARKEST_16_BITS: u16 = 4096;

/// Reads an image file in RGB with 8 bits a channel: gray becomes three equal channels, CMYK is converted, a
/// palette looked up, transparency dropped, and 16 bits divided by 257 and rounded. Of several pages the
/// first is read.
///
/// A photo that its camera wants turned (EXIF orientation, see [`exif_orientation`]) comes as it lies in the
/// file, and a TIFF as its orientation says: as PIL's `Image.open(path).convert("RGB")` reads them,
/// torchvision's way.
///
/// # Errors
///
/// [`DataError`] if the file cannot be read, is empty, is no whole PNG, JPEG, TIFF or BMP image, has a side
/// of more than 16,384 pixels or needs more than 512 MiB in memory. Also where nothing says which number is
/// white: floating-point, signed and 32-bit samples, and 16-bit ones that are all below 4096, as those of a
/// camera of 12 bits are. A TIFF whose colors are multiplied by an alpha that is not opaque is refused, and
/// one with a palette or in YCbCr.
pub fn read_image(path: impl AsRef<Path>) -> Result<RgbImage, DataError> {
    let path = path.as_ref();
    decode_image(path, &bytes_of(path)?)
}

/// Decodes an image file's bytes as [`read_image`] does; `path` is for messages.
///
/// # Errors
///
/// As [`read_image`].
pub fn decode_image(path: impl AsRef<Path>, bytes: &[u8]) -> Result<RgbImage, DataError> {
    let path = path.as_ref();
    let (format, mut decoder) = decoder(path, bytes)?;
    let fail = |found: String| wrong(path, Some(format), found);
    let premultiplied = format == ImageFormat::Tiff && tiff::is_premultiplied(bytes).map_err(fail)?;
    if decoder.total_bytes() > MAX_DECODED_BYTES {
        return Err(fail(format!("{} bytes to decode", decoder.total_bytes())));
    }
    // PIL turns TIFFs and no others.
    let orientation = match format {
        ImageFormat::Tiff => decoder.orientation().map_err(|error| fail(error.to_string()))?,
        _ => Orientation::NoTransforms,
    };
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| fail(error.to_string()))?;
    if image.width() == 0 || image.height() == 0 {
        return Err(fail(format!("{} x {} pixels", image.width(), image.height())));
    }
    if premultiplied && !is_opaque(&image) {
        return Err(fail("colors that are multiplied by their alpha; save without transparency".to_string()));
    }
    if let Some(most) = brightest_16_bits(&image).filter(|most| (1..DARKEST_16_BITS).contains(most)) {
        return Err(fail(format!(
            "16-bit samples of at most {most}, all but black where 65535 is white; scale them to 65535"
        )));
    }
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

/// The EXIF orientation (2 to 8) by which the camera wants a JPEG or PNG turned or flipped for display, and
/// which [`read_image`] does not apply; none where there is nothing to turn.
///
/// A network that was trained on images as PIL reads them has seen those lying as in the file, too.
///
/// # Errors
///
/// As [`read_image`], but of the file's head alone.
pub fn exif_orientation(path: impl AsRef<Path>) -> Result<Option<u8>, DataError> {
    let path = path.as_ref();
    let bytes = bytes_of(path)?;
    let (format, mut decoder) = decoder(path, &bytes)?;
    if format == ImageFormat::Tiff {
        return Ok(None);
    }
    let orientation = decoder.orientation().map_err(|error| wrong(path, Some(format), error.to_string()))?;
    Ok((orientation != Orientation::NoTransforms).then(|| orientation.to_exif()))
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, DataError> {
    let failed = IoError::at(path, "a readable image file");
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let (expected, found) = ("a file of at most 256 MiB".to_string(), "a larger one".to_string());
        return Err(DataError::Image { path: path.to_path_buf(), expected, found });
    }
    Ok(bytes)
}

/// The decoder of a file, which has read its head.
fn decoder<'a>(path: &Path, bytes: &'a [u8]) -> Result<(ImageFormat, impl ImageDecoder + 'a), DataError> {
    if bytes.is_empty() {
        return Err(DataError::EmptyFile { path: path.to_path_buf() });
    }
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| wrong(path, None, error.to_string()))?;
    if tiff::is_big(bytes) {
        reader.set_format(ImageFormat::Tiff);
    }
    let Some(format) = reader.format() else {
        return Err(wrong(path, None, "bytes of no image format that is known".to_string()));
    };
    let fail = |found: String| wrong(path, Some(format), found);
    if format == ImageFormat::Jpeg && !ends(bytes) {
        return Err(fail("no end-of-image marker: the file is cut off".to_string()));
    }
    if format == ImageFormat::Tiff {
        // Before the decoder, whose own refusal does not say what the samples are.
        tiff::is_premultiplied(bytes).map_err(fail)?;
    }
    if let Some(length) = uneven_palette(bytes).filter(|_| format == ImageFormat::Png) {
        return Err(fail(format!("a palette of {length} bytes, not three a color")));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| fail(error.to_string()))?;
    Ok((format, decoder))
}

fn wrong(path: &Path, format: Option<ImageFormat>, found: String) -> DataError {
    let kind = format.map_or("PNG, JPEG, TIFF or BMP".to_string(), |f| format!("{f:?}").to_uppercase());
    DataError::Image { path: path.to_path_buf(), expected: format!("a whole {kind} image"), found }
}

fn is_opaque(image: &DynamicImage) -> bool {
    match image {
        DynamicImage::ImageLumaA8(image) => image.pixels().all(|pixel| pixel.0[1] == u8::MAX),
        DynamicImage::ImageRgba8(image) => image.pixels().all(|pixel| pixel.0[3] == u8::MAX),
        DynamicImage::ImageLumaA16(image) => image.pixels().all(|pixel| pixel.0[1] == u16::MAX),
        DynamicImage::ImageRgba16(image) => image.pixels().all(|pixel| pixel.0[3] == u16::MAX),
        _ => true,
    }
}

/// The highest color sample of an image of 16 bits.
fn brightest_16_bits(image: &DynamicImage) -> Option<u16> {
    match image {
        DynamicImage::ImageLuma16(image) => image.iter().max().copied(),
        DynamicImage::ImageRgb16(image) => image.iter().max().copied(),
        DynamicImage::ImageLumaA16(image) => image.pixels().map(|pixel| pixel.0[0]).max(),
        DynamicImage::ImageRgba16(image) => {
            image.pixels().flat_map(|pixel| [0, 1, 2].map(|c| pixel.0[c])).max()
        }
        _ => None,
    }
}

/// Whether a JPEG's last scan is followed by its end-of-image marker. Decoders fill the missing part of a
/// truncated file with grey and say nothing. Inside a scan FF is always followed by 00 or a restart marker
/// (ITU-T T.81, B.1.1.5), so FF D9 after the last FF DA can only be the end.
fn ends(bytes: &[u8]) -> bool {
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    match (last([0xff, 0xda]), last([0xff, 0xd9])) {
        (Some(scan), Some(end)) => scan < end,
        _ => false,
    }
}

/// The length of a PNG's palette that is no multiple of three, an error (PNG specification, 11.2.2) that its
/// decoder does not look for.
fn uneven_palette(png: &[u8]) -> Option<u32> {
    let mut rest = png.get(8..)?;
    loop {
        let (length, named) = rest.split_first_chunk()?;
        let length = u32::from_be_bytes(*length);
        if named.starts_with(b"PLTE") && length % 3 != 0 {
            return Some(length);
        }
        // Name and checksum.
        rest = named.get(8..)?.get(usize::try_from(length).ok()?..)?;
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageBuffer, Luma, LumaA, Rgb, Rgba};
    use proptest::prelude::*;

    use super::*;

    fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn picture() -> DynamicImage {
        let pixel = |x: u32, y: u32| Rgb([(x * 7 + y) as u8, (y * 5) as u8, (x * y) as u8]);
        ImageBuffer::from_fn(37, 23, pixel).into()
    }

    fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
        decode_image("picture", bytes).map_err(|e| e.to_string())
    }

    #[test]
    fn lossless_formats_give_the_pixels_back() {
        for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff] {
            assert_eq!(decode(&encode(&picture(), format)).unwrap(), picture().into_rgb8());
        }
        let jpeg = decode(&encode(&picture(), ImageFormat::Jpeg)).unwrap();
        assert_eq!(jpeg.dimensions(), (37, 23));
    }

    #[test]
    fn gray_alpha_and_16_bits_become_rgb8() {
        let gray = ImageBuffer::from_fn(2, 1, |x, _| Luma([40 + x as u8])).into();
        let gray = decode(&encode(&gray, ImageFormat::Png)).unwrap();
        assert_eq!((gray.get_pixel(0, 0).0, gray.get_pixel(1, 0).0), ([40; 3], [41; 3]));
        let alpha = ImageBuffer::from_pixel(1, 1, Rgba([1_u8, 2, 3, 0])).into();
        assert_eq!(decode(&encode(&alpha, ImageFormat::Png)).unwrap().get_pixel(0, 0).0, [1, 2, 3]);
        let gray_alpha = ImageBuffer::from_pixel(1, 1, LumaA([9_u8, 7])).into();
        assert_eq!(decode(&encode(&gray_alpha, ImageFormat::Png)).unwrap().get_pixel(0, 0).0, [9; 3]);
        // 65535 * k / 255 is exactly k in 8 bits.
        let deep = ImageBuffer::from_pixel(1, 1, Rgb([0_u16, 257 * 128, 65_535])).into();
        assert_eq!(decode(&encode(&deep, ImageFormat::Png)).unwrap().get_pixel(0, 0).0, [0, 128, 255]);
    }

    #[test]
    fn what_is_no_image_says_so() {
        assert_eq!(decode(b"").unwrap_err(), "picture: expected an image, found an empty file");
        let text = decode(b"hello, this is text").unwrap_err();
        assert!(
            text.starts_with("picture: expected a whole PNG, JPEG, TIFF or BMP image, found: "),
            "{text}"
        );
        let folder = tempfile::tempdir().unwrap();
        let error = read_image(folder.path().join("missing.png")).unwrap_err().to_string();
        assert!(error.contains("missing.png: expected a readable image file"), "{error}");
    }

    #[test]
    fn a_palette_of_no_whole_colors_is_refused() {
        // 4 x 4 pixels with two colors, and a palette chunk of 10 bytes with its right checksum.
        let digits = [
            "89504e470d0a1a0a0000000d4948445200000004000000040103000001e4383cab0000000a504c5445ff00000000ff00",
            "0000ff4fc4b1c10000000174524e5380ad5e5b460000001649444154780163686060606860706038c0b08021000012be",
            "02f17ecc7d790000000049454e44ae426082",
        ];
        let digits = digits.concat();
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
        let error = decode(&bytes).unwrap_err();
        assert!(
            error.ends_with("a whole PNG image, found: a palette of 10 bytes, not three a color"),
            "{error}"
        );
    }

    #[test]
    fn images_too_large_are_refused_before_their_pixels_are_read() {
        let mut bomb = encode(&picture(), ImageFormat::Bmp);
        bomb[18..26].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f]);
        assert!(decode(&bomb).unwrap_err().contains("expected a whole BMP image"));
    }

    #[test]
    fn every_truncation_that_loses_pixels_is_an_error() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff] {
            let bytes = encode(&picture(), format);
            // The last bytes of a PNG (its end chunk), or a TIFF's tags, hold no pixels.
            for length in 0..bytes.len() {
                if let Ok(image) = decode(&bytes[..length]) {
                    assert_ne!(format, ImageFormat::Jpeg, "{length}");
                    assert_eq!(image, picture().into_rgb8(), "{format:?} cut at {length}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn damaged_bytes_never_panic(
            format in 0_usize..4, cut in 0.0_f64..1.0,
            changes in prop::collection::vec((0.0_f64..1.0, any::<u8>()), 0..6),
        ) {
            let formats = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff];
            let mut bytes = encode(&picture(), formats[format]);
            for (place, value) in changes {
                let place = (place * bytes.len() as f64) as usize;
                bytes[place] = value;
            }
            // Half of the cases keep their whole length.
            bytes.truncate((bytes.len() as f64 * (cut * 2.0).min(1.0)) as usize);
            let _ = decode(&bytes);
        }
    }
}
