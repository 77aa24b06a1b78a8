//! Image files and folders of every kind, against the libraries that others read them with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use histoguard::data::breakhis::Magnification;
use histoguard::data::{
    BreakHis, FileImage, FolderSet, FolderSplit, ImageSet, OnError, Sample, Split, SplitMethod,
    TrainingRecord, decode_image, exif_orientation, png,
};
use image::{Rgb, RgbImage};
use safetensors::SafeTensors;

/// What formats.py wrote: each case's file, and its pixels unless it is to be refused.
fn formats() -> BTreeMap<String, (Vec<u8>, Option<Vec<u8>>)> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/golden/formats.safetensors"].iter().collect();
    let bytes = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let data = |name: String| tensors.tensor(&name).ok().map(|view| view.data().to_vec());
    let case = |name: &str| {
        let name = name.strip_suffix("/file")?;
        Some((name.to_string(), (data(format!("{name}/file")).unwrap(), data(format!("{name}/pixels")))))
    };
    tensors.names().into_iter().filter_map(case).collect()
}

#[test]
fn files_hold_what_pil_and_tifffile_read_or_are_refused() {
    let (mut read, mut refused) = (0, 0);
    for (name, (file, pixels)) in formats() {
        match (decode_image(&name, &file), pixels) {
            (Ok(image), Some(pixels)) => {
                let found = image.into_raw();
                assert_eq!(found.len(), pixels.len(), "{name}");
                let worst = found.iter().zip(&pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                // Two decoders of JPEG may round their cosines and colors differently.
                assert!(worst <= if name.contains("jpeg") { 2 } else { 0 }, "{name}: {worst}");
                read += 1;
            }
            (Err(error), None) => {
                let error = error.to_string();
                assert!(error.contains("sample") || error.contains("alpha"), "{name}: {error}");
                refused += 1;
            }
            (Ok(_), None) => panic!("{name} was read"),
            (Err(error), Some(_)) => panic!("{error}"),
        }
    }
    assert_eq!((read, refused), (57, 22));
}

#[test]
fn sample_formats_are_named() {
    let formats = formats();
    for (name, said) in [
        ("refused_tiff_rgb_float32", "floating-point samples of the kind RGB(32)"),
        ("refused_tiff_rgb_uint32", "unsigned samples of the kind RGB(32)"),
        ("refused_tiff_gray_int16", "signed samples of the kind Gray(16)"),
        ("refused_tiff_palette", "RGBPalette with bits per sample [8] is unsupported"),
        ("refused_tiff_rgb_12_of_16", "16-bit samples of at most 4095, all but black where 65535 is white"),
        ("refused_tiff_premultiplied", "multiplied by their alpha"),
    ] {
        let error = decode_image(name, &formats[name].0).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn an_orientation_that_is_not_applied_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut samples = Vec::new();
    for (name, (file, _)) in formats() {
        let Some(kind) = name.strip_prefix("turned_") else { continue };
        let (kind, orientation) = kind.split_once('_').unwrap();
        let path = folder.path().join(format!("{name}.{kind}"));
        fs::write(&path, file).unwrap();
        // PIL turns TIFFs alone, which the pixels of the first test show.
        let expected = Some(orientation.parse().unwrap()).filter(|&o| o != 1 && kind != "tiff");
        assert_eq!(exif_orientation(&path).unwrap(), expected, "{name}");
        samples.push(Sample::new(FileImage(path), 0, name));
    }
    let set = ImageSet::new("turned", vec!["a".into()], samples).unwrap();
    let (set, _) = set.verify(OnError::Fail).unwrap();
    assert_eq!(set.notes(), ["14 of 24 images have an EXIF orientation, which is not applied"]);
}

/// A folder with small images of different content at these places.
fn tree(places: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (number, place) in places.iter().enumerate() {
        put(&root.path().join(place), number as u8);
    }
    root
}

fn put(path: &Path, number: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_fn(6, 5, |x, y| Rgb([number, x as u8, y as u8])).save(path).unwrap();
}

#[test]
fn sides_of_a_split_are_no_classes() {
    for sides in [
        ["Train/a/1.png", "Test/a/1.png", "Test/b/1.png"],
        ["train/a/1.png", "VALID/1.png", "other/1.png"],
        ["validation/1.png", "train/1.png", "x/1.png"],
        // One side alone, with class folders.
        ["Training/a/1.png", "Training/b/1.png", "masks/1.png"],
    ] {
        let root = tree(&sides);
        let error = FolderSet::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("expected a folder for each class, found the sides of a split, "), "{error}");
        assert!(error.contains("FolderSplit"), "{error}");
        assert!(FolderSplit::is_at(root.path()).unwrap());
    }
    // Railway images.
    let root = tree(&["bus/1.png", "train/1.png"]);
    assert_eq!(FolderSet::open(root.path()).unwrap().all().classes(), ["bus", "train"]);
    assert!(!FolderSplit::is_at(root.path()).unwrap());
}

#[test]
fn folders_of_a_split_are_read_side_by_side() {
    let mut places: Vec<String> = Vec::new();
    for (side, count) in [("Train", 10), ("valid", 2)] {
        for class in ["a", "b"] {
            places.extend((0..count).map(|number| format!("{side}/{class}/{number}.PNG")));
        }
    }
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    let root = tree(&places);
    let sides = FolderSplit::open(root.path()).unwrap();
    assert_eq!(
        (sides.train().len(), sides.validation().unwrap().len(), sides.test().is_none()),
        (20, 4, true)
    );
    let split = sides.split(0.2, 7).unwrap();
    assert_eq!((split.train.len(), split.validation.len(), split.test.len()), (16, 4, 4));
    assert_eq!(split.record().method, SplitMethod::Folders);
    assert!(split.validation.samples().iter().all(|sample| sample.name.starts_with("valid/")));
    assert!(split.test.samples().iter().all(|sample| sample.name.starts_with("Train/")));
    // The same seed, the same images; every image has its own index.
    let again = sides.split(0.2, 7).unwrap();
    let names = |set: &ImageSet| set.samples().iter().map(|sample| sample.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&split.test), names(&again.test));
    assert_ne!(names(&split.test), names(&sides.split(0.2, 8).unwrap().test));

    for (more, found) in [("valid/c/1.png", r#"["a", "b", "c"]"#), ("Train/c/1.png", r#"["a", "b"]"#)] {
        let root = tree(&[places.as_slice(), &[more]].concat());
        let error = FolderSplit::open(root.path()).unwrap_err().to_string();
        assert!(
            error.contains("valid: expected the classes") && error.ends_with(&format!("found {found}")),
            "{error}"
        );
    }
    let error = FolderSplit::open(tree(&["test/a/1.png", "val/a/1.png"]).path()).unwrap_err().to_string();
    assert!(error.ends_with("expected one folder of training images, found none"), "{error}");
    let twice = tree(&["train/a/1.png", "Training/a/1.png"]);
    let error = FolderSplit::open(twice.path()).unwrap_err().to_string();
    assert!(error.contains("expected one folder of training images, found Training, train"), "{error}");
}

#[test]
fn every_kind_of_damage_is_skipped_and_named() {
    let root = tree(&["a/1.png", "a/2.png", "b/1.JPG"]);
    fs::write(root.path().join("a/empty.png"), "").unwrap();
    fs::write(root.path().join("b/text.png"), "no image at all").unwrap();
    fs::write(root.path().join("b/notes.txt"), "x").unwrap();
    let mut listed = 2;
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/nowhere/at/all.png", root.path().join("b/link.png")).unwrap();
        listed += 1;
    }
    assert!(FolderSet::open(root.path()).is_err());
    let found = FolderSet::options().on_error(OnError::Skip).open(root.path()).unwrap();
    assert_eq!((found.all().len(), found.skipped().len()), (4, listed), "{:?}", found.skipped());
    assert_eq!(found.all().notes(), [format!("{listed} unusable files skipped")]);
    let (left, skipped) = found.all().verify(OnError::Skip).unwrap();
    assert_eq!((left.len(), skipped.len()), (3, 1));
    assert!(skipped[0].path.ends_with("b/text.png"), "{skipped:?}");
}

