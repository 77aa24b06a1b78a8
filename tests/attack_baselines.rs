//! The smallest step of FGSM, random noise and transfer against foolbox, torchattacks and exact counts.

mod iterative;

use burn::tensor::{Device, Tensor};
use histoguard::prelude::*;
use iterative::victim::{self, golden, images, labels, right, values};
use iterative::{assert_alike, assert_equal_on, goal, pick, pixels};

const SIZE: usize = 3 * 16 * 16;

#[test]
fn minimal_fgsm_falls_where_foolbox_does() {
    let victim = victim::victim(4);
    for (name, norm, most) in [
        ("linf", Norm::Linf, 16.0 / 255.0),
        ("l2", Norm::L2, 2.0),
        ("l1", Norm::L1, 40.0),
        ("linf_targeted", Norm::Linf, 16.0 / 255.0),
    ] {
        let goal = goal(4, name.ends_with("_targeted"));
        let first: Vec<f32> = golden("iterative", &format!("minimal_{name}.first")).try_into_vec().unwrap();
        let attack = MinimalFgsm::new().with_norm(norm).with_grid(256).with_epsilon(Epsilon::unit(most));
        let result = attack.perturb(&victim, images(4), &goal).unwrap();
        let reached = goal.reached(victim.logits(result.clone()));
        let change = result - images(4);
        let untouched = values(change.clone()) == vec![0.0; 32 * SIZE];
        assert!(!untouched && first.contains(&-1.0));
        // Clipping only shortens L2 and L1 steps; the L-infinity one is met by some pixel.
        for (image, length) in values(norm.measure(change)).into_iter().enumerate() {
            let (steps, length) = (f64::from(first[image]), f64::from(length) * 256.0 / most);
            if steps == -2.0 {
                continue;
            }
            if steps < 0.0 {
                assert!(length == 0.0 && !reached[image], "{name}: image {image} falls at {length} steps");
                continue;
            }
            assert!(reached[image], "{name}: image {image} does not fall");
            assert!(length <= steps * 1.00001, "{name}: image {image} falls at {length}, theirs {steps}");
            let whole = norm == Norm::Linf;
            assert!(!whole || length > (steps - 1.0) * 0.99999, "{name}: image {image} falls at {length}");
        }
    }
}

#[test]
fn minimal_fgsm_finds_the_threshold_and_no_more_than_asked() {
    let device = Device::default();
    // Wrong between 0.3 and 0.4 and below 0.1: the first success is an island.
    let victim = Frozen::from_fn(2, &device, |x| {
        let mean: Tensor<2> = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
        let island = mean.clone().greater_elem(0.3).bool_and(mean.clone().lower_elem(0.4));
        let wrong = island.bool_or(mean.clone().lower_elem(0.1)).float() * 2.0 - 1.0;
        Tensor::cat(vec![wrong.clone(), mean * 1e-3 - wrong], 1)
    });
    let goal = Goal::untargeted([1, 1, 1, 0]);
    // The last one is wrong already.
    let images = Tensor::<1>::from_floats([0.7f32, 0.45, 0.2, 0.7], &device).reshape([4, 1, 1, 1]);
    let search = MinimalFgsm::new().with_grid(50).with_bisections(16);
    let result = values(search.perturb(&victim, images.clone(), &goal).unwrap());
    for (found, expected) in result.iter().zip([0.4, 0.4, 0.1, 0.7]) {
        assert!((found - expected).abs() < 1e-5, "{result:?}");
    }
    // 15, 3 and 6 points of the grid, at most, and 16 bisections each.
    let queries = victim.watch().queries();
    assert_eq!(queries.gradients, 4);
    assert!((3 * 16 + 15 + 3 + 5..=3 * 16 + 16 + 4 + 6).contains(&queries.forwards), "{queries:?}");
    let within = values(search.with_epsilon(Epsilon::unit(0.2)).perturb(&victim, images, &goal).unwrap());
    assert!(within[0] == 0.7 && (within[1] - 0.4).abs() < 1e-5 && (within[2] - 0.1).abs() < 1e-5);
}

#[test]
fn noise_does_as_foolbox_noise_does() {
    let noise = |name: &str, epsilon: fn(Epsilon) -> RandomNoise, size| {
        assert_alike("iterative", name, true, |seed| Box::new(epsilon(size).with_seed(seed)));
        let name = format!("{name}_repeated");
        assert_alike("iterative", &name, false, |seed| {
            Box::new(epsilon(size).with_repeats(10).with_seed(seed))
        });
    };
    noise("uniform", RandomNoise::uniform, pixels(100.0));
    noise("gaussian", RandomNoise::gaussian, Epsilon::unit(8.0));
}

