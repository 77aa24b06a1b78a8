//! Semantic attacks in evaluations: judged beside attacks with a norm and never mixed with them.

mod small;

use histoguard::attack::{Access, Aim, Attack, AttackError, Profile, Task};
use histoguard::classifier::Queries;
use histoguard::evaluate::pooled;
use histoguard::parameter::Parameter;
use histoguard::prelude::*;
use histoguard::report::{DataSummary, Gate, ModelReport, Report, Requirement};
use serde::Serialize;
use small::{Plain, Shade, bright, hits, linf, worst};

/// Makes images of class 0 brighter and those of class 1 darker by a setting of its own.
#[derive(Clone, Copy, Debug, Serialize)]
struct Lamp {
    strength: f64,
    /// Of every value that it returns.
    extra: f32,
}

impl Lamp {
    fn new(strength: f64) -> Self {
        Self { strength, extra: 0.0 }
    }
}

impl Attack for Lamp {
    fn profile(&self) -> Profile {
        Profile::semantic(format!("Lamp {}", self.strength), Access::Nothing, 1, Queries::NONE)
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        vec![Parameter::within("strength", self.strength, 0.0..=1.0)]
    }

    fn at(&self, _: Budget) -> Box<dyn Attack> {
        Box::new(*self)
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        task.step()?;
        let shift = |&class: &i64| if class == 0 { self.strength as f32 } else { -self.strength as f32 };
        let shifts: Vec<f32> = task.goal().classes().iter().map(shift).collect();
        let shifts = Tensor::<1>::from_floats(shifts.as_slice(), &task.images().device());
        Ok((task.images() + shifts.reshape([-1, 1, 1, 1])).clamp(0.0, 1.0) + self.extra)
    }
}

fn evaluation(victim: &Frozen) -> Evaluation<'_> {
    Evaluation::new(victim)
        .attack(Lamp::new(0.25))
        .attack(Shade::new(None))
        .attack(Lamp::new(0.12))
        .budgets([0.07, 0.12].map(linf))
}

/// Right images are 0.4, 0.2, 0.05 | 0.1, 0.15, 0.4 away: of 6 of 8, 4 fall at 0.25, and 2 at 0.12.
#[test]
fn it_has_a_result_of_its_own_that_no_worst_case_counts() {
    let victim = bright();
    let result = evaluation(&victim).run(&Plain::eight()).unwrap();
    assert_eq!((result.attacks.len(), result.semantic.len()), (1, 2));
    assert_eq!((hits(&result, "shade"), worst(&result)), (vec![5, 4], vec![5, 4]));
    assert_eq!(
        (result.worst_cases.len(), result.worst_cases[0].attacks.as_slice()),
        (1, &["shade".to_string()][..])
    );
    assert!(result.attack("Lamp 0.25").is_none() && result.semantic("shade").is_none());

    let lamp = result.semantic("Lamp 0.25").unwrap();
    assert_eq!((lamp.profile.aim, lamp.profile.norm(), lamp.profile.budget()), (Aim::Semantic, None, None));
    assert_eq!((lamp.metrics.accuracy.hits, lamp.metrics.accuracy.total), (2, 8));
    assert_eq!((lamp.success.hits, lamp.success.total, lamp.images), (4, 6, 6));
    assert_eq!(lamp.class_success.iter().map(|share| share.hits).collect::<Vec<_>>(), [2, 2]);
    // Distances are as measured: 3 * 12 * 12 values by 0.25.
    let p = &lamp.perturbation;
    assert!((p.linf.mean.unwrap() - 0.25).abs() < 1e-6);
    assert!((p.l2.mean.unwrap() - 0.25 * 432f64.sqrt()).abs() < 1e-5);
    assert!(p.ssim.mean.is_some());
    assert_eq!((lamp.out_of_range, lamp.not_finite), (0, 0));
    assert_eq!(result.semantic("Lamp 0.12").unwrap().metrics.accuracy.hits, 4);

    // What it broke is told image by image, beside the other attacks.
    let broken: Vec<bool> =
        result.records.iter().map(|image| !image.semantic[0].outcome.is(image.label)).collect();
    assert_eq!(broken, [false, true, true, true, true, true, true, false]);
    assert!(result.records.iter().all(|image| (image.attacks.len(), image.semantic.len()) == (1, 2)));
    // No check takes it for an attack of a norm: only shade's two budgets were compared.
    let rising = result.checks.iter().find(|check| check.name == "accuracy rises with epsilon").unwrap();
    assert_eq!(rising.seen, "no rise over 1 steps of epsilon");
}

#[test]
fn what_leaves_the_images_is_corrected_and_counted() {
    let victim = bright();
    let of = |extra: f32| {
        let result =
            Evaluation::new(&victim).attack(Lamp { strength: 0.0, extra }).run(&Plain::eight()).unwrap();
        let lamp = &result.semantic[0];
        let report = Report {
            models: vec![ModelReport::new("m", result.clone())],
            ..Report::new("r", DataSummary::of("d"))
        };
        (lamp.out_of_range, lamp.not_finite, lamp.perturbation.unchanged, report.warnings().join(" "))
    };
    // 0.9 + 0.2 leaves [0,1].
    let (outside, bad, _, warnings) = of(0.2);
    assert_eq!((outside, bad), (1, 0));
    assert!(warnings.contains("0 results over the budget, 1 outside [0,1], 0 with NaN"), "{warnings}");
    let (outside, bad, unchanged, warnings) = of(f32::NAN);
    assert_eq!((outside, bad, unchanged), (0, 6, 6));
    assert!(warnings.contains("6 with NaN"), "{warnings}");
}

