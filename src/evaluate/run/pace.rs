//! How long the rest of a run takes, from what its kinds of work took so far.

use std::collections::BTreeMap;

/// The pace of every kind of work in a run.
#[derive(Debug, Default)]
pub(super) struct Paces(BTreeMap<String, Pace>);

#[derive(Debug, Default)]
struct Pace {
    left: usize,
    /// What a pass costs beside those of other kinds, until it was measured.
    cost: f64,
    /// Passes that were timed, and their seconds.
    timed: usize,
    seconds: f64,
}

impl Pace {
    /// Seconds a pass, if any was timed.
    fn measured(&self) -> Option<f64> {
        (self.timed > 0).then(|| self.seconds / self.timed as f64)
    }
}

impl Paces {
    /// Announces passes of this kind, each at this cost.
    pub(super) fn expect(&mut self, kind: &str, passes: usize, cost: f64) {
        let pace = self.0.entry(kind.into()).or_default();
        pace.left += passes;
        pace.cost = cost.max(f64::MIN_POSITIVE);
    }

    /// Passes that are done, and the seconds that they took unless they were known from before.
    pub(super) fn done(&mut self, kind: &str, passes: usize, seconds: Option<f64>) {
        let pace = self.0.entry(kind.into()).or_default();
        pace.left = pace.left.saturating_sub(passes);
        if let Some(seconds) = seconds {
            // What needed no work in a batch that did (images that are wrong already) will be as rare later.
            pace.timed += passes;
            pace.seconds += seconds;
        }
    }

    /// Seconds that are left; kinds that were not timed yet are reckoned from the others by their costs.
    /// `None` before anything was timed.
    pub(super) fn left(&self) -> Option<f64> {
        let timed = || self.0.values().filter(|pace| pace.timed > 0);
        let unit = timed().map(|pace| pace.seconds).sum::<f64>()
            / timed().map(|pace| pace.cost * pace.timed as f64).sum::<f64>();
        let seconds = |pace: &Pace| pace.left as f64 * pace.measured().unwrap_or(unit * pace.cost);
        let seconds: f64 = self.0.values().filter(|pace| pace.left > 0).map(seconds).sum();
        seconds.is_finite().then_some(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_keeps_its_own_pace() {
        let mut paces = Paces::default();
        paces.expect("clean", 100, 1.0);
        paces.expect("slow", 100, 200.0);
        assert_eq!(paces.left(), None);
        paces.done("clean", 10, Some(1.0));
        // 90 at 0.1 s, and 100 at 200 times that.
        assert!((paces.left().unwrap() - (9.0 + 2000.0)).abs() < 1e-9);
        paces.done("slow", 10, Some(50.0));
        assert!((paces.left().unwrap() - (9.0 + 90.0 * 5.0)).abs() < 1e-9);
        // Cheap passes do not change what dear ones are known to take.
        paces.done("clean", 80, Some(8.0));
        assert!((paces.left().unwrap() - (1.0 + 90.0 * 5.0)).abs() < 1e-9);
    }

    #[test]
    fn what_was_known_from_before_says_nothing_of_the_pace() {
        let mut paces = Paces::default();
        paces.expect("clean", 100, 1.0);
        paces.done("clean", 50, None);
        assert_eq!(paces.left(), None);
        paces.done("clean", 10, Some(2.0));
        assert!((paces.left().unwrap() - 8.0).abs() < 1e-9);
    }
}
