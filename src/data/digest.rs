//! An image's content in sixteen bytes.

use std::fmt;
use std::str::FromStr;

use image::RgbImage;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::DataError;

/// What an image holds, whatever its name and file format: the first 16 bytes of the SHA-256 of its width and
/// height (32 bits each, little-endian) and its pixels in RGB, row by row. Written as 32 hexadecimal digits.
///
/// ```
/// use histoguard::data::ImageDigest;
/// use image::{Rgb, RgbImage};
///
/// let digest = ImageDigest::of(&RgbImage::from_pixel(2, 1, Rgb([1, 2, 3])));
/// assert_eq!(digest.to_string().parse::<ImageDigest>()?, digest);
/// # Ok::<(), histoguard::data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ImageDigest(u128);

impl ImageDigest {
    /// The digest of this image.
    pub fn of(image: &RgbImage) -> Self {
        let mut hash = Sha256::new();
        hash.update(image.width().to_le_bytes());
        hash.update(image.height().to_le_bytes());
        hash.update(image.as_raw());
        let whole: [u8; 32] = hash.finalize().into();
        Self(whole[..16].iter().fold(0, |digest, &byte| digest << 8 | u128::from(byte)))
    }
}

impl fmt::Display for ImageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for ImageDigest {
    type Err = DataError;

    fn from_str(digits: &str) -> Result<Self, DataError> {
        let hexadecimal = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        match u128::from_str_radix(digits, 16) {
            Ok(digest) if hexadecimal => Ok(Self(digest)),
            _ => Err(DataError::Digest { found: digits.chars().take(64).collect() }),
        }
    }
}

impl From<ImageDigest> for String {
    fn from(digest: ImageDigest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for ImageDigest {
    type Error = DataError;

    fn try_from(digits: String) -> Result<Self, DataError> {
        digits.parse()
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn digests_are_those_of_hashlib() {
        // hashlib.sha256(struct.pack("<II", 2, 3) + bytes(range(18))).hexdigest()[:32]
        let image = RgbImage::from_raw(2, 3, (0..18).collect()).unwrap();
        assert_eq!(ImageDigest::of(&image).to_string(), "d40b2ba1f326bee60b492953906c7f8a");
        // The same bytes in another shape are another image.
        let turned = RgbImage::from_raw(3, 2, (0..18).collect()).unwrap();
        assert_ne!(ImageDigest::of(&turned), ImageDigest::of(&image));
        let black = ImageDigest::of(&RgbImage::from_pixel(1, 1, Rgb([0; 3])));
        let json = serde_json::to_string(&black).unwrap();
        assert_eq!(serde_json::from_str::<ImageDigest>(&json).unwrap(), black);
    }

    #[test]
    fn other_digits_are_refused() {
        for digits in ["", "12", "+0000000000000000000000000000000", "g0000000000000000000000000000000"] {
            let error = digits.parse::<ImageDigest>().unwrap_err().to_string();
            assert!(error.contains("32 hexadecimal digits"), "{error}");
        }
    }
}
