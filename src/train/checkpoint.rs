//! Checkpoints written so that a kill at any moment leaves a whole one, and which of them to keep.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use burn::train::checkpoint::{
    Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::learnable::Shared;
use super::{EpochRecord, History, Overfitting, TrainError};
use crate::file::{PARTIAL, write_whole};

const PARTS: [&str; 3] = ["model", "optimizer", "scheduler"];

/// The folder of a training: `training.json` (settings and history), `checkpoints/PART-EPOCH.bpk` and the
/// checksums of those files, `sums/PART-EPOCH.crc32`.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

/// What `training.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) settings: Value,
    pub(super) epochs: usize,
    pub(super) history: History,
}

impl Folder {
    pub(super) fn create(path: &Path) -> Result<Self, TrainError> {
        let folder = Self(path.to_path_buf());
        let checkpoints = folder.checkpoints();
        fs::create_dir_all(&checkpoints).map_err(file_error(&checkpoints, "a folder that can be written"))?;
        folder.remove(|name| name.starts_with(PARTIAL))?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    fn part(&self, part: &str, epoch: usize) -> PathBuf {
        self.checkpoints().join(format!("{part}-{epoch}.bpk"))
    }

    fn state_path(&self) -> PathBuf {
        self.0.join("training.json")
    }

    /// The state, if a training was started here.
    pub(super) fn state(&self) -> Result<Option<State>, TrainError> {
        let path = self.state_path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file_error(&path, "a training's state")(error)),
        };
        let read = serde_json::from_slice(&text).map_err(|error| error.to_string());
        let whole = read.and_then(|state: State| state.history.check().map(|()| state));
        whole.map(Some).map_err(|found| TrainError::File { path, expected: "a training's state", found })
    }

    pub(super) fn write_state(&self, state: &State) -> Result<(), TrainError> {
        let path = self.state_path();
        let text = serde_json::to_vec_pretty(state).expect("plain data serialises");
        write_whole(&path, &text).map_err(file_error(&path, "a file that can be written"))
    }

    /// The last epoch in the history whose checkpoint can be read.
    pub(super) fn last_whole(&self, history: &History) -> Option<usize> {
        (1..=history.epochs.len()).rev().find(|&epoch| self.is_whole(epoch))
    }

    fn is_whole(&self, epoch: usize) -> bool {
        let [model, optimizer, scheduler] = PARTS.map(|part| self.part(part, epoch));
        read::<ModuleRecord>(&model).is_ok()
            && read::<OptimizerRecord>(&optimizer).is_ok()
            && read::<LrSchedulerRecord>(&scheduler).is_ok()
    }

    /// Epochs with a checkpoint of the model.
    fn saved_epochs(&self) -> Vec<usize> {
        let names = fs::read_dir(self.checkpoints()).into_iter().flatten().flatten();
        let epoch = |name: std::ffi::OsString| {
            name.to_str()?.strip_prefix(PARTS[0])?.strip_prefix('-')?.strip_suffix(".bpk")?.parse().ok()
        };
        names.filter_map(|entry| epoch(entry.file_name())).collect()
    }

    /// Removes the checkpoints of an earlier training.
    pub(super) fn clear(&self) -> Result<(), TrainError> {
        self.remove(|name| name.ends_with(".bpk"))
    }

    fn remove(&self, wanted: impl Fn(&str) -> bool) -> Result<(), TrainError> {
        let checkpoints = self.checkpoints();
        let error = file_error(&checkpoints, "a folder that can be read");
        for entry in fs::read_dir(&checkpoints).map_err(&error)? {
            let entry = entry.map_err(&error)?;
            if entry.file_name().to_str().is_some_and(&wanted) {
                let path = entry.path();
                fs::remove_file(&path).map_err(file_error(&path, "a file that can be removed"))?;
            }
        }
        Ok(())
    }

    pub(super) fn load_model(&self, epoch: usize) -> Result<ModuleRecord, TrainError> {
        let path = self.part(PARTS[0], epoch);
        read(&path).map_err(|error| TrainError::File {
            path: path.clone(),
            expected: "a checkpoint of the model",
            found: error.to_string(),
        })
    }

    /// burn-train's three checkpointers over this folder.
    pub(super) fn checkpointers(&self, shared: &Arc<Shared>) -> [WholeFiles; 3] {
        PARTS.map(|part| WholeFiles { folder: self.clone(), part, shared: shared.clone() })
    }
}

fn file_error(path: &Path, expected: &'static str) -> impl Fn(std::io::Error) -> TrainError {
    let path = path.to_path_buf();
    move |error| TrainError::File { path: path.clone(), expected, found: error.to_string() }
}

