//! Total variation minimisation.

use std::convert::Infallible;

use basin::{
    BoxBounds, ConstraintDescription, ConstraintSet, Constraints, CostFunction, Executor, FirstOrderState,
    Gradient, Lbfgsb,
};
use burn::config::Config;
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::{Backward, ImageDraws, Preprocess};
use crate::parameter::Parameter;
use crate::random::{Purpose, RngExt};
use crate::rows::{batch, values};

const MASK: Purpose = Purpose::named("the mask of total variation minimisation");

/// A norm below this has the slope of one of this size, as in ART.
const SMALLEST_NORM: f64 = 1e-6;

/// What rounds off the kink of the first term, where the optimiser starts and could not leave with small
/// weights.
const ROUNDING: f64 = 1e-3;

/// Where the optimiser stops, scipy's defaults.
const GRADIENT_TOLERANCE: f64 = 1e-5;
const REDUCTION_TOLERANCE: f64 = 2.220_446_049_250_313e-9;

/// Every channel rebuilt from a random part of its values with little total variation: Guo, Rana, Cissé & van
/// der Maaten, "Countering Adversarial Images using Input Transformations", ICLR 2018, section 4.
///
/// Minimises over `z` in \[0,1\]
///
/// `|m (z - x)|_2 + weight * (sum_i |z_i - z_{i-1}|_2 + sum_j |z_j - z_{j-1}|_2)`
///
/// where `m` keeps each value of the image `x` with some probability, `z_i` are the rows of a channel and
/// `z_j` its columns, and a given weight smooths large images more than small ones. It is the paper's problem
/// with p = 2, and the objective of ART's `TotalVarMin` (kept 0.3, weight 0.5), which minimises without
/// bounds, clips, and takes twice the slope of the second term. (The obfuscated-gradients repository solves
/// another problem: anisotropic total variation by split Bregman.) The optimiser is the L-BFGS-B of the crate
/// basin, from the image itself, with few iterations as in ART; it sees `sqrt(|.|^2 + 1e-6)` in place of the
/// first norm, which has no slope there. Images of any number of channels.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | kept | 0.5 | a number from 0 to 1 |
/// | weight | 0.03 | a finite number of at least 0 |
/// | iterations | 10 | at least 1 |
/// | seed | 0 | any |
///
/// The backward pass is that of the identity.
///
/// ```
/// use histoguard::defense::{ImageDraws, Preprocess, TotalVariation};
/// use histoguard::prelude::*;
///
/// // Stripes.
/// let image = Tensor::<1>::from_floats([0.4, 0.6].repeat(32).as_slice(), &Device::default());
/// let image = image.reshape([1, 1, 8, 8]);
/// let smooth = TotalVariation::new().with_weight(0.5).apply(image.clone(), &ImageDraws::first(&image));
/// let spread = |image: Tensor<4>| (image.clone().max() - image.min()).into_scalar::<f32>();
/// assert!(spread(smooth) < 0.5 * spread(image));
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct TotalVariation {
    /// The probability that a value is kept.
    #[config(default = 0.5)]
    pub kept: f64,
    /// The weight of the total variation.
    #[config(default = 0.03)]
    pub weight: f64,
    /// Iterations of the optimiser, at most.
    #[config(default = 10)]
    pub iterations: usize,
    /// The seed of the masks.
    #[config(default = 0)]
    pub seed: u64,
}

impl TotalVariation {
    /// The rebuilt plane, from where `mask` is set.
    fn minimise(self, plane: &[f32], mask: &[bool], width: usize) -> Vec<f32> {
        let image: Vec<f64> = plane.iter().map(|&value| f64::from(value)).collect();
        let bounds = (vec![0.0; image.len()], vec![1.0; image.len()]);
        let problem =
            Objective { image: &image, mask, width, weight: self.weight, rounding: ROUNDING, bounds };
        let solver = Lbfgsb::new()
            .with_absolute_projected_gradient_tolerance(GRADIENT_TOLERANCE)
            .with_relative_cost_reduction_tolerance(REDUCTION_TOLERANCE);
        let start = FirstOrderState::new(image.clone());
        let run = Executor::new(problem, solver, start).max_iter(self.iterations as u64).run();
        let found = run.expect("bounds in order, and an objective that never fails");
        found.param().iter().map(|&value| value as f32).collect()
    }
}

