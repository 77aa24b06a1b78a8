//! The examples as programs: what they write, what they say, and how they fail.
#![cfg(all(feature = "train", feature = "figures"))]

#[path = "programs/ends.rs"]
mod ends;
mod programs;

use std::path::Path;
use std::process::Command;

use ends::{fail, kill_at, run, succeed};
use histoguard::data::png;
use histoguard::report::Report;
use image::RgbImage;
use programs::example;
use serde_json::Value;

/// The experiment at the smallest size that still goes through all of it.
fn experiment(out: &Path) -> Command {
    let mut command = example("reproduce_paper");
    command.args(["--images", "60", "--epochs", "2", "--image-size", "32", "--batch-size", "16"]);
    command.args(["--epsilons", "1,8", "--seed", "4", "--out"]).arg(out);
    command
}

/// The report without its durations, which stand under one key wherever there are any.
fn without_times(report: &Path) -> Value {
    fn strip(value: &mut Value) -> usize {
        match value {
            Value::Object(entries) => {
                let here = usize::from(entries.remove("timing").is_some());
                here + entries.values_mut().map(strip).sum::<usize>()
            }
            Value::Array(entries) => entries.iter_mut().map(strip).sum(),
            _ => 0,
        }
    }
    let mut report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(strip(&mut report), 3, "of the run and of each model's evaluation");
    report
}

