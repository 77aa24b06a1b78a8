//! Defenses under an attack that does not know them beside the same attack that does.

mod small;
mod stripes;
mod victim;

use std::sync::Arc;

use histoguard::classifier::{Average, FrozenFeatures};
use histoguard::defense::detector::{
    Adaptive, AdaptiveConfig, AutoencoderConfig, AutoencoderTraining, Calibration, Detector, Guard, ImageMap,
    ReconstructionDivergence, ReconstructionError, reformed,
};
use histoguard::defense::{Backward, Custom, MedianBackward};
use histoguard::evaluate::{AttackViews, pooled};
use histoguard::prelude::*;
use histoguard::report::{DataSummary, ModelReport, Report};
use small::{Plain, Shade, bright, linf};
use stripes::{set, stripes};

fn pgd(size: f64) -> Pgd {
    Pgd::new(linf(size)).with_steps(20).with_early_stop(false)
}

/// The test images of the small network for so many classes.
fn images(classes: usize) -> TensorSet {
    let names = (0..classes).map(|class| format!("direction {class}")).collect();
    TensorSet::new(victim::images(classes), victim::labels(classes), names).unwrap()
}

/// Images left right under the attack that does not know the defense and under the one that does, and last
/// under the same attack by the undefended network.
fn left(defended: &Frozen, classes: usize, size: f64) -> [usize; 3] {
    let data = images(classes);
    let attacks = attack_views(pgd(size), victim::victim(classes), 10);
    let found = Evaluation::new(defended).attacks(attacks).check_images(0).run(&data).unwrap();
    let AttackViews { oblivious, adaptive, .. } = &found.views[0];
    let undefended = victim::victim(classes);
    let bare = Evaluation::new(&undefended).attack(pgd(size)).check_images(0).run(&data).unwrap();
    let (clean, bare) = (found.clean.metrics.accuracy.hits, bare.attacks[0].sweep[0].metrics.accuracy.hits);
    let (oblivious, adaptive) = (oblivious.accuracy.hits, adaptive.as_ref().unwrap().accuracy.hits);
    println!("of {clean} right {oblivious} are left, {adaptive} by who knows it; undefended {bare}");
    [oblivious, adaptive, bare]
}

#[test]
fn preprocessings_lose_at_least_as_much_to_the_attack_that_knows_them() {
    fn case(defense: impl Preprocess + Clone + 'static, classes: usize, size: f64) -> [usize; 2] {
        let name = format!("{defense:?}");
        let random = defense.is_random();
        let defended = defense.before(victim::victim(classes)).unwrap();
        let defended = if random { defended.expectation_over(20, Average::Probabilities) } else { defended };
        print!("{name}, {classes} classes, {size}: ");
        let [oblivious, adaptive, bare] = left(&defended, classes, size);
        assert!(random || adaptive <= oblivious, "{name}, {classes}: {adaptive} against {oblivious}");
        assert!(bare < 32, "an attack that finds nothing on the undefended network tells nothing");
        [oblivious, adaptive]
    }
    let mut resized = [0; 2];
    for (classes, size) in [(4, 0.03), (4, 0.05), (2, 0.05)] {
        case(Jpeg::new(75), classes, size);
        case(BitDepth::new(3), classes, size);
        case(Median::new().with_window(2), classes, size);
        let left = case(RandomResizePad::new().with_growth(1.6), classes, size);
        resized.iter_mut().zip(left).for_each(|(sum, left)| *sum += left);
    }
    // Its draws follow the images' values: a rounding decides about single images, but not about all of them.
    let [oblivious, adaptive] = resized;
    assert!(adaptive <= oblivious, "resizing: {adaptive} against {oblivious}");
}

