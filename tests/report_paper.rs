//! `report.json` and `report.md` of made-up runs of the paper's experiment.

use histoguard::data::{Batch, DataError, TensorSet};
use histoguard::evaluate::Verdict;
use histoguard::prelude::*;
use histoguard::report::{
    DataSummary, EpochMetrics, History, ModelReport, PAPER, PaperView, Report, ReportError, ReportFiles,
    SplitSummary,
};

/// Images of this many slides, dealt out in turn.
struct Slides(TensorSet, usize);

impl LabeledImages for Slides {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn classes(&self) -> &[String] {
        self.0.classes()
    }

    fn label(&self, position: usize) -> usize {
        self.0.label(position)
    }

    fn group(&self, position: usize) -> String {
        format!("slide {}", position % self.1)
    }

    fn name(&self, position: usize) -> String {
        self.0.name(position)
    }

    fn batch(&self, positions: &[usize], device: &Device) -> Result<Batch, DataError> {
        self.0.batch(positions, device)
    }
}

/// `right` of `of` images of each class on the right side, spread over 0.4 from the boundary.
fn images(right: [usize; 2], of: [usize; 2]) -> TensorSet {
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for class in 0..2 {
        for i in 0..of[class] {
            let distance = if i < right[class] { 0.4 * (i + 1) as f32 / of[class] as f32 } else { -0.3 };
            values.push(if class == 1 { 0.5 + distance } else { 0.5 - distance });
            labels.push(class);
        }
    }
    let images = Tensor::<1>::from_floats(values.as_slice(), &Device::default());
    let images = images.reshape([labels.len(), 1, 1, 1]);
    TensorSet::new(images, labels, vec!["benign".into(), "malignant".into()]).unwrap()
}

/// Bright or dark; without gradient farther than `flat` from the boundary.
fn victim(flat: f32) -> Frozen {
    Frozen::from_fn(2, &Device::default(), move |x| {
        let bright = (x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5).clamp(-flat, flat);
        Tensor::cat(vec![bright.clone().neg(), bright], 1)
    })
}

fn evaluation(victim: &Frozen) -> Evaluation<'_> {
    Evaluation::new(victim)
        .attack(Fgsm::new(Budget::pixels(0.0)))
        .budgets([0.0, 2.0, 8.0].map(Budget::pixels))
}

fn result(right: [usize; 2], of: [usize; 2]) -> EvaluationResult {
    evaluation(&victim(1.0)).run(&images(right, of)).unwrap()
}

fn model(name: &str, result: EvaluationResult) -> ModelReport {
    let epochs = (1..=3)
        .map(|epoch| EpochMetrics {
            epoch,
            train_loss: Some(0.5),
            train_accuracy: Some(0.875),
            validation_loss: Some(0.25),
            validation_accuracy: Some(0.75),
            attacked_accuracy: (name == "defense").then_some(0.625),
        })
        .collect();
    let history = Some(History { epochs, best_epoch: Some(2), overfitting: None });
    ModelReport { history, ..ModelReport::new(name, result.without_timing()) }
}

fn report(original: EvaluationResult, defense: EvaluationResult) -> Report {
    let split = SplitSummary {
        method: "by image".into(),
        seed: 7,
        train: vec![515, 722],
        validation: vec![64, 90],
        test: vec![65, 91],
    };
    let data = DataSummary {
        notes: vec!["185 of the paper's 1547 images found.".into()],
        split: Some(split),
        ..DataSummary::of("BreakHis 100X")
    };
    Report {
        configuration: serde_json::json!({ "epochs": 3, "sigma": 0.1 }),
        models: vec![model("original", original), model("defense", defense)],
        ..Report::new("Attack and defense in breast-histology classification", data)
    }
}

/// A run with the paper's own clean numbers.
fn like_the_paper() -> Report {
    report(result([64, 90], [65, 91]), result([65, 88], [65, 91]))
}

fn markdown(report: &Report) -> String {
    PaperView::new(report).to_markdown()
}

/// The cells of the table row that starts with `name`, below `heading`.
fn row(markdown: &str, heading: &str, name: &str) -> Vec<String> {
    let section = &markdown[markdown.find(heading).unwrap_or_else(|| panic!("no {heading:?}"))..];
    let line = section.lines().find(|l| l.starts_with(&format!("| {name} |")));
    let line = line.unwrap_or_else(|| panic!("no row {name:?} under {heading:?} in\n{markdown}"));
    line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_string()).collect()
}

