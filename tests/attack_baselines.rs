//! Random noise and transfer against foolbox, torchattacks and exact counts.

mod iterative;
mod victim;

use burn::tensor::{Device, Tensor};
use histoguard::attack::Settings;
use histoguard::classifier::Queries;
use histoguard::prelude::*;
use iterative::{assert_alike, assert_equal_on, goal, pick, pixels, refused};
use victim::{images, labels, right, values};

const SIZE: usize = 3 * 16 * 16;

#[test]
fn noise_does_as_foolbox_noise_does() {
    let alike = |name: &str, noise: RandomNoise| {
        assert_alike("iterative", name, true, |seed| Box::new(noise.with_seed(seed)));
        let name = format!("{name}_repeated");
        assert_alike("iterative", &name, false, |seed| Box::new(noise.with_repeats(10).with_seed(seed)));
    };
    alike("uniform", RandomNoise::uniform(pixels(100.0)));
    alike("gaussian", RandomNoise::gaussian(8.0));
}

#[test]
fn salt_and_pepper_changes_whole_pixels_evenly() {
    let victim = victim::victim(4);
    let grey = Tensor::full([32, 3, 16, 16], 0.5, &Device::default());
    let goal = goal(4, false);
    let (mut white, mut seen) = (0, vec![0; 256]);
    for seed in 0..10 {
        let noise = RandomNoise::salt_and_pepper(62).with_seed(seed);
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
    // 6400 fair coins, and 320 images in which every pixel is hit with probability 20/256: six standard
    // errors.
    assert!((white as f64 - 3200.0).abs() < 6.0 * 40.0, "{white}");
    let expected = 320.0 * 20.0 / 256.0;
    assert!(seen.iter().all(|&hits| (f64::from(hits) - expected).abs() < 6.0 * expected.sqrt()), "{seen:?}");
    assert_eq!(victim.watch().queries(), Default::default(), "one try asks nothing");
}

#[test]
fn noise_keeps_its_promises() {
    let victim = victim::victim(4);
    let goal = goal(4, false);
    let kinds =
        [RandomNoise::uniform(pixels(100.0)), RandomNoise::gaussian(8.0), RandomNoise::salt_and_pepper(100)];
    let eight: Vec<usize> = (5..13).collect();
    for noise in kinds.into_iter().flat_map(|noise| [noise, noise.with_repeats(4)]) {
        let all = noise.perturb(&victim, images(4), &goal).unwrap();
        assert!(values(all.clone()).iter().all(|v| (0.0..=1.0).contains(v)));
        let most = noise.budget.size() * (1.0 + 1e-5);
        let lengths = values(noise.budget.norm().measure(all - images(4)));
        assert!(lengths.iter().all(|&l| l > 0.0 && f64::from(l) <= most), "{noise:?}");
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
            let attack = noise.at(noise.budget.with_epsilon(Epsilon::unit(bad)));
            assert_eq!(refused(attack.perturb(&victim, images(4), &goal)), "budget", "{noise:?}");
        }
        let search = MinimalFgsm::new().with_limit(Some(Budget::linf(Epsilon::unit(bad))));
        assert_eq!(refused(search.perturb(&victim, images(4), &goal)), "limit");
    }
    let refused = |attack: &dyn Attack| refused(attack.perturb(&victim, images(4), &goal));
    for (noise, other) in kinds.iter().zip([Budget::l2(8.0), Budget::pixels(8.0), Budget::l1(8.0)]) {
        assert_eq!(refused(&*noise.at(other)), "norm", "a kind of noise has a norm of its own");
    }
    assert_eq!(refused(&kinds[0].with_repeats(0)), "repeats");
    assert_eq!(refused(&MinimalFgsm::new().with_grid(0)), "grid");
    assert_eq!(refused(&MinimalFgsm::new().with_norm(Norm::L0)), "norm");
    assert_eq!(victim.watch().queries(), before);
}

#[test]
fn minimal_fgsm_treats_images_apart() {
    let victim = victim::victim(4);
    let goal = goal(4, false);
    let attack = MinimalFgsm::new().with_grid(30).with_limit(Some(Budget::pixels(14.0)));
    let five: Vec<usize> = (0..5).collect();
    let batch = pick(images(4), &five);
    let clean = values(attack.perturb(&victim, batch.clone(), &goal.select(&five)).unwrap());
    let blinded = victim::blinded(victim::victim(4));
    let mixed = victim::whitened(batch.clone(), 2);
    let result = values(attack.perturb(&blinded, mixed, &goal.select(&five)).unwrap());
    for image in [0, 1, 3, 4] {
        let range = image * SIZE..(image + 1) * SIZE;
        assert!(result[range.clone()] == clean[range.clone()], "image {image} differs beside a NaN");
        let alone =
            attack.perturb(&victim, batch.clone().narrow(0, image, 1), &goal.select(&[image])).unwrap();
        assert!(values(alone) == clean[range], "image {image} differs alone");
    }
    assert!(result.iter().all(|value| (0.0..=1.0).contains(value)));
}

