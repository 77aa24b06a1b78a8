//! Linear maps of an image that act on rows and columns apart: resizing, padding, smoothing.

use burn::tensor::{Tensor, TensorData};

/// `A x B^T` in every channel, with an `A` and a `B` an image or one pair for all.
#[derive(Clone, Debug)]
pub struct Separable {
    vertical: Tensor<4>,
    horizontal: Tensor<4>,
}

impl Separable {
    /// From matrices, row by row, that act on columns and on rows of pixels: as wide as the images are high
    /// and wide, all of one height each.
    pub fn new(sides: Vec<(Vec<f32>, Vec<f32>)>, images: &Tensor<4>) -> Self {
        let [.., height, width] = images.dims();
        let count = sides.len();
        let (vertical, horizontal): (Vec<_>, Vec<_>) = sides.into_iter().unzip();
        let matrices = |values: Vec<Vec<f32>>, side: usize| {
            let rows = values.first().map_or(side, |first| first.len() / side.max(1));
            let data = TensorData::new(values.concat(), [count, 1, rows, side]);
            Tensor::from_data(data, (&images.device(), images.dtype()))
        };
        Self { vertical: matrices(vertical, height), horizontal: matrices(horizontal, width) }
    }

    /// The mapped images `[batch, channels, height, width]`, as large as the matrices are high.
    pub fn apply(&self, images: Tensor<4>) -> Tensor<4> {
        self.vertical.clone().matmul(images).matmul(self.horizontal.clone().transpose())
    }

    /// The gradient at the images from that at `apply(images)`.
    pub fn adjoint(&self, gradient: Tensor<4>) -> Tensor<4> {
        self.vertical.clone().transpose().matmul(gradient).matmul(self.horizontal.clone())
    }
}

/// Bilinear shrinking of `side` values to `size` that stand at `start`, zeros around them (PyTorch's
/// `interpolate` with `align_corners=False`, then `pad`).
pub fn resize_rows(side: usize, size: usize, start: usize) -> Vec<f32> {
    resize_into_rows(side, size, start, side)
}

/// The same with `size` smaller or larger than `side`, among `whole` values.
///
/// # Panics
///
/// Panics if `size` values do not fit in from `start` on.
pub fn resize_into_rows(side: usize, size: usize, start: usize, whole: usize) -> Vec<f32> {
    let mut rows = vec![0.0; whole * side];
    for i in 0..size {
        let at = ((i as f64 + 0.5) * side as f64 / size as f64 - 0.5).max(0.0);
        let (low, share) = (at as usize, at.fract());
        let row = &mut rows[(start + i) * side..][..side];
        row[low] += (1.0 - share) as f32;
        row[(low + 1).min(side - 1)] += share as f32;
    }
    rows
}

/// Convolution with a Gaussian of `length` points from minus three to three standard deviations that sum to 1;
/// zeros beyond the ends.
pub fn gaussian_rows(side: usize, length: usize) -> Vec<f32> {
    let radius = length / 2;
    let weight = |i: usize| {
        let z = if radius == 0 { 0.0 } else { 3.0 * (i as f64 / radius as f64 - 1.0) };
        (-z * z / 2.0).exp()
    };
    let total: f64 = (0..length).map(weight).sum();
    let mut rows = vec![0.0; side * side];
    for i in 0..side {
        for j in i.saturating_sub(radius)..side.min(i + radius + 1) {
            rows[i * side + j] = (weight(j + radius - i) / total) as f32;
        }
    }
    rows
}

/// Convolution with a Gaussian of standard deviation `sigma`, cut at four of them, with weights that sum to
/// 1; beyond its ends the row goes on mirrored, its last value twice (`reflect` of
/// `scipy.ndimage.gaussian_filter1d`).
pub fn blur_rows(side: usize, sigma: f64) -> Vec<f32> {
    let radius = (4.0 * sigma + 0.5) as i64;
    let weight = |offset: i64| {
        let z = if radius == 0 { 0.0 } else { offset as f64 / sigma };
        (-z * z / 2.0).exp()
    };
    let total: f64 = (-radius..=radius).map(weight).sum();
    let mut rows = vec![0f64; side * side];
    let period = 2 * side as i64;
    for i in 0..side {
        for offset in -radius..=radius {
            let at = (i as i64 + offset).rem_euclid(period);
            rows[i * side + at.min(period - 1 - at) as usize] += weight(offset) / total;
        }
    }
    rows.into_iter().map(|weight| weight as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use safetensors::SafeTensors;

    fn golden(name: &str) -> Tensor<4> {
        let bytes = include_bytes!("../../tests/golden/attacks/momentum.safetensors");
        let file = SafeTensors::deserialize(bytes).unwrap();
        let view = file.tensor(&format!("resize.{name}")).unwrap();
        let values: Vec<f32> =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        Tensor::from_data(TensorData::new(values, view.shape().to_vec()), &Device::default())
    }

    fn dot(a: Tensor<4>, b: Tensor<4>) -> f32 {
        (a * b).sum().into_scalar()
    }

    #[test]
    fn resizing_and_padding_equal_pytorch() {
        let image = golden("image");
        for (name, size, top, left) in [("13", 13, 2, 1), ("7", 7, 5, 8)] {
            let sides = (resize_rows(16, size, top), resize_rows(16, size, left));
            let resized = Separable::new(vec![sides], &image).apply(image.clone());
            let difference: f32 = (resized - golden(name)).abs().max().into_scalar();
            assert!(difference < 1e-6, "{name}: {difference}");
        }
        let whole = Separable::new(vec![(resize_rows(16, 16, 0), resize_rows(16, 16, 0))], &image);
        let difference: f32 = (whole.apply(image.clone()) - image).abs().max().into_scalar();
        assert_eq!(difference, 0.0, "its own size changes nothing");
    }

    /// `<A x, y> = <x, A^T y>` defines the adjoint.
    #[test]
    fn adjoint_is_the_gradient() {
        let (x, y) = (golden("image"), golden("13"));
        let map = Separable::new(vec![(resize_rows(16, 11, 3), gaussian_rows(16, 5))], &x);
        let (forward, backward) = (dot(map.apply(x.clone()), y.clone()), dot(x, map.adjoint(y)));
        assert!((forward / backward - 1.0).abs() < 1e-5, "{forward} {backward}");
    }
}
