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

#[test]
fn exhibits_show_it_beside_the_strongest_attack_of_a_norm() {
    let victim = bright();
    let evaluation = evaluation(&victim);
    let result = evaluation.run(&Plain::eight()).unwrap();
    let of = |count: usize| evaluation.exhibits(&Plain::eight(), &result, count).unwrap();
    let exhibits = of(3);
    let attacks: Vec<&str> = exhibits.iter().map(|exhibit| exhibit.attack.as_str()).collect();
    // Three of the norm, and three that two attacks share.
    assert_eq!(attacks, ["shade", "shade", "shade", "Lamp 0.25", "Lamp 0.25", "Lamp 0.12", "Lamp 0.12"]);
    for (exhibit, attack) in exhibits[3..].iter().zip([0, 0, 1, 1]) {
        let record = result.records.iter().find(|record| record.name == exhibit.name).unwrap();
        let judged = record.semantic[attack];
        assert_eq!((exhibit.norm, exhibit.versions.len()), (None, 1));
        let version = &exhibit.versions[0];
        assert_eq!((version.budget, version.after.prediction), (None, judged.outcome.prediction));
        assert_eq!(Some(version.distances), judged.distances);
        assert_ne!(version.after.prediction, Some(exhibit.label), "what falls comes first");
    }
    assert!(of(0).is_empty());
    // One each at least.
    assert_eq!(of(1).len(), 3);
    // Another evaluation's result is refused.
    let other = Evaluation::new(&victim).attack(Shade::new(None)).budgets([0.07, 0.12].map(linf));
    let error = other.exhibits(&Plain::eight(), &result, 1).unwrap_err().to_string();
    assert!(error.contains("result: expected that of this evaluation"), "{error}");

    let model = ModelReport { exhibits, ..ModelReport::new("m", result) };
    let page = Report { models: vec![model], ..Report::new("r", DataSummary::of("d")) }.to_html();
    assert!(page.contains("difference at SSIM 0.") && page.contains(", under Lamp 0.12"));
    // Its right answers by class and slide are a table of their own.
    let table = &page[page.find("m, no norm, by class and slide").expect("a table")..];
    let table = &table[..table.find("</table>").unwrap()];
    assert!(table.contains("Lamp 0.25") && table.contains("Lamp 0.12") && !table.contains("shade"));
    assert!(table.contains("25 % (2/8)") && table.contains("50 % (4/8)"), "{table}");
}

/// A search over a range that moves every image by so much.
#[derive(Clone, Copy, Debug, Serialize)]
struct Found {
    strength: f64,
    space: &'static str,
    #[serde(skip)]
    access: Access,
    #[serde(skip)]
    moved: f64,
}

impl Attack for Found {
    fn profile(&self) -> Profile {
        let Self { strength, space, access, .. } = self;
        Profile::semantic(format!("{space} {strength} {access}"), *access, 1, Queries::NONE)
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        vec![]
    }

    fn at(&self, _: Budget) -> Box<dyn Attack> {
        Box::new(*self)
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        Lamp::new(self.moved).craft(task)
    }
}

fn verdicts(attacks: Vec<Found>) -> [(Verdict, String); 2] {
    let victim = bright();
    let attacks = attacks.into_iter().map(|found| Box::new(found) as Box<dyn Attack>);
    let result = Evaluation::new(&victim).attacks(attacks).run(&Plain::eight()).unwrap();
    ["grid better than gradients", "a wider range breaks fewer"].map(|name| {
        let check = result.checks.iter().find(|check| check.name == name).unwrap();
        (check.verdict, check.seen.clone())
    })
}

/// Of the six images that are right, 4 fall to 0.25, 3 to 0.16 and 2 to 0.12.
#[test]
fn a_grid_that_finds_more_and_a_wider_range_that_finds_less_are_suspicious() {
    use Verdict::{NotApplicable, Passed, Suspicious};
    let found = |strength, access, moved| Found { strength, space: "hed", access, moved };
    let (grid, climb) =
        (|moved| found(0.1, Access::Logits, moved), |moved| found(0.1, Access::Gradients, moved));
    let of = |attacks| verdicts(attacks).map(|(verdict, _)| verdict);
    assert_eq!(of(vec![grid(0.25), climb(0.25)]), [Passed, NotApplicable]);
    // One image of up to thirty is a grid's luck, two are not.
    assert_eq!(of(vec![climb(0.16), grid(0.25)]), [Passed, NotApplicable]);
    let [(verdict, seen), _] = verdicts(vec![grid(0.25), climb(0.12)]);
    assert_eq!(verdict, Suspicious);
    let expected =
        "of 6 images hed 0.1 black box, scores breaks 4 and hed 0.1 white box 2; 2 fall to the former alone";
    assert_eq!(seen, expected);
    // Gradients may find more, and other ranges and other colors are other searches.
    assert_eq!(of(vec![grid(0.12), climb(0.25)]), [Passed, NotApplicable]);
    assert_eq!(of(vec![grid(0.25), found(0.2, Access::Gradients, 0.0)]), [NotApplicable; 2]);
    assert_eq!(of(vec![grid(0.25), Found { space: "he", ..climb(0.0) }]), [NotApplicable; 2]);

    let wide = |moved| found(0.2, Access::Gradients, moved);
    assert_eq!(of(vec![climb(0.12), wide(0.12)]), [NotApplicable, Passed]);
    assert_eq!(of(vec![climb(0.25), wide(0.16)]), [NotApplicable, Suspicious]);
    assert_eq!(of(vec![wide(0.25), climb(0.16)]), [NotApplicable, Passed]);
}

/// Answers that are rounded have no slope: a search by gradients alone stays where it is, and the grid tells.
#[test]
fn a_stain_grid_sees_through_masked_gradients() {
    let victim = |steps: f64| {
        Frozen::from_fn(2, &Device::default(), move |x| {
            let red = x.clone().narrow(1, 0, 1) - x.narrow(1, 2, 1);
            let red = red.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
            let red = if steps > 0.0 { (red * steps).round() / steps } else { red };
            Tensor::cat(vec![red.clone().neg(), red - 1e-3], 1)
        })
    };
    let shade =
        |blue: f32| Tensor::<1>::from_floats([0.6, 0.4, blue], &Device::default()).reshape([1, 3, 1, 1]);
    let tissue =
        Tensor::cat(vec![shade(0.57), shade(0.63), shade(0.58), shade(0.62)], 0).expand([4, 3, 8, 8]);
    let labels = victim(0.0).predict(tissue.clone());
    let classes = ["blue", "red"].map(String::from).to_vec();
    let data = histoguard::data::TensorSet::new(tissue, labels, classes).unwrap();
    let check = |steps: f64| {
        let victim = victim(steps);
        let result = Evaluation::new(&victim)
            .attack(Stain::strong().with_corners(0).with_random_starts(0))
            .attack(StainGrid::strong().with_levels(2))
            .run(&data)
            .unwrap();
        let hits: Vec<usize> = result.semantic.iter().map(|attack| attack.success.hits).collect();
        let check = result.checks.iter().find(|check| check.name == "grid better than gradients").unwrap();
        (hits, check.verdict)
    };
    assert_eq!(check(0.0), (vec![4, 4], Verdict::Passed));
    assert_eq!(check(100.0), (vec![0, 4], Verdict::Suspicious));
}
