//! Who works on a batch in training.

use rayon::prelude::*;

use super::crew::Crew;

/// A thread an image, or some, or, where there are fewer images than threads and than an image has planes for threads, all
/// threads on one image after the other. Neither changes a bit: whatever is added up has its order from the images and planes.
pub(super) struct Workers<'a> {
    crew: &'a Crew,
    side_by_side: bool,
}

impl Workers<'_> {
    /// Runs `lead` with those who suit a batch of so many images.
    pub(super) fn gather<T: Send>(images: usize, lead: impl FnOnce(&Workers) -> T + Send) -> T {
        /// Threads that one image keeps busy: the bottleneck's planes in DenseNet-121.
        const BUSY: usize = 4;
        let threads = rayon::current_num_threads();
        let side_by_side = images >= threads.min(BUSY);
        let parts = if side_by_side { 1 } else { threads };
        // Led from within the pool, whose threads wake each other hundreds of times in a step, and not who asks.
        rayon::scope(|_| Crew::gather(parts, |crew| lead(&Workers { crew, side_by_side })))
    }

    /// Runs `work(index, crew)` for every index below `count` and returns the results in order.
    pub(super) fn map<T: Send>(&self, count: usize, work: impl Fn(usize, &Crew) -> T + Sync) -> Vec<T> {
        if self.side_by_side {
            // One a task: no thread is left with many when the others have finished. Threads to spare help.
            let parts = (rayon::current_num_threads() / count.max(1)).max(1);
            let task = |index| Crew::gather(parts, |crew| work(index, crew));
            (0..count).into_par_iter().with_max_len(1).map(task).collect()
        } else {
            (0..count).map(|index| work(index, self.crew)).collect()
        }
    }

    /// Runs `work(index)` for every index below `count`.
    pub(super) fn each(&self, count: usize, work: impl Fn(usize) + Sync + Send) {
        if self.side_by_side {
            (0..count).into_par_iter().for_each(work);
        } else {
            self.crew.split(count, 1, |_, from, to| (from..to).for_each(&work));
        }
    }
}
