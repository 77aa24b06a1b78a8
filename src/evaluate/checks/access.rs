//! Weaker attacks that do better than stronger ones.

use crate::attack::MaskSummary;
use crate::evaluate::result::{About, AttackResult, Check, EvaluationResult, ImageRecord};
use crate::pixels::Budget;

const BLACK_BOX: About = About {
    name: "black box better than white box",
    matters: "A white box knows everything that a black box knows. If answers alone, or another network's \
              gradients, break more images, the gradients mislead: they are masked, and the white-box numbers \
              overstate robustness.",
    source: "AutoAttack, checks.py, check_square_sr; Carlini et al. 2019, Verify white-box attacks perform better \
             than black-box attacks",
};

const ONE_STEP: About = About {
    name: "one step better than many",
    matters: "Many steps can do whatever one step does. If one step breaks more images, the iterative attack is \
              stuck: its step size is wrong, or the gradients at nearby points are masked.",
    source: "Carlini et al. 2019, Perform basic sanity tests; Athalye, Carlini & Wagner, ICML 2018, section 3.1",
};

type Kind = fn(&AttackResult) -> bool;

/// Images that a black box breaks and no white box.
pub(super) fn black_box(result: &EvaluationResult) -> Check {
    let missing = "it needs a black-box attack and a white-box attack in one norm";
    let is_white_box: Kind = |attack| attack.profile.access.is_white_box();
    compare(result, &BLACK_BOX, missing, |attack| attack.profile.access.is_black_box(), is_white_box)
}

/// Images that one gradient step breaks and no white box with several.
pub(super) fn one_step(result: &EvaluationResult) -> Check {
    let missing = "it needs a white-box attack of one step and one of several in one norm";
    let is_single =
        |attack: &AttackResult| attack.profile.access.is_white_box() && attack.profile.steps == Some(1);
    compare(result, &ONE_STEP, missing, is_single, is_iterative)
}

/// A white box that may take more than one step.
pub(super) fn is_iterative(attack: &AttackResult) -> bool {
    attack.profile.access.is_white_box() && attack.profile.steps != Some(1)
}

/// Images left by the weak attacks and by the strong ones, with the same budget.
struct Left {
    budget: Budget,
    weak: usize,
    strong: usize,
    only_weak: usize,
}

impl Left {
    /// `None` if one of the kinds has no attack with this budget on this part of the image.
    fn new(
        result: &EvaluationResult,
        budget: Budget,
        mask: &Option<MaskSummary>,
        [weak, strong]: [Kind; 2],
    ) -> Option<Self> {
        let (weak, strong) = (broken(result, budget, mask, weak)?, broken(result, budget, mask, strong)?);
        let left = |broken: &[bool]| broken.iter().filter(|broken| !**broken).count();
        let only_weak = weak.iter().zip(&strong).filter(|(weak, strong)| **weak && !**strong).count();
        Some(Self { budget, weak: left(&weak), strong: left(&strong), only_weak })
    }
}

/// Whether an attack of this kind with this budget, on this part of the image, broke each image that is
/// right; `None` if there is no such attack.
fn broken(
    result: &EvaluationResult,
    budget: Budget,
    mask: &Option<MaskSummary>,
    kind: Kind,
) -> Option<Vec<bool>> {
    let of_kind = |(_, attack): &(usize, &AttackResult)| kind(attack) && attack.profile.mask == *mask;
    let attacks = result.attacks.iter().enumerate().filter(of_kind);
    let places: Vec<(usize, usize)> =
        attacks.filter_map(|(a, attack)| Some((a, attack.budgets().position(|b| b == budget)?))).collect();
    let fell = |image: &ImageRecord| places.iter().any(|&(a, at)| image.attacks[a].at[at].fell(image.label));
    let right = result.records.iter().filter(|image| image.is_right());
    (!places.is_empty()).then(|| right.map(fell).collect())
}

fn compare(result: &EvaluationResult, about: &About, missing: &str, weak: Kind, strong: Kind) -> Check {
    let budgets = result.worst_cases.iter().flat_map(|worst| &worst.sweep).map(|under| under.budget);
    // What may change anything knows more than what is held to a part of the image.
    let masks: Vec<_> = result.attacks.iter().map(|attack| &attack.profile.mask).collect();
    let compared = budgets.filter(|budget| !budget.is_zero()).flat_map(|budget| {
        masks.iter().filter_map(move |mask| Left::new(result, budget, mask, [weak, strong]))
    });
    // On survivors alone the attacks saw different images: what counts is whom the strong ones spared, and
    // that every weak attack ran after them.
    let later = result.attacks.iter().rposition(strong) < result.attacks.iter().position(weak);
    let lead = |left: &Left| match result.only_survivors {
        true => left.only_weak,
        false => left.strong.saturating_sub(left.weak),
    };
    let Some(most) = compared.max_by_key(lead) else { return about.not_applicable(missing) };
    let seen = format!(
        "at {} epsilon {} the weaker kind leaves {} images right and the stronger {}; {} fall to the weaker alone",
        most.budget.norm(),
        most.budget.shown(),
        most.weak,
        most.strong,
        most.only_weak
    );
    about.check(lead(&most) > 0 && (later || !result.only_survivors), seen)
}
