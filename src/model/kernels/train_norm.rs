//! Batch norms in training: a batch's moments, and the coefficients that follow from them.

use std::sync::Mutex;

use super::arch::Norm;
use super::buffer::Ptr;
use super::crew::Crew;
use super::pack::spread;
use super::plane::{Moments, NormRelu};
use super::simd::{LANES, Level, dispatch};

/// A norm's coefficients, a lane.
pub(super) struct NormState {
    pub mean: Vec<f32>,
    /// 1 / standard deviation.
    pub inv: Vec<f32>,
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
}

/// Where the norms find their statistics.
pub(super) struct NormSource<'a> {
    pub params: &'a [f32],
    pub frozen: Option<&'a [f32]>,
    pub eps: f32,
    /// The batch's statistics, for the running ones.
    pub statistics: Vec<f32>,
}

impl NormSource<'_> {
    /// A norm over channels in the given lanes with these batch moments of `count` values.
    pub(super) fn norm(
        &mut self,
        norm: &Norm,
        lanes: &[usize],
        moments: &[(f64, f64)],
        count: usize,
    ) -> NormState {
        let (mut means, mut invs) = (Vec::new(), Vec::new());
        for (c, &lane) in lanes.iter().enumerate().take(norm.channels) {
            let (mean, var) = match self.frozen {
                Some(stats) => (stats[norm.mean + c], f64::from(stats[norm.var + c])),
                None => {
                    let (mean, var) = moments[lane];
                    let unbiased = if count > 1 { count as f64 / (count - 1) as f64 } else { f64::NAN };
                    self.statistics[norm.mean + c] = mean as f32;
                    self.statistics[norm.var + c] = (var * unbiased) as f32;
                    (mean as f32, var)
                }
            };
            means.push(mean);
            invs.push((1.0 / (var + f64::from(self.eps)).sqrt()) as f32);
        }
        let gamma = &self.params[norm.gamma..][..norm.channels];
        let beta = &self.params[norm.beta..][..norm.channels];
        let scale: Vec<f32> = gamma.iter().zip(&invs).map(|(g, i)| g * i).collect();
        let shift: Vec<f32> = (0..norm.channels).map(|c| beta[c] - means[c] * scale[c]).collect();
        let spread = |values: &[f32]| spread(values, lanes);
        NormState { mean: spread(&means), inv: spread(&invs), scale: spread(&scale), shift: spread(&shift) }
    }
}

impl NormState {
    /// The norm and ReLU of planes at `x`.
    pub(super) fn relu(&self, x: Ptr, plane: usize, planes: usize) -> NormRelu<'_> {
        NormRelu { x, plane, planes, scale: &self.scale, shift: &self.shift, masks: None }
    }
}

/// Sums of an image's activations, and of their squares, a lane.
pub(super) struct ImageMoments {
    sum: Vec<f64>,
    squares: Vec<f64>,
}

impl ImageMoments {
    pub(super) fn of(level: Level, crew: &Crew, x: Ptr, planes: usize, pixels: usize) -> Self {
        let lanes = planes * LANES;
        let moments = Mutex::new(ImageMoments { sum: vec![0.0; lanes], squares: vec![0.0; lanes] });
        crew.split(planes, 1, |_, from, to| {
            let mut part = [vec![0.0; (to - from) * LANES], vec![0.0; (to - from) * LANES]];
            let [sum, squares] = &mut part;
            let x = x.at(from * pixels * LANES);
            // SAFETY: the planes have these pixels.
            unsafe { dispatch(level, Moments { x, plane: pixels * LANES, pixels, sum, squares }) };
            let mut moments = moments.lock().expect("no thread panics with the lock");
            moments.sum[from * LANES..to * LANES].copy_from_slice(&part[0]);
            moments.squares[from * LANES..to * LANES].copy_from_slice(&part[1]);
        });
        moments.into_inner().expect("no thread panics with the lock")
    }

    /// Mean and biased variance of a lane over `count` values of a batch, images in order.
    pub(super) fn finish(images: &[ImageMoments], count: usize) -> Vec<(f64, f64)> {
        let lanes = images.first().map_or(0, |image| image.sum.len());
        let moments = (0..lanes).map(|lane| {
            let mean = images.iter().map(|image| image.sum[lane]).sum::<f64>() / count as f64;
            let square = images.iter().map(|image| image.squares[lane]).sum::<f64>() / count as f64;
            (mean, (square - mean * mean).max(0.0))
        });
        moments.collect()
    }
}
