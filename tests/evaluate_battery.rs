//! Several attacks on a small classifier, by hand.

mod small;
mod victim;

use std::sync::atomic::{AtomicBool, Ordering};

use histoguard::attack::{Access, Attack, AttackError};
use histoguard::evaluate::{Battery, EvaluationError, Proportion, Verdict};
use histoguard::prelude::*;
use small::{Plain, Search, Shade, Steps, bright, by_brightness};

fn epsilons() -> [Epsilon; 4] {
    [Epsilon::ZERO, Epsilon::unit(0.07), Epsilon::unit(0.12), Epsilon::unit(0.22)]
}

fn fgsm() -> Fgsm {
    Fgsm::new(Epsilon::ZERO)
}

fn hits(battery: &Battery, label: &str) -> Vec<usize> {
    let attack = battery.attack(label).unwrap_or_else(|| panic!("no {label}"));
    attack.sweep.iter().map(|at| at.under.metrics.accuracy.hits).collect()
}

fn worst(battery: &Battery) -> Vec<usize> {
    let worst = battery.worst_case(Norm::Linf).unwrap();
    worst.sweep.iter().map(|at| at.under.metrics.accuracy.hits).collect()
}

#[test]
fn each_attack_and_the_worst_of_all() {
    let victim = bright();
    let evaluation = Evaluation::new(&victim)
        .attack(fgsm())
        .attack(Shade::new(Some(0)))
        .attack(Shade::new(Some(1)))
        .attack(Search::default())
        .epsilons(epsilons());
    let battery = evaluation.battery(&Plain::eight()).unwrap();
    // Without attack 6 of 8. Benign 0.05, 0.2 and 0.4 away, malignant 0.1, 0.15 and 0.4.
    assert_eq!(battery.clean.metrics.accuracy.hits, 6);
    assert_eq!(hits(&battery, "FGSM"), [6, 5, 4, 2]);
    assert_eq!(hits(&battery, "shade"), [6, 5, 5, 4]);
    assert_eq!(hits(&battery, "shade (2)"), [6, 6, 5, 4]);
    assert_eq!(hits(&battery, "search"), [6, 5, 4, 2]);
    assert_eq!(worst(&battery), [6, 5, 4, 2]);
    assert_eq!(battery.worst_cases[0].attacks, ["FGSM", "shade", "shade (2)", "search"]);

    // Flips at 0.12: one of three malignant images that were right became benign, and one of three benign.
    let shade = &battery.attack("shade (2)").unwrap().sweep[2];
    let flips: Vec<_> = shade.flips.iter().map(|f| (f.from.as_str(), f.to.as_str(), f.images)).collect();
    let [none, one] = [0, 1].map(|hits| Proportion::new(hits, 3));
    assert_eq!(flips, [("benign", "malignant", none), ("malignant", "benign", one)]);

    // The smallest perturbations are 0.05, 0.1, 0.15, 0.2, 0.4 and 0.4, and a thousandth.
    let search = battery.attack("search").unwrap().minimal;
    assert!(search.searched && (search.median.unwrap() - 0.176).abs() < 1e-6, "{search:?}");
    assert_eq!(search.broken, Proportion::new(6, 6));
    // From the sweep: 0.07, 0.12, 0.22, 0.22 and two out of reach.
    let swept = battery.attack("FGSM").unwrap().minimal;
    assert!(!swept.searched && (swept.median.unwrap() - 0.22).abs() < 1e-12, "{swept:?}");
    assert_eq!(swept.broken, Proportion::new(4, 6));
    // Four of six are never broken by the one-sided attack.
    assert_eq!(battery.attack("shade").unwrap().minimal.median, None);

    // Where the search stays outside the budget the image is as it was.
    let at = &battery.records[1].attacks[3];
    assert!((at.searched.unwrap().distances.unwrap().linf - 0.201).abs() < 1e-6);
    assert_eq!(at.at[2].distances.unwrap().linf, 0.0);
    assert!(!at.at[3].outcome.is(0));
}

