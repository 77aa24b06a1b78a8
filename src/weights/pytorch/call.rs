//! The functions and classes that a checkpoint may name, and what stands for their results.

use std::io::BufRead;

use burn::tensor::{BoolStore, DType};

use super::heap::{Heap, Id, Value};
use super::input::Input;
use super::view::View;

/// The most dimensions of a tensor.
const MAX_RANK: usize = 8;

/// Stands in for the call of a function, which is never made.
pub(super) fn reduce<R: BufRead>(
    heap: &mut Heap,
    input: &mut Input<R>,
    function: Id,
    arguments: Id,
) -> Result<Id, String> {
    let name = match heap.get(function) {
        Value::Global(name) => name.to_string(),
        // What an unmade object would do.
        Value::Other | Value::Object(_) => return Ok(heap.add(Value::Other)),
        other => return Err(format!("a call of {}", other.kind())),
    };
    let arguments = match heap.get(arguments) {
        Value::Tuple(items) => items.clone(),
        other => return Err(format!("a call of {name} with {}", other.kind())),
    };
    input.step(arguments.len())?;
    let (name, arguments) = match (name.as_str(), arguments.as_slice()) {
        // Tensors of a subclass, or with attributes: (function, class, arguments, state).
        ("torch._tensor._rebuild_from_type_v2", [inner, _, given, _]) => {
            match (heap.get(*inner), heap.get(*given)) {
                (Value::Global(inner), Value::Tuple(given)) => (inner.to_string(), given.clone()),
                _ => return Err(format!("a call of {name} with other arguments than PyTorch's")),
            }
        }
        _ => (name, arguments),
    };
    let value = match (name.as_str(), arguments.as_slice()) {
        (
            "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor",
            [storage, offset, shape, strides, ..],
        ) if matches!(heap.get(*storage), Value::Other) => heap.unmade(&name),
        (
            "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor",
            [storage, offset, shape, strides, ..],
        ) => Value::Tensor(Box::new(tensor(heap, *storage, *offset, *shape, *strides)?)),
        (
            "torch._utils._rebuild_parameter"
            | "torch._utils._rebuild_parameter_with_state"
            | "torch.nn.parameter.Parameter"
            | "torch.Size",
            [inner, ..],
        ) => return Ok(*inner),
        ("copyreg._reconstructor" | "copy_reg._reconstructor", [_, _, _]) => Value::Object(None),
        ("collections.OrderedDict", []) | ("collections.defaultdict", _) => Value::Dict(Vec::new()),
        ("collections.OrderedDict", [list]) => {
            let items = heap.items(*list).ok_or("a dictionary that is not made of pairs")?;
            input.step(items.len())?;
            let pair = |item: &Id| match heap.items(*item) {
                Some([key, value]) => Some((*key, *value)),
                _ => None,
            };
            Value::Dict(items.iter().map(pair).collect::<Option<_>>().ok_or("a pair of other than two")?)
        }
        (name, _) if is_data(name) => Value::Other,
        (name, arguments) => {
            // `getattr(Class, "MEMBER")` is how an enumeration's member is saved.
            let class = arguments.first().and_then(|first| match heap.get(*first) {
                Value::Global(class) if name.ends_with("builtin__.getattr") || name == "builtins.getattr" => {
                    Some(class.to_string())
                }
                _ => None,
            });
            heap.unmade(class.as_deref().unwrap_or(name))
        }
    };
    Ok(heap.add(value))
}

/// A tensor as `torch._utils._rebuild_tensor_v2` takes it.
fn tensor(heap: &Heap, storage: Id, offset: Id, shape: Id, strides: Id) -> Result<View, String> {
    let Value::Storage(storage) = heap.get(storage) else {
        return Err(format!("a tensor in {} where a storage belongs", heap.get(storage).kind()));
    };
    for dimensions in [shape, strides] {
        if heap.items(dimensions).is_some_and(|items| items.len() > MAX_RANK) {
            return Err(format!("a tensor of more than {MAX_RANK} dimensions"));
        }
    }
    View::new(storage, heap.count(offset)?, heap.counts(shape)?, heap.counts(strides)?)
}

/// An object without attributes. Any class may be named, because none is looked up.
pub(super) fn new_object(heap: &mut Heap, class: Id, arguments: Id) -> Result<Value, String> {
    let name = match heap.get(class) {
        Value::Global(name) => name.to_string(),
        Value::Other | Value::Object(_) => return Ok(Value::Other),
        other => return Err(format!("an object of {}", other.kind())),
    };
    match heap.get(arguments) {
        Value::Tuple(arguments) if arguments.is_empty() => Ok(Value::Object(None)),
        _ if is_data(&name) => Ok(Value::Other),
        _ => Ok(heap.unmade(&name)),
    }
}

/// What makes plain data, such as training scripts keep beside the weights; sorted.
const DATA: [&str; 40] = [
    "__builtin__.bytearray",
    "__builtin__.complex",
    "__builtin__.frozenset",
    "__builtin__.set",
    "_codecs.encode",
    "builtins.bytearray",
    "builtins.complex",
    "builtins.frozenset",
    "builtins.range",
    "builtins.set",
    "builtins.slice",
    "collections.Counter",
    "collections.deque",
    "datetime.date",
    "datetime.datetime",
    "datetime.timedelta",
    "datetime.timezone",
    "decimal.Decimal",
    "fractions.Fraction",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy._core.numeric._frombuffer",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.core.numeric._frombuffer",
    "numpy.dtype",
    "numpy.ndarray",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePath",
    "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
    "torch.device",
    "torch.nn.backends.thnn._get_thnn_function_backend",
    "torch.serialization._get_layout",
    "torch.torch_version.TorchVersion",
    "uuid.UUID",
];

/// Whether a call makes plain data.
fn is_data(name: &str) -> bool {
    DATA.binary_search(&name).is_ok()
}

/// The type of a storage's elements by its class, and the bytes of each; no type if burn has none for it.
pub(super) fn element(class: &str) -> Option<(Option<DType>, u64)> {
    let dtype = match class.strip_prefix("torch.")? {
        "DoubleStorage" => DType::F64,
        "FloatStorage" => DType::F32,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "LongStorage" => DType::I64,
        "IntStorage" => DType::I32,
        "ShortStorage" => DType::I16,
        "CharStorage" => DType::I8,
        "ByteStorage" => DType::U8,
        "BoolStorage" => DType::Bool(BoolStore::Native),
        "ComplexDoubleStorage" => return Some((None, 16)),
        "ComplexFloatStorage" => return Some((None, 8)),
        "QInt32Storage" => return Some((None, 4)),
        "QInt8Storage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage" => return Some((None, 1)),
        "storage.UntypedStorage" | "UntypedStorage" => return Some((None, 1)),
        _ => return None,
    };
    Some((Some(dtype), dtype.size() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_found_and_functions_are_not() {
        assert!(DATA.is_sorted());
        assert!(DATA.into_iter().all(is_data));
        for name in ["os.system", "posix.system", "builtins.eval", "builtins.getattr", "torch.load", ""] {
            assert!(!is_data(name), "{name}");
        }
    }
}
