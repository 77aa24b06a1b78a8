//! What the tests of the iterative attacks and of their neighbours share.
#![allow(dead_code)]

use burn::tensor::{Device, Int, Tensor};
use histoguard::prelude::*;

use crate::victim::{self, golden, images, labels, largest_difference, right, values};

pub fn pixels(levels: f64) -> Epsilon {
    Epsilon::pixels(levels)
}

/// The parameter that an attack refuses.
pub fn refused(result: Result<Tensor<4>, AttackError>) -> String {
    match result {
        Err(AttackError::Parameter(error)) => error.parameter.into(),
        other => panic!("{other:?}"),
    }
}

pub fn pick<const D: usize>(images: Tensor<D>, positions: &[usize]) -> Tensor<D> {
    let positions: Vec<i64> = positions.iter().map(|&p| p as i64).collect();
    images.select(0, Tensor::<1, Int>::from_data(positions.as_slice(), &Device::default()))
}

/// The goal of the generators: away from the class, or towards the next one.
pub fn goal(classes: usize, targeted: bool) -> Goal {
    let labels = labels(classes);
    match targeted {
        false => Goal::untargeted(labels),
        true => {
            let next = labels.iter().map(|label| (label + 1) % classes).collect::<Vec<_>>();
            Goal::targeted(next).with_true_classes(labels)
        }
    }
}

/// Equal to the golden results, image for image.
pub fn assert_equal(file: &str, name: &str, classes: usize, attack: &dyn Attack) {
    assert_equal_on(&victim::victim(classes), file, name, classes, attack);
}

/// The same on another network than the trained one.
pub fn assert_equal_on(victim: &Frozen, file: &str, name: &str, classes: usize, attack: &dyn Attack) {
    let positions: Vec<usize> = golden(file, &format!("{name}.images"))
        .try_into_vec::<f32>()
        .unwrap()
        .into_iter()
        .map(|position| position as usize)
        .collect();
    let goal = goal(classes, name.ends_with("_targeted")).select(&positions);
    let ours = attack.perturb(victim, pick(images(classes), &positions), &goal).unwrap();
    let theirs = golden(file, name).try_into_vec::<f32>().unwrap();
    let difference = largest_difference(&values(ours), &theirs);
    assert!(difference < 1e-4, "{name}: differs by {difference}");
}

pub fn median(mut values: Vec<f32>) -> f32 {
    values.sort_by(f32::total_cmp);
    (values[values.len() / 2] + values[(values.len() - 1) / 2]) / 2.0
}

/// Over ten seeds: the median number of images still right lies in the spread of the reference's ten, and the
/// median L2 norm of the perturbation is within 3 % of theirs.
pub fn assert_alike(file: &str, name: &str, norms: bool, attack: impl Fn(u64) -> Box<dyn Attack>) {
    let (victim, images, labels) = (victim::victim(4), images(4), labels(4));
    let goal = goal(4, name.ends_with("_targeted"));
    let results: Vec<(f32, f32)> = (0..10)
        .map(|seed| {
            let ours = attack(seed).perturb(&victim, images.clone(), &goal).unwrap();
            let norm = median(values(Norm::L2.measure(ours.clone() - images.clone())));
            (right(&victim, ours, &labels) as f32, norm)
        })
        .collect();
    let (right, l2): (Vec<f32>, Vec<f32>) = results.into_iter().unzip();
    let theirs: Vec<f32> = golden(file, &format!("{name}.right")).try_into_vec().unwrap();
    let (least, most) = theirs.iter().fold((32f32, 0f32), |(l, m), &v| (l.min(v), m.max(v)));
    let ours = median(right.clone());
    assert!((least..=most).contains(&ours), "{name}: {right:?} right, theirs {theirs:?}");
    if norms {
        let theirs = median(golden(file, &format!("{name}.l2")).try_into_vec().unwrap());
        let ours = median(l2);
        assert!((ours / theirs - 1.0).abs() < 0.03, "{name}: median norm {ours}, theirs {theirs}");
    }
}

/// A budget that fells some of the images and leaves some, in each norm.
pub fn budget(norm: Norm) -> Budget {
    match norm {
        Norm::Linf => Budget::linf(Epsilon::unit(9.0 / 255.0)),
        Norm::L2 => Budget::l2(0.8),
        _ => Budget::l1(14.0),
    }
}
