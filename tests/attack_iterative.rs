//! The iterative attacks against torchattacks and foolbox (`golden/attacks/iterative.py` and `momentum.py`).

mod iterative;

use burn::tensor::{Device, Tensor};
use histoguard::prelude::*;
use iterative::victim::{self, images, labels, right, values};
use iterative::{assert_alike, assert_equal, budget, goal, pick, pixels};

#[test]
fn bim_equals_torchattacks_and_foolbox_image_for_image() {
    let bim = Bim::new(pixels(8.0)).with_step_size(pixels(2.0)).with_steps(7);
    let cases = [
        ("bim2", 2, Bim::new(pixels(6.0)).with_step_size(pixels(1.5))),
        ("bim4", 4, bim),
        ("bim4_targeted", 4, bim),
        ("bim_l2", 4, Bim::new(Epsilon::unit(0.8)).with_norm(Norm::L2)),
        ("bim_l1", 4, Bim::new(Epsilon::unit(16.0)).with_norm(Norm::L1)),
        ("bim_l1_targeted", 4, Bim::new(Epsilon::unit(16.0)).with_norm(Norm::L1)),
    ];
    for (name, classes, attack) in cases {
        assert_equal("iterative", name, classes, &attack);
    }
}

#[test]
fn pgd_without_random_start_equals_torchattacks_image_for_image() {
    let still = |epsilon| Pgd::new(epsilon).with_random_start(false).with_early_stop(false);
    let linf = still(pixels(8.0)).with_step_size(pixels(2.0)).with_steps(7);
    let l2 = still(Epsilon::unit(0.8)).with_norm(Norm::L2).with_step_size(Epsilon::unit(0.16));
    for (name, classes, attack) in [("pgd", 4, linf), ("pgd_l2", 4, l2), ("pgd_l2_targeted", 2, l2)] {
        assert_equal("iterative", name, classes, &attack);
    }
}

#[test]
fn momentum_variants_equal_torchattacks_and_foolbox_image_for_image() {
    let mi = MiFgsm::new(pixels(9.0)).with_step_size(pixels(2.0)).with_steps(6);
    let cases = [
        ("mi", 4, mi),
        ("mi_targeted", 4, mi),
        ("mi2", 2, MiFgsm::new(pixels(6.0)).with_step_size(pixels(1.5)).with_steps(6).with_decay(0.7)),
        (
            "mi_l2",
            2,
            MiFgsm::new(Epsilon::unit(0.8))
                .with_norm(Norm::L2)
                .with_steps(8)
                .with_step_size(Epsilon::unit(0.16)),
        ),
        ("ni", 4, mi.with_nesterov()),
        ("ni_targeted", 4, mi.with_nesterov().with_decay(0.9)),
        ("si_ni", 4, mi.with_nesterov().with_scale_invariance(4)),
        ("ti", 4, mi.with_translation_invariance(7).with_decay(0.0)),
        ("ti_mi", 4, mi.with_translation_invariance(15)),
        ("ti_mi_targeted", 4, mi.with_translation_invariance(5)),
        // Never transformed: plain MI-FGSM.
        ("mi", 4, mi.with_input_diversity(0.0, 0.8)),
    ];
    for (name, classes, attack) in cases {
        assert_equal("momentum", name, classes, &attack);
    }
}

#[test]
fn random_starts_do_as_well_as_torchattacks_and_foolbox() {
    let pgd = |epsilon, norm| Pgd::new(epsilon).with_norm(norm).with_early_stop(false).with_steps(4);
    let linf = |seed| pgd(pixels(9.0), Norm::Linf).with_step_size(pixels(4.0)).with_seed(seed);
    let share = |norm, epsilon: f64| {
        move |seed| -> Box<dyn Attack> {
            let step = Epsilon::unit(0.4 * epsilon);
            Box::new(pgd(Epsilon::unit(epsilon), norm).with_step_size(step).with_seed(seed))
        }
    };
    assert_alike("iterative", "pgd_random", true, |seed| Box::new(linf(seed)));
    assert_alike("iterative", "pgd_random_targeted", true, |seed| Box::new(linf(seed)));
    assert_alike("iterative", "pgd_random_l2", true, share(Norm::L2, 0.8));
    assert_alike("iterative", "pgd_random_l1", true, share(Norm::L1, 14.0));
    assert_alike("iterative", "pgd_restarts", false, |seed| {
        Box::new(linf(seed).with_step_size(pixels(3.6)).with_restarts(4))
    });
    let steps = |epsilon: f64, alpha: f64, steps| {
        move |seed| -> Box<dyn Attack> {
            let attack = RFgsm::new(pixels(epsilon)).with_start_size(pixels(alpha));
            Box::new(attack.with_step_size(pixels(alpha)).with_steps(steps).with_seed(seed))
        }
    };
    assert_alike("iterative", "rfgsm", true, |seed| Box::new(RFgsm::new(pixels(13.0)).with_seed(seed)));
    assert_alike("iterative", "rfgsm_steps", true, steps(9.0, 4.0, 3));
    assert_alike("iterative", "rfgsm_targeted", true, steps(9.0, 4.0, 3));
}

