//! The fast CPU path of a DenseNet's feature extractor: evaluation, input gradients and training.
//!
//! Activations live in planes of 32 channels, `[plane][pixel][32]`, so that a concatenation appends planes and every
//! 1x1 and 3x3 convolution is one register tile of pixels by 32 channels. Evaluation works on one image at a time and
//! keeps one bit an activation for the backward pass; training works layer by layer over the batch. Larger planes take
//! their 3x3 convolutions by Winograd's algorithm, and evaluation can multiply in bfloat16. One image is shared by all
//! threads, several are not.

mod arch;
mod bf16;
#[cfg(target_arch = "x86_64")]
mod bf16_x86;
mod buffer;
mod conv3;
mod crew;
mod eval;
mod eval_grad;
mod forward_kernels;
mod grad_kernels;
mod lanes;
mod masks;
mod norm_grad;
mod pack;
mod packed;
mod plane;
mod reduce;
#[cfg(test)]
mod reference;
mod simd;
mod stem;
#[cfg(test)]
mod tests;
mod tile;
mod train;
mod train_batch;
mod train_grad;
mod train_norm;
mod train_stem_grad;
mod winograd;
mod winograd_points;
mod winograd_weights;
mod workers;

pub(super) use arch::Arch;
pub(super) use buffer::release_memory;
pub(super) use masks::EvalState;
pub(super) use packed::Packed;
pub(super) use simd::Level;
pub(super) use train::{NormStatistics, TrainState};
