//! What is killed and starved: small runs of this program's own, and the other examples.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use flate2::Compression;
use flate2::write::GzEncoder;
use histoguard::data::{decode_image, png};
use image::RgbImage;
use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::failure::Failure;
use crate::common::fault_campaign::seeds;
use crate::common::fault_campaign::server::slow_server;

/// A run that leaves files and goes on after a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// A small network's training, and its weights.
    Training,
    /// An evaluation, a transfer matrix and a certification of a small network, and their report.
    Battery,
    /// A report with its tables and figures, of results that are there.
    Report,
    /// A file and an archive from a slow server, and what is in it.
    Download,
    /// The example `train`.
    TrainExample,
    /// The example `battery`.
    BatteryExample,
    /// The example `reproduce_paper`.
    PaperExample,
}

/// Files by their place.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What the subjects need beside their own folder.
pub struct Stage {
    pub folder: TempDir,
    address: SocketAddr,
}

impl Subject {
    /// Those that take seconds.
    pub const SMALL: [Self; 4] = [Self::Training, Self::Battery, Self::Report, Self::Download];

    pub fn name(self) -> String {
        self.to_possible_value().expect("no subject is hidden").get_name().to_string()
    }

    /// The program that works in this folder, or goes on there.
    pub fn command(self, stage: &Stage, out: &Path) -> Result<Command, Failure> {
        let mut command = match self {
            Self::TrainExample => example("train")?,
            Self::BatteryExample => example("battery")?,
            Self::PaperExample => example("reproduce_paper")?,
            _ => Command::new(std::env::current_exe()?),
        };
        match self {
            Self::TrainExample => {
                command.arg("--data").arg(stage.pictures()?).arg("--out").arg(out.join("model.safetensors"));
                command.args(["--epochs", "2", "--image-size", "32", "--batch-size", "4", "--resume"]);
            }
            Self::BatteryExample => {
                command.arg(stage.checkpoint()?).args(["--images", "40", "--image-size", "32"]);
                command.args(["--attacks", "fgsm,pgd", "--epsilons", "1,4", "--norm", "linf"]);
                command.args(["--check-images", "2", "--out"]).arg(out);
            }
            Self::PaperExample => {
                command.args(["--images", "40", "--image-size", "32", "--epochs", "1", "--batch-size", "8"]);
                command.args(["--epsilons", "1", "--resume", "--out"]).arg(out);
            }
            _ => {
                command
                    .args(["work", &self.name(), "--address", &stage.address.to_string(), "--out"])
                    .arg(out);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(command)
    }

    /// The files that the run is for, without times and dates; unfinished work is none.
    pub fn result(self, out: &Path) -> Result<Files, Failure> {
        let mut result = BTreeMap::new();
        for path in files(out)? {
            let place = path.strip_prefix(out).expect("found below it").to_path_buf();
            let unfinished =
                ["unfinished", "training", "model.training"].iter().any(|name| place.starts_with(name));
            // The tables and the page are those of the JSON, with durations among them.
            let tables = path.extension().is_some_and(|ending| ending == "md" || ending == "html");
            if unfinished || tables || hidden(&path) {
                continue;
            }
            let bytes = fs::read(&path)?;
            let bytes = match path.extension().is_some_and(|ending| ending == "json") {
                true => {
                    let mut value = serde_json::from_slice(&bytes)
                        .map_err(|error| Failure::wrong(format!("{}: {error}", path.display())))?;
                    without_times(&mut value);
                    serde_json::to_vec(&value)?
                }
                false => bytes,
            };
            result.insert(place, bytes);
        }
        Ok(result)
    }

    /// A file below the folder that is there, but not whole.
    pub fn half_written(self, out: &Path) -> Result<Option<String>, Failure> {
        for path in files(out)?.into_iter().filter(|path| !hidden(path)) {
            let bytes = fs::read(&path)?;
            let fault = match path.extension().and_then(|ending| ending.to_str()) {
                // A step of a journal has its checksum in a second line.
                Some("json") => {
                    let mut values = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
                    let whole =
                        values.next().is_some_and(|first| first.is_ok()) && values.all(|value| value.is_ok());
                    (!whole).then(|| "no JSON".to_string())
                }
                Some("png") if !path.starts_with(out.join("set")) => {
                    decode_image(&path, &bytes).err().map(|error| error.to_string())
                }
                Some("safetensors") => SafeTensors::deserialize(&bytes).err().map(|error| error.to_string()),
                Some("md") => (!bytes.ends_with(b"\n")).then(|| "no end".to_string()),
                Some("html") => (!bytes.trim_ascii_end().ends_with(b"</html>")).then(|| "no end".to_string()),
                Some("bin") => (bytes != file()).then(|| "another file".to_string()),
                _ => None,
            };
            if let Some(fault) = fault {
                return Ok(Some(format!("{} is not whole: {fault}", path.display())));
            }
        }
        let unpacked = out.join("set");
        let complete = !unpacked.exists() || files(&unpacked)?.len() == UNPACKED;
        Ok((!complete).then(|| format!("{} is not whole", unpacked.display())))
    }
}

/// Files in the archive.
const UNPACKED: usize = 40;

/// The file that is downloaded.
pub fn file() -> Vec<u8> {
    seeds::downloaded().repeat(60)
}

/// An archive with some files.
pub fn archive() -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for number in 0..UNPACKED {
        let mut header = tar::Header::new_gnu();
        header.set_size(3000);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("{number}.png"), seeds::downloaded().as_slice())?;
    }
    tar.into_inner()?.finish()
}

