//! The attacks by the names that the command line knows.

use histoguard::attack::{
    ApgdLoss, AutoAttack, CarliniWagner, CarliniWagnerLinf, Ddn, DeepFool, Ead, Fab, Fmn, HopSkipJump, Jsma,
    Lbfgs, MiFgsm, MinimalFgsm, RFgsm, RandomNoise, Scanner, SigmaZero, Square, Stain, StainGrid,
};
use histoguard::prelude::*;

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
    "fmn",
    "ddn",
    "fab",
    "cw",
    "ead",
    "sigma-zero",
    "hopskipjump",
    "stain-light",
    "stain",
    "stain-grid-light",
    "stain-grid",
    "scanner",
];

/// The attack with one of these names in the norm of this budget, or `lbfgs` or `jsma`, which want a target; a black box
/// with at most so many queries an image or its paper's number; one that no norm bounds is the same with any budget.
/// `None` if there is none.
pub fn attack_by_name(name: &str, budget: Budget, queries: Option<usize>) -> Option<Box<dyn Attack>> {
    use Norm::{L0, L1, L2, Linf};
    let norm = budget.norm();
    Some(match (name, norm) {
        ("noise", Linf) => Box::new(RandomNoise::uniform(budget.epsilon()).with_repeats(10)),
        ("noise", L2) => Box::new(RandomNoise::gaussian(budget.size()).with_repeats(10)),
        ("noise", L0) => Box::new(RandomNoise::salt_and_pepper(budget.size() as usize).with_repeats(10)),
        ("fgsm", Linf | L2 | L1) => Box::new(Fgsm::new(budget)),
        ("rfgsm", Linf) => Box::new(RFgsm::new(budget)),
        ("bim", Linf | L2 | L1) => Box::new(Bim::new(budget)),
        ("mifgsm", Linf | L2) => Box::new(MiFgsm::new(budget)),
        ("pgd", Linf | L2 | L1) => Box::new(Pgd::new(budget).with_steps(20)),
        ("apgd-ce", Linf | L2 | L1) => Box::new(Apgd::new(budget)),
        ("apgd-margin", Linf | L2 | L1) => Box::new(Apgd::new(budget).with_loss(ApgdLoss::Margin)),
        ("autoattack", Linf | L2 | L1) => Box::new(AutoAttack::standard(budget)),
        ("square", Linf | L2 | L1) => {
            let square = Square::new(budget);
            Box::new(square.with_queries(queries.unwrap_or(square.queries)))
        }
        ("minimal-fgsm", Linf | L2 | L1) => Box::new(MinimalFgsm::new().with_norm(norm)),
        ("deepfool", Linf | L2) => Box::new(DeepFool::new().with_norm(norm)),
        ("fmn", Linf | L2 | L1 | L0) => Box::new(Fmn::new(norm)),
        ("ddn", L2) => Box::new(Ddn::new()),
        ("fab", Linf | L2 | L1) => Box::new(Fab::new(norm)),
        ("cw", L2) => Box::new(CarliniWagner::new()),
        ("cw", Linf) => Box::new(CarliniWagnerLinf::new()),
        ("ead", L1) => Box::new(Ead::new()),
        ("sigma-zero", L0) => Box::new(SigmaZero::new()),
        ("hopskipjump", Linf | L2) => Box::new(HopSkipJump::new().with_norm(norm).with_queries(queries)),
        ("lbfgs", L2) => Box::new(Lbfgs::new()),
        ("jsma", L0) => Box::new(Jsma::new()),
        ("stain-light", _) => Box::new(Stain::light()),
        ("stain", _) => Box::new(Stain::strong()),
        ("stain-grid-light", _) => Box::new(StainGrid::light()),
        ("stain-grid", _) => Box::new(StainGrid::strong()),
        ("scanner", _) => Box::new(Scanner::new()),
        _ => return None,
    })
}