#[test]
fn slides_have_scores_and_their_mean_is_the_patient_rate() {
    let victim = bright();
    let battery =
        Evaluation::new(&victim).attack(fgsm()).epsilons(epsilons()).battery(&Plain::eight()).unwrap();
    // Right without attack: 2 of 2, 1 of 2, 1 of 2, 2 of 2; at 0.12 the ones at 0.45 and 0.6 fall.
    let scores = |slides: &[histoguard::evaluate::Slide]| -> Vec<(String, usize)> {
        slides.iter().map(|slide| (slide.name.clone(), slide.score.hits)).collect()
    };
    let named = |hits: [usize; 4]| -> Vec<(String, usize)> {
        hits.iter().enumerate().map(|(i, &hits)| (format!("slide {i}"), hits)).collect()
    };
    assert_eq!(scores(&battery.clean.detail.slides), named([2, 1, 1, 2]));
    assert_eq!(battery.clean.metrics.patient_rate, Some(0.75));
    let at = &battery.attacks[0].sweep[2];
    assert_eq!(scores(&at.detail.slides), named([2, 0, 0, 2]));
    assert_eq!(at.under.metrics.patient_rate, Some(0.5));
    // Slides with 2, 0, 0 and 2 of 2: a draw's accuracy is a quarter of the draws among the first and last.
    let bootstrap = &at.detail.bootstrap;
    let interval = bootstrap.accuracy.unwrap();
    assert_eq!((interval.low, interval.high), (0.0, 1.0));
    assert_eq!((bootstrap.slides, bootstrap.resamples), (4, 2000));
    assert_eq!(bootstrap.patient_rate, bootstrap.accuracy);
    assert_eq!(at.under.metrics.accuracy.interval, histoguard::evaluate::wilson(4, 8));
}

#[test]
fn searches_run_once_and_sweeps_of_one_step_take_one_gradient() {
    let victim = bright();
    let search = Search::default();
    let seen = search.seen.clone();
    let evaluation =
        Evaluation::new(&victim).attack(search).attack(fgsm()).attack(Steps::new(5)).epsilons(epsilons());
    let battery = evaluation.check_images(0).battery(&Plain::eight()).unwrap();
    // Six images are right and attacked.
    assert_eq!(seen.load(Ordering::Relaxed), 6);
    assert_eq!(battery.attacks[1].queries.gradients, 6);
    // Three budgets above zero, five steps each.
    assert_eq!(battery.attacks[2].queries.gradients, 6 * 3 * 5);
    assert_eq!(battery.attacks[2].images, 6 * 3);
}

#[test]
fn later_attacks_can_be_left_the_survivors() {
    let victim = bright();
    let run = |only: bool| {
        let (first, second) = (Shade::new(Some(0)), Shade::new(None));
        let seen = second.seen.clone();
        let evaluation = Evaluation::new(&victim).attack(first).attack(second).epsilons(epsilons());
        let battery = evaluation.only_survivors(only).check_images(0).battery(&Plain::eight()).unwrap();
        (battery, seen.load(Ordering::Relaxed))
    };
    let ((all, seen_all), (rest, seen_rest)) = (run(false), run(true));
    assert_eq!(worst(&all), [6, 5, 4, 2]);
    assert_eq!(worst(&rest), worst(&all));
    // The first attack breaks 1, 1 and 2 of the 6 images.
    assert_eq!((seen_all, seen_rest), (18, 14));
    // The accuracy of the second is that of both, its success that of what it attacked.
    assert_eq!(hits(&rest, "shade (2)"), [6, 5, 4, 2]);
    let success: Vec<(usize, usize)> =
        rest.attacks[1].sweep.iter().map(|at| (at.under.success.hits, at.under.success.total)).collect();
    assert_eq!(success, [(0, 6), (0, 5), (1, 5), (2, 4)]);
    assert_eq!(
        rest.worst_cases[0].sweep[3].under.perturbation,
        all.worst_cases[0].sweep[3].under.perturbation
    );
}

