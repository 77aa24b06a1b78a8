//! Attacks that have not converged.

use crate::evaluate::result::{About, Check};
use crate::pixels::Budget;

const ABOUT: About = About {
    name: "more effort still helps",
    matters: "An attack has converged if twice its steps, restarts or queries break no further image. If they do, \
              its accuracy is an upper bound that more patience would lower: give it more before reporting it.",
    source: "Carlini et al. 2019, Verify attack convergence; Mosbach et al., arXiv 1810.12042",
};

/// An attack beside itself with twice the effort.
pub(super) struct Doubled {
    pub(super) attack: String,
    pub(super) budget: Option<Budget>,
    pub(super) images: usize,
    /// Images that only the doubled one breaks, or breaks with a clearly smaller perturbation.
    pub(super) gained: usize,
}

/// One image more can be chance, as restarts are random.
pub(super) const CHANCE: usize = 1;

pub(super) fn check(doubled: &[Doubled]) -> Check {
    if doubled.is_empty() {
        return ABOUT.not_applicable(
            "it needs check images that are right and an attack whose effort can be doubled",
        );
    }
    let one = |d: &Doubled| {
        let at = d.budget.map_or(String::new(), |budget| format!(" at epsilon {}", budget.shown()));
        format!("{}{at}: {} of {} images more with twice the effort", d.attack, d.gained, d.images)
    };
    let seen: Vec<String> = doubled.iter().map(one).collect();
    ABOUT.check(doubled.iter().any(|d| d.gained > CHANCE), seen.join("; "))
}