#[test]
fn the_paper_numbers_are_those_it_prints() {
    // Table 2: 98.72 and 98.08 %; Table 3: 98.90, 96.70, 10.99 and 27.47 %.
    let printed = |p: histoguard::evaluate::Proportion| format!("{:.2}", 100.0 * p.value.unwrap());
    assert_eq!(PAPER.table2().map(printed), ["98.72", "98.08"]);
    assert_eq!(PAPER.table3().map(|row| row.map(printed)), [["98.90", "96.70"], ["10.99", "27.47"]]);
    assert_eq!(PAPER.benign.test + PAPER.malignant.test, PAPER.test_images);
}

#[test]
fn tables_stand_beside_the_papers() {
    let markdown = markdown(&like_the_paper());
    assert_eq!(row(&markdown, "## Table 1", "malignant"), ["malignant", "722", "90", "91", "903"]);
    assert_eq!(row(&markdown, "## Table 1", "paper: benign"), ["paper: benign", "515", "64", "65", "644"]);
    let table2 = row(&markdown, "## Table 2", "original");
    // statsmodels proportion_confint(154, 156, method="wilson"): 0.95447, 0.99648.
    assert_eq!(table2[1..3], ["98.7 % [95.4, 99.6] (154/156)", "98.72 % (154/156)"]);
    let table3 = row(&markdown, "## Table 3", "no attack");
    // statsmodels proportion_confint(90, 91, method="wilson"): 0.94035, 0.99806.
    assert!(table3[1].starts_with("98.9 % [94.0, 99.8] (90/91)"), "{table3:?}");
    let fgsm = row(&markdown, "## Table 3", "paper: FGSM, epsilon not stated");
    assert_eq!(fgsm[1..], ["10.99 % (10/91)", "27.47 % (25/91)"]);

    // 90 right images at 0.4 i / 91; a budget of 8/255 takes those up to i = 7.
    let attacked = row(&markdown, "## Table 3", "FGSM, epsilon 8/255");
    assert!(attacked[1].contains("(83/91)"), "{attacked:?}");
    let sweep = row(&markdown, "## Accuracy over epsilon: original, FGSM", "8/255");
    // Benign: 64 right images at 0.4 i / 65; up to i = 5 fall. Attacked: 154, of which 12 fall.
    assert!(sweep[3].contains("(83/91)") && sweep[4].contains("(59/65)"), "{sweep:?}");
    assert!(sweep[1].contains("(142/156)") && sweep[8].contains("(12/154)"), "{sweep:?}");
    assert_eq!(row(&markdown, "## Training", "defense")[1..], ["3", "87.5 %", "75.0 %", "62.5 %", "2"]);
    assert_eq!(row(&markdown, "## Perturbations", "original | FGSM | 8/255")[4], "0.0314 (0.0314)");
    for told in [
        "The paper is Li & Liu, Bioengineering 2023, 10, 973; it trained for 400 epochs.",
        "Split by image, seed 7. histoguard",
        "\"attack succeeded\" counts those alone",
        "185 of the paper's 1547 images found.",
    ] {
        assert!(markdown.contains(told), "{told} in\n{markdown}");
    }
}

#[test]
fn the_summary_names_both_models_over_all_images_and_each_class() {
    let summary = like_the_paper().summary();
    let lines: Vec<&str> = summary.lines().collect();
    // 154 of 156 without attack and 142 at 8/255, as in the sweep's table.
    assert_eq!(lines.len(), 6);
    assert!(lines[0].starts_with("original, all images: 98.7 % without attack; under FGSM "), "{summary}");
    assert!(lines[0].ends_with("91.0 % at 8/255"), "{summary}");
    assert_eq!(lines[4].split(" without").next(), Some("defense, malignant only: 96.7 %"));
    assert!(lines[5].starts_with("defense, benign only: 100.0 % without attack"));
    let markdown = markdown(&like_the_paper());
    assert!(markdown.contains(&format!("- {}", lines[5])));
    assert!(
        markdown.contains("comes closest to the paper's 10.99 % is 8/255, with 91.2 % [83.6, 95.5] (83/91).")
    );
}

#[test]
fn tables_have_as_many_cells_in_every_row() {
    let mut report = like_the_paper();
    report.models[0].name = "a | name\nover lines".into();
    let markdown = markdown(&report);
    let mut columns = None;
    for line in markdown.lines() {
        if !line.starts_with('|') {
            columns = None;
            continue;
        }
        let cells = line.replace("\\|", "").matches('|').count();
        assert_eq!(*columns.get_or_insert(cells), cells, "{line}");
    }
    assert!(markdown.contains("a \\| name over lines"));
}

#[test]
fn a_sound_run_has_no_warning() {
    let report = like_the_paper();
    let found = PaperView::new(&report).warnings();
    assert!(found.is_empty(), "{found:?}");
    assert!(!markdown(&report).contains("Read this first"));
}

