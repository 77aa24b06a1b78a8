//! The kinds of files that the campaign feeds.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A kind of files that are read, and so may be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// PNG, JPEG, TIFF and BMP files.
    Images,
    /// PyTorch, safetensors and burnpack files of weights.
    Checkpoints,
    /// What is finished of an evaluation, a transfer matrix and a certification.
    Journals,
    /// What is finished of a training: its history, and its checkpoints of network, optimizer and schedule.
    Histories,
    /// BreakHis's fold files.
    Splits,
    /// Names of images and folders.
    Names,
    /// `report.json`.
    Reports,
    /// `.tar.gz` files that are unpacked.
    Archives,
    /// What a server answers to a download.
    Responses,
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Images,
        Self::Checkpoints,
        Self::Journals,
        Self::Histories,
        Self::Splits,
        Self::Names,
        Self::Reports,
        Self::Archives,
        Self::Responses,
    ];

    /// How many of a thousand inputs are of this kind: few where each is a whole run.
    pub fn weight(self) -> u64 {
        match self {
            Self::Images => 380,
            Self::Checkpoints => 250,
            Self::Journals => 40,
            Self::Histories => 4,
            Self::Splits => 110,
            Self::Names => 90,
            Self::Reports => 46,
            Self::Archives => 70,
            Self::Responses => 10,
        }
    }

    /// The most bytes that reading an input may ask for, beside 64 for each of its own.
    ///
    /// A decoder of images may ask for 512 MiB, and an image of one channel becomes one of three. What is a
    /// whole run has its network and its images in memory.
    pub fn memory(self) -> usize {
        match self {
            Self::Images => 1280 << 20,
            Self::Histories | Self::Journals => 256 << 20,
            _ => 64 << 20,
        }
    }

    pub fn name(self) -> String {
        self.to_possible_value().expect("no kind is hidden").get_name().to_string()
    }
}
