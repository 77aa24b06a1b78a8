//! Runs that are interrupted and go on, and folders that belong to other runs.

mod small;

use std::cell::RefCell;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use histoguard::attack::Attack;
use histoguard::evaluate::{Evaluation, EvaluationError, Run, TransferMatrix, Transferability};
use histoguard::prelude::*;
use serde_json::{Value, json};
use small::{Plain, Search, Shade, Steps, bright, by_brightness, linf};

fn budgets() -> [Budget; 4] {
    [0.0, 0.07, 0.12, 0.22].map(linf)
}

fn fgsm() -> Fgsm {
    Fgsm::new(Budget::pixels(0.0))
}

#[test]
fn an_interrupted_evaluation_goes_on_where_it_was() {
    let victim = bright();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let run = |shade: &Shade, batch: usize, stop_at: usize| {
        let flag = AtomicBool::new(false);
        Evaluation::new(&victim)
            .attack(fgsm())
            .attack(shade.clone())
            .attack(Search::default())
            .budgets(budgets())
            .resume_from(&state)
            .batch_size(batch)
            .on_progress(|p| flag.store(p.done >= stop_at, Ordering::Relaxed))
            .cancel_with(&flag)
            .run(&Plain::eight())
    };
    let shade = Shade::new(None);
    let mut interruptions = 0;
    // Ever later, with batches of other sizes, as a user would who runs out of memory.
    for (batch, stop_at) in [(3, 4), (3, 20), (2, 33), (5, 60), (8, 71)] {
        let error = run(&shade, batch, stop_at).unwrap_err();
        assert!(matches!(error, EvaluationError::Cancelled { .. }), "{error}");
        interruptions += 1;
    }
    let resumed = run(&shade, 3, usize::MAX).unwrap();
    assert_eq!(interruptions, 5);
    // Every image once with every budget above zero; the label attack has no part in the checks' attacks.
    assert_eq!(shade.seen.load(Ordering::Relaxed), 6 * 3);
    let at_once = Evaluation::new(&victim)
        .attack(fgsm())
        .attack(Shade::new(None))
        .attack(Search::default())
        .budgets(budgets())
        .run(&Plain::eight())
        .unwrap();
    assert!(resumed.without_timing() == at_once.without_timing());
}

#[test]
fn the_state_of_something_else_is_refused() {
    let victim = bright();
    let folder = tempfile::tempdir().unwrap();
    let evaluation = |victim, sweep: [f64; 2]| {
        Evaluation::new(victim)
            .attack(fgsm())
            .budgets(sweep.map(linf))
            .resume_from(folder.path())
            .check_images(0)
    };
    evaluation(&victim, [0.1, 0.2]).run(&Plain::eight()).unwrap();
    let refused = |evaluation: Evaluation, data: &Plain, what: &str| {
        let error = evaluation.run(data).unwrap_err();
        assert!(matches!(error, EvaluationError::State { .. }), "{error}");
        assert!(error.to_string().contains(&format!("the same {what} as")), "{error}");
    };
    refused(evaluation(&victim, [0.1, 0.3]), &Plain::eight(), "attacks");
    refused(evaluation(&victim, [0.1, 0.2]).only_survivors(true), &Plain::eight(), "treatment");
    let fewer = Plain::new(&[0.1, 0.3], &[0, 0]);
    refused(evaluation(&victim, [0.1, 0.2]), &fewer, "images");
    let other = by_brightness(|mean| (mean - 0.4) * 10.0);
    refused(evaluation(&other, [0.1, 0.2]), &Plain::eight(), "classifier");
    refused(evaluation(&victim, [0.1, 0.2]).fingerprint("net.safetensors"), &Plain::eight(), "classifier");

    // Whatever else made it, a file that is not whole is named.
    std::fs::write(folder.path().join("000001.json"), "{\"run\":").unwrap();
    let error = evaluation(&victim, [0.1, 0.2]).run(&Plain::eight()).unwrap_err().to_string();
    assert!(error.contains("000001.json") && error.contains("unfinished evaluation"), "{error}");
}

/// What is said where the settings in the folder are not those of the evaluation.
fn refusal(folder: &Path, evaluation: Evaluation) -> String {
    let error = evaluation.resume_from(folder).run(&Plain::eight()).unwrap_err();
    let EvaluationError::State { path, expected, found } = error else { panic!("{error}") };
    assert_eq!(path, folder.join("settings.json"));
    let expected = expected.split_once("as in the unfinished evaluation, ").expect("what was found");
    format!("{}{}, found {found}", expected.0, expected.1)
}

