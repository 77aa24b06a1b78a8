//! What can be attacked: a network from pixels to logits, frozen by type.

mod average;
mod base;
mod classes;
mod features;
mod frozen;
mod watch;
mod wrappers;

pub use average::{Average, mean_probabilities};
pub(crate) use base::highest;
pub use base::{Classifier, predictions};
pub(crate) use classes::column;
pub use classes::{others, pick, ranked};
pub use features::{Embed, FrozenFeatures};
pub use frozen::{Frozen, InputGradient};
pub use watch::{Queries, Step, Watch};
