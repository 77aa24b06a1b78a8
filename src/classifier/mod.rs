//! What can be attacked: a network from pixels to logits, frozen by type.

mod average;
mod base;
mod classes;
mod error;
mod features;
mod frozen;
mod shared;
mod single_logit;
mod watch;
mod wrappers;

pub use average::{Average, mean_probabilities};
pub(crate) use base::highest;
pub use base::{Classifier, predictions};
pub(crate) use classes::column;
pub use classes::{others, pick, ranked};
pub use error::ClassifierError;
pub use features::{Embed, FrozenFeatures};
pub use frozen::{Frozen, InputGradient};
pub use single_logit::SingleLogit;
pub use watch::{Queries, Step, Watch};