#[test]
fn the_experiment_writes_its_report_and_figures_and_repeats_itself() {
    let folders = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let [first, second] = folders.each_ref().map(|folder| folder.path().join("out"));
    let said = succeed(&mut experiment(&first));
    for wanted in ["original, all images", "sigma 0.1, malignant only", "synthetic"] {
        assert!(said.contains(wanted), "{wanted} in\n{said}");
    }
    let report = Report::read(&first.join("report.json")).unwrap();
    assert!(report.models.iter().all(|model| model.result.synthetic));
    assert_eq!(report.models[0].history.as_ref().unwrap().epochs.len(), 2);
    assert_eq!(report.models[1].result.attacks[0].sweep.len(), 3, "0, 1 and 8 grey levels");
    let markdown = std::fs::read_to_string(first.join("report.md")).unwrap();
    for wanted in ["Table 1", "Table 2", "Table 3", "10.99 %", "27.47 %", "drawn tissue (synthetic)"] {
        assert!(markdown.contains(wanted), "{wanted}");
    }
    for figure in [
        "figure4_noise",
        "figure5_accuracy_over_epochs",
        "figure6_adversarial_images",
        "figure_accuracy_over_epsilon",
    ] {
        image::open(first.join(format!("{figure}.png"))).unwrap();
    }

    succeed(&mut experiment(&second));
    assert_eq!(without_times(&first.join("report.json")), without_times(&second.join("report.json")));

    // What is finished is not done again: the same report from the checkpoints alone.
    let before = without_times(&first.join("report.json"));
    succeed(experiment(&first).arg("--resume"));
    assert_eq!(before, without_times(&first.join("report.json")));

    // The two models under the battery, on the same test images.
    let battery = folders[0].path().join("battery");
    let command = || {
        let mut command = example("battery");
        command.args(["original", "defense"].map(|name| first.join(format!("{name}.safetensors"))));
        command.args(["--images", "60", "--image-size", "32", "--seed", "4", "--epsilons", "1,8"]);
        command.args(["--attacks", "fgsm,pgd,deepfool", "--norm", "linf,l2", "--epsilons-l2", "0.5"]);
        command.arg("--out").arg(&battery);
        command
    };
    let said =
        succeed(command().args(["--require", "clean >= 0", "--require", "lower worst Linf 8/255 >= 0 %"]));
    assert!(said.contains("original, all images: ") && said.contains("% at 8/255"), "{said}");
    let junit = std::fs::read_to_string(battery.join("junit.xml")).unwrap();
    assert_eq!((junit.matches("name=\"clean &gt;= 0\"").count(), junit.matches("<failure").count()), (2, 0));
    let found = Report::read(&battery.join("report.json")).unwrap();
    for (there, here) in found.models.iter().zip(&report.models) {
        assert_eq!(there.result.clean.metrics, here.result.clean.metrics);
        for at in 0..2 {
            let (there, here) = (&there.result.attacks[0].sweep[at], &here.result.attacks[0].sweep[at + 1]);
            assert_eq!((there.budget, &there.metrics), (here.budget, &here.metrics));
        }
    }
    assert_eq!(found.transfer.len(), 2, "one a norm");
    for figure in ["figure_attacks_Linf.png", "figure_attacks_L2.png"] {
        image::open(battery.join(figure)).unwrap();
    }
    let page = std::fs::read_to_string(battery.join("report.html")).unwrap();
    assert!(page.contains("id=\"exhibit-0-0\"") && page.len() < 600_000, "{}", page.len());
    let out =
        run(command().args(["--require", "worst Linf 1/255 >= 0", "--require", "DeepFool Linf 8/255 >= 1"]));
    let error = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(3), "{error}");
    assert!(error.contains("error: not met: original: DeepFool Linf 8/255 >= 1, found "), "{error}");
    let junit = std::fs::read_to_string(battery.join("junit.xml")).unwrap();
    assert_eq!(junit.matches("type=\"not met\"").count(), 2, "{junit}");
    let again = Report::read(&battery.join("report.json")).unwrap();
    let plain = |report: Report| -> Vec<_> {
        report.models.into_iter().map(|model| model.result.without_timing()).collect()
    };
    assert!(plain(found) == plain(again));
    fail(command().args(["--attacks", "magic"]), "magic");
    fail(command().args(["--limit", "0"]), "--limit");
    for (wrong, named) in [
        ("clean", "worst Linf 2/255 >= 0.4"),
        ("worst Linf 2/255 >= 0.4", "a budget of Linf 1/255, Linf 8/255"),
        ("APGD Linf 1/255 >= 0.4", "FGSM Linf"),
        ("clean grey >= 0.4", "benign, malignant"),
    ] {
        fail(command().args(["--require", wrong]), named);
    }

    // The model that it saved can be attacked from the command line.
    let picture = folders[0].path().join("picture.png");
    png::write(&RgbImage::from_fn(48, 40, |x, y| image::Rgb([200, (x * 5) as u8, (y * 5) as u8])), &picture)
        .unwrap();
    let out = folders[0].path().join("attacked");
    let mut attack = example("attack_image");
    attack.arg(&picture).arg("--checkpoint").arg(first.join("original.safetensors"));
    attack.args(["--image-size", "32", "--epsilon", "4", "--out"]).arg(&out);
    let said = succeed(&mut attack);
    assert!(said.contains("adversarial from PNG:"), "{said}");
    let [original, adversarial] =
        ["original.png", "adversarial.png"].map(|name| image::open(out.join(name)).unwrap().into_rgb8());
    let largest = original.iter().zip(adversarial.iter()).map(|(a, b)| a.abs_diff(*b)).max();
    assert_eq!(largest, Some(4), "a whole number of grey levels survives the PNG");
    // Only where a mask is white; it is resized and cropped as the picture is, to the middle 32 of 38
    // columns.
    let mask = folders[0].path().join("mask.png");
    png::write(&RgbImage::from_fn(48, 40, |x, _| image::Rgb([if x < 24 { 255 } else { 0 }; 3])), &mask)
        .unwrap();
    let said = succeed(attack.arg("--mask").arg(&mask));
    assert!(said.contains("FGSM, masked to 50 % of the pixels within Linf 4/255"), "{said}");
    let adversarial = image::open(out.join("adversarial.png")).unwrap().into_rgb8();
    for (x, y, pixel) in adversarial.enumerate_pixels() {
        assert!(x < 16 || pixel == original.get_pixel(x, y), "{x}, {y}");
    }
    assert!(adversarial.pixels().zip(original.pixels()).filter(|(a, b)| a != b).count() > 400);
    let mut masked = example("attack_image");
    masked.arg(&picture).arg("--checkpoint").arg(first.join("original.safetensors"));
    masked.args(["--image-size", "32", "--out"]).arg(&out).arg("--mask").arg(&mask);
    png::write(&RgbImage::new(48, 40), &mask).unwrap();
    fail(&mut masked, "mask.png without a light pixel");
    png::write(&RgbImage::new(48, 41), &mask).unwrap();
    fail(&mut masked, "--mask: expected a picture of 48x40 pixels, as the image, or 32x32, found");

    let mut attack = example("attack_image");
    attack.arg(&picture).arg("--checkpoint").arg(first.join("original.safetensors"));
    attack.args(["--image-size", "32", "--attack", "stain", "--out"]).arg(&out);
    let said = succeed(&mut attack);
    assert!(said.contains("Stain 0.2, true class"), "{said}");
}

