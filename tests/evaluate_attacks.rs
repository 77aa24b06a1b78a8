//! Whole evaluations of small classifiers under one attack, whose outcomes are computed by hand.

mod small;

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};

use histoguard::attack::{Access, Aim, Attack, AttackError, Goals, Profile, Task};
use histoguard::data::{Batch, DataError, LabeledImages, TensorSet};
use histoguard::evaluate::{
    Evaluation, EvaluationError, EvaluationResult, GradientState, Run, UnderAttack, Verdict, pooled,
};
use histoguard::parameter::Parameter;
use histoguard::prelude::*;
use serde::Serialize;
use small::{BRIGHTNESS, LABELS, bright, linf, worst};

/// The eight images, each a slide of its own.
fn data() -> TensorSet {
    let device = Device::default();
    let images = Tensor::<1>::from_floats(BRIGHTNESS, &device).reshape([8, 1, 1, 1]).expand([8, 3, 12, 12]);
    TensorSet::new(images, LABELS.to_vec(), vec!["benign".into(), "malignant".into()]).unwrap()
}

fn fgsm() -> Fgsm {
    Fgsm::new(Budget::pixels(8.0))
}

fn budgets() -> [Budget; 4] {
    [0.22, 0.0, 0.12, 0.07].map(linf)
}

#[test]
fn fgsm_breaks_images_at_their_distance_from_the_boundary() {
    let victim = bright();
    let found = Evaluation::new(&victim).attack(fgsm()).budgets(budgets()).run(&data()).unwrap();
    let attack = found.attack("FGSM").unwrap();
    assert_eq!((found.attacks.len(), attack.profile.norm(), found.synthetic), (1, Some(Norm::Linf), false));

    // Without attack, 0.55 (benign) and 0.4 (malignant) are on the wrong side.
    assert_eq!((found.clean.metrics.accuracy.hits, found.clean.metrics.accuracy.total), (6, 8));
    assert_eq!(found.clean.metrics.confusion.counts, [[3, 1], [1, 3]]);
    // Of the 16 pairs only (0.55, 0.4) and (0.45, 0.4) are in the wrong order.
    assert_eq!(found.clean.metrics.auroc, Some(14.0 / 16.0));

    // Right images are 0.4, 0.2, 0.05 | 0.1, 0.15, 0.4 away: 0, 1, 3 and 5 of them fall.
    let expected = [(0.0, 6, [3, 3]), (0.07, 5, [2, 3]), (0.12, 4, [2, 2]), (0.22, 2, [1, 1])];
    assert_eq!(attack.sweep.len(), expected.len());
    for (under, (epsilon, right, of_class)) in attack.sweep.iter().zip(expected) {
        assert!((under.budget.size() - epsilon).abs() < 1e-12);
        assert_eq!((under.metrics.accuracy.hits, under.metrics.accuracy.total), (right, 8), "{epsilon}");
        assert_eq!((under.success.hits, under.success.total), (6 - right, 6), "{epsilon}");
        for (class, right) in of_class.into_iter().enumerate() {
            assert_eq!(under.metrics.classes[class].accuracy.hits, right, "{epsilon}");
            assert_eq!(under.metrics.classes[class].accuracy.total, 4);
            assert_eq!(under.class_success[class].hits, 3 - right);
        }
        // Every pixel moves by epsilon (0.9 and 0.1 stay inside [0,1]): 3 * 12 * 12 = 432 values.
        let p = &under.perturbation;
        let near =
            |found: Option<f64>, by_hand: f64| (found.unwrap() - by_hand).abs() < 1e-5 * (1.0 + by_hand);
        assert!(near(p.linf.mean, epsilon) && near(p.linf.median, epsilon));
        assert!(near(p.l2.mean, epsilon * 432f64.sqrt()) && near(p.l1.median, epsilon * 432.0));
        match epsilon == 0.0 {
            true => assert_eq!((p.psnr.mean, p.ssim.mean, p.unchanged), (None, Some(1.0), 6)),
            false => assert!(near(p.psnr.mean, -20.0 * epsilon.log10()) && p.unchanged == 0),
        }
        assert_eq!((under.over_budget, under.out_of_range, under.not_finite), (0, 0, 0));
    }
    assert_eq!(
        (&attack.sweep[0].metrics, &attack.sweep[0].detail),
        (&found.clean.metrics, &found.clean.detail)
    );
    assert_eq!(attack.at(linf(0.12)).unwrap().success.hits, 2);
    assert_eq!(attack.at(linf(0.13)), None);
    assert_eq!(attack.at(Budget::l2(0.12)), None);
    // The worst case of a single attack is the attack itself.
    let [worst] = &found.worst_cases[..] else { panic!("one norm") };
    assert_eq!((&worst.attacks, &worst.sweep), (&vec!["FGSM".to_string()], &attack.sweep));
}

