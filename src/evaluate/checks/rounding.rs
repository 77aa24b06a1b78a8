//! Changes that an image file does not hold.

use crate::attack::Aim;
use crate::evaluate::result::{About, AttackRecord, AttackResult, Check, EvaluationResult};

const ABOUT: About = About {
    name: "changes below half a grey level",
    matters: "A change of less than half a grey level is lost when the image is stored with 8 bits: what such an attack \
              breaks is not what a file, a screen or a scanner can show. Use a budget of a grey level or more, and \
              read the accuracy after rounding.",
    source: "Carlini & Wagner, S&P 2017, section VII.A: rounding to integers degrades a perturbation",
};

const HALF: f32 = 0.5 / 255.0;

/// Attacks within budgets whose successes, or changes if there are none, are all smaller than half a grey level.
pub(super) fn check(result: &EvaluationResult) -> Check {
    let attacks = result.attacks.iter().enumerate();
    let bounded = attacks.filter(|(_, attack)| matches!(attack.profile.aim, Aim::Within(_)));
    let found: Vec<(bool, String)> =
        bounded.filter_map(|(position, attack)| changes(result, position, attack)).collect();
    if found.is_empty() {
        return ABOUT.not_applicable("it needs an attack within a budget that changes an image");
    }
    let suspicious = found.iter().any(|(small, _)| *small);
    // The attacks to worry about, or all.
    let seen = found.into_iter().filter(|(small, _)| *small == suspicious).map(|(_, seen)| seen);
    ABOUT.check(suspicious, seen.collect::<Vec<_>>().join("; "))
}

/// Whether all that counts of this attack is below half a level, and what was seen of it; `None` if it changed nothing.
fn changes(result: &EvaluationResult, position: usize, attack: &AttackResult) -> Option<(bool, String)> {
    let records = || {
        let of_image = result.records.iter().map(|image| (image.label, &image.attacks[position].at));
        of_image.flat_map(|(label, at)| at.iter().map(move |record| (label, record)))
    };
    let size = |record: &AttackRecord| record.distances.map_or(0.0, |distances| distances.linf);
    let (fallen, changed): (Vec<_>, Vec<_>) =
        records().filter(|(_, record)| size(record) > 0.0).partition(|(label, record)| record.fell(*label));
    let (what, counted) = if fallen.is_empty() { ("changes", &changed) } else { ("successes", &fallen) };
    let largest = counted.iter().map(|(_, record)| size(record)).reduce(f32::max)?;
    let survive = fallen.iter().filter(|(label, record)| !record.eight_bit.is(*label)).count();
    let seen = format!(
        "{}: its {} {what} change a value by up to {:.2}/255; {survive} of {} successes survive rounding to 8 bits",
        attack.label,
        counted.len(),
        largest * 255.0,
        fallen.len()
    );
    Some((largest < HALF, seen))
}