/// A classifier that gives every image the same logits.
fn constant(classes: usize) -> Frozen {
    Frozen::from_fn(classes, &Device::default(), move |x| Tensor::zeros([x.dims()[0], classes], &x.device()))
}

#[test]
fn transfer_crafts_on_the_substitute_alone() {
    let mi = MiFgsm::new(Budget::pixels(9.0)).with_step_size(Some(pixels(2.0))).with_steps(6);
    let substitute = victim::victim(4);
    let counts = substitute.watch().clone();
    let transfer = Transfer::new(mi, "twin", substitute);
    let victim = constant(4);
    assert_equal_on(&victim, "momentum", "mi", 4, &transfer);
    assert_eq!(victim.watch().queries(), Default::default());
    assert_eq!(counts.queries().gradients, 6 * 6);
    let profile = transfer.profile();
    assert_eq!((profile.name.as_str(), profile.budget()), ("MI-FGSM from twin", Some(Budget::pixels(9.0))));
    assert_eq!((profile.access, profile.queries), (Access::Substitute, Some(Queries::NONE)));
    let settings = transfer.settings();
    assert_eq!((&settings["attack"]["attack"], &settings["substitute"]), (&"MI-FGSM".into(), &"twin".into()));

    // Another budget, on the same substitute.
    let weaker = transfer.at(Budget::pixels(2.0));
    let goal = goal(4, false);
    let found = values(weaker.perturb(&victim, images(4), &goal).unwrap());
    let expected = mi.at(Budget::pixels(2.0)).perturb(&victim::victim(4), images(4), &goal).unwrap();
    assert_eq!(found, values(expected));
    assert_eq!(counts.queries().gradients, 6 * 6 + 6 * 32);
}

#[test]
fn transfer_shares_work_between_budgets_and_draws_anew_in_another_run() {
    let budgets = [Budget::pixels(2.0), Budget::pixels(8.0)];
    let (substitute, goal, victim) = (victim::victim(4), goal(4, false), constant(4));
    let counts = substitute.watch().clone();
    let transfer = Transfer::new(Fgsm::new(budgets[0]), "twin", substitute);
    let each = transfer.perturb_each(&victim, &images(4), &goal, &budgets).unwrap().unwrap();
    assert_eq!((counts.queries().gradients, victim.watch().queries()), (32, Queries::NONE));
    for (found, budget) in each.into_iter().zip(budgets) {
        let expected = Fgsm::new(budget).perturb(&victim::victim(4), images(4), &goal).unwrap();
        assert_eq!(values(found), values(expected));
    }
    let pgd = Pgd::new(Budget::pixels(9.0)).with_steps(3);
    let transfer = Restarts::new(Transfer::new(pgd, "twin", victim::victim(4)), 3);
    let own = victim::victim(4);
    let found = transfer.perturb(&own, images(4), &goal).unwrap();
    let expected = Restarts::new(pgd, 3).perturb(&victim::victim(4), images(4), &goal).unwrap();
    assert_eq!(values(found), values(expected));
    assert_eq!(own.watch().queries().gradients, 0);
}

#[test]
fn transfer_is_judged_by_the_victim() {
    // The same network behind a contrast of its own is fooled by what fools the substitute, if by less.
    let network = victim::Victim::trained(4, &Device::default());
    let victim = Frozen::from_fn(4, &Device::default(), move |x| network.logits(x * 0.8 + 0.05));
    let goal = goal(4, false);
    let attack = Pgd::new(Budget::pixels(14.0)).with_early_stop(false);
    let after = |attack: &dyn Attack| {
        let result = attack.perturb(&victim, images(4), &goal).unwrap();
        right(&victim, result, &labels(4))
    };
    let (clean, white) = (right(&victim, images(4), &labels(4)), after(&attack));
    let transferred = after(&Transfer::new(attack, "plain", victim::victim(4)));
    let noise = after(&RandomNoise::uniform(pixels(14.0)));
    assert!(white <= transferred && transferred < noise, "{clean} {white} {transferred} {noise}");
}

#[test]
fn transfer_stops_with_the_victim_and_refuses_another_task() {
    let transfer = Transfer::new(Bim::new(Budget::pixels(8.0)), "twin", victim::victim(4));
    let goal = goal(4, false);
    assert_eq!(refused(transfer.perturb(&constant(5), images(4), &goal)), "substitute");

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
    let expected = [0, 1, 2, 3].map(|done| ("BIM from twin".to_string(), done));
    assert_eq!(*seen.lock().unwrap(), expected);
    watch.on_step(|_| {});
    assert_eq!(transfer.perturb(&victim, images(4), &goal).unwrap_err(), AttackError::Stopped);
    watch.resume();
    assert!(transfer.perturb(&victim, images(4), &goal).is_ok(), "the substitute goes on as well");
}
