//! Tables, curves and picture panels from evaluation results.
//!
//! [`PaperReport`] holds everything that one run of the paper's experiment found; it is written as
//! `report.json` and `report.md`; so is a [`BatteryReport`], several models under several attacks. With the feature `figures`, [`figures`] draws the paper's figures.

mod battery_markdown;
mod battery_report;
mod error;
#[cfg(feature = "figures")]
pub mod figures;
mod history;
mod markdown;
mod paper;
mod paper_report;
mod warnings;

pub use battery_report::{BatteryModel, BatteryReport};
pub use error::ReportError;
pub use history::{EpochMetrics, History};
pub use paper::{PAPER, Paper, PaperSplit};
use paper_report::read_json;
pub use paper_report::{DataSummary, Leakage, ModelReport, PaperReport, SplitSummary, Versions};