#[test]
fn train_makes_a_checkpoint_to_start_from() {
    let folder = tempfile::tempdir().unwrap();
    for (class, shade) in [("dark", 60), ("light", 190)] {
        for side in ["train", "val"] {
            for number in 0..4u8 {
                let image = RgbImage::from_pixel(36, 36, image::Rgb([shade + number; 3]));
                let name = format!("{number}.png");
                png::write(&image, &folder.path().join("set").join(side).join(class).join(name)).unwrap();
            }
        }
    }
    let checkpoint = folder.path().join("pretrained.safetensors");
    let mut train = example("train");
    train.arg("--data").arg(folder.path().join("set")).arg("--out").arg(&checkpoint);
    train.args(["--stain", "0.05"]);
    let said = succeed(train.args(["--epochs", "1", "--image-size", "32", "--batch-size", "4"]));
    assert!(said.contains("validation accuracy"), "{said}");
    let out = folder.path().join("out");
    succeed(experiment(&out).arg("--init").arg(&checkpoint));
}

#[test]
fn a_battery_keeps_to_the_images_that_its_checkpoint_has_not_seen() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for number in 0..40u8 {
        let class = ["B_A", "M_DC"][usize::from(number % 2)];
        let image = RgbImage::from_fn(36, 36, |x, y| image::Rgb([number, (x * 7) as u8, (y * 7) as u8]));
        png::write(&image, &data.join(format!("SOB_{class}-14-{number}-100-001.png"))).unwrap();
    }
    let out = folder.path().join("out");
    let mut training = example("reproduce_paper");
    training.args(["--image-size", "32", "--epochs", "1", "--batch-size", "16", "--epsilons", "1", "--data"]);
    succeed(training.arg(&data).arg("--out").arg(&out));

    let reported = folder.path().join("battery");
    let command = |checkpoint: &Path, more: &[&str]| {
        let mut command = example("battery");
        command.arg(checkpoint).arg("--data").arg(&data).args(["--attacks", "fgsm", "--epsilons", "1"]);
        command.args(["--check-images", "0", "--seed", "1"]).args(more).arg("--out").arg(&reported);
        command
    };
    let battery = |checkpoint: &Path, more: &[&str]| {
        succeed(&mut command(checkpoint, more));
        Report::read(&reported.join("report.json")).unwrap()
    };
    let trained = Report::read(&out.join("report.json")).unwrap();
    let original = out.join("original.safetensors");
    // Another seed changes the attacks, not the images; nor does the size fall back to the default.
    let report = battery(&original, &[]);
    assert_eq!(report.data.split.as_ref().unwrap().method, "by the record of training images");
    assert_eq!(report.models[0].result.clean.metrics, trained.models[0].result.clean.metrics);
    assert!(report.data.notes.iter().all(|note| !note.contains("trained on")), "{:?}", report.data.notes);
    // In parts and put together it is the same; a scheduler may say which part is whose.
    let part = |shard: &str| command(&original, &["--batch-size", "1", "--shard", shard]);
    succeed(&mut part("0/2"));
    succeed(part("auto/2").env("HQ_TASK_ID", "1"));
    for index in 0..2 {
        let folder = reported.join(format!("unfinished/original/shard-{index}-of-2"));
        assert!(folder.join("000001.json").exists(), "two images, each a batch");
    }
    let together = battery(&original, &["--batch-size", "1"]);
    let without_timing = |report: Report| report.models[0].result.clone().without_timing();
    assert!(without_timing(together) == without_timing(report));
    assert!(!reported.join("unfinished").exists());
    let mut nobody = part("auto/2");
    for scheduler in ["HQ_TASK_ID", "SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"] {
        nobody.env_remove(scheduler);
    }
    let nobody = nobody.output().unwrap();
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(!nobody.status.success() && said.contains("in one of them, found none set"), "{said}");
    // Another split has to be asked for, and is told.
    let report = battery(&original, &["--split", "image"]);
    let told = |report: &Report, what: &str| report.data.notes.iter().any(|note| note.contains(what));
    assert!(told(&report, "of 4 test images were trained on (SOB_"), "{:?}", report.data.notes);
    // So is a checkpoint without its record.
    let alone = folder.path().join("alone.safetensors");
    std::fs::copy(&original, &alone).unwrap();
    let report = battery(&alone, &["--image-size", "32"]);
    assert!(told(&report, "is not known, for want of alone.images.json"), "{:?}", report.data.notes);

    // Attacks that no norm bounds need no budgets, and leave no figure over them.
    let out = folder.path().join("semantic");
    let mut semantic = example("battery");
    semantic.arg(&original).arg("--data").arg(&data).args([
        "--attacks",
        "stain-light,scanner",
        "--limit",
        "2",
    ]);
    semantic.args(["--require", "Stain 0.05 >= 0", "--out"]).arg(&out);
    succeed(&mut semantic);
    let report = Report::read(&out.join("report.json")).unwrap();
    let result = &report.models[0].result;
    let labels: Vec<&str> = result.semantic.iter().map(|attack| attack.label.as_str()).collect();
    assert_eq!((labels, result.attacks.len()), (vec!["Stain 0.05", "Scanner"], 0));
    assert!(report.meets_requirements() && !out.join("figure_attacks_Linf.png").exists());
}

