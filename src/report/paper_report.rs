//! Everything that one run of the paper's experiment found.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{History, ReportError};
use crate::evaluate::Robustness;
use crate::file::write_whole;

/// Everything that one run of the paper's experiment found: the original model, the defence, and what both
/// were trained and tested on.
///
/// Two runs of the same command are equal but for [`timing`](Self::timing).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PaperReport {
    /// What computed it.
    pub versions: Versions,
    /// The options of the run and the configuration of both trainings.
    pub configuration: Value,
    /// The seed of the split, the initial weights and all noise.
    pub seed: u64,
    /// What the models were trained and tested on.
    pub data: DataSummary,
    /// The model trained on the images as they are.
    pub original: ModelReport,
    /// The model trained with the defence.
    pub defence: ModelReport,
    /// Durations and dates: the only part that differs between two runs of the same command.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub timing: Value,
}

/// Versions of what computed a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// This crate's.
    pub histoguard: String,
    /// The burn release that this crate is built for.
    pub burn: String,
}

impl Versions {
    /// Those of this build.
    pub fn current() -> Self {
        Self { histoguard: env!("CARGO_PKG_VERSION").into(), burn: BURN_VERSION.into() }
    }
}

/// burn does not tell its own version; a test holds this to Cargo.toml.
const BURN_VERSION: &str = "0.22.1";

/// What the models were trained and tested on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSummary {
    /// For example `BreakHis 100X, all benign subtypes and ductal carcinoma`.
    pub description: String,
    /// Whether the images were drawn, not photographed.
    pub synthetic: bool,
    /// What a reader should know: missing images, skipped files.
    pub notes: Vec<String>,
    /// Names of the classes; the last one is the positive one.
    pub classes: Vec<String>,
    /// How they were divided.
    pub split: SplitSummary,
}

/// How images were divided into training, validation and test images; one count a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitSummary {
    /// For example `by image`.
    pub method: String,
    /// Training images of each class.
    pub train: Vec<usize>,
    /// Validation images of each class.
    pub validation: Vec<usize>,
    /// Test images of each class.
    pub test: Vec<usize>,
    /// Slides on both sides; `None` if it is not known which images share a slide.
    pub leakage: Option<Leakage>,
}

/// Slides or patients with images in the training set and in the test set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leakage {
    /// Slides in the test set.
    pub test_groups: usize,
    /// Those of them that have training images too.
    pub shared_groups: usize,
    /// Test images of those slides.
    pub test_images: usize,
}

/// One trained model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    /// For example `original` or `Gaussian noise, sigma 0.1`.
    pub name: String,
    /// How its training went.
    pub history: History,
    /// How it does without and under attack.
    pub robustness: Robustness,
}

impl PaperReport {
    /// Writes `report.json` and `report.md` into this folder, each whole or not at all, and gives their
    /// paths. The folder is created if it is missing.
    ///
    /// # Errors
    ///
    /// [`ReportError::Io`] if the folder cannot be written to.
    pub fn write(&self, folder: &Path) -> Result<[PathBuf; 2], ReportError> {
        let (json, markdown) = (folder.join("report.json"), folder.join("report.md"));
        let mut text = serde_json::to_vec_pretty(&Written { report: self, warnings: self.warnings() })
            .expect("plain data serialises");
        text.push(b'\n');
        for (path, text) in [(&json, text), (&markdown, self.to_markdown().into_bytes())] {
            write_whole(path, &text).map_err(|source| ReportError::unwritable(path, source))?;
        }
        Ok([json, markdown])
    }

    /// Reads a `report.json`.
    ///
    /// # Errors
    ///
    /// [`ReportError::Io`] if it cannot be read, [`ReportError::Json`] if it is not a report.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        read_json(path)
    }
}

/// Reads a report.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ReportError> {
    let text = std::fs::read_to_string(path).map_err(|source| ReportError::Io {
        path: path.into(),
        expected: "a readable report.json",
        source,
    })?;
    serde_json::from_str(&text).map_err(|source| ReportError::Json { path: path.into(), source })
}

/// The file holds the warnings too, which are computed from the rest.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    report: &'a PaperReport,
    warnings: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burn_version_is_the_one_in_the_manifest() {
        let manifest = include_str!("../../Cargo.toml");
        assert!(manifest.contains(&format!("burn = {{ version = \"{BURN_VERSION}\"")));
    }
}