impl Stage {
    pub fn new() -> Result<Self, Failure> {
        let bytes = [file(), archive()?];
        let both = slow_server(bytes, 8 << 10, Duration::from_millis(4))?;
        Ok(Self { folder: tempfile::tempdir()?, address: both })
    }

    /// Pictures of two classes to train on.
    fn pictures(&self) -> Result<PathBuf, Failure> {
        let root = self.folder.path().join("pictures");
        for (class, shade) in [("dark", 60), ("light", 190)] {
            for number in 0..10u8 {
                let path = root.join(class).join(format!("{number}.png"));
                if !path.exists() {
                    png::write(&RgbImage::from_pixel(36, 36, image::Rgb([shade + number; 3])), &path)?;
                }
            }
        }
        Ok(root)
    }

    /// A DenseNet-121 to attack.
    fn checkpoint(&self) -> Result<PathBuf, Failure> {
        use histoguard::prelude::*;
        let path = self.folder.path().join("net.safetensors");
        if !path.exists() {
            let net = DenseNetConfig::densenet121(2).init_seeded(&Device::default(), 0);
            weights::save_safetensors(&net, &path)?;
        }
        Ok(path)
    }
}

/// Another example, built beside this one.
fn example(name: &str) -> Result<Command, Failure> {
    let this = std::env::current_exe()?;
    let program = this.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    match program.is_file() {
        true => Ok(Command::new(program)),
        false => Err(Failure::wrong(format!(
            "{}: expected the example beside this one, found none: cargo build --examples makes it",
            program.display()
        ))),
    }
}

/// What is not whole yet, and what is locked.
fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// All files below a folder, in the order of their paths; none below one that is not there or not whole yet.
pub fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut waiting, mut found) = (vec![folder.to_path_buf()], Vec::new());
    while let Some(next) = waiting.pop().filter(|next| next.exists()) {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            match path.is_dir() {
                true if !hidden(&path) => waiting.push(path),
                true => {}
                false => found.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Durations stand under these keys.
fn without_times(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.retain(|key, _| !["timing", "seconds"].contains(&key.as_str()));
            entries.values_mut().for_each(without_times);
        }
        Value::Array(entries) => entries.iter_mut().for_each(without_times),
        _ => {}
    }
}

/// The last lines that a run said, in one.
pub fn told(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}

/// Lets a run come to its end in this folder.
pub fn finish(stage: &Stage, subject: Subject, out: &Path) -> Result<(), Failure> {
    let output = subject.command(stage, out)?.output()?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let name = subject.name();
            Err(Failure::wrong(format!("{name} ended with {}: {}", output.status, told(&output.stderr))))
        }
    }
}

/// The first file in which two results differ.
pub fn differ(expected: &Files, found: &Files) -> Option<String> {
    let all = expected.keys().chain(found.keys());
    let mut other = all.filter(|path| expected.get(*path) != found.get(*path));
    other.next().map(|path| path.display().to_string())
}