#[test]
fn train_reads_the_folders_of_a_split_and_leaves_out_what_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    for (class, shade) in [("dark", 60), ("light", 190)] {
        for (side, ending) in [("Train", "PNG"), ("valid", "png")] {
            for number in 0..4u8 {
                let image = RgbImage::from_pixel(36, 36, image::Rgb([shade + number; 3]));
                let path = set.join(side).join(class).join(format!("{number}.{ending}"));
                png::write(&image, &path).unwrap();
            }
        }
    }
    std::fs::write(set.join("Train/dark/empty.png"), "").unwrap();
    std::fs::write(set.join("valid/light/text.jpg"), "no image").unwrap();
    let checkpoint = folder.path().join("model.safetensors");
    let train = |batch_size| {
        let mut command = example("train");
        command.arg("--data").arg(&set).arg("--out").arg(&checkpoint);
        command.args(["--epochs", "1", "--image-size", "32", "--batch-size", batch_size]);
        command
    };
    fail(&mut train("4"), "empty.png");
    let said = succeed(train("4").arg("--skip-damaged"));
    assert!(said.contains("of 8 images"), "{said}");
    assert!(folder.path().join("model.images.json").is_file());
    fail(train("1").arg("--skip-damaged"), "batch_size: expected at least 2");
}