impl Preprocess for TotalVariation {
    fn name(&self) -> String {
        "Total variation".into()
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::within("kept", self.kept, 0.0..=1.0),
            Parameter::from_zero("weight", self.weight),
            Parameter::at_least("iterations", self.iterations, 1),
        ]
    }

    fn is_random(&self) -> bool {
        true
    }

    fn apply(&self, images: Tensor<4>, draws: &ImageDraws) -> Tensor<4> {
        let [_, channels, height, width] = images.dims();
        let rebuilt = |(number, plane): (usize, &[f32])| {
            let (row, channel) = (number / channels, number % channels);
            let mut rng = draws.part(channel as u64).generator(MASK, self.seed, row);
            let mask: Vec<bool> = plane.iter().map(|_| rng.random::<f64>() < self.kept).collect();
            self.minimise(plane, &mask, width)
        };
        let numbers = values(images.clone());
        let planes = numbers.par_chunks((height * width).max(1)).enumerate().map(rebuilt);
        batch(planes.collect::<Vec<_>>().concat(), &images)
    }

    fn backward(&self) -> Backward {
        Backward::Identity
    }
}

/// The objective for one plane of one image.
struct Objective<'a> {
    image: &'a [f64],
    mask: &'a [bool],
    width: usize,
    weight: f64,
    rounding: f64,
    bounds: (Vec<f64>, Vec<f64>),
}

impl Objective<'_> {
    /// Value and gradient at `point`.
    fn at(&self, point: &[f64]) -> (f64, Vec<f64>) {
        let kept = |i: usize| if self.mask[i] { point[i] - self.image[i] } else { 0.0 };
        let squares = (0..point.len()).map(|i| kept(i).powi(2)).sum::<f64>();
        let distance = (squares + self.rounding.powi(2)).sqrt();
        let mut slope: Vec<f64> = (0..point.len()).map(|i| kept(i) / distance.max(SMALLEST_NORM)).collect();
        let (width, height) = (self.width, point.len() / self.width);
        let rows = lines(point, &mut slope, self.weight, (height, width), (width, 1));
        let columns = lines(point, &mut slope, self.weight, (width, height), (1, width));
        (distance + self.weight * (rows + columns), slope)
    }
}

/// The norms of the differences of `count` neighbouring lines of `length` values, summed; their weighted
/// slopes are added. A line starts `between` values after the one before, and a value of it stands `along`
/// after the one before.
fn lines(
    point: &[f64],
    slope: &mut [f64],
    weight: f64,
    (count, length): (usize, usize),
    (between, along): (usize, usize),
) -> f64 {
    let mut total = 0.0;
    for line in 1..count {
        let places = (0..length).map(|k| line * between + k * along);
        let difference = |at: usize| point[at] - point[at - between];
        let norm = places.clone().map(|at| difference(at).powi(2)).sum::<f64>().sqrt();
        total += norm;
        let share = weight / norm.max(SMALLEST_NORM);
        for at in places {
            let step = share * difference(at);
            slope[at] += step;
            slope[at - between] -= step;
        }
    }
    total
}

impl Constraints for Objective<'_> {
    type Set = ConstraintSet<BoxBounds<Vec<f64>>>;

    fn constraints(&self) -> <Self::Set as ConstraintDescription>::Borrowed<'_> {
        ConstraintSet::new().with_bounds(BoxBounds::new(Some(&self.bounds.0), Some(&self.bounds.1)))
    }
}

impl CostFunction for Objective<'_> {
    type Param = Vec<f64>;
    type Output = f64;
    type Error = Infallible;

    fn cost(&self, point: &Vec<f64>) -> Result<f64, Infallible> {
        Ok(self.at(point).0)
    }
}

