//! A process that reads inputs one after the other, so that one that ends it does not end the campaign.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::MEMORY;
use crate::common::failure::Failure;
use crate::common::fault_campaign::input::Input;
use crate::common::fault_campaign::kind::Kind;
use crate::common::fault_campaign::reader::{Answer, Reader};
use crate::common::output::say;

/// More work than this is a fault.
pub const SLOW: Duration = Duration::from_secs(2);
/// Inputs after which counts are told.
const TOLD_AFTER: usize = 200;

/// Which inputs a worker reads: every `step`th from `from` on.
#[derive(Clone, Debug, Args)]
pub struct WorkerOptions {
    #[arg(long)]
    pub from: u64,
    #[arg(long)]
    pub to: u64,
    #[arg(long)]
    pub step: u64,
    #[arg(long, value_enum, value_delimiter = ',')]
    pub kinds: Vec<Kind>,
    #[arg(long)]
    pub milliseconds: Option<u64>,
    /// Where the number of the input that is being read stands.
    #[arg(long)]
    pub position: PathBuf,
}

/// What became of the inputs of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub inputs: u64,
    pub accepted: u64,
    pub refused: u64,
    pub faults: u64,
}

/// An input that was not read as it should be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    pub input: Input,
    pub what: String,
}

/// A line of a worker's.
#[derive(Debug, Serialize, Deserialize)]
pub enum Told {
    Counts(BTreeMap<Kind, Count>),
    Fault(Fault),
    Done,
}

/// Reads the inputs and tells, line by line, what became of them.
pub fn work(options: &WorkerOptions, seed: u64) -> Result<(), Failure> {
    let started = Instant::now();
    let out_of_time =
        || options.milliseconds.is_some_and(|limit| started.elapsed().as_millis() as u64 >= limit);
    let mut position = File::options().write(true).open(&options.position)?;
    let mut readers = BTreeMap::new();
    let mut counts = BTreeMap::<Kind, Count>::new();
    let mut untold = 0;
    quiet();
    for number in (options.from..options.to).step_by(options.step as usize) {
        if out_of_time() {
            break;
        }
        let input = Input::of(&options.kinds, seed, number);
        position.seek(SeekFrom::Start(0))?;
        position.write_all(&number.to_le_bytes())?;
        let reader = match readers.entry(input.kind) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(reader(input.kind)?),
        };
        let (place, bytes) = input.bytes(&reader.seeds, seed);
        let count = counts.entry(input.kind).or_default();
        count.inputs += 1;
        match read(reader, place, &bytes) {
            Ok(Answer::Accepted) => count.accepted += 1,
            Ok(Answer::Refused) => count.refused += 1,
            Err(what) => {
                count.faults += 1;
                tell(&Told::Fault(Fault { input, what }))?;
                // A panic can leave anything behind.
                readers.remove(&input.kind);
            }
        }
        untold += 1;
        if untold >= TOLD_AFTER {
            tell(&Told::Counts(std::mem::take(&mut counts)))?;
            untold = 0;
        }
    }
    tell(&Told::Counts(counts))?;
    tell(&Told::Done)
}

pub fn reader(kind: Kind) -> Result<Reader, Failure> {
    Reader::new(kind).map_err(|error| Failure::wrong(format!("whole {}: {error}", kind.name())))
}

fn tell(told: &Told) -> Result<(), Failure> {
    say(serde_json::to_string(told).expect("plain data serialises"))
}

static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Keeps what panics say, in whichever thread, instead of printing it.
pub fn quiet() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or("somewhere".to_string(), ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("without a word");
        *PANIC.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) =
            Some(format!("panic at {place}: {message}"));
    }));
}

/// What became of an input: an answer, or the fault that it found.
pub fn read(reader: &Reader, place: usize, bytes: &[u8]) -> Result<Answer, String> {
    let (answer, taken) = once(reader, place, bytes)?;
    if taken > SLOW {
        // A machine with other work is slow without a fault: what counts is the work, unless it waits for
        // something.
        let before = worked();
        let (_, again) = once(reader, place, bytes)?;
        let work = worked().saturating_sub(before);
        if work > SLOW || again > 10 * SLOW {
            let [taken, again, work] = [taken, again, work].map(|time| time.as_secs_f64());
            return Err(format!("{taken:.1} s, then {again:.1} s with {work:.1} s of work"));
        }
    }
    Ok(answer)
}

/// The processor's time that this process has used, in hundredths of a second; zero where the system does not
/// say.
fn worked() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the program's name in parentheses; see proc_pid_stat(5), utime and stime.
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    Duration::from_millis(fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}

fn once(reader: &Reader, place: usize, bytes: &[u8]) -> Result<(Answer, Duration), String> {
    let (started, before) = (Instant::now(), MEMORY.current_usage());
    MEMORY.reset_peak_usage();
    let answer = catch_unwind(AssertUnwindSafe(|| reader.read(place, bytes)));
    let taken = started.elapsed();
    // Also one of another thread, which may have become an error.
    if let Some(panic) = PANIC.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take() {
        return Err(panic);
    }
    let used = MEMORY.peak_usage().saturating_sub(before);
    let limit = reader.kind().memory() + 64 * bytes.len();
    if used > limit {
        return Err(format!("{used} bytes of memory for {} of input, more than {limit}", bytes.len()));
    }
    answer.unwrap_or_else(|_| Err("a panic".to_string())).map(|answer| (answer, taken))
}
