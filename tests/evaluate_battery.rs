//! Several attacks on a small classifier, by hand.

mod small;
mod victim;

use std::sync::atomic::{AtomicBool, Ordering};

use histoguard::attack::{Access, Aim, Attack, AttackError, Goals, Profile, Task};
use histoguard::classifier::Queries;
use histoguard::evaluate::{
    Evaluation, EvaluationError, EvaluationResult, Proportion, Run, Slide, TransferMatrix, Transferability,
    Verdict,
};
use histoguard::parameter::Parameter;
use histoguard::prelude::*;
use serde::Serialize;
use small::{Plain, Search, Shade, Steps, bright, by_brightness, hits, linf, worst};

fn budgets() -> [Budget; 4] {
    [0.0, 0.07, 0.12, 0.22].map(linf)
}

fn fgsm() -> Fgsm {
    Fgsm::new(Budget::pixels(0.0))
}

#[test]
fn each_attack_and_the_worst_of_all() {
    let victim = bright();
    let evaluation = Evaluation::new(&victim)
        .attack(fgsm())
        .attack(Shade::new(Some(0)))
        .attack(Shade::new(Some(1)))
        .attack(Search::default())
        .budgets(budgets());
    let result = evaluation.run(&Plain::eight()).unwrap();
    // Without attack 6 of 8. Benign 0.05, 0.2 and 0.4 away, malignant 0.1, 0.15 and 0.4.
    assert_eq!(result.clean.metrics.accuracy.hits, 6);
    assert_eq!(hits(&result, "FGSM"), [6, 5, 4, 2]);
    assert_eq!(hits(&result, "shade"), [6, 5, 5, 4]);
    assert_eq!(hits(&result, "shade (2)"), [6, 6, 5, 4]);
    assert_eq!(hits(&result, "search"), [6, 5, 4, 2]);
    assert_eq!(worst(&result), [6, 5, 4, 2]);
    assert_eq!(result.worst_cases[0].attacks, ["FGSM", "shade", "shade (2)", "search"]);

    // Flips at 0.12: one of three malignant images that were right became benign, and one of three benign.
    let shade = &result.attack("shade (2)").unwrap().sweep[2];
    let flips: Vec<_> = shade.flips.iter().map(|f| (f.from.as_str(), f.to.as_str(), f.images)).collect();
    let [none, one] = [0, 1].map(|hits| Proportion::new(hits, 3));
    assert_eq!(flips, [("benign", "malignant", none), ("malignant", "benign", one)]);

    // The smallest perturbations are 0.05, 0.1, 0.15, 0.2, 0.4 and 0.4, and a thousandth.
    let search = result.attack("search").unwrap().minimal;
    assert!(search.searched && (search.median.unwrap() - 0.176).abs() < 1e-6, "{search:?}");
    assert_eq!(search.broken, Proportion::new(6, 6));
    // From the sweep: 0.07, 0.12, 0.22, 0.22 and two out of reach.
    let swept = result.attack("FGSM").unwrap().minimal;
    assert!(!swept.searched && (swept.median.unwrap() - 0.22).abs() < 1e-12, "{swept:?}");
    assert_eq!(swept.broken, Proportion::new(4, 6));
    // Four of six are never broken by the one-sided attack.
    assert_eq!(result.attack("shade").unwrap().minimal.median, None);

    // Where the search stays outside the budget the image is as it was.
    let at = &result.records[1].attacks[3];
    assert!((at.searched.unwrap().distances.unwrap().linf - 0.201).abs() < 1e-6);
    assert_eq!(at.at[2].distances.unwrap().linf, 0.0);
    assert!(!at.at[3].outcome.is(0));
}

