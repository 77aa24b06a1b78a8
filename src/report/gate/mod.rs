//! Holding a report to requirements, for somebody's continuous integration.

mod error;
#[expect(clippy::module_inception)]
mod gate;
mod judgment;
mod junit;
mod measure;
mod requirement;

pub use error::GateError;
pub use gate::Gate;
pub use judgment::Judgment;
pub use requirement::Requirement;