#[test]
fn a_battery_runs_on_any_folder_of_classes() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    for (label, class) in ["dark", "light", "middle"].into_iter().enumerate() {
        for (side, count) in [("train", 4), ("val", 2), ("test", 3)] {
            for number in 0..count {
                // No two images have the same pixels: a checkpoint's record knows them by these.
                let shade = 80 * label as u8 + 10 * side.len() as u8 + number;
                let image = RgbImage::from_fn(36, 36, |x, _| image::Rgb([shade, x as u8, 0]));
                png::write(&image, &set.join(side).join(class).join(format!("{number}.png"))).unwrap();
            }
        }
    }
    let checkpoint = folder.path().join("model.safetensors");
    let mut train = example("train");
    train.arg("--data").arg(&set).arg("--out").arg(&checkpoint);
    succeed(train.args(["--epochs", "1", "--image-size", "32", "--batch-size", "4"]));
    std::fs::write(set.join("test/dark/text.png"), "no image").unwrap();

    let battery = |checkpoint: &Path, more: &[&str]| {
        let mut command = example("battery");
        command.arg(checkpoint).arg("--data").arg(&set).args(["--subset", "folders", "--image-size", "32"]);
        command.args(["--attacks", "fgsm", "--epsilons", "1", "--check-images", "0"]).args(more);
        command.arg("--out").arg(folder.path().join("battery"));
        command
    };
    let report = |checkpoint: &Path| {
        succeed(&mut battery(checkpoint, &["--skip-damaged"]));
        Report::read(&folder.path().join("battery/report.json")).unwrap().data
    };
    fail(&mut battery(&checkpoint, &[]), "text.png");
    let data = report(&checkpoint);
    assert_eq!(data.description, "images in a folder a class, 9 test images");
    assert_eq!(data.split.unwrap().method, "by the record of training images");
    // A network that learned from slides of BreakHis is tested by these folders all the same.
    let record = folder.path().join("model.images.json");
    let mut other: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    (other["train"], other["validation"]) = (serde_json::json!([]), serde_json::json!([]));
    other["settings"]["images"] = serde_json::json!({
        "data": "BreaKHis_v1", "subset": "all", "images": 400, "skip_damaged": false, "image_size": null,
        "split": "slide", "fold_file": null, "seed": 0,
    });
    std::fs::write(&record, other.to_string()).unwrap();
    assert_eq!(report(&checkpoint).split.unwrap().method, "by folder");
    // Without a record the folders are the split, not an image more.
    let alone = folder.path().join("alone.safetensors");
    std::fs::copy(&checkpoint, &alone).unwrap();
    let data = report(&alone);
    let split = data.split.unwrap();
    assert_eq!(split.method, "by folder");
    assert_eq!((split.train, split.validation, split.test), (vec![4; 3], vec![2; 3], vec![3; 3]));
    assert!(data.notes.iter().any(|note| note.contains("1 damaged images left out")), "{:?}", data.notes);
    fail(&mut battery(&alone, &["--split", "slide", "--skip-damaged"]), "--split");
    fail(&mut battery(&alone, &["--fold-file", "dsfold1.txt", "--skip-damaged"]), "--fold-file");
}

/// The comparison at the smallest size, with a defense of every kind.
fn comparison(out: &Path) -> Command {
    let mut command = example("defend");
    command.args(["--images", "40", "--image-size", "32", "--epochs", "1", "--batch-size", "8"]);
    command.args(["--defenses", "fgsm-rs,ensemble-at,jpeg,magnet,smoothing", "--attacks", "fgsm"]);
    command.args(["--epsilons", "2", "--draws", "150", "--false-alarms", "0.4", "--autoencoder-epochs", "2"]);
    command.args(["--squares", "5", "--copies", "2", "--check-images", "2", "--semantic", "stain-light"]);
    command.arg("--out").arg(out);
    command
}