/// Does more harm with a small budget: what a single step that overshoots does.
#[test]
fn the_worst_case_never_rises_with_epsilon_and_never_beats_a_member() {
    // Class 1 outside of a band around 0.5: a large step comes out on the other side.
    let victim = by_brightness(|mean| ((mean - 0.5).square() - 0.01) * 100.0);
    let data = Plain::new(&[0.65, 0.63, 0.5, 0.52], &[1, 1, 0, 0]);
    let sweep = [0.02, 0.1, 0.3].map(Epsilon::unit);
    let evaluation = Evaluation::new(&victim).attack(fgsm()).attack(Steps::new(10)).epsilons(sweep);
    let battery = evaluation.battery(&data).unwrap();
    // From 0.65 and 0.63: 0.1 leads into the band, 0.3 to 0.35 and 0.33 beyond it. The image at 0.5 sits on
    // a point without slope, that at 0.52 moves out.
    assert_eq!(hits(&battery, "FGSM"), [4, 1, 3]);
    let worst = worst(&battery);
    assert!(worst.windows(2).all(|w| w[0] >= w[1]), "{worst:?}");
    for attack in &battery.attacks {
        for (at, worst) in attack.sweep.iter().zip(&worst) {
            assert!(at.under.metrics.accuracy.hits >= *worst);
        }
    }
    // `run` gives the same worst case.
    let robustness = evaluation.run(&data).unwrap();
    assert_eq!(robustness.sweep.iter().map(|u| u.metrics.accuracy.hits).collect::<Vec<_>>(), worst);
    assert_eq!(robustness.attack.as_deref(), Some("worst of FGSM, steps"));
}

#[test]
fn rounding_to_eight_bits_can_undo_an_attack() {
    // Class 1 from 127.8/255 up, an image at 130/255.
    let victim = by_brightness(|mean| (mean * 255.0 - 127.8) * 10.0);
    let data = Plain::new(&[130.0 / 255.0, 0.2], &[1, 0]);
    let sweep = [2.1, 2.4, 2.6].map(Epsilon::pixels);
    let battery = Evaluation::new(&victim).attack(fgsm()).epsilons(sweep).battery(&data).unwrap();
    // 127.9 holds; 127.6 falls, but as 128 in a PNG it does not; 127.4 falls, and as 127 too.
    let both: Vec<(usize, usize)> = (battery.attacks[0].sweep.iter())
        .map(|at| (at.under.metrics.accuracy.hits, at.detail.eight_bit.accuracy.hits))
        .collect();
    assert_eq!(both, [(2, 2), (1, 2), (1, 1)]);
}

#[test]
fn norms_have_their_own_budgets_and_worst_cases() {
    let victim = bright();
    let evaluation = Evaluation::new(&victim)
        .attack(fgsm())
        .attack(fgsm().with_norm(Norm::L2))
        .epsilons([Epsilon::unit(0.12)])
        .epsilons_in(Norm::L2, [Epsilon::unit(0.12 * 432f64.sqrt())]);
    let battery = evaluation.battery(&Plain::eight()).unwrap();
    assert_eq!(battery.worst_cases.len(), 2);
    for worst in &battery.worst_cases {
        assert_eq!(worst.sweep[0].under.metrics.accuracy.hits, 4, "{}", worst.norm);
    }
    assert_eq!(
        (battery.attacks[0].label.as_str(), battery.attacks[1].label.as_str()),
        ("FGSM Linf", "FGSM L2")
    );
    let error = evaluation.run(&Plain::eight()).unwrap_err();
    assert_eq!(error.to_string(), "attacks: expected attacks in one norm, or a battery, found Linf and L2");
}

fn whole(victim: &Frozen, batch: usize) -> Battery {
    let evaluation = Evaluation::new(victim)
        .attack(fgsm())
        .attack(Steps::new(3))
        .attack(Shade::new(None))
        .attack(Search::default())
        .epsilons(epsilons());
    evaluation.batch_size(batch).battery(&Plain::eight()).unwrap().without_timing()
}

#[test]
fn results_do_not_depend_on_batches_or_threads_and_survive_json() {
    let one = whole(&bright(), 1);
    for size in [3, 8] {
        assert!(whole(&bright(), size) == one, "batch size {size}");
    }
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(|| whole(&bright(), 3)) == one, "{threads} threads");
    }
    let text = serde_json::to_string(&one).unwrap();
    assert!(serde_json::from_str::<Battery>(&text).unwrap() == one, "changed by JSON");
}

