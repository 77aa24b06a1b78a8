//! Damaged and hostile files: every one is an error or a network, soon, and in little memory.

mod golden;

use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use histoguard::model::{DenseNet, DenseNetConfig};
use histoguard::weights::{self, Checkpoint, WeightsError};
use peak_alloc::PeakAlloc;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What all tests of this program together may use.
const MEMORY_LIMIT: usize = 1 << 30;

fn fresh() -> DenseNet {
    golden::config().init(&Device::default())
}

/// What loading a file of these bytes answers, on disk and in memory.
fn load(bytes: &[u8]) -> Result<DenseNet, WeightsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile");
    fs::write(&path, bytes).unwrap();
    let in_memory = weights::load(fresh(), Checkpoint::in_memory(&path, bytes));
    let on_disk = weights::load(fresh(), &path);
    match (&on_disk, &in_memory) {
        (Ok(there), Ok(here)) => {
            assert_eq!(weights::fingerprint(there).unwrap(), weights::fingerprint(here).unwrap());
        }
        // burn's reader has words of its own for each.
        (Err(_), Err(_)) if bytes.starts_with(b"NRUB") => {}
        (Err(there), Err(here)) => assert_eq!(there.to_string(), here.to_string()),
        _ => panic!("on disk: {on_disk:?}, in memory: {in_memory:?}"),
    }
    // An architecture or an error, too.
    let _ = weights::densenet_config(&path);
    on_disk
}

/// Asserts that the file is refused with a word on why.
fn refused(bytes: &[u8], why: &str) {
    let error = load(bytes).unwrap_err().to_string();
    assert!(error.contains(why), "expected {why:?}, found {error:?}");
    assert!(MEMORY.peak_usage() < MEMORY_LIMIT);
}

/// Instructions of a pickle, one after the other.
#[derive(Clone, Default)]
struct Pickle(Vec<u8>);

impl Pickle {
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    fn int(self, number: i64) -> Self {
        self.raw(b"\x8a\x08").raw(&number.to_le_bytes())
    }

    fn global(self, module: &str, name: &str) -> Self {
        self.raw(b"c").raw(module.as_bytes()).raw(b"\n").raw(name.as_bytes()).raw(b"\n")
    }

    /// `("storage", torch.FloatStorage, key, "cpu", length)` as a persistent id.
    fn storage(self, key: &str, length: i64) -> Self {
        let id = self.raw(b"(").text("storage").global("torch", "FloatStorage").text(key).text("cpu");
        id.int(length).raw(b"tQ")
    }

