//! The tensors inside a saved value: of state dicts, of modules, and of dictionaries with either of them.

use std::collections::BTreeMap;

use super::heap::{Heap, Id, Value};
use super::storage::MAX_TENSORS;
use super::view::View;

/// How deep modules and dictionaries may be nested.
const MAX_DEPTH: usize = 32;
/// The longest name of a tensor.
const MAX_NAME: usize = 1 << 10;
/// The most entries that are looked at, counting shared ones each time.
const MAX_VISITS: usize = 1 << 20;

/// A tensor of a saved value.
pub(super) struct Found {
    pub(super) view: View,
    /// How many bytes of its name are those of the dictionary entry that its state dict or module is in.
    pub(super) entry: usize,
}

/// Every tensor by its name in `state_dict()`, after the keys of the dictionaries that it lies in.
pub(super) fn tensors(heap: &Heap, root: Id) -> Result<BTreeMap<String, Found>, String> {
    let mut walk = Walk { heap, found: BTreeMap::new(), visits: 0 };
    walk.value(root, "", 0)?;
    Ok(walk.found)
}

/// The keys of a saved dictionary that are not those of tensors.
pub(super) fn entries(heap: &Heap, root: Id) -> Vec<String> {
    let pairs = heap.pairs(root).unwrap_or_default().iter();
    let others = pairs.filter(|(_, value)| !matches!(heap.get(*value), Value::Tensor(_)));
    others.filter_map(|(key, _)| heap.text(*key)).map(str::to_string).collect()
}

/// The attributes of a module of PyTorch's.
fn module(heap: &Heap, id: Id) -> Option<Id> {
    match heap.get(id) {
        Value::Object(Some(state)) if heap.entry(*state, "_modules").is_some() => Some(*state),
        _ => None,
    }
}

struct Walk<'a> {
    heap: &'a Heap,
    found: BTreeMap<String, Found>,
    visits: usize,
}

impl Walk<'_> {
    fn value(&mut self, id: Id, prefix: &str, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("modules nested deeper than {MAX_DEPTH}"));
        }
        if let Some(state) = module(self.heap, id) {
            return self.module(state, prefix, entry_of(prefix), depth);
        }
        for (name, value) in self.heap.pairs(id).unwrap_or_default() {
            let Some(name) = self.name(prefix, *name)? else { continue };
            match self.heap.get(*value) {
                Value::Tensor(view) => self.insert(name, view, entry_of(prefix))?,
                // The optimizer's tensors are not the network's.
                _ if !name.starts_with("optim") => self.value(*value, &name, depth + 1)?,
                _ => (),
            }
        }
        Ok(())
    }

    /// What `Module.state_dict` would give: parameters, buffers, and the modules within.
    fn module(&mut self, state: Id, prefix: &str, entry: usize, depth: usize) -> Result<(), String> {
        let table =
            |name| self.heap.entry(state, name).and_then(|table| self.heap.pairs(table)).unwrap_or_default();
        let [parameters, buffers, modules] = ["_parameters", "_buffers", "_modules"].map(table);
        for (name, value) in parameters.iter().chain(buffers) {
            let Some(name) = self.name(prefix, *name)? else { continue };
            if let Value::Tensor(view) = self.heap.get(*value) {
                self.insert(name, view, entry)?;
            }
        }
        if depth > MAX_DEPTH {
            return Err(format!("modules nested deeper than {MAX_DEPTH}"));
        }
        for (name, value) in modules {
            let Some(name) = self.name(prefix, *name)? else { continue };
            if let Some(inner) = module(self.heap, *value) {
                self.module(inner, &name, entry, depth + 1)?;
            }
        }
        Ok(())
    }

    fn name(&mut self, prefix: &str, name: Id) -> Result<Option<String>, String> {
        self.visits += 1;
        if self.visits > MAX_VISITS {
            return Err(format!("more than {MAX_VISITS} entries"));
        }
        let Some(name) = self.heap.text(name) else { return Ok(None) };
        if prefix.len() + name.len() > MAX_NAME {
            return Err(format!("a name of more than {MAX_NAME} bytes"));
        }
        Ok(Some(if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") }))
    }

    fn insert(&mut self, name: String, view: &View, entry: usize) -> Result<(), String> {
        // A key with a dot in it can make the name that another dictionary makes.
        let other = self.found.insert(name.clone(), Found { view: view.clone(), entry });
        if other.is_some_and(|other| other.view.place() != view.place()) {
            return Err(format!("two tensors called {name}"));
        }
        match self.found.len() > MAX_TENSORS {
            true => Err(format!("more than {MAX_TENSORS} tensors")),
            false => Ok(()),
        }
    }
}

/// The bytes of a dictionary's keys and the dot after them.
fn entry_of(prefix: &str) -> usize {
    if prefix.is_empty() { 0 } else { prefix.len() + 1 }
}
