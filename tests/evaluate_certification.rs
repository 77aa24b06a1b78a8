//! Certifying a data set: equal to smoothing image by image, stopped anywhere and gone on with, refused where it cannot hold.

mod small;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use histoguard::defense::smoothing::{Certificate, SmoothingError};
use histoguard::evaluate::EvaluationError;
use histoguard::prelude::*;
use histoguard::report::{DataSummary, ModelReport, Report};
use small::{BRIGHTNESS, LABELS, Plain, bright, by_brightness};

fn smoothing() -> Smoothing {
    Smoothing::new(0.25).with_selection_draws(30).with_draws(1200).with_draws_a_batch(90).with_seed(5)
}

fn certificates(result: &CertificationResult) -> Vec<Certificate> {
    result.images.iter().map(|image| image.certificate.clone()).collect()
}

/// What a report would hold of it.
fn bytes(result: CertificationResult) -> Vec<u8> {
    serde_json::to_vec(&result.without_timing()).unwrap()
}

#[test]
fn certificates_are_those_of_each_image_by_itself() {
    let (base, data) = (bright(), Plain::eight());
    let result = Certification::new(&base, smoothing()).run(&data).unwrap();
    for (position, image) in result.images.iter().enumerate() {
        let batch = data.batch(&[position], &Device::default()).unwrap();
        let alone = smoothing().certify(&base, batch.images, &batch.indices).unwrap();
        assert_eq!(alone, std::slice::from_ref(&image.certificate), "{position}");
        assert_eq!((image.name.as_str(), image.label), (&*format!("{position}.png"), LABELS[position]));
    }
    // The boundary is |brightness - 0.5| of the root of the values away, and no certificate is longer.
    let root = (result.values as f64).sqrt();
    assert_eq!(result.values, 3 * 12 * 12);
    let sound = result.images.iter().zip(BRIGHTNESS).all(|(image, brightness)| {
        image.certificate.radius.size() <= root * f64::from((brightness - 0.5).abs())
    });
    assert!(sound, "{:?}", certificates(&result));
    let all = &result.accuracy.all;
    assert_eq!((all.smoothed.total, all.at(0.0).hits), (8, 6));
    assert!(all.at(0.0).hits <= all.smoothed.hits);
    let of_classes: usize = result.accuracy.classes.iter().map(|class| class.curve.at(0.0).hits).sum();
    assert_eq!((of_classes, result.accuracy.groups.len()), (6, 4));
}

#[test]
fn an_abstention_is_an_error_wherever_it_is_counted() {
    // Class 1 with the sign of the first value alone: noise of 0.25 around 0.5 is a coin.
    let coin = Frozen::from_fn(2, &Device::default(), |x| {
        let first = x.clone().narrow(1, 0, 1).narrow(2, 0, 1).narrow(3, 0, 1).reshape([-1, 1]) - 0.5;
        Tensor::cat(vec![first.clone().neg(), first], 1)
    });
    let data = Plain::new(&[0.5, 0.5, 0.9], &[0, 1, 1]);
    let result = Certification::new(&coin, smoothing()).run(&data).unwrap();
    assert_eq!(result.images.iter().filter(|image| image.certificate.class.is_none()).count(), 2);
    let all = &result.accuracy.all;
    assert_eq!((all.abstained.hits, all.at(0.0).hits, all.at(0.0).total, all.smoothed.hits), (2, 1, 3, 1));
}

#[test]
fn a_run_that_was_stopped_anywhere_ends_as_one_that_was_not() {
    let (base, data, folder) = (bright(), Plain::eight(), tempfile::tempdir().unwrap());
    let total = 8 * (30 + 1200);
    let run = |batch: usize, draws: usize, stop_at: usize| {
        let flag = AtomicBool::new(false);
        let told = std::cell::Cell::new(0);
        let result = Certification::new(&base, smoothing().with_draws_a_batch(draws))
            .resume_from(folder.path().join("state"))
            .batch_size(batch)
            .on_progress(|progress| {
                assert_eq!(progress.total, total);
                assert!(progress.done > told.get(), "{progress:?}");
                told.set(progress.done);
                flag.store(progress.done >= stop_at, Ordering::Relaxed);
            })
            .cancel_with(&flag)
            .run(&data);
        (result, told.get())
    };
    // In the selection, in the middle of an image, between two and before the last: in batches of other sizes each time.
    for (batch, draws, stop_at) in [(3, 20, 20), (1, 70, 700), (8, 90, 1230), (2, 300, 5000), (3, 10, 9000)] {
        let (result, done) = run(batch, draws, stop_at);
        let error = result.unwrap_err();
        assert!(matches!(error, EvaluationError::Cancelled { .. }), "{error}");
        assert!(done >= stop_at && done < stop_at + 1230, "{done} of {stop_at}");
    }
    let (resumed, done) = run(4, 90, usize::MAX);
    assert_eq!(done, total);
    let at_once = Certification::new(&base, smoothing()).run(&data).unwrap();
    assert_eq!(bytes(resumed.unwrap()), bytes(at_once));
    // A run of what is finished draws nothing.
    let before = base.watch().queries();
    run(4, 90, usize::MAX).0.unwrap();
    let asked = (base.watch().queries() - before).forwards;
    assert!(asked <= 4, "{asked} forwards for the classifier's identity");
}

