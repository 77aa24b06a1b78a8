//! How alike two images look: PSNR and SSIM.

/// Peak signal-to-noise ratio in decibels, for values in \[0,1\]; infinite for identical images.
///
/// # Panics
///
/// Panics if the images differ in length or are empty.
pub fn psnr(a: &[f32], b: &[f32]) -> f64 {
    assert!(a.len() == b.len() && !a.is_empty(), "images of {} and {} values", a.len(), b.len());
    let squares: f64 = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    -10.0 * (squares / a.len() as f64).log10()
}

/// Taps of the Gaussian window, 11 by 11.
const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;
/// `(0.01 L)^2` and `(0.03 L)^2` for values in \[0,1\].
const C1: f64 = 1e-4;
const C2: f64 = 9e-4;

/// Mean structural similarity of two images, for values in \[0,1\]: 1 for identical images. `None` for
/// images smaller than the 11x11 window.
///
/// Wang, Bovik, Sheikh & Simoncelli, "Image quality assessment: from error visibility to structural
/// similarity", IEEE TIP 13, 2004: Gaussian window of 11x11 with sigma 1.5, averaged over the positions where
/// the window fits, and over channels.
///
/// # Shapes
///
/// - `a`, `b`: `[channels, height, width]`, row by row
///
/// # Panics
///
/// Panics if the lengths are not `channels * height * width`.
pub fn ssim(a: &[f32], b: &[f32], [channels, height, width]: [usize; 3]) -> Option<f64> {
    let plane = height * width;
    assert!(
        a.len() == channels * plane && b.len() == a.len(),
        "images of {} and {} values",
        a.len(),
        b.len()
    );
    if height < WINDOW || width < WINDOW || channels == 0 {
        return None;
    }
    let channel = |a: &[f32], b: &[f32]| {
        let pairs = || a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let blurred = |values: Vec<f64>| blur(&values, height, width);
        let mean_a = blurred(pairs().map(|(a, _)| a).collect());
        let mean_b = blurred(pairs().map(|(_, b)| b).collect());
        let square_a = blurred(pairs().map(|(a, _)| a * a).collect());
        let square_b = blurred(pairs().map(|(_, b)| b * b).collect());
        let product = blurred(pairs().map(|(a, b)| a * b).collect());
        let total: f64 = (0..mean_a.len())
            .map(|i| {
                let (ma, mb) = (mean_a[i], mean_b[i]);
                let (va, vb) = (square_a[i] - ma * ma, square_b[i] - mb * mb);
                let covariance = product[i] - ma * mb;
                (2.0 * ma * mb + C1) * (2.0 * covariance + C2) / ((ma * ma + mb * mb + C1) * (va + vb + C2))
            })
            .sum();
        total / mean_a.len() as f64
    };
    let means = a.chunks(plane).zip(b.chunks(plane)).map(|(a, b)| channel(a, b));
    Some(means.sum::<f64>() / channels as f64)
}

/// The Gaussian-weighted mean at every position where the window fits.
fn blur(plane: &[f64], height: usize, width: usize) -> Vec<f64> {
    let taps = taps();
    let narrow = width - WINDOW + 1;
    let mut rows = Vec::with_capacity(height * narrow);
    for row in plane.chunks(width) {
        rows.extend(row.windows(WINDOW).map(|w| w.iter().zip(&taps).map(|(v, t)| v * t).sum::<f64>()));
    }
    let mut out = vec![0.0; (height - WINDOW + 1) * narrow];
    for (y, line) in out.chunks_mut(narrow).enumerate() {
        for (tap, row) in taps.iter().zip(rows[y * narrow..].chunks(narrow)) {
            for (sum, value) in line.iter_mut().zip(row) {
                *sum += tap * value;
            }
        }
    }
    out
}

fn taps() -> [f64; WINDOW] {
    let centre = (WINDOW / 2) as f64;
    let taps: [f64; WINDOW] =
        std::array::from_fn(|i| (-(i as f64 - centre).powi(2) / (2.0 * SIGMA * SIGMA)).exp());
    let sum: f64 = taps.iter().sum();
    taps.map(|t| t / sum)
}
