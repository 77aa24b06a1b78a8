//! Models under attack, with what they were trained and tested on.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::consistent::{check_certification, check_model, check_transfer};
use super::error::ReportError;
use super::gate::Judgment;
use super::history::History;
use crate::evaluate::{CertificationResult, EvaluationResult, Exhibit, TransferMatrix};
use crate::file::write_whole;

/// One or more models under attack on the same images, with what they were trained and tested on.
///
/// Two runs of the same command are equal but for [`timing`](Self::timing) and the results' own.
///
/// ```
/// use histoguard::data::TensorSet;
/// use histoguard::prelude::*;
/// use histoguard::report::{DataSummary, ModelReport, Report};
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let images = Tensor::<1>::from_floats([0.2, 0.45, 0.6, 0.9], &device).reshape([4, 1, 1, 1]);
/// let data = TensorSet::new(images, vec![0, 0, 1, 1], vec!["dark".into(), "bright".into()])?;
/// let result = Evaluation::new(&victim).attack(Fgsm::new(Budget::pixels(51.0))).run(&data)?;
/// let report = Report {
///     models: vec![ModelReport::new("brightness", result)],
///     ..Report::new("Four plain images", DataSummary::of("four plain images"))
/// };
/// assert!(report.to_markdown().contains("50.0 % [15.0, 85.0] (2/4)"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What it is about.
    pub title: String,
    /// What computed it.
    pub versions: Versions,
    /// The options of the run and the configuration of trainings.
    pub configuration: Value,
    /// What the models were trained and tested on.
    pub data: DataSummary,
    /// The models, the one to compare with first.
    pub models: Vec<ModelReport>,
    /// Which model's adversarial images break which other model.
    pub transfer: Vec<TransferMatrix>,
    /// What was required of every model, and whether it is met: see [`Gate`](super::Gate).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<Judgment>,
    /// Durations and dates: what differs between two runs of the same command.
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
    /// What a reader should know: missing images, skipped files.
    pub notes: Vec<String>,
    /// How they were divided, if they were.
    pub split: Option<SplitSummary>,
}

impl DataSummary {
    /// Images of this description, without notes or a split.
    pub fn of(description: impl Into<String>) -> Self {
        Self { description: description.into(), notes: Vec::new(), split: None }
    }
}

/// How images were divided into training, validation and test images; one count a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitSummary {
    /// For example `by image`.
    pub method: String,
    /// The seed of the split.
    pub seed: u64,
    /// Training images of each class.
    pub train: Vec<usize>,
    /// Validation images of each class.
    pub validation: Vec<usize>,
    /// Test images of each class.
    pub test: Vec<usize>,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    /// For example `original` or `Gaussian noise, sigma 0.1`.
    pub name: String,
    /// How its training went, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// How it does without and under attack.
    pub result: EvaluationResult,
    /// How far its answers are proven to hold, if it is smoothed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certification: Option<CertificationResult>,
    /// Images to be looked at, for `report.html` alone: a report that is read back has none.
    #[serde(skip)]
    pub exhibits: Vec<Exhibit>,
}

/// The files of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportFiles {
    /// `report.json`: everything, for programs.
    pub json: PathBuf,
    /// `report.md`: the tables.
    pub markdown: PathBuf,
    /// `report.html`: one page with curves, tables and images, which needs no other file and no network.
    pub html: PathBuf,
}

/// A report as a reader gets it, with the warnings that go with it.
pub(super) struct Rendered {
    pub(super) warnings: Vec<String>,
    pub(super) markdown: String,
    pub(super) html: String,
}

impl ModelReport {
    /// A model of this name, trained elsewhere.
    pub fn new(name: impl Into<String>, result: EvaluationResult) -> Self {
        Self { name: name.into(), history: None, result, certification: None, exhibits: Vec::new() }
    }
}

impl Report {
    /// A report by this build, without models yet.
    pub fn new(title: impl Into<String>, data: DataSummary) -> Self {
        Self {
            title: title.into(),
            versions: Versions::current(),
            configuration: Value::Null,
            data,
            models: Vec::new(),
            transfer: Vec::new(),
            requirements: Vec::new(),
            timing: Value::Null,
        }
    }

    /// Writes `report.json`, `report.md` and `report.html` into this folder, each whole or not at all, and
    /// gives their paths. The folder is created if it is missing. The same report gives the same bytes.
    ///
    /// # Errors
    ///
    /// [`ReportError::Io`] if the folder cannot be written to.
    pub fn write(&self, folder: &Path) -> Result<ReportFiles, ReportError> {
        let (warnings, markdown, html) = (self.warnings(), self.to_markdown(), self.to_html());
        self.write_as(folder, Rendered { warnings, markdown, html })
    }

    pub(super) fn write_as(&self, folder: &Path, rendered: Rendered) -> Result<ReportFiles, ReportError> {
        let Rendered { warnings, markdown, html } = rendered;
        let [json, md, page] = ["report.json", "report.md", "report.html"].map(|name| folder.join(name));
        let mut text =
            serde_json::to_vec_pretty(&Written { report: self, warnings }).expect("plain data serialises");
        text.push(b'\n');
        for (path, text) in [(&json, text), (&md, markdown.into_bytes()), (&page, html.into_bytes())] {
            write_whole(path, &text).map_err(|source| ReportError::unwritable(path, source))?;
        }
        Ok(ReportFiles { json, markdown: md, html: page })
    }

    fn check(&self) -> Result<(), String> {
        for ModelReport { name, result, certification, .. } in &self.models {
            check_model(name, result)?;
            certification.iter().try_for_each(|certification| check_certification(name, certification))?;
        }
        self.transfer.iter().try_for_each(check_transfer)
    }

    /// Reads a `report.json`.
    ///
    /// # Errors
    ///
    /// [`ReportError::Io`] if it cannot be read, [`ReportError::Json`] if it is not a report, or one whose
    /// parts do not fit each other.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let text = std::fs::read_to_string(path).map_err(|source| ReportError::Io {
            path: path.into(),
            expected: "a readable report.json",
            source,
        })?;
        let read = serde_json::from_str(&text).and_then(|report: Self| match report.check() {
            Ok(()) => Ok(report),
            Err(found) => Err(serde::de::Error::custom(found)),
        });
        read.map_err(|source| ReportError::Json { path: path.into(), source })
    }
}

/// The file holds the warnings too, which are computed from the rest.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    report: &'a Report,
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
