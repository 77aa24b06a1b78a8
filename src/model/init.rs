//! torchvision's initial weights, drawn from a seed of their own.

use burn::module::{Param, ParamId};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Normal, Uniform};

/// Makes layers whose weights depend on the seed and on the order of the calls alone.
///
/// Weights are drawn when they are first read, so a network that is about to be loaded costs nothing.
pub(crate) struct Init<'a> {
    device: &'a Device,
    seeds: Xoshiro256PlusPlus,
}

impl<'a> Init<'a> {
    pub(crate) fn new(device: &'a Device, seed: u64) -> Self {
        Self { device, seeds: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    pub(crate) fn device(&self) -> &Device {
        self.device
    }

    /// A square convolution without bias: He et al. 2015, normal, fan in (`nn.init.kaiming_normal_`).
    pub(crate) fn conv(
        &mut self,
        channels: [usize; 2],
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Conv2d {
        let mut conv = Conv2dConfig::new(channels, [kernel, kernel])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
            .with_bias(false)
            .init(self.device);
        let fan_in = (channels[0] * kernel * kernel) as f32;
        let normal = Normal::new(0.0, (2.0 / fan_in).sqrt()).expect("a finite deviation");
        conv.weight = self.param([channels[1], channels[0], kernel, kernel], normal);
        conv
    }

    /// A linear layer: weights uniform in +-1/sqrt(inputs), as `nn.Linear` does, and biases of zero.
    pub(crate) fn linear(&mut self, inputs: usize, outputs: usize) -> Linear {
        let mut linear = LinearConfig::new(inputs, outputs).init(self.device);
        let bound = 1.0 / (inputs as f32).sqrt();
        linear.weight =
            self.param([inputs, outputs], Uniform::new_inclusive(-bound, bound).expect("ordered bounds"));
        linear.bias = Some(Param::uninitialized(
            ParamId::new(),
            move |device, require_grad| Tensor::zeros([outputs], device).set_require_grad(require_grad),
            self.device.clone(),
            true,
            [outputs].into(),
        ));
        linear
    }

    fn param<const D: usize>(
        &mut self,
        shape: [usize; D],
        distribution: impl Distribution<f32> + Send + Sync + 'static,
    ) -> Param<Tensor<D>> {
        let seed = self.seeds.random();
        Param::uninitialized(
            ParamId::new(),
            move |device, require_grad| {
                let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
                let values = distribution.sample_iter(rng).take(shape.iter().product()).collect();
                Tensor::from_data(TensorData::new::<f32, _>(values, shape), device)
                    .set_require_grad(require_grad)
            },
            self.device.clone(),
            true,
            shape.into(),
        )
    }
}
