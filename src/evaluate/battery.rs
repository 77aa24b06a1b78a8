//! What several attacks found together.

use serde::{Deserialize, Serialize};

use super::bootstrap::Resamples;
use super::engine::Engine;
use super::interval::round;
use super::robustness::Attacked;
use super::{
    AttackRecord, Bootstrap, Check, Evaluation, GradientState, Judged, Metrics, Outcome, Proportion,
    UnderAttack, WorstCase, worst_case,
};
use crate::attack::{Access, Norm};
use crate::classifier::Queries;
use crate::pixels::Epsilon;

/// How robust a classifier is under several attacks, with what it said to every image and with what speaks
/// against believing it.
///
/// The same evaluation gives the same battery, but for [`timing`](Self::timing).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Battery {
    /// Names of the classes; the last one is the positive one.
    pub classes: Vec<String>,
    /// Whether the images were drawn, not photographed.
    pub synthetic: bool,
    /// Whether each attack ran only on the images that the attacks before it left.
    pub only_survivors: bool,
    /// Without attack.
    pub clean: CleanResult,
    /// The attacks in the order given.
    pub attacks: Vec<AttackResult>,
    /// The worst case of all attacks of each norm.
    pub worst_cases: Vec<WorstCase>,
    /// What the evaluation thinks of itself.
    pub checks: Vec<Check>,
    /// Every image, in the data set's order.
    pub records: Vec<BatteryRecord>,
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
    /// Attacked images whose gradient is zero everywhere.
    pub zero_gradients: usize,
    /// Attacked images whose gradient is NaN or infinite somewhere.
    pub non_finite_gradients: usize,
}

/// What belongs to every set of outcomes beside its [`Metrics`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// Intervals that resample slides.
    pub bootstrap: Bootstrap,
    /// The patient score of each slide, sorted by name; their mean is the patient rate of the metrics.
    pub slides: Vec<Slide>,
    /// The same images rounded to 8 bits, as a PNG holds them. Rounding moves a value by up to half a grey
    /// level and can undo an attack, or add to it.
    pub eight_bit: Metrics,
}

/// One slide or patient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slide {
    /// Its name.
    pub name: String,
    /// Its images that are right: BreakHis's patient score (Spanhol et al., "A dataset for breast cancer
    /// histopathological image classification", IEEE TBME 63, 2016, equation 1).
    pub score: Proportion,
}

/// One attack at all its budgets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackResult {
    /// Its name, told apart from the other attacks'.
    pub label: String,
    /// All its settings.
    pub settings: String,
    /// The norm of its budgets.
    pub norm: Norm,
    /// What it needs from the victim.
    pub access: Access,
    /// Its steps on an image, at most.
    pub steps: Option<usize>,
    /// The smallest perturbations that it knows.
    pub minimal: MinimalPerturbation,
    /// Images that it attacked, once a budget; a search attacks once for all budgets.
    pub images: usize,
    /// What it asked the classifier for all of them.
    pub queries: Queries,
    /// By rising epsilon.
    pub sweep: Vec<AtEpsilon>,
}

/// The size of the smallest perturbations that break an image, in the attack's norm on the \[0,1\] scale.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MinimalPerturbation {
    /// Whether the attack looked for the smallest one; else the smallest epsilon of the sweep that succeeds.
    pub searched: bool,
    /// Median over the attacked images, those that were never broken being infinitely far; `None` if that is
    /// half of them.
    pub median: Option<f64>,
    /// Attacked images that were broken at all.
    pub broken: Proportion,
}

/// How a classifier does under one attack, or the worst case of several, with one budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtEpsilon {
    /// Rates with Wilson intervals, counts and perturbations.
    #[serde(flatten)]
    pub under: UnderAttack,
    /// Slide by slide, and after rounding.
    #[serde(flatten)]
    pub detail: Detail,
    /// How often each class was turned into each other one.
    pub flips: Vec<Flip>,
}

/// Attacked images of one class that became another one, such as malignant ones that became benign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flip {
    /// The true class, which was recognised without attack.
    pub from: String,
    /// The class that the attack made of it.
    pub to: String,
    /// How many of the attacked images of the true class.
    pub images: Proportion,
}

/// One image without attack and under all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatteryRecord {
    /// The image's short name.
    pub name: String,
    /// The slide or patient that it belongs to.
    pub group: String,
    /// Its true class.
    pub label: usize,
    /// Without attack.
    pub clean: Outcome,
    /// Without attack, rounded to 8 bits.
    pub clean_eight_bit: Outcome,
    /// The gradient at the original image.
    pub gradient: GradientState,
    /// Under each attack.
    pub attacks: Vec<AttackedImage>,
}

