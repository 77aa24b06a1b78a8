//! HopSkipJump against foolbox, and what it promises for every image.

mod victim;

use histoguard::classifier::Queries;
use histoguard::parameter::ParameterError;
use histoguard::prelude::*;
use victim::{golden, largest_difference, values};

const SIZE: usize = 3 * 16 * 16;

fn images(count: usize) -> Tensor<4> {
    victim::images(4).narrow(0, 0, count)
}

/// Away from the true classes, or towards the ones after them.
fn goal(towards: bool, count: usize) -> Goal {
    let labels = &victim::labels(4)[..count];
    match towards {
        true => Goal::targeted(labels.iter().map(|label| (label + 1) % 4).collect::<Vec<_>>()),
        false => Goal::untargeted(labels),
    }
}

fn norms(norm: Norm, found: Tensor<4>, original: Tensor<4>) -> Vec<f32> {
    values(norm.measure(found - original))
}

fn median(values: &[f32]) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

/// From noise away from a class, and from images towards one.
fn attacks() -> [(HopSkipJump, bool); 2] {
    let quick = HopSkipJump::new().with_steps(2).with_initial_evaluations(10).with_max_evaluations(20);
    let from_images = quick.clone().with_norm(Norm::Linf).with_starts(Starts::images(images(8)));
    [(quick, false), (from_images, true)]
}

/// Each image's median over ten seeds against foolbox's, and how they compare over all images.
#[test]
fn hopskipjump_comes_as_near_as_foolboxes() {
    let (goal, victim) = (goal(false, 16), victim::victim(4));
    for (norm, name) in [(Norm::L2, "l2_4"), (Norm::Linf, "linf_4")] {
        let attack = HopSkipJump::new().with_norm(norm).with_steps(6);
        let attack = attack.with_initial_evaluations(20).with_max_evaluations(40);
        let found = |seed| {
            let attack = attack.clone().with_seed(seed);
            norms(norm, attack.perturb(&victim, images(16), &goal).unwrap(), images(16))
        };
        let ours: Vec<f32> = (0..10).flat_map(found).collect();
        let theirs: Vec<f32> = golden("hopskipjump", name).try_into_vec().unwrap();
        let of_image =
            |rows: &[f32], image| median(&rows.chunks(16).map(|row| row[image]).collect::<Vec<_>>());
        let logs: f32 = (0..16).map(|i| (of_image(&ours, i) / of_image(&theirs, i)).ln()).sum();
        let ratio = (logs / 16.0).exp();
        println!("{name}: {ratio}, medians {} {}", median(&ours), median(&theirs));
        assert!((0.97..1.03).contains(&ratio), "{name}: {ratio}");
    }
}

#[test]
fn an_image_depends_neither_on_its_batch_nor_on_a_neighbours_nan() {
    let (victim, blinded) = (victim::victim(4), victim::blinded(victim::victim(4)));
    for (attack, towards) in attacks() {
        let goal = goal(towards, 6);
        let together = values(attack.perturb(&victim, images(6), &goal).unwrap());
        assert!(together.iter().all(|v| (0.0..=1.0).contains(v)));
        let mixed = victim::whitened(images(6), 1);
        let mixed = values(attack.perturb(&blinded, mixed, &goal).unwrap());
        for image in 0..6 {
            let range = image * SIZE..(image + 1) * SIZE;
            let alone = images(6).narrow(0, image, 1);
            let alone = values(attack.perturb(&victim, alone, &goal.select(&[image])).unwrap());
            assert_eq!(largest_difference(&alone, &together[range.clone()]), 0.0, "{attack}: image {image}");
            if image != 1 {
                assert_eq!(
                    largest_difference(&alone, &mixed[range]),
                    0.0,
                    "{attack}: image {image} beside NaN"
                );
            }
        }
    }
}

