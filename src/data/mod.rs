//! Images: BreakHis, any folder of classes, drawn tissue; splits and batches.

mod batch;

pub use batch::Batch;
