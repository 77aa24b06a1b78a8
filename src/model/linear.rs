//! A linear layer whose rows do not depend on each other, bit by bit.

use rayon::prelude::*;

/// Outputs `[batch, outputs]` of rows `[batch, inputs]`, weight `[inputs, outputs]` and bias `[outputs]`.
pub(super) fn forward(rows: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let outputs = bias.len();
    let row = |row: &[f32]| {
        let mut sums: Vec<f64> = bias.iter().map(|&bias| f64::from(bias)).collect();
        for (&x, weights) in row.iter().zip(weight.chunks_exact(outputs)) {
            sums.iter_mut().zip(weights).for_each(|(sum, &w)| *sum += f64::from(x) * f64::from(w));
        }
        sums.into_iter().map(|sum| sum as f32).collect::<Vec<_>>()
    };
    rows.par_chunks_exact(weight.len() / outputs).flat_map_iter(row).collect()
}

/// Gradient of the rows, from that of the outputs.
pub(super) fn rows_gradient(grad: &[f32], weight: &[f32], outputs: usize) -> Vec<f32> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let row = |grad: &[f32]| {
        weight.chunks_exact(outputs).map(|weights| dot(weights, grad) as f32).collect::<Vec<_>>()
    };
    grad.par_chunks_exact(outputs).flat_map_iter(row).collect()
}

/// Gradient of the weight, from that of the outputs.
pub(super) fn weight_gradient(grad: &[f32], rows: &[f32], outputs: usize) -> Vec<f32> {
    let inputs = rows.len() / (grad.len() / outputs);
    let mut gradient = vec![0.0; inputs * outputs];
    gradient.par_chunks_exact_mut(outputs).enumerate().for_each(|(input, gradient)| {
        for (row, grad) in rows.chunks_exact(inputs).zip(grad.chunks_exact(outputs)) {
            gradient.iter_mut().zip(grad).for_each(|(sum, &g)| *sum += row[input] * g);
        }
    });
    gradient
}

/// Gradient of the bias, from that of the outputs.
pub(super) fn bias_gradient(grad: &[f32], outputs: usize) -> Vec<f32> {
    let mut gradient = vec![0.0; outputs];
    for grad in grad.chunks_exact(outputs) {
        gradient.iter_mut().zip(grad).for_each(|(sum, &g)| *sum += g);
    }
    gradient
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_gradients_by_hand() {
        let (rows, weight, bias) = ([1.0, 2.0, 3.0, 4.0], [1.0, -1.0, 0.5, 2.0], [10.0, 20.0]);
        // [1 2; 3 4] [1 -1; 0.5 2] = [2 3; 5 5]
        assert_eq!(forward(&rows, &weight, &bias), [12.0, 23.0, 15.0, 25.0]);
        let grad = [1.0, 0.0, 2.0, -1.0];
        // [1 0; 2 -1] [1 0.5; -1 2] and [1 3; 2 4] [1 0; 2 -1]
        assert_eq!(rows_gradient(&grad, &weight, 2), [1.0, 0.5, 3.0, -1.0]);
        assert_eq!(weight_gradient(&grad, &rows, 2), [7.0, -3.0, 10.0, -4.0]);
        assert_eq!(bias_gradient(&grad, 2), [3.0, -1.0]);
    }
}
