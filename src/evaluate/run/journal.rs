//! What is finished, on disk: a kill loses the step that it interrupts and nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::shard::Shard;
use crate::evaluate::EvaluationError;
use crate::evaluate::result::{AttackRecord, Cost, GradientState, Outcome};
use crate::file::{FolderLock, IoError, write_whole};

const SETTINGS: &str = "settings.json";
/// Of what the files hold; another one is refused.
const FORMAT: u32 = 3;

/// One image without attack.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Clean {
    pub(crate) outcome: Outcome,
    pub(crate) eight_bit: Outcome,
    pub(crate) gradient: GradientState,
}

impl Clean {
    /// What an attack that does not run leaves.
    pub(crate) fn untouched(&self) -> AttackRecord {
        AttackRecord::untouched(self.outcome, self.eight_bit)
    }
}

/// A finished step: some images without attack, or under one attack at some of its budgets.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Chunk {
    pub(crate) run: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) clean: Vec<(usize, Clean)>,
    /// Position of the budget, position of the image, what became of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) records: Vec<(usize, usize, AttackRecord)>,
    /// Position of the image, what a check noted of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<(usize, Value)>,
    pub(crate) cost: Cost,
}

/// Everything that is finished.
#[derive(Default)]
pub(crate) struct Journal {
    folder: Option<Folder>,
    /// The number of the next file.
    next: usize,
    clean: BTreeMap<usize, Clean>,
    runs: BTreeMap<String, Run>,
}

struct Folder {
    path: PathBuf,
    /// The checksum of the settings: a file from another evaluation's folder is not taken for this one's.
    settings: u32,
    /// They end with the journal.
    _locks: Vec<FolderLock>,
}

/// What decides on the results of a run, as it is written beside them.
struct Settings {
    names: Vec<&'static str>,
    text: Vec<u8>,
    sum: u32,
}

