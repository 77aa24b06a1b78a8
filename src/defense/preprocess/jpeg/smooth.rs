//! JPEG as differentiable tensor operations, with any rounding of the coefficients.

use std::f64::consts::PI;

use burn::tensor::{Tensor, TensorData};

use crate::pixels::{SIDE, Separable, Tables};

/// Brightness and colour from red, green and blue: JFIF 1.02.
const TO_YCC: [[f32; 3]; 3] =
    [[0.299, 0.587, 0.114], [-0.168_736, -0.331_264, 0.5], [0.5, -0.418_688, -0.081_312]];

const TO_RGB: [[f32; 3]; 3] = [[1.0, 0.0, 1.402], [1.0, -0.344_136, -0.714_136], [1.0, 1.772, 0.0]];

/// The level that brightness is transformed around; colour is around zero already.
const CENTRE: f64 = 128.0;

/// Rounding with a slope, `round(c) + (c - round(c))^3`.
pub(super) fn cubic(coefficients: Tensor<4>) -> Tensor<4> {
    let rounded = coefficients.clone().detach().round();
    rounded.clone() + (coefficients - rounded).powi_scalar(3)
}

/// Images `[batch, channels, height, width]` of one or three channels, compressed and back: as the real
/// thing, but neither levels nor results are rounded or cut, and coefficients as `round` does.
pub(super) fn smooth(
    images: Tensor<4>,
    tables: &Tables,
    halve: bool,
    round: impl Fn(Tensor<4>) -> Tensor<4>,
) -> Tensor<4> {
    let [_, channels, height, width] = images.dims();
    let levels = images * 255.0;
    let sides = [Side::full(height), Side::full(width)];
    if channels == 1 {
        let centred = levels - CENTRE;
        return (component(centred, &tables.luma, sides, round) + CENTRE) / 255.0;
    }
    let ycc = mixed(levels, TO_YCC);
    let luma = component(ycc.clone().narrow(1, 0, 1) - CENTRE, &tables.luma, sides.clone(), &round) + CENTRE;
    // Where libjpeg finds the halved image too narrow, it repeats values.
    let triangles = width > 4;
    let sides = if halve { [Side::rows(height, triangles), Side::columns(width, triangles)] } else { sides };
    let chroma = component(ycc.narrow(1, 1, 2), &tables.chroma, sides, &round);
    mixed(Tensor::cat(vec![luma, chroma], 1), TO_RGB) / 255.0
}

/// Planes around zero transformed, quantised and transformed back.
fn component(
    planes: Tensor<4>,
    table: &[i32; 64],
    [rows, columns]: [Side; 2],
    round: impl Fn(Tensor<4>) -> Tensor<4>,
) -> Tensor<4> {
    let (height, width) = (rows.blocks(), columns.blocks());
    let steps: Vec<f32> =
        (0..height * width).map(|i| table[i / width % SIDE * SIDE + i % width % SIDE] as f32).collect();
    let data = TensorData::new(steps, [1, 1, height, width]);
    let steps = Tensor::from_data(data, (&planes.device(), planes.dtype()));
    let there = Separable::new(vec![(rows.transform(), columns.transform())], &planes);
    let quantised = round(there.apply(planes) / steps.clone()) * steps;
    Separable::new(vec![(rows.inverse(), columns.inverse())], &quantised).apply(quantised)
}

/// The channels multiplied with a matrix.
fn mixed(images: Tensor<4>, matrix: [[f32; 3]; 3]) -> Tensor<4> {
    let [batch, channels, height, width] = images.dims();
    let matrix = Tensor::<3>::from_data([matrix], (&images.device(), images.dtype()));
    matrix.matmul(images.reshape([batch, channels, height * width])).reshape([batch, channels, height, width])
}

/// One value as a sum of others: their places and weights.
type Sum = Vec<(usize, f64)>;

/// What happens along one side of a plane: shrinking to full blocks, and the way back.
#[derive(Clone, Debug)]
struct Side {
    length: usize,
    shrunk: Vec<Sum>,
    enlarged: Vec<Sum>,
}