#[test]
fn slides_have_scores_and_their_mean_is_the_patient_rate() {
    let victim = bright();
    let result = Evaluation::new(&victim).attack(fgsm()).budgets(budgets()).run(&Plain::eight()).unwrap();
    // Right without attack: 2 of 2, 1 of 2, 1 of 2, 2 of 2; at 0.12 the ones at 0.45 and 0.6 fall.
    let scores = |slides: &[Slide]| -> Vec<(String, usize)> {
        slides.iter().map(|slide| (slide.name.clone(), slide.score.hits)).collect()
    };
    let named = |hits: [usize; 4]| -> Vec<(String, usize)> {
        hits.iter().enumerate().map(|(i, &hits)| (format!("slide {i}"), hits)).collect()
    };
    assert_eq!(scores(&result.clean.detail.slides), named([2, 1, 1, 2]));
    assert_eq!(result.clean.metrics.patient_rate, Some(0.75));
    let at = &result.attacks[0].sweep[2];
    assert_eq!(scores(&at.detail.slides), named([2, 0, 0, 2]));
    assert_eq!(at.metrics.patient_rate, Some(0.5));
    // Slides with 2, 0, 0 and 2 of 2: a draw's accuracy is a quarter of the draws among the first and last.
    let bootstrap = &at.detail.bootstrap;
    let interval = bootstrap.accuracy.unwrap();
    assert_eq!((interval.low, interval.high), (0.0, 1.0));
    assert_eq!((bootstrap.slides, bootstrap.resamples), (4, 2000));
    assert_eq!(bootstrap.patient_rate, bootstrap.accuracy);
    assert_eq!(at.metrics.accuracy.interval, histoguard::evaluate::wilson(4, 8));
}

#[test]
fn searches_run_once_and_sweeps_of_one_step_take_one_gradient() {
    let victim = bright();
    let search = Search::default();
    let seen = search.seen.clone();
    let evaluation =
        Evaluation::new(&victim).attack(search).attack(fgsm()).attack(Steps::new(5)).budgets(budgets());
    let result = evaluation.check_images(0).run(&Plain::eight()).unwrap();
    // Six images are right and attacked.
    assert_eq!(seen.load(Ordering::Relaxed), 6);
    assert_eq!(result.attacks[1].queries.gradients, 6);
    // Three budgets above zero, five steps each.
    assert_eq!(result.attacks[2].queries.gradients, 6 * 3 * 5);
    assert_eq!(result.attacks[2].images, 6 * 3);
}

#[test]
fn later_attacks_can_be_left_the_survivors() {
    let victim = bright();
    let run = |only: bool| {
        let (first, second) = (Shade::new(Some(0)), Shade::new(None));
        let seen = second.seen.clone();
        let evaluation = Evaluation::new(&victim).attack(first).attack(second).budgets(budgets());
        let result = evaluation.only_survivors(only).check_images(0).run(&Plain::eight()).unwrap();
        (result, seen.load(Ordering::Relaxed))
    };
    let ((all, seen_all), (rest, seen_rest)) = (run(false), run(true));
    assert_eq!(worst(&all), [6, 5, 4, 2]);
    assert_eq!(worst(&rest), worst(&all));
    // The first attack breaks 1, 1 and 2 of the 6 images.
    assert_eq!((seen_all, seen_rest), (18, 14));
    // The accuracy of the second is that of both, its success that of what it attacked.
    assert_eq!(hits(&rest, "shade (2)"), [6, 5, 4, 2]);
    let success: Vec<(usize, usize)> =
        rest.attacks[1].sweep.iter().map(|at| (at.success.hits, at.success.total)).collect();
    assert_eq!(success, [(0, 6), (0, 5), (1, 5), (2, 4)]);
    assert_eq!(rest.worst_cases[0].sweep[3].perturbation, all.worst_cases[0].sweep[3].perturbation);
}

