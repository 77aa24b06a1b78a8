//! Metrics against scikit-learn, intervals against statsmodels, similarity against scikit-image
//! (tests/golden/metrics.py).

use histoguard::evaluate::{Judged, Metrics, Outcome, Proportion, psnr, ssim, wilson};
use serde_json::Value;

fn golden(name: &str) -> Vec<Value> {
    let golden: Value = serde_json::from_str(include_str!("golden/metrics.json")).unwrap();
    let cases = golden[name].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn counts(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect()
}

fn confusion(value: &Value) -> Vec<Vec<usize>> {
    value.as_array().unwrap().iter().map(counts).collect()
}

fn close(found: f64, expected: &Value, tolerance: f64) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() < tolerance, "expected {expected}, found {found}");
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|c| format!("class {c}")).collect()
}

fn metrics(labels: &[usize], outcomes: impl Iterator<Item = Outcome>, classes: usize) -> Metrics {
    let judged: Vec<Judged> =
        labels.iter().zip(outcomes).map(|(&label, outcome)| Judged { label, group: "", outcome }).collect();
    Metrics::new(&names(classes), &judged)
}

#[test]
fn two_classes_equal_scikit_learn() {
    for case in golden("binary") {
        let scores = numbers(&case["scores"]);
        let outcomes = scores.iter().map(|&score| Outcome::from_logits(&[0.0, score as f32]));
        let metrics = metrics(&counts(&case["labels"]), outcomes, 2);
        assert_eq!(metrics.confusion.counts, confusion(&case["confusion"]));
        close(metrics.accuracy.value.unwrap(), &case["accuracy"], 1e-11);
        close(metrics.sensitivity.unwrap().value.unwrap(), &case["sensitivity"], 1e-11);
        close(metrics.specificity.unwrap().value.unwrap(), &case["specificity"], 1e-11);
        close(metrics.balanced_accuracy.unwrap().value, &case["balanced_accuracy"], 1e-11);
        close(metrics.auroc.unwrap(), &case["auroc"], 1e-11);
    }
}

#[test]
fn many_classes_equal_scikit_learn() {
    for case in golden("multiclass") {
        let logits: Vec<Vec<f64>> = case["logits"].as_array().unwrap().iter().map(numbers).collect();
        let outcomes =
            logits.iter().map(|row| Outcome::from_logits(&row.iter().map(|&l| l as f32).collect::<Vec<_>>()));
        let metrics = metrics(&counts(&case["labels"]), outcomes, 4);
        assert_eq!(metrics.confusion.counts, confusion(&case["confusion"]));
        close(metrics.accuracy.value.unwrap(), &case["accuracy"], 1e-11);
        close(metrics.balanced_accuracy.unwrap().value, &case["balanced_accuracy"], 1e-11);
        for (class, expected) in metrics.classes.iter().zip(case["recalls"].as_array().unwrap()) {
            close(class.accuracy.value.unwrap(), expected, 1e-11);
        }
        assert_eq!((metrics.auroc, metrics.sensitivity), (None, None));
    }
}

#[test]
fn wilson_intervals_equal_statsmodels() {
    for case in golden("wilson") {
        let count = |name: &str| case[name].as_u64().unwrap() as usize;
        let interval = wilson(count("hits"), count("total")).unwrap();
        close(interval.low, &case["low"], 1e-11);
        close(interval.high, &case["high"], 1e-11);
    }
    assert_eq!(wilson(0, 0), None);
    assert_eq!(wilson(0, 15).unwrap().low, 0.0);
    assert_eq!(wilson(15, 15).unwrap().high, 1.0);
}

#[test]
fn balanced_accuracy_intervals_equal_statsmodels() {
    for case in golden("newcombe") {
        let part = |name: &str| {
            let counts = counts(&case[name]);
            Proportion::new(counts[0], counts[1])
        };
        let mean = Proportion::mean(&[part("a"), part("b")]).unwrap();
        close(mean.value, &case["value"], 1e-11);
        close(mean.interval.low, &case["low"], 1e-11);
        close(mean.interval.high, &case["high"], 1e-11);
    }
    assert_eq!(Proportion::mean(&[Proportion::new(1, 2), Proportion::new(0, 0)]), None);
}

#[test]
fn psnr_and_ssim_equal_scikit_image() {
    for case in golden("similarity") {
        let image =
            |name: &str| numbers(&case[name]).iter().map(|v| (v / 255.0) as f32).collect::<Vec<f32>>();
        let shape = counts(&case["shape"]);
        let (first, second) = (image("first"), image("second"));
        close(psnr(&first, &second), &case["psnr"], 1e-4);
        close(ssim(&first, &second, [shape[0], shape[1], shape[2]]).unwrap(), &case["ssim"], 1e-6);
    }
    assert_eq!(psnr(&[0.5], &[0.5]), f64::INFINITY);
    assert_eq!(ssim(&[0.5; 100], &[0.5; 100], [1, 10, 10]), None);
}

#[test]
fn an_always_malignant_classifier_is_seen_through() {
    let labels = [0, 0, 0, 1, 1];
    let metrics = metrics(&labels, labels.iter().map(|_| Outcome::from_logits(&[0.0, 1.0])), 2);
    assert_eq!((metrics.classes[1].accuracy.hits, metrics.classes[0].accuracy.hits), (2, 0));
    assert_eq!(metrics.classes[1].called.value, Some(1.0));
    assert_eq!((metrics.balanced_accuracy.unwrap().value, metrics.auroc), (0.5, Some(0.5)));
}

#[test]
fn an_undecided_image_is_wrong_and_ranked_last() {
    let logits = [[0.0, f32::NAN], [1.0, 0.0], [0.0, 1.0], [f32::NAN, 0.0]];
    let metrics = metrics(&[0, 0, 1, 1], logits.iter().map(|l| Outcome::from_logits(l)), 2);
    assert_eq!(metrics.confusion.counts, [[1, 0], [0, 1]]);
    assert_eq!(metrics.confusion.undecided, [1, 1]);
    assert_eq!((metrics.accuracy.hits, metrics.accuracy.total), (2, 4));
    // Of the four pairs, only (second, third) is in order.
    assert_eq!(metrics.auroc, Some(0.25));
}

#[test]
fn patients_weigh_the_same() {
    // Patient a: 1 of 1; patient b: 1 of 4; the mean is 0.625, while 2 of 5 images are right.
    let outcome = |right: bool| Outcome::from_logits(&[f32::from(!right), f32::from(right)]);
    let judge = |group, right| Judged { label: 1, group, outcome: outcome(right) };
    let judged =
        [judge("a", true), judge("b", true), judge("b", false), judge("b", false), judge("b", false)];
    let metrics = Metrics::new(&names(2), &judged);
    assert_eq!((metrics.accuracy.value, metrics.patient_rate, metrics.groups), (Some(0.4), Some(0.625), 2));
}
