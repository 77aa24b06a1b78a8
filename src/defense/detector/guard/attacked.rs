//! An attack on the images of a batch that are still right, held to its contract.

use burn::tensor::Tensor;

use crate::attack::{Attack, Goal};
use crate::classifier::Frozen;
use crate::data::Batch;
use crate::defense::detector::error::DetectorError;
use crate::rows::{put, take, values};

/// The batch with the images in these rows attacked.
pub(super) fn attacked(
    attack: &dyn Attack,
    victim: &Frozen,
    batch: &Batch,
    labels: &[usize],
    rows: &[usize],
) -> Result<Tensor<4>, DetectorError> {
    if rows.is_empty() {
        return Ok(batch.images.clone());
    }
    let clean = take(&batch.images, rows);
    let classes: Vec<usize> = rows.iter().map(|&row| labels[row]).collect();
    let indices = rows.iter().map(|&row| batch.indices[row]).collect();
    let goal = Goal::untargeted(classes).with_indices(indices);
    let found = attack.perturb(victim, clean.clone(), &goal)?;
    check(attack, &clean, &found)?;
    Ok(put(batch.images.clone(), rows, found))
}

/// A breach of the contract would pass for a stronger attack, or for a weaker one.
fn check(attack: &dyn Attack, clean: &Tensor<4>, found: &Tensor<4>) -> Result<(), DetectorError> {
    let profile = attack.profile();
    let within = profile.budget().map_or("[0,1]".into(), |budget| budget.to_string());
    let broken = |found: String| {
        let expected = format!("finite images {:?} in [0,1] within {within}", clean.dims());
        Err(DetectorError::Broken { attack: profile.name.clone(), expected, found })
    };
    if found.dims() != clean.dims() {
        return broken(format!("{:?}", found.dims()));
    }
    if let Some(bad) = values(found.clone()).into_iter().find(|value| !(-1e-6..=1.0 + 1e-6).contains(value)) {
        return broken(format!("a value of {bad}"));
    }
    let Some(budget) = profile.budget() else { return Ok(()) };
    let sizes = values(budget.norm().measure(found.clone() - clean.clone()));
    match sizes.into_iter().find(|&size| !budget.holds(f64::from(size))) {
        Some(size) => broken(format!("a change of {size}")),
        None => Ok(()),
    }
}
