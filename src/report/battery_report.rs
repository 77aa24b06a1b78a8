//! Several models under a battery of attacks.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ReportError, Versions, read_json};
use crate::evaluate::{Battery, TransferMatrix};
use crate::file::write_whole;

/// Several models under the same battery of attacks on the same images.
///
/// Two runs of the same command are equal but for the batteries' [`timing`](Battery::timing).
///
/// ```
/// use histoguard::data::TensorSet;
/// use histoguard::prelude::*;
/// use histoguard::report::{BatteryModel, BatteryReport, Versions};
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let images = Tensor::<1>::from_floats([0.2, 0.45, 0.6, 0.9], &device).reshape([4, 1, 1, 1]);
/// let data = TensorSet::new(images, vec![0, 0, 1, 1], vec!["dark".into(), "bright".into()])?;
/// let attack = Fgsm::new(Epsilon::unit(0.2));
/// let report = BatteryReport {
///     versions: Versions::current(),
///     configuration: serde_json::json!({}),
///     images: "four plain images".into(),
///     notes: Vec::new(),
///     models: vec![BatteryModel {
///         name: "brightness".into(),
///         battery: Evaluation::new(&victim).attack(attack).battery(&data)?,
///     }],
///     transfer: vec![TransferMatrix::new(&[("brightness", &victim)], &attack, &data, 16)?],
/// };
/// assert!(report.to_markdown().contains("50.0 % [15.0, 85.0] (2/4)"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatteryReport {
    /// What computed it.
    pub versions: Versions,
    /// The options of the run.
    pub configuration: Value,
    /// What the models were tested on, such as `BreakHis 100X, test images`.
    pub images: String,
    /// What a reader should know: missing images, skipped files.
    pub notes: Vec<String>,
    /// The models.
    pub models: Vec<BatteryModel>,
    /// Which model's adversarial images break which other model.
    pub transfer: Vec<TransferMatrix>,
}

/// One model and what the attacks made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatteryModel {
    /// For example `original`.
    pub name: String,
    /// The result.
    pub battery: Battery,
}

impl BatteryReport {
    /// Writes `report.json` and `report.md` into this folder, each whole or not at all, and gives their
    /// paths. The folder is created if it is missing.
    ///
    /// # Errors
    ///
    /// [`ReportError::Io`] if the folder cannot be written to.
    pub fn write(&self, folder: &Path) -> Result<[PathBuf; 2], ReportError> {
        let (json, markdown) = (folder.join("report.json"), folder.join("report.md"));
        let mut text = serde_json::to_vec(self).expect("plain data serialises");
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
    /// [`ReportError::Io`] if it cannot be read, [`ReportError::Json`] if it is not such a report.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        read_json(path)
    }
}
