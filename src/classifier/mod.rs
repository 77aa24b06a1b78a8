//! What can be attacked: a network from pixels to logits, frozen by type.

mod average;
mod base;
mod frozen;
mod watch;

pub use average::Average;
pub(crate) use base::highest;
pub use base::{Classifier, predictions};
pub use frozen::{Frozen, InputGradient};
pub use watch::{Queries, Step, Watch};
