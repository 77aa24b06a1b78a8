//! Weaker attacks that do better than stronger ones.

use super::Check;
use super::check::About;
use crate::attack::Norm;
use crate::evaluate::budget::shown;
use crate::evaluate::{AttackResult, Battery};
use crate::pixels::Epsilon;

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

/// Images that a black box breaks and no white box with several steps.
pub(super) fn black_box(battery: &Battery) -> Check {
    let black = |attack: &AttackResult| attack.access.is_black_box();
    let white = |attack: &AttackResult| is_iterative(attack);
    compare(
        battery,
        &BLACK_BOX,
        "it needs a black-box attack and a white-box attack of several steps in one norm",
        black,
        white,
    )
}

/// Images that one gradient step breaks and no white box with several.
pub(super) fn one_step(battery: &Battery) -> Check {
    compare(
        battery,
        &ONE_STEP,
        "it needs a white-box attack of one step and one of several in one norm",
        |attack| attack.access.is_white_box() && attack.steps == Some(1),
        is_iterative,
    )
}

/// A white box that may take more than one step.
pub(super) fn is_iterative(attack: &AttackResult) -> bool {
    attack.access.is_white_box() && attack.steps != Some(1)
}

/// Images left by the weak attacks and by the strong ones, with the same budget.
struct Left {
    norm: Norm,
    epsilon: Epsilon,
    weak: usize,
    strong: usize,
    only_weak: usize,
}

fn compare(
    battery: &Battery,
    about: &About,
    missing: &str,
    is_weak: impl Fn(&AttackResult) -> bool,
    is_strong: impl Fn(&AttackResult) -> bool,
) -> Check {
    let mut compared: Vec<Left> = Vec::new();
    for worst in &battery.worst_cases {
        let of_kind = |kind: &dyn Fn(&AttackResult) -> bool| -> Vec<usize> {
            (0..battery.attacks.len())
                .filter(|&a| battery.attacks[a].norm == worst.norm && kind(&battery.attacks[a]))
                .collect()
        };
        let (weak, strong) = (of_kind(&is_weak), of_kind(&is_strong));
        for at in &worst.sweep {
            let epsilon = at.under.epsilon;
            let has = |attacks: &[usize]| attacks.iter().any(|&a| budget(battery, a, epsilon).is_some());
            if epsilon == Epsilon::ZERO || !has(&weak) || !has(&strong) {
                continue;
            }
            let broken = |attacks: &[usize], image: usize| {
                let record = &battery.records[image];
                attacks.iter().any(|&a| {
                    budget(battery, a, epsilon)
                        .map(|b| &record.attacks[a].at[b])
                        .is_some_and(|r| r.distances.is_some() && !r.outcome.is(record.label))
                })
            };
            let images: Vec<(bool, bool)> = (0..battery.records.len())
                .filter(|&i| battery.records[i].clean.is(battery.records[i].label))
                .map(|i| (broken(&weak, i), broken(&strong, i)))
                .collect();
            compared.push(Left {
                norm: worst.norm,
                epsilon,
                weak: images.iter().filter(|(weak, _)| !weak).count(),
                strong: images.iter().filter(|(_, strong)| !strong).count(),
                only_weak: images.iter().filter(|(weak, strong)| *weak && !strong).count(),
            });
        }
    }
    // On survivors alone the attacks saw different images: what counts is whom the strong ones spared.
    let worse = |left: &Left| match battery.only_survivors {
        true => left.only_weak > 0 && comes_later(battery, &is_weak, &is_strong),
        false => left.weak < left.strong,
    };
    let lead = |left: &Left| {
        if battery.only_survivors { left.only_weak } else { left.strong.saturating_sub(left.weak) }
    };
    let Some(most) = compared.iter().max_by_key(|left| (worse(left), lead(left))) else {
        return about.not_applicable(missing);
    };
    let seen = format!(
        "at {} epsilon {} the weaker kind leaves {} images right and the stronger {}; {} fall to the weaker alone",
        most.norm,
        shown(most.norm, most.epsilon),
        most.weak,
        most.strong,
        most.only_weak
    );
    about.check(worse(most), seen)
}

/// Whether every weak attack ran after the strong ones, on what they left.
fn comes_later(
    battery: &Battery,
    is_weak: impl Fn(&AttackResult) -> bool,
    is_strong: impl Fn(&AttackResult) -> bool,
) -> bool {
    let last_strong = battery.attacks.iter().rposition(is_strong);
    last_strong < battery.attacks.iter().position(is_weak)
}

fn budget(battery: &Battery, attack: usize, epsilon: Epsilon) -> Option<usize> {
    battery.attacks[attack].sweep.iter().position(|at| at.under.epsilon == epsilon)
}
