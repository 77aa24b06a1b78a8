//! `report.json`, `report.md` and figures of models under several attacks.

mod small;

use histoguard::prelude::*;
use histoguard::report::{DataSummary, ModelReport, Report, ReportError, ReportFiles};
use serde_json::{Value, json};
use small::{Plain, Search, Shade, Steps, bright, by_brightness};

fn result(victim: &Frozen) -> EvaluationResult {
    Evaluation::new(victim)
        .attack(Fgsm::new(Budget::pixels(0.0)))
        .attack(Steps::new(5))
        .attack(Shade::new(Some(0)))
        .attack(Search::default())
        .budgets([0.07, 0.12, 0.22].map(|size| Budget::linf(Epsilon::unit(size))))
        .training_groups(["slide 0".to_string()])
        .run(&Plain::eight())
        .unwrap()
        .without_timing()
}

fn report() -> Report {
    let (sound, masked) = (bright(), by_brightness(|mean| ((mean * 1000.0).round() / 1000.0 - 0.5) * 10.0));
    let attack = Fgsm::new(Budget::linf(Epsilon::unit(0.12)));
    let named = [("a | model\nover lines", &sound), ("masked", &masked)];
    let transfer =
        named.iter().fold(Transferability::new(&attack), |run, (name, victim)| run.model(*name, victim));
    let mut data = DataSummary::of("eight plain images");
    data.notes.push("two images were left out".into());
    Report {
        configuration: json!({ "limit": 8 }),
        transfer: vec![transfer.batch_size(4).run(&Plain::eight()).unwrap()],
        models: named.map(|(name, victim)| ModelReport::new(name, result(victim))).into(),
        ..Report::new("Robustness under a battery of attacks", data)
    }
}

/// The cells of the row that starts with these, below `heading`.
fn row(markdown: &str, heading: &str, start: &[&str]) -> Vec<String> {
    let section = &markdown[markdown.find(heading).unwrap_or_else(|| panic!("no {heading:?}"))..];
    let start = format!("| {} |", start.join(" | "));
    let line = section.lines().find(|line| line.starts_with(&start));
    let line = line.unwrap_or_else(|| panic!("no {start:?} under {heading:?} in\n{markdown}"));
    line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_string()).collect()
}

#[test]
fn tables_hold_every_attack_and_the_worst_of_all() {
    let report = report();
    let markdown = report.to_markdown();
    let name = "a \\| model over lines";
    // statsmodels proportion_confint([6, 5, 4, 2], 8, method="wilson").
    let fgsm = row(&markdown, "## Right answers", &[name, "FGSM"]);
    assert_eq!(fgsm[2..5], ["white box", "75.0 % [40.9, 92.9] (6/8)", "62.5 % [30.6, 86.3] (5/8)"]);
    assert_eq!(fgsm[6..], ["25.0 % [7.1, 59.1] (2/8)", "at most 56.10/255"]);
    let search = row(&markdown, "## Right answers", &[name, "search"]);
    assert_eq!(search.last().unwrap(), "44.88/255");
    let shade = row(&markdown, "## Right answers", &[name, "shade"]);
    assert_eq!((shade[2].as_str(), shade.last().unwrap().as_str()), ("black box, labels", "beyond"));
    // The masked model stands against gradients and falls to the search.
    assert!(row(&markdown, "## Right answers", &["masked", "FGSM"])[6].contains("(6/8)"));
    assert!(row(&markdown, "## Right answers", &["masked", "**worst case of all**"])[6].contains("(2/8)"));

    let worst = row(&markdown, "## Worst case: masked, Linf", &["56.1/255"]);
    // Malignant first; 2 of 3 attacked malignant images became benign, and 2 of 3 benign ones malignant.
    assert!(worst[3].contains("(1/4)") && worst[4].contains("(1/4)"), "{worst:?}");
    assert!(worst[9].contains("(2/3)") && worst[10].contains("(2/3)"), "{worst:?}");
    assert!(worst[7].starts_with("25.0 % [") && worst[7].ends_with("(4 slides)"), "{worst:?}");
    assert!(worst[8].contains("(4/6)"), "{worst:?}");

    let transfer = row(&markdown, "## Transfer: FGSM Linf, epsilon 30.6/255", &["masked"]);
    // No gradient, no step: nothing is crafted on the masked model.
    assert!(transfer.iter().skip(1).all(|cell| cell.contains("(6/8)")), "{transfer:?}");
    let transfer = row(&markdown, "## Transfer", &[name]);
    assert!(transfer.iter().skip(1).all(|cell| cell.contains("(4/8)")), "{transfer:?}");

    for wanted in [
        "- masked, vanishing gradients: the cross-entropy's gradient is zero at 6",
        "- masked, shared slides: 1 of 4 test slides, with 2 of 8 test images",
        "| random answers | masked | passed |",
        "| more effort still helps |",
        "two images were left out",
        "- masked, all images: 75.0 % without attack; under the worst of 4 Linf attacks ",
    ] {
        assert!(markdown.contains(wanted), "{wanted} in\n{markdown}");
    }
    let costs = row(&markdown, "## Costs", &["masked", "steps"]);
    assert_eq!(costs[2..5], ["18", "0.0", "5.0"]);
}

#[test]
fn tables_have_as_many_cells_in_every_row() {
    let mut columns = None;
    for line in report().to_markdown().lines() {
        if !line.starts_with('|') {
            columns = None;
            continue;
        }
        let cells = line.replace("\\|", "").matches('|').count();
        assert_eq!(*columns.get_or_insert(cells), cells, "{line}");
    }
}

