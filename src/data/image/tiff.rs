//! What the samples of a TIFF mean, where its decoder would guess.

use std::io::Cursor;

use ::tiff::ColorType;
use ::tiff::decoder::Decoder;
use ::tiff::tags::Tag;

/// Classic TIFFs are known to the `image` crate by their first bytes; these are BigTIFF's.
const BIG: [&[u8]; 2] = [b"II+\0", b"MM\0+"];

/// `ExtraSamples` of an alpha that the colors are multiplied by (TIFF 6.0, section 18).
const ASSOCIATED_ALPHA: u16 = 1;

/// `SampleFormat` of unsigned integers (TIFF 6.0, section 19).
const UNSIGNED: u16 = 1;

/// Whether these are the first bytes of a BigTIFF.
pub(super) fn is_big(bytes: &[u8]) -> bool {
    BIG.iter().any(|start| bytes.starts_with(start))
}

/// Whether the alpha is one that the colors are multiplied by; or why there is no telling which sample is
/// white.
pub(super) fn is_premultiplied(bytes: &[u8]) -> Result<bool, String> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    let color = decoder.colortype().map_err(|error| error.to_string())?;
    let mut tag = |tag| decoder.find_tag_unsigned_vec::<u16>(tag).map_err(|error| error.to_string());
    let format = tag(Tag::SampleFormat)?.and_then(|formats| formats.first().copied()).unwrap_or(UNSIGNED);
    let read = matches!(
        color,
        ColorType::Gray(1 | 8 | 16)
            | ColorType::GrayA(8 | 16)
            | ColorType::RGB(8 | 16)
            | ColorType::RGBA(8 | 16)
            | ColorType::CMYK(8 | 16)
    );
    if !read || format != UNSIGNED {
        let kind = match format {
            UNSIGNED => "unsigned",
            2 => "signed",
            3 => "floating-point",
            _ => "undefined",
        };
        return Err(format!(
            "{kind} samples of the kind {color:?} (bits a sample in brackets); convert to gray, RGB or CMYK \
             in unsigned samples of 8 or 16 bits"
        ));
    }
    let extra = tag(Tag::ExtraSamples)?.unwrap_or_default();
    Ok(matches!(color, ColorType::RGBA(_) | ColorType::GrayA(_)) && extra.first() == Some(&ASSOCIATED_ALPHA))
}
