//! Two processes on one folder: one works, the other refuses, or waits where both want the same.

use std::fs;
use std::time::Duration;

use clap::Args;
use histoguard::random::{Purpose, RngExt, generator};

use crate::common::failure::Failure;
use crate::common::fault_campaign::subject::{Stage, Subject, differ, finish, told};
use crate::common::output::say;

const MOMENTS: Purpose = Purpose::named("the moment of a second process");

/// Starts every run twice in one folder.
#[derive(Clone, Debug, Args)]
pub struct TogetherOptions {
    /// How often.
    #[arg(long, default_value_t = 20)]
    pub times: u64,
    /// Which runs.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Subject::SMALL)]
    pub subject: Vec<Subject>,
}

/// Runs the campaign; how many faults it found.
pub fn together(options: &TogetherOptions, seed: u64) -> Result<u64, Failure> {
    let stage = Stage::new()?;
    let out = stage.folder.path().join("out");
    let mut faults = 0;
    for &subject in &options.subject {
        finish(&stage, subject, &out)?;
        let whole = subject.result(&out)?;
        fs::remove_dir_all(&out)?;
        let (mut refused, mut wrong) = (0, 0);
        for time in 0..options.times {
            let pause = generator(MOMENTS, seed, &[subject as u64, time]).random_range(0..300);
            let first = subject.command(&stage, &out)?.spawn()?;
            std::thread::sleep(Duration::from_millis(pause));
            let second = subject.command(&stage, &out)?.output()?;
            let outputs = [first.wait_with_output()?, second];
            for output in outputs.iter().filter(|output| !output.status.success()) {
                refused += 1;
                let clear = String::from_utf8_lossy(&output.stderr).contains("no other run is at work");
                if output.status.code() != Some(2) || !clear {
                    wrong += 1;
                    say(format_args!("fault: {} beside another: {}", subject.name(), told(&output.stderr)))?;
                }
            }
            let fault = match outputs.iter().any(|output| output.status.success()) {
                true => {
                    differ(&whole, &subject.result(&out)?).map(|place| format!("another result in {place}"))
                }
                false => Some("both refused".to_string()),
            };
            if let Some(fault) = fault {
                wrong += 1;
                say(format_args!("fault: {} beside another: {fault}", subject.name()))?;
            }
            fs::remove_dir_all(&out)?;
        }
        let (name, times) = (subject.name(), options.times);
        say(format_args!(
            "together: {name:<16} {times} pairs from seed {seed}, {refused} refusals, {wrong} faults"
        ))?;
        faults += wrong;
    }
    Ok(faults)
}
