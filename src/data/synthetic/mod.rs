//! Tissue drawn in code, for where the real images are absent: tests, examples and a first run.

mod appearance;
mod canvas;
mod draw;
mod noise;
mod tissue;

pub use appearance::TissueParameters;
pub use tissue::SyntheticTissue;
