//! Attacks that know a defense beside attacks that do not.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::attack_result::AttackResult;
use super::metrics::share;
use super::outcome::ImageRecord;
use super::under_attack::Summariser;
use crate::attack::Access;
use crate::pixels::{Budget, round};
use crate::statistics::Proportion;

/// A defended classifier with one budget under an attack that was made for another network, under attacks
/// whose gradients go through it, and under attacks that see its answers: what
/// [`attack_views`](crate::defense::attack_views) lines up (Athalye, Carlini & Wagner, "Obfuscated Gradients
/// Give a False Sense of Security", ICML 2018).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackViews {
    /// How far the attacks may go.
    pub budget: Budget,
    /// A [`Transfer`](crate::attack::Transfer), which knows nothing of the classifier.
    pub oblivious: AttackView,
    /// The attack inside the transfer with the classifier's own gradients, or else all white boxes.
    pub adaptive: Option<AttackView>,
    /// The attacks that ask for scores or classes.
    pub black_box: Option<AttackView>,
    /// The oblivious view's accuracy minus the adaptive view's, to 12 significant digits: what rests on the
    /// attacker not knowing the classifier.
    pub gap: Option<f64>,
}

/// Right answers under some attacks with one budget: an image is right if none of them has broken it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackView {
    /// Labels of the attacks.
    pub attacks: Vec<String>,
    /// Of all images.
    pub accuracy: Proportion,
    /// Of each class alone.
    pub classes: Vec<Proportion>,
    /// Images that fall to this view and to neither of the others.
    pub alone: usize,
}

impl AttackViews {
    /// Those of every transfer with each of its budgets.
    pub(super) fn of_all(attacks: &[AttackResult], summariser: &Summariser<'_>) -> Vec<Self> {
        let transfers = attacks.iter().filter(|attack| attack.profile.access == Access::Substitute);
        let budgets = transfers.flat_map(|transfer| transfer.budgets().map(move |budget| (transfer, budget)));
        let moving = budgets.filter(|(_, budget)| !budget.is_zero());
        moving.map(|(transfer, budget)| Self::new(transfer, budget, attacks, summariser)).collect()
    }

    fn new(
        transfer: &AttackResult,
        budget: Budget,
        attacks: &[AttackResult],
        summariser: &Summariser<'_>,
    ) -> Self {
        let places = |chosen: &dyn Fn(&AttackResult) -> bool| -> Vec<(usize, usize)> {
            let chosen = attacks.iter().enumerate().filter(|(_, attack)| chosen(attack));
            chosen.filter_map(|(a, attack)| Some((a, attack.budgets().position(|b| b == budget)?))).collect()
        };
        let mut through =
            places(&|attack| attack.profile.access.is_white_box() && is_inside(transfer, attack));
        if through.is_empty() {
            through = places(&|attack| attack.profile.access.is_white_box());
        }
        let asking = places(&|attack| matches!(attack.profile.access, Access::Logits | Access::Label));
        let views = [places(&|attack| attack.label == transfer.label), through, asking];
        // Nothing falls to a view without attacks.
        let right = |view: &Vec<(usize, usize)>, image: &ImageRecord| {
            view.iter().all(|&(a, at)| image.attacks[a].at[at].outcome.is(image.label))
        };
        let view = |number: usize| {
            let images = summariser.records.iter();
            let of_class = |class| images.clone().filter(move |image| image.label == class);
            let alone = |image: &&ImageRecord| {
                let stands = views.iter().enumerate().map(|(n, view)| right(view, image) != (n == number));
                image.is_right() && stands.into_iter().all(|as_expected| as_expected)
            };
            (!views[number].is_empty()).then(|| AttackView {
                attacks: views[number].iter().map(|&(a, _)| attacks[a].label.clone()).collect(),
                accuracy: share(images.clone().map(|image| right(&views[number], image))),
                classes: (0..summariser.classes.len())
                    .map(|class| share(of_class(class).map(|image| right(&views[number], image))))
                    .collect(),
                alone: images.clone().filter(alone).count(),
            })
        };
        let (oblivious, adaptive) = (view(0).expect("the transfer has this budget"), view(1));
        let lost = |adaptive: &AttackView| Some(oblivious.accuracy.value? - adaptive.accuracy.value?);
        Self {
            budget,
            gap: adaptive.as_ref().and_then(lost).map(round),
            oblivious,
            adaptive,
            black_box: view(2),
        }
    }
}

/// Whether this is the attack that the transfer ran on its substitute.
fn is_inside(transfer: &AttackResult, attack: &AttackResult) -> bool {
    transfer.settings["attack"] == json!({ "attack": attack.profile.name, "settings": attack.settings })
}