/// One image under one attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackedImage {
    /// What a search for the smallest perturbation found, without a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub searched: Option<AttackRecord>,
    /// With each of the attack's budgets.
    pub at: Vec<AttackRecord>,
}

/// Durations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Seconds of the last run; a resumed evaluation took longer.
    pub seconds: f64,
    /// Of each attack alone, over all runs.
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

impl Battery {
    /// The worst case of the attacks in this norm.
    pub fn worst_case(&self, norm: Norm) -> Option<&WorstCase> {
        self.worst_cases.iter().find(|worst| worst.norm == norm)
    }

    /// The attack with this label.
    pub fn attack(&self, label: &str) -> Option<&AttackResult> {
        self.attacks.iter().find(|attack| attack.label == label)
    }

    /// The same without durations: equal for equal evaluations.
    pub fn without_timing(mut self) -> Self {
        self.timing = Timing::default();
        self
    }

    /// Everything but the checks and the whole duration.
    pub(super) fn assemble(evaluation: &Evaluation<'_>, engine: &Engine<'_, '_>) -> Self {
        let (data, plan) = (engine.data, engine.plan);
        let count = data.len();
        let groups: Vec<String> = (0..count).map(|p| data.group(p)).collect();
        let resamples = Resamples::new(groups.iter().cloned(), evaluation.resamples, evaluation.seed);
        let images = Images { engine, groups: &groups, resamples: &resamples };
        let records: Vec<BatteryRecord> = (0..count)
            .map(|position| {
                let clean = engine.clean(position);
                let under = |attack: usize| AttackedImage {
                    searched: engine.searched(attack, position),
                    at: (0..plan.attacks[attack].epsilons.len())
                        .map(|budget| engine.record(attack, budget, position))
                        .collect(),
                };
                BatteryRecord {
                    name: data.name(position),
                    group: groups[position].clone(),
                    label: data.label(position),
                    clean: clean.outcome,
                    clean_eight_bit: clean.eight_bit.unwrap_or(clean.outcome),
                    gradient: clean.gradient,
                    attacks: (0..plan.attacks.len()).map(under).collect(),
                }
            })
            .collect();
        let attacks = plan.attacks.iter().enumerate().map(|(a, planned)| {
            let at = |budget: usize| {
                let of: Vec<&AttackRecord> = records.iter().map(|r| &r.attacks[a].at[budget]).collect();
                images.at_epsilon(planned.epsilons[budget], &of)
            };
            AttackResult {
                label: planned.label.clone(),
                settings: format!("{:?}", planned.attack),
                norm: planned.attack.norm(),
                access: planned.attack.access(),
                steps: planned.attack.steps(),
                minimal: MinimalPerturbation::new(
                    planned.searches,
                    planned.attack.norm(),
                    &planned.epsilons,
                    records.iter().map(|r| (r.label, &r.attacks[a])),
                ),
                images: engine.cost(a).images,
                queries: engine.cost(a).queries,
                sweep: (0..planned.epsilons.len()).map(at).collect(),
            }
        });
        let worst_cases = plan.norms().into_iter().map(|norm| {
            let worst: Vec<Vec<AttackRecord>> =
                (0..count).map(|position| worst_case::records(engine, norm, position)).collect();
            let at = |(budget, epsilon): (usize, Epsilon)| {
                images.at_epsilon(epsilon, &worst.iter().map(|records| &records[budget]).collect::<Vec<_>>())
            };
            WorstCase {
                norm,
                attacks: plan.members(norm).into_iter().map(|a| plan.attacks[a].label.clone()).collect(),
                sweep: plan.epsilons(norm).into_iter().enumerate().map(at).collect(),
            }
        });
        let gradients = |state| records.iter().filter(|r| r.gradient == state).count();
        let timing = plan.attacks.iter().enumerate().map(|(a, planned)| {
            let cost = engine.cost(a);
            let rate = cost.images as f64 / cost.seconds;
            AttackTiming {
                label: planned.label.clone(),
                seconds: cost.seconds,
                images_per_second: Some(rate).filter(|rate| rate.is_finite()),
            }
        });
        Self {
            classes: data.classes().to_vec(),
            synthetic: data.is_synthetic(),
            only_survivors: evaluation.only_survivors,
            clean: CleanResult {
                metrics: Metrics::new(data.classes(), &images.judged(|p| engine.clean(p).outcome)),
                detail: images.detail(|p| (records[p].clean, records[p].clean_eight_bit)),
                non_finite_logits: records.iter().filter(|r| !r.clean.finite).count(),
                zero_gradients: gradients(GradientState::Zero),
                non_finite_gradients: gradients(GradientState::NotFinite),
            },
            attacks: attacks.collect(),
            worst_cases: worst_cases.collect(),
            checks: Vec::new(),
            timing: Timing { seconds: 0.0, attacks: timing.collect() },
            records,
        }
    }
}

