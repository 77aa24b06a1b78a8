//! The width of everything.

/// Channels of one plane.
pub(super) const LANES: usize = 32;
