//! `report.json` and `report.md` of made-up runs.

use histoguard::data::TensorSet;
use histoguard::evaluate::{Evaluation, Robustness};
use histoguard::prelude::*;
use histoguard::report::{
    DataSummary, EpochMetrics, History, Leakage, ModelReport, PAPER, PaperReport, ReportError, SplitSummary,
    Versions,
};

/// `right` of `of` images of each class on the right side, 0.02, 0.04, ... from the boundary.
fn robustness(right: [usize; 2], of: [usize; 2]) -> Robustness {
    let device = Device::default();
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for class in 0..2 {
        for i in 0..of[class] {
            let distance = if i < right[class] { 0.4 * (i + 1) as f32 / of[class] as f32 } else { -0.3 };
            values.push(if class == 1 { 0.5 + distance } else { 0.5 - distance });
            labels.push(class);
        }
    }
    let images = Tensor::<1>::from_floats(values.as_slice(), &device).reshape([labels.len(), 1, 1, 1]);
    let data = TensorSet::new(images, labels, vec!["benign".into(), "malignant".into()]).unwrap();
    let victim = Frozen::from_fn(2, &device, |x| {
        let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
        Tensor::cat(vec![bright.clone().neg(), bright], 1)
    });
    let epsilons = [0.0, 2.0, 8.0].map(Epsilon::pixels);
    Evaluation::new(&victim).attack(Fgsm::new(Epsilon::ZERO)).epsilons(epsilons).run(&data).unwrap()
}

fn model(name: &str, robustness: Robustness) -> ModelReport {
    let epochs = (1..=3)
        .map(|epoch| EpochMetrics {
            epoch,
            train_loss: Some(0.5),
            train_accuracy: Some(0.875),
            validation_loss: Some(0.25),
            validation_accuracy: Some(0.75),
        })
        .collect();
    ModelReport { name: name.into(), history: History { epochs, best_epoch: Some(2) }, robustness }
}

fn report(original: Robustness, defence: Robustness) -> PaperReport {
    PaperReport {
        versions: Versions::current(),
        configuration: serde_json::json!({ "epochs": 3, "sigma": 0.1 }),
        seed: 7,
        data: DataSummary {
            description: "BreakHis 100X".into(),
            synthetic: false,
            notes: vec!["185 of the paper's 1547 images found.".into()],
            classes: vec!["benign".into(), "malignant".into()],
            split: SplitSummary {
                method: "by image".into(),
                train: vec![515, 722],
                validation: vec![64, 90],
                test: vec![65, 91],
                leakage: None,
            },
        },
        original: model("original", original),
        defence: model("defence", defence),
        timing: serde_json::Value::Null,
    }
}

/// A run with the paper's own clean numbers.
fn like_the_paper() -> PaperReport {
    report(robustness([64, 90], [65, 91]), robustness([65, 88], [65, 91]))
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
    let markdown = like_the_paper().to_markdown();
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
    assert!(sweep[2].contains("(83/91)") && sweep[3].contains("(59/65)"), "{sweep:?}");
    assert!(sweep[1].contains("(142/156)") && sweep[6].contains("(12/154)"), "{sweep:?}");
    assert_eq!(row(&markdown, "## Training", "defence")[1..], ["3", "87.5 %", "75.0 %", "2"]);
    assert_eq!(row(&markdown, "## Perturbations: original", "8/255")[2], "0.0314 (0.0314)");
}

#[test]
fn the_summary_names_both_models_over_all_images_and_each_class() {
    let summary = like_the_paper().summary();
    let lines: Vec<&str> = summary.lines().collect();
    // 154 of 156 without attack and 142 at 8/255, as in the sweep's table.
    assert_eq!(lines.len(), 6);
    assert!(lines[0].starts_with("original, all images: 98.7 % without attack; under FGSM "), "{summary}");
    assert!(lines[0].ends_with("91.0 % at 8/255"), "{summary}");
    assert_eq!(lines[4].split(" without").next(), Some("defence, malignant only: 96.7 %"));
    assert!(lines[5].starts_with("defence, benign only: 100.0 % without attack"));
    let markdown = like_the_paper().to_markdown();
    assert!(markdown.contains(&format!("- {}", lines[5])));
    assert!(
        markdown.contains("comes closest to the paper's 10.99 % is 8/255, with 91.2 % [83.6, 95.5] (83/91).")
    );
}

