//! What attacks are put together from: loops, searches and random starts, for attacks of one's own too.

mod adam;
mod ascent;
mod constant;
mod cosine;
mod descent;
mod hinge;
mod random_start;
mod side_by_side;
mod smallest;
pub mod tanh_space;
mod worst;

pub use adam::Adam;
pub use ascent::{Ascent, Direction, Rule, Steepest};
pub use constant::smallest_constants;
pub use cosine::cosine;
pub use descent::{Descent, Path, Slope};
pub use hinge::{Hinge, reached_by};
pub use random_start::random_start;
pub use side_by_side::{Oracle, side_by_side};
pub use smallest::Smallest;
pub use worst::{Tried, Worst, restarts, worst_of};
pub(crate) use worst::{judging, restart_parameters};
