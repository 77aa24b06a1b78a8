//! Runs in parts, by several processes, and put together.

mod small;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use histoguard::defense::smoothing::Smoothing;
use histoguard::evaluate::{
    Certification, Evaluation, EvaluationError, EvaluationResult, Run, Shard, Transferability,
};
use histoguard::file::FolderLock;
use histoguard::prelude::*;
use small::{Plain, Search, Shade, Steps, bright, by_brightness, linf};

const ALL: [f64; 3] = [0.07, 0.12, 0.22];

fn evaluation<'a>(victim: &'a Frozen, shade: &Shade, folder: &Path) -> Evaluation<'a> {
    Evaluation::new(victim)
        .attack(Fgsm::new(Budget::pixels(0.0)))
        .attack(shade.clone())
        .attack(Search::default())
        .attack(Steps::new(5))
        .budgets(ALL.map(linf))
        .batch_size(3)
        .resume_from(folder)
}

fn shard(index: usize, count: usize) -> Shard {
    Shard::new(index, count).unwrap()
}

fn bytes(result: EvaluationResult) -> Vec<u8> {
    serde_json::to_vec(&result.without_timing()).unwrap()
}

fn run(folder: &Path) -> EvaluationResult {
    evaluation(&bright(), &Shade::new(None), folder).run(&Plain::eight()).unwrap()
}

#[test]
fn shards_put_together_are_the_run_of_one_process_and_nothing_is_done_twice() {
    let victim = bright();
    let whole = tempfile::tempdir().unwrap();
    let shade = Shade::new(None);
    let alone = evaluation(&victim, &shade, whole.path()).run(&Plain::eight()).unwrap();
    let seen = shade.seen.load(Ordering::Relaxed);
    let alone = bytes(alone);
    // Fewer batches than shards, too; each killed once in the middle.
    for count in [1, 2, 3, 5] {
        let folder = tempfile::tempdir().unwrap();
        let shade = Shade::new(None);
        let mut images = 0;
        // In any order.
        for index in (0..count).rev() {
            let killed = AtomicBool::new(false);
            let first = evaluation(&victim, &shade, folder.path())
                .on_progress(|progress| killed.store(progress.done >= 4, Ordering::Relaxed))
                .cancel_with(&killed)
                .run_shard(&Plain::eight(), shard(index, count));
            match first {
                Err(EvaluationError::Cancelled { .. }) => {}
                other => assert_eq!(other.unwrap(), 0),
            }
            let again = evaluation(&victim, &shade, folder.path());
            images += again.run_shard(&Plain::eight(), shard(index, count)).unwrap();
        }
        assert_eq!(images, 8);
        let before = shade.seen.load(Ordering::Relaxed);
        let together = evaluation(&victim, &shade, folder.path()).run(&Plain::eight()).unwrap();
        assert_eq!(bytes(together), alone, "{count} shards");
        assert_eq!(shade.seen.load(Ordering::Relaxed), seen, "{count} shards");
        assert_eq!(before, seen, "the run over everything attacks no image again");
    }
}

#[test]
fn what_a_shard_has_left_the_run_over_everything_does() {
    let victim = bright();
    let [whole, folder] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let shade = Shade::new(None);
    let parts = evaluation(&victim, &shade, folder.path());
    parts.run_shard(&Plain::eight(), shard(1, 2)).unwrap();
    assert_eq!(bytes(run(folder.path())), bytes(run(whole.path())));
    // From then on its work is in the folder, and a shard would do some of it again.
    let error = parts.run_shard(&Plain::eight(), shard(0, 2)).unwrap_err().to_string();
    assert!(
        error.contains("settings.json: expected a folder in which no run over everything has begun"),
        "{error}"
    );
}

#[test]
fn shards_of_other_settings_or_another_count_are_refused() {
    let victim = bright();
    let folder = tempfile::tempdir().unwrap();
    let shade = Shade::new(None);
    let parts = || evaluation(&victim, &shade, folder.path());
    parts().run_shard(&Plain::eight(), shard(0, 2)).unwrap();
    let refused = |result: Result<(), EvaluationError>, file: &str, expected: &str| {
        let EvaluationError::State { path, expected: found, .. } = result.unwrap_err() else { panic!() };
        assert_eq!(path, folder.path().join(file));
        assert!(found.contains(expected), "{found}");
    };
    let other = || parts().only_survivors(true);
    let treatment = "the same treatment as in the unfinished evaluation, at only survivors false";
    refused(other().run(&Plain::eight()).map(drop), "shard-0-of-2/settings.json", treatment);
    let again = other().run_shard(&Plain::eight(), shard(0, 2));
    refused(again.map(drop), "shard-0-of-2/settings.json", treatment);
    let size = "the same batch size as in the unfinished evaluation, 3";
    refused(parts().batch_size(2).run(&Plain::eight()).map(drop), "shard-0-of-2/settings.json", size);
    let third = parts().run_shard(&Plain::eight(), shard(0, 3));
    refused(third.map(drop), "shard-0-of-2", "one of 3 shards, as others in the folder");
    // Copied together by hand.
    std::fs::create_dir(folder.path().join("shard-1-of-3")).unwrap();
    refused(parts().run(&Plain::eight()).map(drop), "shard-1-of-3", "one of 2 shards");
    std::fs::remove_dir(folder.path().join("shard-1-of-3")).unwrap();
    let error = Evaluation::new(&victim).run_shard(&Plain::eight(), shard(0, 2)).unwrap_err().to_string();
    assert_eq!(error, "resume_from: expected a folder for the work of shards, found none");
}

