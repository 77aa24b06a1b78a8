//! The attack that knows the detectors.

use serde::Serialize;

use super::climb::AdaptiveConfig;
use crate::attack::prelude::*;
use crate::attack::steps::Worst;
use crate::defense::detector::alarm::Alarm;

/// Fools the classifier and evades its detectors at once: what a guarded classifier is to be judged by.
///
/// Within the budget it raises `min(margin, confidence) - c sum_k max(0, s_k(x) - t_k) / w_k`, with the
/// scores `s_k` of the detectors, their tightened thresholds `t_k` and the distances `w_k` from median clean
/// score to threshold, which make detectors of any scale comparable. The constant c of each image is searched
/// by its own runs: ten times as large where the last point fools the classifier but is detected, a tenth
/// where it does not, the geometric mean once both have been seen. After Carlini & Wagner, "Adversarial
/// Examples Are Not Easily Detected", AISec 2017, section 3.3, and their attack on MagNet, arXiv:1711.08478,
/// with signed or unit steps instead of a search for the smallest change.
///
/// An image is a success if it fools the classifier and no detector fires at its real threshold; it leaves
/// once that holds at the tightened thresholds. An image without success comes back as its point of the
/// largest margin, detected or not. [`AdaptiveConfig`] has the parameters with their ranges; there is at
/// least 1 alarm.
///
/// The profile counts the queries of the victim. Each gradient comes with a forward and backward pass through
/// every detector, each forward pass with a forward one, which a detector's own networks count. A detector
/// without a useful gradient is not evaded by this attack, and not sound for it: see
/// [`Detector::score`](crate::defense::detector::Detector::score).
///
/// ```
/// use std::sync::Arc;
///
/// use histoguard::defense::detector::{Adaptive, AdaptiveConfig, Alarm, ImageMap};
/// use histoguard::defense::detector::{ReconstructionError, Threshold};
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// // Fires where the first pixel is far from 0.55: PGD moves it with the others.
/// let grey = ImageMap::new("first pixel", |x| {
///     let [batch, channels, height, width] = x.dims();
///     let first = x.clone().narrow(3, 0, 1) * 0.0 + 0.55;
///     Tensor::cat(vec![first.expand([batch, channels, height, 1]), x.narrow(3, 1, width - 1)], 3)
/// });
/// let detector = Arc::new(ReconstructionError::new(grey, 1)?);
/// let threshold = Threshold { value: 0.01, rate: 0.05, median: 0.0, images: 19, slides: 19 };
/// let alarm = Alarm { detector, threshold };
///
/// let (image, goal) = (Tensor::full([1, 1, 1, 4], 0.55, &device), Goal::untargeted([1]));
/// let budget = Budget::linf(Epsilon::unit(0.1));
/// let oblivious = Pgd::new(budget).with_early_stop(false).perturb(&victim, image.clone(), &goal)?;
/// let attack = Adaptive::new(AdaptiveConfig::new(budget), vec![alarm.clone()]);
/// let adaptive = attack.perturb(&victim, image, &goal)?;
/// assert_eq!((victim.predict(oblivious.clone()), alarm.fires(oblivious)), (vec![0], vec![true]));
/// assert_eq!((victim.predict(adaptive.clone()), alarm.fires(adaptive)), (vec![0], vec![false]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct Adaptive {
    #[serde(flatten)]
    config: AdaptiveConfig,
    alarms: Vec<Alarm>,
}

impl Adaptive {
    /// An attack that knows these alarms, for example
    /// [`Guard::alarms`](crate::defense::detector::Guard::alarms).
    pub fn new(config: AdaptiveConfig, alarms: Vec<Alarm>) -> Self {
        Self { config, alarms }
    }
}

impl Attack for Adaptive {
    fn profile(&self) -> Profile {
        let AdaptiveConfig { budget, steps, search_steps, .. } = self.config;
        let detectors: Vec<String> = self.alarms.iter().map(|alarm| alarm.detector.name()).collect();
        let queries = Queries::gradients(search_steps * steps) + Queries::forwards(search_steps);
        let name = format!("Adaptive to {}", detectors.join(" and "));
        Profile::within(name, budget, Access::Gradients, search_steps * steps, queries)
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        self.config.parameters(self.alarms.len())
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { config: AdaptiveConfig { budget, ..self.config }, alarms: self.alarms.clone() })
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        let config = self.config.with_search_steps(2 * self.config.search_steps);
        Some(Box::new(Self { config, ..self.clone() }))
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        let task = task.afresh();
        let mut worst = Worst::new(task.images());
        let mut searches = vec![Search::new(self.config.initial_constant); task.len()];
        for run in 0..self.config.search_steps {
            let standing = worst.standing();
            if standing.is_empty() {
                break;
            }
            let constants = searches.keep(&standing).iter().map(|search| search.constant).collect();
            let part = task.keep(&standing).in_run(run);
            let end = self.config.climb(&self.alarms, &part, constants, &mut worst)?;
            for (position, fools) in end.positions.into_iter().zip(end.fools) {
                searches[position].narrow(fools);
            }
        }
        Ok(worst.0.images)
    }
}

/// An image's search for the constant.
#[derive(Clone, Copy, Debug)]
struct Search {
    constant: f64,
    /// The largest that fools the classifier but is detected.
    lower: Option<f64>,
    /// The smallest that does not fool the classifier.
    upper: Option<f64>,
}

impl Search {
    fn new(constant: f64) -> Self {
        Self { constant, lower: None, upper: None }
    }

    fn narrow(&mut self, fools: bool) {
        *(if fools { &mut self.lower } else { &mut self.upper }) = Some(self.constant);
        self.constant = match (self.lower, self.upper) {
            (Some(lower), Some(upper)) => (lower * upper).sqrt(),
            (_, None) => self.constant * 10.0,
            (None, _) => self.constant / 10.0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_grow_while_detected_and_fall_while_not_fooled() {
        let mut search = Search::new(1.0);
        search.narrow(true);
        assert_eq!(search.constant, 10.0);
        search.narrow(false);
        assert!((search.constant - 10f64.sqrt()).abs() < 1e-12);
        search.narrow(true);
        assert!((search.constant - 10f64.powf(0.75)).abs() < 1e-12);
        let mut search = Search::new(1.0);
        search.narrow(false);
        assert_eq!(search.constant, 0.1);
    }
}
