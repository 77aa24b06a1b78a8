//! What is finished, on disk: a kill loses the step that it interrupts and nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{AttackRecord, EvaluationError, GradientState, Outcome};
use crate::classifier::Queries;
use crate::file::write_whole;

const SETTINGS: &str = "settings.json";

/// One image without attack.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Clean {
    pub(super) outcome: Outcome,
    pub(super) eight_bit: Option<Outcome>,
    pub(super) gradient: GradientState,
}

/// What a run of an attack took, over all images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Cost {
    pub(super) queries: Queries,
    pub(super) seconds: f64,
    /// Images times budgets.
    pub(super) images: usize,
}

/// A finished step: some images without attack, or under one attack at some of its budgets.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Chunk {
    pub(super) run: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) clean: Vec<(usize, Clean)>,
    /// Position of the budget, position of the image, what became of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) records: Vec<(usize, usize, AttackRecord)>,
    pub(super) cost: Cost,
}

/// Everything that is finished.
#[derive(Default)]
pub(super) struct Journal {
    folder: Option<PathBuf>,
    /// The number of the next file.
    next: usize,
    clean: BTreeMap<usize, Clean>,
    runs: BTreeMap<String, Run>,
}

#[derive(Default)]
struct Run {
    records: BTreeMap<(usize, usize), AttackRecord>,
    cost: Cost,
}

impl Journal {
    /// Goes on with what the folder holds. It is created if it is missing, and refused if it holds another
    /// evaluation's `settings`.
    pub(super) fn open(folder: &Path, settings: &[(&'static str, String)]) -> Result<Self, EvaluationError> {
        let mut journal = Self { folder: Some(folder.into()), ..Self::default() };
        let path = folder.join(SETTINGS);
        let named: BTreeMap<&str, &String> = settings.iter().map(|(what, value)| (*what, value)).collect();
        let text = serde_json::to_vec_pretty(&named).expect("text serialises");
        if !path.exists() {
            write_whole(&path, &text).map_err(|error| state(&path, "a writable file", error))?;
            return Ok(journal);
        }
        let found: BTreeMap<String, String> = read(&path)?;
        for (what, wanted) in settings {
            let found = found.get(*what).map_or("nothing", String::as_str);
            if found != wanted {
                let expected = format!("the same {what} as in the unfinished evaluation, {found}");
                return Err(state(&path, expected, wanted));
            }
        }
        let entries = std::fs::read_dir(folder).map_err(|e| state(folder, "a readable folder", e))?;
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|file| file.extension().is_some_and(|e| e == "json") && *file != path);
        files.sort();
        for file in &files {
            let number = file.file_stem().and_then(|stem| stem.to_str()?.parse::<usize>().ok());
            journal.next = journal.next.max(number.map_or(0, |number| number + 1));
            journal.take_in(read(file)?);
        }
        Ok(journal)
    }

    /// Adds a finished step, on disk first.
    pub(super) fn add(&mut self, chunk: Chunk) -> Result<(), EvaluationError> {
        if let Some(folder) = &self.folder {
            let path = folder.join(format!("{:06}.json", self.next));
            let text = serde_json::to_vec(&chunk).expect("plain data serialises");
            write_whole(&path, &text).map_err(|error| state(&path, "a writable file", error))?;
            self.next += 1;
        }
        self.take_in(chunk);
        Ok(())
    }

    fn take_in(&mut self, chunk: Chunk) {
        self.clean.extend(chunk.clean);
        let run = self.runs.entry(chunk.run).or_default();
        run.cost.queries = run.cost.queries + chunk.cost.queries;
        run.cost.seconds += chunk.cost.seconds;
        run.cost.images += chunk.cost.images;
        run.records
            .extend(chunk.records.into_iter().map(|(budget, image, record)| ((budget, image), record)));
    }

    pub(super) fn clean(&self, image: usize) -> Option<&Clean> {
        self.clean.get(&image)
    }

    pub(super) fn record(&self, run: &str, budget: usize, image: usize) -> Option<&AttackRecord> {
        self.runs.get(run)?.records.get(&(budget, image))
    }

    pub(super) fn cost(&self, run: &str) -> Cost {
        self.runs.get(run).map_or_else(Cost::default, |run| run.cost)
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, EvaluationError> {
    let bytes = std::fs::read(path).map_err(|error| state(path, "a readable file", error))?;
    serde_json::from_slice(&bytes).map_err(|error| state(path, "a file of an unfinished evaluation", error))
}

fn state(path: &Path, expected: impl Into<String>, found: impl ToString) -> EvaluationError {
    EvaluationError::State { path: path.into(), expected: expected.into(), found: found.to_string() }
}
