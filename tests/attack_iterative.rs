//! The iterative attacks against torchattacks and foolbox (`golden/attacks/iterative.py` and `momentum.py`).

mod iterative;
mod victim;

use histoguard::prelude::*;
use iterative::{assert_alike, assert_equal, budget, goal, pick, pixels, refused};
use victim::{images, labels, right, values};

#[test]
fn bim_equals_torchattacks_and_foolbox_image_for_image() {
    let bim = Bim::new(Budget::pixels(8.0)).with_step_size(Some(pixels(2.0))).with_steps(7);
    let cases = [
        ("bim2", 2, Bim::new(Budget::pixels(6.0)).with_step_size(Some(pixels(1.5)))),
        ("bim4", 4, bim),
        ("bim4_targeted", 4, bim),
        ("bim_l2", 4, Bim::new(Budget::l2(0.8))),
        ("bim_l1", 4, Bim::new(Budget::l1(16.0))),
        ("bim_l1_targeted", 4, Bim::new(Budget::l1(16.0))),
    ];
    for (name, classes, attack) in cases {
        assert_equal("iterative", name, classes, &attack);
    }
}

#[test]
fn pgd_without_random_start_equals_torchattacks_image_for_image() {
    let still = |budget| Pgd::new(budget).with_random_start(false).with_early_stop(false);
    let linf = still(Budget::pixels(8.0)).with_step_size(Some(pixels(2.0))).with_steps(7);
    let l2 = still(Budget::l2(0.8)).with_step_size(Some(Epsilon::unit(0.16)));
    for (name, classes, attack) in [("pgd", 4, linf), ("pgd_l2", 4, l2), ("pgd_l2_targeted", 2, l2)] {
        assert_equal("iterative", name, classes, &attack);
    }
}

fn diversity(probability: f64, resize_rate: f64) -> Option<InputDiversity> {
    Some(InputDiversity { probability, resize_rate })
}

fn tuning(neighbours: usize, beta: f64) -> Option<VarianceTuning> {
    Some(VarianceTuning { neighbours, beta })
}

#[test]
fn momentum_variants_equal_torchattacks_and_foolbox_image_for_image() {
    let mi = MiFgsm::new(Budget::pixels(9.0)).with_step_size(Some(pixels(2.0))).with_steps(6);
    let cases = [
        ("mi", 4, mi),
        ("mi_targeted", 4, mi),
        (
            "mi2",
            2,
            MiFgsm::new(Budget::pixels(6.0)).with_step_size(Some(pixels(1.5))).with_steps(6).with_decay(0.7),
        ),
        ("mi_l2", 2, MiFgsm::new(Budget::l2(0.8)).with_steps(8).with_step_size(Some(Epsilon::unit(0.16)))),
        ("ni", 4, mi.with_nesterov(true)),
        ("ni_targeted", 4, mi.with_nesterov(true).with_decay(0.9)),
        ("si_ni", 4, mi.with_nesterov(true).with_scale_invariance(4)),
        ("ti", 4, mi.with_translation_invariance(Some(7)).with_decay(0.0)),
        ("ti_mi", 4, mi.with_translation_invariance(Some(15))),
        ("ti_mi_targeted", 4, mi.with_translation_invariance(Some(5))),
        // Never transformed: plain MI-FGSM.
        ("mi", 4, mi.with_input_diversity(diversity(0.0, 0.8))),
    ];
    for (name, classes, attack) in cases {
        assert_equal("momentum", name, classes, &attack);
    }
}

#[test]
fn random_starts_do_as_well_as_torchattacks_and_foolbox() {
    let pgd = |budget| Pgd::new(budget).with_early_stop(false).with_steps(4);
    let linf = |seed| pgd(Budget::pixels(9.0)).with_step_size(Some(pixels(4.0))).with_seed(seed);
    let share = |budget: Budget| {
        move |seed| -> Box<dyn Attack> {
            let step = Epsilon::unit(0.4 * budget.size());
            Box::new(pgd(budget).with_step_size(Some(step)).with_seed(seed))
        }
    };
    assert_alike("iterative", "pgd_random", true, |seed| Box::new(linf(seed)));
    assert_alike("iterative", "pgd_random_targeted", true, |seed| Box::new(linf(seed)));
    assert_alike("iterative", "pgd_random_l2", true, share(Budget::l2(0.8)));
    assert_alike("iterative", "pgd_random_l1", true, share(Budget::l1(14.0)));
    assert_alike("iterative", "pgd_restarts", false, |seed| {
        Box::new(linf(seed).with_step_size(Some(pixels(3.6))).with_restarts(4))
    });
    let steps = |levels: f64, alpha: f64, steps| {
        move |seed| -> Box<dyn Attack> {
            let attack = RFgsm::new(Budget::pixels(levels)).with_start_size(Some(pixels(alpha)));
            Box::new(attack.with_step_size(Some(pixels(alpha))).with_steps(steps).with_seed(seed))
        }
    };
    let one = RFgsm::new(Budget::pixels(13.0));
    assert_alike("iterative", "rfgsm", true, |seed| Box::new(one.with_seed(seed)));
    assert_alike("iterative", "rfgsm_steps", true, steps(9.0, 4.0, 3));
    assert_alike("iterative", "rfgsm_targeted", true, steps(9.0, 4.0, 3));
}

