//! The examples that learn an attack, as programs: killed and gone on with, in the battery, and how they fail.
#![cfg(all(feature = "train", feature = "figures"))]

#[path = "programs/ends.rs"]
mod ends;
mod programs;

use ends::{fail, kill_at, succeed};
use histoguard::data::png;
use histoguard::prelude::*;
use histoguard::report::Report;
use histoguard::weights;
use image::RgbImage;
use programs::example;
use serde_json::Value;

#[test]
fn a_universal_perturbation_that_was_killed_is_learned_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("net.safetensors");
    let net = DenseNetConfig::densenet121(2).init_seeded(&Device::default(), 0);
    weights::save_safetensors(&net, &checkpoint).unwrap();
    let universal = |out: &str| {
        let mut command = example("universal");
        command.arg(&checkpoint).args(["--images", "60", "--image-size", "32", "--batch-size", "8"]);
        command.args(["--passes", "3", "--epsilon", "16", "--out"]).arg(folder.path().join(out));
        command
    };
    let said = succeed(&mut universal("whole"));
    assert!(said.contains("SGD-UAP within Linf 16/255 on 6 test images"), "{said}");
    kill_at(&mut universal("killed"), &folder.path().join("killed/universal.safetensors"));
    succeed(&mut universal("killed"));
    for file in ["universal.safetensors", "universal.json", "universal.png"] {
        let [whole, killed] =
            ["whole", "killed"].map(|out| std::fs::read(folder.path().join(out).join(file)).unwrap());
        assert!(whole == killed, "{file}");
    }
    let figures: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("whole/universal.json")).unwrap()).unwrap();
    assert_eq!(figures["learned"]["changed"]["total"], 6);
    // The battery runs it beside others.
    let mut battery = example("battery");
    battery.arg(&checkpoint).args([
        "--images",
        "60",
        "--image-size",
        "32",
        "--attacks",
        "fgsm",
        "--epsilons",
        "8",
    ]);
    battery.args(["--check-images", "0", "--learned"]).arg(folder.path().join("whole/universal.safetensors"));
    succeed(battery.arg("--out").arg(folder.path().join("battery")));
    let report = Report::read(&folder.path().join("battery/report.json")).unwrap();
    let labels: Vec<&str> =
        report.models[0].result.attacks.iter().map(|attack| attack.label.as_str()).collect();
    assert_eq!(labels, ["FGSM", "SGD-UAP"]);
    // And one image shows it, with the budget that it was learned with, or with another one.
    let picture = folder.path().join("picture.png");
    png::write(&RgbImage::from_pixel(32, 32, image::Rgb([200, 120, 160])), &picture).unwrap();
    let attack = |args: &[&str]| {
        let mut attack = example("attack_image");
        attack.arg(&picture).arg("--checkpoint").arg(&checkpoint).args(["--image-size", "32", "--learned"]);
        attack.arg(folder.path().join("whole/universal.safetensors")).args(args);
        attack.arg("--out").arg(folder.path().join("shown"));
        attack
    };
    assert!(succeed(&mut attack(&[])).contains("SGD-UAP within Linf 16/255"));
    assert!(succeed(&mut attack(&["--epsilon", "4"])).contains("SGD-UAP within Linf 4/255"));
    fail(&mut attack(&["--epsilon", "4", "--norm", "l2"]), "--norm: expected Linf");
    // What is there was learned with other settings, or on another network.
    fail(
        universal("whole").args(["--seed", "1"]),
        "learned_from.json: expected this checkpoint and these options",
    );
    let other = DenseNetConfig::densenet121(2).init_seeded(&Device::default(), 1);
    weights::save_safetensors(&other, &checkpoint).unwrap();
    fail(&mut universal("whole"), "another --out starts anew");
}

