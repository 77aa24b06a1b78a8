//! What a scanner does to an image against SciPy, torchvision and Pillow, and the attack that chooses the
//! worst of it.

mod victim;

use histoguard::attack::Scanner;
use histoguard::pixels::{RigidMotion, brightness, contrast, gaussian_blur};
use histoguard::prelude::*;
use histoguard::rows::take;
use victim::{golden, largest_difference, values};

fn stored(name: &str) -> Vec<f32> {
    golden("semantic", name).try_into_vec().unwrap()
}

/// The picture of this many channels, twice.
fn picture(channels: usize) -> Tensor<4> {
    let picture = Tensor::<3>::from_data(golden("semantic", &format!("scan.{channels}")), &Device::default());
    let picture = picture.unsqueeze::<4>();
    Tensor::cat(vec![picture.clone(), picture], 0)
}

fn assert_both(found: Tensor<4>, expected: &str, tolerance: f32) {
    let (found, expected) = (values(found), stored(expected));
    for image in found.chunks(expected.len()) {
        let difference = largest_difference(image, &expected);
        assert!(difference < tolerance, "off by {difference}");
    }
}

#[test]
fn blur_equals_scipy() {
    for channels in [3, 1] {
        for sigma in ["0.3", "1.0", "2.5", "12.0"] {
            let found = gaussian_blur(picture(channels), sigma.parse().unwrap());
            assert_both(found, &format!("scan.{channels}.blur.{sigma}"), 1e-5);
        }
        assert_both(gaussian_blur(picture(channels), 0.0), &format!("scan.{channels}"), 1e-7);
    }
}

#[test]
fn brightness_and_contrast_equal_torchvision() {
    for channels in [3, 1] {
        for factor in [0.6, 1.3] {
            assert_both(
                brightness(picture(channels), factor),
                &format!("scan.{channels}.brightness.{factor}"),
                1e-6,
            );
            assert_both(
                contrast(picture(channels), factor),
                &format!("scan.{channels}.contrast.{factor}"),
                1e-5,
            );
        }
    }
}

#[test]
fn motion_equals_scipy_and_pytorch() {
    let motions = [(5.0, 0.0, 0.0), (-30.0, 0.0, 0.0), (0.0, 0.1, -0.02), (170.0, 0.3, -0.6)];
    for channels in [3, 1] {
        for (degrees, down, right) in motions {
            let found = RigidMotion { degrees, down, right }.apply(picture(channels));
            assert_both(found, &format!("scan.{channels}.motion.{degrees:?}.{down:?}.{right:?}"), 1e-5);
        }
        assert_both(RigidMotion::default().apply(picture(channels)), &format!("scan.{channels}"), 1e-9);
    }
}

/// A victim without classes to tell, so that the attack returns what it tried.
fn only(scanner: Scanner, images: Tensor<4>) -> Tensor<4> {
    let victim = Frozen::from_fn(2, &Device::default(), |x| {
        let zero = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) * 0.0;
        Tensor::cat(vec![zero.clone() + 1.0, zero], 1)
    });
    let count = images.dims()[0];
    scanner.perturb(&victim, images, &Goal::untargeted(vec![0; count])).unwrap()
}

#[test]
fn all_at_once_equals_scipy_torchvision_and_pillow() {
    let scanner = Scanner::new()
        .with_rotations(vec![-5.0])
        .with_translations(vec![[0.02, 0.0]])
        .with_blurs(vec![1.0])
        .with_brightnesses(vec![1.1])
        .with_contrasts(vec![0.9])
        .with_qualities(vec![Some(75)]);
    // Levels next to a half round either way: a step of one of JPEG's coefficients may follow.
    let (found, expected) = (values(only(scanner, picture(3))), stored("scan.all"));
    let off: Vec<f32> = found[..expected.len()].iter().zip(&expected).map(|(a, b)| (a - b).abs()).collect();
    let (most, mean) = (off.iter().fold(0f32, |a, &b| a.max(b)), off.iter().sum::<f32>() / off.len() as f32);
    assert!(most <= 2.01 / 255.0 && mean < 0.1 / 255.0, "off by {most}, on average by {mean}");
}

