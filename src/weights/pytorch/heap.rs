//! The values that a pickle makes.

use std::collections::BTreeSet;

use super::storage::Storage;
use super::view::View;

/// A value's place on the heap. Values refer to each other by it, so what a pickle uses a thousand times is
/// there once.
pub(super) type Id = u32;

pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits, little-endian.
    Long(Box<[u8]>),
    Text(Box<str>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function by its full name.
    Global(Box<str>),
    /// An object of a class that is not looked into, and the attributes it was given.
    Object(Option<Id>),
    Storage(Box<Storage>),
    Tensor(Box<View>),
    /// Data that no network needs, and what is left unmade: floating-point numbers, sets, dates, arrays of
    /// NumPy's.
    Other,
}

#[derive(Default)]
pub(super) struct Heap {
    values: Vec<Value>,
    /// What would have been called for values that are left unmade.
    opaque: BTreeSet<String>,
}

impl Heap {
    pub(super) fn add(&mut self, value: Value) -> Id {
        self.values.push(value);
        (self.values.len() - 1) as Id
    }

    pub(super) fn get(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Value {
        &mut self.values[id as usize]
    }

    pub(super) fn values(&self) -> &[Value] {
        &self.values
    }

    /// A value that is left unmade, and what would have made it.
    pub(super) fn unmade(&mut self, callable: &str) -> Value {
        if !self.opaque.contains(callable) {
            self.opaque.insert(callable.to_string());
        }
        Value::Other
    }

    /// What would have been called for the values that are left unmade.
    pub(super) fn opaque(&self) -> Vec<String> {
        self.opaque.iter().cloned().collect()
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of a tuple or list.
    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) | Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn pairs(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Value::Dict(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// A dictionary's value; of a key that is there twice, the last one, as Python has it.
    pub(super) fn entry(&self, dict: Id, key: &str) -> Option<Id> {
        self.pairs(dict)?
            .iter()
            .rev()
            .find(|(name, _)| self.text(*name) == Some(key))
            .map(|(_, value)| *value)
    }

    pub(super) fn count(&self, id: Id) -> Result<u64, String> {
        match self.get(id) {
            Value::Int(number) => {
                u64::try_from(*number).map_err(|_| format!("{number} where a count belongs"))
            }
            other => Err(format!("{} where a count belongs", other.kind())),
        }
    }

    /// The elements of a tuple or list of counts.
    pub(super) fn counts(&self, id: Id) -> Result<Vec<u64>, String> {
        let items = self.items(id).ok_or_else(|| format!("{} where counts belong", self.get(id).kind()))?;
        items.iter().map(|item| self.count(*item)).collect()
    }
}

impl Value {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a truth value",
            Self::Int(_) | Self::Long(_) => "a number",
            Self::Text(_) => "a text",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dictionary",
            Self::Global(_) => "a class or function",
            Self::Object(_) => "an object",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
            Self::Other => "other data",
        }
    }
}
