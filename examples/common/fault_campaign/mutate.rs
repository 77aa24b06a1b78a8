//! Damaged files, fed to worker processes and counted.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::common::failure::Failure;
use crate::common::fault_campaign::input::Input;
use crate::common::fault_campaign::kind::Kind;
use crate::common::fault_campaign::worker::{self, Count, Fault, Told};
use crate::common::output::{note, say};

/// After so long on one input a worker is ended.
const HANGING: Duration = Duration::from_secs(60);
/// Faults that are printed; all are counted.
const PRINTED: usize = 40;

/// Feeds damaged files to everything that reads any, and says which were not refused or read as they should
/// be.
#[derive(Clone, Debug, Args)]
pub struct MutateOptions {
    /// How many inputs.
    #[arg(long, default_value_t = 1_000_000)]
    pub inputs: u64,
    /// End after so many seconds, however many inputs are left.
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Which kinds of files.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Kind::ALL)]
    pub kind: Vec<Kind>,
    /// Processes [default: one a core].
    #[arg(long)]
    pub jobs: Option<NonZero<u64>>,
    /// Read one input alone, as KIND:NUMBER with the campaign's --seed, and say what becomes of it.
    #[arg(long)]
    pub replay: Option<Input>,
    /// Where to write the replayed input.
    #[arg(long, requires = "replay")]
    pub keep: Option<PathBuf>,
}

/// Runs the campaign; how many faults it found.
pub fn mutate(options: &MutateOptions, seed: u64) -> Result<u64, Failure> {
    if let Some(input) = options.replay {
        return replay(options, input, seed);
    }
    let started = Instant::now();
    let cores = || thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let jobs = options.jobs.map_or_else(cores, NonZero::get);
    let results: Vec<Result<Tally, Failure>> = thread::scope(|scope| {
        let running: Vec<_> =
            (0..jobs).map(|job| scope.spawn(move || Job { options, seed, jobs, started }.run(job))).collect();
        running.into_iter().map(|job| job.join().expect("a job does not panic")).collect()
    });
    let mut all = Tally::default();
    for tally in results {
        let Tally { counts, faults } = tally?;
        for (kind, count) in counts {
            all.add(kind, count);
        }
        all.faults.extend(faults);
    }
    all.faults.sort_by_key(|fault| fault.input.number);
    for Fault { input, what } in all.faults.iter().take(PRINTED) {
        say(format_args!("fault: mutate --seed {seed} --replay {input}: {what}"))?;
    }
    for (kind, Count { inputs, accepted, refused, faults }) in &all.counts {
        let name = kind.name();
        say(format_args!(
            "{name:<12} {inputs:>9} inputs, {accepted:>8} read, {refused:>9} refused, {faults:>4} faults"
        ))?;
    }
    let inputs: u64 = all.counts.values().map(|count| count.inputs).sum();
    let (seconds, faults) = (started.elapsed().as_secs_f64(), all.faults.len());
    say(format_args!("mutate: {inputs} inputs from seed {seed} in {seconds:.0} s, {faults} faults"))?;
    Ok(faults as u64)
}

fn replay(options: &MutateOptions, input: Input, seed: u64) -> Result<u64, Failure> {
    let reader = worker::reader(input.kind)?;
    let (place, bytes) = input.bytes(&reader.seeds, seed);
    say(format_args!("{input} from {:?}, {} bytes", reader.seeds[place].name, bytes.len()))?;
    if let Some(path) = &options.keep {
        std::fs::write(path, &bytes)?;
    }
    worker::quiet();
    match worker::read(&reader, place, &bytes) {
        Ok(answer) => say(format_args!("{answer:?}")).map(|()| 0),
        Err(what) => say(format_args!("fault: {what}")).map(|()| 1),
    }
}

#[derive(Default)]
struct Tally {
    counts: BTreeMap<Kind, Count>,
    faults: Vec<Fault>,
}

impl Tally {
    fn add(&mut self, kind: Kind, more: Count) {
        let count = self.counts.entry(kind).or_default();
        count.inputs += more.inputs;
        count.accepted += more.accepted;
        count.refused += more.refused;
        count.faults += more.faults;
    }
}

