//! Where in a file's names the network is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::checkpointed::Checkpointed;
use super::names;
use super::stored::Stored;
use super::target::Slot;

/// How many parts of a name may come before the network's.
const MAX_PREFIX: usize = 8;

/// A network's tensors among those of a file.
pub(super) struct Located {
    /// What is before every name, such as `module.`.
    pub(super) prefix: String,
    /// By their present names.
    pub(super) tensors: BTreeMap<String, Stored>,
    /// Names that two tensors lay claim to.
    pub(super) twice: Vec<String>,
    /// Names of tensors outside of the network.
    pub(super) beside: Vec<String>,
}

/// Finds the network below the prefix that is asked for, or else below the only one that has all of it; of several that
/// do, their prefixes.
///
/// A file that has it nowhere gives what comes nearest, so that it can be said what is missing.
pub(super) fn locate<M: Checkpointed>(
    stored: BTreeMap<String, Stored>,
    slots: &[Slot],
    own_head: bool,
    wanted: Option<&str>,
) -> Result<Located, Vec<String>> {
    let expected: BTreeSet<&str> = slots.iter().map(|slot| slot.name.as_str()).collect();
    let prefix = match wanted {
        Some(wanted) => wanted.to_string(),
        None => prefix::<M>(&stored, slots, own_head, &expected)?,
    };
    let (mut tensors, mut twice, mut beside) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (name, tensor) in stored {
        let Some(inner) = name.strip_prefix(&prefix) else {
            beside.push(name);
            continue;
        };
        if names::counts_batches(inner) || M::is_beside(inner) {
            continue;
        }
        if tensors.insert(present::<M>(inner, &expected), tensor).is_some() {
            twice.push(name);
        }
    }
    Ok(Located { prefix, tensors, twice, beside })
}

fn prefix<M: Checkpointed>(
    stored: &BTreeMap<String, Stored>,
    slots: &[Slot],
    own_head: bool,
    expected: &BTreeSet<&str>,
) -> Result<String, Vec<String>> {
    let mut found: HashMap<&str, BTreeMap<&str, &Stored>> = HashMap::new();
    for (name, tensor) in stored {
        let dots = name.match_indices('.').map(|(dot, _)| dot + 1);
        for start in [0].into_iter().chain(dots.take(MAX_PREFIX)) {
            if let Some(slot) = expected.get(present::<M>(&name[start..], expected).as_str()) {
                found.entry(&name[..start]).or_default().insert(slot, tensor);
            }
        }
    }
    let needed = || slots.iter().filter(|slot| !(own_head && slot.is_head)).map(|slot| slot.name.as_str());
    let is_whole = |tensors: &BTreeMap<&str, &Stored>| needed().all(|name| tensors.contains_key(name));
    let mut whole: Vec<&str> =
        found.iter().filter(|(_, tensors)| is_whole(tensors)).map(|(prefix, _)| *prefix).collect();
    whole.sort_by_key(|prefix| (prefix.len(), prefix.to_string()));
    let same = |other: &&str| needed().all(|name| found[whole[0]][name].is_same(found[*other][name]));
    match whole.as_slice() {
        [] => {
            let nearest = found.iter().max_by_key(|(prefix, tensors)| {
                (tensors.len(), std::cmp::Reverse((prefix.len(), prefix.to_string())))
            });
            Ok(nearest.map_or_else(String::new, |(prefix, _)| prefix.to_string()))
        }
        // One network under several names is one.
        [first, others @ ..] if others.iter().all(same) => Ok(first.to_string()),
        several => Err(several.iter().map(|prefix| prefix.to_string()).collect()),
    }
}

/// The present form of a name, without the place in a `Sequential` that the network does not have.
fn present<M: Checkpointed>(name: &str, expected: &BTreeSet<&str>) -> String {
    let present = M::present_name(name);
    if expected.contains(present.as_str()) {
        return present;
    }
    names::without_sequential(&present).filter(|plain| expected.contains(plain.as_str())).unwrap_or(present)
}
