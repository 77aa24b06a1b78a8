//! Square against Croce and Hein's implementation, and what it promises for every image.

mod victim;

use histoguard::parameter::ParameterError;
use histoguard::prelude::*;
use victim::{golden, images, labels, right, values};

/// As many images withstand, at as many queries, as for one of the reference's ten seeds:
/// `golden/attacks/square.py`.
#[test]
fn withstood_as_often_at_as_many_queries_as_the_reference() {
    let cases = [
        ("linf", 2, Norm::Linf, 26.0 / 255.0),
        ("l2", 4, Norm::L2, 1.6),
        ("l1", 4, Norm::L1, 20.0),
        ("targeted", 4, Norm::Linf, 24.0 / 255.0),
    ];
    for (name, classes, norm, epsilon) in cases {
        let victim = victim::victim(classes);
        let attack = Square::new(Budget::new(norm, Epsilon::unit(epsilon)))
            .with_queries(150)
            .with_rescaled_schedule(name != "l2");
        let targeted = name == "targeted";
        let batch = images(classes);
        let aims: Vec<usize> =
            labels(classes).iter().map(|l| (l + usize::from(targeted)) % classes).collect();
        let goal = if targeted { Goal::targeted(&aims[..]) } else { Goal::untargeted(&aims[..]) };
        let mut robust = Vec::new();
        let mut queries = Vec::new();
        for seed in 0..10 {
            let before = victim.watch().queries();
            let found = attack.with_seed(seed).perturb(&victim, batch.clone(), &goal).unwrap();
            let used = victim.watch().queries() - before;
            assert_eq!(used.gradients, 0);
            queries.push(used.forwards as f32 / 32.0);
            let hits = right(&victim, found, &aims);
            robust.push(if targeted { 32 - hits } else { hits } as f32);
        }
        for (what, ours) in [("robust", robust), ("queries", queries)] {
            let theirs = golden("square", &format!("{name}.{what}")).try_into_vec::<f32>().unwrap();
            let (low, high) = theirs.iter().fold((f32::MAX, 0f32), |(l, h), &t| (l.min(t), h.max(t)));
            let mean = ours.iter().sum::<f32>() / 10.0;
            assert!((low..=high).contains(&mean), "{name}.{what}: {ours:?} against {theirs:?}");
        }
    }
}

#[test]
fn stays_within_ball_and_box_whatever_the_batch_and_its_neighbours() {
    let (victim, blinded) = (victim::victim(4), victim::blinded(victim::victim(4)));
    let batch = images(4).slice(0..5);
    let labels = labels(4)[..5].to_vec();
    for (norm, epsilon) in [(Norm::Linf, 0.08), (Norm::L2, 1.5), (Norm::L1, 15.0)] {
        let attack = Square::new(Budget::new(norm, Epsilon::unit(epsilon))).with_queries(15).with_restarts(2);
        let goal = Goal::untargeted(&labels[..]).with_indices(vec![9, 4, 7, 1, 0]);
        let found = attack.perturb(&victim, batch.clone(), &goal).unwrap();
        let norms = values(norm.measure(found.clone() - batch.clone()));
        assert!(norms.iter().all(|&n| f64::from(n) <= epsilon * 1.0001), "{norm}: {norms:?}");
        let together = values(found);
        assert!(together.iter().all(|v| (0.0..=1.0).contains(v)));
        let mixed = victim::whitened(batch.clone(), 0);
        let mixed = values(attack.perturb(&blinded, mixed, &goal).unwrap());
        for i in 1..5 {
            let goal = Goal::untargeted([labels[i]]).with_indices(vec![goal.index(i)]);
            let alone = values(attack.perturb(&victim, batch.clone().slice(i..i + 1), &goal).unwrap());
            assert_eq!(alone, together[i * 768..][..768], "{norm}: image {i}");
            assert_eq!(alone, mixed[i * 768..][..768], "{norm}: image {i} beside NaN");
        }
    }
}

#[test]
fn refuses_bad_parameters_before_any_query() {
    let attack = Square::new(Budget::pixels(8.0));
    let cases = [
        (attack.with_queries(0), "queries"),
        (attack.with_restarts(0), "restarts"),
        (attack.with_p_init(0.0), "p init"),
        (attack.with_p_init(1.01), "p init"),
        (attack.with_p_init(f64::NAN), "p init"),
        (Square::new(Budget::l0(8)), "norm"),
        (Square::new(Budget::pixels(f64::NAN)), "budget"),
    ];
    let victim = victim::victim(2);
    for (attack, name) in cases {
        match attack.perturb(&victim, images(2), &Goal::untargeted(labels(2))) {
            Err(AttackError::Parameter(ParameterError { parameter, .. })) => {
                assert_eq!(parameter, name, "{attack:?}")
            }
            other => panic!("{attack:?}: {other:?}"),
        }
    }
    assert_eq!(victim.watch().queries().forwards, 0);
}
