//! Images: BreakHis, any folder of classes, drawn tissue; splits and batches.

mod batch;
pub mod breakhis;
mod cache;
mod digest;
#[cfg(feature = "download")]
mod download;
mod error;
mod file_image;
mod folder;
mod folder_split;
mod image;
mod labeled;
mod loader;
mod loader_config;
mod memory_image;
pub mod png;
mod policy;
mod prepared;
mod record;
mod sample;
mod set;
mod source;
mod split;
pub mod synthetic;
mod walk;

pub use self::image::{Augmentation, decode_image, exif_orientation, read_image};
pub use batch::Batch;
pub use breakhis::BreakHis;
pub use cache::ImageCache;
pub use digest::ImageDigest;
#[cfg(feature = "download")]
pub use download::{download, unpack};
pub use error::DataError;
pub use file_image::FileImage;
pub use folder::{FolderOptions, FolderSet};
pub use folder_split::FolderSplit;
pub(crate) use labeled::check_labels;
pub use labeled::{LabeledImages, TensorSet};
pub use loader::ImageLoader;
pub use loader_config::LoaderConfig;
pub use memory_image::MemoryImage;
pub use policy::{OnError, Skipped};
pub use prepared::Prepared;
pub use record::{SeenImages, TrainingRecord};
pub use sample::Sample;
pub use set::ImageSet;
pub use source::Source;
pub use split::{LeakageReport, SharedGroup, Split, SplitMethod, SplitRecord};
pub use synthetic::SyntheticTissue;