impl Settings {
    fn new(settings: Vec<(&'static str, Value)>) -> Self {
        let always = [("format", FORMAT.into()), ("version", env!("CARGO_PKG_VERSION").into())];
        let settings: Vec<(&'static str, Value)> = always.into_iter().chain(settings).collect();
        let names = settings.iter().map(|(what, _)| *what).collect();
        let all: Value = settings.into_iter().map(|(what, value)| (what.to_string(), value)).collect();
        let text = serde_json::to_vec_pretty(&all).expect("JSON serialises");
        let sum = checksum(0, &text);
        Self { names, text, sum }
    }

    /// Refuses a file with other settings.
    fn expect(&self, path: &Path) -> Result<(), EvaluationError> {
        // Read back as the file is, so that numbers compare as written.
        let wanted: Value = serde_json::from_slice(&self.text).expect("written above");
        let found: Value = read(path)?;
        for what in &self.names {
            if let Some((place, found, wanted)) = difference("", &found[what], &wanted[what]) {
                let at = if place.is_empty() { place } else { format!("at {place} ") };
                let expected = format!("the same {what} as in the unfinished evaluation, {at}{found}");
                return Err(state(path, expected, wanted));
            }
        }
        Ok(())
    }
}

/// Where a shard keeps its work.
struct ShardFolder {
    path: PathBuf,
    shard: Shard,
}

impl ShardFolder {
    fn name(shard: Shard) -> String {
        format!("shard-{}-of-{}", shard.index(), shard.count())
    }

    /// Those in this folder, by name; a folder that is missing has none.
    fn below(folder: &Path) -> Result<Vec<Self>, EvaluationError> {
        let shard = |path: PathBuf| {
            let numbers = path.file_name()?.to_str()?.strip_prefix("shard-")?.split_once("-of-")?;
            let shard = Shard::new(numbers.0.parse().ok()?, numbers.1.parse().ok()?).ok()?;
            path.is_dir().then_some(Self { path, shard })
        };
        let mut found: Vec<Self> = entries(folder)?.into_iter().filter_map(shard).collect();
        found.sort_by_key(|found| (found.shard.count(), found.shard.index()));
        Ok(found)
    }

    /// An image is to be in one shard alone.
    fn expect_count(&self, count: usize) -> Result<(), EvaluationError> {
        let found = self.shard.count();
        match found == count {
            true => Ok(()),
            false => {
                let expected = format!("one of {count} shards, as others in the folder");
                Err(state(&self.path, expected, format!("one of {found}")))
            }
        }
    }
}

#[derive(Default)]
struct Run {
    records: BTreeMap<(usize, usize), AttackRecord>,
    notes: BTreeMap<usize, Value>,
    cost: Cost,
}

impl Chunk {
    /// Nothing finished yet of this run.
    pub(crate) fn of(run: &str) -> Self {
        Self { run: run.into(), ..Self::default() }
    }

    /// Adds what became of the images at these positions with the budget at `place`.
    pub(crate) fn put(&mut self, place: usize, positions: &[usize], records: Vec<AttackRecord>) {
        self.records.extend(positions.iter().zip(records).map(|(&p, record)| (place, p, record)));
    }
}

impl Journal {
    /// Goes on with what the folder holds. It is created if it is missing, and refused if it holds the work
    /// of other `settings`, which are told apart in this order, or of another format, or if another run is at
    /// work in it. A shard works in a folder of its own below, which a run over everything takes in.
    pub(crate) fn open(
        folder: &Path,
        shard: Option<Shard>,
        batch_size: usize,
        settings: Vec<(&'static str, Value)>,
    ) -> Result<Self, EvaluationError> {
        let locked = |path: &Path, lock: fn(&Path) -> Result<FolderLock, IoError>| {
            lock(path).map_err(|error| state(path, error.expected, error.source))
        };
        // Batches of another size would be in two shards, and count twice.
        let of_batches = [settings.clone(), vec![("batch size", batch_size.into())]].concat();
        let (settings, of_shard) = (Settings::new(settings), Settings::new(of_batches));
        let shards = ShardFolder::below(folder)?;
        let Some(shard) = shard else {
            let locks = vec![locked(folder, FolderLock::take)?];
            let mut journal = Self::default();
            if let Some(first) = shards.first() {
                shards.iter().try_for_each(|found| found.expect_count(first.shard.count()))?;
            }
            for found in shards.iter().filter(|found| found.path.join(SETTINGS).exists()) {
                journal.take_in_folder(&found.path, &of_shard)?;
            }
            journal.next = 0;
            return journal.at(folder.into(), &settings, locks);
        };
        shards.iter().try_for_each(|found| found.expect_count(shard.count()))?;
        let mut locks = vec![locked(folder, FolderLock::share)?];
        let whole = folder.join(SETTINGS);
        if whole.exists() {
            let expected = "a folder in which no run over everything has begun";
            return Err(state(&whole, expected, "the settings of one"));
        }
        let path = folder.join(ShardFolder::name(shard));
        locks.push(locked(&path, FolderLock::take)?);
        Self::default().at(path, &of_shard, locks)
    }

    /// Goes on in this folder.
    fn at(
        mut self,
        path: PathBuf,
        settings: &Settings,
        locks: Vec<FolderLock>,
    ) -> Result<Self, EvaluationError> {
        let file = path.join(SETTINGS);
        if file.exists() {
            self.take_in_folder(&path, settings)?;
        } else {
            // Work of unknown settings would be taken for this one's at the next start.
            if !files_beside(&file, &path)?.is_empty() {
                return Err(state(&file, "the settings of the other files in the folder", "none"));
            }
            write_whole(&file, &settings.text).map_err(|error| state(&file, "a writable file", error))?;
        }
        self.folder = Some(Folder { path, settings: settings.sum, _locks: locks });
        Ok(self)
    }

    /// All that is finished in a folder with these settings.
    fn take_in_folder(&mut self, folder: &Path, settings: &Settings) -> Result<(), EvaluationError> {
        let path = folder.join(SETTINGS);
        settings.expect(&path)?;
        for file in files_beside(&path, folder)? {
            let number = file.file_stem().and_then(|stem| stem.to_str()?.parse::<usize>().ok());
            self.next = self.next.max(number.map_or(0, |number| number + 1));
            self.take_in(read_chunk(&file, settings.sum)?);
        }
        Ok(())
    }

    /// Adds a finished step, on disk first.
    pub(crate) fn add(&mut self, chunk: Chunk) -> Result<(), EvaluationError> {
        if let Some(Folder { path, settings, .. }) = &self.folder {
            let path = path.join(format!("{:06}.json", self.next));
            let text = written(&chunk, *settings);
            write_whole(&path, &text).map_err(|error| state(&path, "a writable file", error))?;
            self.next += 1;
        }
        self.take_in(chunk);
        Ok(())
    }

    fn take_in(&mut self, chunk: Chunk) {
        self.clean.extend(chunk.clean);
        let run = self.runs.entry(chunk.run).or_default();
        run.cost += chunk.cost;
        let records = chunk.records.into_iter();
        run.records.extend(records.map(|(budget, image, record)| ((budget, image), record)));
        run.notes.extend(chunk.notes);
    }

    pub(crate) fn clean(&self, image: usize) -> Option<&Clean> {
        self.clean.get(&image)
    }

    pub(crate) fn record(&self, run: &str, budget: usize, image: usize) -> Option<&AttackRecord> {
        self.runs.get(run)?.records.get(&(budget, image))
    }

    /// What a check noted of an image; `None` as well if it is not what this check notes.
    pub(crate) fn note<N: DeserializeOwned>(&self, run: &str, image: usize) -> Option<N> {
        N::deserialize(self.runs.get(run)?.notes.get(&image)?).ok()
    }

    pub(crate) fn cost(&self, run: &str) -> Cost {
        self.runs.get(run).map_or_else(Cost::default, |run| run.cost)
    }
}

/// The other JSON files in the folder, by name; a folder that is missing has none.
fn files_beside(path: &Path, folder: &Path) -> Result<Vec<PathBuf>, EvaluationError> {
    let mut files = entries(folder)?;
    files.retain(|file| file.extension().is_some_and(|e| e == "json") && *file != path);
    files.sort();
    Ok(files)
}

/// What is in a folder; nothing if it is missing.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, EvaluationError> {
    match std::fs::read_dir(folder) {
        Ok(entries) => Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(state(folder, "a readable folder", error)),
    }
}

/// Where two values differ first, and what they are there; what is not there at all is `none`.
fn difference(place: &str, found: &Value, wanted: &Value) -> Option<(String, String, String)> {
    let shown = |value: &Value| if value.is_null() { "none".into() } else { value.to_string() };
    match (found, wanted) {
        _ if found == wanted => None,
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            a.iter().find_map(|(key, value)| difference(&format!("{place}.{key}"), value, &b[key]))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut pairs = a.iter().zip(b).enumerate();
            pairs.find_map(|(i, (a, b))| difference(&format!("{place}[{i}]"), a, b))
        }
        _ => Some((place.trim_start_matches('.').into(), shown(found), shown(wanted))),
    }
}

/// A finished step in one line, and its checksum in another: what a disk or a hand has changed would go into
/// results as if it had been measured.
fn written(chunk: &Chunk, settings: u32) -> Vec<u8> {
    let mut text = serde_json::to_vec(chunk).expect("plain data serialises");
    let sum = checksum(settings, &text);
    text.extend(format!("\n\"{sum:08x}\"\n").into_bytes());
    text
}

fn read_chunk(path: &Path, settings: u32) -> Result<Chunk, EvaluationError> {
    let bytes = bytes_of(path)?;
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (text, sum) = bytes.split_at(end);
    if sum != format!("\n\"{:08x}\"\n", checksum(settings, text)).as_bytes() {
        let expected = "a file of an unfinished evaluation as it was written";
        return Err(state(path, expected, "another checksum than that of its content and the settings"));
    }
    parse(path, text)
}

/// CRC-32, going on from that of something else.
fn checksum(start: u32, bytes: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new_with_initial(start);
    sum.update(bytes);
    sum.finalize()
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, EvaluationError> {
    parse(path, &bytes_of(path)?)
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, EvaluationError> {
    std::fs::read(path).map_err(|error| state(path, "a readable file", error))
}

fn parse<T: DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T, EvaluationError> {
    serde_json::from_slice(text).map_err(|error| state(path, "a file of an unfinished evaluation", error))
}

fn state(path: &Path, expected: impl Into<String>, found: impl ToString) -> EvaluationError {
    EvaluationError::State { path: path.into(), expected: expected.into(), found: found.to_string() }
}