#[test]
fn only_images_that_are_right_are_attacked() {
    let victim = bright();
    let found = Evaluation::new(&victim).attack(fgsm()).budgets(budgets()).run(&data()).unwrap();
    for (record, brightness) in found.records.iter().zip(BRIGHTNESS) {
        let wrong = brightness == 0.55 || brightness == 0.4;
        assert_eq!(record.clean.is(record.label), !wrong);
        assert_eq!(record.gradient == GradientState::NotSeen, wrong);
        for attack in &record.attacks[0].at {
            assert_eq!(attack.distances.is_none(), wrong);
            if wrong {
                assert_eq!(attack.outcome, record.clean);
            }
        }
    }
    assert_eq!((found.records[3].name.as_str(), found.records[3].label), ("image 3", 0));
    // Logits -4 and 4.
    assert!((found.records[7].clean.probability.unwrap() - 0.99966466).abs() < 1e-6);
}

#[test]
fn an_always_malignant_model_is_robust_on_malignant_images_only() {
    let victim = Frozen::from_fn(2, &Device::default(), |x| {
        let zero = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) * 0.0;
        Tensor::cat(vec![zero.clone(), zero + 5.0], 1)
    });
    let found = Evaluation::new(&victim).attack(fgsm()).run(&data()).unwrap();
    let under = &found.attacks[0].sweep[0];
    assert_eq!((under.metrics.classes[1].accuracy.hits, under.metrics.classes[0].accuracy.hits), (4, 0));
    assert_eq!(under.metrics.balanced_accuracy.unwrap().value, 0.5);
    assert_eq!(under.metrics.classes[1].called.value, Some(1.0));
    assert_eq!((under.success.hits, under.success.total), (0, 4));
    // It has no gradient to follow, and the evaluation says so.
    assert_eq!((found.clean.zero_gradients, found.clean.non_finite_gradients), (4, 0));
    assert_eq!(under.perturbation.unchanged, 4);
}

/// Adds a fixed amount whatever its budget.
#[derive(Clone, Copy, Debug, Serialize)]
struct Cheat {
    budget: Budget,
    change: f64,
}

impl Attack for Cheat {
    fn profile(&self) -> Profile {
        Profile {
            name: "cheat".into(),
            aim: Aim::Within(self.budget),
            goals: Goals::Any,
            access: Access::Gradients,
            steps: None,
            queries: None,
            mask: None,
        }
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        Vec::new()
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget, ..*self })
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        None
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        Ok(task.images() + self.change)
    }
}

#[test]
fn an_attack_over_its_budget_is_projected_back_and_flagged() {
    let victim = bright();
    // 0.3 would break the benign images at 0.3 and 0.45; a budget of 0.1 leaves one of them.
    let cheat = Cheat { budget: linf(0.1), change: 0.3 };
    let found = Evaluation::new(&victim).attack(cheat).run(&data()).unwrap();
    let under = &found.attacks[0].sweep[0];
    assert_eq!((under.success.hits, under.success.total), (1, 6));
    // 0.9 + 0.3 leaves [0,1]; clipped to 1.0 it keeps the budget of 0.1.
    assert_eq!((under.over_budget, under.out_of_range, under.not_finite), (5, 1, 0));
    assert!((under.perturbation.linf.mean.unwrap() - 0.1).abs() < 1e-6);

    for (norm, size) in [(Norm::L2, 0.05 * 432f64.sqrt()), (Norm::L1, 0.05 * 432.0)] {
        let cheat = Cheat { budget: Budget::new(norm, Epsilon::unit(size)), change: 0.3 };
        let under = &Evaluation::new(&victim).attack(cheat).run(&data()).unwrap().attacks[0].sweep[0];
        let measured = if norm == Norm::L2 { under.perturbation.l2 } else { under.perturbation.l1 };
        assert!((measured.mean.unwrap() / size - 1.0).abs() < 1e-4, "{norm}: {measured:?}");
        assert_eq!(under.over_budget, 6, "{norm}");
    }

    let cheat = Cheat { budget: linf(0.1), change: f64::NAN };
    let under = &Evaluation::new(&victim).attack(cheat).run(&data()).unwrap().attacks[0].sweep[0];
    assert_eq!((under.not_finite, under.success.hits, under.perturbation.unchanged), (6, 0, 6));
}

