//! Which number a requirement is about.

use super::error::GateError;
use crate::evaluate::{EvaluationResult, Metrics, Proportion, UnderAttack};
use crate::pixels::{Budget, Norm};

/// Right answers, as words and a budget: `clean`, `worst` or an attack's label, then a class or none.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measure {
    pub(super) subject: String,
    pub(super) budget: Option<Budget>,
}

/// Which attacks count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Clean,
    Worst,
    /// At this position.
    Attack(usize),
    /// At this position among the semantic ones.
    Semantic(usize),
}

/// What an evaluation has: classes, every attack's label with its budgets, and the labels of those that no
/// norm bounds.
pub(super) struct Offer<'o> {
    pub(super) classes: &'o [String],
    pub(super) attacks: Vec<(&'o str, Vec<Budget>)>,
    pub(super) semantic: Vec<&'o str>,
}

impl<'o> Offer<'o> {
    fn of(result: &'o EvaluationResult) -> Self {
        let attacks = result.attacks.iter().map(|attack| (attack.label.as_str(), attack.budgets().collect()));
        let semantic = result.semantic.iter().map(|attack| attack.label.as_str()).collect();
        Self { classes: &result.classes, attacks: attacks.collect(), semantic }
    }

    fn norms(&self) -> impl Iterator<Item = Norm> {
        self.attacks.iter().filter_map(|(_, budgets)| Some(budgets.first()?.norm()))
    }
}

impl Measure {
    /// Refuses what the evaluation does not have; `text` is the whole requirement.
    pub(super) fn check(&self, offer: &Offer<'_>, text: &str) -> Result<(), GateError> {
        self.found_in(offer).map(|_| ()).map_err(|(expected, found)| GateError::Absent {
            text: text.into(),
            expected,
            found,
        })
    }

    /// The number itself; `None` if the result does not have it.
    pub(super) fn of(&self, result: &EvaluationResult) -> Option<Proportion> {
        let (subject, class) = self.found_in(&Offer::of(result)).ok()?;
        let under = |sweep: &'_ [UnderAttack]| -> Option<Metrics> {
            let budget = self.budget?;
            Some(sweep.iter().find(|under| under.budget == budget)?.metrics.clone())
        };
        let metrics = match subject {
            Subject::Clean => result.clean.metrics.clone(),
            Subject::Worst => under(&result.worst_case(self.budget?.norm())?.sweep)?,
            Subject::Attack(position) => under(&result.attacks[position].sweep)?,
            Subject::Semantic(position) => result.semantic[position].metrics.clone(),
        };
        Some(class.map_or(metrics.accuracy, |class| metrics.classes[class].accuracy))
    }

    /// Subject and class; or what was expected and what was found instead.
    fn found_in(&self, offer: &Offer<'_>) -> Result<(Subject, Option<usize>), (String, String)> {
        let whole = || (self.subject.as_str(), None);
        let of_class = |(class, name): (usize, &String)| {
            let before = self.subject.strip_suffix(name.as_str())?.strip_suffix(' ')?;
            Some((before, Some(class)))
        };
        let readings = std::iter::once(whole()).chain(offer.classes.iter().enumerate().filter_map(of_class));
        let known = readings.filter_map(|(words, class)| Some((self.subject(words, offer)?, class)));
        let Some((subject, class)) = known.into_iter().next() else {
            let labels = offer.attacks.iter().map(|(label, _)| *label);
            let labels: Vec<&str> = labels.chain(offer.semantic.iter().copied()).collect();
            let expected = format!(
                "`clean`, `worst` or an attack of {}, then a class of {} or none",
                listed(&labels),
                listed(offer.classes)
            );
            return Err((expected, self.subject.clone()));
        };
        match (subject, self.budget) {
            (Subject::Clean, Some(budget)) => Err(("no budget without attack".into(), budget.to_string())),
            (Subject::Semantic(_), Some(budget)) => {
                Err(("no budget of a semantic attack".into(), budget.to_string()))
            }
            (Subject::Clean | Subject::Semantic(_), None) => Ok((subject, class)),
            (_, None) => Err(("a budget such as Linf 2/255".into(), "none".into())),
            (_, Some(budget)) => {
                let budgets = self.budgets(subject, budget.norm(), offer);
                match budgets.contains(&budget) {
                    true => Ok((subject, class)),
                    false => Err((format!("a budget of {}", listed(&budgets)), budget.to_string())),
                }
            }
        }
    }

    fn subject(&self, words: &str, offer: &Offer<'_>) -> Option<Subject> {
        match words {
            "clean" => Some(Subject::Clean),
            "worst" => Some(Subject::Worst),
            words => {
                // With several norms, labels tell theirs; the budget does, too.
                let norm = self.budget.map_or(String::new(), |budget| format!(" {}", budget.norm()));
                let same = |label: &str| {
                    label.eq_ignore_ascii_case(words)
                        || label.replacen(&norm, "", 1).eq_ignore_ascii_case(words) && self.fits(label, offer)
                };
                let semantic = || offer.semantic.iter().position(|label| label.eq_ignore_ascii_case(words));
                let attack = offer.attacks.iter().position(|(label, _)| same(label)).map(Subject::Attack);
                attack.or_else(|| semantic().map(Subject::Semantic))
            }
        }
    }

    /// Whether the attack with this label is in the budget's norm.
    fn fits(&self, label: &str, offer: &Offer<'_>) -> bool {
        let budgets = offer.attacks.iter().find(|(other, _)| *other == label).and_then(|(_, b)| b.first());
        budgets.map(|budget| budget.norm()) == self.budget.map(Budget::norm)
    }

    /// What there is to choose from: of one attack, or of all in the norm if there are any, else of all.
    fn budgets(&self, subject: Subject, norm: Norm, offer: &Offer<'_>) -> Vec<Budget> {
        let in_norm = offer.norms().any(|other| other == norm);
        let all = offer.attacks.iter().enumerate().filter(|(position, _)| match subject {
            Subject::Attack(of) => *position == of,
            _ => true,
        });
        let mut budgets: Vec<Budget> = all.flat_map(|(_, (_, budgets))| budgets.iter().copied()).collect();
        if in_norm && subject == Subject::Worst {
            budgets.retain(|budget| budget.norm() == norm);
        }
        budgets.sort_by(Budget::total_cmp);
        budgets.dedup();
        budgets
    }
}

fn listed<T: ToString>(all: &[T]) -> String {
    match all {
        [] => "none".into(),
        all => all.iter().map(T::to_string).collect::<Vec<_>>().join(", "),
    }
}
