//! The change of one image, in double precision.

/// What leads from one image to another.
pub(crate) fn change(from: &[f32], to: &[f32]) -> Vec<f64> {
    to.iter().zip(from).map(|(&to, &from)| f64::from(to) - f64::from(from)).collect()
}

/// The image with this change, cut to \[0,1\].
pub(crate) fn changed(image: &[f32], change: impl IntoIterator<Item = f64>) -> Vec<f32> {
    let pixel = |(&pixel, change): (&f32, f64)| ((f64::from(pixel) + change) as f32).clamp(0.0, 1.0);
    image.iter().zip(change).map(pixel).collect()
}