/// Returns this many results for several budgets, each of this many images.
#[derive(Clone, Copy, Debug, Serialize)]
struct Short {
    results: usize,
    images: usize,
}

impl Attack for Short {
    fn profile(&self) -> Profile {
        Cheat { budget: linf(0.1), change: 0.0 }.profile()
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        Vec::new()
    }

    fn at(&self, _: Budget) -> Box<dyn Attack> {
        Box::new(*self)
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        Ok(task.images())
    }

    fn craft_each(&self, task: &Task<'_>, _: &[Budget]) -> Result<Option<Vec<Tensor<4>>>, AttackError> {
        Ok(Some(vec![task.images().narrow(0, 0, self.images); self.results]))
    }
}

#[test]
fn shared_results_of_another_number_or_shape_are_refused() {
    let victim = bright();
    let fails = |results: usize, images: usize| {
        let evaluation = Evaluation::new(&victim).attack(Short { results, images });
        evaluation.budgets([0.1, 0.2].map(linf)).run(&data()).unwrap_err().to_string()
    };
    assert_eq!(fails(1, 6), "the attack's results, one a budget: expected shape [2], found [1]");
    assert_eq!(fails(2, 5), "the attack's result: expected shape [6, 3, 12, 12], found [5, 3, 12, 12]");
}

#[test]
fn nan_logits_are_wrong_and_counted() {
    // NaN above 0.62, and everywhere else "bright".
    let victim = Frozen::from_fn(2, &Device::default(), |x| {
        let mean = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
        let bright = (mean.clone() - 0.5).mask_fill(mean.greater_elem(0.62), f32::NAN);
        Tensor::cat(vec![bright.clone().neg(), bright], 1)
    });
    let found = Evaluation::new(&victim).attack(fgsm()).budgets([linf(0.2)]).run(&data()).unwrap();
    assert_eq!((found.clean.metrics.accuracy.hits, found.clean.non_finite_logits), (4, 2));
    assert_eq!(found.clean.metrics.confusion.undecided, [0, 2]);
    assert_eq!(found.records[7].clean.prediction, None);
    // 0.45 + 0.2 is NaN, which counts as wrong.
    let under = &found.attacks[0].sweep[0];
    assert_eq!((under.non_finite_logits, under.metrics.confusion.undecided[0]), (1, 1));
    assert_eq!(under.success.total, 4);
    let found = found.without_timing();
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<EvaluationResult>(&text).unwrap(), found);
}

