//! SIGKILL at random moments: what is there is whole, and the run that goes on ends as one that was not
//! killed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use histoguard::random::{Generator, Purpose, RngExt, generator};

use crate::common::failure::Failure;
use crate::common::fault_campaign::subject::{Files, Stage, Subject, differ, finish, told};
use crate::common::output::say;

const MOMENTS: Purpose = Purpose::named("the moment of a kill");

/// Kills runs at random moments, and lets them go on.
#[derive(Clone, Debug, Args)]
pub struct KillOptions {
    /// How often each run is killed.
    #[arg(long, default_value_t = 100)]
    pub kills: usize,
    /// Which runs.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Subject::SMALL)]
    pub subject: Vec<Subject>,
}

/// Runs the campaign; how many faults it found.
pub fn kill(options: &KillOptions, seed: u64) -> Result<u64, Failure> {
    let stage = Stage::new()?;
    let mut faults = 0;
    for &subject in &options.subject {
        faults += Killing::new(&stage, subject)?.run(options.kills, seed)?;
    }
    Ok(faults)
}

struct Killing<'a> {
    stage: &'a Stage,
    subject: Subject,
    /// What a run leaves that is not killed, and how long it takes.
    whole: Files,
    takes: Duration,
}

/// How the kills of one folder went.
#[derive(Default)]
struct Tally {
    kills: usize,
    faults: Vec<String>,
}

impl<'a> Killing<'a> {
    fn new(stage: &'a Stage, subject: Subject) -> Result<Self, Failure> {
        let out = stage.folder.path().join("whole");
        finish(stage, subject, &out)?;
        let first = subject.result(&out)?;
        fs::remove_dir_all(&out)?;
        // The first run finds cold caches.
        let started = Instant::now();
        finish(stage, subject, &out)?;
        let takes = started.elapsed();
        let whole = subject.result(&out)?;
        fs::remove_dir_all(&out)?;
        match differ(&first, &whole) {
            None => Ok(Self { stage, subject, whole, takes }),
            Some(place) => {
                Err(Failure::wrong(format!("{}: two whole runs differ in {place}", subject.name())))
            }
        }
    }

    fn run(&self, kills: usize, seed: u64) -> Result<u64, Failure> {
        let started = Instant::now();
        let (mut done, mut folders, mut faults) = (0, 0, 0);
        while done < kills {
            let out = self.stage.folder.path().join("out");
            let mut rng = generator(MOMENTS, seed, &[self.subject as u64, folders]);
            let tally = self.folder(&out, kills - done, &mut rng)?;
            for fault in &tally.faults {
                say(format_args!(
                    "fault: {}, folder {folders}, kill {}: {fault}",
                    self.subject.name(),
                    done + tally.kills
                ))?;
            }
            faults += tally.faults.len() as u64;
            done += tally.kills;
            folders += 1;
            fs::remove_dir_all(&out)?;
        }
        let (name, taken, seconds) =
            (self.subject.name(), self.takes.as_secs_f64(), started.elapsed().as_secs());
        say(format_args!(
            "kill: {name:<16} {done} kills over {folders} folders from seed {seed} in {seconds} s (a run takes \
             {taken:.2} s), {faults} faults"
        ))?;
        Ok(faults)
    }

    /// Kills in one folder until the run is let end, or has ended before it was killed.
    fn folder(&self, out: &Path, most: usize, rng: &mut Generator) -> Result<Tally, Failure> {
        let mut tally = Tally::default();
        fs::create_dir_all(out)?;
        loop {
            let mut child = self.subject.command(self.stage, out)?.spawn()?;
            std::thread::sleep(self.takes.mul_f64(rng.random::<f64>()));
            let ended = child.try_wait()?.is_some();
            if !ended {
                child.kill()?;
                tally.kills += 1;
            }
            let output = child.wait_with_output()?;
            if ended && !output.status.success() {
                tally.faults.push(format!("after a kill: {}", told(&output.stderr)));
                return Ok(tally);
            }
            if let Some(fault) = self.subject.half_written(out)? {
                tally.faults.push(fault);
            }
            // One kill more on half of what was killed.
            if ended || tally.kills >= most || rng.random() {
                break;
            }
        }
        if let Err(error) = finish(self.stage, self.subject, out) {
            tally.faults.push(error.message);
            return Ok(tally);
        }
        if let Some(place) = differ(&self.whole, &self.subject.result(out)?) {
            tally.faults.push(format!("another result in {place}"));
        }
        Ok(tally)
    }
}