#[test]
fn the_first_difference_is_named() {
    let victim = bright();
    let folder = tempfile::tempdir().unwrap();
    let after = |first: Box<dyn Attack>, levels: [f64; 2]| {
        let evaluation = Evaluation::new(&victim).attacks([first]).attack(Fgsm::new(Budget::l2(0.5)));
        evaluation.budgets(levels.map(Budget::pixels)).check_images(0)
    };
    let sweep = |levels| after(Box::new(Steps::new(5)), levels);
    sweep([20.0, 40.0]).resume_from(folder.path()).run(&Plain::eight()).unwrap();
    let refused = |evaluation| refusal(folder.path(), evaluation);
    assert_eq!(refused(sweep([20.0, 60.0])), "the same attacks at [0].budgets[1].size 40.0, found 60.0");
    assert_eq!(
        refused(sweep([20.0, 40.0]).budgets([Budget::l2(0.25)])),
        "the same attacks at [1].budgets[0].size 0.5, found 0.25"
    );
    assert_eq!(
        refused(after(Box::new(Steps::new(6)), [20.0, 40.0])),
        "the same attacks at [0].attack.settings.steps 5, found 6"
    );
    assert_eq!(
        refused(after(Box::new(fgsm()), [20.0, 40.0])),
        "the same attacks at [0].attack.attack \"steps\", found \"FGSM\""
    );
    // Another way to go about the same work, and other statistics of it, are no difference.
    let same = sweep([20.0, 40.0]).batch_size(3).seed(7).resamples(50).resume_from(folder.path());
    let gradients = victim.watch().queries().gradients;
    same.run(&Plain::eight()).unwrap();
    assert_eq!(victim.watch().queries().gradients, gradients);
}

#[test]
fn another_format_or_version_is_refused() {
    let victim = bright();
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings.json");
    let evaluation = || Evaluation::new(&victim).attack(fgsm()).budgets(budgets());
    // As it was written before formats had a number.
    let old = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "attacks": "Fgsm { epsilon: Epsilon(0.0), norm: Linf } [Epsilon(0.07)]",
        "classifier": "logits 0123456789abcdef",
    });
    let write = |value: &Value| std::fs::write(&settings, serde_json::to_vec(value).unwrap()).unwrap();
    let stored = || serde_json::from_slice::<Value>(&std::fs::read(&settings).unwrap()).unwrap();
    write(&old);
    assert_eq!(refusal(folder.path(), evaluation()), "the same format none, found 3");
    assert_eq!(stored(), old, "what is refused is left alone");
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 2, "the settings and the lock");
    // Settings that are none at all.
    write(&json!(["FGSM"]));
    assert_eq!(refusal(folder.path(), evaluation()), "the same format none, found 3");

    std::fs::remove_file(&settings).unwrap();
    evaluation().resume_from(folder.path()).run(&Plain::eight()).unwrap();
    let mine = stored();
    let changed = |what: &str, to: Value| {
        let mut other = mine.clone();
        other[what] = to;
        write(&other);
        refusal(folder.path(), evaluation())
    };
    assert_eq!(changed("format", json!(1)), "the same format 1, found 3");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        changed("version", json!("0.0.9")),
        format!("the same version \"0.0.9\", found \"{version}\"")
    );
    write(&mine);
    evaluation().resume_from(folder.path()).run(&Plain::eight()).unwrap();
    // Work whose settings are lost is nobody's.
    std::fs::remove_file(&settings).unwrap();
    let error = evaluation().resume_from(folder.path()).run(&Plain::eight()).unwrap_err().to_string();
    assert!(error.ends_with("expected the settings of the other files in the folder, found none"), "{error}");
}

#[test]
fn a_file_that_was_changed_is_refused() {
    let victim = bright();
    let folder = tempfile::tempdir().unwrap();
    let evaluation = || Evaluation::new(&victim).attack(fgsm()).budgets(budgets()).resume_from(folder.path());
    let whole = evaluation().run(&Plain::eight()).unwrap();
    let first = folder.path().join("000000.json");
    let text = std::fs::read_to_string(&first).unwrap();
    // Each is JSON of the right form: a class that there is not, another class, the same number written
    // differently.
    for (found, changed) in
        [("\"prediction\":1", "\"prediction\":7"), ("\"prediction\":1", "\"prediction\":0"), ("[0,", "[00,")]
    {
        let other = text.replacen(found, changed, 1);
        assert_ne!(other, text, "{found}");
        std::fs::write(&first, other).unwrap();
        let error = evaluation().run(&Plain::eight()).unwrap_err().to_string();
        assert!(error.contains("000000.json") && error.contains("checksum"), "{error}");
    }
    std::fs::write(&first, text).unwrap();
    assert!(evaluation().run(&Plain::eight()).unwrap().without_timing() == whole.without_timing());
}

