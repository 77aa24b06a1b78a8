//! How the learning rate goes on after the first step.

use burn::lr_scheduler::LrSchedulerConfig;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use serde::{Deserialize, Serialize};

use crate::parameter::Parameter;

/// How the learning rate goes on after the first step.
///
/// | field | usual | range |
/// | --- | --- | --- |
/// | peak | 0.5 in Wong's CIFAR-10 script, 0.4 in his MNIST script | (0,1) |
/// | at | 0.5 and 0.75 | (0,1), rising, at least one |
/// | factor | 0.1 | (0,1) |
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// The same in every step, as in the paper.
    #[default]
    Constant,
    /// Down to zero over all epochs along half a cosine (Loshchilov & Hutter, ICLR 2017), which spares short
    /// runs the ups and downs of a last epoch at full rate.
    Cosine,
    /// One cycle: up from zero to the learning rate in a straight line, and down to zero in another (Smith & Topin 2018; the triangle of
    /// Wong, Rice & Kolter, ICLR 2020), each step with the rate at its end.
    OneCycle {
        /// Where the learning rate is reached, as a share of all steps.
        peak: f64,
    },
    /// Constant between these places, and multiplied by a factor at each: PyTorch's `MultiStepLR`.
    Piecewise {
        /// Where it falls, as shares of all steps.
        at: Vec<f64>,
        /// What it is multiplied by.
        factor: f64,
    },
}

impl Schedule {
    pub(super) fn parameters(&self, rate: f64) -> Vec<Parameter> {
        let most = if *self == Self::Constant { f64::INFINITY } else { 1.0 };
        let inside = |share: f64| share > 0.0 && share < 1.0;
        let mut parameters =
            vec![Parameter::new("learning_rate", "at most 1 unless it is constant", rate <= most, rate)];
        match self {
            Self::Constant | Self::Cosine => {}
            Self::OneCycle { peak } => {
                parameters.push(Parameter::new("peak", "a number between 0 and 1", inside(*peak), peak));
            }
            Self::Piecewise { at, factor } => {
                let rising = at.is_sorted_by(|a, b| a < b) && at.iter().all(|&share| inside(share));
                let (range, found) = ("rising numbers between 0 and 1, at least one", format!("{at:?}"));
                parameters.push(Parameter::new("at", range, !at.is_empty() && rising, found));
                parameters.push(Parameter::new(
                    "factor",
                    "a number between 0 and 1",
                    inside(*factor),
                    factor,
                ));
            }
        }
        parameters
    }

    /// The rates of so many steps, from the checked settings.
    pub(super) fn init(&self, rate: f64, steps: usize) -> ModuleLrScheduler {
        let place = |share: f64| (share * steps as f64).round() as usize;
        let checked = "checked with the settings";
        match self {
            Self::Constant => rate.into(),
            Self::Cosine => CosineAnnealingLrSchedulerConfig::new(rate, steps).init().expect(checked),
            Self::OneCycle { peak } => {
                let up = place(*peak).clamp(1, steps.max(2) - 1);
                let down = steps.saturating_sub(up);
                // The triangle at the end of each step: a first step at rate zero would move nothing.
                let rising = LinearLrSchedulerConfig::new(rate / up as f64, rate, (up - 1).max(1));
                let falling: LrSchedulerConfig = match down {
                    0 | 1 => LrSchedulerConfig::Constant(0.0),
                    _ => {
                        let first = rate * (down - 1) as f64 / down as f64;
                        LinearLrSchedulerConfig::new(first, 0.0, down - 1).into()
                    }
                };
                let parts = vec![rising.into(), falling];
                SequentialLrSchedulerConfig::new(parts, vec![up]).init().expect(checked)
            }
            Self::Piecewise { at, factor } => {
                // Places that fall on one step of a short run fall together.
                let mut milestones: Vec<usize> = Vec::new();
                let mut rates = vec![rate];
                for place in at.iter().map(|&share| place(share).max(1)) {
                    let next = rates.last().expect("the first rate") * factor;
                    if milestones.last() == Some(&place) {
                        *rates.last_mut().expect("the first rate") = next;
                    } else {
                        milestones.push(place);
                        rates.push(next);
                    }
                }
                let parts = rates.into_iter().map(LrSchedulerConfig::Constant).collect();
                SequentialLrSchedulerConfig::new(parts, milestones).init().expect(checked)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: &Schedule, rate: f64, steps: usize) -> Vec<f64> {
        let mut scheduler = schedule.init(rate, steps);
        (0..steps).map(|_| scheduler.step().base()).collect()
    }

    fn assert_near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        assert!(
            found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12),
            "{found:?}, not {expected:?}"
        );
    }

    #[test]
    fn one_cycle_is_the_triangle_of_the_fast_adversarial_script() {
        // numpy.interp(t / 10, [0, 0.4, 1], [0, 0.2, 0]) for t = 1..10, as in its MNIST script.
        let expected = [0.05, 0.1, 0.15, 0.2, 1.0 / 6.0, 4.0 / 30.0, 0.1, 2.0 / 30.0, 1.0 / 30.0, 0.0];
        assert_near(&rates(&Schedule::OneCycle { peak: 0.4 }, 0.2, 10), &expected);
        assert_near(&rates(&Schedule::OneCycle { peak: 0.5 }, 0.2, 2), &[0.2, 0.0]);
        assert_near(&rates(&Schedule::OneCycle { peak: 0.5 }, 0.2, 1), &[0.2]);
    }

    #[test]
    fn piecewise_is_pytorchs_multi_step() {
        // torch.optim.lr_scheduler.MultiStepLR(milestones=[4, 6], gamma=0.1).
        let schedule = Schedule::Piecewise { at: vec![0.5, 0.75], factor: 0.1 };
        assert_near(&rates(&schedule, 0.1, 8), &[0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001]);
        assert_near(&rates(&schedule, 0.1, 1), &[0.1]);
        assert_near(&rates(&schedule, 0.1, 2), &[0.1, 0.01]);
    }

    #[test]
    fn refuses_shares_that_are_none() {
        let name =
            |schedule: Schedule| crate::parameter::check(schedule.parameters(0.1)).map_err(|e| e.parameter);
        assert_eq!(name(Schedule::OneCycle { peak: 1.0 }), Err("peak".into()));
        for at in [vec![], vec![0.75, 0.5], vec![0.0], vec![f64::NAN]] {
            assert_eq!(name(Schedule::Piecewise { at, factor: 0.1 }), Err("at".into()));
        }
        assert_eq!(name(Schedule::Piecewise { at: vec![0.5], factor: 1.5 }), Err("factor".into()));
        assert_eq!(name(Schedule::Piecewise { at: vec![0.5], factor: 0.5 }), Ok(()));
    }
}
