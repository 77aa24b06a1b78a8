//! Quantisation tables: Annex K of the standard (ITU-T T.81), scaled as in libjpeg.

/// Sides of a block.
pub(crate) const SIDE: usize = 8;

const LUMA: [i32; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17,
    22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78,
    87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];

const CHROMA: [i32; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
];

/// Row by row, the steps of the frequencies of brightness and of colour at a quality from 1 to 100.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tables {
    pub(crate) luma: [i32; 64],
    pub(crate) chroma: [i32; 64],
}

impl Tables {
    pub(crate) fn of(quality: usize) -> Self {
        let quality = quality as i32;
        let scale = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
        let scaled = |table: [i32; 64]| table.map(|step| ((step * scale + 50) / 100).clamp(1, 255));
        Self { luma: scaled(LUMA), chroma: scaled(CHROMA) }
    }
}
