//! Runs over a data set: which attacks with which budgets, batch by batch, kept on disk.

mod conduct;
mod crafting;
mod enforce;
mod engine;
mod journal;
mod loaded;
mod pace;
mod plan;
mod shard;

pub(super) use conduct::Passes;
pub use conduct::{Conduct, Progress, Run};
pub(super) use crafting::{Targets, classify};
pub(super) use engine::{Asked, Engine};
pub(super) use journal::{Chunk, Journal};
pub(super) use loaded::{Loaded, images_identity};
pub(super) use plan::{Plan, Planned, check_data};
pub use shard::Shard;
