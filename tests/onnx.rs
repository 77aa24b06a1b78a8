//! ONNX files of networks; tests/golden/densenet_tiny_onnx.py ran the golden one in onnxruntime.

mod golden;

use std::fs;
use std::path::Path;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use histoguard::classifier::Classifier;
use histoguard::model::Normalized;
use histoguard::pixels::Normalization;
use histoguard::weights::{self, OnnxImages, WeightsError};
use onnx_ir::{Message, ModelProto};

#[test]
fn an_exported_network_is_the_file_that_onnxruntime_ran() {
    let folder = tempfile::tempdir().unwrap();
    let expected = fs::read(golden::path("densenet_tiny.onnx")).unwrap();
    let torchvision = golden::tensors("densenet_tiny_onnx.safetensors");
    // A network in training is exported as it is in evaluation mode, and earlier exports leave no trace.
    for device in [Device::default(), Device::default().autodiff()] {
        let net = weights::load(golden::config().init(&device), golden::path("densenet_tiny.safetensors"));
        let model = Normalized::new(net.unwrap(), Normalization::IMAGENET);
        let logits = model.valid().logits(golden::tensor(&torchvision["images"], &device.clone().inner()));
        golden::assert_close("logits", logits, &torchvision["logits"].1, 1e-4);
        let file = folder.path().join("new/net.onnx");
        weights::save_onnx(&model, OnnxImages::AnySize { channels: 3 }, &file).unwrap();
        let found = fs::read(file).unwrap();
        assert!(
            found == expected,
            "{} bytes, expected the {} of the golden file",
            found.len(),
            expected.len()
        );
    }
}

/// A network for one size of images, or with an operation that burn-onnx does not know.
#[derive(Module, Debug)]
struct Flat {
    classifier: Linear,
    #[module(skip)]
    mean: bool,
}

impl Flat {
    fn new(mean: bool) -> Self {
        let pixels = if mean { 3 } else { 3 * 4 * 5 };
        Self { classifier: LinearConfig::new(pixels, 2).init(&Device::default()), mean }
    }
}

impl Classifier for Flat {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        let images = if self.mean { images.mean_dims(&[2, 3]) } else { images };
        self.classifier.forward(images.flatten(1, 3))
    }

    fn num_classes(&self) -> usize {
        2
    }
}

fn shapes(file: &Path) -> Vec<(String, String)> {
    let model = ModelProto::parse_from_bytes(&fs::read(file).unwrap()).unwrap();
    let shape = |value: &onnx_ir::ValueInfoProto| {
        let shape = value.type_.tensor_type().shape.get_or_default();
        let dims = shape.dim.iter().map(|dim| match dim.has_dim_param() {
            true => dim.dim_param().to_string(),
            false => dim.dim_value().to_string(),
        });
        (value.name.clone(), dims.collect::<Vec<_>>().join(" "))
    };
    model.graph.input.iter().chain(&model.graph.output).map(shape).collect()
}

#[test]
fn a_network_for_one_size_is_exported_for_it_and_any_batch() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("net.onnx");
    let images = OnnxImages::Size { channels: 3, height: 4, width: 5 };
    weights::save_onnx(&Flat::new(false), images, &file).unwrap();
    let shape = |name: &str, dims: &str| (name.to_string(), dims.to_string());
    assert_eq!(shapes(&file), [shape("images", "batch 3 4 5"), shape("logits", "batch 2")]);
    assert_eq!(
        shapes(&golden::path("densenet_tiny.onnx")),
        [shape("images", "batch 3 height width"), shape("logits", "batch 3")]
    );
}

#[test]
fn what_cannot_be_exported_is_an_error_that_names_the_file_and_leaves_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("net.onnx");
    let error = weights::save_onnx(&Flat::new(true), OnnxImages::AnySize { channels: 3 }, &file).unwrap_err();
    assert!(matches!(error, WeightsError::Export { .. }), "{error}");
    assert!(error.to_string().contains("net.onnx") && error.to_string().contains("MeanDim"), "{error}");
    assert!(!file.exists());

    fs::write(&file, "a file").unwrap();
    let below = file.join("net.onnx");
    let images = OnnxImages::Size { channels: 3, height: 4, width: 5 };
    let error = weights::save_onnx(&Flat::new(false), images, &below).unwrap_err();
    assert!(matches!(error, WeightsError::Io { .. }), "{error}");
}