#[test]
fn shards_work_side_by_side_and_each_once() {
    let victim = bright();
    let folder = tempfile::tempdir().unwrap();
    let shade = Shade::new(None);
    let parts = || evaluation(&victim, &shade, folder.path());
    // As another shard's process holds them.
    let others = FolderLock::share(folder.path()).unwrap();
    let other = FolderLock::take(&folder.path().join("shard-1-of-2")).unwrap();
    parts().run_shard(&Plain::eight(), shard(0, 2)).unwrap();
    let busy = |result: Result<(), EvaluationError>| {
        let error = result.unwrap_err().to_string();
        assert!(
            error.ends_with("expected a folder in which no other run is at work, found one is"),
            "{error}"
        );
    };
    busy(parts().run_shard(&Plain::eight(), shard(1, 2)).map(drop));
    busy(parts().run(&Plain::eight()).map(drop));
    drop((others, other));
    parts().run_shard(&Plain::eight(), shard(1, 2)).unwrap();
    parts().run(&Plain::eight()).unwrap();
}

#[test]
fn a_classifier_is_known_by_its_fingerprint_where_its_logits_differ_in_the_last_digit() {
    let [here, there] = [1.0, 1.0 + 1e-6].map(|scale| by_brightness(move |mean| (mean - 0.5) * scale));
    let folder = tempfile::tempdir().unwrap();
    let shade = Shade::new(None);
    let part = |victim, index, fingerprint: Option<&str>| {
        let evaluation = evaluation(victim, &shade, folder.path());
        match fingerprint {
            Some(fingerprint) => evaluation.fingerprint(fingerprint),
            None => evaluation,
        }
        .run_shard(&Plain::eight(), shard(index, 2))
    };
    part(&here, 0, Some("weights 1")).unwrap();
    part(&there, 1, Some("weights 1")).unwrap();
    let whole = || evaluation(&there, &shade, folder.path());
    assert!(whole().run(&Plain::eight()).unwrap_err().to_string().contains("the same classifier as"));
    assert!(whole().fingerprint("weights 2").run(&Plain::eight()).is_err());
    whole().fingerprint("weights 1").run(&Plain::eight()).unwrap();
}

#[test]
fn certificates_and_transfers_come_in_shards_too() {
    let victim = bright();
    let data = Plain::eight();
    let folder = tempfile::tempdir().unwrap();
    let smoothing = Smoothing::new(0.25).with_draws(300);
    let certification = || Certification::new(&victim, smoothing).batch_size(3);
    let alone = certification().run(&data).unwrap();
    let parts = || certification().resume_from(folder.path().join("certified"));
    assert_eq!([0, 1].map(|index| parts().run_shard(&data, shard(index, 2)).unwrap()), [5, 3]);
    let before = victim.watch().queries().forwards;
    let together = parts().run(&data).unwrap();
    assert!(together.without_timing() == alone.without_timing());
    let asked = victim.watch().queries().forwards - before;
    assert!(asked <= 4, "{asked} forwards for the classifier's identity");

    let (attack, other) = (Fgsm::new(linf(0.12)), by_brightness(|mean| (mean - 0.45) * 10.0));
    let transfer =
        || Transferability::new(&attack).model("one", &victim).model("other", &other).batch_size(3);
    let alone = transfer().run(&data).unwrap();
    let parts = || transfer().resume_from(folder.path().join("transfer"));
    assert_eq!([0, 1].map(|index| parts().run_shard(&data, shard(index, 2)).unwrap()), [5, 3]);
    let crafted = || [&victim, &other].map(|model| model.watch().queries().gradients);
    let before = crafted();
    assert_eq!(parts().run(&data).unwrap(), alone);
    assert_eq!(crafted(), before);
}
