//! What an evaluation found.

use serde::{Deserialize, Serialize};

use super::attack_result::{AttackResult, Ran};
use super::check::Check;
use super::metrics::Metrics;
use super::outcome::{GradientState, ImageRecord};
use super::semantic_result::SemanticResult;
use super::under_attack::{Detail, Summariser};
use super::views::AttackViews;
use super::worst_case::WorstCase;
use crate::pixels::Norm;
use crate::statistics::Resamples;

/// How robust a classifier is under the attacks of an evaluation, with what it said to every image and with what speaks
/// against believing it.
///
/// Everything but the records, the costs and the checks is computed from the records. The same evaluation gives the same
/// result, but for [`timing`](Self::timing).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationResult {
    /// Names of the classes; the last one is the positive one.
    pub classes: Vec<String>,
    /// Whether the images were drawn, not photographed.
    pub synthetic: bool,
    /// Whether each attack ran only on the images that the attacks before it left.
    pub only_survivors: bool,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Without attack.
    pub clean: CleanResult,
    /// The attacks with a norm, in the order given.
    pub attacks: Vec<AttackResult>,
    /// The [semantic](crate::attack::Aim::Semantic) attacks, in the order given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub semantic: Vec<SemanticResult>,
    /// The worst case of all attacks of each norm.
    pub worst_cases: Vec<WorstCase>,
    /// Every attack that was made for another network beside those that know this one; none with survivors
    /// alone, where attacks see different images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<AttackViews>,
    /// What the evaluation thinks of itself.
    pub checks: Vec<Check>,
    /// Every image, in the data set's order.
    pub records: Vec<ImageRecord>,
    /// Durations: the only part that differs between two runs.
    pub timing: Timing,
}

/// A classifier without attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CleanResult {
    /// Rates with Wilson intervals, and counts.
    pub metrics: Metrics,
    /// Slide by slide, and after rounding.
    #[serde(flatten)]
    pub detail: Detail,
    /// Images with a logit that is NaN or infinite.
    pub non_finite_logits: usize,
    /// Attacked images whose gradient is zero everywhere: a sign of masked gradients.
    pub zero_gradients: usize,
    /// Attacked images whose gradient is NaN or infinite somewhere.
    pub non_finite_gradients: usize,
}

/// Durations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Seconds of the last run; a resumed evaluation took longer.
    pub seconds: f64,
    /// Of each attack alone, over all runs: those with a norm, then the semantic ones.
    pub attacks: Vec<AttackTiming>,
}

/// Duration of one attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackTiming {
    /// The attack's label.
    pub label: String,
    /// Seconds spent in the attack.
    pub seconds: f64,
    /// Its [`images`](AttackResult::images) in a second; `None` if no time passed.
    pub images_per_second: Option<f64>,
}

/// What is known of the images and of how they were looked at.
pub(crate) struct Setting {
    pub(crate) classes: Vec<String>,
    pub(crate) synthetic: bool,
    pub(crate) only_survivors: bool,
    pub(crate) seed: u64,
    pub(crate) resamples: usize,
}

impl EvaluationResult {
    /// The worst case of the attacks in this norm.
    pub fn worst_case(&self, norm: Norm) -> Option<&WorstCase> {
        self.worst_cases.iter().find(|worst| worst.norm == norm)
    }

    /// The semantic attack with this label.
    pub fn semantic(&self, label: &str) -> Option<&SemanticResult> {
        self.semantic.iter().find(|attack| attack.label == label)
    }

    /// The attack with a norm that has this label.
    pub fn attack(&self, label: &str) -> Option<&AttackResult> {
        self.attacks.iter().find(|attack| attack.label == label)
    }

    /// The same without durations: equal for equal evaluations.
    pub fn without_timing(mut self) -> Self {
        self.timing = Timing::default();
        self
    }

    /// Everything but the checks and the whole duration.
    pub(crate) fn of_records(setting: Setting, ran: Vec<Ran>, records: Vec<ImageRecord>) -> Self {
        let groups = records.iter().map(|record| record.group.clone());
        let resamples = Resamples::new(groups, setting.resamples, setting.seed);
        let summariser = Summariser { classes: &setting.classes, records: &records, resamples };
        let timing = ran.iter().map(|ran| AttackTiming {
            label: ran.label.clone(),
            seconds: ran.cost.seconds,
            images_per_second: Some(ran.cost.images as f64 / ran.cost.seconds).filter(|r| r.is_finite()),
        });
        let timing = Timing { seconds: 0.0, attacks: timing.collect() };
        let (semantic, ran): (Vec<Ran>, Vec<Ran>) =
            ran.into_iter().partition(|ran| ran.profile.is_semantic());
        let attacks: Vec<AttackResult> =
            ran.into_iter().enumerate().map(|(a, ran)| AttackResult::new(a, ran, &summariser)).collect();
        let semantic = semantic.into_iter().enumerate();
        let semantic = semantic.map(|(a, ran)| SemanticResult::new(a, ran, &summariser)).collect();
        let (metrics, detail) = summariser.metrics(|p| (records[p].clean, records[p].clean_eight_bit));
        let gradients = |state| records.iter().filter(|r| r.gradient == state).count();
        Self {
            clean: CleanResult {
                metrics,
                detail,
                non_finite_logits: records.iter().filter(|r| !r.clean.finite).count(),
                zero_gradients: gradients(GradientState::Zero),
                non_finite_gradients: gradients(GradientState::NotFinite),
            },
            worst_cases: WorstCase::of_all(&attacks, &summariser),
            views: match setting.only_survivors {
                true => Vec::new(),
                false => AttackViews::of_all(&attacks, &summariser),
            },
            attacks,
            semantic,
            classes: setting.classes,
            synthetic: setting.synthetic,
            only_survivors: setting.only_survivors,
            seed: setting.seed,
            checks: Vec::new(),
            timing,
            records,
        }
    }
}
