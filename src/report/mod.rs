//! Tables, curves and picture panels from evaluation results.
//!
//! [`PaperReport`] holds everything that one run of the paper's experiment found; it is written as
//! `report.json` and `report.md`. With the feature `figures`, [`figures`] draws the paper's figures.

mod error;
#[cfg(feature = "figures")]
pub mod figures;
mod history;
mod markdown;
mod paper;
mod paper_report;
mod warnings;

pub use error::ReportError;
pub use history::{EpochMetrics, History};
pub use paper::{PAPER, Paper, PaperSplit};
pub use paper_report::{DataSummary, Leakage, ModelReport, PaperReport, SplitSummary, Versions};
