//! The shared victim equals PyTorch's, and every attack's promises about its goal, budget and stopping.

mod victim;

use histoguard::prelude::*;
use victim::{golden, images, labels, largest_difference, right, values};

#[test]
fn victim_is_the_trained_one() {
    for classes in [2, 4] {
        let victim = victim::victim(classes);
        let expected = golden("victim", &format!("logits{classes}")).try_into_vec::<f32>().unwrap();
        let found = values(victim.logits(images(classes)));
        let scale = expected.iter().fold(0f32, |most, v| most.max(v.abs()));
        assert!(largest_difference(&found, &expected) < 1e-5 * scale, "{classes} classes");
        assert_eq!(right(&victim, images(classes), &labels(classes)), 32);
    }
}

#[test]
fn queries_are_counted_and_a_stop_is_obeyed() {
    let victim = victim::victim(2);
    let goal = Goal::untargeted(labels(2));
    let attack = Fgsm::new(Budget::pixels(8.0));
    attack.perturb(&victim, images(2), &goal).unwrap();
    victim.logits(images(2));
    let queries = victim.watch().queries();
    assert_eq!((queries.forwards, queries.gradients), (32, 32));
    victim.watch().stop();
    assert_eq!(attack.perturb(&victim, images(2), &goal).unwrap_err(), AttackError::Stopped);
    victim.watch().resume();
    assert!(attack.perturb(&victim, images(2), &goal).is_ok());
}