#[test]
fn a_comparison_that_was_killed_in_each_stage_ends_as_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, cut] = ["whole", "cut"].map(|name| folder.path().join(name));
    let said = succeed(&mut comparison(&whole));
    let defenses = ["undefended", "fgsm-rs", "ensemble-at", "jpeg", "magnet", "smoothing"];
    let rows = defenses.map(|defense| format!("| {defense} |"));
    let views =
        "| made for the undefended network, 2/255 | adaptive, 2/255 | black box, 2/255 | worst case, 2/255 |";
    for wanted in rows.iter().map(String::as_str).chain([views, "| Stain 0.05 |"]) {
        assert!(said.contains(wanted), "{wanted} in\n{said}");
    }
    // While the first network trains, another one, an evaluation runs, draws are made, and after all of it.
    kill_at(&mut comparison(&cut), &cut.join("training/undefended/training.json"));
    fail(&mut comparison(&cut), "--resume");
    let stages = [
        "training/fgsm-rs/training.json",
        "unfinished/jpeg",
        "unfinished/certificates/000000.json",
        "report.json",
    ];
    for stage in stages {
        kill_at(comparison(&cut).arg("--resume"), &cut.join(stage));
    }
    if cut.join("training").exists() {
        succeed(comparison(&cut).arg("--resume"));
    }
    let read = |out: &Path| -> Value {
        let mut report: Value =
            serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
        report.as_object_mut().unwrap().remove("timing").unwrap();
        for model in report["models"].as_array_mut().unwrap() {
            model["result"].as_object_mut().unwrap().remove("timing").unwrap();
            if let Some(certification) = model.get_mut("certification") {
                certification.as_object_mut().unwrap().remove("seconds").unwrap();
            }
        }
        report
    };
    assert_eq!(read(&whole), read(&cut));
    // The page shows the same images; what it says of paces is another run's.
    let images = |out: &Path| {
        let page = std::fs::read_to_string(out.join("report.html")).unwrap();
        let (_, images) = page.split_once("<section id=\"images\"").expect("images");
        images.split("</section>").next().unwrap().to_string()
    };
    assert!(images(&whole).contains("<article") && images(&whole) == images(&cut));
}

#[test]
fn own_model_runs() {
    let said = succeed(&mut example("own_model"));
    assert!(said.contains("at epsilon 16/255: 8 of 8 answers changed"), "{said}");
}

#[test]
fn an_unfinished_run_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    // What a kill leaves: training begun, no report yet.
    std::fs::create_dir_all(folder.path().join("training/original/checkpoints")).unwrap();
    fail(&mut experiment(folder.path()), "--resume");
    succeed(experiment(folder.path()).arg("--resume"));
}

#[test]
fn wrong_options_and_paths_end_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let on_data = |folder: &Path| {
        let mut command = example("reproduce_paper");
        command.arg("--data").arg(folder).arg("--out").arg(&out);
        command
    };
    fail(&mut on_data(Path::new("/no/such/folder")), "/no/such/folder");
    fail(on_data(folder.path()).args(["--images", "60"]), "--images");
    fail(on_data(folder.path()).args(["--split", "slide", "--fold-file", "dsfold1.txt"]), "--fold-file");
    fail(experiment(&out).args(["--subset", "all"]), "--data");
    fail(experiment(&out).args(["--init", "/no/such/file"]), "/no/such/file");
    fail(experiment(&out).args(["--sigma=-1"]), "--sigma");
    fail(experiment(&out).args(["--epsilons=-1"]), "--epsilons");
    fail(experiment(&out).args(["--split", "patient"]), "patient");
    fail(experiment(&out).args(["--fold-file", "dsfold1.txt"]), "--data");
    fail(&mut example("train"), "--data");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    fail(example("train").arg("--data").arg(&empty).arg("--out").arg(&out), "empty");
    let text = folder.path().join("text.png");
    std::fs::write(&text, "no image").unwrap();
    fail(example("attack_image").arg(&text).args(["--checkpoint", "/no/such/file"]), "/no/such/file");
    fail(
        example("attack_image").arg(&text).args(["--checkpoint", "x", "--image-size", "28"]),
        "--image-size",
    );
    fail(
        example("defend").arg("--stain=1.5").arg("--out").arg(&out),
        "--stain: expected a number from 0 to 1",
    );
    for wrong in ["--steps=0", "--copies=0", "--squares=0", "--autoencoder-epochs=0"] {
        fail(example("defend").arg(wrong).arg("--out").arg(&out), &wrong[..wrong.len() - 2]);
    }
    let few = ["--images", "20", "--defenses", "magnet", "--false-alarms", "0.01"];
    fail(example("defend").args(few).arg("--out").arg(&out), "--false-alarms");
    assert!(!out.exists(), "nothing is left behind");
}