/// MagNet around the network for two classes, and its reformer alone.
fn magnet() -> (Guard, Frozen) {
    let training = AutoencoderTraining::new(0.1).with_epochs(80).with_batch_size(32).with_learning_rate(0.02);
    let autoencoder = AutoencoderConfig::cifar10().init(&Device::default(), 1).unwrap();
    let map: ImageMap = training.train(autoencoder, &stripes(128, 1)).unwrap().autoencoder.frozen("3-3");
    let network = FrozenFeatures::logits_of(victim::victim(2));
    let detectors: Vec<Arc<dyn Detector>> = vec![
        Arc::new(ReconstructionError::new(map.clone(), 1).unwrap()),
        Arc::new(ReconstructionDivergence::new(map.clone(), network, 10.0).unwrap()),
    ];
    let reformer = || reformed(victim::victim(2), map.clone());
    let guard = Guard::calibrated(reformer(), detectors, &Calibration::new(0.05), &stripes(199, 2)).unwrap();
    (guard, reformer())
}

#[test]
fn magnet_loses_at_least_as_much_to_the_attack_that_knows_it() {
    let (guard, reformer) = magnet();
    let test = set(victim::images(2), victim::labels(2));
    for size in [0.04, 0.06] {
        let [oblivious, adaptive, bare] = left(&reformer, 2, size);
        assert!(adaptive <= oblivious && bare < 32, "reformer: {oblivious} {adaptive} {bare}");
        let made = Transfer::new(pgd(size), "the undefended network", victim::victim(2));
        let knows = Adaptive::new(AdaptiveConfig::new(linf(size)), guard.alarms());
        let report = guard.report(&test, &[&made, &knows], 16).unwrap();
        let [made, knows] = [0, 1].map(|attack| report.attacks[attack].worst_case.hits);
        println!("magnet {size}: {} clean, {made} {knows}", report.clean.accuracy.hits);
        assert!(knows <= made, "{made} {knows}");
    }
}

/// Class 1 above 0.525 of brightness: 0.5 itself, to which twentieths are rounded below that, is class 0.
fn hidden(backward: Backward) -> Frozen {
    Custom::new("Steps", |x| (x * 20.0).round() / 20.0, backward).before(bright()).unwrap()
}

fn found(defended: &Frozen, attacks: Vec<Box<dyn Attack>>) -> EvaluationResult {
    let budgets = [0.08, 0.22].map(linf);
    let evaluation = Evaluation::new(defended).attacks(attacks).budgets(budgets).check_images(0);
    evaluation.run(&Plain::eight()).unwrap().without_timing()
}

fn markdown(result: &EvaluationResult) -> (String, Vec<String>) {
    let report = Report {
        models: vec![ModelReport::new("steps", result.clone())],
        ..Report::new("Views", DataSummary::of("eight plain images"))
    };
    (report.to_markdown(), report.warnings())
}

#[test]
fn views_are_counted_by_hand() {
    // 0.1, 0.3 and 0.45 are right, and 0.6, 0.65 and 0.9: from 0.525 they are 0.425, 0.225, 0.075 and 0.075,
    // 0.125, 0.375 away.
    let through = found(&hidden(Backward::Identity), attack_views(pgd(0.07), bright(), 30));
    let hits = |result: &EvaluationResult, at: usize| {
        let AttackViews { oblivious, adaptive, black_box, .. } = &result.views[at];
        let all = [Some(oblivious), adaptive.as_ref(), black_box.as_ref()];
        all.map(|view| view.map(|view| (view.accuracy.hits, view.alone)))
    };
    assert_eq!(through.views.len(), 2);
    assert_eq!(hits(&through, 0)[..2], [Some((4, 0)), Some((4, 0))]);
    assert_eq!(hits(&through, 1)[..2], [Some((3, 0)), Some((3, 0))]);
    assert_eq!(
        (through.views[0].gap, through.views[0].adaptive.as_ref().unwrap().classes[1].hits),
        (Some(0.0), 2)
    );
    assert!(markdown(&through).0.contains("nothing rests on the attacker not knowing it"));

    // Without a gradient the attack that knows it finds nothing, and the others do.
    let zero = Backward::stand_in(|x, _| x * 0.0);
    let mut attacks = attack_views(pgd(0.07).with_random_start(false), bright(), 30);
    attacks.push(Box::new(Shade::new(Some(1))));
    let masked = found(&hidden(zero), attacks);
    let [made, own, asking] = hits(&masked, 1);
    assert_eq!((made.unwrap().0, own), (3, Some((6, 0))));
    assert!(asking.unwrap().0 <= 4, "Shade breaks two malignant ones: {asking:?}");
    assert_eq!(masked.views[1].gap, Some(-0.375));
    assert_eq!(masked.views[1].black_box.as_ref().unwrap().attacks, ["Square", "shade"]);
    let (text, warnings) = markdown(&masked);
    assert!(
        text.contains("## What attacks find that know the model") && text.contains("they mislead"),
        "{text}"
    );
    assert!(text.contains("its backward pass misses something"), "{text}");
    assert!(warnings.iter().all(|warning| !warning.contains("no attack knows it")), "{warnings:?}");

    let text = serde_json::to_string(&masked).unwrap();
    assert_eq!(serde_json::from_str::<EvaluationResult>(&text).unwrap(), masked);
    let twice = pooled(&[masked.clone(), masked.clone()]).unwrap();
    assert_eq!(hits(&twice, 1)[0].unwrap().0, 6);
}

