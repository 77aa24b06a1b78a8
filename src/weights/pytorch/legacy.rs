//! The container of `torch.save` before PyTorch 1.6: pickles one after the other, then the storages.

use std::collections::HashMap;
use std::io::{BufReader, Seek};
use std::sync::Arc;

use super::super::bytes::{FileBytes, Opened};
use super::heap::{Heap, Id, Value};
use super::input::Input;
use super::machine::unpickle;
use super::storage::{MAX_TENSORS, Storages};

/// The number that the first pickle holds, little-endian (`torch/serialization.py`).
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;
/// How a file begins that was saved with pickle protocol 0 or 1: the magic number in decimal.
pub(super) const OLD_START: &[u8] = b"L119547037146038801333356L\n";

struct Legacy {
    file: FileBytes,
    /// Place and length of every storage, in bytes.
    places: HashMap<String, (u64, u64)>,
}

/// Magic number, version, the writer's machine, the saved value, the storages' keys, and the storages.
pub(super) fn read(mut file: Opened) -> Result<(Heap, Id, Arc<dyn Storages>), String> {
    let mut heap = Heap::default();
    let mut input = Input::new(BufReader::new(&mut file));
    let mut next = |heap: &mut Heap| unpickle(&mut input, heap);
    let magic = next(&mut heap)?;
    if !matches!(heap.get(magic), Value::Long(bytes) if **bytes == MAGIC) {
        return Err(match heap.opaque().first() {
            Some(name) => format!("a pickle of {name}, which torch.save did not write"),
            None => "a pickle that torch.save did not write".into(),
        });
    }
    let version = next(&mut heap)?;
    if !matches!(heap.get(version), Value::Int(PROTOCOL)) {
        return Err("another version than 1001 of PyTorch's format".into());
    }
    let machine = next(&mut heap)?;
    let endian = heap.entry(machine, "little_endian");
    if !endian.is_some_and(|endian| matches!(heap.get(endian), Value::Bool(true))) {
        return Err("numbers that are not little-endian".into());
    }
    let root = next(&mut heap)?;
    let keys = next(&mut heap)?;
    let start = input.consumed();
    file.rewind().map_err(|error| error.to_string())?;
    let file = FileBytes::new(file).map_err(|error| error.to_string())?;
    let places = places(&heap, keys, &file, start)?;
    Ok((heap, root, Arc::new(Legacy { file, places })))
}

/// Every storage is its number of elements, a little-endian i64, and its bytes.
fn places(
    heap: &Heap,
    keys: Id,
    file: &FileBytes,
    start: u64,
) -> Result<HashMap<String, (u64, u64)>, String> {
    let mut sizes = HashMap::new();
    for value in heap.values() {
        if let Value::Storage(storage) = value {
            let other = sizes.insert(storage.key.as_str(), storage.size);
            if other.is_some_and(|other| other != storage.size) {
                return Err(format!("a storage {} of two types", storage.key));
            }
        }
    }
    let keys = heap.items(keys).ok_or("a file without a list of its storages")?;
    if keys.len() > MAX_TENSORS {
        return Err(format!("more than {MAX_TENSORS} storages"));
    }
    let (mut places, mut place) = (HashMap::new(), start);
    for key in keys {
        let key = heap.text(*key).ok_or("a storage without a name")?;
        let size = sizes.get(key).ok_or_else(|| format!("a storage {key} of an unknown type"))?;
        let elements = file.read(place, 8)?.try_into().map(u64::from_le_bytes).expect("eight bytes");
        let end = (place + 8).checked_add(elements.saturating_mul(*size));
        let Some(end) = end.filter(|end| *end <= file.length()) else {
            return Err(format!("a storage {key} of {elements} elements, more than the file has"));
        };
        if places.insert(key.to_string(), (place + 8, end - place - 8)).is_some() {
            return Err(format!("two storages {key}"));
        }
        place = end;
    }
    Ok(places)
}

impl Storages for Legacy {
    fn read(&self, key: &str, start: u64, length: u64) -> Result<Vec<u8>, String> {
        match self.places.get(key) {
            Some((place, bytes)) if start.checked_add(length).is_some_and(|end| end <= *bytes) => {
                self.file.read(place + start, length)
            }
            Some((_, bytes)) => Err(format!("a storage {key} of {bytes} bytes, too few")),
            None => Err(format!("no storage {key}")),
        }
    }
}