/// A goal reached from the start costs one look, and what is over the limit comes back as it was.
#[test]
fn images_come_back_unchanged_where_nothing_is_to_be_done_or_allowed() {
    let victim = victim::victim(4);
    for (attack, towards) in attacks() {
        let before = victim.watch().queries();
        let reached = match towards {
            true => Goal::targeted(&victim::labels(4)[..3]),
            false => {
                Goal::untargeted(goal(true, 3).classes().iter().map(|&c| c as usize).collect::<Vec<_>>())
            }
        };
        let found = values(attack.perturb(&victim, images(3), &reached).unwrap());
        assert_eq!(found, values(images(3)));
        assert_eq!(victim.watch().queries() - before, Queries::forwards(3));

        let free = attack.perturb(&victim, images(6), &goal(towards, 6)).unwrap();
        let sizes = norms(attack.norm, free, images(6));
        let limit = Budget::new(attack.norm, Epsilon::unit(f64::from(median(&sizes))));
        let within = attack.at(limit).perturb(&victim, images(6), &goal(towards, 6)).unwrap();
        let within_sizes = norms(attack.norm, within.clone(), images(6));
        let reached = goal(towards, 6).reached(victim.logits(within));
        for image in 0..6 {
            let small = f64::from(sizes[image]) <= limit.size();
            assert_eq!(reached[image], small && sizes[image] > 0.0, "{attack}: image {image}");
            assert_eq!(
                within_sizes[image],
                if small { sizes[image] } else { 0.0 },
                "{attack}: image {image}"
            );
        }
    }
}

#[test]
fn starts_and_a_budget_of_labels() {
    let victim = victim::victim(4);
    let towards = goal(true, 2);
    // Noise does not look like one of the classes, images do.
    let [_, (attack, _)] = attacks();
    let found = attack.perturb(&victim, images(2), &towards).unwrap();
    assert_eq!(towards.reached(victim.logits(found)), [true, true]);
    for queries in [1, 70, 100, 200] {
        let before = victim.watch().queries();
        HopSkipJump::new().with_queries(Some(queries)).perturb(&victim, images(1), &goal(false, 1)).unwrap();
        let spent = victim.watch().queries() - before;
        assert!(spent.forwards <= queries as u64 && spent.gradients == 0, "{queries}: {spent:?}");
    }
}

#[test]
fn settings_tell_starts_apart_but_do_not_hold_them() {
    let [(from_noise, _), (from_images, _)] = attacks();
    let json = serde_json::to_string(&from_noise).unwrap();
    assert_eq!(serde_json::from_str::<HopSkipJump>(&json).unwrap().to_string(), from_noise.to_string());
    let written = |count| serde_json::to_value(Starts::images(images(count))).unwrap();
    let eight = written(8).as_str().unwrap().to_owned();
    assert!(eight.starts_with("8 images, "), "{eight}");
    assert_eq!(serde_json::to_value(&from_images).unwrap()["starts"], eight);
    let changed = serde_json::to_value(Starts::images(images(8) * 0.5)).unwrap();
    assert!(changed.as_str().unwrap().starts_with("8 images, ") && changed != eight, "{changed}");
    let error = serde_json::from_value::<Starts>(written(8)).unwrap_err();
    assert_eq!(error.to_string(), format!("starts: {eight} are not in the settings"));
}

#[test]
fn bad_parameters_are_refused_before_any_query() {
    let victim = victim::victim(4);
    let (hop, [_, (from_images, _)]) = (HopSkipJump::new(), attacks());
    let smaller = Starts::images(Tensor::zeros([1, 3, 16, 15], &Device::default()));
    for (attack, name) in [
        (hop.clone().with_norm(Norm::L1), "norm"),
        (hop.clone().with_steps(0), "steps"),
        (hop.clone().with_initial_evaluations(0), "initial evaluations"),
        (hop.clone().with_initial_evaluations(20).with_max_evaluations(10), "max evaluations"),
        (hop.clone().with_gamma(0.0), "gamma"),
        (hop.clone().with_queries(Some(0)), "queries"),
        (hop.clone().with_starts(smaller), "starts"),
        (hop.clone().with_starts(Starts::images(images(1) + 1.0)), "starts"),
        (hop.clone().with_limit(Some(Budget::l2(f64::NAN))), "limit"),
        (from_images.with_limit(Some(Budget::l2(1.0))), "limit"),
    ] {
        match attack.perturb(&victim, images(2), &goal(false, 2)) {
            Err(AttackError::Parameter(ParameterError { parameter, .. })) => assert_eq!(parameter, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    let outside = hop.perturb(&victim, images(2) * 2.0, &goal(false, 2));
    assert!(matches!(outside, Err(AttackError::ImageRange { .. })), "{outside:?}");
    assert_eq!(victim.watch().queries(), Queries::NONE);
}

#[test]
fn a_stop_is_obeyed_on_the_way() {
    for (attack, towards) in attacks() {
        let victim = victim::victim(4);
        let watch = victim.watch().clone();
        victim.watch().on_step(move |step| {
            assert!(step.done < step.total, "{step:?}");
            if step.done == 1 {
                watch.stop();
            }
        });
        let stopped = attack.perturb(&victim, images(4), &goal(towards, 4));
        assert_eq!(stopped.unwrap_err(), AttackError::Stopped);
    }
}
