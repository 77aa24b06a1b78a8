//! Requirements on evaluations whose outcomes are known by hand, and their JUnit XML.

mod small;

use histoguard::prelude::*;
use histoguard::report::{DataSummary, Gate, ModelReport, Report, Requirement};
use small::{Plain, Search, Shade, bright, by_brightness, linf};

/// Right without attack: 6 of 8 (3 of 4 of each class); FGSM leaves 4 at 0.12 and 2 at 0.22.
fn evaluation(victim: &Frozen) -> Evaluation<'_> {
    Evaluation::new(victim)
        .attack(Fgsm::new(Budget::pixels(0.0)))
        .attack(Shade::new(Some(0)))
        .attack(Search::default())
        .budgets([0.12, 0.22].map(linf))
}

fn classes() -> Vec<String> {
    ["benign", "malignant"].map(String::from).into()
}

fn gate(requirements: &[&str]) -> Gate {
    Gate::new(requirements.iter().map(|text| text.parse::<Requirement>().unwrap()))
}

fn report(victims: &[(&str, &Frozen)], requirements: &[&str]) -> Report {
    let model = |(name, victim): &(&str, &Frozen)| {
        ModelReport::new(*name, evaluation(victim).run(&Plain::eight()).unwrap())
    };
    let models = victims.iter().map(model).collect();
    let mut report = Report { models, ..Report::new("Gate", DataSummary::of("eight plain images")) };
    report.requirements = gate(requirements).judge(&report);
    report
}

/// 0.12 is 30.6/255 and 0.22 is 56.1/255.
#[test]
fn shares_are_held_to_their_bounds() {
    let victim = bright();
    for (text, met) in [
        ("clean >= 0.75", true),
        ("clean >= 0.7501", false),
        ("clean benign >= 75 %", true),
        ("FGSM Linf 30.6/255 >= 0.5", true),
        ("fgsm linf 30.6/255 >= 0.51", false),
        ("FGSM Linf 56.1/255 >= 25%", true),
        ("shade malignant Linf 56.1/255 >= 0.75", true),
        ("shade benign Linf 56.1/255 >= 0.3", false),
        ("worst Linf 56.1/255 >= 0.25", true),
        ("worst Linf 56.1/255 >= 0.26", false),
        ("worst malignant Linf 56.1/255 >= 0.25", true),
        // statsmodels proportion_confint(6, 8, method="wilson") is [0.409, 0.929].
        ("lower clean >= 0.4092", true),
        ("lower clean >= 0.41", false),
        ("lower worst Linf 56.1/255 >= 0.0714", true),
        ("lower worst Linf 56.1/255 >= 0.072", false),
    ] {
        gate(&[text]).check(&evaluation(&victim), &classes()).unwrap();
        let report = report(&[("bright", &victim)], &[text]);
        assert_eq!((report.requirements[0].met, report.meets_requirements()), (met, met), "{text}");
    }
}

#[test]
fn what_is_not_in_the_evaluation_is_refused_before_it_runs() {
    let victim = bright();
    for (text, wanted) in [
        (
            "PGD Linf 30.6/255 >= 0.5",
            "expected `clean`, `worst` or an attack of FGSM, shade, search, then a class",
        ),
        ("worst grey Linf 30.6/255 >= 0.5", "a class of benign, malignant or none, found worst grey"),
        ("worst Linf 2/255 >= 0.5", "expected a budget of Linf 30.6/255, Linf 56.1/255, found Linf 2/255"),
        ("worst L2 1 >= 0.5", "found L2 1"),
        ("FGSM >= 0.5", "expected a budget such as Linf 2/255, found none"),
        ("clean Linf 30.6/255 >= 0.5", "expected no budget without attack, found Linf 30.6/255"),
    ] {
        let error = gate(&[text]).check(&evaluation(&victim), &classes()).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}: {error}");
        assert!(!report(&[("bright", &victim)], &[text]).meets_requirements(), "{text}");
    }
    // With several norms labels tell theirs, and so does the budget.
    let two = Evaluation::new(&victim).attack(Fgsm::new(linf(0.12))).attack(Fgsm::new(Budget::l2(2.5)));
    for (text, fits) in [
        ("FGSM Linf 30.6/255 >= 0", true),
        ("FGSM L2 2.5 >= 0", true),
        ("FGSM L2 L2 2.5 >= 0", true),
        ("FGSM L2 30 >= 0", false),
        ("FGSM L2 Linf 30.6/255 >= 0", false),
    ] {
        assert_eq!(gate(&[text]).check(&two, &classes()).is_ok(), fits, "{text}");
    }
}