    /// A tensor of one storage, `shape` and `strides` being tuples.
    fn tensor(self, length: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Self {
        let tuple = |pickle: Self, sides: &[i64]| {
            sides.iter().fold(pickle.raw(b"("), |pickle, side| pickle.int(*side)).raw(b"t")
        };
        let rebuild = self.global("torch._utils", "_rebuild_tensor_v2").raw(b"(");
        let rebuild = rebuild.storage("0", length).int(offset);
        tuple(tuple(rebuild, shape), strides).raw(b"\x89NtR")
    }

    fn end(self) -> Vec<u8> {
        [b"\x80\x02", self.0.as_slice(), b"."].concat()
    }
}

fn pickle() -> Pickle {
    Pickle::default()
}

/// A file of the format before PyTorch 1.6 with this value, and storages of which each is `(key, elements)`.
fn legacy(value: Pickle, storages: &[(&str, u64)], data: &[u8]) -> Vec<u8> {
    let magic = pickle().raw(b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19").end();
    let machine = pickle().raw(b"}").text("little_endian").raw(b"\x88s").end();
    let keys = storages.iter().fold(pickle().raw(b"]("), |keys, (key, _)| keys.text(key)).raw(b"e").end();
    let mut file = [magic, pickle().raw(b"M\xe9\x03").end(), machine, value.end(), keys].concat();
    for (_, elements) in storages {
        file.extend(elements.to_le_bytes());
        file.extend(data);
    }
    file
}

/// A zip archive of files stored as they are.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    zipped(files, zip::CompressionMethod::Stored)
}

/// A zip archive of compressed files.
fn deflated(files: &[(&str, &[u8])]) -> Vec<u8> {
    zipped(files, zip::CompressionMethod::Deflated)
}

fn zipped(files: &[(&str, &[u8])], method: zip::CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in files {
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// The file with every header of its directory changed.
fn with_headers(mut file: Vec<u8>, change: impl Fn(&mut [u8])) -> Vec<u8> {
    for start in 0..file.len().saturating_sub(46) {
        if file[start..].starts_with(b"PK\x01\x02") {
            change(&mut file[start..start + 46]);
        }
    }
    file
}

#[test]
fn whatever_a_pickle_calls_is_named_and_never_called() {
    let canary = tempfile::tempdir().unwrap();
    let made = canary.path().join("made");
    let command = format!("touch {}", made.display());
    let call = |module, name| pickle().global(module, name).raw(b"(").text(&command).raw(b"tR");
    let new = |module, name| pickle().global(module, name).raw(b"(").text(&command).raw(b"t\x81");
    for (value, why) in [
        (call("os", "system"), "which would call os.system"),
        (call("posix", "system"), "which would call posix.system"),
        (call("builtins", "eval"), "which would call builtins.eval"),
        (call("torch", "load"), "which would call torch.load"),
        (call("torch.storage", "_load_from_bytes"), "which would call torch.storage._load_from_bytes"),
        (new("subprocess", "Popen"), "which would call subprocess.Popen"),
        (
            pickle().text("os").text("system").raw(b"\x93(").text(&command).raw(b"tR"),
            "which would call os.system",
        ),
        (pickle().text("os.system").raw(b"(").text(&command).raw(b"tR"), "a call of a text"),
        (pickle().raw(b"(").text(&command).raw(b"ios\nsystem\n"), "which would call os.system"),
        (pickle().raw(b"(").global("os", "system").text(&command).raw(b"o"), "which would call os.system"),
        (pickle().raw(b"\x82\x01"), "EXT1"),
        (pickle().raw(b"Pos.system\n"), "PERSID"),
        (pickle().raw(b"\xff"), "0xff"),
        (
            pickle()
                .global("torch._tensor", "_rebuild_from_type_v2")
                .raw(b"(")
                .global("os", "system")
                .global("torch", "Tensor")
                .raw(b"(")
                .text(&command)
                .raw(b"tNtR"),
            "which would call os.system",
        ),
        (
            // Beside a state dict.
            pickle().raw(b"}(").text("x").global("os", "system").raw(b"(").text(&command).raw(b"tRu"),
            "which would call os.system",
        ),
    ] {
        refused(&legacy(value.clone(), &[], b""), why);
        refused(&archive(&[("net/data.pkl", &value.end())]), why);
    }
    assert!(!made.exists());
}

#[test]
fn nesting_sharing_and_repetition_come_to_an_end() {
    let lists = pickle().raw(&b"]".repeat(1 << 20)).raw(&b"a".repeat((1 << 20) - 1));
    refused(&legacy(lists, &[], b""), "a file without tensors");

    // Dictionaries in dictionaries, each twice in the next: 2^30 names.
    let doubled = (0..30).fold(pickle().raw(b"}"), |inner, _| {
        inner.raw(b"q\0}(").text("a").raw(b"h\0").text("b").raw(b"h\0u")
    });
    refused(&legacy(doubled, &[], b""), "entries");
    let nested = (0..100).fold(pickle().raw(b"}"), |inner, _| inner.raw(b"q\0}").text("a").raw(b"h\0s"));
    refused(&legacy(nested, &[], b""), "nested deeper");
    // A dictionary in itself.
    refused(&legacy(pickle().raw(b"}q\0").text("a").raw(b"h\0s"), &[], b""), "nested deeper");
    let long = pickle().raw(b"}").text(&"a".repeat(5000)).raw(b"}s");
    refused(&legacy(long, &[], b""), "a name of more than");

    // One list of pairs, made into a dictionary again and again.
    let pairs = pickle().raw(b"](").raw(&b"NN\x86".repeat(1 << 18)).raw(b"eq\0");
    let copies =
        (0..64).fold(pairs, |copies, _| copies.global("collections", "OrderedDict").raw(b"h\0\x85R0"));
    refused(&legacy(copies, &[], b""), "steps");
    refused(&legacy(pickle().raw(&b"N0".repeat(4 << 20)), &[], b""), "steps");
}

#[test]
fn sizes_that_the_file_does_not_have_ask_for_no_memory() {
    let huge = 1i64 << 60;
    for value in [
        pickle().raw(b"\x8d").raw(&huge.to_le_bytes()),
        pickle().raw(b"\x8e").raw(&huge.to_le_bytes()),
        pickle().raw(b"X\xff\xff\xff\x7f"),
        pickle().raw(b"\x8b\xff\xff\xff\x7f"),
    ] {
        refused(&legacy(value, &[], b""), "bytes");
    }
    refused(&legacy(pickle().raw(b"\x8b\xff\xff\xff\xff"), &[], b""), "a number of -1 bytes");
    for (length, offset, shape, strides) in [
        (4, 0, &[5][..], &[1][..]),
        (4, 4, &[1], &[1]),
        (4, 0, &[2, 2], &[3, 1]),
        (huge, 0, &[huge, 64], &[1, 1]),
        (huge, i64::MAX, &[i64::MAX], &[i64::MAX]),
        (i64::MAX, 0, &[i64::MAX], &[2]),
    ] {
        let state = pickle().raw(b"}").text("a").tensor(length, offset, shape, strides).raw(b"s");
        refused(&legacy(state, &[], b""), "a tensor beyond its storage");
    }
    let state = pickle().raw(b"}").text("a").tensor(4, 0, &[1; 9], &[1; 9]).raw(b"s");
    refused(&legacy(state, &[], b""), "more than 8 dimensions");
    let state = pickle().raw(b"}").text("a").tensor(4, -1, &[1], &[1]).raw(b"s");
    refused(&legacy(state, &[], b""), "-1 where a count belongs");

    for elements in [huge as u64, u64::MAX, 5] {
        let state = pickle().raw(b"}").text("a").tensor(4, 0, &[4], &[1]).raw(b"s");
        refused(&legacy(state, &[("0", elements)], &[0; 16]), "more than the file has");
    }
    refused(b"\0\0\0\0\x01\0\0\0{", "a header of");
    refused(b"\xff\xff\xff\x7f\0\0\0\0{", "a header of");
    refused(b"NRUB\x01\0\xff\xff\xff\x05", "a description of 100663295 bytes in a burnpack of 10");
    refused(b"NRUB\x01\0\xff\xff\xff\xff", "found");
}

/// The state dict of the golden network, but that a tensor of it is this one.
fn replacing(name: &str, tensor: impl Fn(Pickle) -> Pickle, data: &[u8]) -> Vec<u8> {
    let state = tensor(pickle().raw(b"}").text(name)).raw(b"s").end();
    archive(&[("net/data.pkl", &state), ("net/data/0", data)])
}

#[test]
fn storages_hold_what_their_tensors_need() {
    // A network of one tensor, so that its data is asked for.
    #[derive(burn::module::Module, Debug)]
    struct One {
        weight: burn::module::Param<burn::tensor::Tensor<1>>,
    }
    impl weights::Checkpointed for One {}
    let one = |bytes: &[u8]| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one");
        fs::write(&path, bytes).unwrap();
        let zeros = burn::tensor::Tensor::zeros([4], &Device::default());
        weights::load(One { weight: burn::module::Param::from_tensor(zeros) }, path)
    };
    let state = |data: &[u8]| replacing("weight", |state| state.tensor(4, 0, &[4], &[1]), data);
    let values: Vec<u8> = [1f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let loaded = one(&state(&values)).unwrap().weight.val().into_data().try_into_vec::<f32>().unwrap();
    assert_eq!(loaded, [1.0, 2.0, 3.0, 4.0]);
    let why = |bytes: &[u8]| one(bytes).unwrap_err().to_string();
    assert!(why(&state(&values[..12])).contains("a storage 0 of 12 bytes, too few"));
    let absent = archive(&[(
        "net/data.pkl",
        &pickle().raw(b"}").text("weight").tensor(4, 0, &[4], &[1]).raw(b"s").end(),
    )]);
    assert!(why(&absent).contains("no \"net/data/0\""), "{}", why(&absent));
    // A flipped bit, which the archive's checksum shows.
    let whole = state(&values);
    let place = whole.windows(16).position(|window| window == values).unwrap();
    let mut flipped = whole.clone();
    flipped[place] ^= 1;
    assert!(why(&flipped).contains("checksum"), "{}", why(&flipped));
    // The same compressed, and a few elements all over a bomb.
    let pickle_of =
        |length, stride| pickle().raw(b"}").text("weight").tensor(length, 0, &[4], &[stride]).raw(b"s").end();
    let parts = |pickle: &[u8], data: &[u8]| deflated(&[("net/data.pkl", pickle), ("net/data/0", data)]);
    let loaded = one(&parts(&pickle_of(4, 1), &values)).unwrap().weight.val().into_data();
    assert_eq!(loaded.try_into_vec::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    assert!(why(&parts(&pickle_of(4, 1), &values[..12])).contains("too few"));
    let bomb = parts(&pickle_of(1 << 28, 1 << 26), &vec![0; 1 << 20]);
    assert!(why(&bomb).contains("spread over"), "{}", why(&bomb));
    // A storage's name is a name, not a path.
    let outside = pickle().raw(b"}").text("weight").global("torch._utils", "_rebuild_tensor_v2").raw(b"(");
    let outside =
        outside.storage("../../../etc/passwd", 4).int(0).int(4).raw(b"\x85").int(1).raw(b"\x85\x89NtRs");
    assert!(
        why(&archive(&[("net/data.pkl", &outside.end())])).contains("no \"net/data/../../../etc/passwd\"")
    );
}

#[test]
fn archives_stay_inside_themselves() {
    let value = pickle().raw(b"}").end();
    let outside =
        ["../data.pkl", "a/../data.pkl", "/a/data.pkl", "a\\..\\data.pkl", "C:/data.pkl", "a//data.pkl"];
    for name in outside {
        // The writer would not write such a name.
        let inside = "x".repeat(name.len());
        let mut file = archive(&[(&inside, &value)]);
        for place in 0..file.len() - name.len() {
            if file[place..].starts_with(inside.as_bytes()) {
                file[place..place + name.len()].copy_from_slice(name.as_bytes());
            }
        }
        refused(&file, "outside of it");
    }
    refused(&archive(&[("a/data.pkl", &value), ("b/data.pkl", &value)]), "several data.pkl");
    refused(&archive(&[("a/data.txt", &value)]), "without PyTorch's data.pkl");
    refused(&archive(&[("a/data.pkl", &value), ("a/constants.pkl", &value)]), "TorchScript");
    refused(&archive(&[("a/data.pkl", &value), ("a/byteorder", b"big")]), "little-endian");
    let file = archive(&[("a/data.pkl", &value), ("a/data/0", &[0; 64])]);
    // The method, the sizes, and the place of each file.
    load(&with_headers(file.clone(), |header| header[10] = 8)).unwrap_err();
    refused(&with_headers(file.clone(), |header| header[10] = 12), "compressed by other than deflate");
    refused(&with_headers(file.clone(), |header| header[8] |= 1), "encrypted");
    let small = deflated(&[("a/data.pkl", &value)]);
    let claim = |header: &mut [u8]| header[24..28].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
    refused(&with_headers(small.clone(), claim), "a data.pkl of 2147483647 bytes");
    let claim = |header: &mut [u8]| header[24..28].copy_from_slice(&0x00ff_ffffu32.to_le_bytes());
    refused(&with_headers(small, claim), "");
    refused(
        &with_headers(file.clone(), |header| {
            header[20..24].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
            header[24..28].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
        }),
        "more bytes than",
    );
    load(&with_headers(file.clone(), |header| header[42..46].copy_from_slice(&u32::MAX.to_le_bytes())))
        .unwrap_err();
    load(&with_headers(file, |header| header[28..30].copy_from_slice(&u16::MAX.to_le_bytes()))).unwrap_err();
    refused(b"PK\x03\x04", "");
    refused(&[b"PK\x03\x04".as_slice(), &[0; 100_000]].concat(), "");
}

#[test]
fn a_failed_load_of_a_damaged_file_leaves_the_network_as_it_was() {
    let net = weights::load(fresh(), golden::path("densenet_tiny.pth")).unwrap();
    let weights_of = |net: &DenseNet| net.classifier.weight.val().into_data();
    let before = weights_of(&net);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.pth");
    let mut bytes = fs::read(golden::path("densenet_tiny.pth")).unwrap();
    let mut archive = ZipArchive::new(Cursor::new(bytes.clone())).unwrap();
    let storage = archive.by_name("densenet_tiny/data/9").unwrap();
    bytes[storage.data_start().unwrap() as usize] ^= 0x10;
    fs::write(&path, bytes).unwrap();
    weights::load(net.clone(), &path).unwrap_err();
    assert_eq!(weights_of(&net), before);
}

/// The network of each golden file, and the file's bytes.
fn seeds() -> Vec<(DenseNetConfig, Vec<u8>)> {
    let mut files: Vec<_> =
        fs::read_dir(golden::path("checkpoints")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let is_checkpoint =
        |path: &Path| !path.ends_with("expected.json") && !path.ends_with("images.safetensors");
    let seeds = files.into_iter().filter(|path| is_checkpoint(path)).map(|path| {
        let grey = path.file_name().unwrap().to_str().unwrap().starts_with("xrv");
        let (classes, channels) = if grey { (18, 1) } else { (3, 3) };
        let config = DenseNetConfig { num_classes: classes, in_channels: channels, ..golden::config() };
        (config, fs::read(path).unwrap())
    });
    seeds.collect()
}

/// A few changes: flipped bits, bytes that stand for instructions or for extreme sizes, cuts, repetitions.
fn mutate(bytes: &mut Vec<u8>, rng: &mut impl Rng) {
    const WORDS: [&[u8]; 24] = [
        b"(",
        b".",
        b"0",
        b"1",
        b"2",
        b"N",
        b"R",
        b"b",
        b"e",
        b"u",
        b"s",
        b"t",
        b"h\0",
        b"q\0",
        b"\x81",
        b"Q",
        b")",
        b"]",
        b"}",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"cos\nsystem\n",
        b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\xff\xff\xff\xff",
        b"PK\x05\x06",
    ];
    for _ in 0..rng.random_range(1..5) {
        if bytes.is_empty() {
            return;
        }
        // Most of what a file says of itself is at its beginning and end.
        let end = [bytes.len(), bytes.len().min(4096)][rng.random_range(0..2)];
        let place = match rng.random_range(0..3) {
            0 => bytes.len() - end.min(1024) + rng.random_range(0..end.min(1024)),
            _ => rng.random_range(0..end),
        };
        let length = rng.random_range(0..64).min(bytes.len() - place);
        match rng.random_range(0..6) {
            0 => bytes[place] ^= 1 << rng.random_range(0..8),
            1 => bytes.truncate(place),
            2 => drop(bytes.drain(place..place + length)),
            3 => {
                let copy = bytes[place..place + length].to_vec();
                let to = rng.random_range(0..=bytes.len());
                bytes.splice(to..to, copy);
            }
            4 => {
                let word = WORDS[rng.random_range(0..WORDS.len())];
                bytes.splice(place..place, word.iter().copied());
            }
            _ => {
                let word = WORDS[rng.random_range(0..WORDS.len())];
                let over = word.len().min(bytes.len() - place);
                bytes[place..place + over].copy_from_slice(&word[..over]);
            }
        }
    }
}

/// A zip archive with a changed pickle and a right checksum; another file with a change anywhere.
fn mutated(bytes: &[u8], rng: &mut impl Rng) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let Ok(mut whole) = ZipArchive::new(Cursor::new(bytes)) else {
        mutate(&mut changed, rng);
        return changed;
    };
    if rng.random_range(0..3) == 0 {
        mutate(&mut changed, rng);
        return changed;
    }
    let mut files = Vec::new();
    for index in 0..whole.len() {
        let mut file = whole.by_index(index).unwrap();
        let (name, mut content) = (file.name().unwrap().into_owned(), Vec::new());
        file.read_to_end(&mut content).unwrap();
        if name.ends_with("data.pkl") {
            mutate(&mut content, rng);
        }
        files.push((name, content));
    }
    archive(&files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect::<Vec<_>>())
}

/// `HISTOGUARD_MUTATIONS=10000 cargo test --release --test weights_hostile -- --nocapture` tries more of
/// them.
#[test]
fn mutated_files_are_errors_or_networks_in_little_memory() {
    let count = std::env::var("HISTOGUARD_MUTATIONS").map_or(400, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mutated");
    let seeds = seeds();
    let (mut slowest, mut most, mut loaded) = (Duration::ZERO, 0, 0);
    for index in 0..count {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(index);
        let (config, bytes) = &seeds[index as usize % seeds.len()];
        fs::write(&path, mutated(bytes, rng)).unwrap();
        let net = config.init(&Device::default());
        let (before, start) = (MEMORY.current_usage(), Instant::now());
        MEMORY.reset_peak_usage();
        loaded += usize::from(weights::load(net, &path).is_ok());
        slowest = slowest.max(start.elapsed());
        most = most.max(MEMORY.peak_usage().saturating_sub(before));
        assert!(most < MEMORY_LIMIT, "mutation {index}: {most} bytes");
    }
    println!("{count} mutations, {loaded} still load, slowest {slowest:?}, most memory {most} bytes");
    assert!(loaded > 0 && loaded < count as usize);
}
