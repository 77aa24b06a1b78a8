//! The change of variables of Carlini & Wagner that keeps pixels within \[0,1\]: `x = (tanh(w) + 1) / 2`.

use burn::tensor::Tensor;

/// `w` of these images; values at 0 and 1 are moved inside by 5e-7, as foolbox does, where `w` is finite.
pub fn from_images(images: Tensor<4>) -> Tensor<4> {
    ((images * 2.0 - 1.0) * 0.999_999).atanh()
}

/// The images of `w`.
pub fn to_images(w: Tensor<4>) -> Tensor<4> {
    (w.tanh() + 1.0) * 0.5
}

/// The gradient with respect to `w` of something whose gradient with respect to the images is known.
pub fn pull_back(gradient: Tensor<4>, images: &Tensor<4>) -> Tensor<4> {
    // The derivative (1 - tanh^2) / 2 in terms of the image.
    gradient * images.clone() * (images.clone().neg() + 1.0) * 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::values;
    use burn::tensor::Device;

    #[test]
    fn there_and_back_and_its_slope() {
        let pixels = [0.0f32, 0.1, 0.5, 0.8, 1.0];
        let images = Tensor::<1>::from_floats(pixels, &Device::default()).reshape([1, 1, 1, 5]);
        let w = from_images(images.clone());
        let back = values(to_images(w.clone()));
        assert!(back.iter().zip(pixels).all(|(a, b)| (a - b).abs() < 1e-6), "{back:?}");
        // Central differences.
        let slope = values((to_images(w.clone() + 0.01) - to_images(w - 0.01)) / 0.02);
        let found = values(pull_back(images.ones_like(), &images));
        assert!(found.iter().zip(&slope).all(|(a, b)| (a - b).abs() < 1e-4), "{found:?} {slope:?}");
    }
}
