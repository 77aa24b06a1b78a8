//! The L1 version of Auto-PGD's step.

use crate::attack::prelude::*;
use crate::pixels::{change, changed, project_l1_in_box};
use crate::rows::each;

/// For each image a step of L1 length `step` spread evenly, by sign, over the `share` of entries with the
/// largest gradient, then the projection onto the L1 ball of radius `epsilon` around `clean` within \[0,1\]
/// (Croce & Hein 2021, algorithm 1 and section 3.2).
///
/// `steps` holds (`step`, `share`, values that may change) of each image; the gradient of the others is zero.
pub(super) fn advance(
    clean: &Tensor<4>,
    now: &Tensor<4>,
    gradient: &Tensor<4>,
    steps: &[(f64, f64, usize)],
    epsilon: f64,
) -> Tensor<4> {
    let gradient = values(gradient.clone());
    let size = gradient.len() / steps.len().max(1);
    map(clean, now, |image, clean, change| {
        let gradient = &gradient[image * size..][..size];
        let (step, share, free) = steps[image];
        let mut sizes: Vec<f32> = gradient.iter().map(|g| g.abs()).collect();
        let rank = (((1.0 - share) * free as f64).max(0.0) as usize).min(free - 1) + size - free;
        let least = *sizes.select_nth_unstable_by(rank, f32::total_cmp).1;
        let chosen = |g: f32| g != 0.0 && g.abs() >= least;
        let each = step / gradient.iter().filter(|&&g| chosen(g)).count().max(1) as f64;
        for (c, &g) in change.iter_mut().zip(gradient) {
            *c += if chosen(g) { each.copysign(f64::from(g)) } else { 0.0 };
        }
        project_l1_in_box(clean, change, epsilon);
    })
}

/// The nearest images within the L1 ball around `clean` and \[0,1\].
pub(super) fn project(clean: &Tensor<4>, images: &Tensor<4>, epsilon: f64) -> Tensor<4> {
    map(clean, images, |_, clean, change| project_l1_in_box(clean, change, epsilon))
}

/// `images` with `rework` of each one's change: its position, its clean image, its change from there.
fn map(
    clean: &Tensor<4>,
    images: &Tensor<4>,
    rework: impl Fn(usize, &[f32], &mut [f64]) + Sync,
) -> Tensor<4> {
    let clean = values(clean.clone());
    each(images, |image, now| {
        let clean = &clean[image * now.len()..][..now.len()];
        let mut change = change(clean, now);
        rework(image, clean, &mut change);
        changed(clean, change)
    })
}
