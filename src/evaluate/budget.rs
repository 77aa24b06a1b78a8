//! Holding an attack to its budget.

use crate::attack::Norm;
use crate::pixels::Epsilon;

/// Relative and absolute room for single-precision rounding before a result counts as over its budget.
const ROUNDING: f64 = 1e-4;
const TINY: f64 = 1e-6;

/// Whether a perturbation of this length keeps to the budget, but for rounding.
pub(crate) fn within(length: f64, epsilon: f64) -> bool {
    length <= epsilon * (1.0 + ROUNDING) + TINY
}

/// A budget as readers know it: in grey levels for L-infinity, else the norm over the image.
pub(crate) fn shown(norm: Norm, epsilon: Epsilon) -> String {
    match norm {
        Norm::Linf => epsilon.to_string(),
        Norm::L2 | Norm::L1 | Norm::L0 => format!("{}", (epsilon.value() * 1e4).round() / 1e4),
    }
}

/// What had to be corrected in an attack's result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Violations {
    pub(crate) over_budget: bool,
    pub(crate) out_of_range: bool,
    pub(crate) not_finite: bool,
}

/// Projects `adversarial` in place onto the ball of `epsilon` around `original` and onto \[0,1\], and says
/// what was wrong with it. Pixels that are NaN or infinite become the original ones.
pub(crate) fn enforce(original: &[f32], adversarial: &mut [f32], norm: Norm, epsilon: f64) -> Violations {
    let mut violations = Violations::default();
    for (pixel, &before) in adversarial.iter_mut().zip(original) {
        if !pixel.is_finite() {
            violations.not_finite = true;
            *pixel = before;
        }
        if *pixel < -TINY as f32 || *pixel > 1.0 + TINY as f32 {
            violations.out_of_range = true;
        }
        *pixel = pixel.clamp(0.0, 1.0);
    }
    let mut change: Vec<f64> =
        adversarial.iter().zip(original).map(|(&a, &o)| f64::from(a) - f64::from(o)).collect();
    if !within(norm.measure_values(&change), epsilon) {
        violations.over_budget = true;
        norm.project_values(&mut change, epsilon);
        // Towards the original, which lies in [0,1]: the box is kept.
        for ((pixel, &before), change) in adversarial.iter_mut().zip(original).zip(change) {
            *pixel = ((f64::from(before) + change) as f32).clamp(0.0, 1.0);
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_result_is_in_ball_and_box_and_stays_there(
            pixels in prop::collection::vec((0f32..=1.0, -2f32..3.0), 1..40),
            epsilon in 0f64..2.0,
        ) {
            let (original, wild): (Vec<f32>, Vec<f32>) = pixels.into_iter().unzip();
            for norm in [Norm::Linf, Norm::L2, Norm::L1, Norm::L0] {
                let mut kept = wild.clone();
                enforce(&original, &mut kept, norm, epsilon);
                let change: Vec<f64> =
                    kept.iter().zip(&original).map(|(&a, &o)| f64::from(a) - f64::from(o)).collect();
                prop_assert!(within(norm.measure_values(&change) - 1e-6, epsilon), "{norm}");
                prop_assert!(kept.iter().all(|p| (0.0..=1.0).contains(p)));
                let mut again = kept.clone();
                enforce(&original, &mut again, norm, epsilon);
                prop_assert!(again.iter().zip(&kept).all(|(a, k)| (a - k).abs() < 1e-5), "{norm}");
            }
        }
    }

    #[test]
    fn budgets_are_shown_in_the_unit_of_their_norm() {
        assert_eq!(shown(Norm::Linf, Epsilon::pixels(0.5)), "0.5/255");
        assert_eq!(shown(Norm::L2, Epsilon::unit(0.25)), "0.25");
        assert_eq!(shown(Norm::L0, Epsilon::unit(12.0)), "12");
    }

    #[test]
    fn what_was_wrong_is_said() {
        let said = |adversarial: [f32; 2]| enforce(&[0.5, 0.9], &mut adversarial.clone(), Norm::Linf, 0.25);
        assert_eq!(said([0.75, 0.7]), Violations::default());
        assert_eq!(said([0.8, 0.9]), Violations { over_budget: true, ..Default::default() });
        assert_eq!(said([0.5, 1.1]), Violations { out_of_range: true, ..Default::default() });
        assert_eq!(said([f32::NAN, 0.9]), Violations { not_finite: true, ..Default::default() });
    }
}
