//! Aligned float buffers that are recycled, and pointers that threads may share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use memmap2::MmapMut;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Returned buffers, the oldest first: fresh memory costs a page fault every 4 kB, a tenth of a training step.
struct Pool {
    free: Vec<Free>,
    /// Lines in `free`, lines handed out, and the most that were ever handed out at once.
    pooled: usize,
    used: usize,
    peak: usize,
    /// Lines that were ever handed out.
    total: u64,
}

struct Free {
    memory: Memory,
    /// The pool's total when it came back.
    since: u64,
}

static POOL: Mutex<Pool> = Mutex::new(Pool::new());

fn pool() -> MutexGuard<'static, Pool> {
    // The pool is consistent after every statement: a panic elsewhere does not spoil it.
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Frees the working memory that the kernels keep for their next call.
pub(crate) fn release_memory() {
    let mut pool = pool();
    pool.free.clear();
    pool.pooled = 0;
    pool.peak = pool.used;
}

impl Pool {
    const fn new() -> Self {
        Pool { free: Vec::new(), pooled: 0, used: 0, peak: 0, total: 0 }
    }

    /// A returned buffer of about this size. Without one, buffers of other sizes make room.
    fn take(&mut self, count: usize) -> Option<Memory> {
        /// Lines (32 MB) that the pool may hold beyond an eighth of the peak demand.
        const SLACK: usize = 1 << 19;
        self.used += count;
        self.total += count as u64;
        self.peak = self.peak.max(self.used);
        let fits = |free: &Free| (count..=count + count / 4).contains(&free.memory.lines());
        let best = (0..self.free.len())
            .filter(|&i| fits(&self.free[i]))
            .min_by_key(|&i| self.free[i].memory.lines());
        if let Some(i) = best {
            return Some(self.remove(i));
        }
        while !self.free.is_empty() && self.used + self.pooled > self.peak + self.peak / 8 + SLACK {
            self.remove(self.least_wanted());
        }
        None
    }

    /// Takes back what was handed out for so many lines.
    fn put(&mut self, memory: Memory, count: usize) {
        self.used -= count;
        if memory.lines() > 0 {
            self.pooled += memory.lines();
            self.free.push(Free { memory, since: self.total });
        }
    }

    /// The buffer that will be missed last. Steps are alike: what came back last is wanted again last, but for what nobody
    /// has wanted over several steps.
    fn least_wanted(&self) -> usize {
        /// Peak demands that five steps of training hand out.
        const STEPS: u64 = 32;
        let stale = self.total - self.free[0].since > STEPS * self.peak as u64;
        if stale { 0 } else { self.free.len() - 1 }
    }

    fn remove(&mut self, i: usize) -> Memory {
        let memory = self.free.remove(i).memory;
        self.pooled -= memory.lines();
        memory
    }
}

/// Where a buffer's floats are.
enum Memory {
    /// Pages of their own, zeroed when first touched, which go back to the system as soon as they are dropped: between
    /// what else is allocated, freed buffers leave gaps that nothing fits into, a tenth of a training step's memory.
    Pages(MmapMut),
    Lines(Vec<Line>),
}

impl Memory {
    /// Zeroed memory.
    fn fresh(count: usize) -> Self {
        /// Lines (1 MB) from which pages of their own pay.
        const MANY: usize = 1 << 14;
        let pages = (count >= MANY).then(|| MmapMut::map_anon(count * size_of::<Line>()));
        // Where a system has no such pages, or no more of them, the allocator decides.
        let Some(Ok(pages)) = pages else { return Self::Lines(vec![Line([0.0; 16]); count]) };
        // The kernels read tens of planes at once, far more memory than the processor can translate addresses of in small
        // pages. The advice may be refused.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        Self::Pages(pages)
    }

    fn lines(&self) -> usize {
        match self {
            Self::Pages(pages) => pages.len() / size_of::<Line>(),
            Self::Lines(lines) => lines.len(),
        }
    }

    fn floats(&self) -> *const f32 {
        match self {
            Self::Pages(pages) => pages.as_ptr().cast(),
            Self::Lines(lines) => lines.as_ptr().cast(),
        }
    }
}

