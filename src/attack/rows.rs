//! Images of a batch picked, put back and weighted one by one.

use burn::tensor::{Bool, Int, Tensor, TensorData};

/// The images at these positions.
pub(crate) fn take<const D: usize>(batch: &Tensor<D>, positions: &[usize]) -> Tensor<D> {
    let positions: Vec<i64> = positions.iter().map(|&position| position as i64).collect();
    batch.clone().select(0, Tensor::<1, Int>::from_data(positions.as_slice(), &batch.device()))
}

/// `batch` with `images` at these positions, bit for bit.
pub(crate) fn put<const D: usize>(batch: Tensor<D>, positions: &[usize], images: Tensor<D>) -> Tensor<D> {
    let count = batch.dims()[0];
    let mut rows: Vec<usize> = (0..count).collect();
    positions.iter().enumerate().for_each(|(i, &position)| rows[position] = count + i);
    take(&Tensor::cat(vec![batch, images], 0), &rows)
}

/// `yes` where the flag of the image is set, else `no`.
pub(crate) fn choose(flags: &[bool], yes: Tensor<4>, no: Tensor<4>) -> Tensor<4> {
    let flags = TensorData::new(flags.to_vec(), [flags.len(), 1, 1, 1]);
    let flags = Tensor::<4, Bool>::from_data(flags, &yes.device());
    no.clone().mask_where(flags.expand(yes.dims()), yes)
}

/// One number an image, to be multiplied with a batch: `[batch, 1, 1, 1]`.
pub(crate) fn factors(values: &[f32], like: &Tensor<4>) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len(), 1, 1, 1]), &like.device())
}

/// The numbers of a tensor, row by row.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().expect("f32 after conversion")
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn rows_are_picked_and_put_back() {
        let batch = Tensor::<1>::from_floats([0.0, 1.0, 2.0, 3.0], &Device::default()).reshape([4, 1, 1, 1]);
        let picked = take(&batch, &[3, 1]);
        assert_eq!(values(picked.clone()), [3.0, 1.0]);
        let halves = picked.clone() * factors(&[0.5, 0.25], &picked);
        assert_eq!(values(put(batch.clone(), &[3, 1], halves)), [0.0, 0.25, 2.0, 1.5]);
        let chosen = choose(&[true, false, false, true], batch.clone(), batch.neg() - 1.0);
        assert_eq!(values(chosen), [0.0, -2.0, -3.0, 3.0]);
    }
}