/// Does more harm with a small budget: what a single step that overshoots does.
#[test]
fn the_worst_case_never_rises_with_epsilon_and_never_beats_a_member() {
    // Class 1 outside of a band around 0.5: a large step comes out on the other side.
    let victim = by_brightness(|mean| ((mean - 0.5).square() - 0.01) * 100.0);
    let data = Plain::new(&[0.65, 0.63, 0.5, 0.52], &[1, 1, 0, 0]);
    let sweep = [0.02, 0.1, 0.3].map(linf);
    let evaluation = Evaluation::new(&victim).attack(fgsm()).attack(Steps::new(10)).budgets(sweep);
    let result = evaluation.run(&data).unwrap();
    // From 0.65 and 0.63: 0.1 leads into the band, 0.3 to 0.35 and 0.33 beyond it. The image at 0.5 sits on
    // a point without slope, that at 0.52 moves out.
    assert_eq!(hits(&result, "FGSM"), [4, 1, 3]);
    let worst = worst(&result);
    assert!(worst.windows(2).all(|w| w[0] >= w[1]), "{worst:?}");
    for attack in &result.attacks {
        for (at, worst) in attack.sweep.iter().zip(&worst) {
            assert!(at.metrics.accuracy.hits >= *worst);
        }
    }
    // A single attack's worst case is the attack itself, which may do less with more.
    let alone = Evaluation::new(&victim).attack(fgsm()).budgets(sweep).run(&data).unwrap();
    assert_eq!(alone.worst_cases[0].sweep, alone.attacks[0].sweep);
    assert_eq!(hits(&alone, "FGSM"), [4, 1, 3]);
}

#[test]
fn rounding_to_eight_bits_can_undo_an_attack() {
    // Class 1 from 127.8/255 up, an image at 130/255.
    let victim = by_brightness(|mean| (mean * 255.0 - 127.8) * 10.0);
    let data = Plain::new(&[130.0 / 255.0, 0.2], &[1, 0]);
    let sweep = [2.1, 2.4, 2.6].map(Budget::pixels);
    let result = Evaluation::new(&victim).attack(fgsm()).budgets(sweep).run(&data).unwrap();
    // 127.9 holds; 127.6 falls, but as 128 in a PNG it does not; 127.4 falls, and as 127 too.
    let both: Vec<(usize, usize)> = (result.attacks[0].sweep.iter())
        .map(|at| (at.metrics.accuracy.hits, at.detail.eight_bit.accuracy.hits))
        .collect();
    assert_eq!(both, [(2, 2), (1, 2), (1, 1)]);
}

#[test]
fn norms_have_their_own_budgets_and_worst_cases() {
    let victim = bright();
    let evaluation = Evaluation::new(&victim)
        .attack(fgsm())
        .attack(Fgsm::new(Budget::l2(0.0)))
        .budgets([Budget::l2(0.12 * 432f64.sqrt()), linf(0.12)]);
    let result = evaluation.run(&Plain::eight()).unwrap();
    assert_eq!(result.worst_cases.len(), 2);
    for worst in &result.worst_cases {
        assert_eq!(worst.sweep[0].metrics.accuracy.hits, 4, "{}", worst.norm);
    }
    assert_eq!(
        (result.attacks[0].label.as_str(), result.attacks[1].label.as_str()),
        ("FGSM Linf", "FGSM L2")
    );
    // An attack in a norm without a budget keeps its own.
    let half =
        Evaluation::new(&victim).attack(Fgsm::new(Budget::l2(0.5))).attack(fgsm()).budgets([linf(0.12)]);
    let half = half.run(&Plain::eight()).unwrap();
    let own: Vec<Vec<Budget>> = half.attacks.iter().map(|attack| attack.budgets().collect()).collect();
    assert_eq!(own, [vec![Budget::l2(0.5)], vec![linf(0.12).rounded()]]);
}