#[test]
fn random_momentum_variants_do_as_well_as_torchattacks() {
    let mi = |seed| MiFgsm::new(pixels(9.0)).with_step_size(pixels(2.0)).with_steps(6).with_seed(seed);
    for name in ["di", "di_targeted"] {
        assert_alike("momentum", name, true, |seed| Box::new(mi(seed).with_input_diversity(0.7, 0.8)));
    }
    assert_alike("momentum", "vmi", true, |seed| Box::new(mi(seed).with_variance_tuning(5, 1.5)));
    let vni = |seed| mi(seed).with_nesterov().with_variance_tuning(5, 1.5);
    assert_alike("momentum", "vni", true, |seed| Box::new(vni(seed)));
}

/// Every attack of the family, in every norm.
fn family(epsilon: f64) -> Vec<Box<dyn Attack>> {
    let unit = Epsilon::unit(epsilon);
    let mi = MiFgsm::new(unit).with_steps(3);
    let all = mi.with_nesterov().with_input_diversity(0.7, 0.7).with_translation_invariance(5);
    let all = all.with_scale_invariance(2).with_variance_tuning(2, 1.5);
    let mut attacks: Vec<Box<dyn Attack>> = vec![
        Box::new(RFgsm::new(unit).with_steps(2)),
        Box::new(mi),
        Box::new(mi.with_norm(Norm::L2)),
        Box::new(all),
        Box::new(all.with_norm(Norm::L2)),
    ];
    for norm in [Norm::Linf, Norm::L2, Norm::L1] {
        attacks.push(Box::new(Bim::new(unit).with_norm(norm).with_steps(3)));
        attacks.push(Box::new(Pgd::new(unit).with_norm(norm).with_steps(3)));
        attacks.push(Box::new(Pgd::new(unit).with_norm(norm).with_steps(2).with_restarts(2)));
    }
    attacks
}

#[test]
fn an_image_does_not_depend_on_its_batch() {
    let victim = victim::victim(4);
    for targeted in [false, true] {
        let goal = goal(4, targeted);
        for attack in family(1.0) {
            let attack = attack.with_epsilon(budget(attack.norm()));
            let eight: Vec<usize> = (3..11).collect();
            let together = attack.perturb(&victim, pick(images(4), &eight), &goal.select(&eight)).unwrap();
            for (slot, &position) in eight.iter().enumerate() {
                let one = pick(images(4), &[position]);
                let alone = attack.perturb(&victim, one, &goal.select(&[position])).unwrap();
                let same = values(pick(together.clone(), &[slot])) == values(alone);
                assert!(same, "{attack:?}: image {position} differs");
            }
        }
    }
}

#[test]
fn results_stay_in_the_ball_and_in_the_box() {
    let victim = victim::victim(4);
    for attack in family(1.0) {
        for scale in [0.3, 1.0, 30.0] {
            let epsilon = Epsilon::unit(budget(attack.norm()).value() * scale);
            let result = attack.with_epsilon(epsilon).perturb(&victim, images(4), &goal(4, false)).unwrap();
            assert!(values(result.clone()).iter().all(|v| (0.0..=1.0).contains(v)), "{attack:?}");
            for length in values(attack.norm().measure(result - images(4))) {
                let length = f64::from(length);
                assert!(length > 0.0 && length <= epsilon.value() * (1.0 + 1e-5), "{attack:?}: {length}");
            }
        }
        let none = attack.with_epsilon(Epsilon::ZERO).perturb(&victim, images(4), &goal(4, false)).unwrap();
        assert_eq!(values(none), values(images(4)), "{attack:?}");
    }
}