#[test]
fn a_kill_costs_at_most_five_hundred_draws_of_one_image() {
    let (base, data, folder) = (bright(), Plain::eight(), tempfile::tempdir().unwrap());
    let state = folder.path().join("state");
    let flag = AtomicBool::new(false);
    let stopped = Certification::new(&base, smoothing())
        .resume_from(&state)
        .on_progress(|progress| flag.store(progress.done >= 2 * 1230 + 1000, Ordering::Relaxed))
        .cancel_with(&flag)
        .run(&data);
    stopped.unwrap_err();
    let first = std::cell::Cell::new(None);
    Certification::new(&base, smoothing())
        .resume_from(&state)
        .on_progress(|progress| first.set(first.get().or(Some(progress.done))))
        .run(&data)
        .unwrap();
    let kept = first.get().unwrap();
    assert!((2 * 1230 + 500..3 * 1230).contains(&kept), "{kept}");
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn draws_of_something_else_are_refused() {
    let (base, folder) = (bright(), tempfile::tempdir().unwrap());
    let state = folder.path().join("state");
    let run = |base: &Frozen, smoothing, data: &Plain| {
        Certification::new(base, smoothing).resume_from(&state).run(data)
    };
    run(&base, smoothing(), &Plain::eight()).unwrap();
    let before = files(&state);
    let other = by_brightness(|mean| (mean - 0.45) * 10.0);
    let relabeled = Plain::new(&BRIGHTNESS, &[0, 0, 0, 1, 1, 1, 1, 1]);
    for (base, settings, data, what) in [
        (
            &base,
            smoothing().with_seed(6),
            Plain::eight(),
            "smoothing as in the unfinished evaluation, at seed 5",
        ),
        (&base, Smoothing { sigma: 0.5, ..smoothing() }, Plain::eight(), "at sigma 0.25"),
        (&other, smoothing(), Plain::eight(), "the same classifier as"),
        (&base, smoothing(), relabeled, "the same images as"),
    ] {
        let error = run(base, settings, &data).unwrap_err();
        assert!(matches!(error, EvaluationError::State { .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}: not {what:?}");
    }
    assert_eq!(files(&state), before);
}

#[test]
fn what_cannot_be_certified_is_refused_before_work() {
    let (base, folder) = (bright(), tempfile::tempdir().unwrap());
    let state = folder.path().join("state");
    for (smoothing, parameter) in
        [(smoothing().with_draws(9), "draws"), (Smoothing { sigma: 0.0, ..smoothing() }, "sigma")]
    {
        let before = base.watch().queries();
        let error =
            Certification::new(&base, smoothing).resume_from(&state).run(&Plain::eight()).unwrap_err();
        assert!(
            matches!(&error, EvaluationError::Parameter(error) if error.parameter == parameter),
            "{error}"
        );
        assert!(!state.exists() && base.watch().queries() == before);
    }
    let three = Frozen::from_fn(3, &Device::default(), |x| Tensor::zeros([x.dims()[0], 3], &x.device()));
    let error = Certification::new(&three, smoothing()).run(&Plain::eight()).unwrap_err();
    assert!(matches!(error, EvaluationError::Classes { expected: 2, found: 3 }), "{error}");
    let error = Certification::new(&base, smoothing()).run(&Plain::new(&[0.2, 1.5], &[0, 1])).unwrap_err();
    let of_image = matches!(
        &error,
        EvaluationError::Smoothing { image, source: SmoothingError::ImageRange { .. } } if image == "1.png"
    );
    assert!(of_image && error.to_string().contains("1.5"), "{error}");
}

#[test]
fn the_reports_table_holds_the_results_numbers() {
    let (base, data) = (bright(), Plain::eight());
    let certification = Certification::new(&base, smoothing()).run(&data).unwrap();
    let result = Evaluation::new(&base).run(&data).unwrap();
    let model =
        ModelReport { certification: Some(certification.clone()), ..ModelReport::new("smoothed", result) };
    let report = Report { models: vec![model], ..Report::new("Proven", DataSummary::of("plain images")) };
    let text = report.to_markdown();
    let table =
        text.split("## ").find(|s| s.starts_with("Proven by randomized smoothing: smoothed")).unwrap();
    let cells = |name: &str| -> Vec<String> {
        let line = table.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap();
        line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_string()).collect()
    };
    let head = cells("images");
    assert_eq!(head[4], "within L2 0 (all of Linf 0/255)");
    for (name, curve) in [
        ("all", &certification.accuracy.all),
        ("benign", &certification.accuracy.classes[0].curve),
        ("malignant", &certification.accuracy.classes[1].curve),
    ] {
        let cells = cells(name);
        assert_eq!(cells[1..3], [curve.smoothed.to_string(), curve.abstained.to_string()]);
        for (step, cell) in cells[4..].iter().enumerate() {
            assert_eq!(*cell, curve.at(0.125 * step as f64).to_string(), "{name} {step}");
        }
        // Up to the largest radius of 1200 draws: 0.25 times Phi^-1(0.001^(1/1200)) = 0.6329.
        assert_eq!(cells.len(), 4 + 6);
    }
    assert!(
        table.contains(
            "Do not compare it with the tables of Linf attacks: one grey level in every pixel is L2"
        )
    );
    assert!(table.contains("among the weakest slides: slide 1"), "{table}");
    let read: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(read, report);
}
