//! Checkpoints of `torch.save`, as data: nothing in a file is ever executed.
//!
//! A pickle is a program for a small machine. This one knows the instructions that data needs and makes
//! plain values of them; it calls nothing, imports nothing, and keeps the name of whatever else a file
//! asks for. Every step, byte and name is counted, so that no file keeps it busy for long.

mod call;
mod container;
mod heap;
mod input;
mod legacy;
mod machine;
mod state;
mod storage;
mod text;
mod view;
mod zip;

pub(super) use container::{Saved, read};
