//! The smallest perturbations that an attack knows.

use serde::{Deserialize, Serialize};

use super::metrics::share;
use super::outcome::AttackedImage;
use super::perturbation::median;
use crate::attack::Profile;
use crate::pixels::{Budget, round};
use crate::statistics::Proportion;

/// The size of the smallest perturbations that break an image, in the attack's norm on the \[0,1\] scale.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MinimalPerturbation {
    /// Whether the attack looked for the smallest one; else the smallest budget of the sweep that succeeds.
    pub searched: bool,
    /// Median over the attacked images, those that were never broken being infinitely far; `None` if that is half of
    /// them.
    pub median: Option<f64>,
    /// Attacked images that were broken at all.
    pub broken: Proportion,
}

impl MinimalPerturbation {
    /// Of images with their true classes.
    pub(super) fn new<'r>(
        profile: &Profile,
        budgets: &[Budget],
        images: impl Iterator<Item = (usize, &'r AttackedImage)>,
    ) -> Self {
        let searched = profile.budget().is_none();
        let norm = profile.norm().expect("an attack with a norm");
        let smallest = |(label, image): (usize, &AttackedImage)| {
            if searched {
                return image.searched.map(|found| found.size(label, norm));
            }
            let attacked = image.at.iter().any(|record| record.distances.is_some());
            let first = image.at.iter().position(|record| record.fell(label));
            attacked.then(|| first.map_or(f64::INFINITY, |at| budgets[at].size()))
        };
        let sizes: Vec<f64> = images.filter_map(smallest).collect();
        Self {
            searched,
            broken: share(sizes.iter().map(|size| size.is_finite())),
            median: median(sizes).filter(|m| m.is_finite()).map(round),
        }
    }
}
