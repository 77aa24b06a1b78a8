//! Holding an attack to its budget.

use crate::evaluate::result::Violations;
use crate::pixels::Budget;

/// Room for single-precision rounding before a pixel counts as outside.
const TINY: f32 = 1e-6;

/// Projects `adversarial` in place into the budget around `original`, if there is one, and into \[0,1\], and
/// says what was wrong with it and whether any pixel is another one now. Pixels that are NaN or infinite become the
/// original ones.
pub(crate) fn enforce(
    original: &[f32],
    adversarial: &mut [f32],
    budget: Option<Budget>,
) -> (Violations, bool) {
    let (mut violations, mut corrected) = (Violations::default(), false);
    for (pixel, &before) in adversarial.iter_mut().zip(original) {
        let kept = if pixel.is_finite() { *pixel } else { before };
        violations.not_finite |= !pixel.is_finite();
        violations.out_of_range |= !(-TINY..=1.0 + TINY).contains(&kept);
        let kept = kept.clamp(0.0, 1.0);
        corrected |= kept != *pixel;
        *pixel = kept;
    }
    let Some(budget) = budget else { return (violations, corrected) };
    let mut change: Vec<f64> =
        adversarial.iter().zip(original).map(|(&a, &o)| f64::from(a) - f64::from(o)).collect();
    if !budget.holds(budget.norm().measure_values(&change)) {
        (violations.over_budget, corrected) = (true, true);
        budget.norm().project_values(&mut change, budget.size());
        // Towards the original, which lies in [0,1]: the box is kept.
        for ((pixel, &before), change) in adversarial.iter_mut().zip(original).zip(change) {
            *pixel = ((f64::from(before) + change) as f32).clamp(0.0, 1.0);
        }
    }
    (violations, corrected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::{Epsilon, Norm};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_result_is_in_ball_and_box_and_stays_there(
            pixels in prop::collection::vec((0f32..=1.0, -2f32..3.0), 1..40),
            epsilon in 0f64..2.0,
        ) {
            let (original, wild): (Vec<f32>, Vec<f32>) = pixels.into_iter().unzip();
            for norm in [Norm::Linf, Norm::L2, Norm::L1, Norm::L0] {
                let budget = Budget::new(norm, Epsilon::unit(epsilon));
                let mut kept = wild.clone();
                enforce(&original, &mut kept, Some(budget));
                let change: Vec<f64> =
                    kept.iter().zip(&original).map(|(&a, &o)| f64::from(a) - f64::from(o)).collect();
                prop_assert!(budget.holds(norm.measure_values(&change) - 1e-6), "{norm}");
                prop_assert!(kept.iter().all(|p| (0.0..=1.0).contains(p)));
                let mut again = kept.clone();
                enforce(&original, &mut again, Some(budget));
                prop_assert!(again.iter().zip(&kept).all(|(a, k)| (a - k).abs() < 1e-5), "{norm}");
            }
        }
    }

    #[test]
    fn what_was_wrong_is_said() {
        let said = |adversarial: [f32; 2]| {
            let budget = Budget::linf(Epsilon::unit(0.25));
            enforce(&[0.5, 0.9], &mut adversarial.clone(), Some(budget))
        };
        let none = Violations::default();
        assert_eq!(said([0.75, 0.7]), (none, false));
        assert_eq!(said([0.8, 0.9]), (Violations { over_budget: true, ..none }, true));
        assert_eq!(said([0.5, 1.1]), (Violations { out_of_range: true, ..none }, true));
        assert_eq!(said([f32::NAN, 0.9]), (Violations { not_finite: true, ..none }, true));
    }
}