/// By hand: a classifier of brightness needs the right factor, one of the place of a spot the right motion.
#[test]
fn the_worst_combination_is_found() {
    let bright = Frozen::from_fn(2, &Device::default(), |x| {
        let score = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
        Tensor::cat(vec![score.clone().neg(), score], 1)
    });
    let plain = |level: f32| Tensor::<4>::full([1, 3, 16, 16], level, &Device::default());
    let factors = |factors: &[f64]| {
        Scanner::new()
            .with_rotations(vec![0.0])
            .with_translations(vec![[0.0, 0.0]])
            .with_blurs(vec![0.0])
            .with_contrasts(vec![1.0])
            .with_qualities(vec![None])
            .with_brightnesses(factors.to_vec())
    };
    let goal = Goal::untargeted([1]);
    // 0.6 falls at 0.8 alone, and stays as dark as it gets where nothing suffices.
    let found = factors(&[1.0, 1.2, 0.8]).perturb(&bright, plain(0.6), &goal).unwrap();
    assert!(largest_difference(&values(found), &values(plain(0.48))) < 1e-6);
    let found = factors(&[1.0, 0.9, 1.2]).perturb(&bright, plain(0.6), &goal).unwrap();
    assert!(largest_difference(&values(found), &values(plain(0.54))) < 1e-6);

    // A bright spot in the upper half.
    let spot = Tensor::<1>::from_floats([1.0], &Device::default()).reshape([1, 1, 1, 1]).expand([1, 3, 2, 2]);
    let image =
        Tensor::<4>::zeros([1, 3, 16, 16], &Device::default()).slice_assign([0..1, 0..3, 6..8, 7..9], spot);
    let upper = Frozen::from_fn(2, &Device::default(), |x| {
        let half = |top: usize| x.clone().narrow(2, top, 8).mean_dims(&[1, 2, 3]).reshape([-1, 1]) * 100.0;
        Tensor::cat(vec![half(8), half(0)], 1)
    });
    let moved = |down: f64| factors(&[1.0]).with_translations(vec![[0.0, 0.0], [down, 0.0]]);
    let fell = |scanner: Scanner| {
        let found = scanner.perturb(&upper, image.clone(), &goal).unwrap();
        upper.predict(found) == [0]
    };
    assert!(fell(moved(0.125)) && !fell(moved(-0.125)));
    assert!(fell(factors(&[1.0]).with_rotations(vec![0.0, 180.0])));
}

#[test]
fn results_do_not_depend_on_the_batch() {
    let (victim, images, labels) = (victim::victim(4), victim::images(4), victim::labels(4));
    let scanner = Scanner::new().with_contrasts(vec![1.0, 0.7]).with_brightnesses(vec![1.0, 1.3]);
    let found = |rows: &[usize]| {
        let labels: Vec<usize> = rows.iter().map(|&row| labels[row]).collect();
        values(scanner.perturb(&victim, take(&images, rows), &Goal::untargeted(labels)).unwrap())
    };
    let together = found(&[0, 1, 2, 3, 4, 5]);
    assert_eq!([found(&[0]), found(&[1, 2, 3]), found(&[4, 5])].concat(), together);
    assert!(together.iter().all(|value| (0.0..=1.0).contains(value)));
}

#[test]
fn refuses_what_is_outside_the_documented_ranges() {
    let (victim, goal) = (victim::victim(2), Goal::untargeted([0]));
    let image = || victim::images(2).narrow(0, 0, 1);
    let refused = |scanner: Scanner| scanner.perturb(&victim, image(), &goal).unwrap_err().to_string();
    let new = Scanner::new;
    for (scanner, error) in [
        (
            new().with_rotations(vec![]),
            "rotations: expected at least one, each a number from -180 to 180, found []",
        ),
        (
            new().with_rotations(vec![180.5]),
            "rotations: expected at least one, each a number from -180 to 180, found [180.5]",
        ),
        (
            new().with_translations(vec![[0.0, 1.5]]),
            "translations: expected at least one, each a number from -1 to 1, found [0.0, 1.5]",
        ),
        (
            new().with_blurs(vec![-1.0]),
            "blurs: expected at least one, each a number from 0 to 100, found [-1.0]",
        ),
        (
            new().with_brightnesses(vec![f64::NAN]),
            "brightnesses: expected at least one, each a number from 0 to 10, found [NaN]",
        ),
        (
            new().with_contrasts(vec![11.0]),
            "contrasts: expected at least one, each a number from 0 to 10, found [11.0]",
        ),
        (
            new().with_qualities(vec![None, Some(0)]),
            "qualities: expected at least one, each from 1 to 100, found [None, Some(0)]",
        ),
        (new().with_qualities(vec![]), "qualities: expected at least one, each from 1 to 100, found []"),
    ] {
        assert_eq!(refused(scanner), error);
    }
    let two = new().perturb(&victim, image().narrow(1, 0, 2), &goal).unwrap_err().to_string();
    assert_eq!(two, "channels: expected 1 or 3, found 2");
}
