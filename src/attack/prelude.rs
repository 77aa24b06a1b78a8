//! What the file of an attack imports, here and in other crates.
//!
//! ```
//! use histoguard::attack::prelude::*;
//! ```

pub use burn::config::Config;
pub use burn::tensor::Tensor;

pub use super::{Access, Aim, Attack, AttackError, Goals, Profile, Settings, Task, norm_among};
pub use crate::classifier::Queries;
pub use crate::parameter::Parameter;
pub use crate::pixels::{Budget, Epsilon, Norm};
pub use crate::random::{Purpose, RngExt};
pub use crate::rows::{Rows, batch, choose, factors, flagged, put, take, values};