#[test]
fn warnings_say_what_the_numbers_hide() {
    // 15 and 15 images; the defense calls 28 of 30 malignant, as in a real short run.
    let right = [14, 12];
    // Slides 0 to 5 have three images, slides 6 to 11 two: 9 slides with 21 images.
    let shared = [0, 1, 2, 6, 7, 8, 9, 10, 11].map(|slide| format!("slide {slide}"));
    // The third image of each class is 0.08 from the boundary, the fourth 0.107: 6 of 26 have a gradient.
    let flat = victim(0.09);
    let evaluation = evaluation(&flat).training_groups(shared);
    let original = evaluation.run(&Slides(images(right, [15, 15]), 12)).unwrap();
    let mut report = report(original, result([2, 15], [15, 15]));
    report.models[0].result.synthetic = true;
    report.models[0].result.clean.non_finite_logits = 1;
    report.models[1].result.attacks[0].sweep[1].over_budget = 4;
    let mut checks = report.models[1].result.checks.iter_mut();
    let rising = checks.find(|check| check.name == "accuracy rises with epsilon").unwrap();
    (rising.verdict, rising.seen) = (Verdict::Suspicious, "FGSM: 3 images are right".into());
    report.models[1].history.as_mut().unwrap().overfitting =
        Some("catastrophic overfitting in epoch 3".into());
    let (warnings, text) = (PaperView::new(&report).warnings(), markdown(&report));
    let expect = |part: &str| {
        assert!(warnings.iter().any(|w| w.contains(part)), "{part:?} not in {warnings:#?}");
        assert!(text.contains(part), "{part:?} not in report.md");
    };
    expect("The images are synthetic");
    expect("Defense calls 93 % of the images malignant, while 50 % are: its malignant-only accuracy says");
    expect(
        "original, shared slides: 9 of 12 test slides, with 21 of 30 test images, have training images too.",
    );
    expect("defense: catastrophic overfitting in epoch 3; an earlier epoch was kept.");
    expect("The test set is small: 30 images, so that one image is 3.3 points");
    expect("Defense may be guessing: its balanced accuracy without attack is 56.7 %");
    expect("original, vanishing gradients: the cross-entropy's gradient is zero at 20");
    expect("of 26 attacked images.");
    expect("Original: NaN or infinite logits at 1 image evaluations");
    expect("Defense: the attack broke its contract: 4 results over the budget");
    expect("defense, accuracy rises with epsilon: FGSM: 3 images are right.");
    expect(
        "At epsilon 2/255, 8/255, defense leads original on the malignant images alone but not in balanced",
    );
    assert!(!warnings.iter().any(|w| w.starts_with("Original calls") || w.starts_with("Original may be")));
    assert!(text.contains("worse on a new patient than it looks"), "why a shared slide matters");
    // What the paper's measure hides is the view's to say.
    assert_eq!(report.warnings().len(), warnings.len() - 1);
}

#[test]
fn files_are_written_whole_and_read_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("a").join("b");
    let mut report = like_the_paper();
    let ReportFiles { json, markdown: md, .. } = PaperView::new(&report).write(&inner).unwrap();
    assert!(Report::read(&json).unwrap() == report);
    assert_eq!(std::fs::read_to_string(md).unwrap(), markdown(&report));
    let first = std::fs::read(&json).unwrap();
    PaperView::new(&like_the_paper()).write(&inner).unwrap();
    assert!(first == std::fs::read(&json).unwrap(), "two runs of the same command differ");
    assert_eq!(std::fs::read_dir(&inner).unwrap().count(), 3, "temporary files left");

    report.timing = serde_json::json!({ "seconds": 12 });
    PaperView::new(&report).write(&inner).unwrap();
    let text = std::fs::read_to_string(&json).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&value["timing"]["seconds"], &value["warnings"]), (&12.into(), &serde_json::json!([])));
    assert_eq!(value["versions"]["burn"], "0.22.1");
    let under = &value["models"][0]["result"]["attacks"][0]["sweep"][2];
    assert_eq!(under["budget"], serde_json::json!({ "norm": "Linf", "size": 8.0, "unit": "/255" }));
}

#[test]
fn wrong_paths_and_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "{\"title\": 1}").unwrap();
    let error = like_the_paper().write(&file).unwrap_err();
    assert!(matches!(&error, ReportError::Io { path, .. } if path.starts_with(&file)), "{error}");
    let error = Report::read(&file).unwrap_err();
    assert!(matches!(&error, ReportError::Json { .. }) && error.to_string().contains("file"), "{error}");
    let error = Report::read(&folder.path().join("none")).unwrap_err();
    assert!(matches!(error, ReportError::Io { .. }), "{error}");
}