#[test]
fn salt_and_pepper_changes_whole_pixels_evenly() {
    let victim = victim::victim(4);
    let grey = Tensor::full([32, 3, 16, 16], 0.5, &Device::default());
    let goal = goal(4, false);
    let (mut white, mut seen) = (0, vec![0; 256]);
    for seed in 0..10 {
        let noise = RandomNoise::salt_and_pepper(Epsilon::unit(62.0)).with_seed(seed);
        let noisy = values(noise.perturb(&victim, grey.clone(), &goal).unwrap());
        for image in noisy.chunks(SIZE) {
            let planes: Vec<&[f32]> = image.chunks(256).collect();
            assert!(planes[0] == planes[1] && planes[1] == planes[2]);
            let changed: Vec<usize> = (0..256).filter(|&pixel| planes[0][pixel] != 0.5).collect();
            assert_eq!(changed.len(), 20, "62 values are 20 pixels of three channels");
            assert!(changed.iter().all(|&pixel| planes[0][pixel] == 0.0 || planes[0][pixel] == 1.0));
            white += changed.iter().filter(|&&pixel| planes[0][pixel] == 1.0).count();
            changed.into_iter().for_each(|pixel| seen[pixel] += 1);
        }
    }
    // 6400 fair coins, and 320 images in which every pixel is hit with probability 20/256: six standard errors.
    assert!((white as f64 - 3200.0).abs() < 6.0 * 40.0, "{white}");
    let expected = 320.0 * 20.0 / 256.0;
    assert!(seen.iter().all(|&hits| (f64::from(hits) - expected).abs() < 6.0 * expected.sqrt()), "{seen:?}");
    assert_eq!(victim.watch().queries(), Default::default(), "one try asks nothing");
}

#[test]
fn noise_keeps_its_promises() {
    let victim = victim::victim(4);
    let goal = goal(4, false);
    let kinds = [
        RandomNoise::uniform(pixels(100.0)),
        RandomNoise::gaussian(Epsilon::unit(8.0)),
        RandomNoise::salt_and_pepper(Epsilon::unit(100.0)),
    ];
    let eight: Vec<usize> = (5..13).collect();
    for noise in kinds.into_iter().flat_map(|noise| [noise, noise.with_repeats(4)]) {
        let all = noise.perturb(&victim, images(4), &goal).unwrap();
        assert!(values(all.clone()).iter().all(|v| (0.0..=1.0).contains(v)));
        let epsilon = noise.epsilon().unwrap().value() * (1.0 + 1e-5);
        let lengths = values(noise.norm().measure(all - images(4)));
        assert!(lengths.iter().all(|&l| l > 0.0 && f64::from(l) <= epsilon), "{noise:?}");
        let together = noise.perturb(&victim, pick(images(4), &eight), &goal.select(&eight)).unwrap();
        for (slot, &position) in eight.iter().enumerate() {
            let one = pick(images(4), &[position]);
            let alone = noise.perturb(&victim, one, &goal.select(&[position])).unwrap();
            assert_eq!(values(pick(together.clone(), &[slot])), values(alone), "{noise:?}: image {position}");
        }
    }
    let before = victim.watch().queries();
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        for noise in kinds {
            let error = noise.with_epsilon(Epsilon::unit(bad)).perturb(&victim, images(4), &goal);
            assert!(matches!(error, Err(AttackError::Parameter { parameter: "epsilon", .. })), "{noise:?}");
        }
        let error = MinimalFgsm::new().with_epsilon(Epsilon::unit(bad)).perturb(&victim, images(4), &goal);
        assert!(matches!(error, Err(AttackError::Parameter { parameter: "epsilon", .. })));
    }
    let refused = |attack: &dyn Attack| attack.perturb(&victim, images(4), &goal).unwrap_err().to_string();
    assert!(refused(&kinds[0].with_repeats(0)).starts_with("repeats: "));
    assert!(refused(&MinimalFgsm::new().with_grid(0)).starts_with("grid: "));
    assert!(refused(&MinimalFgsm::new().with_norm(Norm::L0)).starts_with("norm: "));
    assert_eq!(victim.watch().queries(), before);
}