/// Reads whole: burn's own file loading is lazy, and the file may be gone when the weights are used.
fn read<R: Checkpoint>(path: &Path) -> Result<R, CheckpointerError> {
    let bytes = fs::read(path).map_err(CheckpointerError::IOError)?;
    // A damaged weight is a weight: nothing else would tell. Earlier versions left no checksums.
    match fs::read_to_string(sum_path(path)) {
        Ok(sum) if sum != checksum(&bytes) => {
            let damaged = "another checksum than that of the file as it was written";
            return Err(CheckpointerError::IOError(std::io::Error::new(ErrorKind::InvalidData, damaged)));
        }
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(CheckpointerError::IOError(error)),
        _ => {}
    }
    R::checkpoint_from_bytes(Bytes::from_bytes_vec(bytes)).map_err(CheckpointerError::Record)
}

/// Where the checksum of a file of the checkpoints is.
fn sum_path(path: &Path) -> PathBuf {
    let checkpoints = path.parent().expect("a file in the folder of checkpoints");
    let name = path.with_extension("crc32");
    checkpoints.with_file_name("sums").join(name.file_name().expect("as the path"))
}

fn checksum(bytes: &[u8]) -> String {
    format!("{:08x}\n", crc32fast::hash(bytes))
}

/// Writes a file of the checkpoints; its checksum goes first, so that after a kill between the two it fits no
/// older file.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write_whole(&sum_path(path), checksum(bytes).as_bytes())?;
    write_whole(path, bytes)
}

/// One part of the checkpoints.
pub(super) struct WholeFiles {
    folder: Folder,
    part: &'static str,
    shared: Arc<Shared>,
}

impl WholeFiles {
    /// Keeps a failure with its path; burn-train's dashboard forgets errors.
    fn keep(&self, epoch: usize, result: Result<(), CheckpointerError>) -> Result<(), CheckpointerError> {
        result.inspect_err(|error| {
            self.shared.fail(TrainError::File {
                path: self.folder.part(self.part, epoch),
                expected: "a checkpoint that can be written",
                found: error.to_string(),
            });
        })
    }
}

impl<R: Checkpoint> Checkpointer<R> for WholeFiles {
    fn save(&self, epoch: usize, record: R) -> Result<(), CheckpointerError> {
        let path = self.folder.part(self.part, epoch);
        let bytes = record.checkpoint_into_bytes().map_err(CheckpointerError::Record);
        self.keep(epoch, bytes.and_then(|bytes| write(&path, &bytes).map_err(CheckpointerError::IOError)))
    }

    fn delete(&self, epoch: usize) -> Result<(), CheckpointerError> {
        let path = self.folder.part(self.part, epoch);
        for path in [sum_path(&path), path] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return self.keep(epoch, Err(CheckpointerError::IOError(error)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn restore(&self, epoch: usize) -> Result<R, CheckpointerError> {
        read(&self.folder.part(self.part, epoch))
    }
}

/// Told of every epoch once its checkpoint is decided.
pub(super) type OnEpoch = Box<dyn FnMut(&EpochRecord, &History) + Send>;

/// Saves every epoch; keeps the last two and the best on validation.
pub(super) struct LastAndBest {
    pub(super) folder: Folder,
    pub(super) settings: Value,
    pub(super) epochs: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) on_epoch: OnEpoch,
}

impl CheckpointingStrategy for LastAndBest {
    fn checkpointing(&mut self, epoch: usize, _store: &EventStoreClient) -> Vec<CheckpointingAction> {
        let mut recorder = self.shared.recorder.lock().expect("no panic while recording");
        let record = recorder.end_epoch(epoch);
        let history = recorder.history.clone();
        drop(recorder);
        (self.on_epoch)(&record, &history);

        // The history goes first: a checkpoint without its history would not be found, the reverse is cut
        // off.
        let state = State { settings: self.settings.clone(), epochs: self.epochs, history };
        if let Err(error) = self.folder.write_state(&state) {
            self.shared.fail(error);
            return Vec::new();
        }
        if state.history.overfitting().is_some() {
            self.shared.interrupter.stop(Some(Overfitting::REASON));
        }
        // The best of the epochs before stays one epoch longer: if this epoch is cut off, it is the best
        // again.
        let before = state.history.best_until(epoch - 1).map(|record| record.epoch);
        let best = state.history.best().map(|record| record.epoch);
        let keep = [Some(epoch), epoch.checked_sub(1), best, before];
        let delete = self.folder.saved_epochs().into_iter().filter(|old| !keep.contains(&Some(*old)));
        std::iter::once(CheckpointingAction::Save).chain(delete.map(CheckpointingAction::Delete)).collect()
    }
}
