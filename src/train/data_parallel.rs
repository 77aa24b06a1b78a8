//! Several devices that share every step of a training.

use burn::tensor::Device;
use burn::tensor::distributed::{DistributedConfig, ReduceOperation};
use burn::train::{ExecutionStrategy, MultiDeviceOptim};
use serde::Serialize;

use crate::parameter::Parameter;

/// Devices that share every batch of a training, each with an equal part: data parallelism, by burn-train.
///
/// A step's gradient is the mean over the whole batch, as on one device, whatever their number; the batch size
/// stays that of the whole step. What differs from one device:
///
/// - *Batch norm* normalises each part by the part's own statistics, as PyTorch's `DistributedDataParallel` does
///   without `SyncBatchNorm`: parts should not be small. The running statistics are the mean of all devices'
///   (PyTorch keeps those of the first).
/// - An objective that looks at a batch as a whole ([`Awp`](crate::defense::Awp)) looks at each part.
/// - Sums over devices come in the order in which they finish, which more than two devices show in the last bits
///   of the weights.
///
/// The devices may be of any kind, also of several kinds in one training, and of other machines
/// (feature `remote`). The same device may be named more than once: its parts then run side by side.
///
/// ```
/// use burn::tensor::Device;
/// use histoguard::data::SyntheticTissue;
/// use histoguard::prelude::*;
/// use histoguard::train::{DataParallel, Trainer, TrainingConfig};
///
/// let images = SyntheticTissue { image_size: [32, 32], count_per_class: 6, ..SyntheticTissue::default() }.images()?;
/// let split = Split::by_image(&images, [0.6, 0.2, 0.2], 0)?;
/// let config = DenseNetConfig::new(2).with_block_config(vec![1]).with_num_init_features(4);
/// let model = config.init(&Device::default());
/// let quick = TrainingConfig { epochs: 1, batch_size: 4, image_size: 32, ..TrainingConfig::paper() };
/// let both = DataParallel::new([Device::default(), Device::default()]);
/// let trained = Trainer::new(quick).data_parallel(both).fit(model, &split.train, &split.validation)?;
/// assert_eq!(trained.history.epochs.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct DataParallel {
    pub(super) devices: Vec<Device>,
    pub(super) optimizer: SharedOptimizer,
}

/// Where the weights of a training on several devices follow their gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SharedOptimizer {
    /// On the first device, which gets all gradients.
    #[default]
    Main,
    /// Each device has a part of the weights, with their gradients and the optimizer's state: less memory on the
    /// first.
    Sharded,
    /// On every device, after they have reduced their gradients among themselves (burn's distributed data
    /// parallel training): NVIDIA GPUs of one machine alone, by NCCL. No other backend of burn has this.
    AllReduce,
}

impl DataParallel {
    /// These devices, at least one; the first is the main one, on which validation runs too. The optimizer is
    /// [`SharedOptimizer::Main`].
    pub fn new(devices: impl IntoIterator<Item = Device>) -> Self {
        // burn-train adds autodiff itself.
        let devices = devices.into_iter().map(Device::inner).collect();
        Self { devices, optimizer: SharedOptimizer::Main }
    }

    /// The same with the optimizer elsewhere.
    #[must_use]
    pub fn optimizer(self, optimizer: SharedOptimizer) -> Self {
        Self { optimizer, ..self }
    }

    /// What must hold of it beside a step of so many of so many images.
    pub(super) fn parameters(&self, batch_size: usize, images: usize) -> Vec<Parameter> {
        let count = self.devices.len();
        let several =
            |name, range: String, fits, found: String| Parameter::new(name, range, count == 1 || fits, found);
        let divides = count > 0 && batch_size.is_multiple_of(count);
        let alone = self.optimizer != SharedOptimizer::AllReduce || self.devices.iter().all(reduces);
        vec![
            Parameter::at_least("devices", count, 1),
            several(
                "optimizer",
                "AllReduce on NVIDIA GPUs (feature cuda) alone, Main or Sharded elsewhere".into(),
                alone,
                format!("{:?} on {:?}", self.optimizer, self.devices),
            ),
            several(
                "batch_size",
                format!("a multiple of the {count} devices"),
                divides,
                batch_size.to_string(),
            ),
            several(
                "training images",
                format!("at least one batch of {batch_size} for {count} devices"),
                images >= batch_size,
                images.to_string(),
            ),
        ]
    }

    pub(super) fn strategy(&self) -> ExecutionStrategy {
        match (self.devices.as_slice(), self.optimizer) {
            ([device], _) => ExecutionStrategy::single(device.clone().autodiff()),
            (_, SharedOptimizer::Main) => {
                ExecutionStrategy::multi(self.devices.clone(), MultiDeviceOptim::OptimMainDevice)
            }
            (_, SharedOptimizer::AllReduce) => {
                // Each device's loss is its share of the mean.
                let config = DistributedConfig { all_reduce_op: ReduceOperation::Sum };
                ExecutionStrategy::ddp(self.devices.clone(), config)
            }
            (_, SharedOptimizer::Sharded) => {
                ExecutionStrategy::multi(self.devices.clone(), MultiDeviceOptim::OptimSharded)
            }
        }
    }
}

/// Whether burn reduces tensors among devices like this one.
fn reduces(device: &Device) -> bool {
    // burn names the runtime of a device in its text alone.
    cfg!(feature = "cuda") && format!("{device:?}").contains("Cuda")
}
