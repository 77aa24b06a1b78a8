//! The instructions of a pickle that data needs (Python's `pickletools`, protocols 0 to 5).

use std::collections::HashMap;
use std::io::BufRead;

use super::call;
use super::heap::{Heap, Id, Value};
use super::input::Input;
use super::storage::Storage;
use super::text;

/// How every pickle of protocol 2 and later begins.
pub(super) const PROTO: u8 = 0x80;
const NEWEST_PROTOCOL: u8 = 5;

/// Follows one pickle to its end and gives the value that it made.
pub(super) fn unpickle<R: BufRead>(input: &mut Input<R>, heap: &mut Heap) -> Result<Id, String> {
    Machine { input, heap, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() }.run()
}

struct Machine<'a, R> {
    input: &'a mut Input<R>,
    heap: &'a mut Heap,
    stack: Vec<Id>,
    /// Heights of the stack that MARK left.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<R: BufRead> Machine<'_, R> {
    fn run(mut self) -> Result<Id, String> {
        loop {
            self.input.step(1)?;
            let value = match self.input.byte()? {
                PROTO => match self.input.byte()? {
                    newer if newer > NEWEST_PROTOCOL => return Err(format!("a pickle of protocol {newer}")),
                    _ => continue,
                },
                // FRAME: the length of what follows, for readers that read ahead.
                0x95 => {
                    self.input.array::<8>()?;
                    continue;
                }
                // STOP
                b'.' => return self.pop(),
                // MARK
                b'(' => {
                    self.marks.push(self.stack.len());
                    continue;
                }
                // POP, POP_MARK, DUP
                b'0' => {
                    self.pop()?;
                    continue;
                }
                b'1' => {
                    self.pop_marked()?;
                    continue;
                }
                b'2' => {
                    self.stack.push(self.top()?);
                    continue;
                }
                // NONE, NEWTRUE, NEWFALSE
                b'N' => Value::None,
                0x88 => Value::Bool(true),
                0x89 => Value::Bool(false),
                // BININT, BININT1, BININT2, LONG1, LONG4
                b'J' => Value::Int(i32::from_le_bytes(self.input.array()?).into()),
                b'K' => Value::Int(self.input.byte()?.into()),
                b'M' => Value::Int(u16::from_le_bytes(self.input.array()?).into()),
                0x8a => {
                    let length = self.input.byte()?;
                    long(self.input.bytes(length.into())?)
                }
                0x8b => {
                    let length = i32::from_le_bytes(self.input.array()?);
                    self.skip(u64::try_from(length).map_err(|_| format!("a number of {length} bytes"))?)?
                }
                // BINFLOAT
                b'G' => self.skip(8)?,
                // INT, LONG, FLOAT: the numbers of protocols 0 and 1, with 01 and 00 for truth values
                b'I' | b'L' | b'F' => text::number(&self.input.line()?)?,
                // STRING, UNICODE: the texts of protocol 0
                b'S' => Value::Text(text::string(&self.input.line()?)?.into()),
                b'V' => Value::Text(text::unescaped(&self.input.line()?, "uU")?.into()),
                // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
                0x8c => self.text8()?,
                b'X' => self.text32()?,
                0x8d => {
                    let length = u64::from_le_bytes(self.input.array()?);
                    self.text(length)?
                }
                // SHORT_BINSTRING, BINSTRING: texts of Python 2
                b'U' => self.text8()?,
                b'T' => self.text32()?,
                // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
                b'C' => {
                    let length = self.input.byte()?;
                    self.skip(length.into())?
                }
                b'B' => {
                    let length = u32::from_le_bytes(self.input.array()?);
                    self.skip(length.into())?
                }
                0x8e | 0x96 => {
                    let length = u64::from_le_bytes(self.input.array()?);
                    self.skip(length)?
                }
                // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
                b')' => Value::Tuple(Vec::new()),
                0x85 => Value::Tuple(self.pop_last(1)?),
                0x86 => Value::Tuple(self.pop_last(2)?),
                0x87 => Value::Tuple(self.pop_last(3)?),
                b't' => Value::Tuple(self.pop_marked()?),
                // EMPTY_LIST, LIST, APPEND, APPENDS
                b']' => Value::List(Vec::new()),
                b'l' => Value::List(self.pop_marked()?),
                b'a' => {
                    let items = self.pop_last(1)?;
                    self.extend(items)?;
                    continue;
                }
                b'e' => {
                    let items = self.pop_marked()?;
                    self.extend(items)?;
                    continue;
                }
                // EMPTY_DICT, DICT, SETITEM, SETITEMS
                b'}' => Value::Dict(Vec::new()),
                b'd' => {
                    let items = self.pop_marked()?;
                    let (pairs, rest) = items.as_chunks();
                    if !rest.is_empty() {
                        return Err("a key without a value".into());
                    }
                    Value::Dict(pairs.iter().map(|[key, value]| (*key, *value)).collect())
                }
                b's' => {
                    let items = self.pop_last(2)?;
                    self.set(items)?;
                    continue;
                }
                b'u' => {
                    let items = self.pop_marked()?;
                    self.set(items)?;
                    continue;
                }
                // EMPTY_SET, ADDITEMS, FROZENSET
                0x8f => Value::Other,
                0x90 => {
                    self.pop_marked()?;
                    self.top()?;
                    continue;
                }
                0x91 => {
                    self.pop_marked()?;
                    Value::Other
                }
                // BINGET, LONG_BINGET
                b'h' => {
                    let place = self.input.byte()?;
                    self.recall(place.into())?;
                    continue;
                }
                b'j' => {
                    let place = u32::from_le_bytes(self.input.array()?);
                    self.recall(place)?;
                    continue;
                }
                // GET, PUT
                b'g' => {
                    let place = text::place(&self.input.line()?)?;
                    self.recall(place)?;
                    continue;
                }
                b'p' => {
                    let place = text::place(&self.input.line()?)?;
                    self.memo.insert(place, self.top()?);
                    continue;
                }
                // BINPUT, LONG_BINPUT, MEMOIZE
                b'q' => {
                    let place = self.input.byte()?;
                    self.memo.insert(place.into(), self.top()?);
                    continue;
                }
                b'r' => {
                    let place = u32::from_le_bytes(self.input.array()?);
                    self.memo.insert(place, self.top()?);
                    continue;
                }
                0x94 => {
                    self.memo.insert(self.memo.len() as u32, self.top()?);
                    continue;
                }
                // GLOBAL, STACK_GLOBAL
                b'c' => {
                    let [module, name] = [self.input.line()?, self.input.line()?];
                    Value::Global(format!("{module}.{name}").into())
                }
                0x93 => {
                    let [name, module] = [self.pop()?, self.pop()?];
                    match (self.heap.text(module), self.heap.text(name)) {
                        (Some(module), Some(name)) if module.len() + name.len() < 1 << 10 => {
                            Value::Global(format!("{module}.{name}").into())
                        }
                        _ => return Err("a class without a name".into()),
                    }
                }
                // REDUCE, NEWOBJ, NEWOBJ_EX, INST, OBJ, BUILD
                b'R' => {
                    let [arguments, function] = [self.pop()?, self.pop()?];
                    let result = call::reduce(self.heap, self.input, function, arguments)?;
                    self.stack.push(result);
                    continue;
                }
                0x81 => {
                    let [arguments, class] = [self.pop()?, self.pop()?];
                    call::new_object(self.heap, class, arguments)?
                }
                0x92 => {
                    let [_, arguments, class] = [self.pop()?, self.pop()?, self.pop()?];
                    call::new_object(self.heap, class, arguments)?
                }
                b'i' => {
                    let [module, name] = [self.input.line()?, self.input.line()?];
                    let arguments = self.pop_marked()?;
                    self.instance(Value::Global(format!("{module}.{name}").into()), arguments)?
                }
                b'o' => {
                    let mut arguments = self.pop_marked()?;
                    if arguments.is_empty() {
                        return Err(EMPTY.into());
                    }
                    let (class, arguments) = (arguments.remove(0), Value::Tuple(arguments));
                    let arguments = self.heap.add(arguments);
                    call::new_object(self.heap, class, arguments)?
                }
                b'b' => {
                    let state = self.pop()?;
                    let object = self.top()?;
                    if let Value::Object(attributes) = self.heap.get_mut(object) {
                        *attributes = Some(state);
                    }
                    continue;
                }
                // BINPERSID
                b'Q' => {
                    let id = self.pop()?;
                    match self.persistent(id)? {
                        Persistent::Class(class) => {
                            self.stack.push(class);
                            continue;
                        }
                        Persistent::Storage(storage) => Value::Storage(Box::new(storage)),
                    }
                }
                other => return Err(format!("the instruction {}, which data has no use for", name(other))),
            };
            let id = self.heap.add(value);
            self.stack.push(id);
        }
    }

    fn instance(&mut self, class: Value, arguments: Vec<Id>) -> Result<Value, String> {
        let class = self.heap.add(class);
        let arguments = self.heap.add(Value::Tuple(arguments));
        call::new_object(self.heap, class, arguments)
    }

    /// What is above the last mark cannot be told from what is below it.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, String> {
        match self.stack.last() {
            Some(id) if self.stack.len() > self.floor() => Ok(*id),
            _ => Err(EMPTY.into()),
        }
    }

    fn pop(&mut self) -> Result<Id, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_last(&mut self, count: usize) -> Result<Vec<Id>, String> {
        match self.stack.len().checked_sub(count) {
            Some(start) if start >= self.floor() => Ok(self.stack.split_off(start)),
            _ => Err(EMPTY.into()),
        }
    }

    fn pop_marked(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("a pickle without the mark that it goes back to")?;
        Ok(self.stack.split_off(mark))
    }

    fn recall(&mut self, place: u32) -> Result<(), String> {
        let id = self.memo.get(&place).ok_or_else(|| format!("nothing in place {place} of the memo"))?;
        self.stack.push(*id);
        Ok(())
    }

    fn extend(&mut self, items: Vec<Id>) -> Result<(), String> {
        match self.top().map(|top| self.heap.get_mut(top))? {
            Value::List(list) => list.extend(items),
            Value::Object(_) | Value::Other => (),
            other => return Err(format!("elements for {}", other.kind())),
        }
        Ok(())
    }

    fn set(&mut self, items: Vec<Id>) -> Result<(), String> {
        let (pairs, rest) = items.as_chunks();
        match self.top().map(|top| self.heap.get_mut(top))? {
            _ if !rest.is_empty() => return Err("a key without a value".into()),
            Value::Dict(dict) => dict.extend(pairs.iter().map(|[key, value]| (*key, *value))),
            Value::Object(_) | Value::Other => (),
            other => return Err(format!("entries for {}", other.kind())),
        }
        Ok(())
    }

    fn skip(&mut self, length: u64) -> Result<Value, String> {
        self.input.skip(length).map(|()| Value::Other)
    }

    fn text8(&mut self) -> Result<Value, String> {
        let length = self.input.byte()?;
        self.text(length.into())
    }

    fn text32(&mut self) -> Result<Value, String> {
        let length = u32::from_le_bytes(self.input.array()?);
        self.text(length.into())
    }

    /// A text; what Python 2 wrote in another encoding is no name of a tensor.
    fn text(&mut self, length: u64) -> Result<Value, String> {
        let bytes = self.input.bytes(length)?;
        Ok(Value::Text(String::from_utf8_lossy(&bytes).into()))
    }

    /// What `torch.save` keeps out of the pickle: `("storage", type, key, location, length, view)`, and
    /// before PyTorch 1.6 `("module", class, file, source)`.
    fn persistent(&self, id: Id) -> Result<Persistent, String> {
        let refused = || "a persistent id that is not PyTorch's".to_string();
        let items = self.heap.items(id).ok_or_else(refused)?;
        let kind = items.first().and_then(|kind| self.heap.text(*kind));
        let (class, name) = match items.get(1).map(|class| (*class, self.heap.get(*class))) {
            Some((id, Value::Global(name))) => (id, name),
            _ => return Err(refused()),
        };
        match (kind, items) {
            (Some("module"), [_, _, _, _]) => Ok(Persistent::Class(class)),
            (Some("storage"), [_, _, key, _, length, view @ ..]) if view.len() <= 1 => {
                let key = self.heap.text(*key).ok_or_else(refused)?.to_string();
                let length = self.heap.count(*length)?;
                let (dtype, size) = call::element(name).ok_or_else(|| format!("a storage of type {name}"))?;
                let whole = Storage { key, dtype, size, class: name.to_string(), length, start: 0 };
                Ok(Persistent::Storage(match view.first().and_then(|view| self.heap.items(*view)) {
                    None => whole,
                    Some([_, start, length]) => {
                        let (start, part) = (self.heap.count(*start)?, self.heap.count(*length)?);
                        if start.checked_add(part).is_none_or(|end| end > whole.length) {
                            return Err(format!("a part beyond its storage {}", whole.key));
                        }
                        Storage { start, length: part, ..whole }
                    }
                    Some(_) => return Err(refused()),
                }))
            }
            _ => Err(refused()),
        }
    }
}

enum Persistent {
    Class(Id),
    Storage(Storage),
}

const EMPTY: &str = "a pickle that takes what is not there";

fn long(bytes: Vec<u8>) -> Value {
    if bytes.len() > 8 {
        return Value::Long(bytes.into());
    }
    let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut number = if negative { [0xff; 8] } else { [0; 8] };
    number[..bytes.len()].copy_from_slice(&bytes);
    Value::Int(i64::from_le_bytes(number))
}

/// The names of the instructions that are refused.
fn name(instruction: u8) -> String {
    let name = match instruction {
        b'P' => "PERSID (of protocol 0, which torch.load refuses too: save with another)",
        0x82 => "EXT1",
        0x83 => "EXT2",
        0x84 => "EXT4",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        _ => return format!("{instruction:#04x}"),
    };
    name.into()
}