impl Gradient for Objective<'_> {
    type Gradient = Vec<f64>;

    fn gradient(&self, point: &Vec<f64>) -> Result<Vec<f64>, Infallible> {
        Ok(self.at(point).1)
    }

    fn cost_and_gradient(&self, point: &Vec<f64>) -> Result<(f64, Vec<f64>), Infallible> {
        Ok(self.at(point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::{Dtype, SafeTensors};

    const WIDTH: usize = 17;

    fn golden(name: &str) -> Vec<f64> {
        let bytes = include_bytes!("../../../tests/golden/defenses/preprocess.safetensors");
        let file = SafeTensors::deserialize(bytes).unwrap();
        let view = file.tensor(name).unwrap();
        assert_eq!(view.dtype(), Dtype::F64, "{name}");
        view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    }

    fn with_objective<T>(weight: f64, work: impl FnOnce(&Objective<'_>) -> T) -> T {
        let (image, mask) = (golden("tv.image"), golden("tv.mask"));
        let mask: Vec<bool> = mask.iter().map(|&kept| kept == 1.0).collect();
        let bounds = (vec![0.0; image.len()], vec![1.0; image.len()]);
        work(&Objective { image: &image, mask: &mask, width: WIDTH, weight, rounding: 0.0, bounds })
    }

    /// ART's `TotalVarMin._loss_func`, and its `_deri_loss_func` at half the weight: it doubles the second
    /// term's slope.
    #[test]
    fn objective_and_gradient_equal_art() {
        for (weight, name) in [(0.5, "half"), (0.03, "0.03")] {
            for place in ["image", "other"] {
                let (value, slope) = with_objective(weight, |o| o.at(&golden(&format!("tv.{place}"))));
                let expected = golden(&format!("tv.{place}.{name}.loss"))[0];
                assert!((value / expected - 1.0).abs() < 1e-12, "{value} {expected}");
                let gradient = golden(&format!("tv.{place}.{name}.gradient"));
                for (found, expected) in slope.iter().zip(gradient) {
                    assert!((found - expected).abs() < 1e-12, "{weight} {place}: {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn the_gradient_is_that_of_the_value() {
        with_objective(0.5, |objective| {
            let point = golden("tv.other");
            let (_, slope) = objective.at(&point);
            for at in [0, 5, WIDTH, 100, point.len() - 1] {
                let moved = |by: f64| {
                    let mut point = point.clone();
                    point[at] += by;
                    objective.at(&point).0
                };
                let difference = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                assert!((difference - slope[at]).abs() < 1e-6, "{at}: {difference} {}", slope[at]);
            }
        });
    }

    /// As low a value of ART's objective as SciPy's L-BFGS-B finds over \[0,1\], to 1 %.
    #[test]
    fn minimum_is_that_of_scipy() {
        let (image, mask) = (golden("tv.image"), golden("tv.mask"));
        let plane: Vec<f32> = image.iter().map(|&value| value as f32).collect();
        let mask: Vec<bool> = mask.iter().map(|&kept| kept == 1.0).collect();
        for iterations in [10, 500] {
            for (weight, name) in [(0.5, "half"), (0.03, "0.03")] {
                let settings = TotalVariation::new().with_iterations(iterations).with_weight(weight);
                let found = settings.minimise(&plane, &mask, WIDTH);
                let found: Vec<f64> = found.into_iter().map(f64::from).collect();
                let value = with_objective(weight, |objective| objective.at(&found).0);
                let expected = golden(&format!("tv.{name}.{iterations}.minimum"))[0];
                assert!(value < 1.01 * expected, "{iterations} {weight}: {value} {expected}");
            }
        }
    }

    /// Five standard deviations of a binomial share.
    #[test]
    fn masks_keep_the_share_that_they_should() {
        let kept = TotalVariation::new().kept;
        let mut rng =
            ImageDraws::first(&Tensor::zeros([1, 1, 2, 2], &Default::default())).generator(MASK, 0, 0);
        let count = 20_000;
        let share = (0..count).filter(|_| rng.random::<f64>() < kept).count() as f64 / f64::from(count);
        assert!((share - kept).abs() < 5.0 * (kept * (1.0 - kept) / f64::from(count)).sqrt());
    }
}
