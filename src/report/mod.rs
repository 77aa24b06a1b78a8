//! Views on what evaluations found: tables, curves and picture panels.
//!
//! A [`Report`] holds one or more models with their [results](crate::evaluate::EvaluationResult); it is
//! written as `report.json` and `report.md`. [`PaperView`] is the same as the paper's experiment. With the
//! feature `figures`, [`figures`] draws the paper's figures and more.

mod certification;
mod consistent;
mod document;
mod error;
#[cfg(feature = "figures")]
pub mod figures;
mod history;
mod markdown;
mod paper;
#[expect(clippy::module_inception)]
mod report;
mod views;
mod warnings;

pub use error::ReportError;
pub use history::{EpochMetrics, History};
pub use paper::{PAPER, Paper, PaperSplit, PaperView};
pub use report::{DataSummary, ModelReport, Report, SplitSummary, Versions};
