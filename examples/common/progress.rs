//! The progress of a run: a bar on terminals, else a line every ten seconds, both with the time left.

use std::cell::Cell;
use std::time::{Duration, Instant};

use histoguard::evaluate::Progress;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::common::output::note;

/// Between lines where no bar can be drawn.
const QUIET: Duration = Duration::from_secs(10);

/// How far a run is, as it was told last.
pub struct Told {
    what: String,
    bar: ProgressBar,
    said: Cell<Instant>,
}

impl Told {
    /// Of a run with this name.
    pub fn new(what: String) -> Self {
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos} of {len} image passes{msg}")
            .expect("a valid template")
            .progress_chars("=> ");
        let bar = ProgressBar::new(0).with_style(style).with_prefix(what.clone());
        Self { what, bar, said: Cell::new(Instant::now()) }
    }

    /// Tells where the run is.
    pub fn tell(&self, Progress { done, total, left }: Progress) {
        let left = left.map_or_else(String::new, |left| format!(", {} left", HumanDuration(left)));
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
        if done == total {
            self.bar.finish_and_clear();
        } else if self.bar.is_hidden() && self.said.get().elapsed() >= QUIET {
            self.said.set(Instant::now());
            note(format_args!("{}, {done} of {total} image passes{left}", self.what));
        }
        self.bar.set_message(left);
    }
}