#[test]
fn random_momentum_variants_do_as_well_as_torchattacks() {
    let mi = MiFgsm::new(Budget::pixels(9.0)).with_step_size(Some(pixels(2.0))).with_steps(6);
    let mi = |seed| mi.with_seed(seed);
    for name in ["di", "di_targeted"] {
        assert_alike("momentum", name, true, |seed| {
            Box::new(mi(seed).with_input_diversity(diversity(0.7, 0.8)))
        });
    }
    assert_alike("momentum", "vmi", true, |seed| Box::new(mi(seed).with_variance_tuning(tuning(5, 1.5))));
    let vni = |seed| mi(seed).with_nesterov(true).with_variance_tuning(tuning(5, 1.5));
    assert_alike("momentum", "vni", true, |seed| Box::new(vni(seed)));
}

/// Every attack of the family, in every norm.
fn family(epsilon: Epsilon) -> Vec<Box<dyn Attack>> {
    let linf = Budget::linf(epsilon);
    let mi = MiFgsm::new(linf).with_steps(3);
    let all = mi.with_nesterov(true).with_input_diversity(diversity(0.7, 0.7));
    let all = all.with_translation_invariance(Some(5)).with_scale_invariance(2);
    let all = all.with_variance_tuning(tuning(2, 1.5));
    let mut attacks: Vec<Box<dyn Attack>> = vec![Box::new(RFgsm::new(linf).with_steps(2))];
    for norm in [Norm::Linf, Norm::L2, Norm::L1] {
        let budget = Budget::new(norm, epsilon);
        attacks.push(Box::new(Bim::new(budget).with_steps(3)));
        attacks.push(Box::new(Pgd::new(budget).with_steps(3)));
        attacks.push(Box::new(Pgd::new(budget).with_steps(2).with_restarts(2)));
        if norm != Norm::L1 {
            attacks.extend([mi.at(budget), all.at(budget)]);
        }
    }
    attacks
}

fn norm(attack: &dyn Attack) -> Norm {
    attack.profile().norm().unwrap()
}

