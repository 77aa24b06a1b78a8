//! Exact intervals and tests of counts that are binomially distributed.

use special::{Beta, Error};

use super::interval::Interval;
use crate::pixels::round;

/// The Clopper-Pearson interval at 95 %; `None` without trials.
///
/// It covers the true share with at least that probability whatever it is, unlike [`wilson`](super::wilson),
/// which is shorter and does so on the average (Clopper & Pearson, "The use of confidence or fiducial
/// limits", Biometrika 26, 1934).
///
/// ```
/// use histoguard::statistics::clopper_pearson;
///
/// let interval = clopper_pearson(90, 91).unwrap();
/// assert!((interval.low - 0.9403).abs() < 1e-4 && (interval.high - 0.9997).abs() < 1e-4);
/// ```
///
/// # Panics
///
/// Panics if there are more hits than trials.
pub fn clopper_pearson(hits: usize, total: usize) -> Option<Interval> {
    let (low, high) = (lower_bound(hits, total, 0.025), upper_bound(hits, total, 0.025));
    (total > 0).then(|| Interval { low: round(low), high: round(high) })
}

/// The least share that so many hits are compatible with: the true share is below it with a probability of at
/// most `alpha` (the one-sided Clopper-Pearson bound). Exact to a relative 1e-9 up to a million trials.
///
/// It is the `alpha` quantile of Beta(hits, misses + 1): 0 without hits, `alpha^(1 / total)` without misses.
///
/// ```
/// use histoguard::statistics::lower_bound;
///
/// assert!((lower_bound(99, 100, 0.001) - 0.911373111296).abs() < 1e-12);
/// ```
///
/// # Panics
///
/// Panics if there are more hits than trials, or if alpha is not between 0 and 1.
pub fn lower_bound(hits: usize, total: usize, alpha: f64) -> f64 {
    check(hits, total);
    assert!(alpha > 0.0 && alpha < 1.0, "alpha {alpha}");
    match hits {
        0 => 0.0,
        _ if hits == total => alpha.powf(1.0 / total as f64),
        _ => largest(|share| at_least(hits, total, share) <= alpha),
    }
}

/// The largest share that so many hits are compatible with: the true share is above it with a probability of
/// at most `alpha`.
///
/// # Panics
///
/// Panics if there are more hits than trials, or if alpha is not between 0 and 1.
pub fn upper_bound(hits: usize, total: usize, alpha: f64) -> f64 {
    check(hits, total);
    1.0 - lower_bound(total - hits, total, alpha)
}

/// The p-value of the two-sided binomial test that hits and misses are equally likely, the sign test: how
/// often chance alone would be as far from a draw. 1 without trials.
///
/// ```
/// use histoguard::statistics::binomial_test;
///
/// assert!((binomial_test(60, 100) - 0.05689).abs() < 1e-5);
/// ```
///
/// # Panics
///
/// Panics if there are more hits than trials.
pub fn binomial_test(hits: usize, total: usize) -> f64 {
    check(hits, total);
    match hits.max(total - hits) {
        0 => 1.0,
        more => (2.0 * at_least(more, total, 0.5)).min(1.0),
    }
}

/// The value that a standard normal variable stays below with this probability; infinite at 0 and 1, NaN
/// outside.
pub fn normal_quantile(probability: f64) -> f64 {
    std::f64::consts::SQRT_2 * (2.0 * probability - 1.0).inv_error()
}

fn check(hits: usize, total: usize) {
    assert!(hits <= total, "{hits} hits of {total}");
}

/// How likely at least so many hits are, at least one, where each trial is one with this probability.
fn at_least(hits: usize, total: usize, share: f64) -> f64 {
    let (a, b) = (hits as f64, (total - hits + 1) as f64);
    share.inc_beta(a, b, a.ln_beta(b))
}

/// The largest share that is still `low`. The crate's own inverse stops at 3e-10, too early for a radius.
fn largest(low: impl Fn(f64) -> bool) -> f64 {
    let (mut below, mut above) = (0.0, 1.0);
    loop {
        let middle = f64::midpoint(below, above);
        if middle <= below || middle >= above {
            return below;
        }
        *(if low(middle) { &mut below } else { &mut above }) = middle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden() -> serde_json::Value {
        serde_json::from_str(include_str!("../../tests/golden/binomial.json")).unwrap()
    }

    fn count(value: &serde_json::Value) -> usize {
        value.as_u64().unwrap() as usize
    }

    fn assert_near(what: &serde_json::Value, found: f64, expected: f64, tolerance: f64) {
        let off = (found - expected).abs();
        assert!(off <= tolerance * expected.abs(), "{what}: expected {expected}, found {found}");
    }

    /// tests/golden/binomial.py.
    #[test]
    fn bounds_and_tests_equal_scipys_and_statsmodels() {
        let golden = golden();
        let cases = golden["counts"].as_array().unwrap();
        assert!(cases.len() > 150);
        for case in cases {
            let (hits, total) = (count(&case["hits"]), count(&case["total"]));
            let number = |name: &str| case[name].as_f64().unwrap();
            let alpha = number("alpha");
            assert_near(case, lower_bound(hits, total, alpha), number("lower"), 1e-9);
            assert_near(case, upper_bound(hits, total, alpha), number("upper"), 1e-9);
            match case["p_value"].as_f64() {
                Some(p_value) => assert_near(case, binomial_test(hits, total), p_value, 1e-9),
                None => assert!(binomial_test(hits, total) < 1e-289),
            }
        }
    }

    /// The same, through statsmodels' two-sided interval at 95 %.
    #[test]
    fn intervals_equal_statsmodels() {
        for case in golden()["intervals"].as_array().unwrap() {
            let found = clopper_pearson(count(&case["hits"]), count(&case["total"])).unwrap();
            for (found, expected) in [(found.low, &case["low"]), (found.high, &case["high"])] {
                assert_near(case, found, expected.as_f64().unwrap(), 1e-9);
            }
        }
        assert_eq!(clopper_pearson(0, 0), None);
    }

    /// scipy.stats.norm.ppf.
    #[test]
    fn normal_quantiles_equal_scipys() {
        for case in golden()["normal"].as_array().unwrap() {
            let (p, expected) = (case[0].as_f64().unwrap(), case[1].as_f64().unwrap());
            assert!((normal_quantile(p) - expected).abs() <= 1e-9 * expected.abs() + 1e-15, "{case}");
        }
        assert_eq!((normal_quantile(0.5), normal_quantile(1.0)), (0.0, f64::INFINITY));
        assert!(normal_quantile(f64::NAN).is_nan() && normal_quantile(1.5).is_nan());
    }

    #[test]
    fn ends_are_exact() {
        assert_eq!((lower_bound(0, 0, 0.5), upper_bound(0, 0, 0.5)), (0.0, 1.0));
        assert_eq!((lower_bound(0, 9, 0.1), upper_bound(9, 9, 0.1)), (0.0, 1.0));
        assert_eq!(lower_bound(2, 2, 0.25), 0.5);
        assert_eq!((binomial_test(0, 0), binomial_test(1, 2), binomial_test(0, 2)), (1.0, 1.0, 0.5));
    }

    #[test]
    #[should_panic(expected = "3 hits of 2")]
    fn more_hits_than_trials_are_a_mistake() {
        lower_bound(3, 2, 0.1);
    }
}
