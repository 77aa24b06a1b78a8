//! The norms in which perturbations are bounded and measured.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A norm over all channels and pixels of one image, on the \[0,1\] scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Norm {
    /// The largest change of any value.
    Linf,
    /// The Euclidean length.
    L2,
    /// The sum of absolute changes.
    L1,
    /// The number of values that change; a pixel's channels count singly.
    L0,
}

impl Norm {
    /// The norm of each image.
    ///
    /// # Shapes
    ///
    /// - `perturbation`: `[batch, channels, height, width]`
    /// - output: `[batch]`
    pub fn measure(self, perturbation: Tensor<4>) -> Tensor<1> {
        let [batch, ..] = perturbation.dims();
        let flat: Tensor<2> = perturbation.reshape([batch as i64, -1]);
        let norms: Tensor<2> = match self {
            Self::Linf => flat.abs().max_dim(1),
            Self::L2 => flat.square().sum_dim(1).sqrt(),
            Self::L1 => flat.abs().sum_dim(1),
            Self::L0 => flat.not_equal_elem(0.0).float().sum_dim(1),
        };
        norms.reshape([batch])
    }

    /// The gradient as a step of length one in this norm; zero where the gradient is zero.
    ///
    /// L-infinity: its sign. L0: its sign at the largest entries. L2 and L1: divided by its norm, as foolbox's
    /// `L2FastGradientAttack` and `L1FastGradientAttack` do. For L1 the steepest step would be one pixel, which \[0,1\] cuts off.
    ///
    /// # Shapes
    ///
    /// - `gradient`, output: `[batch, channels, height, width]`
    pub fn unit_step(self, gradient: Tensor<4>) -> Tensor<4> {
        let [batch, ..] = gradient.dims();
        match self {
            Self::Linf => return gradient.sign(),
            Self::L0 => {
                let size = gradient.clone().abs();
                let largest = Self::Linf.measure(gradient.clone()).reshape([batch, 1, 1, 1]);
                return gradient.sign().mask_fill(size.lower(largest), 0.0);
            }
            Self::L1 | Self::L2 => {}
        }
        // Scaled by the largest entry first, so that tiny and huge gradients keep their direction.
        let over = |images: Tensor<4>, length: Tensor<1>| {
            let length = length.reshape([batch, 1, 1, 1]);
            images / length.clone().mask_fill(length.equal_elem(0.0), 1.0)
        };
        let largest = Self::Linf.measure(gradient.clone());
        let scaled = over(gradient, largest);
        let length = self.measure(scaled.clone());
        over(scaled, length)
    }

    /// The nearest perturbation within the ball, in the Euclidean sense, image for image; those inside stay.
    ///
    /// # Shapes
    ///
    /// - `perturbation`, output: `[batch, channels, height, width]`
    pub fn project(self, perturbation: Tensor<4>, epsilon: f64) -> Tensor<4> {
        let shape = perturbation.dims();
        match self {
            Self::Linf => perturbation.clamp(-epsilon, epsilon),
            Self::L2 => {
                let length = self.measure(perturbation.clone()).reshape([shape[0], 1, 1, 1]);
                let inside = length.clone().lower_equal_elem(epsilon);
                perturbation * (length.recip() * epsilon).mask_fill(inside, 1.0)
            }
            Self::L1 | Self::L0 => {
                let device = perturbation.device();
                let mut values: Vec<f64> =
                    perturbation.into_data().convert::<f64>().try_into_vec().expect("f64 after conversion");
                let size: usize = shape[1..].iter().product();
                values.par_chunks_mut(size.max(1)).for_each(|image| self.project_values(image, epsilon));
                Tensor::from_data(TensorData::new(values, shape).convert::<f32>(), &device)
            }
        }
    }

    /// The norm of gradients that says what a perturbation of length one in this norm gains at most.
    ///
    /// # Panics
    ///
    /// Panics in L0, which is no norm in that sense.
    pub const fn dual(self) -> Self {
        match self {
            Self::Linf => Self::L1,
            Self::L2 => Self::L2,
            Self::L1 => Self::Linf,
            Self::L0 => panic!("L0 has no dual"),
        }
    }

    /// The norm of one image's perturbation.
    pub fn measure_values(self, change: &[f64]) -> f64 {
        match self {
            Self::Linf => change.iter().fold(0.0, |most, d| d.abs().max(most)),
            Self::L2 => change.iter().map(|d| d * d).sum::<f64>().sqrt(),
            Self::L1 => change.iter().map(|d| d.abs()).sum(),
            Self::L0 => change.iter().filter(|d| **d != 0.0).count() as f64,
        }
    }

    /// The norm of the largest change that keeps one image in \[0,1\].
    pub fn farthest(self, image: &[f32]) -> f64 {
        let most: Vec<f64> = image.iter().map(|&pixel| f64::from(pixel.max(1.0 - pixel))).collect();
        self.measure_values(&most)
    }