#[test]
fn an_image_does_not_depend_on_its_batch() {
    let victim = victim::victim(4);
    for targeted in [false, true] {
        let goal = goal(4, targeted);
        for attack in family(Epsilon::unit(1.0)) {
            let attack = attack.at(budget(norm(&*attack)));
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
    for attack in family(Epsilon::unit(1.0)) {
        for scale in [0.3, 1.0, 30.0] {
            let norm = norm(&*attack);
            let scaled = Budget::new(norm, Epsilon::unit(budget(norm).size() * scale));
            let result = attack.at(scaled).perturb(&victim, images(4), &goal(4, false)).unwrap();
            assert!(values(result.clone()).iter().all(|v| (0.0..=1.0).contains(v)), "{attack:?}");
            for length in values(norm.measure(result - images(4))) {
                let length = f64::from(length);
                assert!(length > 0.0 && length <= scaled.size() * (1.0 + 1e-5), "{attack:?}: {length}");
            }
        }
        let zero = attack.at(Budget::new(norm(&*attack), Epsilon::ZERO));
        let none = zero.perturb(&victim, images(4), &goal(4, false)).unwrap();
        assert_eq!(values(none), values(images(4)), "{attack:?}");
    }
}

#[test]
fn a_nan_stays_with_its_own_image() {
    let victim = victim::victim(4);
    let five: Vec<usize> = (0..5).collect();
    let (images, goal) = (pick(images(4), &five), goal(4, false).select(&five));
    let size = 3 * 16 * 16;
    let (blinded, spoiled) = (victim::blinded(victim::victim(4)), victim::whitened(images.clone(), 2));
    for attack in family(Epsilon::unit(1.0)) {
        let attack = attack.at(budget(norm(&*attack)));
        let clean = values(attack.perturb(&victim, images.clone(), &goal).unwrap());
        let result = values(attack.perturb(&blinded, spoiled.clone(), &goal).unwrap());
        for image in [0, 1, 3, 4] {
            let range = image * size..(image + 1) * size;
            assert!(result[range.clone()] == clean[range], "{attack:?}: image {image} differs");
        }
        assert!(result.iter().all(|value| (0.0..=1.0).contains(value)), "{attack:?}");
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
    let budget = Budget::pixels(9.0);
    let pgd = Pgd::new(budget).with_steps(10);
    assert_eq!(spent(&pgd.with_early_stop(false), &away), (0, 320));
    assert_eq!(spent(&pgd.with_early_stop(false).with_restarts(2), &away), (64, 640));
    assert_eq!(spent(&Bim::new(budget), &away), (0, 320));
    assert_eq!(spent(&RFgsm::new(budget), &away), (0, 32));
    let mi = MiFgsm::new(budget).with_steps(4);
    assert_eq!(spent(&mi, &away), (0, 128));
    assert_eq!(spent(&mi.with_nesterov(true).with_scale_invariance(3), &away), (0, 384));
    assert_eq!(spent(&mi.with_variance_tuning(tuning(2, 1.5)), &away), (0, 32 * (4 + 3 * 2)));

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
    for attack in family(Epsilon::unit(0.1)) {
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
            let pgd = Pgd::new(budget(norm)).with_steps(6);
            let reached =
                |attack: Pgd| goal.reached(victim.logits(attack.perturb(&victim, images(4), &goal).unwrap()));
            let (early, late) = (reached(pgd), reached(pgd.with_early_stop(false)));
            assert!(early.iter().zip(&late).all(|(early, late)| *early || !late), "{norm}");
            assert!(early.contains(&true) && early.contains(&false), "{norm}");
            // The first success of an attack of so many steps is that of a shorter one.
            let full = pgd.with_step_size(Some(Epsilon::unit(budget(norm).size() / 3.0)));
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
        let pgd = Pgd::new(Budget::l1(14.0)).with_steps(4).with_early_stop(early_stop);
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
    let eight = Budget::pixels(8.0);
    let (pgd, bim, mi, rfgsm) = (Pgd::new(eight), Bim::new(eight), MiFgsm::new(eight), RFgsm::new(eight));
    let mut cases: Vec<(&str, Box<dyn Attack>)> = vec![
        ("norm", pgd.at(Budget::l0(8))),
        ("norm", bim.at(Budget::l0(8))),
        ("norm", mi.at(Budget::l1(8.0))),
        ("norm", rfgsm.at(Budget::l2(8.0))),
        ("steps", Box::new(pgd.with_steps(0))),
        ("steps", Box::new(bim.with_steps(0))),
        ("steps", Box::new(mi.with_steps(0))),
        ("steps", Box::new(rfgsm.with_steps(0))),
        ("restarts", Box::new(pgd.with_restarts(0))),
        ("restarts", Box::new(pgd.with_restarts(2).with_random_start(false))),
        ("start size", Box::new(rfgsm.with_start_size(Some(pixels(8.1))))),
        ("start size", Box::new(rfgsm.with_start_size(Some(Epsilon::unit(f64::NAN))))),
        ("step size", Box::new(rfgsm.with_start_size(Some(eight.epsilon())))),
        ("scale invariance", Box::new(mi.with_scale_invariance(0))),
        ("scale invariance", Box::new(mi.with_scale_invariance(33))),
        ("translation invariance", Box::new(mi.with_translation_invariance(Some(0)))),
        ("translation invariance", Box::new(mi.with_translation_invariance(Some(4)))),
        ("translation invariance", Box::new(mi.with_translation_invariance(Some(257)))),
        ("input diversity probability", Box::new(mi.with_input_diversity(diversity(1.01, 0.9)))),
        ("input diversity resize rate", Box::new(mi.with_input_diversity(diversity(0.5, 1.0)))),
        ("input diversity resize rate", Box::new(mi.with_input_diversity(diversity(0.5, 0.0)))),
        ("variance tuning neighbours", Box::new(mi.with_variance_tuning(tuning(0, 1.5)))),
        ("variance tuning beta", Box::new(mi.with_variance_tuning(tuning(5, 0.0)))),
    ];
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        let unit = Epsilon::unit(bad);
        cases.push(("decay", Box::new(mi.with_decay(bad))));
        cases.push(("step size", Box::new(bim.with_step_size(Some(unit)))));
        cases.push(("step size", Box::new(pgd.with_step_size(Some(unit)))));
        cases.extend(family(unit).into_iter().map(|attack| ("budget", attack)));
    }
    for (parameter, attack) in &cases {
        assert_eq!(refused(attack.perturb(&victim, images(4), &goal)), *parameter, "{attack:?}");
    }
    for attack in family(Epsilon::unit(0.1)) {
        let error = attack.perturb(&victim, images(4), &Goal::untargeted([0])).unwrap_err();
        assert_eq!(error, AttackError::Count { images: 32, labels: 1 });
        let error = attack.perturb(&victim, images(4) * 255.0, &goal).unwrap_err();
        assert!(matches!(error, AttackError::ImageRange { .. }), "{attack:?}: {error}");
    }
    assert_eq!(victim.watch().queries(), Default::default());
}
