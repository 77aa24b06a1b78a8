//! Whether the parts of a report that was read fit each other: tables have a column for each class, flip and model.

use crate::evaluate::{EvaluationResult, Metrics, TransferMatrix, UnderAttack};

/// What does not fit in the result of a model, in words, if anything does not.
pub(super) fn check_model(name: &str, result: &EvaluationResult) -> Result<(), String> {
    let classes = result.classes.len();
    let sweeps = result.attacks.iter().map(|attack| &attack.sweep);
    let sweeps: Vec<&Vec<UnderAttack>> =
        sweeps.chain(result.worst_cases.iter().map(|worst| &worst.sweep)).collect();
    let attacked = || sweeps.iter().flat_map(|sweep| sweep.iter());
    let clean = [&result.clean.metrics, &result.clean.detail.eight_bit];
    let metrics = attacked().flat_map(|under| [&under.metrics, &under.detail.eight_bit]).chain(clean);
    let counts =
        metrics.flat_map(|metrics: &Metrics| [metrics.classes.len(), metrics.confusion.counts.len()]);
    let successes = attacked().map(|under| under.class_success.len());
    let views = result.views.iter();
    let views =
        views.flat_map(|views| [Some(&views.oblivious), views.adaptive.as_ref(), views.black_box.as_ref()]);
    let views = views.flatten().map(|view| view.classes.len());
    same(&format!("{name}, parts for each class"), classes, counts.chain(successes).chain(views))?;
    sweeps.iter().try_for_each(|sweep| {
        let mut flips = sweep.iter().map(|under| under.flips.len());
        let first = flips.next().unwrap_or(0);
        same(&format!("{name}, flips at each budget"), first, flips)
    })
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
}
