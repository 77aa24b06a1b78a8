//! Confidence intervals that resample slides.

use std::collections::BTreeMap;

use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::interval::Interval;
use crate::pixels::round;
use crate::random::{Purpose, generator};

/// 95 % intervals from resampled slides, by the percentile method; `None` where there was nothing to measure.
///
/// The images of a slide are alike, so that an interval over images (Wilson) promises too much for a new
/// patient. Here whole slides are drawn with replacement, as many as there are, and every statistic is
/// computed of each draw; the interval is from its 2.5th to its 97.5th percentile (Efron & Tibshirani, "An
/// Introduction to the Bootstrap", 1993, chapter 13; for clusters Field & Welsh, JRSS B 69, 2007). With
/// fewer than ten slides it is too narrow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Number of draws.
    pub resamples: usize,
    /// Number of slides.
    pub slides: usize,
    /// Of the accuracy over all images.
    pub accuracy: Option<Interval>,
    /// Of the mean of the classes' accuracies.
    pub balanced_accuracy: Option<Interval>,
    /// Of the patient rate.
    pub patient_rate: Option<Interval>,
    /// Of each class's accuracy.
    pub classes: Vec<Option<Interval>>,
}

/// One image: its slide, its class, and whether it was right.
pub type Answer<'a> = (&'a str, usize, bool);

/// The draws of slides, the same for every statistic and every attack, so that differences between them are paired.
#[derive(Clone, Debug)]
pub struct Resamples {
    /// How often each slide is in each draw.
    draws: Vec<Vec<u16>>,
    slides: BTreeMap<String, usize>,
}

impl Resamples {
    /// Draws from the slides with these names.
    pub fn new(groups: impl IntoIterator<Item = String>, count: usize, seed: u64) -> Self {
        let mut slides: BTreeMap<String, usize> = groups.into_iter().map(|group| (group, 0)).collect();
        slides.values_mut().enumerate().for_each(|(position, slide)| *slide = position);
        let number = slides.len();
        let draw = |draw: usize| {
            let mut rng = generator(Purpose::BOOTSTRAP, seed, &[draw as u64]);
            let mut times = vec![0u16; number];
            (0..number).for_each(|_| {
                let slide = &mut times[rng.random_range(0..number)];
                *slide = slide.saturating_add(1);
            });
            times
        };
        Self { draws: (0..count).into_par_iter().map(draw).collect(), slides }
    }

    /// The intervals of these images of so many classes.
    ///
    /// # Panics
    ///
    /// Panics on a slide that was not drawn from, or a class that is not below `classes`.
    pub fn intervals<'a>(&self, classes: usize, images: impl Iterator<Item = Answer<'a>>) -> Bootstrap {
        let mut tables = vec![vec![(0u32, 0u32); classes]; self.slides.len()];
        for (slide, class, was_right) in images {
            let (right, total) = &mut tables[self.slides[slide]][class];
            *right += u32::from(was_right);
            *total += 1;
        }
        let drawn: Vec<Drawn> =
            self.draws.par_iter().map(|draw| Drawn::new(draw, &tables, classes)).collect();
        let interval = |value: &dyn Fn(&Drawn) -> Option<f64>| percentiles(drawn.iter().filter_map(value));
        Bootstrap {
            resamples: self.draws.len(),
            slides: self.slides.len(),
            accuracy: interval(&|d| d.accuracy),
            balanced_accuracy: interval(&|d| {
                Some(d.classes.iter().copied().sum::<Option<f64>>()? / d.classes.len() as f64)
            }),
            patient_rate: interval(&|d| d.patient_rate),
            classes: (0..classes).map(|c| interval(&|d| d.classes[c])).collect(),
        }
    }
}

/// The statistics of one draw.
struct Drawn {
    accuracy: Option<f64>,
    patient_rate: Option<f64>,
    classes: Vec<Option<f64>>,
}

