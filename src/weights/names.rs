//! Names of tensors that no network owns: burn's paths, PyTorch's names and what training scripts put before them.

/// burn's path of a parameter as PyTorch's name: `blocks.0.norm.gamma` becomes `block1.norm.weight` where `lists` has
/// `("blocks", "block")`.
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

/// `classifier.weight` for `classifier.0.weight`, the linear layer of a classifier that ends in a sigmoid.
pub(super) fn without_sequential(name: &str) -> Option<String> {
    let (before, after) = name.split_once(".0.")?;
    Some(format!("{before}.{after}"))
}

/// Whether a tensor counts the batches of a batch norm, which is no weight.
pub(super) fn counts_batches(name: &str) -> bool {
    name.ends_with(".num_batches_tracked")
}

/// What training scripts put before a network's names: `DataParallel`, `torch.compile`, and the attribute of a
/// wrapping module.
pub(super) const PREFIXES: [&str; 7] =
    ["module.", "_orig_mod.", "model.", "net.", WRAPPER, "backbone.", "encoder."];

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
}
