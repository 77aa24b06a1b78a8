//! Names of tensors: torchvision's, those of its old files, and burn's paths.

/// burn's path of a parameter as torchvision's name: `features.denseblocks.0.layers.1.norm1.gamma` becomes
/// `features.denseblock1.denselayer2.norm1.weight`. A [`Normalized`](crate::model::Normalized) leaves no
/// trace.
pub(super) fn torch_name(path: &str) -> String {
    let path = path.trim_start_matches(WRAPPER);
    let mut parts: Vec<String> = Vec::new();
    let mut rest = path.split('.').peekable();
    while let Some(part) = rest.next() {
        let list = LISTS.iter().find(|(list, _)| *list == part);
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

/// A name of torchvision's published files in the present form: `denselayer1.norm.1.weight` becomes
/// `denselayer1.norm1.weight`.
pub(super) fn modern(name: &str) -> String {
    ["norm.1", "norm.2", "conv.1", "conv.2"].iter().fold(name.to_string(), |name, old| {
        let Some((before, after)) = name.split_once(&format!(".{old}.")) else { return name };
        match before.rsplit('.').next().is_some_and(|parent| parent.starts_with("denselayer")) {
            true => format!("{before}.{}.{after}", old.replace('.', "")),
            false => name,
        }
    })
}

/// `classifier.weight` for `classifier.0.weight`, the linear layer of a classifier that ends in a sigmoid.
pub(super) fn without_sequential(name: &str) -> Option<String> {
    let (before, after) = name.split_once(".0.")?;
    Some(format!("{before}.{after}"))
}

/// Whether a tensor is none of the network's weights: batch norms count batches, TorchXRayVision's modules carry
/// their thresholds.
pub(super) fn is_beside(name: &str) -> bool {
    name.ends_with(".num_batches_tracked") || name == "op_threshs"
}

/// What training scripts put before the network's names: `DataParallel`, `torch.compile`, and the attribute of
/// a wrapping module, which CheXNet's calls `densenet121`.
pub(super) const PREFIXES: [&str; 11] = [
    "module.",
    "_orig_mod.",
    "model.",
    "net.",
    WRAPPER,
    "backbone.",
    "encoder.",
    "densenet121.",
    "densenet161.",
    "densenet169.",
    "densenet201.",
];

/// The path of the network inside a [`Normalized`](crate::model::Normalized).
pub(super) const WRAPPER: &str = "network.";

const LISTS: [(&str, &str); 3] =
    [("denseblocks", "denseblock"), ("layers", "denselayer"), ("transitions", "transition")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_names_map_to_each_other() {
        for (path, name) in [
            ("features.conv0.weight", "features.conv0.weight"),
            (
                "features.denseblocks.0.layers.10.conv2.weight",
                "features.denseblock1.denselayer11.conv2.weight",
            ),
            ("features.transitions.2.norm.running_mean", "features.transition3.norm.running_mean"),
            ("classifier.bias", "classifier.bias"),
            ("encoder.3.weight", "encoder.3.weight"),
        ] {
            assert_eq!(torch_name(path), name);
            assert_eq!(torch_name(&format!("network.{path}")), name);
        }
        assert_eq!(torch_name("features.norm5.gamma"), "features.norm5.weight");
        assert_eq!(torch_name("features.norm5.beta"), "features.norm5.bias");
    }

    #[test]
    fn old_names_become_present_ones() {
        let layer = "features.denseblock1.denselayer1";
        assert_eq!(modern(&format!("{layer}.norm.1.weight")), format!("{layer}.norm1.weight"));
        assert_eq!(modern(&format!("{layer}.conv.2.weight")), format!("{layer}.conv2.weight"));
        for unchanged in
            ["features.transition1.norm.weight", "encoder.conv.1.weight", "denselayer1.norm1.bias"]
        {
            assert_eq!(modern(unchanged), unchanged);
        }
    }
}
