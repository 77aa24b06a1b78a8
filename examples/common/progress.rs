//! The progress of a run: a bar on terminals, else a line every ten seconds, both with the time left.

use std::cell::Cell;
use std::time::{Duration, Instant};

use histoguard::evaluate::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::common::output::note;

/// Between lines where no bar can be drawn.
const QUIET: Duration = Duration::from_secs(10);

/// How far a run is, as it was told last.
pub struct Told {
    what: String,
    bar: ProgressBar,
    started: Instant,
    said: Cell<Instant>,
    /// Passes and time at the first line: what an earlier run finished took no time now.
    before: Cell<Option<(usize, Duration)>>,
}

impl Told {
    /// Of a run with this name.
    pub fn new(what: String) -> Self {
        let style = ProgressStyle::with_template("{prefix}, {pos} of {len} image passes, {eta} left")
            .expect("a valid template");
        let bar = ProgressBar::new(0).with_style(style).with_prefix(what.clone());
        let now = Instant::now();
        Self { what, bar, started: now, said: Cell::new(now), before: Cell::new(None) }
    }

    /// Tells where the run is.
    pub fn tell(&self, Progress { done, total }: Progress) {
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
        if done == total {
            self.bar.finish_and_clear();
        } else if self.bar.is_hidden() && self.said.get().elapsed() >= QUIET {
            self.said.set(Instant::now());
            let (first, at) = self.before.get().unwrap_or((0, Duration::ZERO));
            let pace = (self.started.elapsed() - at).as_secs_f64() / (done - first).max(1) as f64;
            let left = pace * (total - done) as f64;
            note(format_args!("{}, {done} of {total} image passes, {left:.0} s left", self.what));
            self.before.set(Some((done, self.started.elapsed())));
        }
    }
}
