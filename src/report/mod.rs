//! Views on what evaluations found: tables, curves and picture panels.
//!
//! A [`Report`] holds one or more models with their [results](crate::evaluate::EvaluationResult); it is
//! written as `report.json`, `report.md` and one page to look at, `report.html`. [`PaperView`] is the same as
//! the paper's experiment. [`Gate`] holds a report to requirements. With the feature `figures`, the module of
//! that name draws the paper's figures and more.

mod axis;
mod certification;
mod consistent;
mod document;
mod error;
#[cfg(feature = "figures")]
pub mod figures;
mod gate;
mod history;
mod markdown;
mod page;
mod paper;
#[expect(clippy::module_inception)]
mod report;
mod sections;
mod semantic;
mod series;
mod views;
mod warnings;

pub use error::ReportError;
pub use gate::{Gate, GateError, Judgment, Requirement};
pub use history::{EpochMetrics, History};
pub use paper::{PAPER, Paper, PaperSplit, PaperView};
pub use report::{DataSummary, ModelReport, Report, ReportFiles, SplitSummary, Versions};
