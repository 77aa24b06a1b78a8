//! What a generator of images is given: features of a network, and noise.

use burn::tensor::{Tensor, TensorData};

use crate::attack::Task;
use crate::classifier::FrozenFeatures;
use crate::parameter::{Parameter, ParameterError};
use crate::pixels::normal;
use crate::random::Purpose;
use crate::rows::values;

const NOISE: Purpose = Purpose::named("noise beside the features that an image is generated from");

/// What the network sees in a gray image, which tells one network from another; an error if it takes no images
/// of this shape.
pub(super) fn probe(
    features: &FrozenFeatures,
    [channels, height, width]: [usize; 3],
) -> Result<Vec<f32>, ParameterError> {
    let refused = features.refuses(channels, height, width);
    let found = format!("{channels} channels and {height}x{width} pixels");
    Parameter::new(
        "images of the features' network",
        refused.clone().unwrap_or_default(),
        refused.is_none(),
        found,
    )
    .check()?;
    let gray = Tensor::full([1, channels, height, width], 0.5, features.device());
    Ok(values(features.features(gray)))
}

/// So many random numbers for each image of the task, from its index, the seed and these parts.
pub(super) fn noise(task: &Task<'_>, seed: u64, parts: &[u64], count: usize) -> Tensor<2> {
    let draws = task.draws(NOISE, seed, parts);
    let mut numbers = vec![0.0; task.len() * count];
    for (row, numbers) in numbers.chunks_mut(count.max(1)).enumerate() {
        normal(numbers, &mut draws.generator(row));
    }
    Tensor::from_data(TensorData::new(numbers, [task.len(), count]), &task.images().device())
}