#[test]
fn it_meets_its_own_parameters_and_every_image_that_is_right() {
    let victim = bright();
    let error = Evaluation::new(&victim).attack(Lamp::new(1.5)).run(&Plain::eight()).unwrap_err();
    assert_eq!(error.to_string(), "Lamp 1.5: strength: expected a number from 0 to 1, found 1.5");
    // A budget needs an attack with its norm.
    let error = Evaluation::new(&victim)
        .attack(Lamp::new(0.1))
        .budgets([linf(0.1)])
        .run(&Plain::eight())
        .unwrap_err();
    assert!(error.to_string().starts_with("budget: expected one in an attack's norm"), "{error}");
    // With survivors alone it still runs on images that others broke.
    let result = evaluation(&victim).only_survivors(true).run(&Plain::eight()).unwrap();
    assert_eq!(result.semantic.iter().map(|lamp| lamp.images).collect::<Vec<_>>(), [6, 6]);
}

#[test]
fn journals_and_pools_keep_it() {
    let victim = bright();
    let whole = evaluation(&victim).run(&Plain::eight()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = || evaluation(&victim).batch_size(3).resume_from(folder.path()).run(&Plain::eight());
    let first = run().unwrap();
    assert_eq!(first.clone().without_timing(), whole.clone().without_timing());
    // Everything is in the journal now: nothing is asked of the attack again.
    let again = run().unwrap();
    assert_eq!(again.clone().without_timing(), whole.clone().without_timing());
    let other =
        Evaluation::new(&victim).attack(Lamp::new(0.3)).resume_from(folder.path()).run(&Plain::eight());
    assert!(other.unwrap_err().to_string().contains("the same attacks"));

    let whole = whole.without_timing();
    let text = serde_json::to_string(&whole).unwrap();
    assert_eq!(serde_json::from_str::<EvaluationResult>(&text).unwrap(), whole);

    let both = pooled(&[whole.clone(), whole.clone()]).unwrap();
    let lamp = &both.semantic[0];
    assert_eq!((lamp.success.hits, lamp.success.total, lamp.images), (8, 12, 12));
    let less = Evaluation::new(&victim)
        .attack(Shade::new(None))
        .budgets([0.07, 0.12].map(linf))
        .run(&Plain::eight())
        .unwrap();
    assert!(pooled(&[whole, less]).unwrap_err().to_string().contains("Lamp 0.25"));
}

#[test]
fn reports_and_requirements_name_it_without_a_budget() {
    let victim = bright();
    let evaluation = evaluation(&victim);
    let classes = ["benign", "malignant"].map(String::from);
    let gate = |text: &str| Gate::new([text.parse::<Requirement>().unwrap()]);
    let result = evaluation.run(&Plain::eight()).unwrap();
    let mut report =
        Report { models: vec![ModelReport::new("m", result)], ..Report::new("r", DataSummary::of("d")) };
    for (text, met) in
        [("Lamp 0.25 >= 0.25", true), ("lamp 0.25 >= 0.26", false), ("Lamp 0.12 benign >= 0.5", true)]
    {
        gate(text).check(&evaluation, &classes).unwrap();
        report.requirements = gate(text).judge(&report);
        assert_eq!(report.meets_requirements(), met, "{text}");
    }
    let error = gate("Lamp 0.25 Linf 30.6/255 >= 0.1").check(&evaluation, &classes).unwrap_err().to_string();
    assert!(error.contains("no budget of a semantic attack"), "{error}");
    let error = gate("lamps >= 0.1").check(&evaluation, &classes).unwrap_err().to_string();
    assert!(error.contains("shade, Lamp 0.25, Lamp 0.12"), "{error}");

    let markdown = report.to_markdown();
    let section = &markdown[markdown.find("## Semantic attacks: m").unwrap()..];
    let row =
        section.lines().find(|line| line.starts_with("| Lamp 0.25 | noise | 25.0 % [7.1, 59.1] (2/8) |"));
    // Four of six fall, and the change is what it is.
    assert!(row.is_some_and(|row| row.contains("(4/6)") && row.contains("0.2500 (0.2500)")), "{section}");
    let tables =
        &markdown[markdown.find("## Right answers").unwrap()..markdown.find("## Semantic attacks").unwrap()];
    assert!(!tables.contains("Lamp"), "{tables}");
    assert!(markdown.contains("| m | Lamp 0.12 | 6 |"), "costs");
    assert!(report.to_html().contains("Lamp 0.25"));
    assert!(report.summary().contains("; under Lamp 0.25 25.0 %"), "{}", report.summary());
}

#[test]
fn ensembles_and_restarts_take_it_and_keep_norms_apart() {
    let victim = bright();
    let ensemble = Ensemble::new(vec![Box::new(Lamp::new(0.12)), Box::new(Lamp::new(0.25))]).unwrap();
    assert_eq!(ensemble.profile().aim, Aim::Semantic);
    let result = Evaluation::new(&victim)
        .attack(ensemble)
        .attack(Restarts::new(Lamp::new(0.25), 2))
        .run(&Plain::eight())
        .unwrap();
    assert_eq!(result.semantic.iter().map(|lamp| lamp.success.hits).collect::<Vec<_>>(), [4, 4]);
    // The smaller change that suffices is the ensemble's first.
    assert!(result.semantic[0].perturbation.linf.mean < result.semantic[1].perturbation.linf.mean);
    let mixed = Ensemble::new(vec![Box::new(Lamp::new(0.12)), Box::new(Fgsm::new(Budget::pixels(8.0)))]);
    let error = mixed.unwrap_err().to_string();
    assert_eq!(error, "norm: expected one for all attacks, found none and Linf (FGSM)");
}
