//! What one semantic attack did.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::attack_result::Ran;
use super::metrics::Metrics;
use super::perturbation::Perturbation;
use super::under_attack::{Attacked, Detail, Flip, Summariser};
use crate::attack::Profile;
use crate::classifier::Queries;
use crate::statistics::Proportion;

/// One [semantic](crate::attack::Aim::Semantic) attack, whose range of parameters is among its settings. It
/// has no budget in a norm: no worst case of a norm counts it, and it counts none; it runs on every image
/// that is right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SemanticResult {
    /// Its name, told apart from the other attacks'.
    pub label: String,
    /// All its settings.
    pub settings: Value,
    /// What it says of itself.
    pub profile: Profile,
    /// Images that it attacked.
    pub images: usize,
    /// What it asked the classifier for all of them.
    pub queries: Queries,
    /// Over all images: those that were wrong before the attack count as they were.
    pub metrics: Metrics,
    /// Slide by slide, and after rounding.
    #[serde(flatten)]
    pub detail: Detail,
    /// Attacked images that are wrong afterwards. Only images that were right before are attacked.
    pub success: Proportion,
    /// The same for each true class alone.
    pub class_success: Vec<Proportion>,
    /// How often each class was turned into each other one.
    pub flips: Vec<Flip>,
    /// Size and visibility of the perturbations, as measured: nothing bounds them.
    pub perturbation: Perturbation,
    /// Adversarial images with a logit that is NaN or infinite.
    pub non_finite_logits: usize,
    /// Results that left \[0,1\] and were clipped.
    pub out_of_range: usize,
    /// Results with NaN or infinite pixels, which were replaced.
    pub not_finite: usize,
}

impl SemanticResult {
    /// Of the semantic attack at this position.
    pub(super) fn new(position: usize, ran: Ran, summariser: &Summariser<'_>) -> Self {
        let Attacked {
            metrics,
            detail,
            success,
            class_success,
            flips,
            perturbation,
            non_finite_logits,
            over_budget: _,
            out_of_range,
            not_finite,
        } = summariser.attacked(|image| image.semantic[position]);
        Self {
            label: ran.label,
            settings: ran.settings,
            profile: ran.profile,
            images: ran.cost.images,
            queries: ran.cost.queries,
            metrics,
            detail,
            success,
            class_success,
            flips,
            perturbation,
            non_finite_logits,
            out_of_range,
            not_finite,
        }
    }
}
