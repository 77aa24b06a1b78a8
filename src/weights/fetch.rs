//! Published weights.

use std::path::PathBuf;

use crate::download::{DownloadError, Downloader, Remote};
use crate::model::DenseNetConfig;
use crate::pixels::Normalization;

/// Weights that others have published for a DenseNet.
///
/// torchvision's are for ImageNet's 1000 classes; top-1 accuracy as torchvision states it (`IMAGENET1K_V1`).
/// TorchXRayVision's are for one-channel chest X-rays and 18 findings (Cohen et al., "TorchXRayVision: A library
/// of chest X-ray datasets and models", MIDL 2022); a set that lacks a finding leaves its output untrained.
///
/// | weights | trained on | published length | published SHA-256 |
/// | --- | --- | --- | --- |
/// | torchvision | ImageNet | to 0.001 MiB | first 8 digits, in the file's name |
/// | TorchXRayVision | chest X-rays | none | none |
///
/// So for TorchXRayVision's the server's certificate is the only witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pretrained {
    /// torchvision's DenseNet-121, 74.434 %.
    TorchvisionDenseNet121,
    /// torchvision's DenseNet-161, 77.138 %.
    TorchvisionDenseNet161,
    /// torchvision's DenseNet-169, 75.600 %.
    TorchvisionDenseNet169,
    /// torchvision's DenseNet-201, 76.896 %.
    TorchvisionDenseNet201,
    /// TorchXRayVision's `densenet121-res224-all`: NIH, PadChest, CheXpert, MIMIC, Google, OpenI and RSNA.
    TorchXrayVisionAll,
    /// TorchXRayVision's `densenet121-res224-nih`: NIH ChestX-ray14.
    TorchXrayVisionNih,
    /// TorchXRayVision's `densenet121-res224-pc`: PadChest.
    TorchXrayVisionPadChest,
    /// TorchXRayVision's `densenet121-res224-chex`: CheXpert.
    TorchXrayVisionCheXpert,
    /// TorchXRayVision's `densenet121-res224-rsna`: RSNA Pneumonia.
    TorchXrayVisionRsna,
    /// TorchXRayVision's `densenet121-res224-mimic_nb`: MIMIC-CXR, labelled by NegBio.
    TorchXrayVisionMimicNegBio,
    /// TorchXRayVision's `densenet121-res224-mimic_ch`: MIMIC-CXR, labelled by CheXpert's labeller.
    TorchXrayVisionMimicCheXpert,
}

impl Pretrained {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::TorchvisionDenseNet121,
        Self::TorchvisionDenseNet161,
        Self::TorchvisionDenseNet169,
        Self::TorchvisionDenseNet201,
        Self::TorchXrayVisionAll,
        Self::TorchXrayVisionNih,
        Self::TorchXrayVisionPadChest,
        Self::TorchXrayVisionCheXpert,
        Self::TorchXrayVisionRsna,
        Self::TorchXrayVisionMimicNegBio,
        Self::TorchXrayVisionMimicCheXpert,
    ];

    /// Where the file is and what is published about it.
    pub fn remote(self) -> Remote {
        match self {
            Self::TorchvisionDenseNet121 => torchvision("densenet121", "a639ec97", 30_845),
            Self::TorchvisionDenseNet161 => torchvision("densenet161", "8d451a50", 110_369),
            Self::TorchvisionDenseNet169 => torchvision("densenet169", "b2777c0a", 54_708),
            Self::TorchvisionDenseNet201 => torchvision("densenet201", "c1103571", 77_373),
            Self::TorchXrayVisionAll => torch_xray_vision("nih-pc-chex-mimic_ch-google-openi-kaggle"),
            Self::TorchXrayVisionNih => torch_xray_vision("nih"),
            Self::TorchXrayVisionPadChest => torch_xray_vision("pc"),
            Self::TorchXrayVisionCheXpert => torch_xray_vision("chex"),
            Self::TorchXrayVisionRsna => torch_xray_vision("kaggle"),
            Self::TorchXrayVisionMimicNegBio => torch_xray_vision("mimic_nb"),
            Self::TorchXrayVisionMimicCheXpert => torch_xray_vision("mimic_ch"),
        }
    }

    /// The network that the weights are for.
    pub fn config(self) -> DenseNetConfig {
        match self {
            Self::TorchvisionDenseNet121 => DenseNetConfig::densenet121(1000),
            Self::TorchvisionDenseNet161 => DenseNetConfig::densenet161(1000),
            Self::TorchvisionDenseNet169 => DenseNetConfig::densenet169(1000),
            Self::TorchvisionDenseNet201 => DenseNetConfig::densenet201(1000),
            _ => DenseNetConfig::densenet121(18).with_in_channels(1),
        }
    }

    /// What the weights expect of images in \[0,1\].
    pub fn normalization(self) -> Normalization {
        match self {
            Self::TorchvisionDenseNet121
            | Self::TorchvisionDenseNet161
            | Self::TorchvisionDenseNet169
            | Self::TorchvisionDenseNet201 => Normalization::IMAGENET,
            _ => Normalization::TORCHXRAYVISION,
        }
    }
}

