//! The width of everything.

/// Channels of one plane.
pub(super) const LANES: usize = 32;

/// A value at the beginning of a cache line: where the stack puts arrays otherwise, every second vector lies in two lines,
/// and a kernel takes up to twice as long in one thread as in another.
#[repr(C, align(64))]
pub(super) struct Aligned<T>(pub T);