#[test]
fn a_trained_network_gives_the_same_in_batches_of_any_size() {
    let network = victim::victim(2);
    let data = histoguard::data::TensorSet::new(
        victim::images(2),
        victim::labels(2),
        vec!["benign".into(), "malignant".into()],
    )
    .unwrap();
    let run = |size: usize| {
        let evaluation = Evaluation::new(&network).attack(fgsm()).attack(Steps::new(4));
        let evaluation = evaluation.epsilons([2.0, 8.0].map(Epsilon::pixels)).batch_size(size);
        evaluation.battery(&data).unwrap().without_timing()
    };
    let whole = run(32);
    assert!(whole.attacks[1].sweep[1].under.success.hits > 0);
    assert!(run(5) == whole);
    // A result of `run` with one attack is the attack's part of the battery.
    let alone = Evaluation::new(&network).attack(Steps::new(4)).epsilons([2.0, 8.0].map(Epsilon::pixels));
    let alone = alone.run(&data).unwrap();
    for (under, at) in alone.sweep.iter().zip(&whole.attacks[1].sweep) {
        assert_eq!(under, &at.under);
    }
}

#[test]
fn an_interrupted_evaluation_goes_on_where_it_was() {
    let victim = bright();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let run = |shade: &Shade, batch: usize, stop_at: usize| {
        let flag = AtomicBool::new(false);
        Evaluation::new(&victim)
            .attack(fgsm())
            .attack(shade.clone())
            .attack(Search::default())
            .epsilons(epsilons())
            .resume_from(&state)
            .batch_size(batch)
            .on_progress(|p| flag.store(p.done >= stop_at, Ordering::Relaxed))
            .cancel_with(&flag)
            .battery(&Plain::eight())
    };
    let shade = Shade::new(None);
    let mut interruptions = 0;
    // Ever later, with batches of other sizes, as a user would who runs out of memory.
    for (batch, stop_at) in [(3, 4), (3, 20), (2, 33), (5, 60), (8, 71)] {
        let error = run(&shade, batch, stop_at).unwrap_err();
        assert!(matches!(error, EvaluationError::Cancelled { .. }), "{error}");
        interruptions += 1;
    }
    let resumed = run(&shade, 3, usize::MAX).unwrap();
    assert_eq!(interruptions, 5);
    // Every image once with every budget above zero; the label attack has no part in the checks' attacks.
    assert_eq!(shade.seen.load(Ordering::Relaxed), 6 * 3);
    let at_once = Evaluation::new(&victim)
        .attack(fgsm())
        .attack(Shade::new(None))
        .attack(Search::default())
        .epsilons(epsilons())
        .battery(&Plain::eight())
        .unwrap();
    assert!(resumed.without_timing() == at_once.without_timing());
}

#[test]
fn the_state_of_something_else_is_refused() {
    let victim = bright();
    let folder = tempfile::tempdir().unwrap();
    let evaluation = |victim, sweep: [f64; 2]| {
        Evaluation::new(victim)
            .attack(fgsm())
            .epsilons(sweep.map(Epsilon::unit))
            .resume_from(folder.path())
            .check_images(0)
    };
    evaluation(&victim, [0.1, 0.2]).battery(&Plain::eight()).unwrap();
    let refused = |evaluation: Evaluation, data: &Plain, what: &str| {
        let error = evaluation.battery(data).unwrap_err();
        assert!(matches!(error, EvaluationError::State { .. }), "{error}");
        assert!(error.to_string().contains(&format!("the same {what} as")), "{error}");
    };
    refused(evaluation(&victim, [0.1, 0.3]), &Plain::eight(), "attacks");
    refused(evaluation(&victim, [0.1, 0.2]).only_survivors(true), &Plain::eight(), "treatment");
    let fewer = Plain::new(&[0.1, 0.3], &[0, 0]);
    refused(evaluation(&victim, [0.1, 0.2]), &fewer, "images");
    let other = by_brightness(|mean| (mean - 0.4) * 10.0);
    refused(evaluation(&other, [0.1, 0.2]), &Plain::eight(), "classifier");
    refused(evaluation(&victim, [0.1, 0.2]).fingerprint("net.safetensors"), &Plain::eight(), "classifier");

    // Whatever else made it, a file that is not whole is named.
    std::fs::write(folder.path().join("000001.json"), "{\"run\":").unwrap();
    let error = evaluation(&victim, [0.1, 0.2]).battery(&Plain::eight()).unwrap_err().to_string();
    assert!(error.contains("000001.json") && error.contains("unfinished evaluation"), "{error}");
}

