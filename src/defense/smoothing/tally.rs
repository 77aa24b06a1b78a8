//! The draws of one image's certificate, finished or not.

use serde::{Deserialize, Serialize};

use super::Counts;

/// The draws of one image's certificate so far: what is kept when work stops, and gone on from.
///
/// Selection and estimate are drawn from streams of their own, so that the bound is never computed from the
/// draws that chose the class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Values of the image: channels times height times width.
    pub values: usize,
    /// The draws that choose the class.
    pub selection: Counts,
    /// The draws that bound its probability.
    pub estimate: Counts,
}

impl Tally {
    /// No draw yet, of an image of so many values and so many classes.
    pub fn new(values: usize, classes: usize) -> Self {
        Self { values, selection: Counts::new(classes), estimate: Counts::new(classes) }
    }

    /// Draws so far.
    pub fn draws(&self) -> usize {
        self.selection.draws() + self.estimate.draws()
    }
}
