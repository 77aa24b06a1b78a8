//! The norms in which perturbations are bounded and measured.

use burn::tensor::Tensor;
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
        };
        norms.reshape([batch])
    }

    /// The gradient as a step of length one in this norm; zero where the gradient is zero.
    ///
    /// L-infinity: its sign. L2 and L1: divided by its norm, as foolbox's `L2FastGradientAttack` and
    /// `L1FastGradientAttack` do. For L1 the steepest step would be one pixel, which \[0,1\] cuts off.
    ///
    /// # Shapes
    ///
    /// - `gradient`, output: `[batch, channels, height, width]`
    pub fn unit_step(self, gradient: Tensor<4>) -> Tensor<4> {
        let [batch, ..] = gradient.dims();
        if self == Self::Linf {
            return gradient.sign();
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
}

impl std::fmt::Display for Norm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Linf => "Linf",
            Self::L2 => "L2",
            Self::L1 => "L1",
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
            for (norm, dual) in [(Norm::Linf, Norm::L1), (Norm::L2, Norm::L2), (Norm::L1, Norm::Linf)] {
                let step = norm.unit_step(gradient.clone());
                let length: f32 = norm.measure(step.clone()).into_scalar();
                let gain = dot(&gradient, &step);
                let most: f32 = dual.measure(gradient.clone()).into_scalar();
                prop_assert!((length - 1.0).abs() < 1e-4, "{norm}: length {length}");
                prop_assert!(gain <= most * 1.0001, "{norm}: {gain} of {most}");
                prop_assert!(norm == Norm::L1 || gain >= most * 0.9999, "{norm}: {gain} of {most}");
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
