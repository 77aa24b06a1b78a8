//! Stains against scikit-image and PyTorch, and the stain attacks against each other and finite differences.

mod victim;

use histoguard::attack::{Stain, StainGrid};
use histoguard::pixels::{StainShift, StainSpace};
use histoguard::prelude::*;
use histoguard::rows::take;
use victim::{golden, largest_difference, values};

fn stored(name: &str) -> Tensor<4> {
    Tensor::from_data(golden("semantic", name), &Device::default())
}

fn numbers(name: &str) -> Vec<f32> {
    golden("semantic", name).try_into_vec().unwrap()
}

fn shifts(numbers: &[f32]) -> Vec<StainShift> {
    let of = |six: &[f32]| StainShift::new(std::array::from_fn(|i| f64::from(six[i])));
    numbers.chunks(6).map(of).collect()
}

/// scikit-image cuts stains at zero and colors to [0,1]; so cut, ours are the same.
#[test]
fn both_ways_equal_scikit_image() {
    let hed = StainSpace::SKIMAGE.stains(stored("stain.images")).clamp_min(0.0);
    assert!(largest_difference(&values(hed), &numbers("stain.hed")) < 1e-5);
    let rgb = StainSpace::SKIMAGE.images(stored("stain.stains")).clamp(0.0, 1.0);
    assert!(largest_difference(&values(rgb), &numbers("stain.rgb")) < 1e-5);
    let colors: Vec<f32> = StainSpace::HED_COLORS.as_flattened().iter().map(|&c| c as f32).collect();
    assert_eq!(colors, numbers("stain.colors"));
}

#[test]
fn the_residual_is_scikit_images() {
    // Haematoxylin and DAB, as scikit-image has them.
    let space = StainSpace::with_residual([0.650, 0.704, 0.286], [0.268, 0.570, 0.776]);
    let colors: Vec<f32> = space.colors.as_flattened().iter().map(|&c| c as f32).collect();
    assert!(largest_difference(&colors, &numbers("stain.residual")) < 1e-7);
    let space = StainSpace { unit: StainSpace::SKIMAGE.unit, ..space };
    let found = space.stains(stored("stain.images")).clamp_min(0.0);
    assert!(largest_difference(&values(found), &numbers("stain.hdx")) < 1e-5);
}

#[test]
fn there_and_back_is_the_identity() {
    let images = stored("stain.images");
    // Black has no finite density: it comes back as 1e-6.
    let expected = values(images.clone().clamp_min(1e-6));
    for space in
        [StainSpace::SKIMAGE, StainSpace::HED, StainSpace::with_residual([0.6, 0.7, 0.3], [0.1, 0.9, 0.2])]
    {
        let back = values(space.images(space.stains(images.clone())));
        let difference = largest_difference(&back, &expected);
        assert!(difference < 2e-6, "{space:?}: {difference}");
    }
}

#[test]
fn shifts_and_their_gradients_equal_pytorch() {
    let space = StainSpace::HED;
    let stains = space.stains(stored("stain.images"));
    let shifted = space.shifted(stains.clone(), &shifts(&numbers("shift.numbers")));
    // Brighter than white where less than no stain is left: single precision is relative.
    let near = |(found, expected): (f32, f32)| (found - expected).abs() < 1e-5 * expected.max(1.0);
    assert!(values(shifted.clone()).into_iter().zip(numbers("shift.images")).all(near));
    let found = space.shift_gradient(&stains, shifted, stored("shift.weights"));
    let found: Vec<f32> = found.iter().flat_map(|shift| shift.numbers().map(|v| v as f32)).collect();
    let expected = numbers("shift.gradient");
    let largest = expected.iter().fold(0f32, |a, b| a.max(b.abs()));
    assert!(largest_difference(&found, &expected) < 1e-5 * largest, "{found:?} {expected:?}");
}

/// Central differences of the margin of a convolutional network in single precision: its rounding of about
/// 1e-6 over a step of 4e-3 leaves 1e-3 of error where gradients are around 1.
#[test]
fn the_gradient_of_the_margin_equals_finite_differences() {
    const STEP: f64 = 2e-3;
    let (space, count) = (StainSpace::HED, 6);
    for classes in [2, 4] {
        let victim = victim::victim(classes);
        let goal = Goal::untargeted(&victim::labels(classes)[..count]);
        let stains = space.stains(victim::images(classes).narrow(0, 0, count));
        let at: Vec<StainShift> = (0..count)
            .map(|image| StainShift::new(std::array::from_fn(|i| 0.03 * ((image + 2 * i) % 5) as f64 - 0.06)))
            .collect();
        let margins = |shifts: &[StainShift]| {
            let images = space.shifted(stains.clone(), shifts).clamp(0.0, 1.0);
            values(goal.margin(victim.logits(images)))
        };
        let shifted = space.shifted(stains.clone(), &at);
        let found = victim.input_gradient(shifted.clone().clamp(0.0, 1.0), |logits| goal.margin(logits));
        let gradient = found.gradient.mask_fill(shifted.clone().greater_elem(1.0), 0.0);
        let gradients = space.shift_gradient(&stains, shifted, gradient);
        for number in 0..6 {
            let moved = |by: f64| -> Vec<StainShift> {
                let moved = |shift: &StainShift| {
                    let mut numbers = shift.numbers();
                    numbers[number] += by;
                    StainShift::new(numbers)
                };
                at.iter().map(moved).collect()
            };
            let (above, below) = (margins(&moved(STEP)), margins(&moved(-STEP)));
            for image in 0..count {
                let expected = f64::from(above[image] - below[image]) / (2.0 * STEP);
                let found = gradients[image].numbers()[number];
                let tolerance = 2e-3 + 0.01 * expected.abs();
                assert!((found - expected).abs() < tolerance, "{number}, {image}: {found} {expected}");
            }
        }
    }
}

