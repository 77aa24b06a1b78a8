//! A DenseNet's architecture and the order of its flat parameter and statistics vectors.

use super::simd::LANES;

/// A member of the DenseNet family, without its classifier.
///
/// | parameter | DenseNet-121 | range |
/// | --- | --- | --- |
/// | `growth_rate` | 32 | 1 and up |
/// | `block_config` | 6, 12, 24, 16 | one block or more, each of one layer or more |
/// | `num_init_features` | 64 | 1 and up |
/// | `bn_size` | 4 | 1 and up |
/// | `in_channels` | 3 | 1 and up |
/// | `bn_eps` | 1e-5 | above 0 |
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arch {
    /// Channels that each layer adds.
    pub growth_rate: usize,
    /// Layers of each dense block.
    pub block_config: Vec<usize>,
    /// Channels of the stem.
    pub num_init_features: usize,
    /// Bottleneck channels, in growth rates.
    pub bn_size: usize,
    /// Channels of an image.
    pub in_channels: usize,
    /// Added to the variance by every norm.
    pub bn_eps: f32,
}

/// A named tensor inside a flat vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// torchvision's name, such as `features.denseblock1.denselayer1.norm1.weight`.
    pub name: String,
    /// Index of the first element.
    pub offset: usize,
    /// The tensor's shape, row-major.
    pub shape: Vec<usize>,
}

impl Slot {
    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Arch {
    /// DenseNet-121 for RGB images.
    #[cfg(test)]
    pub(crate) fn densenet121() -> Self {
        Arch {
            growth_rate: 32,
            block_config: vec![6, 12, 24, 16],
            num_init_features: 64,
            bn_size: 4,
            in_channels: 3,
            bn_eps: 1e-5,
        }
    }

    /// Channels of the pooled features.
    #[cfg(test)]
    pub(crate) fn features(&self) -> usize {
        self.plan().norm5.channels
    }

    /// The parameters in the flat vector, in the order of torchvision's `named_parameters()`, without the classifier.
    pub(crate) fn parameters(&self) -> Vec<Slot> {
        self.plan().parameters
    }

    /// The running statistics in their flat vector: mean, then variance, of every norm in module order.
    pub(crate) fn statistics(&self) -> Vec<Slot> {
        self.plan().statistics
    }

    /// Whether images of this size leave at least one pixel to the last block.
    pub(crate) fn supports(&self, height: usize, width: usize) -> bool {
        let [h, w] = [height, width].map(|side| {
            let side = if side >= 1 { stem_size(side).1 } else { 0 };
            side >> (self.block_config.len() - 1)
        });
        h > 0 && w > 0
    }

    pub(super) fn plan(&self) -> Plan {
        Plan::new(self)
    }
}

/// Sides of the stem's convolution and of its pooled output.
pub(super) fn stem_size(side: usize) -> (usize, usize) {
    let conv = (side - 1) / 2 + 1;
    (conv, (conv - 1) / 2 + 1)
}

/// Offsets of a batch norm in the flat vectors.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    pub channels: usize,
    pub gamma: usize,
    pub beta: usize,
    pub mean: usize,
    pub var: usize,
}

/// Offset and shape of a convolution's weight.
#[derive(Clone, Debug)]
pub(super) struct Conv {
    pub offset: usize,
    pub out: usize,
    pub inp: usize,
    pub taps: usize,
}

impl Conv {
    pub(super) fn len(&self) -> usize {
        self.out * self.inp * self.taps
    }
}

#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub norm1: Norm,
    pub conv1: Conv,
    pub norm2: Norm,
    pub conv2: Conv,
    /// Planes that the layer reads.
    pub planes: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Transition {
    pub norm: Norm,
    pub conv: Conv,
}

#[derive(Clone, Debug)]
pub(super) struct Block {
    pub layers: Vec<Layer>,
    /// None after the last block.
    pub transition: Option<Transition>,
    /// Planes of the block's input and of its output.
    pub first_planes: usize,
    pub planes: usize,
    /// The lane, counted through the planes, of each channel of the concatenation.
    pub lanes: Vec<usize>,
}

/// Everything about an architecture that the kernels look up.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub eps: f32,
    pub in_channels: usize,
    pub conv0: Conv,
    pub norm0: Norm,
    pub blocks: Vec<Block>,
    pub norm5: Norm,
    /// Planes of the stem, of a bottleneck and of a layer's output.
    pub stem_planes: usize,
    pub mid_planes: usize,
    pub growth_planes: usize,
    pub parameters: Vec<Slot>,
    pub statistics: Vec<Slot>,
    pub num_parameters: usize,
    pub num_statistics: usize,
}

/// Planes that hold so many channels.
pub(super) fn planes(channels: usize) -> usize {
    channels.div_ceil(LANES)
}