#[test]
fn a_nan_stays_with_its_own_image() {
    let victim = victim::victim(4);
    let five: Vec<usize> = (0..5).collect();
    let (images, goal) = (pick(images(4), &five), goal(4, false).select(&five));
    let size = 3 * 16 * 16;
    let mut spoiled = values(images.clone());
    spoiled[2 * size + 7] = f32::NAN;
    let spoiled = Tensor::<1>::from_floats(spoiled.as_slice(), &Device::default()).reshape([5, 3, 16, 16]);
    for attack in family(1.0) {
        let attack = attack.with_epsilon(budget(attack.norm()));
        let clean = values(attack.perturb(&victim, images.clone(), &goal).unwrap());
        let result = values(attack.perturb(&victim, spoiled.clone(), &goal).unwrap());
        for image in [0, 1, 3, 4] {
            let range = image * size..(image + 1) * size;
            assert!(result[range.clone()] == clean[range], "{attack:?}: image {image} differs");
        }
        assert!(result[2 * size + 7].is_nan(), "{attack:?}: the spoiled pixel is made up");
    }
}

#[test]
fn queries_are_those_documented_and_a_stop_is_obeyed() {
    let victim = victim::victim(4);
    let spent = |attack: &dyn Attack, goal: &Goal| {
        let before = victim.watch().queries();
        attack.perturb(&victim, images(4), goal).unwrap();
        let queries = victim.watch().queries() - before;
        (queries.forwards, queries.gradients)
    };
    let away = goal(4, false);
    let epsilon = pixels(9.0);
    let pgd = Pgd::new(epsilon).with_steps(10);
    assert_eq!(spent(&pgd.with_early_stop(false), &away), (0, 320));
    assert_eq!(spent(&pgd.with_early_stop(false).with_restarts(2), &away), (64, 640));
    assert_eq!(spent(&Bim::new(epsilon), &away), (0, 320));
    assert_eq!(spent(&RFgsm::new(epsilon), &away), (0, 32));
    let mi = MiFgsm::new(epsilon).with_steps(4);
    assert_eq!(spent(&mi, &away), (0, 128));
    assert_eq!(spent(&mi.with_nesterov().with_scale_invariance(3), &away), (0, 384));
    assert_eq!(spent(&mi.with_variance_tuning(2, 1.5), &away), (0, 32 * (4 + 3 * 2)));

    // Images that fall cost no more: fewer gradients, and a second start for the survivors alone.
    let adversarial = pgd.perturb(&victim, images(4), &away).unwrap();
    let standing = right(&victim, adversarial, &labels(4)) as u64;
    let (_, gradients) = spent(&pgd, &away);
    assert!(
        standing * 10 < gradients && gradients < 320,
        "{gradients} gradients, {standing} images standing"
    );
    let (forwards, _) = spent(&pgd.with_restarts(2), &away);
    assert_eq!(forwards, 32 + standing);

    victim.watch().stop();
    for attack in family(0.1) {
        let before = victim.watch().queries();
        let stopped = attack.perturb(&victim, images(4), &away).unwrap_err();
        assert_eq!((stopped, victim.watch().queries()), (AttackError::Stopped, before), "{attack:?}");
    }
}

#[test]
fn early_stop_keeps_the_first_success_and_loses_none() {
    let victim = victim::victim(4);
    for targeted in [false, true] {
        let goal = goal(4, targeted);
        for norm in [Norm::Linf, Norm::L2, Norm::L1] {
            let pgd = Pgd::new(budget(norm)).with_norm(norm).with_steps(6);
            let reached =
                |attack: Pgd| goal.reached(victim.logits(attack.perturb(&victim, images(4), &goal).unwrap()));
            let (early, late) = (reached(pgd), reached(pgd.with_early_stop(false)));
            assert!(early.iter().zip(&late).all(|(early, late)| *early || !late), "{norm}");
            assert!(early.contains(&true) && early.contains(&false), "{norm}");
            // The first success of an attack of so many steps is that of a shorter one.
            let full = pgd.with_step_size(Epsilon::unit(budget(norm).value() / 3.0));
            let long = values(full.perturb(&victim, images(4), &goal).unwrap());
            let short = full.with_steps(3).perturb(&victim, images(4), &goal).unwrap();
            let fell = goal.reached(victim.logits(short.clone()));
            // A success at the very last point of the shorter one is the next gradient of the longer one.
            let (short, size) = (values(short), 3 * 16 * 16);
            for image in (0..32).filter(|&image| fell[image]) {
                let range = image * size..(image + 1) * size;
                assert!(long[range.clone()] == short[range], "{norm}: image {image}");
            }
        }
    }
}

