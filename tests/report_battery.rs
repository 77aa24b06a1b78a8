//! `report.json`, `report.md` and the figure of a battery.

mod small;

use histoguard::prelude::*;
use histoguard::report::{BatteryModel, BatteryReport, ReportError, Versions};
use small::{Plain, Search, Shade, Steps, bright, by_brightness};

fn battery(victim: &Frozen) -> Battery {
    Evaluation::new(victim)
        .attack(Fgsm::new(Epsilon::ZERO))
        .attack(Steps::new(5))
        .attack(Shade::new(Some(0)))
        .attack(Search::default())
        .epsilons([0.07, 0.12, 0.22].map(Epsilon::unit))
        .training_groups(["slide 0".to_string()])
        .battery(&Plain::eight())
        .unwrap()
        .without_timing()
}

fn report() -> BatteryReport {
    let (sound, masked) = (bright(), by_brightness(|mean| ((mean * 1000.0).round() / 1000.0 - 0.5) * 10.0));
    let attack = Fgsm::new(Epsilon::unit(0.12));
    let named = [("a | model\nover lines", &sound), ("masked", &masked)];
    BatteryReport {
        versions: Versions::current(),
        configuration: serde_json::json!({ "limit": 8 }),
        images: "eight plain images".into(),
        notes: vec!["two images were left out".into()],
        transfer: vec![TransferMatrix::new(&named, &attack, &Plain::eight(), 4).unwrap()],
        models: named
            .iter()
            .map(|(name, victim)| BatteryModel { name: name.to_string(), battery: battery(victim) })
            .collect(),
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
    assert!(worst[7].contains("(2/3)") && worst[8].contains("(2/3)"), "{worst:?}");
    assert!(worst[6].starts_with("25.0 % [") && worst[6].ends_with("(4 slides)"), "{worst:?}");

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
    let [json, markdown] = report.write(&folder.path().join("new")).unwrap();
    assert!(BatteryReport::read(&json).unwrap() == report);
    assert_eq!(std::fs::read_to_string(markdown).unwrap(), report.to_markdown());
    std::fs::write(&json, "{}").unwrap();
    assert!(matches!(BatteryReport::read(&json), Err(ReportError::Json { .. })));
    assert!(matches!(report.write(&json), Err(ReportError::Io { .. })));
}

#[cfg(feature = "figures")]
#[test]
fn the_figure_has_a_panel_a_model_and_a_curve_an_attack() {
    use histoguard::report::figures::{AttackCurves, Figure};
    let report = report();
    let folder = tempfile::tempdir().unwrap();
    // Kept where this variable says, to be looked at.
    let folder = std::env::var_os("HISTOGUARD_FIGURES").map_or(folder.path().to_path_buf(), Into::into);
    let models = report.models.iter().map(|model| (model.name.replace('\n', " "), &model.battery));
    AttackCurves::new(Norm::Linf, models).save(&folder.join("attacks.png")).unwrap();
    let image = image::open(folder.join("attacks.png")).unwrap().into_rgb8();
    let count = |color: [u8; 3]| image.pixels().filter(|pixel| pixel.0 == color).count();
    // The worst case and the first two attacks in the palette's first colours, in legend and panels.
    for color in [[0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167], [230, 159, 0]] {
        assert!(count(color) > 200, "{color:?}: {}", count(color));
    }
    let (width, height) = image.dimensions();
    let edge = |x, y| x < 8 || y < 8 || x >= width - 8 || y >= height - 8;
    assert!(image.enumerate_pixels().all(|(x, y, pixel)| !edge(x, y) || pixel.0 == [255; 3]));
}