#[derive(Default)]
struct Builder {
    parameters: Vec<Slot>,
    statistics: Vec<Slot>,
    num_parameters: usize,
    num_statistics: usize,
}

impl Builder {
    fn parameter(&mut self, name: String, shape: Vec<usize>) -> usize {
        let slot = Slot { name, offset: self.num_parameters, shape };
        self.num_parameters += slot.len();
        self.parameters.push(slot);
        self.parameters.last().map_or(0, |slot| slot.offset)
    }

    fn statistic(&mut self, name: String, channels: usize) -> usize {
        let offset = self.num_statistics;
        self.num_statistics += channels;
        self.statistics.push(Slot { name, offset, shape: vec![channels] });
        offset
    }

    fn norm(&mut self, name: &str, channels: usize) -> Norm {
        Norm {
            channels,
            gamma: self.parameter(format!("features.{name}.weight"), vec![channels]),
            beta: self.parameter(format!("features.{name}.bias"), vec![channels]),
            mean: self.statistic(format!("features.{name}.running_mean"), channels),
            var: self.statistic(format!("features.{name}.running_var"), channels),
        }
    }

    fn conv(&mut self, name: &str, out: usize, inp: usize, side: usize) -> Conv {
        let offset = self.parameter(format!("features.{name}.weight"), vec![out, inp, side, side]);
        Conv { offset, out, inp, taps: side * side }
    }
}

impl Plan {
    /// The lanes of channels that fill their planes without gaps.
    pub(super) fn identity(&self) -> Vec<usize> {
        (0..self.parameters.iter().map(|slot| slot.shape[0]).max().unwrap_or(0)).collect()
    }

    fn new(arch: &Arch) -> Self {
        let growth = arch.growth_rate;
        let mid = arch.bn_size * growth;
        assert!(
            growth > 0 && mid > 0 && arch.num_init_features > 0 && arch.in_channels > 0,
            "empty layer in {arch:?}"
        );
        assert!(
            !arch.block_config.is_empty() && arch.block_config.iter().all(|&n| n > 0),
            "empty block in {arch:?}"
        );
        let mut build = Builder::default();
        let conv0 = build.conv("conv0", arch.num_init_features, arch.in_channels, 7);
        let norm0 = build.norm("norm0", arch.num_init_features);
        let mut channels = arch.num_init_features;
        let mut blocks = Vec::new();
        for (i, &count) in arch.block_config.iter().enumerate() {
            let first_planes = planes(channels);
            let mut lanes: Vec<usize> = (0..channels).collect();
            let mut layers = Vec::new();
            for j in 0..count {
                let name = format!("denseblock{}.denselayer{}", i + 1, j + 1);
                layers.push(Layer {
                    norm1: build.norm(&format!("{name}.norm1"), channels),
                    conv1: build.conv(&format!("{name}.conv1"), mid, channels, 1),
                    norm2: build.norm(&format!("{name}.norm2"), mid),
                    conv2: build.conv(&format!("{name}.conv2"), growth, mid, 3),
                    planes: first_planes + j * planes(growth),
                });
                let first = (first_planes + j * planes(growth)) * LANES;
                lanes.extend(first..first + growth);
                channels += growth;
            }
            let mut transition = None;
            if i + 1 < arch.block_config.len() {
                let name = format!("transition{}", i + 1);
                assert!(channels > 1, "{name} has no output channel");
                transition = Some(Transition {
                    norm: build.norm(&format!("{name}.norm"), channels),
                    conv: build.conv(&format!("{name}.conv"), channels / 2, channels, 1),
                });
                channels /= 2;
            }
            let planes = first_planes + count * planes(growth);
            blocks.push(Block { layers, transition, first_planes, planes, lanes });
        }
        Plan {
            eps: arch.bn_eps,
            in_channels: arch.in_channels,
            conv0,
            norm0,
            blocks,
            norm5: build.norm("norm5", channels),
            stem_planes: planes(arch.num_init_features),
            mid_planes: planes(mid),
            growth_planes: planes(growth),
            parameters: build.parameters,
            statistics: build.statistics,
            num_parameters: build.num_parameters,
            num_statistics: build.num_statistics,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn densenet121_has_the_published_number_of_parameters() {
        let arch = Arch::densenet121();
        assert_eq!(arch.features(), 1024);
        assert_eq!(arch.plan().num_parameters + 1024 * 1000 + 1000, 7_978_856);
        assert_eq!(arch.parameters()[3].name, "features.denseblock1.denselayer1.norm1.weight");
    }

    #[test]
    fn smallest_image_is_29_pixels() {
        let arch = Arch::densenet121();
        assert!(
            arch.supports(29, 29)
                && !arch.supports(28, 29)
                && !arch.supports(29, 28)
                && !arch.supports(0, 29)
        );
    }
}