#[test]
fn tables_have_as_many_cells_in_every_row() {
    let mut report = like_the_paper();
    report.original.name = "a | name\nover lines".into();
    let markdown = report.to_markdown();
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
    let found = like_the_paper().warnings();
    assert!(found.is_empty(), "{found:?}");
    assert!(!like_the_paper().to_markdown().contains("Read this first"));
}

#[test]
fn warnings_say_what_the_numbers_hide() {
    // 15 and 15 images; the defence calls 28 of 30 malignant, as in a real short run.
    let mut report = report(robustness([14, 12], [15, 15]), robustness([2, 15], [15, 15]));
    report.data.synthetic = true;
    let leak = Leakage { test_groups: 12, shared_groups: 9, test_images: 21 };
    report.data.split.leakage = Some(leak);
    report.original.robustness.non_finite_logits = 1;
    report.original.robustness.zero_gradients = 20;
    report.defence.robustness.sweep[1].over_budget = 4;
    let warnings = report.warnings();
    let expect = |part: &str| {
        assert!(warnings.iter().any(|w| w.contains(part)), "{part:?} not in {warnings:#?}");
        assert!(report.to_markdown().contains(part), "{part:?} not in report.md");
    };
    expect("The images are synthetic");
    expect(
        "Defence calls 93 % of the images malignant, while 50 % are: its malignant-only accuracy says nothing",
    );
    expect("9 of the 12 slides in the test set have images in the training set too (split by image)");
    expect("The test set is small: 30 images, so that one image is 3.3 points");
    expect("Defence may be guessing: its balanced accuracy without attack is 56.7 %");
    expect("Original: the gradient is exactly zero at 20 of 26 attacked images");
    expect("Original: NaN or infinite logits at 1 image evaluations");
    expect("Defence: the attack broke its contract: 4 results over the budget");
    expect(
        "At epsilon 2/255, 8/255, defence leads original on the malignant images alone but not in balanced",
    );
    assert!(!warnings.iter().any(|w| w.starts_with("Original calls") || w.starts_with("Original may be")));
}

#[test]
fn files_are_written_whole_and_read_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("a").join("b");
    let mut report = like_the_paper();
    let [json, markdown] = report.write(&inner).unwrap();
    assert!(PaperReport::read(&json).unwrap() == report);
    assert_eq!(std::fs::read_to_string(markdown).unwrap(), report.to_markdown());
    let first = std::fs::read(&json).unwrap();
    like_the_paper().write(&inner).unwrap();
    assert!(first == std::fs::read(&json).unwrap(), "two runs of the same command differ");
    assert_eq!(std::fs::read_dir(&inner).unwrap().count(), 2, "temporary files left");

    report.timing = serde_json::json!({ "seconds": 12 });
    report.write(&inner).unwrap();
    let text = std::fs::read_to_string(&json).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&value["timing"]["seconds"], &value["warnings"]), (&12.into(), &serde_json::json!([])));
    assert_eq!(value["versions"]["burn"], "0.22.1");
    assert_eq!(value["original"]["robustness"]["sweep"][2]["epsilon_pixels"], 8.0);
}

#[test]
fn wrong_paths_and_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "{\"seed\": 1}").unwrap();
    let error = like_the_paper().write(&file).unwrap_err();
    assert!(matches!(&error, ReportError::Io { path, .. } if path.starts_with(&file)), "{error}");
    let error = PaperReport::read(&file).unwrap_err();
    assert!(matches!(&error, ReportError::Json { .. }) && error.to_string().contains("file"), "{error}");
    let error = PaperReport::read(&folder.path().join("none")).unwrap_err();
    assert!(matches!(error, ReportError::Io { .. }), "{error}");
}
