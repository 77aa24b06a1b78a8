//! Whether the parts of a report that was read fit each other: tables have a column for each class, flip and
//! model.

use crate::defense::smoothing::{Radius, Smoothing};
use crate::evaluate::{CertificationResult, EvaluationResult, Metrics, TransferMatrix, UnderAttack};
use crate::parameter;

/// Sigmas that no certified radius reaches: a normal variable is beyond them with a probability that is no
/// `f64`.
const SIGMAS: f64 = 40.0;

/// What does not fit in the result of a model, in words, if anything does not.
pub(super) fn check_model(name: &str, result: &EvaluationResult) -> Result<(), String> {
    let classes = result.classes.len();
    let sweeps = result.attacks.iter().map(|attack| &attack.sweep);
    let sweeps: Vec<&Vec<UnderAttack>> =
        sweeps.chain(result.worst_cases.iter().map(|worst| &worst.sweep)).collect();
    let attacked = || sweeps.iter().flat_map(|sweep| sweep.iter());
    let clean = [&result.clean.metrics, &result.clean.detail.eight_bit];
    let semantic = result.semantic.iter();
    let clean = semantic.clone().flat_map(|under| [&under.metrics, &under.detail.eight_bit]).chain(clean);
    let metrics = attacked().flat_map(|under| [&under.metrics, &under.detail.eight_bit]).chain(clean);
    let counts =
        metrics.flat_map(|metrics: &Metrics| [metrics.classes.len(), metrics.confusion.counts.len()]);
    let successes = attacked().map(|under| under.class_success.len());
    let successes = successes.chain(semantic.clone().map(|under| under.class_success.len()));
    let views = result.views.iter();
    let views =
        views.flat_map(|views| [Some(&views.oblivious), views.adaptive.as_ref(), views.black_box.as_ref()]);
    let views = views.flatten().map(|view| view.classes.len());
    same(&format!("{name}, parts for each class"), classes, counts.chain(successes).chain(views))?;
    let mut flips = semantic.map(|under| under.flips.len());
    let first = flips.next().unwrap_or(0);
    same(&format!("{name}, flips under each semantic attack"), first, flips)?;
    sweeps.iter().try_for_each(|sweep| {
        let mut flips = sweep.iter().map(|under| under.flips.len());
        let first = flips.next().unwrap_or(0);
        same(&format!("{name}, flips at each budget"), first, flips)
    })
}

/// What cannot be in a certification, in words, if anything is: its table has a column for each half sigma up
/// to the largest radius.
pub(super) fn check_certification(name: &str, result: &CertificationResult) -> Result<(), String> {
    let (settings, largest): (Smoothing, &Radius) =
        (result.accuracy.settings, &result.accuracy.largest_radius);
    parameter::check(settings.parameters()).map_err(|error| format!("{name}, smoothing: {error}"))?;
    match (0.0..=SIGMAS * settings.sigma).contains(&largest.size()) {
        true => Ok(()),
        false => Err(format!("{name}, largest radius: {largest} with sigma {}", settings.sigma)),
    }
}

/// What does not fit in a matrix, in words, if anything does not.
pub(super) fn check_transfer(matrix: &TransferMatrix) -> Result<(), String> {
    let cells = matrix.cells.iter().map(Vec::len);
    let counts = cells.chain([matrix.clean.len(), matrix.cells.len()]);
    same("transfer, parts for each model", matrix.models.len(), counts)
}

fn same(what: &str, expected: usize, mut found: impl Iterator<Item = usize>) -> Result<(), String> {
    let other = found.find(|&found| found != expected);
    other.map_or(Ok(()), |other| Err(format!("{what}: {expected} and {other}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::prelude::*;

    #[test]
    fn a_matrix_has_as_many_rows_and_columns_as_models() {
        let share = json!({ "hits": 1, "total": 2, "value": 0.5, "interval": null });
        let cell = json!({ "accuracy": share, "success": share, "patient_rate": null });
        let attack = Fgsm::new(Budget::pixels(1.0)).profile();
        let matrix = |cells: serde_json::Value| -> TransferMatrix {
            let value = json!({
                "attack": attack, "settings": null, "models": ["one", "other"], "clean": [share, share], "cells": cells,
            });
            serde_json::from_value(value).unwrap()
        };
        assert_eq!(super::check_transfer(&matrix(json!([[cell, cell], [cell, cell]]))), Ok(()));
        for wrong in [json!([[cell, cell]]), json!([[cell, cell], [cell]])] {
            let error = super::check_transfer(&matrix(wrong)).unwrap_err();
            assert_eq!(error, "transfer, parts for each model: 2 and 1");
        }
    }

    #[test]
    fn a_certification_has_settings_that_exist_and_a_radius_within_reach() {
        let device = Device::default();
        let victim = Frozen::from_fn(2, &device, |x| {
            let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
            Tensor::cat(vec![bright.clone().neg(), bright], 1)
        });
        let classes = vec!["dark".into(), "bright".into()];
        let images = Tensor::full([1, 1, 2, 2], 0.9, &device);
        let data = crate::data::TensorSet::new(images, vec![1], classes).unwrap();
        let smoothing = crate::defense::Smoothing::new(0.25).with_selection_draws(10).with_draws(50);
        let sound = crate::evaluate::Certification::new(&victim, smoothing).run(&data).unwrap();
        let check = |certification: &_| super::check_certification("one", certification);
        assert_eq!(check(&sound), Ok(()));
        for sigma in [-1e308, 0.0, 1e-9] {
            let mut wrong = sound.clone();
            wrong.accuracy.settings.sigma = sigma;
            assert!(check(&wrong).unwrap_err().starts_with("one, "), "{sigma}");
        }
        let mut wrong = sound;
        wrong.accuracy.largest_radius = crate::defense::smoothing::Radius::new(1e300, 4);
        assert!(check(&wrong).unwrap_err().contains("largest radius"));
    }
}