#[test]
fn restarts_never_help_the_defender() {
    let victim = victim::victim(4);
    for early_stop in [true, false] {
        let pgd = Pgd::new(Epsilon::unit(14.0)).with_norm(Norm::L1).with_steps(4).with_early_stop(early_stop);
        let goal = goal(4, false);
        let margins = |restarts| {
            let result = pgd.with_restarts(restarts).perturb(&victim, images(4), &goal).unwrap();
            values(goal.margin(victim.logits(result)))
        };
        let (two, five) = (margins(2), margins(5));
        let reached = |margin: &f32| *margin > 0.0;
        assert!(two.iter().zip(&five).all(|(two, five)| reached(five) || !reached(two)));
        assert!(five.iter().filter(|m| reached(m)).count() > two.iter().filter(|m| reached(m)).count());
        if !early_stop {
            assert!(two.iter().zip(&five).all(|(two, five)| *five >= two - 1e-5));
        }
    }
}

#[test]
fn bad_parameters_are_refused_before_any_query() {
    let victim = victim::victim(4);
    let goal = goal(4, false);
    let eight = pixels(8.0);
    let (pgd, bim, mi, rfgsm) = (Pgd::new(eight), Bim::new(eight), MiFgsm::new(eight), RFgsm::new(eight));
    let mut cases: Vec<(&str, Box<dyn Attack>)> = vec![
        ("norm", Box::new(pgd.with_norm(Norm::L0))),
        ("norm", Box::new(bim.with_norm(Norm::L0))),
        ("norm", Box::new(mi.with_norm(Norm::L1))),
        ("steps", Box::new(pgd.with_steps(0))),
        ("steps", Box::new(bim.with_steps(0))),
        ("steps", Box::new(mi.with_steps(0))),
        ("steps", Box::new(rfgsm.with_steps(0))),
        ("restarts", Box::new(pgd.with_restarts(0))),
        ("restarts", Box::new(pgd.with_restarts(2).with_random_start(false))),
        ("start size", Box::new(rfgsm.with_start_size(pixels(8.1)))),
        ("start size", Box::new(rfgsm.with_start_size(Epsilon::unit(f64::NAN)))),
        ("step size", Box::new(rfgsm.with_start_size(eight))),
        ("scale invariance", Box::new(mi.with_scale_invariance(0))),
        ("scale invariance", Box::new(mi.with_scale_invariance(33))),
        ("translation invariance", Box::new(mi.with_translation_invariance(0))),
        ("translation invariance", Box::new(mi.with_translation_invariance(4))),
        ("translation invariance", Box::new(mi.with_translation_invariance(257))),
        ("input diversity", Box::new(mi.with_input_diversity(1.01, 0.9))),
        ("resize rate", Box::new(mi.with_input_diversity(0.5, 1.0))),
        ("resize rate", Box::new(mi.with_input_diversity(0.5, 0.0))),
        ("variance tuning", Box::new(mi.with_variance_tuning(0, 1.5))),
        ("variance tuning", Box::new(mi.with_variance_tuning(5, 0.0))),
    ];
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        let unit = Epsilon::unit(bad);
        cases.push(("decay", Box::new(mi.with_decay(bad))));
        cases.push(("step size", Box::new(bim.with_step_size(unit))));
        cases.push(("step size", Box::new(pgd.with_step_size(unit))));
        cases.extend(family(1.0).into_iter().map(|attack| ("epsilon", attack.with_epsilon(unit))));
    }
    for (parameter, attack) in &cases {
        let error = attack.perturb(&victim, images(4), &goal).unwrap_err();
        let named = matches!(&error, AttackError::Parameter { parameter: found, .. } if found == parameter);
        assert!(named, "{attack:?}: {error}");
    }
    for attack in family(0.1) {
        let error = attack.perturb(&victim, images(4), &Goal::untargeted([0])).unwrap_err();
        assert_eq!(error, AttackError::Count { images: 32, labels: 1 });
        let error = attack.perturb(&victim, images(4) * 255.0, &goal).unwrap_err();
        assert!(matches!(error, AttackError::ImageRange { .. }), "{attack:?}: {error}");
    }
    assert_eq!(victim.watch().queries(), Default::default());
}