#[test]
fn files_are_written_whole_and_read_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let report = report();
    let ReportFiles { json, markdown, .. } = report.write(&folder.path().join("new")).unwrap();
    assert!(Report::read(&json).unwrap() == report);
    assert_eq!(std::fs::read_to_string(markdown).unwrap(), report.to_markdown());
    std::fs::write(&json, "{}").unwrap();
    assert!(matches!(Report::read(&json), Err(ReportError::Json { .. })));
    assert!(matches!(report.write(&json), Err(ReportError::Io { .. })));
}

/// Every budget of a report, none of which may be a bare number.
fn budgets(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| budgets(value, found)),
        Value::Object(values) => {
            for (key, value) in values {
                assert!(!key.contains("epsilon"), "{key}: {value}");
                if ["budget", "within"].contains(&key.as_str()) {
                    found.push(value.clone());
                }
                budgets(value, found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_budget_says_its_norm_and_unit() {
    let (grey, length) = (Budget::pixels(16.0), Budget::l2(2.5));
    let victim = bright();
    let result = Evaluation::new(&victim).attack(Fgsm::new(grey)).attack(Fgsm::new(length));
    let model = ModelReport::new("bright", result.run(&Plain::eight()).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let report =
        Report { models: vec![model], ..Report::new("Two norms", DataSummary::of("eight plain images")) };
    let ReportFiles { json, markdown, .. } = report.write(folder.path()).unwrap();
    let mut found = Vec::new();
    budgets(&serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap(), &mut found);
    let written = [
        json!({ "norm": "Linf", "size": 16.0, "unit": "/255" }),
        json!({ "norm": "L2", "size": 2.5, "unit": "[0,1]" }),
    ];
    assert!(found.iter().all(|budget| written.contains(budget)), "{found:?}");
    // In each attack: its settings, what it says of itself, its sweep; and each norm's worst case.
    assert_eq!(found.len(), 8);

    let markdown = std::fs::read_to_string(markdown).unwrap();
    for (heading, size) in [
        ("## Right answers under every attack, Linf", "16/255"),
        ("## Right answers under every attack, L2", "2.5"),
        ("## Accuracy over epsilon: bright, FGSM Linf", "16/255"),
        ("## Accuracy over epsilon: bright, FGSM L2", "2.5"),
    ] {
        let (_, section) = markdown.split_once(&format!("\n{heading}\n")).expect(heading);
        let section = section.split("\n## ").next().unwrap();
        assert!(section.contains(&format!("| {size} |")), "{section}");
        assert_eq!(section.contains("/255"), size == "16/255", "{section}");
    }
    assert!(row(&markdown, "## Perturbations", &["bright", "FGSM L2", "2.5"])[3] == "6");
    // 0.063 and 2.5 / sqrt(3 * 12 * 12) = 0.12 from the boundary: one image falls, and two.
    assert!(report.summary().contains("; under FGSM Linf 62.5 % at 16/255; under FGSM L2 50.0 % at 2.5"));
}

#[test]
fn a_model_that_is_not_attacked_is_shown_as_it_is() {
    let victim = bright();
    let result = Evaluation::new(&victim).check_images(0).run(&Plain::eight()).unwrap();
    let models = vec![ModelReport::new("bright", result)];
    let report = Report { models, ..Report::new("No attack", DataSummary::of("eight plain images")) };
    let markdown = report.to_markdown();
    let clean = row(&markdown, "## Accuracy: bright, no attack", &["0 (clean)"]);
    assert!(clean[1].contains("(6/8)") && clean[3].contains("(3/4)") && clean[8] == "-", "{clean:?}");
    assert!(!markdown.contains("## Perturbations") && !markdown.contains("## Costs"), "{markdown}");
}

#[cfg(feature = "figures")]
#[test]
fn the_figure_has_a_panel_a_model_and_a_curve_an_attack() {
    use histoguard::report::figures::{AccuracyOverEpsilon, AttackCurves, Figure};
    let report = report();
    let folder = tempfile::tempdir().unwrap();
    // Kept where this variable says, to be looked at.
    let folder = std::env::var_os("HISTOGUARD_FIGURES").map_or(folder.path().to_path_buf(), Into::into);
    let models = || report.models.iter().map(|model| (model.name.replace('\n', " "), &model.result));
    let figures: [(&str, &dyn Figure); 3] = [
        ("attacks", &AttackCurves::new(Norm::Linf, models())),
        ("attacks_one_model", &AttackCurves::new(Norm::Linf, models().skip(1))),
        ("worst_cases", &AccuracyOverEpsilon::new(Norm::Linf, models())),
    ];
    for (name, figure) in figures {
        let path = folder.join(format!("{name}.png"));
        figure.save(&path).unwrap();
        let image = image::open(path).unwrap().into_rgb8();
        let count = |color: [u8; 3]| image.pixels().filter(|pixel| pixel.0 == color).count();
        // The palette's first colours, in legend and panels: worst case and attacks, or both models.
        let palette = [[0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167], [230, 159, 0]];
        for color in &palette[..if name == "worst_cases" { 2 } else { 5 }] {
            assert!(count(*color) > 200, "{name} {color:?}: {}", count(*color));
        }
        let (width, height) = image.dimensions();
        let edge = |x, y| x < 8 || y < 8 || x >= width - 8 || y >= height - 8;
        assert!(image.enumerate_pixels().all(|(x, y, pixel)| !edge(x, y) || pixel.0 == [255; 3]), "{name}");
    }
}
