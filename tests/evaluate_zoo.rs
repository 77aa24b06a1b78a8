//! Networks that only look robust, and the checks that see through them; and two that are what they seem.

mod zoo;

use histoguard::classifier::FrozenFeatures;
use histoguard::defense::{ImageDraws, Preprocess, RandomResizePad};
use histoguard::evaluate::{Evaluation, EvaluationResult, Verdict};
use histoguard::prelude::*;
use zoo::{Net, Training, test_set, train};

const PLAIN: Training<'_> = Training::On(&|images| images);

/// What tells of gradients that vanish.
const MASKED: [&str; 3] =
    ["vanishing gradients", "survives an unbounded attack", "black box better than white box"];

fn linf(size: f64) -> Budget {
    Budget::linf(Epsilon::unit(size))
}

fn suspicious(result: &EvaluationResult) -> Vec<&str> {
    let found = result.checks.iter().filter(|c| c.verdict == Verdict::Suspicious);
    found.map(|c| c.name.as_str()).collect()
}

/// Attacks that leave nothing to be desired on so small a network.
fn sound(victim: &Frozen) -> Evaluation<'_> {
    let budget = Budget::pixels(0.0);
    Evaluation::new(victim)
        .attack(Fgsm::new(budget))
        .attack(Pgd::new(budget).with_steps(100))
        .attack(Apgd::new(budget))
        .attack(Square::new(budget).with_queries(500))
        .budgets([0.05, 0.1].map(linf))
}

fn undefended() -> Net {
    train(Net::new(8, 0), 20, &PLAIN)
}

#[test]
fn an_undefended_and_an_adversarially_trained_network_pass() {
    let pgd = Pgd::new(linf(0.05)).with_steps(7).with_early_stop(false);
    for net in [undefended(), train(Net::new(8, 0), 15, &Training::Against(&pgd))] {
        let (victim, features) = (Frozen::new(net.clone()), FrozenFeatures::new(net));
        let result = sound(&victim).features(&features).run(&test_set(64)).unwrap();
        assert_eq!(suspicious(&result), Vec::<&str>::new());
    }
}

#[test]
fn logits_times_a_thousand() {
    let victim = Frozen::new(undefended()).wrapped(1, |base, images| base.logits(images) * 1000.0);
    let result = sound(&victim).run(&test_set(64)).unwrap();
    assert_eq!(suspicious(&result), MASKED);
}

#[test]
fn fewer_bits() {
    let net = undefended();
    let coarse = |images: Tensor<4>| (images * 7.0).round() / 7.0;
    let victim = Frozen::new(net.clone()).behind(coarse);
    let whole = FrozenFeatures::new(net);
    let head = whole.clone();
    let embed = move |images| whole.features(coarse(images));
    let features = FrozenFeatures::from_fn(2, &Device::default(), embed, move |features| head.head(features));
    let result = sound(&victim).features(&features).run(&test_set(64)).unwrap();
    assert_eq!(suspicious(&result), [&MASKED[..], &["binarization test"]].concat());
}

#[test]
fn one_step_training() {
    let net = train(Net::new(8, 0), 40, &Training::Against(&Fgsm::new(linf(0.2))));
    let victim = Frozen::new(net);
    let result = sound(&victim).budgets([0.2].map(linf)).run(&test_set(64)).unwrap();
    // Catastrophic overfitting, of which another processor's rounding makes another network: the step that it was trained
    // on breaks next to nothing, and several steps most.
    let hits = |attack: usize| result.attacks[attack].sweep[2].metrics.accuracy.hits;
    assert!(2 * hits(1) < hits(0), "{} after one step, {} after several", hits(0), hits(1));
    assert!(suspicious(&result).contains(&"accuracy rises with epsilon"), "{:?}", suspicious(&result));
    // Nobody looked but the one step and another network's images.
    let result = Evaluation::new(&victim)
        .attack(Fgsm::new(linf(0.2)))
        .attack(Transfer::new(Pgd::new(linf(0.2)), "the undefended network", Frozen::new(undefended())))
        .run(&test_set(64))
        .unwrap();
    assert_eq!(suspicious(&result), ["black box better than white box", "transfer failure"]);
}

#[test]
fn random_resizing() {
    let resize = RandomResizePad::new().with_growth(1.5);
    let resized = |images: Tensor<4>| resize.apply(images.clone(), &ImageDraws::first(&images));
    let net = train(Net::new(12, 0), 20, &Training::On(&resized));
    let victim = resize.before(Frozen::new(net)).unwrap();
    let result = sound(&victim).run(&test_set(64)).unwrap();
    let found = suspicious(&result);
    assert!(found.contains(&"random answers") && found.contains(&"unstable predictions"), "{found:?}");
}

#[test]
fn distillation() {
    let teacher = train(Net::new(8, 0), 40, &Training::At(100.0, None));
    let student = train(Net::new(8, 1), 40, &Training::At(100.0, Some(&teacher)));
    let victim = Frozen::new(student);
    let result = sound(&victim).run(&test_set(64)).unwrap();
    assert_eq!(suspicious(&result), MASKED);
}
