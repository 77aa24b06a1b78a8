//! What smoothing says about one image.

use serde::{Deserialize, Serialize};

use super::{Counts, Radius, Tally};
use crate::pixels::round;
use crate::statistics::{binomial_test, lower_bound, normal_quantile};

/// Below it JSON does not give back 12 digits exactly.
const SMALLEST: f64 = 1e-11;

/// The smoothed classifier's answer to one image: PREDICT of Cohen, Rosenfeld & Kolter, ICML 2019, section
/// 3.2.1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The class of most draws; `None`, an abstention, if the p-value is above alpha, or if most draws had a
    /// logit that is NaN. With a probability of at most alpha another class than the smoothed classifier's is
    /// given.
    pub class: Option<usize>,
    /// The draws.
    pub counts: Counts,
    /// Of the two-sided binomial test that the first two classes are equally likely, to 12 significant
    /// digits; 0 below 1e-11.
    pub p_value: f64,
}

impl Prediction {
    /// From these draws.
    pub fn new(counts: Counts, alpha: f64) -> Self {
        let [first, second] = counts.first_two();
        let p_value = binomial_test(first, first + second);
        let leader = counts.leader().filter(|&leader| counts.classes[leader] == first);
        let class = leader.filter(|_| p_value <= alpha);
        Self { class, counts, p_value: if p_value < SMALLEST { 0.0 } else { round(p_value) } }
    }
}

/// The class that the smoothed classifier gives one image and every image closer than a radius: CERTIFY of
/// Cohen, Rosenfeld & Kolter, ICML 2019, section 3.2.2.
///
/// With a probability of at most alpha, for each image by itself, it is wrong: the smoothed classifier
/// answers differently somewhere within the radius.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// The certified class; `None`, an abstention, if its bound is below one half. It counts as an error.
    pub class: Option<usize>,
    /// Sigma times the normal quantile of the bound; zero on abstention.
    pub radius: Radius,
    /// The one-sided Clopper-Pearson bound of the chosen class's probability, at confidence 1 - alpha, to 12
    /// significant digits.
    pub lower_bound: f64,
    /// The class that the selection draws chose; `None` if all of them had a logit that is NaN.
    pub chosen: Option<usize>,
    /// Estimate draws of the chosen class.
    pub successes: usize,
    /// Estimate draws.
    pub draws: usize,
    /// What PREDICT says from the estimate draws.
    pub prediction: Prediction,
}

impl Certificate {
    /// From these draws, of noise with this standard deviation on the \[0,1\] scale.
    pub fn new(tally: Tally, sigma: f64, alpha: f64) -> Self {
        let Tally { values, selection, estimate } = tally;
        let (chosen, draws) = (selection.leader(), estimate.draws());
        let successes = chosen.map_or(0, |class| estimate.classes[class]);
        let bound = lower_bound(successes, draws, alpha);
        let class = chosen.filter(|_| bound >= 0.5);
        let length = if class.is_some() { sigma * normal_quantile(bound) } else { 0.0 };
        Self {
            class,
            radius: Radius::new(length, values),
            lower_bound: round(bound),
            chosen,
            successes,
            draws,
            prediction: Prediction::new(estimate, alpha),
        }
    }

    /// The smoothed classifier's class as far as CERTIFY or PREDICT say it; `None` if both abstain.
    pub fn answer(&self) -> Option<usize> {
        self.class.or(self.prediction.class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden() -> serde_json::Value {
        serde_json::from_str(include_str!("../../../tests/golden/binomial.json")).unwrap()
    }

    /// Class 1 of three, chosen by 7 selection draws.
    fn tally(hits: usize, total: usize) -> Tally {
        let counts = |hits, rest| Counts { classes: vec![rest, hits, 0], undecided: 0 };
        Tally { values: 4, selection: counts(7, 2), estimate: counts(hits, total - hits) }
    }

    /// tests/golden/binomial.py: statsmodels and SciPy.
    #[test]
    fn certificates_equal_the_reference() {
        for case in golden()["certify"].as_array().unwrap() {
            let count = |name: &str| case[name].as_u64().unwrap() as usize;
            let found = Certificate::new(tally(count("hits"), count("total")), 0.25, 0.001);
            assert_eq!((found.chosen, found.successes), (Some(1), count("hits")));
            assert_eq!(found.draws, count("total"));
            assert!((found.lower_bound / case["lower"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{case}");
            assert_eq!(found.class, case["radius"].as_f64().map(|_| 1), "{case}");
            let radius = 0.25 * case["radius"].as_f64().unwrap_or(0.0);
            assert!((found.radius.size() - radius).abs() <= 1e-9 * radius, "{case}: {}", found.radius);
            assert!((found.radius.linf.size() - radius / 2.0).abs() <= 1e-9 * radius, "{case}");
        }
    }

    #[test]
    fn predictions_equal_the_reference() {
        for case in golden()["predict"].as_array().unwrap() {
            let count = |name: &str| case[name].as_u64().unwrap() as usize;
            let counts = Counts { classes: vec![0, count("second"), count("first")], undecided: 0 };
            let found = Prediction::new(counts, 0.001);
            assert!((found.p_value / case["p_value"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{case}");
            assert_eq!(found.class, case["answers"].as_bool().unwrap().then_some(2), "{case}");
        }
    }

    #[test]
    fn the_selection_draws_do_not_bound() {
        let mut tally = tally(60, 100);
        let before = Certificate::new(tally.clone(), 1.0, 0.001);
        tally.selection.classes[1] = 1000;
        assert_eq!(Certificate::new(tally.clone(), 1.0, 0.001), before);
        // Another class is chosen: its own 40 draws count, however many the first class has.
        tally.selection.classes[0] = 2000;
        let other = Certificate::new(tally, 1.0, 0.001);
        assert_eq!((other.chosen, other.successes, other.class), (Some(0), 40, None));
    }

    #[test]
    fn undecided_draws_are_never_successes() {
        let undecided = |hits| Counts { classes: vec![0, hits], undecided: 100 - hits };
        assert_eq!(Prediction::new(undecided(90), 0.001).class, Some(1));
        // The most frequent answer is none.
        assert_eq!(Prediction::new(undecided(10), 0.001).class, None);
        let nothing = Tally { values: 1, selection: undecided(0), estimate: undecided(100) };
        let found = Certificate::new(nothing, 1.0, 0.001);
        assert_eq!((found.chosen, found.class, found.lower_bound), (None, None, 0.0));
    }
}
