//! Names of tensors that no network owns: burn's paths, PyTorch's names and what training scripts put
//! before them.

/// burn's path of a parameter as PyTorch's name: `blocks.0.norm.gamma` becomes `block1.norm.weight` where
/// `lists` has `("blocks", "block")`.
pub(super) fn torch_name(path: &str, lists: &[(&str, &str)]) -> String {
    let path = path.trim_start_matches(WRAPPER);
    let mut parts: Vec<String> = Vec::new();
    let mut rest = path.split('.').peekable();
    while let Some(part) = rest.next() {
        let list = lists.iter().find(|(list, _)| *list == part);
        let index = rest.peek().and_then(|index| index.parse::<usize>().ok());
        parts.push(match (list, index, part) {
            (Some((_, item)), Some(index), _) => {
                rest.next();
                format!("{item}{}", index + 1)
            }
            (_, _, "gamma") if rest.peek().is_none() => "weight".into(),
            (_, _, "beta") if rest.peek().is_none() => "bias".into(),
            _ => part.into(),
        });
    }
    parts.join(".")
}

/// `classifier.weight` for `classifier.1.weight`, the linear layer of a classifier with a dropout before or
/// a sigmoid after it: the name without one of its numbers, each in turn.
pub(super) fn without_sequential(name: &str) -> Vec<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    // The first part would be before the network's names, the last is the tensor's own.
    let inner = 1..parts.len().saturating_sub(1);
    let without = |place: usize| [&parts[..place], &parts[place + 1..]].concat().join(".");
    inner.filter(|place| is_number(parts[*place])).map(without).collect()
}

/// Whether a tensor counts the batches of a batch norm, which is no weight.
pub(super) fn counts_batches(name: &str) -> bool {
    name.ends_with(".num_batches_tracked")
}

/// The path of the network inside a [`Normalized`](crate::model::Normalized).
pub(super) const WRAPPER: &str = "network.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_names() {
        let lists = [("blocks", "block")];
        for (path, name) in [
            ("network.blocks.9.norm.gamma", "block10.norm.weight"),
            ("blocks.0.norm.beta", "block1.norm.bias"),
            ("blocks.last.gamma.weight", "blocks.last.gamma.weight"),
            ("others.0.weight", "others.0.weight"),
        ] {
            assert_eq!(torch_name(path, &lists), name);
        }
    }

    #[test]
    fn numbers_of_containers_are_left_out_one_by_one() {
        assert_eq!(without_sequential("classifier.1.weight"), ["classifier.weight"]);
        assert_eq!(without_sequential("a.0.b.12.weight"), ["a.b.12.weight", "a.0.b.weight"]);
        assert!(without_sequential("1.classifier.weight").is_empty());
        assert!(without_sequential("classifier.0").is_empty());
    }
}