#[test]
fn a_second_run_in_the_same_folder_is_refused() {
    let victim = bright();
    let folder = tempfile::tempdir().unwrap();
    let evaluation = || Evaluation::new(&victim).attack(fgsm()).budgets(budgets()).resume_from(folder.path());
    let refused = std::cell::Cell::new(0);
    let beside = |_| {
        let error = evaluation().run(&Plain::eight()).unwrap_err();
        assert!(matches!(&error, EvaluationError::State { path, .. } if path == folder.path()), "{error}");
        assert!(error.to_string().ends_with("in which no other run is at work, found one is"), "{error}");
        refused.set(refused.get() + 1);
    };
    evaluation().on_progress(beside).run(&Plain::eight()).unwrap();
    assert!(refused.get() > 0);
    evaluation().run(&Plain::eight()).unwrap();
}

#[test]
fn an_interrupted_transfer_goes_on_where_it_was() {
    let models = [0.5, 0.35].map(|threshold| by_brightness(move |mean| (mean - threshold) * 10.0));
    let folder = tempfile::tempdir().unwrap();
    let data = Plain::eight();
    let seen = RefCell::new(Vec::new());
    let run = |shade: &Shade, batch: usize, stop_at: usize| -> Result<TransferMatrix, EvaluationError> {
        let flag = AtomicBool::new(false);
        seen.borrow_mut().clear();
        Transferability::new(shade)
            .model("middle", &models[0])
            .model("low", &models[1])
            .resume_from(folder.path())
            .batch_size(batch)
            .on_progress(|p| {
                seen.borrow_mut().push((p.done, p.total));
                flag.store(p.done >= stop_at, Ordering::Relaxed);
            })
            .cancel_with(&flag)
            .run(&data)
    };
    let shade = |level: f64| Shade { budget: Budget::pixels(level), ..Shade::new(None) };
    let attack = shade(30.0);
    // Three images on both models; then three more on both, and two more on the first.
    let error = run(&attack, 3, 4).unwrap_err();
    assert!(matches!(error, EvaluationError::Cancelled { done: 6, total: 16 }), "{error}");
    assert_eq!(attack.seen.load(Ordering::Relaxed), 6);
    let error = run(&attack, 2, 9).unwrap_err();
    assert!(matches!(error, EvaluationError::Cancelled { done: 10, total: 16 }), "{error}");
    assert_eq!(attack.seen.load(Ordering::Relaxed), 10);
    let resumed = run(&attack, 8, usize::MAX).unwrap();
    assert_eq!(*seen.borrow(), [(8, 16), (16, 16)]);
    // Every image once on every model.
    assert_eq!(attack.seen.load(Ordering::Relaxed), 16);

    let fresh = shade(30.0);
    let at_once = Transferability::new(&fresh).model("middle", &models[0]).model("low", &models[1]);
    assert_eq!(resumed, at_once.run(&data).unwrap());
    // A whole run is read from its folder.
    assert_eq!(run(&attack, 5, usize::MAX).unwrap(), resumed);
    assert_eq!(*seen.borrow(), [(5, 16), (10, 16), (13, 16), (16, 16)]);
    assert_eq!(attack.seen.load(Ordering::Relaxed), 16);

    let error = run(&shade(50.0), 3, usize::MAX).unwrap_err().to_string();
    let difference =
        "the same attack as in the unfinished evaluation, at settings.budget.size 30.0, found 50.0";
    assert!(error.contains(difference), "{error}");
    let other = Transferability::new(&attack).model("middle", &models[0]).model("third", &models[1]);
    let error = other.resume_from(folder.path()).run(&data).unwrap_err().to_string();
    let difference = r#"the same models as in the unfinished evaluation, at [1][0] "low", found "third""#;
    assert!(error.contains(difference), "{error}");
    // Nor does an evaluation go on with the folder of a transfer.
    let other = refusal(folder.path(), Evaluation::new(&models[0]).attack(shade(30.0)));
    assert!(other.starts_with("the same attacks none, found ["), "{other}");
}