impl Side {
    /// As long as before; the last value is repeated until blocks are full.
    fn full(length: usize) -> Self {
        let shrunk =
            (0..length.next_multiple_of(SIDE)).map(|i| vec![(i.min(length.max(1) - 1), 1.0)]).collect();
        Self { length, shrunk, enlarged: (0..length).map(|i| vec![(i, 1.0)]).collect() }
    }

    /// Half as many rows: the last one of the half is repeated.
    fn rows(length: usize, triangles: bool) -> Self {
        let last = length.div_ceil(2).max(1) - 1;
        Self::halved(length, triangles, |i| i.min(last))
    }

    /// Half as many columns: the last one of the whole is repeated.
    fn columns(length: usize, triangles: bool) -> Self {
        Self::halved(length, triangles, |i| i)
    }

    fn halved(length: usize, triangles: bool, of: impl Fn(usize) -> usize) -> Self {
        let (half, end) = (length.div_ceil(2), length.max(1) - 1);
        let mean = |i: usize| vec![((2 * i).min(end), 0.5), ((2 * i + 1).min(end), 0.5)];
        let shrunk = (0..half.next_multiple_of(SIDE)).map(|i| mean(of(i))).collect();
        let neighbour = |i: usize| {
            if i.is_multiple_of(2) { (i / 2).saturating_sub(1) } else { (i / 2 + 1).min(half - 1) }
        };
        let share = if triangles { 0.25 } else { 0.0 };
        let enlarged = (0..length).map(|i| vec![(i / 2, 1.0 - share), (neighbour(i), share)]).collect();
        Self { length, shrunk, enlarged }
    }

    /// Values of all blocks.
    fn blocks(&self) -> usize {
        self.shrunk.len()
    }

    /// Shrinking and the transform of blocks, row by row.
    fn transform(&self) -> Vec<f32> {
        let mut rows = vec![0.0; self.blocks() * self.length];
        for frequency in 0..self.blocks() {
            let row = &mut rows[frequency * self.length..][..self.length];
            let start = frequency / SIDE * SIDE;
            for (k, sum) in self.shrunk[start..start + SIDE].iter().enumerate() {
                let wave = cosine(frequency % SIDE, k);
                sum.iter().for_each(|&(at, weight)| row[at] += (wave * weight) as f32);
            }
        }
        rows
    }

    /// The way back, row by row.
    fn inverse(&self) -> Vec<f32> {
        let mut rows = vec![0.0; self.length * self.blocks()];
        for (sum, row) in self.enlarged.iter().zip(rows.chunks_mut(self.blocks().max(1))) {
            for &(at, weight) in sum {
                let waves = row[at / SIDE * SIDE..][..SIDE].iter_mut().enumerate();
                waves.for_each(|(frequency, value)| *value += (weight * cosine(frequency, at % SIDE)) as f32);
            }
        }
        rows
    }
}

