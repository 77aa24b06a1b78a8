//! A report as one HTML page that needs no other file and no network.

mod breakdown;
mod chart;
mod curves;
mod encode;
#[expect(clippy::module_inception)]
mod page;
mod pictures;
mod prose;
