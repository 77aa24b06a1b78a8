//! The part of each image of a task that may be changed.

use std::sync::Arc;

use burn::tensor::{Bool, Device, Tensor, TensorData};

use super::{Goal, Mask};

crate::rows! {
    /// What a mask leaves of the images of a task.
    #[derive(Clone, Debug)]
    pub(super) struct Region {
        /// 1 where a value may change, else 0: `[batch, channels, height, width]`.
        mask: Tensor<4>,
        /// The positions of those values in each image.
        pub(super) free: Vec<Arc<[usize]>>,
    }
}

impl Region {
    /// What the mask leaves of these images, within what another region leaves of them.
    ///
    /// # Panics
    ///
    /// Panics if the mask is for other images.
    pub(super) fn new(mask: &Mask, images: &Tensor<4>, goal: &Goal, within: Option<&Self>) -> Self {
        let ([count, channels, height, width], pixels) = (images.dims(), images.dims()[2] * images.dims()[3]);
        let free = |row: usize| -> Arc<[usize]> {
            let own = mask.of_image(goal.index(row)).expect("a mask for every image");
            let every: Box<dyn Iterator<Item = usize>> = match within {
                Some(region) => Box::new(region.free[row].iter().copied()),
                None => Box::new(0..channels * pixels),
            };
            every.filter(|&at| own[if mask.shape()[0] == 1 { at % pixels } else { at }]).collect()
        };
        let free: Vec<_> = match (mask.count(), within) {
            (1, None) if count > 0 => vec![free(0); count],
            _ => (0..count).map(free).collect(),
        };
        let size = channels * pixels;
        let mut values = vec![0f32; count * size];
        for (row, free) in free.iter().enumerate() {
            free.iter().for_each(|&at| values[row * size + at] = 1.0);
        }
        let values = TensorData::new(values, [count, channels, height, width]);
        Self { mask: Tensor::from_data(values, &images.device()), free }
    }

    /// Whether each value may change.
    pub(super) fn may_change(&self) -> Tensor<4, Bool> {
        self.mask.clone().greater_elem(0.5)
    }

    pub(super) fn to_device(&self, device: &Device) -> Self {
        Self { mask: self.mask.clone().to_device(device), free: self.free.clone() }
    }
}

/// These values at their places of an image of `size` values, the default elsewhere.
pub(super) fn spread<T: Copy + Default>(free: &[usize], values: &[T], size: usize) -> Vec<T> {
    let mut image = vec![T::default(); size];
    free.iter().zip(values).for_each(|(&at, &value)| image[at] = value);
    image
}