/// Sets the flag of its own evaluation and waits to be stopped.
#[derive(Debug)]
struct Endless(&'static AtomicBool);

impl Attack for Endless {
    fn name(&self) -> &'static str {
        "endless"
    }

    fn norm(&self) -> Norm {
        Norm::Linf
    }

    fn epsilon(&self) -> Option<Epsilon> {
        None
    }

    fn with_epsilon(&self, _: Epsilon) -> Box<dyn Attack> {
        Box::new(Self(self.0))
    }

    fn access(&self) -> Access {
        Access::Nothing
    }

    fn perturb(&self, victim: &Frozen, _: Tensor<4>, _: &Goal) -> Result<Tensor<4>, AttackError> {
        self.0.store(true, Ordering::Relaxed);
        while !victim.watch().is_stopped() {
            std::thread::yield_now();
        }
        Err(AttackError::Stopped)
    }
}

#[test]
fn a_cancel_reaches_into_an_attack() {
    static FLAG: AtomicBool = AtomicBool::new(false);
    let victim = bright();
    let evaluation = Evaluation::new(&victim).attack(Endless(&FLAG)).cancel_with(&FLAG);
    let error = evaluation.battery(&Plain::eight()).unwrap_err();
    assert!(matches!(error, EvaluationError::Cancelled { done: 8, total: 16 }), "{error}");
    assert!(!victim.watch().is_stopped(), "the victim can be attacked again");
}

#[test]
fn transfer_goes_from_every_model_to_every_other() {
    let models = [0.5, 0.35].map(|threshold| by_brightness(move |mean| (mean - threshold) * 10.0));
    let named = [("middle", &models[0]), ("low", &models[1])];
    let data = Plain::eight();
    let run = |size| TransferMatrix::new(&named, &Fgsm::new(Epsilon::unit(0.12)), &data, size).unwrap();
    let matrix = run(3);
    assert_eq!(matrix, run(8));
    // The low one calls 0.45 and 0.55 malignant, and 0.4 too.
    assert_eq!(matrix.clean.iter().map(|p| p.hits).collect::<Vec<_>>(), [6, 6]);
    // Both shade every image by 0.12 towards the other class. In the middle 0.1, 0.3, 0.65 and 0.9 stay; at
    // 0.35, 0.1, 0.6, 0.65 and 0.9.
    let hits: Vec<Vec<usize>> =
        matrix.cells.iter().map(|row| row.iter().map(|cell| cell.accuracy.hits).collect()).collect();
    assert_eq!(hits, [[4, 4], [4, 4]]);
    // Of the six that the low one gets right it loses 0.3 and 0.4.
    assert_eq!(matrix.cells[0][1].success, Proportion::new(2, 6));
    let text = serde_json::to_string(&matrix).unwrap();
    assert!(text.contains(r#""epsilon_pixels":30.6"#), "{text}");
    assert_eq!(serde_json::from_str::<TransferMatrix>(&text).unwrap(), matrix);
    let three = Frozen::from_fn(3, &Device::default(), |x| Tensor::zeros([x.dims()[0], 3], &x.device()));
    let error = TransferMatrix::new(&[("three", &three)], &fgsm(), &data, 3).unwrap_err();
    assert!(matches!(error, EvaluationError::Classes { expected: 2, found: 3 }), "{error}");
    assert!(TransferMatrix::new(&[], &fgsm(), &data, 3).is_err());
}

#[test]
fn wrong_parameters_are_refused_before_any_query() {
    let victim = bright();
    let fails = |evaluation: Evaluation| evaluation.battery(&Plain::eight()).unwrap_err().to_string();
    let bad =
        fails(Evaluation::new(&victim).attack(fgsm()).epsilons_in(Norm::Linf, [Epsilon::unit(f64::NAN)]));
    assert_eq!(bad, "epsilon: expected a finite number of at least 0, found NaN");
    assert_eq!(fails(Evaluation::new(&victim).resamples(0)), "resamples: expected at least 1, found 0");
    assert_eq!(victim.watch().queries().forwards, 0);
    let error = Evaluation::new(&victim).attack(Search::default()).run(&Plain::eight()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "epsilons: expected at least one, found none, and search has none of its own"
    );
    // A battery needs none: the search says how far the images are.
    let battery = Evaluation::new(&victim).attack(Search::default()).battery(&Plain::eight()).unwrap();
    assert_eq!((battery.attacks[0].sweep.len(), battery.attacks[0].minimal.broken.hits), (0, 6));
    assert!(battery.checks.iter().all(|check| check.verdict != Verdict::Suspicious), "{:?}", battery.checks);
}
