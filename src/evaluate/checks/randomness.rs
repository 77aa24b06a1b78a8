//! Answers that are not the same twice.

use super::Check;
use super::check::About;

const ABOUT: About = About {
    name: "random answers",
    matters: "A classifier that draws random numbers has random gradients: attacks made for a fixed function see \
              noise and fail. Attack the average over many draws (expectation over transformation).",
    source: "AutoAttack, checks.py, check_randomized; Carlini et al. 2019, section 4.2",
};

/// `difference` is the largest between logits of the same image; `None` if it was not looked at.
pub(super) fn check(difference: Option<f64>, images: usize) -> Check {
    match difference {
        None => ABOUT.not_applicable("no image was looked at twice: it needs check images"),
        Some(difference) => {
            let seen =
                format!("the logits of {images} images differ by up to {difference:.3e} when asked twice");
            ABOUT.check(difference > 0.0, seen)
        }
    }
}