#[test]
fn minimal_fgsm_treats_images_apart() {
    let victim = victim::victim(4);
    let goal = goal(4, false);
    let attack = MinimalFgsm::new().with_grid(30).with_epsilon(pixels(14.0));
    let five: Vec<usize> = (0..5).collect();
    let clean = values(attack.perturb(&victim, pick(images(4), &five), &goal.select(&five)).unwrap());
    let mut spoiled = values(pick(images(4), &five));
    spoiled[2 * SIZE + 7] = f32::NAN;
    let spoiled = Tensor::<1>::from_floats(spoiled.as_slice(), &Device::default()).reshape([5, 3, 16, 16]);
    let result = values(attack.perturb(&victim, spoiled, &goal.select(&five)).unwrap());
    for image in [0, 1, 3, 4] {
        let range = image * SIZE..(image + 1) * SIZE;
        assert!(result[range.clone()] == clean[range.clone()], "image {image} differs beside a NaN");
        let alone = attack.perturb(&victim, pick(images(4), &[image]), &goal.select(&[image])).unwrap();
        assert!(values(alone) == clean[range], "image {image} differs alone");
    }
    assert!(result[2 * SIZE + 7].is_nan());
}

/// A classifier that gives every image the same logits.
fn constant(classes: usize) -> Frozen {
    Frozen::from_fn(classes, &Device::default(), move |x| Tensor::zeros([x.dims()[0], classes], &x.device()))
}

#[test]
fn transfer_crafts_on_the_substitute_alone() {
    let mi = MiFgsm::new(pixels(9.0)).with_step_size(pixels(2.0)).with_steps(6);
    let substitute = victim::victim(4);
    let counts = substitute.watch().clone();
    let transfer = Transfer::new(mi, substitute);
    let victim = constant(4);
    assert_equal_on(&victim, "momentum", "mi", 4, &transfer);
    assert_eq!(victim.watch().queries(), Default::default());
    assert_eq!(counts.queries().gradients, 6 * 6);
    assert_eq!((transfer.norm(), transfer.epsilon()), (Norm::Linf, Some(pixels(9.0))));

    // Another epsilon, on the same substitute.
    let weaker = transfer.with_epsilon(pixels(2.0));
    let goal = goal(4, false);
    let found = values(weaker.perturb(&victim, images(4), &goal).unwrap());
    let expected = mi.with_epsilon(pixels(2.0)).perturb(&victim::victim(4), images(4), &goal).unwrap();
    assert_eq!(found, values(expected));
    assert_eq!(counts.queries().gradients, 6 * 6 + 6 * 32);
}

#[test]
fn transfer_is_judged_by_the_victim() {
    // The same network behind a contrast of its own is fooled by what fools the substitute, if by less.
    let network = victim::Victim::trained(4, &Device::default());
    let victim = Frozen::from_fn(4, &Device::default(), move |x| network.logits(x * 0.8 + 0.05));
    let goal = goal(4, false);
    let attack = Pgd::new(pixels(14.0)).with_early_stop(false);
    let after = |attack: &dyn Attack| {
        let result = attack.perturb(&victim, images(4), &goal).unwrap();
        right(&victim, result, &labels(4))
    };
    let (clean, white) = (right(&victim, images(4), &labels(4)), after(&attack));
    let transferred = after(&Transfer::new(attack, victim::victim(4)));
    let noise = after(&RandomNoise::uniform(pixels(14.0)));
    assert!(white <= transferred && transferred < noise, "{clean} {white} {transferred} {noise}");
}

#[test]
fn transfer_stops_with_the_victim_and_refuses_another_task() {
    let transfer = Transfer::new(Bim::new(pixels(8.0)), victim::victim(4));
    let goal = goal(4, false);
    let error = transfer.perturb(&constant(5), images(4), &goal).unwrap_err();
    assert!(matches!(error, AttackError::Parameter { parameter: "substitute", .. }), "{error}");

    let victim = constant(4);
    let watch = victim.watch().clone();
    let (stopping, seen) = (watch.clone(), std::sync::Arc::new(std::sync::Mutex::new(Vec::new())));
    let steps = seen.clone();
    watch.on_step(move |step| {
        steps.lock().unwrap().push((step.attack, step.done));
        if step.done == 3 {
            stopping.stop();
        }
    });
    assert_eq!(transfer.perturb(&victim, images(4), &goal).unwrap_err(), AttackError::Stopped);
    let expected = [("Transfer", 0), ("BIM", 0), ("BIM", 1), ("BIM", 2), ("BIM", 3)];
    assert_eq!(*seen.lock().unwrap(), expected);
    watch.on_step(|_| {});
    assert_eq!(transfer.perturb(&victim, images(4), &goal).unwrap_err(), AttackError::Stopped);
    watch.resume();
    assert!(transfer.perturb(&victim, images(4), &goal).is_ok(), "the substitute goes on as well");
}
