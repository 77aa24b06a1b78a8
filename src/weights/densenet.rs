//! Names of a DenseNet's tensors: torchvision's of today, those of its published files, and
//! TorchXRayVision's.

use super::checkpointed::Checkpointed;
use crate::model::DenseNet;

impl Checkpointed for DenseNet {
    const LISTS: &[(&str, &str)] =
        &[("denseblocks", "denseblock"), ("layers", "denselayer"), ("transitions", "transition")];

    /// `denselayer1.norm.1.weight` becomes `denselayer1.norm1.weight`.
    fn present_name(name: &str) -> String {
        ["norm.1", "norm.2", "conv.1", "conv.2"].iter().fold(name.to_string(), |name, old| {
            let Some((before, after)) = name.split_once(&format!(".{old}.")) else { return name };
            match before.rsplit('.').next().is_some_and(|parent| parent.starts_with("denselayer")) {
                true => format!("{before}.{}.{after}", old.replace('.', "")),
                false => name,
            }
        })
    }

    /// TorchXRayVision's modules carry their thresholds.
    fn is_beside(name: &str) -> bool {
        name == "op_threshs"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Normalized;

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
            ("features.norm5.gamma", "features.norm5.weight"),
        ] {
            assert_eq!(DenseNet::tensor_name(path), name);
            assert_eq!(Normalized::<DenseNet>::tensor_name(&format!("network.{path}")), name);
        }
    }

    #[test]
    fn old_names_become_present_ones() {
        let layer = "features.denseblock1.denselayer1";
        let present = DenseNet::present_name;
        assert_eq!(present(&format!("{layer}.norm.1.weight")), format!("{layer}.norm1.weight"));
        assert_eq!(present(&format!("{layer}.conv.2.weight")), format!("{layer}.conv2.weight"));
        for unchanged in
            ["features.transition1.norm.weight", "encoder.conv.1.weight", "denselayer1.norm1.bias"]
        {
            assert_eq!(present(unchanged), unchanged);
        }
    }
}
