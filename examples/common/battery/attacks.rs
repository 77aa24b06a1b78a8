//! The attacks by the names that the command line knows.

use histoguard::attack::{
    ApgdLoss, AutoAttack, CarliniWagner, CarliniWagnerLinf, DeepFool, Ead, Fab, HopSkipJump, MiFgsm,
    MinimalFgsm, RFgsm, RandomNoise, Square,
};
use histoguard::prelude::*;

/// BreakHis's: benign and malignant.
const CLASSES: usize = 2;

/// What runs if nothing else is asked for: minutes, where Square and HopSkipJump take thousands of queries an image.
pub const DEFAULT: &[&str] = &["noise", "fgsm", "pgd", "apgd-ce", "apgd-margin", "fab"];

/// Every name that [`attack_by_name`] knows, in the order of a full battery: cheap ones first.
pub const NAMES: &[&str] = &[
    "noise",
    "fgsm",
    "rfgsm",
    "bim",
    "mifgsm",
    "pgd",
    "apgd-ce",
    "apgd-margin",
    "autoattack",
    "square",
    "minimal-fgsm",
    "deepfool",
    "fab",
    "cw",
    "ead",
    "hopskipjump",
];

/// The attack with this name; `None` if there is none, or none in this norm.
pub fn attack_by_name(name: &str, norm: Norm, epsilon: Epsilon) -> Option<Box<dyn Attack>> {
    use Norm::{L1, L2, Linf};
    Some(match (name, norm) {
        ("noise", Linf) => Box::new(RandomNoise::uniform(epsilon).with_repeats(10)),
        ("fgsm", Linf | L2 | L1) => Box::new(Fgsm::new(epsilon).with_norm(norm)),
        ("rfgsm", Linf) => Box::new(RFgsm::new(epsilon)),
        ("bim", Linf | L2 | L1) => Box::new(Bim::new(epsilon).with_norm(norm)),
        ("mifgsm", Linf | L2) => Box::new(MiFgsm::new(epsilon).with_norm(norm)),
        ("pgd", Linf | L2 | L1) => Box::new(Pgd::new(epsilon).with_norm(norm).with_steps(20)),
        ("apgd-ce", Linf | L2 | L1) => Box::new(Apgd::new(epsilon).with_norm(norm)),
        ("apgd-margin", Linf | L2 | L1) => {
            Box::new(Apgd::new(epsilon).with_norm(norm).with_loss(ApgdLoss::Margin))
        }
        ("autoattack", Linf | L2 | L1) => Box::new(AutoAttack::standard(CLASSES, norm, epsilon)),
        ("square", Linf | L2) => Box::new(Square::new(epsilon).with_norm(norm)),
        ("minimal-fgsm", Linf | L2 | L1) => Box::new(MinimalFgsm::new().with_norm(norm)),
        ("deepfool", Linf | L2) => Box::new(DeepFool::new().with_norm(norm)),
        ("fab", Linf | L2 | L1) => Box::new(Fab::new(norm)),
        ("cw", L2) => Box::new(CarliniWagner::new()),
        ("cw", Linf) => Box::new(CarliniWagnerLinf::new()),
        ("ead", L1) => Box::new(Ead::new()),
        ("hopskipjump", Linf | L2) => Box::new(HopSkipJump::new().with_norm(norm)),
        _ => return None,
    })
}