#[test]
fn a_patch_that_was_killed_is_learned_to_its_end_and_runs_in_the_battery() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("net.safetensors");
    let net = DenseNetConfig::densenet121(2).init_seeded(&Device::default(), 0);
    weights::save_safetensors(&net, &checkpoint).unwrap();
    let patch = |out: &str| {
        let mut command = example("patch");
        command.arg(&checkpoint).args(["--images", "60", "--image-size", "32", "--batch-size", "8"]);
        command.args([
            "--passes",
            "3",
            "--target",
            "benign",
            "--scales",
            "0.2,0.6",
            "--pictures",
            "2",
            "--out",
        ]);
        command.arg(folder.path().join(out));
        command
    };
    let said = succeed(&mut patch("whole"));
    assert!(
        said.contains("images of other classes taken for benign") && said.contains("side 0.6 of the image")
    );
    kill_at(&mut patch("killed"), &folder.path().join("killed/patch.safetensors"));
    succeed(&mut patch("killed"));
    let figures: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("whole/patch.json")).unwrap()).unwrap();
    let drawn = figures["learned"]["scales"][0]["images"]["total"].as_u64().unwrap().min(2);
    let pictures = (1..=drawn).map(|number| format!("patched_{number}.png"));
    for file in ["patch.safetensors", "patch.json", "patch.png"].map(String::from).into_iter().chain(pictures)
    {
        let [whole, killed] =
            ["whole", "killed"].map(|out| std::fs::read(folder.path().join(out).join(&file)).unwrap());
        assert!(whole == killed, "{file}");
    }
    let classes = &figures["learned"]["scales"][1]["classes"];
    assert_eq!((classes[0]["class"].as_str(), classes[1].is_null()), (Some("malignant"), true));
    // The battery runs it beside others, on images of another size, and all of it on the white part of a
    // mask.
    let mask = folder.path().join("mask.png");
    png::write(&RgbImage::from_fn(40, 40, |x, _| image::Rgb([if x < 20 { 255 } else { 0 }; 3])), &mask)
        .unwrap();
    let mut battery = example("battery");
    battery.arg(&checkpoint).args([
        "--images",
        "60",
        "--image-size",
        "40",
        "--attacks",
        "fgsm",
        "--epsilons",
        "8",
    ]);
    battery.args(["--check-images", "0", "--learned"]).arg(folder.path().join("whole/patch.safetensors"));
    battery.arg("--out").arg(folder.path().join("battery")).arg("--mask");
    succeed(battery.arg(&mask));
    let report = Report::read(&folder.path().join("battery/report.json")).unwrap();
    let attacks = &report.models[0].result.attacks;
    let labels: Vec<&str> = attacks.iter().map(|attack| attack.label.as_str()).collect();
    let masked = |name: &str, norm: &str| format!("{name}, masked to 50 % of the pixels {norm}");
    assert_eq!(labels, [masked("FGSM", "Linf"), masked("Adversarial patch", "L0")]);
    for image in &report.models[0].result.records {
        for distances in image.attacks.iter().filter_map(|attack| attack.at[0].distances) {
            assert!(distances.l0 <= 3 * 800, "{distances:?}");
        }
    }
    assert!(
        report.data.notes.iter().any(|note| note.contains("attacks may change 50 % of the pixels alone"))
    );
    fail(patch("whole").args(["--seed", "1"]), "another --out starts anew");
    fail(patch("new").args(["--scale-min", "0"]), "scale min: expected a number above 0, up to scale max");
}

#[test]
fn a_generator_whose_learning_was_killed_is_learned_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("net.safetensors");
    let net = DenseNetConfig::densenet121(2).init_seeded(&Device::default(), 0);
    weights::save_safetensors(&net, &checkpoint).unwrap();
    let advgan = |method: &str, out: &str| {
        let mut command = example("advgan");
        command.arg(&checkpoint).args(["--images", "60", "--image-size", "32", "--batch-size", "16"]);
        command.args(["--epochs", "3", "--copy-epochs", "1", "--epsilon", "16", "--method", method]);
        command.arg("--out").arg(folder.path().join(out));
        command
    };
    let read = |out: &str, file: &str| std::fs::read(folder.path().join(out).join(file)).unwrap();
    for (method, name) in
        [("advgan", "AdvGAN"), ("plus-plus", "AdvGAN++"), ("black-box", "AdvGAN by distillation")]
    {
        let said = succeed(&mut advgan(method, method));
        assert!(said.contains("within Linf 16/255 on 6 test images") && said.contains(name), "{said}");
        let killed = format!("{method} killed");
        kill_at(&mut advgan(method, &killed), &folder.path().join(&killed).join("training.safetensors"));
        succeed(&mut advgan(method, &killed));
        for file in ["training.safetensors", "advgan.safetensors", "advgan.png", "curves.json", "curves.png"]
        {
            assert!(read(method, file) == read(&killed, file), "{method}: {file}");
        }
        let figures: Value = serde_json::from_slice(&read(method, "advgan.json")).unwrap();
        assert_eq!(figures["attacks"].as_array().unwrap().len(), 4);
        let epochs: Value = serde_json::from_slice(&read(method, "curves.json")).unwrap();
        assert_eq!(epochs.as_array().unwrap().len(), 3);
    }
    // The battery runs both kinds beside others.
    let mut battery = example("battery");
    battery.arg(&checkpoint).args(["--images", "60", "--image-size", "32", "--attacks", "fgsm"]);
    battery.args(["--epsilons", "8", "--check-images", "0"]);
    for method in ["advgan", "plus-plus"] {
        battery.arg("--learned").arg(folder.path().join(method).join("advgan.safetensors"));
    }
    succeed(battery.arg("--out").arg(folder.path().join("battery")));
    let report = Report::read(&folder.path().join("battery/report.json")).unwrap();
    let labels: Vec<&str> =
        report.models[0].result.attacks.iter().map(|attack| attack.label.as_str()).collect();
    assert_eq!(labels, ["FGSM", "AdvGAN", "AdvGAN++"]);
    fail(advgan("advgan", "advgan").args(["--seed", "1"]), "learned_from.json: expected this checkpoint");
    fail(advgan("advgan", "small").args(["--width", "0"]), "width: expected at least 1, found 0");
}