/// The path of published weights in the downloader's cache, for [`load`](super::load()); downloaded the first time.
///
/// # Errors
///
/// As [`Downloader::fetch`].
///
/// ```no_run
/// use histoguard::download::Downloader;
/// use histoguard::prelude::*;
/// use histoguard::weights::Pretrained;
///
/// let pretrained = Pretrained::TorchvisionDenseNet121;
/// let path = weights::fetch(pretrained, &Downloader::new().with_progress_bar())?;
/// let net = weights::load(pretrained.config().init(&Device::default()), path)?;
/// let victim = Frozen::new(Normalized::new(net, pretrained.normalization()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fetch(pretrained: Pretrained, downloader: &Downloader) -> Result<PathBuf, DownloadError> {
    downloader.fetch(&pretrained.remote())
}

/// `torchvision/models/densenet.py`: address with the hash's first digits, and `_file_size` in MiB.
fn torchvision(name: &str, sha256: &str, thousandths_of_mib: u64) -> Remote {
    let bytes = |thousandths: u64| thousandths * (1 << 20) / 1000;
    Remote::new(
        format!("https://download.pytorch.org/models/{name}-{sha256}.pth"),
        bytes(thousandths_of_mib - 1)..=bytes(thousandths_of_mib + 1),
    )
    .with_sha256(sha256)
}

/// `torchxrayvision/models.py`, `model_urls`: addresses alone. The weights of such a network take 28 MB.
fn torch_xray_vision(data: &str) -> Remote {
    let release = "https://github.com/mlmed/torchxrayvision/releases/download/v1";
    let recipe = "densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt";
    Remote::new(format!("{release}/{data}-{recipe}"), 20 << 20..=128 << 20)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_differ_and_carry_the_hash_where_one_is_published() {
        let remotes = Pretrained::ALL.map(Pretrained::remote);
        let names: BTreeSet<&str> = remotes.iter().map(|remote| remote.file_name().unwrap()).collect();
        assert_eq!(names.len(), Pretrained::ALL.len());
        for remote in &remotes {
            assert!(remote.url().starts_with("https://"));
            let hashed = remote.url().starts_with("https://download.pytorch.org/");
            assert_eq!(remote.sha256().is_some_and(|hash| remote.url().contains(hash)), hashed);
        }
    }

    #[test]
    fn the_published_lengths_have_room_for_the_weights_alone() {
        for pretrained in Pretrained::ALL {
            let (remote, least) =
                (pretrained.remote(), 4 * pretrained.config().init(&Default::default()).num_weights() as u64);
            let most = least * 105 / 100;
            match remote.sha256() {
                Some(_) => assert!(*remote.bytes().start() > least && *remote.bytes().end() < most),
                None => assert!(remote.bytes().contains(&least) && remote.bytes().contains(&most)),
            }
        }
    }
}