#[test]
fn budgets_of_two_norms_never_mix() {
    let (narrow, long) = (linf(0.12), Budget::l2(0.12));
    assert!(narrow != long && narrow.partial_cmp(&long).is_none());
    assert!(linf(0.07) < narrow && Budget::l2(0.07) < long);
    let mut sorted = [Budget::l2(0.01), linf(0.2), Budget::l2(0.5), linf(0.1)];
    sorted.sort_by(Budget::total_cmp);
    assert_eq!(sorted, [linf(0.1), linf(0.2), Budget::l2(0.01), Budget::l2(0.5)]);

    let victim = bright();
    let run = |only: bool| {
        let evaluation = Evaluation::new(&victim).attack(fgsm()).attack(Fgsm::new(Budget::l2(0.0)));
        let evaluation = evaluation.budgets([linf(0.22), Budget::l2(2.0), Budget::l2(0.22)]);
        evaluation.only_survivors(only).run(&Plain::eight()).unwrap().without_timing()
    };
    // A length of 2 moves each of 432 values by 2 / sqrt(432) = 0.096, one of 0.22 by 0.011.
    let result = run(false);
    assert_eq!((hits(&result, "FGSM Linf"), hits(&result, "FGSM L2")), (vec![2], vec![6, 5]));
    assert_eq!(worst(&result), [2]);
    let long = &result.worst_case(Norm::L2).unwrap().sweep;
    assert_eq!(long.iter().map(|under| under.metrics.accuracy.hits).collect::<Vec<_>>(), [6, 5]);
    assert!(result.attacks[1].at(linf(0.22)).is_none() && result.attacks[1].at(Budget::l2(0.22)).is_some());
    // What fell in one norm is still attacked in the other.
    assert_eq!(run(true).attacks, result.attacks);

    // A size in the unit of another norm is refused.
    let text = serde_json::to_string(&result).unwrap();
    assert!(serde_json::from_str::<EvaluationResult>(&text).unwrap() == result);
    let l2 = |unit: &str| format!(r#""norm":"L2","size":2.0,"unit":"{unit}""#);
    let mixed = text.replace(&l2("[0,1]"), &l2("/255"));
    let error = serde_json::from_str::<EvaluationResult>(&mixed).unwrap_err().to_string();
    assert!(error.contains("unit of a budget in L2: expected [0,1], found /255"), "{error}");
}

fn whole(victim: &Frozen, batch: usize) -> EvaluationResult {
    let evaluation = Evaluation::new(victim)
        .attack(fgsm())
        .attack(Steps::new(3))
        .attack(Shade::new(None))
        .attack(Search::default())
        .budgets(budgets());
    evaluation.batch_size(batch).run(&Plain::eight()).unwrap().without_timing()
}

#[test]
fn results_do_not_depend_on_batches_or_threads_and_survive_json() {
    let one = whole(&bright(), 1);
    for size in [2, 3, 8, 100] {
        assert!(whole(&bright(), size) == one, "batch size {size}");
    }
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(|| whole(&bright(), 3)) == one, "{threads} threads");
    }
    let text = serde_json::to_string(&one).unwrap();
    assert!(serde_json::from_str::<EvaluationResult>(&text).unwrap() == one, "changed by JSON");
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
        let evaluation = evaluation.budgets([2.0, 8.0].map(Budget::pixels)).batch_size(size);
        evaluation.run(&data).unwrap().without_timing()
    };
    let whole = run(32);
    assert!(whole.attacks[1].sweep[1].success.hits > 0);
    assert!(run(5) == whole);
    // Alone the attack does the same.
    let alone = Evaluation::new(&network).attack(Steps::new(4)).budgets([2.0, 8.0].map(Budget::pixels));
    assert_eq!(alone.run(&data).unwrap().attacks[0], whole.attacks[1]);
}

static CANCEL: AtomicBool = AtomicBool::new(false);

/// Sets the flag of its own evaluation and waits to be stopped.
#[derive(Debug, Serialize)]
struct Endless;

impl Attack for Endless {
    fn profile(&self) -> Profile {
        Profile {
            name: "endless".into(),
            aim: Aim::Smallest { norm: Norm::Linf, limit: None },
            goals: Goals::Any,
            access: Access::Nothing,
            steps: None,
            queries: None,
            mask: None,
        }
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        Vec::new()
    }

