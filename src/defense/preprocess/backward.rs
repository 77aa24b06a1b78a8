//! The backward pass that a preprocessing declares.

use std::fmt;
use std::sync::Arc;

use burn::tensor::Tensor;

use super::ImageDraws;

/// A function of images `[batch, channels, height, width]` and their random numbers.
pub type ImageFunction = dyn Fn(Tensor<4>, &ImageDraws) -> Tensor<4> + Send + Sync;

/// How gradients go through a preprocessing whose own gradient is zero, undefined or misleading: backward
/// pass differentiable approximation (BPDA), Athalye, Carlini & Wagner, "Obfuscated Gradients Give a False
/// Sense of Security", ICML 2018, section 4.1. The values are always those of the preprocessing itself.
#[derive(Clone)]
#[non_exhaustive]
pub enum Backward {
    /// The gradient of the preprocessing, which is made of burn's differentiable operations.
    Exact,
    /// That of the identity; the images must keep their shape.
    Identity,
    /// That of a smooth function of the same output shape, with the draws of the pass;
    /// [`stand_in`](Self::stand_in) makes one.
    StandIn(Arc<ImageFunction>),
}

impl Backward {
    /// The gradient of this function, made of burn's differentiable operations.
    pub fn stand_in(smooth: impl Fn(Tensor<4>, &ImageDraws) -> Tensor<4> + Send + Sync + 'static) -> Self {
        Self::StandIn(Arc::new(smooth))
    }

    /// What `apply` makes of the images, with this backward pass. An image with a value that is not finite
    /// becomes NaN as a whole: rounding and sorting would hide it.
    pub(super) fn pass(
        &self,
        images: Tensor<4>,
        draws: &ImageDraws,
        apply: impl FnOnce(Tensor<4>) -> Tensor<4>,
    ) -> Tensor<4> {
        let plain = images.clone().inner();
        let value = |images: Tensor<4>| with_nan(apply(images), &plain);
        match self {
            _ if !images.is_tracked() => value(plain.clone()),
            Self::Exact => value(images),
            Self::Identity => straight_through(images, value(plain.clone())),
            Self::StandIn(smooth) => straight_through(smooth(images, draws), value(plain.clone())),
        }
    }
}

impl fmt::Debug for Backward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "Exact",
            Self::Identity => "Identity",
            Self::StandIn(_) => "StandIn",
        })
    }
}

/// `value` with the gradient of `carrier`: the carrier's own value is subtracted from itself.
fn straight_through(carrier: Tensor<4>, value: Tensor<4>) -> Tensor<4> {
    assert_eq!(
        carrier.dims(),
        value.dims(),
        "the declared backward has the shape of the preprocessed images"
    );
    let nothing = carrier.clone() - carrier.clone().detach();
    // Infinity minus infinity is NaN.
    nothing.mask_fill(carrier.inner().is_finite().bool_not(), 0.0) + value
}

/// NaN in place of the images whose original has a value that is not finite.
fn with_nan(images: Tensor<4>, originals: &Tensor<4>) -> Tensor<4> {
    let spoiled = originals.clone().is_finite().bool_not().any_dim(3).any_dim(2).any_dim(1);
    let dims = images.dims();
    images.mask_fill(spoiled.expand(dims), f32::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::values;
    use burn::tensor::Device;

    fn batch(numbers: [f32; 4]) -> Tensor<4> {
        Tensor::<1>::from_floats(numbers, &Device::default()).reshape([2, 1, 1, 2])
    }

    /// Values and the gradient of their sum of squares.
    fn pass(backward: &Backward, images: Tensor<4>, apply: fn(Tensor<4>) -> Tensor<4>) -> [Vec<f32>; 2] {
        let images = images.autodiff().require_grad();
        let out = backward.pass(images.clone(), &ImageDraws::default(), apply);
        let gradient = images.grad(&out.clone().square().sum().backward()).expect("a gradient");
        [values(out.inner()), values(gradient)]
    }

    #[test]
    fn values_are_the_real_ones_and_gradients_the_declared_ones() {
        let images = batch([0.2, 0.7, 0.45, 1.0]);
        let plain = Backward::Identity.pass(images.clone(), &ImageDraws::default(), Tensor::round);
        assert_eq!(values(plain), [0.0, 1.0, 0.0, 1.0]);
        let cubed = Backward::stand_in(|x, _| x.powi_scalar(3));
        for (backward, slopes) in
            [(Backward::Identity, [0.0, 2.0, 0.0, 2.0]), (cubed, [0.0, 2.0 * 3.0 * 0.49, 0.0, 2.0 * 3.0])]
        {
            let [out, gradient] = pass(&backward, images.clone(), Tensor::round);
            assert_eq!(out, [0.0, 1.0, 0.0, 1.0]);
            gradient.iter().zip(slopes).for_each(|(a, b)| assert!((a - b).abs() < 1e-6, "{a} {b}"));
        }
        let [_, exact] = pass(&Backward::Exact, images, |x| x * 3.0);
        exact.iter().zip([3.6, 12.6, 8.1, 18.0]).for_each(|(a, b)| assert!((a - b).abs() < 1e-5));
    }

    #[test]
    fn a_stand_in_that_overflows_does_not_change_the_value() {
        for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let smooth = Backward::stand_in(move |x, _| x * bad);
            let [out, _] = pass(&smooth, batch([0.2, 0.7, 0.45, 1.0]), Tensor::round);
            assert_eq!(out, [0.0, 1.0, 0.0, 1.0]);
        }
    }

    #[test]
    fn what_is_not_finite_stays_visible_in_its_own_image() {
        for bad in [f32::INFINITY, f32::NAN] {
            let images = batch([0.2, bad, 0.4, 0.6]);
            // Hides what it is given.
            let hide = |x: Tensor<4>| x.zeros_like();
            let plain = values(Backward::Identity.pass(images.clone(), &ImageDraws::default(), hide));
            let [tracked, _] = pass(&Backward::Identity, images, hide);
            for out in [plain, tracked] {
                assert!(out[..2].iter().all(|v| v.is_nan()) && out[2..] == [0.0, 0.0], "{out:?}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "shape")]
    fn a_backward_of_another_shape_is_refused() {
        pass(&Backward::Identity, batch([0.0; 4]), |x| x.narrow(3, 0, 1));
    }
}