#[test]
fn no_images_no_models_and_nan_meet_nothing() {
    let victim = bright();
    let none = Report::new("No model", DataSummary::of("none"));
    let judgments = gate(&["clean >= 0"]).judge(&none);
    assert_eq!((judgments.len(), judgments[0].met), (1, false));

    let benign_alone = Plain::new(&[0.1, 0.3], &[0, 0]);
    let result = Evaluation::new(&victim).run(&benign_alone).unwrap();
    let models = vec![ModelReport::new("bright", result)];
    let report = Report { models, ..Report::new("One class", DataSummary::of("two")) };
    for text in ["clean malignant >= 0", "lower clean malignant >= 0"] {
        let judgment = gate(&[text]).judge(&report).remove(0);
        assert_eq!((judgment.met, judgment.found.as_str()), (false, "no images"), "{text}");
    }

    let nan = by_brightness(|mean| mean * f32::NAN);
    let result = Evaluation::new(&nan).run(&Plain::eight()).unwrap();
    let models = vec![ModelReport::new("NaN", result)];
    let report = Report { models, ..Report::new("NaN", DataSummary::of("eight")) };
    assert!(!gate(&["clean >= 0.01"]).judge(&report)[0].met);
}

/// Checked by hand against Jenkins' junit-10.xsd and Python's junitparser, which read the same counts.
#[test]
fn junit_has_a_case_for_every_requirement_and_check_of_every_model() {
    let (sound, masked) = (bright(), by_brightness(|mean| ((mean * 1000.0).round() / 1000.0 - 0.5) * 10.0));
    let victims = [("bright", &sound), ("a <b> & \"c\"", &masked)];
    let asked = report(&victims, &["clean >= 0.5", "worst Linf 56.1/255 >= 0.5"]);
    let xml = asked.to_junit();
    // Kept where this variable says, to be read by other parsers.
    if let Some(folder) = std::env::var_os("HISTOGUARD_FIGURES") {
        std::fs::write(std::path::Path::new(&folder).join("junit.xml"), &xml).unwrap();
    }
    let checks = asked.models[0].result.checks.len();
    assert_eq!(xml.matches("<testcase ").count(), 2 * (2 + checks));
    assert_eq!(xml.matches("type=\"not met\"").count(), 2, "{xml}");
    assert!(xml.contains("expected worst Linf 56.1/255 &gt;= 0.5, found 25.0 % [7.1, 59.1] (2/8)"), "{xml}");
    assert!(xml.contains("<testsuite name=\"a &lt;b&gt; &amp; &quot;c&quot;\""), "{xml}");
    assert!(xml.contains("suspicious, though `checks` is not required"), "{xml}");
    assert!(!asked.meets_requirements());

    // Checks that are required fail where they object.
    let asked = report(&victims, &["checks"]);
    let xml = asked.to_junit();
    let met: Vec<bool> = asked.requirements.iter().map(|judgment| judgment.met).collect();
    assert!(!met[1] && asked.requirements[1].found.contains("vanishing gradients"), "{met:?}");
    assert!(xml.contains("type=\"suspicious\""), "{xml}");
    assert_eq!(xml, report(&victims, &["checks"]).to_junit(), "the same report, other bytes");
    assert!(asked.to_markdown().contains("| checks | **not met** | suspicious: "));
}