/// A 64-byte aligned buffer of floats; goes back to the pool when dropped.
pub(super) struct Buffer {
    memory: Memory,
    len: usize,
}

impl Buffer {
    /// A buffer with arbitrary (initialised) contents.
    pub(super) fn new(len: usize) -> Self {
        let count = len.div_ceil(16);
        let recycled = pool().take(count);
        Buffer { memory: recycled.unwrap_or_else(|| Memory::fresh(count)), len }
    }

    pub(super) fn zeroed(len: usize) -> Self {
        let mut buffer = Self::new(len);
        buffer.fill(0.0);
        buffer
    }

    pub(super) fn ptr(&self) -> Ptr {
        Ptr(self.memory.floats().cast_mut())
    }

    /// The contents as numbers in bf16, twice as many.
    pub(super) fn halves(&mut self) -> &mut [u16] {
        // SAFETY: the floats are initialised, aligned to more than these and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.ptr().halves(), 2 * self.len) }
    }
}

impl std::ops::Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `memory` holds at least `len` initialised floats, aligned to lines or pages.
        unsafe { std::slice::from_raw_parts(self.memory.floats(), self.len) }
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: `memory` holds at least `len` initialised floats, aligned to lines or pages and writable (only their
        // address was taken through a shared reference), and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.ptr().0, self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = std::mem::replace(&mut self.memory, Memory::Lines(Vec::new()));
        pool().put(memory, self.len.div_ceil(16));
    }
}

/// A pointer into a [`Buffer`] whose users keep to disjoint parts of it.
#[derive(Clone, Copy)]
pub(super) struct Ptr(pub *mut f32);

// SAFETY: a plain address; who dereferences it answers for the aliasing.
unsafe impl Send for Ptr {}
// SAFETY: sharing it gives no access that sending it does not.
unsafe impl Sync for Ptr {}

impl Ptr {
    /// The address `count` floats on.
    pub(super) fn at(self, count: usize) -> Ptr {
        Ptr(self.0.wrapping_add(count))
    }

    /// The same address as numbers in bf16.
    pub(super) fn halves(self) -> *mut u16 {
        self.0.cast()
    }

    /// The same address as 32-bit masks.
    pub(super) fn bits(self) -> *mut u32 {
        self.0.cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes one buffer after the other, and all memory anew that the pool has not.
    fn step(pool: &mut Pool, sizes: &[usize]) -> usize {
        let mut fresh = 0;
        for &size in sizes {
            let memory = pool.take(size).unwrap_or_else(|| {
                fresh += size;
                Memory::fresh(size)
            });
            pool.put(memory, size);
            let pooled: usize = pool.free.iter().map(|free| free.memory.lines()).sum();
            assert_eq!((pool.used, pool.pooled), (0, pooled));
        }
        fresh
    }

    /// Sizes of which none does for another, and a pool that may keep four fifths of them.
    fn more_than_may_stay() -> (Vec<usize>, Pool) {
        let sizes: Vec<usize> = (0..9).map(|i| (1.3f64.powi(i) * 131_072.0) as usize).collect();
        let peak = sizes.iter().sum::<usize>() * 6 / 10;
        (sizes, Pool { peak, ..Pool::new() })
    }

    #[test]
    fn steps_that_want_more_than_may_stay_find_most_of_it() {
        let (sizes, mut pool) = more_than_may_stay();
        let all: usize = sizes.iter().sum();
        assert_eq!(step(&mut pool, &sizes), all);
        for _ in 0..3 {
            let again = step(&mut pool, &sizes);
            assert!(again > 0 && again < all / 2, "{again} of {all}");
        }
    }

    #[test]
    fn what_nobody_wants_any_more_makes_room() {
        let (before, mut pool) = more_than_may_stay();
        for _ in 0..3 {
            step(&mut pool, &before);
        }
        let sizes: Vec<usize> = before[..6].iter().map(|size| size + size / 50).collect();
        let fresh: Vec<usize> = (0..100).map(|_| step(&mut pool, &sizes)).collect();
        assert!(fresh[0] == sizes.iter().sum::<usize>() && fresh[99] == 0, "{fresh:?}");
    }
}