    /// The nearest point of the ball, in the Euclidean sense, for one image's perturbation.
    pub fn project_values(self, change: &mut [f64], epsilon: f64) {
        let size = self.measure_values(change);
        if size <= epsilon {
            return;
        }
        match self {
            Self::Linf => change.iter_mut().for_each(|d| *d = d.clamp(-epsilon, epsilon)),
            Self::L2 => change.iter_mut().for_each(|d| *d *= epsilon / size),
            // Duchi et al., "Efficient projections onto the l1-ball", ICML 2008, figure 1.
            Self::L1 => {
                let mut sizes: Vec<f64> = change.iter().map(|d| d.abs()).collect();
                sizes.sort_unstable_by(|a, b| b.total_cmp(a));
                let (mut sum, mut threshold) = (0.0, 0.0);
                for (i, size) in sizes.iter().enumerate() {
                    sum += size;
                    let candidate = (sum - epsilon) / (i + 1) as f64;
                    if *size < candidate {
                        break;
                    }
                    threshold = candidate;
                }
                change.iter_mut().for_each(|d| *d = d.signum() * (d.abs() - threshold).max(0.0));
            }
            // The largest changes stay, the earlier one of two that are equal.
            Self::L0 => {
                let mut order: Vec<usize> = (0..change.len()).collect();
                order.sort_by(|&a, &b| change[b].abs().total_cmp(&change[a].abs()));
                order[(epsilon.max(0.0) as usize).min(change.len())..].iter().for_each(|&i| change[i] = 0.0);
            }
        }
    }
}

impl std::fmt::Display for Norm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Linf => "Linf",
            Self::L2 => "L2",
            Self::L1 => "L1",
            Self::L0 => "L0",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use proptest::prelude::*;

    fn image(values: &[f32]) -> Tensor<4> {
        Tensor::<1>::from_floats(values, &Device::default()).reshape([1, 1, 1, values.len()])
    }

    fn dot(a: &Tensor<4>, b: &Tensor<4>) -> f32 {
        (a.clone() * b.clone()).sum().into_scalar()
    }

    proptest! {
        /// Hölder: no step of length one gains more than the dual norm of the gradient, and the sign and the
        /// direction gain all of it.
        #[test]
        fn unit_step_has_length_one_and_gains_what_the_norm_allows(
            values in prop::collection::vec(-1e3f32..1e3, 1..40)
        ) {
            prop_assume!(values.iter().any(|v| v.abs() > 1e-3));
            let gradient = image(&values);
            for norm in [Norm::Linf, Norm::L2, Norm::L1] {
                let step = norm.unit_step(gradient.clone());
                let length: f32 = norm.measure(step.clone()).into_scalar();
                let gain = dot(&gradient, &step);
                let most: f32 = norm.dual().measure(gradient.clone()).into_scalar();
                prop_assert!((length - 1.0).abs() < 1e-4, "{norm}: length {length}");
                prop_assert!(gain <= most * 1.0001, "{norm}: {gain} of {most}");
                prop_assert!(norm == Norm::L1 || gain >= most * 0.9999, "{norm}: {gain} of {most}");
            }
        }
    }

    #[test]
    fn projections_by_hand() {
        let projected = |norm: Norm, change: &[f64], epsilon| {
            let mut change = change.to_vec();
            norm.project_values(&mut change, epsilon);
            change
        };
        assert_eq!(projected(Norm::Linf, &[0.3, -0.1], 0.2), [0.2, -0.1]);
        let l2 = projected(Norm::L2, &[3.0, -4.0], 1.0);
        assert!((l2[0] - 0.6).abs() < 1e-15 && (l2[1] + 0.8).abs() < 1e-15);
        // Threshold 0.5: (3 + 1.5 - 3.5) / 2; the third entry vanishes.
        assert_eq!(projected(Norm::L1, &[3.0, -1.5, 0.25], 3.5), [2.5, -1.0, 0.0]);
        assert_eq!(projected(Norm::L1, &[3.0, 0.0], 0.0), [0.0, 0.0]);
        assert_eq!(projected(Norm::L0, &[0.1, -0.4, 0.0, 0.4], 1.0), [0.0, -0.4, 0.0, 0.0]);
    }

    proptest! {
        /// A point is the nearest of a convex set if no other one lies beyond the plane through it.
        #[test]
        fn projections_are_the_nearest_points(
            values in prop::collection::vec((-2f32..2.0, -1f64..1.0), 1..30),
            epsilon in 0.01f64..3.0,
        ) {
            let (wild, other): (Vec<f32>, Vec<f64>) = values.into_iter().unzip();
            for norm in [Norm::Linf, Norm::L2, Norm::L1] {
                let near: Vec<f64> = norm.project(image(&wild), epsilon)
                    .into_data().convert::<f64>().try_into_vec().unwrap();
                prop_assert!(norm.measure_values(&near) <= epsilon * 1.00001, "{norm}");
                let length = norm.measure_values(&other).max(1e-9);
                let other: Vec<f64> = other.iter().map(|o| o / length * epsilon).collect();
                let beyond: f64 = (0..near.len()).map(|i| (f64::from(wild[i]) - near[i]) * (other[i] - near[i])).sum();
                prop_assert!(beyond <= 1e-4, "{norm}: {beyond}");
            }
        }
    }

    #[test]
    fn no_step_without_a_gradient() {
        for norm in [Norm::Linf, Norm::L2, Norm::L1] {
            let step: Vec<f32> = norm.unit_step(image(&[0.0; 5])).into_data().try_into_vec().unwrap();
            assert_eq!(step, [0.0; 5], "{norm}");
        }
    }

    #[test]
    fn tiny_and_huge_gradients_keep_their_direction() {
        for scale in [1e-30f32, 1e30] {
            let step = Norm::L2.unit_step(image(&[3.0 * scale, -4.0 * scale]));
            let step: Vec<f32> = step.into_data().try_into_vec().unwrap();
            assert!((step[0] - 0.6).abs() < 1e-6 && (step[1] + 0.8).abs() < 1e-6, "{scale}: {step:?}");
        }
    }
}