/// Calls an image malignant by how blue it is beside red, with a bend that no single step follows.
fn colorist() -> Frozen {
    Frozen::from_fn(2, &Device::default(), |x| {
        let channel = |c: usize| x.clone().narrow(1, c, 1).mean_dims(&[2, 3]).reshape([-1, 1]);
        let (red, green, blue) = (channel(0), channel(1), channel(2));
        let odd = ((red.clone() - green) * 40.0).sin() * 0.02;
        let score = (blue - red + odd) * 20.0;
        Tensor::cat(vec![score.clone().neg(), score], 1)
    })
}

fn fallen(victim: &Frozen, attack: &dyn Attack, images: Tensor<4>, labels: &[usize]) -> Vec<bool> {
    let found = attack.perturb(victim, images, &Goal::untargeted(labels)).unwrap();
    victim.predict(found).iter().zip(labels).map(|(found, label)| found != label).collect()
}

/// What a grid of 729 stains breaks, following gradients breaks, but for one image in 30.
#[test]
fn the_grid_finds_hardly_more_than_gradients() {
    let mut total = 0;
    for (victim, classes, strength) in [
        (victim::victim(4), 4, 0.3),
        (victim::victim(2), 2, 0.3),
        (colorist(), 2, 0.02),
        (colorist(), 2, 0.1),
    ] {
        let images = victim::images(classes);
        let labels = victim.predict(images.clone());
        let grid = fallen(&victim, &StainGrid::new(strength), images.clone(), &labels);
        let gradients = fallen(&victim, &Stain::new(strength), images, &labels);
        let count = |of: &[bool]| of.iter().filter(|fallen| **fallen).count();
        let alone = grid.iter().zip(&gradients).filter(|(grid, gradients)| **grid && !**gradients).count();
        assert!(count(&grid) > 0 && count(&grid) < 32, "the strength {strength} tells nothing: {grid:?}");
        assert!(alone <= 1, "{strength}: {} by the grid, {} by gradients", count(&grid), count(&gradients));
        total += count(&grid);
    }
    assert!(total >= 30, "{total}");
}

/// Scale and offset of each stain that lead from one image to another; `None` where a pixel was cut.
fn shift_between(from: &[f32], to: &[f32], pixels: usize) -> Vec<(f64, f64)> {
    let fit = |stain: usize| {
        let of = |values: &[f32]| -> Vec<f64> {
            values[stain * pixels..][..pixels].iter().map(|&v| f64::from(v)).collect()
        };
        let (x, y) = (of(from), of(to));
        let mean = |v: &[f64]| v.iter().sum::<f64>() / pixels as f64;
        let (mx, my) = (mean(&x), mean(&y));
        let covariance: f64 = x.iter().zip(&y).map(|(x, y)| (x - mx) * (y - my)).sum();
        let slope = covariance / x.iter().map(|x| (x - mx).powi(2)).sum::<f64>();
        let offset = my - slope * mx;
        let off = x.iter().zip(&y).map(|(x, y)| (slope * x + offset - y).abs()).fold(0.0, f64::max);
        assert!(off < 1e-3, "no shift of a stain: off by {off}");
        (slope - 1.0, offset)
    };
    (0..3).map(fit).collect()
}

#[test]
fn what_changes_is_a_stain_within_the_range() {
    let (victim, images, labels) = (victim::victim(4), victim::images(4), victim::labels(4));
    let (goal, space, strength) = (Goal::untargeted(&labels[..]), StainSpace::HED, 0.2);
    let attacks: [Box<dyn Attack>; 2] =
        [Box::new(Stain::new(strength)), Box::new(StainGrid::new(strength).with_levels(2))];
    for attack in attacks {
        let found = attack.perturb(&victim, images.clone(), &goal).unwrap();
        let cut = values(
            found.clone().lower_equal_elem(0.01).bool_or(found.clone().greater_equal_elem(1.0)).float(),
        );
        let (before, after) = (values(space.stains(images.clone())), values(space.stains(found)));
        let mut seen = 0;
        for image in (0..32).map(|image| image * 768..(image + 1) * 768) {
            if cut[image.clone()].contains(&1.0) {
                continue;
            }
            seen += 1;
            let fits = |(a, b): (f64, f64)| a.abs() < strength + 2e-3 && b.abs() < strength + 2e-3;
            let shift = shift_between(&before[image.clone()], &after[image], 256);
            assert!(shift.iter().copied().all(fits), "{attack:?}: {shift:?}");
        }
        assert!(seen > 8, "{attack:?}: {seen} images to look at");
    }
}