#[test]
fn json_gives_back_the_same_result() {
    let victim = bright();
    let levels = (0..80).map(|half| Budget::pixels(f64::from(half) / 2.0));
    let found =
        Evaluation::new(&victim).attack(fgsm()).budgets(levels).run(&data()).unwrap().without_timing();
    let text = serde_json::to_string_pretty(&found).unwrap();
    let back: EvaluationResult = serde_json::from_str(&text).unwrap();
    assert!(back == found, "changed by JSON");
    assert!(text.contains(r#""size": 39.5,"#));
    // Settings of an attack's own that have no short form.
    let attack = Bim::new(linf(0.12)).with_step_size(Some(Epsilon::unit(1.0 / 3.0)));
    let found = Evaluation::new(&victim).attack(attack).run(&data()).unwrap().without_timing();
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<EvaluationResult>(&text).unwrap(), found);
}

#[test]
fn the_worst_case_in_8_bits_is_that_of_all_rounded_images() {
    let device = Device::default();
    // The grey level 128 is bright, and is again after a change of a quarter of a level is rounded.
    let victim = Frozen::from_fn(2, &device, |x| {
        let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5015;
        Tensor::cat(vec![bright.clone().neg(), bright], 1)
    });
    let images = Tensor::full([1, 1, 2, 2], 128.0 / 255.0, &device);
    let data = TensorSet::new(images, vec![1], vec!["dark".into(), "bright".into()]).unwrap();
    let found = Evaluation::new(&victim)
        .attack(fgsm())
        .attack(Bim::new(linf(0.1)))
        .budgets([Budget::pixels(0.25), Budget::pixels(2.0)])
        .run(&data)
        .unwrap();
    let left = |under: &UnderAttack| (under.metrics.accuracy.hits, under.detail.eight_bit.accuracy.hits);
    let worst: Vec<_> = found.worst_cases[0].sweep.iter().map(left).collect();
    assert_eq!(worst, [(0, 1), (0, 0)]);
    let alone: Vec<_> = found.attacks[0].sweep.iter().map(left).collect();
    assert_eq!(worst, alone);
    // The perturbation is that of the smallest success all the same.
    let linf = found.worst_cases[0].sweep[1].perturbation.linf.mean.unwrap();
    assert!((linf * 255.0 - 0.25).abs() < 0.01, "{linf}");
}

#[test]
fn clean_metrics_need_no_attack() {
    let victim = bright();
    let found = Evaluation::new(&victim).run(&data()).unwrap();
    assert_eq!((found.attacks.len(), found.worst_cases.len(), found.clean.metrics.accuracy.hits), (0, 0, 6));
    assert!(found.records.iter().all(|r| r.gradient == GradientState::NotSeen));
}

#[test]
fn pooled_runs_add_their_counts() {
    let victim = bright();
    let run = Evaluation::new(&victim).attack(fgsm()).budgets(budgets()).run(&data()).unwrap();
    let all = pooled(&[run.clone(), run.clone(), run.clone()]).unwrap();
    assert_eq!((all.clean.metrics.accuracy.hits, all.clean.metrics.accuracy.total), (18, 24));
    assert_eq!((all.attacks[0].sweep[2].success.hits, all.attacks[0].sweep[2].success.total), (6, 18));
    // statsmodels proportion_confint(18, 24, method="wilson").
    let interval = all.clean.metrics.accuracy.interval.unwrap();
    assert!(
        (interval.low - 0.55100556).abs() < 1e-8 && (interval.high - 0.88000634).abs() < 1e-8,
        "{interval:?}"
    );

    // Costs add up, and so does the worst case.
    assert_eq!((all.attacks[0].images, all.attacks[0].queries.gradients), (54, 18));
    assert_eq!(worst(&all), [18, 15, 12, 6]);
    assert_eq!((all.records.len(), &all.attacks[0].settings), (24, &run.attacks[0].settings));
    // Of three runs alike every check says the same as of one, three times.
    assert_eq!(all.checks.len(), run.checks.len());
    for (all, one) in all.checks.iter().zip(&run.checks) {
        assert_eq!((&all.name, all.verdict), (&one.name, one.verdict));
        let seen = &one.seen;
        assert_eq!(all.seen, format!("run 1: {seen}; run 2: {seen}; run 3: {seen}"));
    }

    assert!(matches!(pooled(&[]), Err(EvaluationError::Empty)));
    let other = Evaluation::new(&victim).attack(fgsm()).run(&data()).unwrap();
    let error = pooled(&[run.clone(), other]).unwrap_err();
    assert!(matches!(error, EvaluationError::Pool { run: 1, what: "budgets", .. }), "{error}");
    let survivors = Evaluation::new(&victim).attack(fgsm()).budgets(budgets()).only_survivors(true);
    let error = pooled(&[run, survivors.run(&data()).unwrap()]).unwrap_err();
    assert!(matches!(error, EvaluationError::Pool { run: 1, what: "treatment", .. }), "{error}");
}

#[test]
fn pooled_checks_are_as_bad_as_the_worst_run() {
    let victim = bright();
    let run = |slide: &str| {
        let evaluation = Evaluation::new(&victim).attack(fgsm()).budgets(budgets());
        evaluation.training_groups([slide.to_string()]).run(&data()).unwrap()
    };
    let untold = Evaluation::new(&victim).attack(fgsm()).budgets(budgets()).run(&data()).unwrap();
    let shared = |runs: &[EvaluationResult]| {
        let checks = pooled(runs).unwrap().checks;
        checks.into_iter().find(|check| check.name == "shared slides").unwrap()
    };
    let (clean, dirty) = (run("another"), run("image 3"));
    assert_eq!(shared(&[untold.clone(), clean.clone()]).verdict, Verdict::Passed);
    let found = shared(&[clean, dirty, untold]);
    assert_eq!(found.verdict, Verdict::Suspicious);
    assert_eq!(
        found.seen,
        "run 1: 0 of 8 test slides, with 0 of 8 test images, have training images too; \
         run 2: 1 of 8 test slides, with 1 of 8 test images, have training images too; \
         run 3: the slides of the training images were not given"
    );
}

#[test]
fn progress_reaches_the_total_and_cancelling_stops() {
    let victim = bright();
    let seen = RefCell::new(Vec::new());
    Evaluation::new(&victim)
        .attack(fgsm())
        .budgets(budgets())
        .batch_size(3)
        .on_progress(|p| seen.borrow_mut().push((p.done, p.total)))
        .run(&data())
        .unwrap();
    let seen = seen.into_inner();
    assert!(seen.windows(2).all(|w| w[0].0 < w[1].0));
    assert_eq!((seen.len(), seen.last()), (15, Some(&(40, 40))));

    let (flag, last) = (AtomicBool::new(false), Cell::new(0));
    let error = Evaluation::new(&victim)
        .attack(fgsm())
        .budgets(budgets())
        .batch_size(3)
        .on_progress(|p| {
            last.set(p.done);
            flag.store(p.done >= 6, Ordering::Relaxed);
        })
        .cancel_with(&flag)
        .run(&data())
        .unwrap_err();
    assert!(matches!(error, EvaluationError::Cancelled { done: 6, total: 40 }), "{error}");
    assert_eq!(last.get(), 6);
}

#[test]
fn wrong_inputs_are_refused_with_what_was_expected() {
    let victim = bright();
    let fails = |evaluation: Evaluation| evaluation.run(&data()).unwrap_err().to_string();
    assert_eq!(fails(Evaluation::new(&victim).batch_size(0)), "batch size: expected at least 1, found 0");
    let negative = Evaluation::new(&victim).attack(fgsm()).budgets([linf(-0.5)]);
    assert_eq!(fails(negative), "budget: expected a finite number of at least 0, found -0.5");
    let three = Frozen::from_fn(3, &Device::default(), |x| Tensor::zeros([x.dims()[0], 3], &x.device()));
    assert_eq!(
        fails(Evaluation::new(&three)),
        "expected a classifier with the data set's 2 classes, found one with 3"
    );
    let liar = Frozen::from_fn(2, &Device::default(), |x| Tensor::zeros([x.dims()[0], 3], &x.device()));
    assert!(fails(Evaluation::new(&liar)).contains("expected logits of shape [1, 2], found [1, 3]"));

    let run = |labels: &[usize]| Evaluation::new(&victim).run(&Drawn::new(labels)).unwrap_err();
    assert!(matches!(run(&[]), EvaluationError::Empty));
    let label = run(&[0, 2]).to_string();
    assert_eq!(label, "labels: expected labels below 2, the number of classes, found 2");
}

/// Drawn images of brightness 0.9, two a slide.
struct Drawn {
    labels: Vec<usize>,
    classes: Vec<String>,
}

impl Drawn {
    fn new(labels: &[usize]) -> Self {
        Self { labels: labels.to_vec(), classes: vec!["benign".into(), "malignant".into()] }
    }
}

impl LabeledImages for Drawn {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, position: usize) -> usize {
        self.labels[position]
    }

    fn group(&self, position: usize) -> String {
        format!("slide {}", position / 2)
    }

    fn name(&self, position: usize) -> String {
        format!("{position}.png")
    }

    fn is_synthetic(&self) -> bool {
        true
    }

    fn batch(&self, positions: &[usize], device: &Device) -> Result<Batch, DataError> {
        let labels: Vec<i64> = positions.iter().map(|&p| self.labels[p] as i64).collect();
        Ok(Batch {
            images: Tensor::full([positions.len(), 1, 2, 2], 0.9, device),
            labels: Tensor::from_data(labels.as_slice(), device),
            indices: positions.iter().map(|&p| p as u64).collect(),
            epoch: 0,
        })
    }
}

#[test]
fn slides_and_synthetic_images_are_told() {
    let victim = bright();
    // Slides with 2 of 2, 1 of 2 and 1 of 1 right images.
    let found = Evaluation::new(&victim).batch_size(2).run(&Drawn::new(&[1, 1, 0, 1, 1])).unwrap();
    assert!(found.synthetic);
    assert_eq!((found.clean.metrics.groups, found.clean.metrics.patient_rate), (3, Some(0.833333333333)));
    assert_eq!((found.records[3].group.as_str(), found.records[3].name.as_str()), ("slide 1", "3.png"));
}