#[test]
fn breakhis_of_another_magnification_says_what_is_there() {
    let root = tree(&[
        "benign/SOB_B_A-14-22549AB-40-001.PNG",
        "benign/SOB_B_A-14-22549AB-40-002.png",
        "malignant/SOB_M_DC-14-2523-40-001.PNG",
    ]);
    let breakhis = BreakHis::open(root.path()).unwrap();
    assert_eq!(breakhis.magnifications(), BTreeMap::from([(Magnification::X40, 3)]));
    let error = Split::by_image(&breakhis.paper_subset(), [0.8, 0.1, 0.1], 0).unwrap_err().to_string();
    for said in
        ["none of benign, malignant", "0 of the paper's 1547", "images there: 3 at 40X", "BreakHis::all"]
    {
        assert!(error.contains(said), "{said} in {error}");
    }
    assert_eq!(breakhis.all().len(), 3);
}

/// Forty images of two classes.
fn forty() -> (tempfile::TempDir, ImageSet) {
    let places: Vec<String> = (0..40).map(|i| format!("{}/{i:02}.png", ["a", "b"][i % 2])).collect();
    let root = tree(&places.iter().map(String::as_str).collect::<Vec<_>>());
    let images = FolderSet::open(root.path()).unwrap().all();
    (root, images)
}