#[test]
fn results_depend_on_the_image_its_index_and_the_seed_alone() {
    let (victim, images, labels) = (victim::victim(4), victim::images(4), victim::labels(4));
    let rows: Vec<usize> = (0..10).collect();
    let goal = |rows: &[usize]| {
        let labels: Vec<usize> = rows.iter().map(|&row| labels[row]).collect();
        Goal::untargeted(labels).with_indices(rows.iter().map(|&row| 100 + row as u64).collect())
    };
    let found = |attack: &dyn Attack, rows: &[usize]| {
        values(attack.perturb(&victim, take(&images, rows), &goal(rows)).unwrap())
    };
    let stain = Stain::new(0.15).with_steps(4);
    let lost = stain.with_corners(0).with_random_starts(3).with_steps(2);
    let attacks: [Box<dyn Attack>; 3] =
        [Box::new(stain), Box::new(lost), Box::new(StainGrid::new(0.15).with_levels(2))];
    for attack in attacks {
        let together = found(&*attack, &rows);
        for chunk in rows.chunks(3) {
            let place = chunk[0] * 768..(chunk[chunk.len() - 1] + 1) * 768;
            assert!(found(&*attack, chunk) == together[place], "{attack:?}: {chunk:?}");
        }
    }
    let all: Vec<usize> = (0..32).collect();
    assert!(found(&lost, &all) == found(&lost, &all));
    assert!(found(&lost, &all) != found(&lost.with_seed(1), &all));
    assert!(found(&lost, &all) != found(&lost.with_random_starts(0), &all));
}

#[test]
fn both_searches_go_towards_a_target_too() {
    let victim = colorist();
    let images = victim::images(2);
    let before = victim.predict(images.clone());
    let rows: Vec<usize> = (0..32).filter(|&row| before[row] == 0).collect();
    let images = take(&images, &rows);
    let goal = Goal::targeted(vec![1; rows.len()]);
    let attacks: [Box<dyn Attack>; 2] =
        [Box::new(Stain::new(0.3)), Box::new(StainGrid::new(0.3).with_levels(2))];
    for attack in attacks {
        let found = victim.predict(attack.perturb(&victim, images.clone(), &goal).unwrap());
        let reached = found.iter().filter(|&&class| class == 1).count();
        assert!(2 * reached > rows.len(), "{attack:?}: {reached} of {}", rows.len());
    }
}

#[test]
fn without_strength_nothing_changes_but_by_rounding() {
    let (victim, images) = (victim::victim(2), victim::images(2));
    let goal = Goal::untargeted(victim::labels(2));
    let found = Stain::new(0.0).perturb(&victim, images.clone(), &goal).unwrap();
    assert!(largest_difference(&values(found), &values(images.clamp_min(1e-6))) < 2e-6);
}

#[test]
fn refuses_what_is_outside_the_documented_ranges() {
    let (victim, goal) = (victim::victim(2), Goal::untargeted([0]));
    let image = || victim::images(2).narrow(0, 0, 1);
    let refused = |attack: &dyn Attack, image: Tensor<4>| {
        attack.perturb(&victim, image, &goal).unwrap_err().to_string()
    };
    for strength in [-0.01, 1.01, f64::NAN] {
        for attack in [&Stain::new(strength) as &dyn Attack, &StainGrid::new(strength)] {
            let error = refused(attack, image());
            assert_eq!(error, format!("strength: expected a number from 0 to 1, found {strength}"));
        }
    }
    let grey = refused(&Stain::light(), image().narrow(1, 0, 1));
    assert_eq!(grey, "channels: expected 3: red, green and blue, found 1");
    assert_eq!(refused(&StainGrid::light(), image().narrow(1, 0, 2)), grey.replace("found 1", "found 2"));
    let nan = refused(&Stain::light(), image().mask_fill(image().greater_elem(0.5), f32::NAN));
    assert!(nan.starts_with("pixels of image 0: expected values in [0,1], found NaN"), "{nan}");
    assert_eq!(refused(&Stain::light().with_steps(0), image()), "steps: expected at least 1, found 0");
    assert_eq!(
        refused(&Stain::light().with_corners(65), image()),
        "corners: expected from 0 to 64, found 65"
    );
    for levels in [1, 10] {
        let error = refused(&StainGrid::light().with_levels(levels), image());
        assert_eq!(error, format!("levels: expected from 2 to 9, found {levels}"));
    }
    let flat = StainSpace { colors: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]], unit: 1.0 };
    let error = refused(&Stain::light().with_space(flat), image());
    assert!(error.starts_with("stain colors: expected three that are linearly independent"), "{error}");
    let error = refused(&Stain::light().with_space(StainSpace { unit: 0.0, ..StainSpace::HED }), image());
    assert_eq!(error, "stain unit: expected a finite number above 0, found 0");
}
