//! Batch norms' part in the backward pass of training.

use super::arch::Norm;
use super::buffer::Ptr;
use super::plane::NormBack;
use super::reduce::Sums;
use super::simd::LANES;
use super::train_norm::NormState;

/// A batch norm's share in the gradient of its input, a lane: see [`NormBack`].
pub(super) struct Coefficients {
    c1: Vec<f32>,
    c2: Vec<f32>,
    c3: Vec<f32>,
}

impl Coefficients {
    pub(super) fn back<'a>(&'a self, d: Ptr, x: Ptr, plane: usize, mean: &'a [f32]) -> NormBack<'a> {
        NormBack { d, x, plane, c1: &self.c1, c2: &self.c2, c3: &self.c3, mean }
    }
}

/// What all norms over a block's features add to the gradient of a lane through the batch statistics. They share these
/// statistics, so it is applied once, when the lane's gradient is complete.
pub(super) struct Shared {
    pub d: Vec<f64>,
    pub dx: Vec<f64>,
}

impl Shared {
    pub(super) fn new(planes: usize) -> Self {
        Shared { d: vec![0.0; planes * LANES], dx: vec![0.0; planes * LANES] }
    }

    pub(super) fn add(&mut self, norm: &NormState, sums: &Sums) {
        for (lane, &scale) in norm.scale.iter().enumerate() {
            self.d[lane] += f64::from(scale) * sums.d[lane];
            self.dx[lane] += f64::from(scale) * sums.dx[lane];
        }
    }
}

/// The norm's own factor comes with `scale`; where the incoming gradient already has it, `scale` is None.
pub(super) fn coefficients(
    frozen: bool,
    scale: Option<&[f32]>,
    d: &[f64],
    dx: &[f64],
    inv: &[f32],
    count: usize,
) -> Coefficients {
    let lanes = 0..inv.len();
    let scale = |lane: usize| scale.map_or(1.0, |s| f64::from(s[lane]));
    let batch = if frozen { 0.0 } else { -1.0 / count as f64 };
    Coefficients {
        c1: lanes.clone().map(|l| scale(l) as f32).collect(),
        c2: lanes.clone().map(|l| (batch * scale(l) * d[l]) as f32).collect(),
        c3: lanes.map(|l| (batch * scale(l) * dx[l] * f64::from(inv[l]).powi(2)) as f32).collect(),
    }
}

pub(super) fn write_norm(params: &mut [f32], norm: &Norm, lanes: &[usize], state: &NormState, sums: &Sums) {
    for (c, &lane) in lanes.iter().enumerate().take(norm.channels) {
        params[norm.gamma + c] = (sums.dx[lane] * f64::from(state.inv[lane])) as f32;
        params[norm.beta + c] = sums.d[lane] as f32;
    }
}
