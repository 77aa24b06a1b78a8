//! How often noisy copies of one image are called each class.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::classifier::highest;
use crate::rows::values;

/// How often the base classifier called noisy copies of one image each class: counts of finished draws, the
/// first ones of their stream, from which work goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Draws that were called each class.
    pub classes: Vec<usize>,
    /// Draws with a logit that is NaN: no class, never a success.
    pub undecided: usize,
}

impl Counts {
    /// No draw yet, for so many classes.
    pub fn new(classes: usize) -> Self {
        Self { classes: vec![0; classes], undecided: 0 }
    }

    /// Number of draws.
    pub fn draws(&self) -> usize {
        self.classes.iter().sum::<usize>() + self.undecided
    }

    /// The class of most draws, the lower one on a tie; `None` if no draw was called any.
    pub fn leader(&self) -> Option<usize> {
        let most = *self.classes.iter().max().filter(|most| **most > 0)?;
        self.classes.iter().position(|count| *count == most)
    }

    /// The two largest counts, with the undecided draws as if they were a class.
    pub(super) fn first_two(&self) -> [usize; 2] {
        let mut counts = self.classes.clone();
        counts.extend([self.undecided, 0]);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        [counts[0], counts[1]]
    }

    /// Adds draws by their logits `[draws, classes]`.
    pub(super) fn add(&mut self, logits: Tensor<2>) {
        for row in values(logits).chunks(self.classes.len().max(1)) {
            match row.iter().any(|logit| logit.is_nan()) {
                true => self.undecided += 1,
                false => self.classes[highest(row)] += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn the_lower_class_wins_a_tie_and_nan_is_none() {
        let logits = [[1.0, 1.0, 0.0], [0.0, 0.5, 2.0], [f32::NAN, 9.0, 0.0], [f32::INFINITY, 1.0, 2.0]];
        let mut counts = Counts::new(3);
        assert_eq!((counts.leader(), counts.draws()), (None, 0));
        counts.add(Tensor::from_floats(logits, &Device::default()));
        assert_eq!(counts, Counts { classes: vec![2, 0, 1], undecided: 1 });
        assert_eq!((counts.leader(), counts.draws(), counts.first_two()), (Some(0), 4, [2, 1]));
        let tied = Counts { classes: vec![1, 3, 3], undecided: 9 };
        assert_eq!((tied.leader(), tied.first_two()), (Some(1), [9, 3]));
    }
}
