//! Disks that are full or read-only at every file that is written: a clear error, nothing half-written, and a
//! run that goes on once there is room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::Args;
use histoguard::random::{Purpose, RngExt, generator};

use crate::common::failure::Failure;
use crate::common::fault_campaign::subject::{Files, Stage, Subject, differ, files, finish, told};
use crate::common::output::{note, say};

const MOMENTS: Purpose = Purpose::named("the moment of a disk's fault");
/// Says to this program, started again, that it may mount.
const INSIDE: &str = "FAULT_CAMPAIGN_INSIDE";

/// Runs on small file systems in memory that fill up or become read-only. They are mounted, so this needs
/// Linux, and root or namespaces of users.
#[derive(Clone, Debug, Args)]
pub struct DiskOptions {
    /// Which runs.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Subject::SMALL)]
    pub subject: Vec<Subject>,
    /// The most sizes, and the most numbers of files, that are tried of each run.
    #[arg(long, default_value_t = 60)]
    pub sizes: usize,
    /// How often each run is killed and finds its disk read-only.
    #[arg(long, default_value_t = 10)]
    pub read_only: usize,
}

/// Runs the campaign; how many faults it found.
pub fn disk(options: &DiskOptions, seed: u64) -> Result<u64, Failure> {
    let stage = Stage::new()?;
    if let Err(error) = Disk::mount(&stage.folder.path().join("probe"), "size=64k") {
        return inside(error);
    }
    let mut faults = 0;
    for &subject in &options.subject {
        faults += Starving::new(&stage, subject)?.run(options, seed)?;
    }
    Ok(faults)
}

/// Starts this program again where it may mount.
fn inside(refused: Failure) -> Result<u64, Failure> {
    if std::env::var_os(INSIDE).is_some() {
        return Err(refused);
    }
    note(format_args!("{}; trying again in a namespace of its own", refused.message));
    let mut again = Command::new("unshare");
    again
        .args(["--map-root-user", "--mount"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1));
    match again.env(INSIDE, "1").status()?.code() {
        Some(0) => Ok(0),
        Some(1) => Ok(1),
        _ => Err(refused),
    }
}

/// A file system in memory, until it is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(place: &Path, limit: &str) -> Result<Self, Failure> {
        fs::create_dir_all(place)?;
        system(Command::new("mount").args(["-t", "tmpfs", "-o", limit, "campaign"]).arg(place))?;
        Ok(Self(place.into()))
    }

    fn remount(&self, option: &str) -> Result<(), Failure> {
        system(Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.0))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

fn system(command: &mut Command) -> Result<(), Failure> {
    let output = command.output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(Failure::wrong(format!("{command:?}: {}", told(&output.stderr)))),
    }
}

struct Starving<'a> {
    stage: &'a Stage,
    subject: Subject,
    whole: Files,
    /// Bytes of all files together, and their number with the folders.
    bytes: u64,
    entries: usize,
}

impl<'a> Starving<'a> {
    fn new(stage: &'a Stage, subject: Subject) -> Result<Self, Failure> {
        let out = stage.folder.path().join("whole");
        finish(stage, subject, &out)?;
        let whole = subject.result(&out)?;
        let found = files(&out)?;
        let bytes =
            found.iter().map(|path| fs::metadata(path).map_or(0, |file| file.len().next_multiple_of(4096)));
        let (bytes, entries) = (bytes.sum(), found.len() + 12);
        fs::remove_dir_all(&out)?;
        Ok(Self { stage, subject, whole, bytes, entries })
    }

