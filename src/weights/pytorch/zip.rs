//! The container of `torch.save` since PyTorch 1.6: a zip archive of `data.pkl` and a file a storage.

use std::collections::HashMap;
use std::io::{BufReader, Error, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ::zip::read::{ArchiveOffset, Config};
use ::zip::{CompressionMethod, ZipArchive};

use super::super::bytes::Opened;
use super::heap::{Heap, Id};
use super::input::{Input, MAX_BYTES};
use super::machine::unpickle;
use super::storage::{MAX_TENSORS, Storages};

/// The most bytes that finding and reading the archive's directory may take; a DenseNet-201's has 0.1 MB.
const MAX_DIRECTORY: u64 = 32 << 20;

/// The most bytes that are decompressed of one file, counting what is passed over.
const MAX_INFLATED: u64 = 8 << 30;

struct Archive {
    archive: Mutex<ZipArchive<Limited>>,
    /// The folder that everything lies in.
    root: String,
    entries: HashMap<String, Entry>,
    /// The bytes that may still be decompressed.
    inflatable: AtomicU64,
}

#[derive(Clone, Copy)]
struct Entry {
    index: usize,
    length: u64,
    compressed: bool,
    /// Whether the archive has the checksum of its bytes; PyTorch writes 0 if told to leave it out.
    checked: bool,
}

pub(super) fn read(file: Opened) -> Result<(Heap, Id, Arc<dyn Storages>), String> {
    let length = file.length().map_err(|error| error.to_string())?;
    let allowance = Arc::new(AtomicU64::new(MAX_DIRECTORY));
    let limited = Limited { file: BufReader::new(file), allowance: allowance.clone() };
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let archive = ZipArchive::with_config(config, limited).map_err(|error| error.to_string())?;
    allowance.store(u64::MAX, Ordering::Relaxed);

    let entries = entries(&archive, length)?;
    let mut roots = entries.keys().filter_map(|name| name.strip_suffix("data.pkl"));
    let root = match (roots.next(), roots.next()) {
        (Some(root), None) => root.to_string(),
        (None, _) => return Err(without_pickle(&entries)),
        _ => return Err("a zip archive with several data.pkl".into()),
    };
    let inflatable = AtomicU64::new(MAX_INFLATED);
    let archive = Archive { archive: Mutex::new(archive), root, entries, inflatable };
    if archive.entry("constants.pkl").is_ok() {
        return Err(
            "a TorchScript program (torch.jit.save); save the state_dict() of torch.jit.load(path)".into()
        );
    }
    let order = archive.entry("byteorder").and_then(|entry| archive.part(entry, 0, entry.length.min(3)));
    if order.is_ok_and(|order| order == b"big") {
        return Err("numbers that are not little-endian".into());
    }
    let pickle = archive.entry("data.pkl")?;
    if pickle.length > MAX_BYTES {
        return Err(format!("a data.pkl of {} bytes, more than {MAX_BYTES}", pickle.length));
    }
    let (bytes, mut heap) = (archive.whole(pickle)?, Heap::default());
    let root = unpickle(&mut Input::new(bytes.as_slice()), &mut heap)?;
    Ok((heap, root, Arc::new(archive)))
}

/// What an archive is that PyTorch's `torch.save` did not write.
fn without_pickle(entries: &HashMap<String, Entry>) -> String {
    let any = |test: &dyn Fn(&str) -> bool| entries.keys().any(|name| test(name));
    let kind = if any(&|name| name.ends_with("model.weights.h5")) {
        " (a model of Keras)"
    } else if any(&|name| name.ends_with(".npy")) {
        " (arrays of NumPy's, .npz)"
    } else if any(&|name| name.ends_with("archive_format")) {
        " (a program of torch.export; save its state_dict)"
    } else if any(&|name| name.ends_with(".pth") || name.ends_with(".pt") || name.ends_with(".safetensors")) {
        " (there is a checkpoint in it; unpack it first)"
    } else {
        ""
    };
    format!("a zip archive without PyTorch's data.pkl{kind}")
}

/// The files of the archive: stored or deflated, each with bytes of its own, under names that stay inside.
fn entries(archive: &ZipArchive<Limited>, length: u64) -> Result<HashMap<String, Entry>, String> {
    if archive.len() > MAX_TENSORS {
        return Err(format!("a zip archive of more than {MAX_TENSORS} files"));
    }
    if archive.has_duplicate_names() {
        return Err("a zip archive with two files of the same name".into());
    }
    let (mut entries, mut total) = (HashMap::new(), 0u64);
    for index in 0..archive.len() {
        let file = archive.by_index_data(index).map_err(|error| error.to_string())?;
        let name = file.name().map_err(|error| error.to_string())?.into_owned();
        if !is_inside(&name) {
            return Err(format!("a zip archive with the file {name:?}, outside of it"));
        }
        let compressed = file.compression() == CompressionMethod::Deflated;
        if file.encrypted() || !(compressed || file.compression() == CompressionMethod::Stored) {
            return Err(format!(
                "a zip archive with the file {name:?} encrypted, or compressed by other than deflate"
            ));
        }
        if !compressed && file.size() != file.compressed_size() {
            return Err(format!("a zip archive with the file {name:?} of two lengths"));
        }
        total = total.saturating_add(file.compressed_size());
        if total > length {
            return Err(format!("a zip archive whose files have more bytes than its {length}"));
        }
        entries.insert(name, Entry { index, length: file.size(), compressed, checked: file.crc32() != 0 });
    }
    Ok(entries)
}

/// Whether a name stays inside of the folder that it is taken to.
fn is_inside(name: &str) -> bool {
    !name.contains(['\\', ':', '\0']) && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

impl Archive {
    fn entry(&self, name: &str) -> Result<Entry, String> {
        let name = format!("{}{name}", self.root);
        self.entries.get(&name).copied().ok_or_else(|| format!("no {name:?} in the archive"))
    }

    fn whole(&self, entry: Entry) -> Result<Vec<u8>, String> {
        self.part(entry, 0, entry.length)
    }

    /// A part of a file; of a whole one, the checksum is compared.
    fn part(&self, entry: Entry, start: u64, length: u64) -> Result<Vec<u8>, String> {
        let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = entry.checked && (start, length) == (0, entry.length);
        // Memory grows with what is there, whatever a compressed file says of its length.
        let mut bytes = Vec::new();
        let read = if entry.compressed {
            self.inflate(start.saturating_add(length))?;
            let mut file = archive.by_index(entry.index).map_err(|error| error.to_string())?;
            let passed = std::io::copy(&mut file.by_ref().take(start), &mut std::io::sink());
            // One more, so that the end is reached and the checksum compared.
            passed.and_then(|_| file.take(length + u64::from(whole)).read_to_end(&mut bytes))
        } else if whole {
            let mut file = archive.by_index(entry.index).map_err(|error| error.to_string())?;
            file.read_to_end(&mut bytes)
        } else {
            let mut file = archive.by_index_seek(entry.index).map_err(|error| error.to_string())?;
            let seek = file.seek(SeekFrom::Start(start));
            seek.and_then(|_| file.take(length).read_to_end(&mut bytes))
        };
        match read {
            Ok(_) if bytes.len() as u64 == length => Ok(bytes),
            Ok(_) => Err("a zip archive that ends too early, or a file in it of another length".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Counts bytes that are to be decompressed.
    fn inflate(&self, length: u64) -> Result<(), String> {
        let left = self.inflatable.load(Ordering::Relaxed);
        let left = left.checked_sub(length).ok_or("a zip archive that decompresses to too many bytes")?;
        self.inflatable.store(left, Ordering::Relaxed);
        Ok(())
    }
}

impl Storages for Archive {
    fn read(&self, key: &str, start: u64, length: u64) -> Result<Vec<u8>, String> {
        let entry = self.entry(&format!("data/{key}"))?;
        if start.checked_add(length).is_none_or(|end| end > entry.length) {
            return Err(format!("a storage {key} of {} bytes, too few", entry.length));
        }
        self.part(entry, start, length)
    }
}

/// A file of which no more is read than allowed.
struct Limited {
    file: BufReader<Opened>,
    allowance: Arc<AtomicU64>,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        let left = self.allowance.load(Ordering::Relaxed);
        let spent =
            left.checked_sub(read as u64).ok_or_else(|| Error::other("a directory that is too long"))?;
        self.allowance.store(spent, Ordering::Relaxed);
        Ok(read)
    }
}

impl Seek for Limited {
    fn seek(&mut self, position: SeekFrom) -> std::io::Result<u64> {
        let allowance = self.allowance.load(Ordering::Relaxed);
        // A seek costs a system call, so that it counts as some bytes.
        self.allowance.store(allowance.saturating_sub(16), Ordering::Relaxed);
        match position {
            // Stays inside the buffer where it can.
            SeekFrom::Current(offset) => {
                self.file.seek_relative(offset).and_then(|()| self.file.stream_position())
            }
            other => self.file.seek(other),
        }
    }
}
