//! A victim's classes by their logits.

use burn::tensor::{Int, Tensor};

use crate::rows::values;

/// The classes of each image from the likeliest to the least likely; the lower class first on a tie, NaN last.
pub fn ranked(logits: Tensor<2>) -> Vec<Vec<i64>> {
    let [_, classes] = logits.dims();
    let rank = |row: &[f32]| {
        let score =
            |class: i64| Some(row[class as usize]).filter(|z| !z.is_nan()).unwrap_or(f32::NEG_INFINITY);
        let mut order: Vec<i64> = (0..classes as i64).collect();
        order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
        order
    };
    values(logits).chunks(classes.max(1)).map(rank).collect()
}

/// [`ranked`] without the class `labels` names for the image.
pub fn others(logits: Tensor<2>, labels: &[i64]) -> Vec<Vec<i64>> {
    let mut ranked = ranked(logits);
    ranked.iter_mut().zip(labels).for_each(|(order, label)| order.retain(|class| class != label));
    ranked
}

/// The class of each image at this place of its order.
pub(crate) fn column(orders: &[Vec<i64>], rank: usize) -> Vec<i64> {
    orders.iter().map(|order| order[rank]).collect()
}

/// The logit of one class an image: `[batch, classes]` to `[batch]`.
pub fn pick(logits: Tensor<2>, classes: &[i64]) -> Tensor<1> {
    let indices = Tensor::<1, Int>::from_data(classes, &logits.device()).reshape([classes.len(), 1]);
    logits.gather(1, indices).reshape([classes.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn likeliest_first_and_nan_last() {
        let logits =
            Tensor::<2>::from_floats([[0.5, 2.0, 2.0, -1.0], [f32::NAN, -3.0, 7.0, 0.0]], &Device::default());
        assert_eq!(ranked(logits.clone()), [[1, 2, 0, 3], [2, 3, 1, 0]]);
        assert_eq!(others(logits.clone(), &[1, 3]), [[2, 0, 3], [2, 1, 0]]);
        assert_eq!(values(pick(logits, &[3, 2])), [-1.0, 7.0]);
    }
}
