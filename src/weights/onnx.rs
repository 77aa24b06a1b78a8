//! Writing a network as an ONNX file.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_onnx::export::{AxisSpec, InputSpec, OnnxExporter};
use onnx_ir::{Message, ModelProto};

use super::WeightsError;
use crate::classifier::Classifier;
use crate::file::{IoError, write_whole};

/// The images that a network in an ONNX file takes; the batch size is free in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnnxImages {
    /// Any height and width that the network takes: for networks that pool over the whole image, as a
    /// DenseNet does.
    AnySize {
        /// Channels of the images.
        channels: usize,
    },
    /// One height and width.
    Size {
        /// Channels of the images.
        channels: usize,
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
}

/// Writes a network as an ONNX file (operator set 18, weights inside) for onnxruntime and its like.
///
/// The file has one input `images` and one output `logits`, shaped as in
/// [`Classifier::logits`]: with a [`Normalized`](crate::model::Normalized) the normalisation is inside, so that
/// the file takes pixels in \[0,1\]. The network is in evaluation mode there. The file is complete or absent
/// at any moment.
///
/// burn-onnx records the operations of two passes and translates them. It knows the common ones of
/// convolutional networks and refuses the others; for one, the mean over the image has to be burn's
/// `adaptive_avg_pool2d`, not `mean_dims`.
///
/// # Errors
///
/// [`WeightsError::Export`] if the network has an operation that burn-onnx does not translate, or its
/// operations depend on the size of the images in [`OnnxImages::AnySize`]; [`WeightsError::Io`] if the
/// folder cannot be written to.
///
/// # Panics
///
/// Panics if the network does on images of the given channels and size; [`OnnxImages::AnySize`] tries 224x256
/// and 288x352.
///
/// ```
/// use histoguard::prelude::*;
/// use histoguard::weights::OnnxImages;
///
/// let config = DenseNetConfig::new(2).with_block_config(vec![1]).with_num_init_features(4);
/// let model = Normalized::new(config.init(&Device::default()), Normalization::IMAGENET);
/// let folder = tempfile::tempdir()?;
/// weights::save_onnx(&model, OnnxImages::AnySize { channels: 3 }, folder.path().join("net.onnx"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn save_onnx<C: Classifier + Module>(
    model: &C,
    images: OnnxImages,
    path: impl AsRef<Path>,
) -> Result<(), WeightsError> {
    let path = path.as_ref();
    let bytes = to_onnx(model, images).map_err(|found| WeightsError::Export { path: path.into(), found })?;
    Ok(write_whole(path, &bytes).map_err(IoError::at(path, "a folder to write to"))?)
}

fn to_onnx<C: Classifier + Module>(model: &C, images: OnnxImages) -> Result<Vec<u8>, String> {
    // Only `valid` applies the last update of the running statistics.
    let model = model.valid();
    let device = model.devices().first().map_or_else(Device::default, |device| device.clone().inner());
    let free = AxisSpec::dynamic;
    // Two passes of other sizes show which lengths follow from those of the images.
    let (shapes, axes) = match images {
        OnnxImages::AnySize { channels } => (
            [[2, channels, 224, 256], [3, channels, 288, 352]],
            [free("batch"), AxisSpec::Static, free("height"), free("width")],
        ),
        OnnxImages::Size { channels, height, width } => (
            [[2, channels, height, width], [3, channels, height, width]],
            [free("batch"), AxisSpec::Static, AxisSpec::Static, AxisSpec::Static],
        ),
    };
    let [first, second] = shapes.map(|shape| Tensor::<4>::zeros(shape, &device));
    let exported = OnnxExporter::new()
        .export_dynamic(&model, first, second, &[InputSpec::new(axes)], |model, images| model.logits(images))
        .map_err(|error| error.to_string())?;
    let mut file = ModelProto::parse_from_bytes(exported.as_bytes()).map_err(|error| error.to_string())?;
    name_values(&mut file);
    file.producer_name = env!("CARGO_PKG_NAME").into();
    file.producer_version = env!("CARGO_PKG_VERSION").into();
    file.write_to_bytes().map_err(|error| error.to_string())
}

/// Names the input `images`, the output `logits` and what lies between by its place; burn-onnx numbers
/// them from a counter of the whole program.
fn name_values(file: &mut ModelProto) {
    let graph = file.graph.mut_or_insert_default();
    let numbered = |name: &str| name.starts_with("tensor_");
    let mut names = HashMap::new();
    for (values, name) in [(&graph.input, "images"), (&graph.output, "logits")] {
        names.extend(values.iter().map(|value| (value.name.clone(), name.to_string())));
    }
    for name in graph.node.iter().flat_map(|node| node.input.iter().chain(&node.output)) {
        if numbered(name) && !names.contains_key(name) {
            names.insert(name.clone(), format!("value_{}", names.len()));
        }
    }
    let rename = |name: &mut String| {
        if let Some(new) = names.get(name) {
            name.clone_from(new);
        }
    };
    graph.input.iter_mut().chain(&mut graph.output).for_each(|value| rename(&mut value.name));
    graph.initializer.iter_mut().for_each(|tensor| rename(&mut tensor.name));
    for node in &mut graph.node {
        node.input.iter_mut().chain(&mut node.output).for_each(rename);
    }
    let used: HashSet<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
    graph.initializer.retain(|tensor| used.contains(&tensor.name));
    graph.initializer.sort_by(|a, b| a.name.cmp(&b.name));
}
