//! Threads that share the work on one image, stage by stage, where a batch has fewer images than there are threads.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

type Work<'a> = dyn Fn(usize, usize, usize) + Sync + 'a;

/// A thread that leads and others that help whenever it splits a stage. Handing a stage over costs two atomic writes
/// instead of waking threads. Helpers never wait for anything but the next stage, and the leader only for what a helper
/// has begun: however busy the pool is, the leader can do all of the work alone.
pub(super) struct Crew {
    parts: usize,
    job: UnsafeCell<Option<Job>>,
    /// Whether `job` may be worked on.
    open: AtomicBool,
    /// The job's next piece.
    next: AtomicUsize,
    /// Helpers that may be looking at `job`.
    inside: AtomicUsize,
    done: AtomicBool,
}

struct Job {
    work: *const Work<'static>,
    len: usize,
    step: usize,
}

// SAFETY: `job` is written by the leader alone, while the crew is closed and nobody is inside; everything else is atomic,
// and the work is `Sync`.
unsafe impl Sync for Crew {}

impl Crew {
    fn new(parts: usize) -> Crew {
        Crew {
            parts,
            job: UnsafeCell::new(None),
            open: AtomicBool::new(false),
            next: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            done: AtomicBool::new(false),
        }
    }

    /// Runs `lead` with up to `parts - 1` helpers from the pool of the current thread.
    pub(super) fn gather<T: Send>(parts: usize, lead: impl FnOnce(&Crew) -> T + Send) -> T {
        let crew = Crew::new(parts);
        if parts == 1 {
            return lead(&crew);
        }
        rayon::scope(|scope| {
            for worker in 1..parts {
                let crew = &crew;
                scope.spawn(move |_| crew.help(worker));
            }
            let _done = OnDrop(|| crew.done.store(true, Ordering::Release));
            lead(&crew)
        })
    }

    /// The most threads that work at once; their numbers are below it.
    pub(super) fn parts(&self) -> usize {
        self.parts
    }

    /// Cuts `0..len` at multiples of `align` and runs `work(worker, from, to)` on every piece.
    pub(super) fn split(&self, len: usize, align: usize, work: impl Fn(usize, usize, usize) + Sync) {
        let step = len.div_ceil(self.parts).next_multiple_of(align);
        if step >= len {
            return work(0, 0, len);
        }
        let work: &Work = &work;
        // SAFETY: only the lifetime changes, and nobody uses the job after `_close`, which is dropped before `work`.
        let work = unsafe { std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work) };
        // SAFETY: the crew is closed and nobody is inside.
        unsafe { *self.job.get() = Some(Job { work, len, step }) };
        self.next.store(0, Ordering::Relaxed);
        self.open.store(true, Ordering::SeqCst);
        let _close = OnDrop(|| {
            self.open.store(false, Ordering::SeqCst);
            let mut wait = Wait::default();
            while self.inside.load(Ordering::SeqCst) != 0 {
                wait.once();
            }
        });
        // SAFETY: the job is there, and is taken away only when this has returned.
        unsafe { self.run(0) };
    }

    fn help(&self, worker: usize) {
        let mut wait = Wait::default();
        while !self.done.load(Ordering::Acquire) {
            if self.open.load(Ordering::Relaxed) && self.enter(worker) {
                wait = Wait::default();
            } else {
                wait.once();
            }
        }
    }

    /// Works on the open job; false if there is nothing to do.
    fn enter(&self, worker: usize) -> bool {
        self.inside.fetch_add(1, Ordering::SeqCst);
        let _leave = OnDrop(|| _ = self.inside.fetch_sub(1, Ordering::SeqCst));
        // Either this sees that the crew is closed, or the leader sees that somebody is inside, and waits.
        // SAFETY: while the crew is open the job stays as it is, and the leader waits for whoever is inside.
        self.open.load(Ordering::SeqCst) && unsafe { self.run(worker) }
    }

    /// Takes pieces of the job until none is left; false if there was none.
    ///
    /// # Safety
    ///
    /// The job must be there, and stay as long as this runs.
    unsafe fn run(&self, worker: usize) -> bool {
        // SAFETY: the caller's contract.
        let Some(job) = (unsafe { &*self.job.get() }) else { return false };
        let mut worked = false;
        loop {
            let from = self.next.fetch_add(1, Ordering::Relaxed) * job.step;
            if from >= job.len {
                return worked;
            }
            // SAFETY: the leader keeps the work until the job is closed.
            unsafe { (*job.work)(worker, from, (from + job.step).min(job.len)) };
            worked = true;
        }
    }
}

/// Spins for some microseconds, then lets other threads run.
#[derive(Default)]
struct Wait(u32);

impl Wait {
    fn once(&mut self) {
        self.0 += 1;
        if self.0 < 1000 { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
}

/// Runs a closure when it goes out of scope, also in a panic.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use super::*;

    #[test]
    fn every_element_is_worked_on_once_in_every_stage() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for (parts, len, align) in [(1, 10, 1), (2, 1, 14), (3, 100, 7), (4, 3136, 14), (9, 50, 1)] {
            let counts: Vec<AtomicUsize> = (0..len).map(|_| AtomicUsize::new(0)).collect();
            pool.install(|| {
                Crew::gather(parts, |crew| {
                    for stage in 0..200 {
                        crew.split(len, align, |worker, from, to| {
                            assert!(worker < crew.parts() && from % align == 0);
                            for count in &counts[from..to] {
                                assert_eq!(count.fetch_add(1, Ordering::Relaxed), stage);
                            }
                        });
                    }
                });
            });
        }
    }

    #[test]
    fn a_panic_comes_out_wherever_it_happens() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        for bad in [0, 7] {
            let caught = std::panic::catch_unwind(AssertUnwindSafe(|| {
                pool.install(|| {
                    Crew::gather(2, |crew| {
                        crew.split(8, 1, |_, from, to| assert!(!(from..to).contains(&bad)))
                    });
                });
            }));
            assert!(caught.is_err());
        }
    }
}