impl Drawn {
    fn new(draw: &[u16], tables: &[Vec<(u32, u32)>], classes: usize) -> Self {
        let mut sums = vec![(0u64, 0u64); classes];
        let (mut score, mut slides) = (0.0, 0.0);
        for (&times, table) in draw.iter().zip(tables).filter(|(times, _)| **times > 0) {
            let (mut right, mut total) = (0, 0);
            for (sum, &(r, t)) in sums.iter_mut().zip(table) {
                sum.0 += u64::from(times) * u64::from(r);
                sum.1 += u64::from(times) * u64::from(t);
                (right, total) = (right + r, total + t);
            }
            if total > 0 {
                score += f64::from(times) * f64::from(right) / f64::from(total);
                slides += f64::from(times);
            }
        }
        let share = |(right, total): (u64, u64)| (total > 0).then(|| right as f64 / total as f64);
        let all = sums.iter().fold((0, 0), |all, sum| (all.0 + sum.0, all.1 + sum.1));
        Self {
            accuracy: share(all),
            patient_rate: (slides > 0.0).then(|| score / slides),
            classes: sums.into_iter().map(share).collect(),
        }
    }
}

/// The 2.5th and 97.5th percentile, linear between neighbours (numpy's default).
fn percentiles(values: impl Iterator<Item = f64>) -> Option<Interval> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = |share: f64| {
        let place = share * last as f64;
        let below = place.floor() as usize;
        let above = (below + 1).min(last);
        round(values[below] + (values[above] - values[below]) * (place - below as f64))
    };
    Some(Interval { low: at(0.025), high: at(0.975) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_equal_numpys() {
        // numpy.percentile([3, 1, 4, 1.5, 9, 2.6, 5], [2.5, 97.5]).
        let found = percentiles([3.0, 1.0, 4.0, 1.5, 9.0, 2.6, 5.0].into_iter()).unwrap();
        assert!((found.low - 1.075).abs() < 1e-12 && (found.high - 8.4).abs() < 1e-12, "{found:?}");
        assert_eq!(percentiles(std::iter::empty()), None);
    }

    /// `right` of `total` images of a slide.
    fn images<'a>(slides: &[(&'a str, usize, usize, usize)]) -> Vec<Answer<'a>> {
        slides
            .iter()
            .flat_map(|&(group, label, right, total)| (0..total).map(move |i| (group, label, i < right)))
            .collect()
    }

    fn intervals(images: &[Answer<'_>], count: usize, seed: u64) -> Bootstrap {
        Resamples::new(images.iter().map(|i| i.0.to_string()), count, seed)
            .intervals(2, images.iter().copied())
    }

    /// tests/golden/bootstrap.py.
    #[test]
    fn intervals_equal_scipys() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/golden/bootstrap.json")).unwrap();
        for case in golden.as_array().unwrap() {
            let number = |value: &serde_json::Value| value.as_u64().unwrap() as usize;
            let names: Vec<String> =
                (0..case["slides"].as_array().unwrap().len()).map(|i| format!("{i:03}")).collect();
            let slides: Vec<_> = names
                .iter()
                .zip(case["slides"].as_array().unwrap())
                .map(|(name, s)| (name.as_str(), number(&s[0]), number(&s[1]), number(&s[2])))
                .collect();
            let found = intervals(&images(&slides), 20_000, 1);
            for (name, found) in [("accuracy", found.accuracy), ("patient_rate", found.patient_rate)] {
                let (found, expected) = (found.unwrap(), &case[name]);
                for (found, expected) in [(found.low, &expected[0]), (found.high, &expected[1])] {
                    let expected = expected.as_f64().unwrap();
                    assert!((found - expected).abs() < 0.006, "{name}: expected {expected}, found {found}");
                }
            }
        }
    }

    #[test]
    fn three_slides_are_known_by_hand() {
        let images = images(&[("a", 1, 4, 4), ("b", 1, 1, 5), ("c", 0, 3, 6)]);
        let found = intervals(&images, 20_000, 3);
        // The extreme draws (all a, all b) have probability 1/27 each, above 2.5 %: the ends are certain.
        assert_eq!(found.accuracy, Some(Interval { low: 0.2, high: 1.0 }));
        assert_eq!(found.patient_rate, Some(Interval { low: 0.2, high: 1.0 }));
        assert_eq!(found.classes[0], Some(Interval { low: 0.5, high: 0.5 }));
        assert_eq!(found.slides, 3);
    }

    #[test]
    fn the_seed_decides() {
        let images =
            images(&[("a", 1, 4, 9), ("b", 1, 1, 5), ("c", 0, 3, 6), ("d", 0, 7, 8), ("e", 1, 2, 7)]);
        assert_eq!(intervals(&images, 50, 3), intervals(&images, 50, 3));
        assert_ne!(intervals(&images, 50, 3), intervals(&images, 50, 4));
    }
}
