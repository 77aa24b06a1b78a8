//! What is beside a network in a file, several networks in one, and files that are something else.

mod golden;

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorData};
use histoguard::model::DenseNet;
use histoguard::weights::{self, Checkpoint, Note, WeightsError};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

fn fresh() -> DenseNet {
    golden::config().init(&Device::default())
}

fn beside(name: &str) -> PathBuf {
    golden::path("beside").join(name)
}

fn state() -> Vec<u8> {
    fs::read(golden::path("checkpoints/torchvision.safetensors")).unwrap()
}

/// The safetensors file of these tensors.
fn save<'a>(path: &Path, tensors: impl IntoIterator<Item = (String, TensorView<'a>)>) {
    safetensors::serialize_to_file(tensors.into_iter().collect::<Vec<_>>(), None, path).unwrap();
}

fn named<'a>(plain: &'a SafeTensors, prefix: &str) -> Vec<(String, TensorView<'a>)> {
    plain.iter().map(|(name, view)| (format!("{prefix}{name}"), view)).collect()
}

/// Some weights of a network, of its first and its last layer.
fn sample(net: &DenseNet) -> [TensorData; 3] {
    let norm = net.features.norm5.running_var.value_sync();
    [net.features.conv0.weight.val().into_data(), net.classifier.weight.val().into_data(), norm.into_data()]
}

fn expected() -> [TensorData; 3] {
    sample(&weights::load(fresh(), golden::path("checkpoints/torchvision.pth")).unwrap())
}

/// Loads, and gives the notes.
fn noted(checkpoint: Checkpoint) -> (Result<DenseNet, WeightsError>, Vec<Note>) {
    let mut notes = Vec::new();
    let net = weights::load(fresh(), checkpoint.on_note(|note| notes.push(note)));
    (net, notes)
}

