//! Aligned float buffers that are recycled, and pointers that threads may share.

use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Returned buffers, the oldest first: fresh memory costs a page fault every 4 kB, a tenth of a training step.
struct Pool {
    free: Vec<Vec<Line>>,
    /// Lines in `free`, lines handed out, and the most that were ever handed out at once.
    pooled: usize,
    used: usize,
    peak: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { free: Vec::new(), pooled: 0, used: 0, peak: 0 });

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
    /// A returned buffer of about this size. Without one, old buffers of other sizes make room.
    fn take(&mut self, count: usize) -> Option<Vec<Line>> {
        /// Lines (64 MB) that the pool may hold beyond an eighth of the peak demand.
        const SLACK: usize = 1 << 20;
        self.used += count;
        self.peak = self.peak.max(self.used);
        let fits = |lines: &Vec<Line>| (count..=count + count / 4).contains(&lines.len());
        let best = (0..self.free.len()).filter(|&i| fits(&self.free[i])).min_by_key(|&i| self.free[i].len());
        if let Some(i) = best {
            let lines = self.free.remove(i);
            self.pooled -= lines.len();
            return Some(lines);
        }
        while !self.free.is_empty() && self.used + self.pooled > self.peak + self.peak / 8 + SLACK {
            self.pooled -= self.free.remove(0).len();
        }
        None
    }
}

/// Zeroed memory.
fn fresh(count: usize) -> Vec<Line> {
    let mut lines = Vec::with_capacity(count);
    #[cfg(target_os = "linux")]
    advise_huge_pages(&mut lines);
    lines.resize(count, Line([0.0; 16]));
    lines
}

/// Asks for huge pages behind the vector's capacity: the kernels read tens of planes at once, far more memory than the
/// processor can translate addresses of in small pages.
#[cfg(target_os = "linux")]
fn advise_huge_pages(lines: &mut Vec<Line>) {
    const HUGE: usize = 2 << 20;
    let spare = lines.spare_capacity_mut();
    let (skip, length) = (spare.as_ptr().addr().wrapping_neg() % HUGE, size_of_val(spare));
    if let Some(whole) = length.checked_sub(skip).map(|rest| rest / HUGE * HUGE).filter(|&whole| whole > 0) {
        // SAFETY: the range lies in memory that the vector owns; the advice changes no contents, and may be refused.
        unsafe {
            libc::madvise(spare.as_mut_ptr().cast::<u8>().add(skip).cast(), whole, libc::MADV_HUGEPAGE)
        };
    }
}

/// A 64-byte aligned buffer of floats; goes back to the pool when dropped.
pub(super) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// A buffer with arbitrary (initialised) contents.
    pub(super) fn new(len: usize) -> Self {
        let count = len.div_ceil(16);
        let recycled = pool().take(count);
        Buffer { lines: recycled.unwrap_or_else(|| fresh(count)), len }
    }

    pub(super) fn zeroed(len: usize) -> Self {
        let mut buffer = Self::new(len);
        buffer.fill(0.0);
        buffer
    }

    pub(super) fn ptr(&self) -> Ptr {
        Ptr(self.lines.as_ptr().cast::<f32>().cast_mut())
    }
}

impl std::ops::Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `lines` holds at least `len` initialised floats.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: `lines` holds at least `len` initialised floats, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        let mut pool = pool();
        pool.used -= self.len.div_ceil(16);
        if !lines.is_empty() {
            pool.pooled += lines.len();
            pool.free.push(lines);
        }
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

    /// The same address as 32-bit masks.
    pub(super) fn bits(self) -> *mut u32 {
        self.0.cast()
    }
}
