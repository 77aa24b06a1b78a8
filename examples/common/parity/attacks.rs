//! An attack of every family.

use histoguard::attack::SgdUap;
use histoguard::prelude::*;
use histoguard::rows::{take, values};

use super::case::{Case, Found, Part};
use super::compare::{HALF_LEVEL, Tolerance};
use super::side::Side;

/// A sign may flip where a gradient is next to zero.
const FEW: Tolerance = Tolerance::Share { of_values: 0.02, beyond: HALF_LEVEL };
/// After a flip, or where two points are equally good up to rounding, many steps go another way; where to counts.
const AS_STRONG: Tolerance = Tolerance::Margin(0.05);
/// The same step for all images, of which a few make a large one.
const ROUGHLY_AS_STRONG: Tolerance = Tolerance::Margin(0.25);
/// What is sought is short; the way there may be another.
const AS_SHORT: Tolerance = Tolerance::Norm(0.05);
/// The answers at the boundary, on which the search lives, hang on the last digit.
const ROUGHLY_AS_SHORT: Tolerance = Tolerance::Norm(0.1);

/// Attacks away from the network's own answers, at 8/255 where there is a budget.
pub fn cases(seed: u64) -> Vec<Case> {
    let budget = Budget::pixels(8.0);
    let queries = 60;
    let transfer = MiFgsm::new(budget)
        .with_nesterov(true)
        .with_input_diversity(Some(InputDiversity { probability: 0.7, resize_rate: 0.9 }))
        .with_translation_invariance(Some(3))
        .with_variance_tuning(Some(VarianceTuning { neighbours: 2, beta: 1.5 }))
        .with_seed(seed);
    let hop_skip_jump = HopSkipJump::new()
        .with_steps(2)
        .with_initial_evaluations(20)
        .with_max_evaluations(40)
        .with_queries(Some(200))
        .with_seed(seed);
    vec![
        case("fgsm", FEW, Fgsm::new(budget)),
        case("pgd", AS_STRONG, Pgd::new(budget).with_early_stop(false).with_seed(seed)),
        case("pgd l2", AS_STRONG, Pgd::new(Budget::l2(0.5)).with_early_stop(false).with_seed(seed)),
        case("apgd", AS_STRONG, Apgd::new(budget).with_steps(20).with_best_loss(true).with_seed(seed)),
        case("mi-fgsm with ni di ti vmi", AS_STRONG, transfer),
        case("fmn", AS_SHORT, Fmn::new(Norm::L2).with_steps(30)),
        case("ddn", AS_SHORT, Ddn::new().with_steps(30).with_levels(None).with_seed(seed)),
        case("deepfool", AS_SHORT, DeepFool::new()),
        case("carlini-wagner", AS_SHORT, CarliniWagner::new().with_search_steps(3).with_steps(20)),
        case("square", AS_STRONG, Square::new(budget).with_queries(queries).with_seed(seed)),
        case("hopskipjump", ROUGHLY_AS_SHORT, hop_skip_jump),
        case("stain", AS_STRONG, Stain::strong().with_steps(5).with_seed(seed)),
        Case::new("universal", ROUGHLY_AS_STRONG, move |side| universal(side, budget, seed)),
    ]
}

fn case(name: &'static str, tolerance: Tolerance, attack: impl Attack + 'static) -> Case {
    Case::new(name, tolerance, move |side| {
        let adversarial = attack.perturb(&side.victim, side.images.clone(), &side.goal());
        Ok(changed(side, adversarial.map_err(|error| error.to_string())?))
    })
}

/// A perturbation for all images, learned from them in two passes.
fn universal(side: &Side, budget: Budget, seed: u64) -> Result<Found, String> {
    let learner = SgdUap::new(budget).with_passes(2).with_batch_size(2).with_seed(seed);
    let images = |positions: &[usize]| {
        Ok::<_, AttackError>((take(&side.images, positions), side.goal().select(positions)))
    };
    let learned = learner.learn(&side.victim, side.labels.len(), images);
    let adversarial = learned
        .and_then(|learned| learned.perturb(&side.victim, side.images.clone(), &side.goal()))
        .map_err(|error| error.to_string())?;
    Ok(changed(side, adversarial))
}

/// What was changed in each image, and what the network says to it now.
fn changed(side: &Side, adversarial: Tensor<4>) -> Found {
    let logits = side.victim.logits(adversarial.clone());
    let answers = side.victim.predict(adversarial.clone());
    let change = values(adversarial - side.images.clone());
    let parts = change.chunks(change.len() / answers.len()).enumerate();
    let parts = parts.map(|(number, change)| Part::new(format!("image {number}"), change.to_vec()));
    Found { parts: parts.collect(), answers, margins: values(side.goal().margin(logits)) }
}