/// Every `jobs`th input, in one worker process after the other.
struct Job<'a> {
    options: &'a MutateOptions,
    seed: u64,
    jobs: u64,
    started: Instant,
}

impl Job<'_> {
    fn run(&self, job: u64) -> Result<Tally, Failure> {
        let position = tempfile::NamedTempFile::new()?;
        let (mut tally, mut from) = (Tally::default(), job);
        loop {
            std::fs::write(position.path(), u64::MAX.to_le_bytes())?;
            let mut child = self.spawn(from, position.path())?;
            let ended = self.listen(&mut child, position.path(), &mut tally)?;
            let status = child.wait()?;
            let Some(number) = number_at(position.path()) else {
                return match ended {
                    Ended::Done => Ok(tally),
                    _ => Err(Failure::wrong(format!("a worker ended before its first input: {status}"))),
                };
            };
            let input = Input::of(&self.options.kind, self.seed, number);
            let what = match ended {
                Ended::Done => return Ok(tally),
                Ended::Hanging => format!("longer than {} s", HANGING.as_secs()),
                Ended::Died => format!("the process ended: {status}"),
            };
            note(format_args!("{input}: {what}"));
            tally.add(input.kind, Count { inputs: 1, faults: 1, ..Count::default() });
            tally.faults.push(Fault { input, what });
            from = number + self.jobs;
        }
    }

    fn spawn(&self, from: u64, position: &Path) -> Result<Child, Failure> {
        let Self { options, seed, jobs, started } = self;
        let mut command = Command::new(std::env::current_exe()?);
        let kinds: Vec<String> = options.kind.iter().map(|kind| kind.name()).collect();
        command.args(["--seed", &seed.to_string(), "worker", "--kinds", &kinds.join(",")]);
        command.args(["--from", &from.to_string(), "--to", &options.inputs.to_string()]);
        command.args(["--step", &jobs.to_string()]).arg("--position").arg(position);
        if let Some(seconds) = options.seconds {
            let left = Duration::from_secs(seconds).saturating_sub(started.elapsed());
            command.args(["--milliseconds", &left.as_millis().to_string()]);
        }
        // Threads of its own would only get into the way of the other workers.
        command.env("RAYON_NUM_THREADS", "1");
        Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?)
    }

    fn listen(&self, child: &mut Child, position: &Path, tally: &mut Tally) -> Result<Ended, Failure> {
        let lines = lines(child);
        let (mut seen, mut since) = (None, Instant::now());
        loop {
            match lines.recv_timeout(Duration::from_secs(1)) {
                Ok(Told::Counts(counts)) => {
                    counts.into_iter().for_each(|(kind, count)| tally.add(kind, count))
                }
                Ok(Told::Fault(fault)) => {
                    note(format_args!("{}: {}", fault.input, fault.what));
                    tally.faults.push(fault);
                }
                Ok(Told::Done) => return Ok(Ended::Done),
                Err(RecvTimeoutError::Disconnected) => return Ok(Ended::Died),
                Err(RecvTimeoutError::Timeout) => {
                    let now = number_at(position);
                    if now != seen {
                        (seen, since) = (now, Instant::now());
                    } else if now.is_some() && since.elapsed() > HANGING {
                        child.kill()?;
                        return Ok(Ended::Hanging);
                    }
                }
            }
        }
    }
}

enum Ended {
    Done,
    Died,
    Hanging,
}

/// What the worker tells, until it ends.
fn lines(child: &mut Child) -> Receiver<Told> {
    let (send, lines) = channel();
    let output = BufReader::new(child.stdout.take().expect("piped"));
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let Ok(told) = serde_json::from_str(&line) else { continue };
            if send.send(told).is_err() {
                return;
            }
        }
    });
    lines
}

/// The input that is being read, if one is.
fn number_at(position: &Path) -> Option<u64> {
    let bytes = std::fs::read(position).ok()?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?)).filter(|number| *number != u64::MAX)
}
