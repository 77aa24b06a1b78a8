//! BreakHis: 7,909 breast-histology images of 82 patients, indexed from file names alone.

mod coverage;
mod index;
mod name;

pub use coverage::PaperCoverage;
pub use index::{BreakHis, BreakHisOptions, RepeatedSlide};
pub use name::{ImageName, Magnification, Subtype, TumourClass};