#[test]
fn natural_adversaries_whose_learning_was_killed_are_the_same_and_poor_inverters_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("net.safetensors");
    let net = DenseNetConfig::densenet121(2).init_seeded(&Device::default(), 0);
    weights::save_safetensors(&net, &checkpoint).unwrap();
    let natural = |out: &str| {
        let mut command = example("natural");
        command.arg(&checkpoint).args(["--images", "60", "--image-size", "32", "--batch-size", "16"]);
        command.args(["--epochs", "4", "--settling", "1", "--width", "2", "--latent", "4"]);
        command.args(["--samples", "8", "--step", "2", "--out"]).arg(folder.path().join(out));
        command
    };
    let lenient = |out: &str| {
        let mut command = natural(out);
        command.args(["--largest-error", "1000", "--least-kept", "0"]);
        command
    };
    let read = |out: &str, file: &str| std::fs::read(folder.path().join(out).join(file)).unwrap();
    let said = succeed(&mut lenient("whole"));
    assert!(said.contains("6 held-out images: RMS error of reconstructions"), "{said}");
    assert!(said.contains("natural adversaries of ") && said.contains("misread by the inverter"), "{said}");
    kill_at(&mut lenient("killed"), &folder.path().join("killed").join("training.safetensors"));
    succeed(&mut lenient("killed"));
    for file in ["training.safetensors", "natural.safetensors"] {
        assert!(read("whole", file) == read("killed", file), "{file}");
    }
    let figures: Value = serde_json::from_slice(&read("whole", "natural.json")).unwrap();
    assert_eq!(figures["losses"].as_array().unwrap().len(), 4);
    assert_eq!(figures["searches"].as_array().unwrap().len(), 3);

    // Three epochs are no learning.
    fail(&mut natural("poor"), "reconstruction error: expected at most");
    assert!(!folder.path().join("poor").join("natural.safetensors").exists());

    let mut battery = example("battery");
    battery.arg(&checkpoint).args(["--images", "60", "--image-size", "32", "--attacks", "fgsm"]);
    battery.args(["--epsilons", "8", "--check-images", "0"]);
    battery.arg("--learned").arg(folder.path().join("whole").join("natural.safetensors"));
    succeed(battery.arg("--out").arg(folder.path().join("battery")));
    let report = Report::read(&folder.path().join("battery/report.json")).unwrap();
    let result = &report.models[0].result;
    assert_eq!((result.attacks.len(), result.semantic.len()), (1, 1));
    assert_eq!(result.semantic[0].profile.name, "Natural adversary");
    fail(natural("whole").args(["--seed", "1"]), "learned_from.json: expected this checkpoint");
    for (wrong, said) in [
        (["--width", "0"], "width: expected at least 1, found 0"),
        (["--image-size", "40"], "image shape: expected height and width divisible by 16"),
        (["--samples", "0"], "samples: expected at least 1, found 0"),
        (["--settling", "1000"], "settling: expected at most the epochs"),
        (["--least-kept", "2"], "least kept: expected a number from 0 to 1"),
        (["--limit", "0"], "--limit: expected at least 1, found 0"),
    ] {
        let mut command = example("natural");
        fail(command.arg(&checkpoint).args(wrong).arg("--out").arg(folder.path().join("small")), said);
    }
    assert!(!folder.path().join("small").exists(), "nothing is left behind");
}