#[test]
fn images_that_were_trained_on_are_known_under_any_name() {
    let (root, images) = forty();
    let fractions = [0.6, 0.2, 0.2];
    let split = Split::by_image(&images, fractions, 0).unwrap();
    let checkpoint = root.path().join("model.v2.safetensors");
    assert_eq!(TrainingRecord::read_beside(&checkpoint).unwrap(), None);
    let settings = serde_json::json!({ "image_size": 32 });
    TrainingRecord::of(&split).unwrap().with_settings(settings.clone()).write_beside(&checkpoint).unwrap();
    let record = TrainingRecord::read_beside(&checkpoint).unwrap().unwrap();
    assert_eq!((record.train.len(), record.validation.len()), (24, 8));
    assert_eq!((&record.settings, record.split.as_ref().unwrap().seed), (&settings, 0));

    // Renamed, and in another format.
    let copies = tempfile::tempdir().unwrap();
    for (number, sample) in images.samples().iter().enumerate() {
        let image = sample.source.load().unwrap();
        let path = copies
            .path()
            .join(images.classes()[sample.label].as_str())
            .join(format!("copy {}.bmp", 99 - number));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        image.save(path).unwrap();
    }
    let copies = FolderSet::open(copies.path()).unwrap().all();
    let other = Split::by_image(&copies, fractions, 1).unwrap();
    let content = |set: &ImageSet| -> Vec<Vec<u8>> {
        set.samples().iter().map(|sample| sample.source.load().unwrap().as_raw().clone()).collect()
    };
    let (train, validation) = (content(&split.train), content(&split.validation));
    let test = content(&other.test);
    let both = |side: &[Vec<u8>]| test.iter().filter(|image| side.contains(image)).count();
    let seen = record.seen(&other.test).unwrap();
    assert_eq!((seen.images, seen.trained_on.len()), (8, both(&train)));
    assert_eq!(seen.validated_on.len(), both(&validation));
    assert!(!seen.is_clean() && seen.trained_on[0].contains("copy"), "{seen}");
    assert!(seen.to_string().starts_with(&format!("{} of 8 test images were trained on (", both(&train))));

    let again = record.split(&copies).unwrap();
    let sorted = |mut images: Vec<Vec<u8>>| {
        images.sort();
        images
    };
    assert_eq!(sorted(content(&again.test)), sorted(content(&split.test)));
    assert_eq!(sorted(content(&again.train)), sorted(train));
    assert_eq!(again.record().method, SplitMethod::Record);

    // Of two classifiers, what neither has seen.
    let joined = record.clone().joined(&TrainingRecord::of(&other).unwrap()).unwrap();
    let unseen: Vec<Vec<u8>> =
        content(&split.test).into_iter().filter(|image| test.contains(image)).collect();
    match joined.split(&images) {
        Ok(both) => assert_eq!(sorted(content(&both.test)), sorted(unseen)),
        Err(error) => {
            assert!(error.to_string().starts_with("test: expected at least one image of class"), "{error}")
        }
    }
}

#[test]
fn records_of_other_classes_and_other_files_are_refused() {
    let (root, images) = forty();
    let split = Split::by_image(&images, [0.6, 0.2, 0.2], 0).unwrap();
    let record = TrainingRecord::of(&split).unwrap();
    let samples = vec![Sample::new(FileImage(root.path().join("a/00.png")), 0, "x")];
    let swapped = ImageSet::new("swapped", vec!["b".into(), "a".into()], samples).unwrap();
    let error = record.seen(&swapped).unwrap_err().to_string();
    assert_eq!(error, r#"swapped: expected the classes ["a", "b"], found ["b", "a"]"#);
    assert!(record.split(&swapped).is_err() && TrainingRecord::new(&split.train, &swapped).is_err());
    // All that there is was trained on.
    let error = record.split(&split.train).unwrap_err().to_string();
    assert!(error.starts_with("test: expected at least one image of class a"), "{error}");

    let checkpoint = root.path().join("model.pth");
    for text in ["", "{}", r#"{"classes":[],"split":null,"train":["xyz"],"validation":[]}"#] {
        fs::write(TrainingRecord::beside(&checkpoint), text).unwrap();
        let error = TrainingRecord::read_beside(&checkpoint).unwrap_err().to_string();
        assert!(
            error.contains("model.images.json: expected a record of training images, found: "),
            "{error}"
        );
    }
}

#[test]
fn a_changed_file_is_another_image() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.png");
    let set = || {
        ImageSet::new("one", vec!["a".into()], vec![Sample::new(FileImage(path.clone()), 0, "1")]).unwrap()
    };
    png::write(&RgbImage::new(3, 2), &path).unwrap();
    let first = set();
    let before = first.digests().unwrap();
    png::write(&RgbImage::from_pixel(3, 2, Rgb([0, 0, 1])), &path).unwrap();
    assert_eq!(first.subset(&[0]).digests().unwrap(), before, "the set remembers");
    assert_ne!(set().digests().unwrap(), before);
    // A sample that moves into a new set is read again.
    let moved = ImageSet::new("moved", vec!["a".into()], first.samples().to_vec()).unwrap();
    assert_eq!(moved.digests().unwrap(), set().digests().unwrap());
}