/// The orthonormal DCT-II of eight values.
fn cosine(frequency: usize, at: usize) -> f64 {
    let weight: f64 = if frequency == 0 { 0.125 } else { 0.25 };
    weight.sqrt() * ((2 * at + 1) as f64 * frequency as f64 * PI / 16.0).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::round_trip;
    use crate::random::{Purpose, RngExt, generator};
    use crate::rows::{each, values};
    use burn::tensor::Device;

    /// Waves and noise in 8-bit levels.
    fn image(channels: usize, height: usize, width: usize) -> Tensor<4> {
        let mut rng = generator(Purpose::named("a test image"), 0, &[]);
        let value = |i: usize| {
            let (y, x) = (i / width % height, i % width);
            let wave = (0.3 * x as f64 + (i / width / height) as f64).sin() * (0.2 * y as f64).cos();
            ((0.5 + 0.35 * wave + 0.1 * rng.random::<f64>()) * 255.0).round() as f32 / 255.0
        };
        let numbers: Vec<f32> = (0..channels * height * width).map(value).collect();
        let data = TensorData::new(numbers, [1, channels, height, width]);
        Tensor::from_data(data, &Device::default())
    }

    /// Mean and largest distance in levels between hard rounding and the real thing, which Pillow's files
    /// hold.
    fn distances(images: &Tensor<4>, quality: usize, halve: bool) -> (f32, f32) {
        let [_, channels, height, width] = images.dims();
        let tables = Tables::of(quality);
        let real = each(images, |_, x| round_trip(x, [channels, height, width], &tables, halve));
        let found = smooth(images.clone(), &tables, halve, Tensor::round).clamp(0.0, 1.0);
        let off = values((found - real).abs() * 255.0);
        (off.iter().sum::<f32>() / off.len() as f32, off.into_iter().fold(0.0, f32::max))
    }

    /// Levels that are not rounded move a coefficient near a half to the next step, which is a small one at
    /// quality 100.
    #[test]
    fn hard_rounding_gives_the_real_thing_with_small_steps() {
        for (channels, height, width) in [(3, 37, 43), (3, 16, 32), (1, 19, 24), (3, 9, 3)] {
            for halve in [false, true] {
                let (mean, most) = distances(&image(channels, height, width), 100, halve);
                assert!(mean < 0.8 && most < 5.0, "{channels} {height} {width} {halve}: {mean} {most}");
            }
        }
    }

    /// What was compressed before, without a level cut off, has no coefficients near a half.
    #[test]
    fn hard_rounding_gives_the_real_thing_with_large_steps() {
        for (channels, height, width) in [(1, 40, 24), (3, 40, 24)] {
            for quality in [30, 50, 80] {
                let soft = image(channels, height, width) * 0.5 + 0.25;
                let compressed =
                    each(&soft, |_, x| round_trip(x, [channels, height, width], &Tables::of(quality), false));
                let (mean, most) = distances(&compressed, quality, false);
                assert!(mean < 0.6 && most < 2.5, "{channels} {quality}: {mean} {most}");
            }
        }
    }

    #[test]
    fn without_rounding_full_colour_is_the_identity() {
        for channels in [1, 3] {
            let images = image(channels, 21, 14);
            let found = smooth(images.clone(), &Tables::of(10), false, |c| c);
            let off: f32 = (found - images).abs().max().into_scalar();
            assert!(off < 1e-5, "{channels}: {off}");
        }
    }

    /// Without rounding the map is linear but for a constant, so that the gradient `g` of `w . f(x)` is that
    /// of its adjoint: `g . d = w . (f(d) - f(0))`.
    #[test]
    fn gradients_are_those_of_the_values() {
        let (images, tables) = (image(3, 13, 22), Tables::of(60));
        let (weights, direction) = (images.clone().flip([2, 3]) - 0.5, images.clone().flip([3]) - 0.5);
        for halve in [false, true] {
            let dot = |x: Tensor<4>| (smooth(x, &tables, halve, |c| c) * weights.clone()).sum();
            let tracked = images.clone().autodiff().require_grad();
            let gradient = tracked.grad(&dot(tracked.clone()).backward()).unwrap();
            let slope: f32 = (gradient * direction.clone()).sum().into_scalar();
            let expected: f32 = (dot(direction.clone()) - dot(direction.zeros_like())).into_scalar();
            assert!((slope / expected - 1.0).abs() < 1e-3, "{halve}: {slope} {expected}");
        }
    }

    #[test]
    fn cubic_rounding_by_hand() {
        let c = Tensor::<1>::from_floats([2.0, 2.25, -0.5, 1.75], &Device::default()).reshape([1, 1, 1, 4]);
        let tracked = c.autodiff().require_grad();
        let out = cubic(tracked.clone());
        let slopes = values(tracked.grad(&out.clone().sum().backward()).unwrap());
        let out = values(out.inner());
        assert_eq!([out[0], out[1], out[3]], [2.0, 2.015_625, 1.984_375]);
        assert_eq!(out[2].abs(), 0.125 + if out[2] > -0.5 { 0.0 } else { 0.75 });
        assert_eq!(slopes, [0.0, 0.1875, 0.75, 0.1875]);
    }
}
