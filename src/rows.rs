//! The rows of a batch, one an image: picked, put back and weighted one by one.

use burn::tensor::{Bool, Int, Tensor, TensorData};
use rayon::prelude::*;

/// Something with one row an image, of which some can be kept: what an iterative attack knows of the images that it
/// still works on.
///
/// [`rows!`](crate::rows!) implements it for a struct whose fields are rows themselves.
pub trait Rows: Sized {
    /// These rows alone, in this order.
    ///
    /// # Panics
    ///
    /// Panics if there is no such row.
    fn keep(&self, rows: &[usize]) -> Self;
}

impl<const D: usize> Rows for Tensor<D> {
    fn keep(&self, rows: &[usize]) -> Self {
        take(self, rows)
    }
}

impl<T: Clone> Rows for Vec<T> {
    fn keep(&self, rows: &[usize]) -> Self {
        rows.iter().map(|&row| self[row].clone()).collect()
    }
}

impl<R: Rows> Rows for Option<R> {
    fn keep(&self, rows: &[usize]) -> Self {
        self.as_ref().map(|kept| kept.keep(rows))
    }
}

/// What all rows share.
impl<T: ?Sized> Rows for &T {
    fn keep(&self, _rows: &[usize]) -> Self {
        self
    }
}

/// Declares a struct of [`Rows`], one row an image, that are kept together.
///
/// ```
/// use histoguard::prelude::*;
/// use histoguard::rows::Rows;
///
/// histoguard::rows! {
///     struct Running {
///         points: Tensor<4>,
///         losses: Vec<f32>,
///     }
/// }
///
/// let points = Tensor::zeros([3, 1, 2, 2], &Device::default());
/// let running = Running { points, losses: vec![0.5, 0.25, 0.75] }.keep(&[2, 0]);
/// assert_eq!((running.points.dims()[0], running.losses), (2, vec![0.75, 0.5]));
/// ```
#[macro_export]
macro_rules! rows {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $(<$life:lifetime>)? {
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty),* $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis struct $name $(<$life>)? { $($(#[$field_meta])* $field_vis $field: $type),* }

        impl $(<$life>)? $crate::rows::Rows for $name $(<$life>)? {
            fn keep(&self, rows: &[usize]) -> Self {
                Self { $($field: $crate::rows::Rows::keep(&self.$field, rows)),* }
            }
        }
    };
}

/// The images at these positions.
pub fn take<const D: usize>(batch: &Tensor<D>, positions: &[usize]) -> Tensor<D> {
    if positions.iter().copied().eq(0..batch.dims()[0]) {
        return batch.clone();
    }
    let positions: Vec<i64> = positions.iter().map(|&position| position as i64).collect();
    batch.clone().select(0, Tensor::<1, Int>::from_data(positions.as_slice(), &batch.device()))
}

/// `batch` with `images` at these positions, bit for bit.
pub fn put<const D: usize>(batch: Tensor<D>, positions: &[usize], images: Tensor<D>) -> Tensor<D> {
    let count = batch.dims()[0];
    if positions.iter().copied().eq(0..count) {
        return images;
    }
    let mut rows: Vec<usize> = (0..count).collect();
    positions.iter().enumerate().for_each(|(i, &position)| rows[position] = count + i);
    take(&Tensor::cat(vec![batch, images], 0), &rows)
}

/// `yes` where the flag of the image is set, else `no`.
pub fn choose(flags: &[bool], yes: Tensor<4>, no: Tensor<4>) -> Tensor<4> {
    let flags = TensorData::new(flags.to_vec(), [flags.len(), 1, 1, 1]);
    let flags = Tensor::<4, Bool>::from_data(flags, &yes.device());
    no.clone().mask_where(flags.expand(yes.dims()), yes)
}

/// One number an image, to be multiplied with a batch: `[batch, 1, 1, 1]`.
pub fn factors(values: &[impl Copy + Into<f64>], like: &Tensor<4>) -> Tensor<4> {
    let numbers: Vec<f32> = values.iter().map(|&value| value.into() as f32).collect();
    Tensor::from_data(TensorData::new(numbers, [values.len(), 1, 1, 1]), &like.device())
}

/// The numbers of a tensor, row by row.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().expect("f32 after conversion")
}

/// As many images as these numbers fill, shaped like those of another batch: the way back from [`values`].
pub fn batch(numbers: Vec<f32>, like: &Tensor<4>) -> Tensor<4> {
    let [_, channels, height, width] = like.dims();
    let count = numbers.len() / (channels * height * width).max(1);
    let data = TensorData::new(numbers, [count, channels, height, width]);
    Tensor::from_data(data, (&like.device(), like.dtype()))
}

/// Each image by itself, from its row and its numbers.
pub(crate) fn each(images: &Tensor<4>, rework: impl Fn(usize, &[f32]) -> Vec<f32> + Sync) -> Tensor<4> {
    let (numbers, size) = (values(images.clone()), images.dims()[1..].iter().product::<usize>());
    let rows = numbers.par_chunks(size.max(1)).enumerate();
    let reworked: Vec<Vec<f32>> = rows.map(|(row, image)| rework(row, image)).collect();
    batch(reworked.concat(), images)
}

/// The rows whose flag is set, or is not.
pub fn flagged(flags: &[bool], set: bool) -> Vec<usize> {
    (0..flags.len()).filter(|&row| flags[row] == set).collect()
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
        let chosen = choose(&[true, false, false, true], batch.clone(), batch.clone().neg() - 1.0);
        assert_eq!(values(chosen), [0.0, -2.0, -3.0, 3.0]);
        let two = super::batch(vec![7.0, 8.0], &batch);
        assert_eq!((two.dims(), values(two)), ([2, 1, 1, 1], vec![7.0, 8.0]));
    }
}
