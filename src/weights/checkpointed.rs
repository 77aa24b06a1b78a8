//! What a network's tensors are called in files.

use burn::module::Module;

use super::names;

/// A network whose weights lie in checkpoints, and what is particular to its names there.
///
/// Every item has a default, so that a network whose modules are named as its author named them in Python
/// needs no more than `impl Checkpointed for Net {}`.
///
/// ```
/// use burn::module::Module;
/// use burn::nn::{Linear, LinearConfig};
/// use histoguard::prelude::*;
/// use histoguard::weights::Checkpointed;
///
/// /// A network whose Python code has `stage1`, `stage2`, ... and `fc`.
/// #[derive(Module, Debug)]
/// struct Net {
///     stages: Vec<Linear>,
///     fc: Linear,
/// }
///
/// impl Checkpointed for Net {
///     const HEAD: &str = "fc.";
///     const LISTS: &[(&str, &str)] = &[("stages", "stage")];
/// }
///
/// let linear = || LinearConfig::new(4, 4).init(&Device::default());
/// let net = Net { stages: vec![linear(), linear()], fc: linear() };
/// assert_eq!(Net::tensor_name("stages.1.weight"), "stage2.weight");
///
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("net.safetensors");
/// weights::save_safetensors(&net, &file)?;
/// let net = weights::load_features(net, &file)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Checkpointed: Module {
    /// How the names of the last layer begin, which depends on the number of classes.
    const HEAD: &'static str = "classifier.";

    /// Lists of the module and what files call their items, which they number from 1: `("denseblocks",
    /// "denseblock")` makes `denseblock1.` of `denseblocks.0.`.
    const LISTS: &'static [(&'static str, &'static str)] = &[];

    /// The name in files of the tensor at this path of the module.
    ///
    /// By default the path with PyTorch's `weight` and `bias` of norms, the items of [`LISTS`](Self::LISTS)
    /// under their names, and without a leading `network.`, the place inside a wrapper.
    fn tensor_name(path: &str) -> String {
        names::torch_name(path, Self::LISTS)
    }

    /// The present form of a name that older files have in another.
    fn present_name(name: &str) -> String {
        name.to_string()
    }

    /// Whether a tensor with this name is none of the network's weights, beside the `num_batches_tracked` of
    /// batch norms.
    fn is_beside(_name: &str) -> bool {
        false
    }
}
