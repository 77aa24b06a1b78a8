//! Which DenseNet a checkpoint is of.

use std::collections::{BTreeMap, BTreeSet};

use super::checkpoint::Checkpoint;
use super::checkpointed::Checkpointed;
use super::content::{self, Content};
use super::error::{Prefixes, WeightsError};
use super::names;
use crate::model::{DenseNet, DenseNetConfig};

const EXPECTED: &str = "the tensors of a DenseNet";
/// The tensor that every DenseNet has once.
const FIRST: &str = "features.conv0.weight";
/// The most weights of a network; a DenseNet-161 has 29 million. A tensor of a pickle may claim any shape.
const MAX_WEIGHTS: u64 = 1 << 27;

/// The architecture of the DenseNet in a checkpoint, read off the shapes of its tensors: blocks, growth, channels and
/// classes, for [`load`](super::load()) to fill. Its dropout is not in a file and is zero.
///
/// Takes what [`load`](super::load()) takes. Of several networks in one file, the
/// [prefix](Checkpoint::prefix) says which is meant, unless all are of one architecture.
///
/// # Errors
///
/// [`WeightsError::Io`] and [`WeightsError::Format`] if the file cannot be read or holds no DenseNet with a
/// classifier, or one of more than 2^27 weights; [`WeightsError::Ambiguous`] if it holds DenseNets of different architectures,
/// [`WeightsError::NoSuchPrefix`] if it has none where the [`Checkpoint`] says.
///
/// ```
/// use histoguard::prelude::*;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("net.safetensors");
/// # let net = DenseNetConfig::new(3).with_block_config(vec![2, 1]).with_num_init_features(4);
/// # weights::save_safetensors(&net.init_seeded(&Device::default(), 1), &path)?;
/// let config = weights::densenet_config(&path)?;
/// assert_eq!((config.block_config.as_slice(), config.num_classes), ([2, 1].as_slice(), 3));
/// let net = weights::load(config.init(&Device::default()), &path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn densenet_config<'a>(from: impl Into<Checkpoint<'a>>) -> Result<DenseNetConfig, WeightsError> {
    let from = from.into();
    let content = content::read(&from.source, DenseNet::tensor_name)?;
    let path = || from.source.path().to_path_buf();
    let shapes = Shapes::new(&content);
    let found = shapes.prefixes();
    let meant: Vec<&str> = match &from.prefix {
        None => found.clone(),
        Some(prefix) => found.iter().copied().filter(|other| other.starts_with(prefix.as_str())).collect(),
    };
    if meant.is_empty() {
        return Err(match from.prefix {
            Some(expected) if !found.is_empty() => {
                let found = Prefixes(found.into_iter().map(str::to_string).collect());
                WeightsError::NoSuchPrefix { path: path(), expected, found }
            }
            _ => WeightsError::Format { path: path(), expected: EXPECTED, found: format!("no {FIRST}") },
        });
    }
    let damaged = |found| WeightsError::Format { path: path(), expected: EXPECTED, found };
    let read = |prefix: &&str| shapes.config(prefix, content.linear_transposed);
    let configs = meant.iter().map(read).collect::<Result<Vec<_>, _>>().map_err(damaged)?;
    let is_same = |other: &DenseNetConfig| shape_of(other) == shape_of(&configs[0]);
    if !configs.iter().all(is_same) {
        let prefixes = Prefixes(meant.into_iter().map(str::to_string).collect());
        return Err(WeightsError::Ambiguous { path: path(), prefixes });
    }
    Ok(configs.into_iter().next().expect("one prefix at least"))
}

fn shape_of(config: &DenseNetConfig) -> (&[usize], [usize; 5]) {
    let DenseNetConfig { num_classes, growth_rate, num_init_features, bn_size, in_channels, .. } = *config;
    (&config.block_config, [num_classes, growth_rate, num_init_features, bn_size, in_channels])
}

/// The weights of the convolutions and of the classifier, or the largest number.
fn weights(config: &DenseNetConfig) -> u64 {
    let product =
        |sides: &[usize]| sides.iter().fold(1u64, |product, side| product.saturating_mul(*side as u64));
    let (growth, middle) = (config.growth_rate, config.growth_rate.saturating_mul(config.bn_size));
    let mut channels = config.num_init_features;
    let mut total = product(&[channels, config.in_channels, 49]);
    for (block, layers) in config.block_config.iter().enumerate() {
        for _ in 0..*layers {
            let layer = product(&[middle, channels]).saturating_add(product(&[growth, middle, 9]));
            total = total.saturating_add(layer);
            channels = channels.saturating_add(growth);
        }
        if block + 1 < config.block_config.len() {
            total = total.saturating_add(product(&[channels / 2, channels]));
            channels /= 2;
        }
    }
    total.saturating_add(product(&[config.num_classes, channels]))
}