impl MinimalPerturbation {
    fn new<'r>(
        searched: bool,
        norm: Norm,
        epsilons: &[Epsilon],
        images: impl Iterator<Item = (usize, &'r AttackedImage)>,
    ) -> Self {
        let smallest = |(label, image): (usize, &AttackedImage)| {
            if searched {
                let found = image.searched.as_ref()?;
                let size = found.distances.map_or(f64::INFINITY, |d| d.in_norm(norm));
                return Some(if found.outcome.is(label) { f64::INFINITY } else { size });
            }
            let attacked = image.at.iter().any(|record| record.distances.is_some());
            let broken = |record: &AttackRecord| record.distances.is_some() && !record.outcome.is(label);
            let first = image.at.iter().position(broken);
            attacked.then(|| first.map_or(f64::INFINITY, |budget| epsilons[budget].value()))
        };
        let mut sizes: Vec<f64> = images.filter_map(smallest).collect();
        sizes.sort_by(f64::total_cmp);
        let n = sizes.len();
        let median = (n > 0).then(|| (sizes[(n - 1) / 2] + sizes[n / 2]) / 2.0);
        Self {
            searched,
            median: median.filter(|m| m.is_finite()).map(round),
            broken: Proportion::new(sizes.iter().filter(|s| s.is_finite()).count(), n),
        }
    }
}

/// The images' labels and slides.
struct Images<'i, 'e, 'a> {
    engine: &'i Engine<'e, 'a>,
    groups: &'i [String],
    resamples: &'i Resamples,
}

impl<'i> Images<'i, '_, '_> {
    fn judged(&self, outcome: impl Fn(usize) -> Outcome) -> Vec<Judged<'i>> {
        let of = |(position, group): (usize, &'i String)| Judged {
            label: self.engine.data.label(position),
            group,
            outcome: outcome(position),
        };
        self.groups.iter().enumerate().map(of).collect()
    }

    fn detail(&self, outcomes: impl Fn(usize) -> (Outcome, Outcome)) -> Detail {
        let classes = self.engine.data.classes();
        let judged = self.judged(|p| outcomes(p).0);
        let mut slides = std::collections::BTreeMap::<&str, (usize, usize)>::new();
        for image in &judged {
            let (right, total) = slides.entry(image.group).or_default();
            *right += usize::from(image.outcome.is(image.label));
            *total += 1;
        }
        Detail {
            bootstrap: self.resamples.intervals(classes.len(), &judged),
            slides: slides
                .into_iter()
                .map(|(name, (right, total))| Slide {
                    name: name.into(),
                    score: Proportion::new(right, total),
                })
                .collect(),
            eight_bit: Metrics::new(classes, &self.judged(|p| outcomes(p).1)),
        }
    }

    fn at_epsilon(&self, epsilon: Epsilon, records: &[&AttackRecord]) -> AtEpsilon {
        let classes = self.engine.data.classes();
        let label = |position: usize| self.engine.data.label(position);
        let attacked: Vec<Attacked<'_>> = records
            .iter()
            .enumerate()
            .map(|(p, record)| Attacked { label: label(p), group: &self.groups[p], record })
            .collect();
        let flips = (0..classes.len()).flat_map(|from| {
            let attacked: Vec<&Outcome> = (0..records.len())
                .filter(|&p| label(p) == from && records[p].distances.is_some())
                .map(|p| &records[p].outcome)
                .collect();
            (0..classes.len()).filter(move |&to| to != from).map(move |to| Flip {
                from: classes[from].clone(),
                to: classes[to].clone(),
                images: Proportion::new(attacked.iter().filter(|o| o.is(to)).count(), attacked.len()),
            })
        });
        AtEpsilon {
            under: UnderAttack::over(classes, epsilon, &attacked),
            detail: self.detail(|p| (records[p].outcome, records[p].eight_bit.unwrap_or(records[p].outcome))),
            flips: flips.collect(),
        }
    }
}
