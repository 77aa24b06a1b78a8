//! Which of a file's tensors are the network's.

use std::collections::{BTreeMap, BTreeSet};

use super::checkpointed::Checkpointed;
use super::names;
use super::stored::Stored;
use super::target::{self, Slot};

/// The most parts that a file may put before the network's names.
const MAX_PREFIX_PARTS: usize = 16;

/// A network as it lies in a file.
pub(super) struct Network {
    /// What the file has before the network's names.
    pub(super) prefix: String,
    /// Every prefix that has the very same tensors.
    pub(super) tied: Vec<String>,
    /// The name in the file of each slot's tensor.
    pub(super) names: BTreeMap<String, String>,
    /// Names among the network's that the network does not have, or has already.
    pub(super) unexpected: Vec<String>,
    /// Names of what is beside the network.
    pub(super) left_out: Vec<String>,
}

/// Why no network was found.
pub(super) enum Unclear {
    /// Several are there, under these prefixes.
    Several(Vec<String>),
    /// Nothing begins with the prefix that was asked for, but with these.
    NoSuchPrefix(Vec<String>),
}

/// A slot's name, and the names of the file's tensors that lay claim to it.
type Claims<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// Finds the network: the one prefix below which every slot that is `needed` has a tensor that `fits`.
/// Where there is none, the one with most of them, so that it can be told what is wrong.
pub(super) fn find<M: Checkpointed>(
    tensors: &BTreeMap<String, Stored>,
    slots: &[Slot],
    own_head: bool,
    wanted: Option<&str>,
    fits: impl Fn(&Slot, &Stored) -> bool,
) -> Result<Network, Unclear> {
    let mut claims = claims::<M>(tensors, slots);
    if !own_head {
        lend_heads(&mut claims, slots);
    }
    let needed: Vec<&Slot> = slots.iter().filter(|slot| !(own_head && slot.is_head)).collect();
    let fitting = |claims: &Claims| {
        let fit = |slot: &&&Slot| claims.get(&*slot.name).is_some_and(|names| fits(slot, &tensors[names[0]]));
        needed.iter().filter(fit).count()
    };
    let everywhere: Vec<&str> = claims
        .iter()
        .filter(|(_, claims)| fitting(claims) == needed.len())
        .map(|(prefix, _)| prefix.as_str())
        .collect();
    let meant = meant(&claims, &everywhere, wanted)?;
    let whole: Vec<&str> = everywhere.iter().copied().filter(|prefix| meant.contains(prefix)).collect();
    let is_same = |a: &str, b: &str| {
        needed
            .iter()
            .all(|slot| tensors[claims[a][&*slot.name][0]].is_tied_to(&tensors[claims[b][&*slot.name][0]]))
    };
    let chosen = match whole.split_first() {
        Some((first, rest)) if rest.iter().all(|other| is_same(first, other)) => first,
        Some(_) => return Err(Unclear::Several(whole.into_iter().map(str::to_string).collect())),
        None => {
            // The shortest of those with most.
            let most = |prefix: &&&str| (claims[**prefix].len(), fitting(&claims[**prefix]));
            meant.iter().rev().max_by_key(most).copied().unwrap_or_default()
        }
    };
    let none = Claims::new();
    let chosen_claims = claims.get(chosen).unwrap_or(&none);
    let elsewhere: Vec<&str> = everywhere.into_iter().filter(|other| *other != chosen).collect();
    let (unexpected, mut left_out) = others::<M>(tensors, slots, own_head, chosen, chosen_claims, &elsewhere);
    // Of tied tensors, nothing is left out.
    left_out.retain(|name| !whole.iter().any(|tied| *tied != chosen && name.starts_with(tied)));
    let names = chosen_claims.iter().map(|(slot, names)| (slot.to_string(), names[0].to_string())).collect();
    let tied = whole.into_iter().map(str::to_string).collect();
    Ok(Network { prefix: chosen.to_string(), tied, names, unexpected, left_out })
}