/// The other way round: an attacker who does not know that the images are inverted goes the wrong way.
#[test]
fn what_rests_on_obscurity_is_told_as_such() {
    let inverted = || bright().behind(|x| x.neg() + 1.0);
    let made: Vec<Box<dyn Attack>> = vec![Box::new(Transfer::new(pgd(0.07), "another network", inverted()))];
    let alone = found(&bright(), made);
    assert_eq!((alone.views.len(), alone.views[0].adaptive.as_ref(), alone.views[0].gap), (2, None, None));
    let (text, warnings) = markdown(&alone);
    assert!(text.contains("no attack follows its gradients"), "{text}");
    let warned = warnings.iter().find(|warning| warning.contains("no attack knows it")).unwrap();
    assert!(warned.starts_with("Steps: in Linf") && warned.contains("PGD from another network"), "{warned}");

    // Another white box than the one inside: all of them stand for it.
    let both: Vec<Box<dyn Attack>> = vec![
        Box::new(Transfer::new(pgd(0.07), "another network", inverted())),
        Box::new(Fgsm::new(linf(0.07))),
    ];
    let known = found(&bright(), both);
    assert_eq!(known.views[1].adaptive.as_ref().unwrap().attacks, ["FGSM"]);
    assert_eq!((known.views[1].gap, known.views[1].adaptive.as_ref().unwrap().alone), (Some(0.5), 4));
    let (text, warnings) = markdown(&known);
    assert!(text.contains("- steps: 50.0 points of its accuracy under PGD from another network"), "{text}");
    assert!(warnings.iter().all(|warning| !warning.contains("no attack knows it")), "{warnings:?}");
    // No transfer, no view.
    let none = found(&bright(), vec![Box::new(Fgsm::new(linf(0.07)))]);
    assert!(none.views.is_empty() && !markdown(&none).0.contains("What attacks find that know"));
}

/// On both networks the exact gradient of the median is the stronger attack: when last run it left 16 and 36
/// images of 96, the identity's 30 and 49, more than the attack that does not know the median at all with a
/// window of 2.
#[test]
fn the_medians_own_gradient_is_its_default() {
    let under = |median: Median, classes: usize, size: f64| {
        left(&median.before(victim::victim(classes)).unwrap(), classes, size)[1]
    };
    let all = |backward: Option<MedianBackward>, classes| -> usize {
        let median =
            |window| backward.map_or(Median::new(), |b| Median::new().with_backward(b)).with_window(window);
        [(2, 0.06), (3, 0.04), (3, 0.06)]
            .map(|(window, size)| under(median(window), classes, size))
            .iter()
            .sum()
    };
    for classes in [4, 2] {
        let [default, identity] =
            [None, Some(MedianBackward::Identity)].map(|backward| all(backward, classes));
        assert!(default + 3 <= identity, "{classes} classes: {default} against {identity}");
    }
}
