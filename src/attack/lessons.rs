//! The images that an attack is learned from, in the order of a pass.

use burn::tensor::Tensor;
use rand::seq::SliceRandom;

use super::{AttackError, Goal, Origin};
use crate::classifier::{Frozen, Step};
use crate::parameter::{self, Parameter};
use crate::random::{Purpose, generator};

/// Images of a pass, by their positions in the whole, and the classifier that they are for.
pub(super) struct Lessons<'a, F> {
    pub(super) victim: &'a Frozen,
    pub(super) count: usize,
    pub(super) images: F,
}

impl<F, E> Lessons<'_, F>
where
    F: FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
    E: From<AttackError>,
{
    /// The images at these positions.
    pub(super) fn at(&mut self, positions: &[usize]) -> Result<(Tensor<4>, Goal), E> {
        (self.images)(positions)
    }

    /// All positions, in the order of this pass.
    pub(super) fn order(&self, purpose: Purpose, seed: u64, pass: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.count).collect();
        order.shuffle(&mut generator(purpose, seed, &[pass as u64]));
        order
    }

    /// Before each step: reports it, and fails if a stop was asked for.
    pub(super) fn step(&self, method: &str, done: usize, total: usize) -> Result<(), AttackError> {
        let watch = self.victim.watch();
        watch.report(Step { attack: method.into(), done, total });
        if watch.is_stopped() { Err(AttackError::Stopped) } else { Ok(()) }
    }
}

/// Whether what is there was learned so far by the same method, with the same settings, from as many images,
/// and the victim takes them.
pub(super) fn same_lessons(
    victim: &Frozen,
    (learned, origin, shape): (&'static str, &Origin, [usize; 3]),
    own: &Origin,
    count: usize,
) -> Result<(), AttackError> {
    let said = |origin: &Origin| format!("{} {}", origin.method, origin.settings);
    let same = origin.method == own.method && origin.settings == own.settings;
    parameter::check([
        Parameter::at_least("images", count, 1),
        Parameter::new(learned, format!("one of {}", said(own)), same, said(origin)),
        Parameter::new(
            "images",
            format!("{}, as in the passes before", origin.images),
            origin.passes == 0 || origin.images == count,
            count,
        ),
    ])?;
    Ok(victim.check(shape)?)
}

/// Channels, height and width of the first of these images.
pub(super) fn first_shape<E: From<AttackError>>(
    count: usize,
    images: &mut impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
) -> Result<[usize; 3], E> {
    parameter::check([Parameter::at_least("images", count, 1)]).map_err(AttackError::from)?;
    let [_, channels, height, width] = images(&[0])?.0.dims();
    Ok([channels, height, width])
}
