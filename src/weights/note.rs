//! What loading left out of a file.

use std::fmt::{Display, Formatter};

use super::error::Tensors;

/// Something of a checkpoint that a loaded network does not have, because it is beside the network's tensors.
///
/// [`Checkpoint::on_note`](super::Checkpoint::on_note) hears of it. [`Display`] says it in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The network is under a prefix, and these tensors are outside of it, or under it in an entry of their
    /// own.
    LeftOut {
        /// How the names of the network's tensors begin in the file.
        prefix: String,
        /// The names of the others in the file.
        tensors: Tensors,
    },
    /// The saved dictionary has these entries beside the one with the network.
    Entries {
        /// How the names of the network's tensors begin in the file.
        prefix: String,
        /// The keys of the others.
        entries: Tensors,
    },
    /// The pickle makes objects by these functions and classes, none of which was called or looked up.
    Opaque {
        /// Full names, as `module.function`.
        callables: Tensors,
    },
    /// The file has the network under several names, but only once: they are of the same memory.
    Tied {
        /// How the names of the network's tensors begin, of each the prefix.
        prefixes: Vec<String>,
    },
}

impl Display for Note {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LeftOut { prefix, tensors } => {
                write!(f, "took the tensors under {prefix:?}; left out others: {tensors}")
            }
            Self::Entries { prefix, entries } => {
                write!(f, "took the tensors under {prefix:?}; left out entries beside them: {entries}")
            }
            Self::Opaque { callables } => {
                write!(f, "kept objects of the file unmade and called nothing of it: {callables}")
            }
            Self::Tied { prefixes } => {
                write!(f, "the same tensors are under each of {prefixes:?}")
            }
        }
    }
}
