//! Proportions of images with their confidence intervals.

use serde::{Deserialize, Serialize};

use crate::pixels::round;

/// Two-sided 95 % quantile of the standard normal distribution.
const Z: f64 = 1.959963984540054;

/// A 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// A value in \[0,1\] with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Its interval.
    pub interval: Interval,
}

/// Hits among a number of trials, with the Wilson 95 % interval; `None` where there was no trial.
///
/// ```
/// use histoguard::statistics::Proportion;
///
/// let accuracy = Proportion::new(90, 91);
/// assert_eq!(accuracy.to_string(), "98.9 % [94.0, 99.8] (90/91)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proportion {
    /// Number of hits.
    pub hits: usize,
    /// Number of trials.
    pub total: usize,
    /// Hits over trials, to 12 significant digits.
    pub value: Option<f64>,
    /// Wilson 95 % interval.
    pub interval: Option<Interval>,
}

impl Proportion {
    /// `hits` of `total`.
    ///
    /// # Panics
    ///
    /// Panics if there are more hits than trials.
    pub fn new(hits: usize, total: usize) -> Self {
        assert!(hits <= total, "{hits} hits of {total}");
        let value = (total > 0).then(|| round(hits as f64 / total as f64));
        Self { hits, total, value, interval: wilson(hits, total) }
    }

    /// The mean of proportions of different images, such as balanced accuracy; `None` if one of them has no
    /// trial.
    ///
    /// The interval combines the Wilson intervals by Newcombe's square-and-add rule (Newcombe, "Interval
    /// estimation for the difference between independent proportions", Statistics in Medicine 17, 1998,
    /// method 10; Zou & Donner 2008 for sums).
    pub fn mean(parts: &[Self]) -> Option<Estimate> {
        let count = parts.len() as f64;
        let (mut value, mut below, mut above) = (0.0, 0.0, 0.0);
        for part in parts {
            let (p, interval) = (part.hits as f64 / part.total as f64, part.interval?);
            value += p / count;
            below += ((p - interval.low) / count).powi(2);
            above += ((interval.high - p) / count).powi(2);
        }
        let interval = Interval {
            low: round((value - below.sqrt()).max(0.0)),
            high: round((value + above.sqrt()).min(1.0)),
        };
        (!parts.is_empty()).then_some(Estimate { value: round(value), interval })
    }
}

/// For example `98.9 % [94.0, 99.8] (90/91)`.
impl std::fmt::Display for Proportion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.value, self.interval) {
            (Some(value), Some(interval)) => {
                let (hits, total) = (self.hits, self.total);
                write!(f, "{} ({hits}/{total})", Estimate { value, interval })
            }
            _ => f.write_str("no images"),
        }
    }
}

/// For example `98.9 % [94.0, 99.8]`.
impl std::fmt::Display for Estimate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { value, interval: Interval { low, high } } = self;
        write!(f, "{:.1} % [{:.1}, {:.1}]", 100.0 * value, 100.0 * low, 100.0 * high)
    }
}

/// The Wilson score interval at 95 %, without continuity correction; `None` without trials.
///
/// Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
pub fn wilson(hits: usize, total: usize) -> Option<Interval> {
    if total == 0 {
        return None;
    }
    let (n, z2) = (total as f64, Z * Z);
    let p = hits as f64 / n;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    // Exact at the ends, where rounding would leave something like 1e-17.
    let low = if hits == 0 { 0.0 } else { round(centre - half) };
    let high = if hits >= total { 1.0 } else { round(centre + half) };
    Some(Interval { low, high })
}