    fn at(&self, _: Budget) -> Box<dyn Attack> {
        Box::new(Self)
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        None
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        CANCEL.store(true, Ordering::Relaxed);
        loop {
            task.step()?;
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_cancel_reaches_into_an_attack() {
    let victim = bright();
    let evaluation = Evaluation::new(&victim).attack(Endless).cancel_with(&CANCEL);
    let error = evaluation.run(&Plain::eight()).unwrap_err();
    assert!(matches!(error, EvaluationError::Cancelled { done: 8, total: 16 }), "{error}");
    assert!(!victim.watch().is_stopped(), "the victim can be attacked again");
}

#[test]
fn transfer_goes_from_every_model_to_every_other() {
    let models = [0.5, 0.35].map(|threshold| by_brightness(move |mean| (mean - threshold) * 10.0));
    let data = Plain::eight();
    let attack = Fgsm::new(linf(0.12));
    let run = |size| {
        let transfer = Transferability::new(&attack).model("middle", &models[0]).model("low", &models[1]);
        transfer.batch_size(size).run(&data).unwrap()
    };
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
    assert!(text.contains(r#""budget":{"norm":"Linf","size":30.6,"unit":"/255"}"#), "{text}");
    assert_eq!(matrix.attack.budget(), Some(linf(0.12).rounded()));
    assert_eq!(matrix.models, ["middle", "low"]);
    assert_eq!(serde_json::from_str::<TransferMatrix>(&text).unwrap(), matrix);
    let three = Frozen::from_fn(3, &Device::default(), |x| Tensor::zeros([x.dims()[0], 3], &x.device()));
    let error = Transferability::new(&attack).model("three", &three).run(&data).unwrap_err();
    assert!(matches!(error, EvaluationError::Classes { expected: 2, found: 3 }), "{error}");
    let refused = |transfer: Transferability| transfer.run(&data).unwrap_err().to_string();
    assert_eq!(refused(Transferability::new(&attack)), "models: expected at least 1, found 0");
    let none = Transferability::new(&attack).model("middle", &models[0]).batch_size(0);
    assert_eq!(refused(none), "batch size: expected at least 1, found 0");
    let queries = models[0].watch().queries();
    let towards = Transferability::new(&Towards).model("middle", &models[0]);
    assert_eq!(refused(towards), "towards: goal: expected a targeted one, found an untargeted one");
    assert_eq!(models[0].watch().queries(), queries, "no query for what is refused");
}

/// An attack towards a target alone.
#[derive(Debug, Serialize)]
struct Towards;

impl Attack for Towards {
    fn profile(&self) -> Profile {
        Profile {
            name: "towards".into(),
            aim: Aim::Within(Budget::pixels(8.0)),
            goals: Goals::Targeted,
            access: Access::Nothing,
            steps: Some(1),
            queries: Some(Queries::NONE),
            mask: None,
        }
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        Vec::new()
    }

    fn at(&self, _: Budget) -> Box<dyn Attack> {
        Box::new(Self)
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        None
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        Ok(task.images())
    }
}

#[test]
fn wrong_parameters_are_refused_before_any_query() {
    let victim = bright();
    let fails = |evaluation: Evaluation| evaluation.run(&Plain::eight()).unwrap_err().to_string();
    for bad in [linf(f64::NAN), Budget::l2(f64::NAN)] {
        let bad = fails(Evaluation::new(&victim).attack(fgsm()).budgets([bad]));
        assert_eq!(bad, "budget: expected a finite number of at least 0, found NaN");
    }
    let own = fails(Evaluation::new(&victim).attack(Fgsm::new(linf(-1.0))));
    assert_eq!(own, "budget: expected a finite number of at least 0, found -1");
    assert_eq!(fails(Evaluation::new(&victim).resamples(0)), "resamples: expected at least 1, found 0");
    let targeted = fails(Evaluation::new(&victim).attack(fgsm()).attack(Towards));
    assert_eq!(targeted, "towards: expected an attack away from the true class, found one towards a target");
    assert_eq!(victim.watch().queries(), Queries::NONE);
    // A search needs no budget: it says how far the images are.
    let result = Evaluation::new(&victim).attack(Search::default()).run(&Plain::eight()).unwrap();
    assert_eq!((result.attacks[0].sweep.len(), result.attacks[0].minimal.broken.hits), (0, 6));
    assert!(result.checks.iter().all(|check| check.verdict != Verdict::Suspicious), "{:?}", result.checks);
}
