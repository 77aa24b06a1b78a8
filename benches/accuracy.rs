//! Input gradients of DenseNet-121 for `accuracy.py`, which compares them with PyTorch in float64 and float32.
//!
//! `cargo bench --bench accuracy -- net.safetensors images.safetensors gradients.safetensors`: the second file has
//! `images` `[batch, 3, height, width]` and `labels` `[batch]` (int64); the third receives `gradient`, that of the summed
//! cross-entropy, and `logits`.

use std::error::Error;
use std::path::PathBuf;

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Int, TensorData};
use clap::{CommandFactory, Parser};
use histoguard::model::Precision;
use histoguard::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize_to_file};

#[derive(Parser)]
struct Options {
    /// Weights with torchvision's names.
    net: Option<PathBuf>,
    images: Option<PathBuf>,
    gradients: Option<PathBuf>,
    /// Gradients in bfloat16.
    #[arg(long)]
    bf16: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let (Some(net), Some(images), Some(gradients)) = (options.net, options.images, options.gradients) else {
        return Ok(Options::command().print_help()?);
    };
    let device = Device::default();
    let precision = if options.bf16 { Precision::Bfloat16 } else { Precision::Float32 };
    let net = weights::load(DenseNetConfig::densenet121(2).init(&device), net)?;
    let victim = Frozen::new(net.with_gradient_precision(precision)?);
    let bytes = std::fs::read(images)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let data = |name: &str, dtype| -> Result<TensorData, Box<dyn Error>> {
        let view = file.tensor(name)?;
        Ok(TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype))
    };
    let images = Tensor::<4>::from_data(data("images", DType::F32)?, &device);
    let labels = Tensor::<1, Int>::from_data(data("labels", DType::I64)?, &device).reshape([-1, 1]);
    let result = victim
        .input_gradient(images, |logits| -log_softmax(logits, 1).gather(1, labels.clone()).reshape([-1]));
    let shapes = [result.gradient.dims().to_vec(), result.logits.dims().to_vec()];
    let values = [result.gradient.into_data(), result.logits.into_data()];
    let mut views = Vec::new();
    for (name, (shape, values)) in ["gradient", "logits"].into_iter().zip(shapes.into_iter().zip(&values)) {
        views.push((name, TensorView::new(Dtype::F32, shape, values.as_bytes())?));
    }
    Ok(serialize_to_file(views, None, &gradients)?)
}
