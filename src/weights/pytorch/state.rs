//! The network inside a saved value: a state dict, a module, or either of them in a checkpoint dictionary.

use std::collections::BTreeMap;

use super::heap::{Heap, Id, Value};
use super::storage::MAX_TENSORS;
use super::view::View;

/// Where training scripts put the network into a checkpoint dictionary.
const ENTRIES: [&str; 4] = ["state_dict", "model_state_dict", "model", "net"];
/// How deep modules and dictionaries may be nested.
const MAX_DEPTH: usize = 32;
/// The longest name of a tensor.
const MAX_NAME: usize = 1 << 10;
/// The most entries that are looked at, counting shared ones each time.
const MAX_VISITS: usize = 1 << 20;

/// Every tensor of the network by its name in `state_dict()`.
pub(super) fn tensors(heap: &Heap, root: Id) -> Result<BTreeMap<String, View>, String> {
    let mut network = root;
    for _ in 0..MAX_DEPTH {
        let entry = ENTRIES.iter().filter_map(|entry| heap.entry(network, entry));
        let is_network = |id: &Id| heap.pairs(*id).is_some() || module(heap, *id).is_some();
        match entry.into_iter().find(is_network) {
            Some(inner) => network = inner,
            None => break,
        }
    }
    let mut walk = Walk { heap, found: BTreeMap::new(), visits: 0 };
    walk.value(network, "", 0)?;
    Ok(walk.found)
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
    found: BTreeMap<String, View>,
    visits: usize,
}

impl Walk<'_> {
    fn value(&mut self, id: Id, prefix: &str, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("modules nested deeper than {MAX_DEPTH}"));
        }
        if let Some(state) = module(self.heap, id) {
            return self.module(state, prefix, depth);
        }
        let pairs = self.heap.pairs(id).unwrap_or_default();
        let is_tensor = |(_, value): &(Id, Id)| matches!(self.heap.get(*value), Value::Tensor(_));
        let is_state_dict = pairs.iter().any(is_tensor);
        for (name, value) in pairs {
            let Some(name) = self.name(prefix, *name)? else { continue };
            match self.heap.get(*value) {
                Value::Tensor(view) => self.insert(name, view)?,
                // The optimizer's tensors are not the network's.
                _ if !is_state_dict && !name.starts_with("optim") => self.value(*value, &name, depth + 1)?,
                _ => (),
            }
        }
        Ok(())
    }

    /// What `Module.state_dict` would give: parameters, buffers, and the modules within.
    fn module(&mut self, state: Id, prefix: &str, depth: usize) -> Result<(), String> {
        let table =
            |name| self.heap.entry(state, name).and_then(|table| self.heap.pairs(table)).unwrap_or_default();
        let [parameters, buffers, modules] = ["_parameters", "_buffers", "_modules"].map(table);
        for (name, value) in parameters.iter().chain(buffers) {
            let Some(name) = self.name(prefix, *name)? else { continue };
            if let Value::Tensor(view) = self.heap.get(*value) {
                self.insert(name, view)?;
            }
        }
        for (name, value) in modules {
            let Some(name) = self.name(prefix, *name)? else { continue };
            self.value(*value, &name, depth + 1)?;
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

    fn insert(&mut self, name: String, view: &View) -> Result<(), String> {
        self.found.insert(name, view.clone());
        match self.found.len() > MAX_TENSORS {
            true => Err(format!("more than {MAX_TENSORS} tensors")),
            false => Ok(()),
        }
    }
}
