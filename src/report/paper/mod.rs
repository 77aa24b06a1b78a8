//! The experiment of Li & Liu, Bioengineering 2023: its own numbers, and a report as its tables.

mod numbers;
mod tables;

pub use numbers::{PAPER, Paper, PaperSplit};
pub use tables::PaperView;