    fn run(&self, options: &DiskOptions, seed: u64) -> Result<u64, Failure> {
        let (mut full, mut faults) = (0, 0);
        let pages = (self.bytes / 4096) as usize + 40;
        let sizes = spread(pages, options.sizes).map(|pages| format!("size={}k", 4 * pages));
        // One for the file system's root.
        let counts = spread(self.entries, options.sizes).map(|count| format!("nr_inodes={}", count + 1));
        for limit in sizes.chain(counts) {
            let (was_full, found) = self.starved(&limit)?;
            full += usize::from(was_full);
            faults += self.told(&limit, found)?;
        }
        for moment in 0..options.read_only {
            let found = self.locked_up(seed, moment)?;
            faults += self.told(&format!("read-only after moment {moment}"), found)?;
        }
        let (name, read_only) = (self.subject.name(), options.read_only);
        say(format_args!(
            "disk: {name:<16} full at {full} of the sizes tried, read-only at {read_only} moments from seed {seed}, \
             {faults} faults"
        ))?;
        Ok(faults)
    }

    fn told(&self, limit: &str, faults: Vec<String>) -> Result<u64, Failure> {
        for fault in &faults {
            say(format_args!("fault: {}, {limit}: {fault}", self.subject.name()))?;
        }
        Ok(faults.len() as u64)
    }

    /// On a disk with a limit: whether it was full, and what was wrong.
    fn starved(&self, limit: &str) -> Result<(bool, Vec<String>), Failure> {
        let disk = Disk::mount(&self.stage.folder.path().join("disk"), limit)?;
        let out = disk.0.join("out");
        let output = self.subject.command(self.stage, &out)?.output()?;
        let full = !output.status.success();
        let mut faults = if full { self.refused(&output, &out)? } else { Vec::new() };
        disk.remount("size=256m,nr_inodes=100000")?;
        faults.extend(self.goes_on(&out)?);
        Ok((full, faults))
    }

    /// On a disk that is read-only from a moment on, which then is over: what was wrong.
    fn locked_up(&self, seed: u64, moment: usize) -> Result<Vec<String>, Failure> {
        let disk = Disk::mount(&self.stage.folder.path().join("disk"), "size=256m")?;
        let out = disk.0.join("out");
        if moment > 0 {
            let mut rng = generator(MOMENTS, seed, &[self.subject as u64, moment as u64]);
            let mut child = self.subject.command(self.stage, &out)?.spawn()?;
            std::thread::sleep(std::time::Duration::from_millis(rng.random_range(50..1500)));
            child.kill()?;
            child.wait_with_output()?;
        }
        disk.remount("ro")?;
        let output = self.subject.command(self.stage, &out)?.output()?;
        let mut faults = match output.status.success() {
            // All was there already.
            true if moment > 0 => Vec::new(),
            true => vec!["nothing to say of a disk that is read-only".to_string()],
            false => self.refused(&output, &out)?,
        };
        disk.remount("rw")?;
        faults.extend(self.goes_on(&out)?);
        Ok(faults)
    }

    /// What is wrong with how a run ended that had no room.
    fn refused(&self, output: &Output, out: &Path) -> Result<Vec<String>, Failure> {
        let said = String::from_utf8_lossy(&output.stderr);
        let mut faults = Vec::new();
        let line = said.lines().find(|line| line.starts_with("error: "));
        let names = line.is_some_and(|line| line.contains(&*self.stage.folder.path().to_string_lossy()));
        if output.status.code().is_none_or(|code| code == 101) || said.contains("panicked") || !names {
            faults.push(format!(
                "{} and no error that names the file: {}",
                output.status,
                told(&output.stderr)
            ));
        }
        faults.extend(self.subject.half_written(out)?);
        Ok(faults)
    }

    fn goes_on(&self, out: &Path) -> Result<Vec<String>, Failure> {
        if let Err(error) = finish(self.stage, self.subject, out) {
            return Ok(vec![format!("with room again: {}", error.message)]);
        }
        let other = differ(&self.whole, &self.subject.result(out)?);
        Ok(other.map(|place| format!("with room again, another result in {place}")).into_iter().collect())
    }
}

/// At most so many of the numbers from 1 to the last, evenly.
fn spread(last: usize, most: usize) -> impl Iterator<Item = usize> {
    let count = most.min(last);
    (1..=count).map(move |number| (number * last).div_ceil(count))
}
