//! Several preprocessings, one after the other.

use burn::tensor::Tensor;
use serde::Serialize;

use super::{Backward, ImageDraws, Preprocess};
use crate::parameter::Parameter;

/// Several preprocessings, one after the other; gradients go back through what each declares.
///
/// ```
/// use histoguard::defense::{BitDepth, Chain, Median, Preprocess};
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| x.mean_dims(&[2, 3]).reshape([-1, 2]));
/// let chain = Chain::new().with(Median::new()).with(BitDepth::new(3));
/// assert_eq!(chain.name(), "Median, then Bit depth");
/// let defended = chain.before(victim)?;
/// # Ok::<(), histoguard::defense::DefenseError>(())
/// ```
#[derive(Debug, Default, Serialize)]
pub struct Chain {
    links: Vec<Box<dyn Preprocess>>,
}

impl Chain {
    /// Without any: the images as they are.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, and this one after it.
    pub fn with(mut self, next: impl Preprocess + 'static) -> Self {
        self.links.push(Box::new(next));
        self
    }
}

impl FromIterator<Box<dyn Preprocess>> for Chain {
    fn from_iter<I: IntoIterator<Item = Box<dyn Preprocess>>>(links: I) -> Self {
        Self { links: links.into_iter().collect() }
    }
}

impl Preprocess for Chain {
    fn name(&self) -> String {
        let names: Vec<String> = self.links.iter().map(|link| link.name()).collect();
        if names.is_empty() { "None".into() } else { names.join(", then ") }
    }

    fn parameters(&self) -> Vec<Parameter> {
        self.links.iter().flat_map(|link| link.parameters()).collect()
    }

    fn is_random(&self) -> bool {
        self.links.iter().any(|link| link.is_random())
    }

    fn apply(&self, images: Tensor<4>, draws: &ImageDraws) -> Tensor<4> {
        let links = self.links.iter().zip(0..);
        links.fold(images, |images, (link, place)| link.forward(images, &draws.part(place)))
    }

    /// Exact: [`apply`](Preprocess::apply) goes back through what the links declare.
    fn backward(&self) -> Backward {
        Backward::Exact
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defense::Custom;
    use crate::rows::values;
    use burn::tensor::Device;

    #[test]
    fn links_are_applied_in_order_and_differentiated_as_each_declares() {
        let chain = Chain::new()
            .with(Custom::new("Rounding", Tensor::round, Backward::Identity))
            .with(Custom::new("Tripling", |x| x * 3.0, Backward::Exact))
            .with(Custom::new("Sign", Tensor::sign, Backward::stand_in(|x, _| x.square())));
        let images = Tensor::<1>::from_floats([0.2, 0.7], &Device::default()).reshape([1, 1, 1, 2]);
        let images = images.autodiff().require_grad();
        let out = chain.forward(images.clone(), &ImageDraws::default());
        let gradient = images.grad(&out.clone().sum().backward()).unwrap();
        assert_eq!(values(out.inner()), [0.0, 1.0]);
        // 2 * (3 * round(x)) * 3 * 1
        assert_eq!(values(gradient), [0.0, 18.0]);
    }

    #[test]
    fn random_links_draw_apart() {
        use crate::random::{Purpose, RngExt};
        let noise = || {
            Custom::random(
                "Noise",
                |x: Tensor<4>, draws: &ImageDraws| {
                    let shift: f32 = draws.generator(Purpose::named("a test"), 0, 0).random();
                    x + shift
                },
                Backward::Exact,
            )
        };
        let images = Tensor::<4>::zeros([1, 1, 1, 1], &Device::default());
        let draws = ImageDraws::first(&images);
        let once = values(noise().forward(images.clone(), &draws))[0];
        let chain = Chain::new().with(noise()).with(noise());
        let twice = values(chain.forward(images, &draws))[0];
        assert!(chain.is_random() && (twice - 2.0 * once).abs() > 1e-4, "{twice} {once}");
    }
}