/// By prefix, what lies below it under the network's names.
fn claims<'a, M: Checkpointed>(
    tensors: &'a BTreeMap<String, Stored>,
    slots: &'a [Slot],
) -> BTreeMap<String, Claims<'a>> {
    let expected: BTreeSet<&str> = slots.iter().map(|slot| slot.name.as_str()).collect();
    let longest = expected.iter().map(|name| name.len()).max().unwrap_or(0);
    let mut claims: BTreeMap<String, Claims> = BTreeMap::new();
    for name in tensors.keys().filter(|name| !names::counts_batches(name)) {
        let starts = std::iter::once(0).chain(name.match_indices('.').map(|(place, _)| place + 1));
        for start in starts.take(MAX_PREFIX_PARTS) {
            let (prefix, rest) = name.split_at(start);
            // Older names and containers make a name a little longer.
            if rest.len() > 2 * longest + 64 {
                continue;
            }
            let present = M::present_name(rest);
            let plain = std::iter::once(present.clone()).chain(names::without_sequential(&present));
            if let Some(slot) = plain.into_iter().find_map(|plain| expected.get(plain.as_str()).copied()) {
                let claims = claims.entry(prefix.to_string()).or_default().entry(slot).or_default();
                // The name itself goes before one that is it without a container.
                claims.insert(if present == slot { 0 } else { claims.len() }, name);
            }
        }
    }
    claims
}

/// Gives a network without a head the nearest one around it, as of a module that has the features as an
/// attribute and the last layer as another.
fn lend_heads<'a>(claims: &mut BTreeMap<String, Claims<'a>>, slots: &'a [Slot]) {
    let heads: Vec<&str> = slots.iter().filter(|slot| slot.is_head).map(|slot| slot.name.as_str()).collect();
    let features = slots.len() - heads.len();
    let is_headless =
        |claims: &Claims| claims.len() == features && !heads.iter().any(|head| claims.contains_key(head));
    let headless: Vec<String> =
        claims.iter().filter(|(_, claims)| is_headless(claims)).map(|(prefix, _)| prefix.clone()).collect();
    for prefix in headless {
        let around = claims.iter().rev().find(|(outer, claims)| {
            **outer != prefix
                && prefix.starts_with(outer.as_str())
                && heads.iter().all(|head| claims.contains_key(head))
        });
        let lent = around
            .map(|(_, claims)| heads.iter().map(|head| (*head, claims[head].clone())).collect::<Vec<_>>());
        claims.get_mut(&prefix).expect("just found").extend(lent.unwrap_or_default());
    }
}

/// The prefixes that are meant: all, or those that begin as the wanted one, or if the whole network is
/// under that, it alone.
fn meant<'a>(
    claims: &'a BTreeMap<String, Claims>,
    everywhere: &[&str],
    wanted: Option<&str>,
) -> Result<Vec<&'a str>, Unclear> {
    let all = || claims.keys().map(String::as_str);
    let Some(wanted) = wanted else { return Ok(all().collect()) };
    let exactly = wanted.is_empty() || everywhere.contains(&wanted);
    let fits = |prefix: &&str| *prefix == wanted || (!exactly && prefix.starts_with(wanted));
    match all().filter(fits).collect::<Vec<_>>() {
        none if none.is_empty() => Err(Unclear::NoSuchPrefix(all().map(str::to_string).collect())),
        meant => Ok(meant),
    }
}

/// What else is in the file: among the network's tensors, and beside them.
fn others<M: Checkpointed>(
    tensors: &BTreeMap<String, Stored>,
    slots: &[Slot],
    own_head: bool,
    prefix: &str,
    claims: &Claims,
    elsewhere: &[&str],
) -> (Vec<String>, Vec<String>) {
    let parts = target::parts(slots);
    let used: BTreeSet<&str> = claims.values().map(|names| names[0]).collect();
    let entries: BTreeSet<&str> = used.iter().map(|name| &name[..tensors[*name].entry]).collect();
    let twice = |name: &String| {
        let tied = |names: &&Vec<&str>| tensors[names[0]].is_tied_to(&tensors[name]);
        claims.values().find(|names| names.contains(&name.as_str())).is_some_and(|names| !tied(&names))
    };
    let (mut unexpected, mut left_out) = (Vec::new(), Vec::new());
    for (name, tensor) in tensors.iter().filter(|(name, _)| !used.contains(name.as_str())) {
        let rest = name.strip_prefix(prefix);
        if names::counts_batches(name) || rest.is_some_and(|rest| M::is_beside(&M::present_name(rest))) {
            continue;
        }
        let is_part = rest.and_then(|rest| rest.split('.').next()).is_some_and(|part| parts.contains(part));
        let is_elsewhere = elsewhere.iter().any(|other| other.starts_with(prefix) && name.starts_with(other));
        let is_apart = tensor.entry > prefix.len() && !entries.contains(&name[..tensor.entry]);
        // Where the file's head does not matter, it may have any name that is not a part of the network's.
        let is_inside = rest.is_some() && !is_elsewhere && (is_part || !(own_head || is_apart));
        if twice(name) || is_inside {
            unexpected.push(name.clone());
        } else {
            left_out.push(name.clone());
        }
    }
    (unexpected, left_out)
}