#[test]
fn what_torch_loads_loads_with_the_same_values() {
    for file in [
        "protocol1.pth",
        "protocol1_legacy.pth",
        "protocol3.pth",
        "protocol5.pth",
        "deflated.pth",
        "sequential_head.pth",
        "sequential.pth",
        "lightning.ckpt",
        "tied.pth",
    ] {
        let net = weights::load(fresh(), beside(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(sample(&net), expected(), "{file}");
    }
}

#[test]
fn notes_name_what_is_left_out() {
    let (net, notes) = noted(Checkpoint::at(beside("lightning.ckpt")));
    net.unwrap();
    let [Note::LeftOut { prefix, tensors }, Note::Entries { entries, .. }, Note::Opaque { callables }] =
        notes.as_slice()
    else {
        panic!("{notes:?}")
    };
    assert_eq!(prefix, "state_dict.model.");
    assert_eq!(tensors.0, ["loss", "spectrum", "state_dict.criterion.weight"]);
    assert_eq!(entries.0, ["epoch", "hyper_parameters", "phase", "metric", "loader"]);
    assert_eq!(callables.0, ["__main__.Phase", "functools.partial"]);

    let (net, notes) = noted(Checkpoint::at(beside("tied.pth")));
    net.unwrap();
    assert_eq!(notes, [Note::Tied { prefixes: vec!["backbone.".into(), "encoder.".into()] }]);
    let (net, notes) = noted(Checkpoint::at(golden::path("checkpoints/torchvision.pth")));
    net.unwrap();
    assert_eq!(notes, []);
}

#[test]
fn two_networks_are_refused_until_one_is_chosen() {
    let file = beside("average.pth");
    let error = weights::load(fresh(), &file).unwrap_err();
    let WeightsError::Ambiguous { prefixes, .. } = &error else { panic!("{error}") };
    assert_eq!(prefixes.0, ["state_dict.module.", "state_dict_ema.module."]);
    assert!(error.to_string().contains(".prefix(\"state_dict_ema.module.\")"), "{error}");
    for prefix in ["state_dict_ema", "state_dict_ema.", "state_dict_ema.module."] {
        let net = weights::load(fresh(), Checkpoint::at(&file).prefix(prefix)).unwrap();
        assert_eq!(sample(&net), expected(), "{prefix}");
    }
    let zeros = weights::load(fresh(), Checkpoint::at(&file).prefix("state_dict")).unwrap();
    assert!(
        zeros.classifier.weight.val().into_data().try_into_vec::<f32>().unwrap().iter().all(|w| *w == 0.0)
    );
    let error = weights::load(fresh(), Checkpoint::at(&file).prefix("teacher")).unwrap_err();
    assert!(matches!(error, WeightsError::NoSuchPrefix { .. }), "{error}");
    assert!(error.to_string().contains("under \"state_dict.module.\""), "{error}");
}

#[test]
fn names_that_would_collide_without_their_prefix_are_two_networks() {
    let folder = tempfile::tempdir().unwrap();
    let (file, bytes) = (folder.path().join("two.safetensors"), state());
    let plain = SafeTensors::deserialize(&bytes).unwrap();
    for [first, second] in [["encoder.", "backbone."], ["", "ema."], ["module.", "model."], ["q.a.", "k.a."]]
    {
        save(&file, [named(&plain, first), named(&plain, second)].concat());
        let error = weights::load(fresh(), &file).unwrap_err();
        let WeightsError::Ambiguous { prefixes, .. } = &error else { panic!("{error}") };
        let mut both = [first, second];
        both.sort();
        assert_eq!(prefixes.0, both);
        weights::load_features(fresh(), &file).unwrap_err();
        for prefix in both {
            let net = weights::load(fresh(), Checkpoint::at(&file).prefix(prefix)).unwrap();
            assert_eq!(sample(&net), expected());
        }
    }
}

#[test]
fn a_tensor_inside_the_network_that_it_does_not_have_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (file, bytes) = (folder.path().join("more.safetensors"), state());
    let plain = SafeTensors::deserialize(&bytes).unwrap();
    for inside in ["model.attention.weight", "model.features.extra.weight", "model.classifier.2.weight"] {
        let more = (inside.to_string(), plain.tensor("classifier.weight").unwrap());
        save(&file, [named(&plain, "model."), vec![more.clone()]].concat());
        let error = weights::load(fresh(), &file).unwrap_err();
        let WeightsError::Mismatch { unexpected, .. } = &error else { panic!("{error}") };
        assert_eq!(unexpected.0, [inside]);
        let outside = (inside.replace("model.", "criterion."), more.1);
        save(&file, [named(&plain, "model."), vec![outside]].concat());
        weights::load(fresh(), &file).unwrap();
    }
    // Features and last layer as two attributes of a module.
    let apart = named(&plain, "backbone.")
        .into_iter()
        .map(|(name, view)| (name.replace("backbone.classifier", "classifier"), view));
    save(&file, apart);
    assert_eq!(sample(&weights::load(fresh(), &file).unwrap()), expected());
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nan.safetensors");
    for (name, value, why) in [
        ("features.conv0.weight", f32::NAN, "1 (features.conv0.weight: 1 of "),
        ("classifier.bias", f32::INFINITY, "1 (classifier.bias: 1 of 3 are NaN or infinite)"),
        ("features.norm5.running_var", -1.0, "variances are negative"),
    ] {
        let bytes = state();
        let plain = SafeTensors::deserialize(&bytes).unwrap();
        let mut data = plain.tensor(name).unwrap().data().to_vec();
        data[4..8].copy_from_slice(&value.to_le_bytes());
        let view = plain.tensor(name).unwrap();
        let view = TensorView::new(view.dtype(), view.shape().to_vec(), &data).unwrap();
        let tensors = named(&plain, "")
            .into_iter()
            .map(|(own, old)| if own == name { (own, view.clone()) } else { (own, old) });
        save(&file, tensors);
        let error = weights::load(fresh(), &file).unwrap_err();
        assert!(matches!(error, WeightsError::Values { .. }) && error.to_string().contains(why), "{error}");
        // As a pickle, whose storages are the same bytes.
        if value.is_nan() {
            let pickle = folder.path().join("nan.pth");
            let mut whole = fs::read(golden::path("checkpoints/torchvision_legacy.pth")).unwrap();
            let clean = plain.tensor(name).unwrap().data().to_vec();
            let place = whole.windows(clean.len()).position(|window| window == clean).unwrap();
            whole[place..place + data.len()].copy_from_slice(&data);
            fs::write(&pickle, whole).unwrap();
            let error = weights::load(fresh(), &pickle).unwrap_err();
            assert!(
                matches!(error, WeightsError::Values { .. }) && error.to_string().contains(why),
                "{error}"
            );
        }
    }
}

#[test]
fn a_sharded_file_is_read_from_its_index_or_folder() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = state();
    let plain = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = named(&plain, "model.");
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let shards = ["a.safetensors", "b.safetensors"];
    let (first, second) = tensors.split_at(9);
    let map: Vec<(String, &str)> = [first, second]
        .iter()
        .zip(shards)
        .flat_map(|(part, shard)| part.iter().map(move |(name, _)| (name.clone(), shard)))
        .collect();
    let index = folder.path().join("model.safetensors.index.json");
    let write = |map: &[(String, &str)]| {
        let lines: Vec<String> = map.iter().map(|(name, shard)| format!("{name:?}: {shard:?}")).collect();
        fs::write(&index, format!("{{\"metadata\": {{}}, \"weight_map\": {{{}}}}}", lines.join(", ")))
            .unwrap();
    };
    let fill = || {
        save(&folder.path().join(shards[0]), first.to_vec());
        save(&folder.path().join(shards[1]), second.to_vec());
    };
    let refused = |why: &str| {
        let error = weights::load(fresh(), &index).unwrap_err().to_string();
        assert!(error.contains(why), "expected {why:?}, found {error}");
    };
    fill();
    write(&map);
    for path in [index.as_path(), folder.path()] {
        assert_eq!(sample(&weights::load(fresh(), path).unwrap()), expected());
    }
    let (name, other) = (&map[0].0, &map[20].0);
    for outside in ["../a.safetensors", "/a.safetensors", "x\\a.safetensors", "C:a", "..", ""] {
        write(&[&map[1..], &[(name.clone(), outside)]].concat());
        refused("which is no file beside it");
    }
    write(&map[1..]);
    refused(&format!("{name} in a.safetensors, where the index does not have it"));
    write(&[&map[..], &[(name.clone(), shards[1])]].concat());
    refused(&format!("{name} twice, in a.safetensors and in b.safetensors"));
    write(&[&map[..], &[("absent".to_string(), shards[0])]].concat());
    refused("no absent in a.safetensors");
    write(&map);
    save(&folder.path().join(shards[0]), [first, &second[20 - 9..21 - 9]].concat());
    refused(&format!("{other} in a.safetensors, where the index has it in b.safetensors"));
    fs::remove_file(folder.path().join(shards[1])).unwrap();
    fill();
    fs::remove_file(folder.path().join(shards[1])).unwrap();
    refused("b.safetensors: ");
}

#[test]
fn other_files_are_called_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.pth");
    let mut tar = vec![0; 600];
    tar[257..262].copy_from_slice(b"ustar");
    for (bytes, why) in [
        (&b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"[..], "git lfs pull"),
        (b"\n <!DOCTYPE html><html><body>Sign in</body></html>", "an HTML page"),
        (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "an XML document"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "a gzip archive"),
        (b"\x89HDF\r\n\x1a\n\0\0", "an HDF5 file, such as Keras writes"),
        (b"\x08\x08\x12\x07pytorch", "an ONNX model"),
        (b"{\"hidden\": 3}", "a JSON text"),
        (&tar, "a tar archive"),
        (b"", "an empty file"),
        // pickle.dump(sklearn.linear_model.LogisticRegression(), file, 2)
        (
            b"\x80\x02csklearn.linear_model._logistic\nLogisticRegression\nq\0)\x81q\x01}b.",
            "torch.save did not write",
        ),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = weights::load(fresh(), &path).unwrap_err().to_string();
        assert!(error.contains(why), "expected {why:?}, found {error}");
    }
    let error = weights::load(fresh(), folder.path()).unwrap_err().to_string();
    assert!(error.contains("a folder without"), "{error}");
}
