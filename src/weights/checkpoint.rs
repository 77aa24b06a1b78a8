//! Where a network's weights are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::note::Note;

/// A file, on disk or in memory, and which network of it is meant; every path is one.
///
/// The names of a network's tensors may have anything before them in a file, as `module.` or the entry of a
/// dictionary, `state_dict.`: that is found by itself as long as the file holds the network once. If it
/// holds two, for one the weights and their average, loading is refused with the prefixes to choose from.
///
/// ```
/// use histoguard::prelude::*;
/// use histoguard::weights::Checkpoint;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("student_and_teacher.safetensors");
/// # let config = DenseNetConfig::new(2).with_block_config(vec![1]).with_num_init_features(4);
/// # let plain = folder.path().join("net.safetensors");
/// # weights::save_safetensors(&config.init_seeded(&Device::default(), 1), &plain)?;
/// # let bytes = std::fs::read(plain)?;
/// # let plain = safetensors::SafeTensors::deserialize(&bytes)?;
/// # let both = ["student.", "teacher."].into_iter().flat_map(|prefix| {
/// #     plain.iter().map(move |(name, view)| (format!("{prefix}{name}"), view))
/// # });
/// # safetensors::serialize_to_file(both.collect::<Vec<_>>(), None, &path)?;
/// let net = config.init(&Device::default());
/// let error = weights::load(net.clone(), &path).unwrap_err().to_string();
/// assert!(error.contains(r#"found 2: under "student.", under "teacher.""#), "{error}");
///
/// let mut notes = Vec::new();
/// let checkpoint = Checkpoint::at(&path).prefix("teacher.").on_note(|note| notes.push(note.to_string()));
/// let net = weights::load(net, checkpoint)?;
/// assert!(notes[0].contains("student.classifier.bias"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Where there are no files, as in a browser, or the bytes came by another way:
///
/// ```
/// # use histoguard::prelude::*;
/// # use histoguard::weights::Checkpoint;
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("net.safetensors");
/// # let config = DenseNetConfig::new(2).with_block_config(vec![1]).with_num_init_features(4);
/// # weights::save_safetensors(&config.init_seeded(&Device::default(), 1), &path)?;
/// # let bytes = std::fs::read(path)?;
/// let net = config.init(&Device::default());
/// let net = weights::load(net, Checkpoint::in_memory("dropped.safetensors", bytes))?;
///
/// let error = weights::load(net, Checkpoint::in_memory("cat.jpg", *b"\xff\xd8\xff")).unwrap_err();
/// assert!(error.to_string().starts_with("cat.jpg: expected a safetensors file, a PyTorch checkpoint"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Checkpoint<'a> {
    pub(super) source: Source,
    pub(super) prefix: Option<String>,
    pub(super) on_note: Option<Box<dyn FnMut(Note) + 'a>>,
}

impl<'a> Checkpoint<'a> {
    /// The file or folder at this path.
    pub fn at(path: impl AsRef<Path>) -> Self {
        Self { source: Source::Path(path.as_ref().into()), prefix: None, on_note: None }
    }

    /// The file with these bytes, in every [format](super#files) but that of several files; errors call it by
    /// this name.
    pub fn in_memory(name: impl AsRef<Path>, bytes: impl Into<Arc<[u8]>>) -> Self {
        let source = Source::Memory { name: name.as_ref().into(), bytes: bytes.into() };
        Self { source, prefix: None, on_note: None }
    }

    /// Which network of the file: the one whose tensors' names begin like this.
    ///
    /// Whole parts of names, with or without the dot after them. An entry of a saved dictionary is a part:
    /// `state_dict_ema` means the network in that entry, even if its names there have `module.` before
    /// them. An empty prefix means the network with nothing before its names.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        let mut prefix = prefix.into();
        if !prefix.is_empty() && !prefix.ends_with('.') {
            prefix.push('.');
        }
        self.prefix = Some(prefix);
        self
    }

    /// Hears what the file has beside the network, once it is loaded.
    #[must_use]
    pub fn on_note(mut self, hear: impl FnMut(Note) + 'a) -> Self {
        self.on_note = Some(Box::new(hear));
        self
    }
}

impl<P: AsRef<Path>> From<P> for Checkpoint<'_> {
    fn from(path: P) -> Self {
        Self::at(path)
    }
}

impl std::fmt::Debug for Checkpoint<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { source, prefix, .. } = self;
        f.debug_struct("Checkpoint")
            .field("path", &source.path())
            .field("prefix", prefix)
            .finish_non_exhaustive()
    }
}

/// Where a file's bytes are.
pub(super) enum Source {
    Path(PathBuf),
    Memory { name: PathBuf, bytes: Arc<[u8]> },
}

impl Source {
    /// What messages call the file.
    pub(super) fn path(&self) -> &Path {
        let (Self::Path(path) | Self::Memory { name: path, .. }) = self;
        path
    }
}
