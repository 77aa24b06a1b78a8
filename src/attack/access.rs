//! What attacks need from their victim.

use serde::{Deserialize, Serialize};

/// What an attack needs from its victim: the threat model that its result speaks for. The most comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Input gradients: a white box.
    Gradients,
    /// Class scores alone: a black box.
    Logits,
    /// The predicted class alone: a black box.
    Label,
    /// Nothing of the victim but a substitute network: a black box.
    Substitute,
    /// Nothing of the victim any more: what it adds was learned before, on the victim or another network.
    Learned,
    /// Nothing at all: noise, which is no attack but its baseline.
    Nothing,
}

impl Access {
    /// Whether the attack sees inside the victim.
    pub const fn is_white_box(self) -> bool {
        matches!(self, Self::Gradients)
    }

    /// Whether the attack asks the victim while it works, about more than whether it has succeeded.
    pub const fn asks(self) -> bool {
        matches!(self, Self::Gradients | Self::Logits | Self::Label)
    }

    /// Whether the attack sees answers alone, or a substitute.
    pub const fn is_black_box(self) -> bool {
        matches!(self, Self::Logits | Self::Label | Self::Substitute)
    }
}

/// For example `white box`.
impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gradients => "white box",
            Self::Logits => "black box, scores",
            Self::Label => "black box, labels",
            Self::Substitute => "black box, substitute",
            Self::Learned => "learned before",
            Self::Nothing => "noise",
        })
    }
}
