//! Images: BreakHis, any folder of classes, drawn tissue; splits and batches.

mod batch;
mod error;
mod labeled;

pub use batch::Batch;
pub use error::DataError;
pub use labeled::{LabeledImages, TensorSet};