/// The shapes of a file's tensors under torchvision's names of today.
struct Shapes(BTreeMap<String, Vec<usize>>);

impl Shapes {
    fn new(content: &Content) -> Self {
        let shapes = content.tensors.iter();
        Self(shapes.map(|(name, tensor)| (DenseNet::present_name(name), tensor.shape.clone())).collect())
    }

    /// What is before the names of every DenseNet.
    fn prefixes(&self) -> Vec<&str> {
        let before = |name: &'_ String| name.ends_with(FIRST).then(|| name.len() - FIRST.len());
        let prefixes = self.0.keys().filter_map(|name| before(name).map(|length| &name[..length]));
        prefixes.filter(|prefix| prefix.is_empty() || prefix.ends_with('.')).collect()
    }

    fn config(&self, prefix: &str, linear_transposed: bool) -> Result<DenseNetConfig, String> {
        let shape = |name: &str, sides: usize| {
            let name = format!("{prefix}{name}");
            let found = self.0.get(&name).ok_or_else(|| format!("no {name}"))?;
            let fits = found.len() == sides && !found.contains(&0);
            fits.then_some(found.as_slice()).ok_or_else(|| format!("{name} of the shape {found:?}"))
        };
        let [first, layer] = [shape(FIRST, 4)?, shape("features.denseblock1.denselayer1.conv1.weight", 4)?];
        let growth = shape("features.denseblock1.denselayer1.conv2.weight", 4)?[0];
        let head = self.head(prefix).ok_or_else(|| format!("no {prefix}classifier.weight"))?;
        let classes = head[usize::from(linear_transposed)];
        let config = DenseNetConfig::new(classes)
            .with_growth_rate(growth)
            .with_block_config(self.blocks(prefix)?)
            .with_num_init_features(first[0])
            .with_bn_size((layer[0] / growth).max(1))
            .with_in_channels(first[1]);
        match weights(&config) {
            too_many if too_many > MAX_WEIGHTS => Err(format!("{too_many} weights, more than {MAX_WEIGHTS}")),
            _ => Ok(config),
        }
    }

    /// The number of layers of each block, which are numbered from 1 without a gap.
    fn blocks(&self, prefix: &str) -> Result<Vec<usize>, String> {
        let mut layers: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let start = format!("{prefix}features.denseblock");
        for name in self.0.range(start.clone()..).map(|(name, _)| name).take_while(|n| n.starts_with(&start))
        {
            let mut parts = name[start.len()..].split('.');
            let number = |part: Option<&str>, before: &str| {
                part.and_then(|part| part.strip_prefix(before)?.parse::<usize>().ok())
            };
            if let (Some(block), Some(layer)) = (number(parts.next(), ""), number(parts.next(), "denselayer"))
            {
                layers.entry(block).or_default().insert(layer);
            }
        }
        let is_counted = |numbers: &mut dyn Iterator<Item = usize>| {
            numbers.enumerate().all(|(place, number)| number == place + 1)
        };
        let whole = is_counted(&mut layers.keys().copied())
            && layers.values().all(|layers| is_counted(&mut layers.iter().copied()));
        let counts: Vec<usize> = layers.values().map(BTreeSet::len).collect();
        whole.then_some(counts).ok_or_else(|| format!("gaps among the layers {start}*"))
    }

    /// The shape of the classifier's matrix, which may lie in a container, or around the features.
    fn head(&self, prefix: &str) -> Option<&[usize]> {
        let ends = prefix.match_indices('.').map(|(place, _)| place + 1).rev();
        ends.chain([0]).find_map(|end| {
            let start = format!("{}classifier.", &prefix[..end]);
            let below = self.0.range(start.clone()..).take_while(|(name, _)| name.starts_with(&start));
            let is_head = |name: &str| {
                let name = &name[end..];
                name == "classifier.weight"
                    || names::without_sequential(name).iter().any(|plain| plain == "classifier.weight")
            };
            let mut heads = below.filter(|(name, shape)| is_head(name) && shape.len() == 2);
            heads.next().map(|(_, shape)| shape.as_slice()).filter(|shape| !shape.contains(&0))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_networks_have_their_number_of_weights() {
        // torchvision's parameters without those of batch norms and the classifier's bias.
        for (config, expected) in
            [(DenseNetConfig::densenet121(1000), 7_894_208), (DenseNetConfig::densenet161(1000), 28_460_064)]
        {
            assert_eq!(weights(&config), expected);
        }
        let huge = DenseNetConfig::new(usize::MAX).with_growth_rate(usize::MAX / 2);
        assert_eq!(weights(&huge), u64::MAX);
    }
}
