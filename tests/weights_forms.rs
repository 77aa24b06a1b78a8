//! Forms that training scripts leave behind, and files that are no checkpoint (`golden/checkpoint_forms.py`).

mod golden;

use std::fs;
use std::path::PathBuf;

use burn::tensor::{Device, Tensor};
use histoguard::model::{DenseNet, DenseNetConfig};
use histoguard::weights::{self, Head, Load, WeightsError};

fn path(file: &str) -> PathBuf {
    golden::path("checkpoint_forms").join(file)
}

fn fresh() -> DenseNet {
    DenseNetConfig::new(3)
        .with_growth_rate(4)
        .with_block_config(vec![2, 1])
        .with_num_init_features(6)
        .with_bn_size(2)
        .init(&Device::default())
}

/// The images of `checkpoints.py`, and the logits of `torchvision.pth` for them.
fn assert_is_torchvisions(file: &str, net: DenseNet) {
    let folder = golden::path("checkpoints");
    let images = &golden::tensors(folder.join("images.safetensors").to_str().unwrap())["images"];
    let images: Tensor<4> = golden::tensor(images, &Device::default());
    let expected: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let rows: Vec<Vec<f64>> = serde_json::from_value(expected["torchvision.pth"]["logits"].clone()).unwrap();
    golden::assert_close(file, net.forward(images), &rows.concat(), 1e-4);
}

fn refusal(file: &str) -> WeightsError {
    weights::load(fresh(), path(file)).unwrap_err()
}

#[test]
fn every_form_gives_the_logits_of_pytorch_and_says_what_it_left_out() {
    for (file, prefix, beside, not_run) in [
        ("protocol1.pth", "", vec![], vec![]),
        ("protocol1_legacy.pth", "", vec![], vec![]),
        ("deflated.pth", "", vec![], vec![]),
        ("dropout_head.pth", "", vec![], vec![]),
        ("same_twice.pth", "net.", vec!["model.classifier.bias"], vec![]),
        ("sequential.pth", "1.", vec!["0.mean", "0.std"], vec![]),
        ("lightning.ckpt", "state_dict.model.", vec!["best", "state_dict.criterion.weight"], vec![]),
        ("called.pth", "state_dict.", vec![], vec!["__main__.Mode", "functools.partial"]),
        ("sharded", "", vec![], vec![]),
        ("sharded/model.safetensors.index.json", "", vec![], vec![]),
    ] {
        let (net, notes) = weights::load_noted(fresh(), path(file)).unwrap_or_else(|error| panic!("{error}"));
        assert_is_torchvisions(file, net);
        assert_eq!(notes.prefix, prefix, "{file}");
        let found: Vec<&str> = notes.beside.iter().map(String::as_str).collect();
        match file {
            "same_twice.pth" => assert_eq!((found[0], found.len() > 20), (beside[0], true)),
            _ => assert_eq!(found, beside, "{file}"),
        }
        assert_eq!(notes.not_run, not_run, "{file}");
    }
}

#[test]
fn two_networks_in_one_file_are_refused_until_one_is_chosen() {
    for (file, below, prefixes) in [
        ("two.pth", "encoder", ["encoder.", "backbone."]),
        ("ema.pth", "state_dict_ema", ["state_dict.", "state_dict_ema."]),
    ] {
        let error = refusal(file);
        let WeightsError::Ambiguous { prefixes: found, .. } = &error else { panic!("{error}") };
        let (mut found, mut expected) = (found.clone(), prefixes.map(String::from).to_vec());
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        let said = error.to_string();
        assert!(said.contains(prefixes[0]) && said.contains("load_below") && said.contains(file), "{said}");
        assert!(matches!(weights::load_features(fresh(), path(file)), Err(WeightsError::Ambiguous { .. })));

        assert_is_torchvisions(file, weights::load_below(fresh(), path(file), below).unwrap());
        let load = Load { head: Head::Keep, below: Some(format!("{below}.")), ..Load::default() };
        assert_is_torchvisions(file, load.into_model(fresh(), path(file)).unwrap());
        let nothing = weights::load_below(fresh(), path(file), "decoder").err().unwrap();
        assert!(matches!(nothing, WeightsError::Mismatch { .. }), "{nothing}");
    }
}

#[test]
fn weights_that_are_no_numbers_are_refused_by_name() {
    for file in ["nan.pth", "-inf.pth"] {
        let error = refusal(file);
        let said = error.to_string();
        assert!(matches!(error, WeightsError::NotFinite { count: 2, of: 6, .. }), "{said}");
        assert!(said.contains("features.norm0.running_var") && said.contains(file), "{said}");
    }
}

#[test]
fn what_is_no_checkpoint_is_called_by_its_name() {
    assert!(refusal("torchscript.pt").to_string().contains("TorchScript"));
    let folder = tempfile::tempdir().unwrap();
    for (bytes, what) in [
        (&b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"[..], "git lfs pull"),
        (b"<!DOCTYPE html>\n<html><head><title>Sign in</title>", "a web page"),
        (b"\n  <HTML>", "a web page"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "gzip"),
        (b"\x89HDF\r\n\x1a\n\0\0\0\0", "HDF5"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\0", "an image"),
        (b"{\"a\": 1}", "JSON"),
        (b"", "an empty file"),
    ] {
        let file = folder.path().join("net.pth");
        fs::write(&file, bytes).unwrap();
        let error = weights::load(fresh(), &file).unwrap_err().to_string();
        assert!(error.contains(what) && error.contains("net.pth"), "{error}");
    }
}

#[test]
fn damaged_shards_are_named() {
    let copy = |change: &dyn Fn(&std::path::Path)| {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(path("sharded")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        change(folder.path());
        weights::load(fresh(), folder.path()).unwrap_err().to_string()
    };
    let index = "model.safetensors.index.json";
    let (first, second) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    let edited = |from: &str, to: &str| {
        copy(&|folder| {
            let text = fs::read_to_string(folder.join(index)).unwrap();
            assert!(text.contains(from));
            fs::write(folder.join(index), text.replacen(from, to, 1)).unwrap();
        })
    };
    let missing = copy(&|folder| fs::remove_file(folder.join(second)).unwrap());
    assert!(missing.contains(second), "{missing}");
    let none = copy(&|folder| fs::remove_file(folder.join(index)).unwrap());
    assert!(none.contains(index), "{none}");
    let moved = copy(&|folder| {
        fs::copy(folder.join(first), folder.join(second)).unwrap();
    });
    assert!(moved.contains(second) && moved.contains("which the index has in model-00001"), "{moved}");
    let absent = edited("\"classifier.bias\"", "\"classifier.other\"");
    assert!(absent.contains("classifier.bias, which the index has nowhere"), "{absent}");
    for outside in ["../net.safetensors", "/etc/passwd", "a/b.safetensors", ".."] {
        let error = edited(first, outside);
        assert!(error.contains("outside of its folder"), "{error}");
    }
    let cut = edited("\"weight_map\"", "\"weights\"");
    assert!(cut.contains("weight_map"), "{cut}");
}
