//! The Jacobian-based saliency map attack.

use rayon::prelude::*;

use super::saliency::best_pair;
use crate::attack::prelude::*;
use crate::attack::steps::Smallest;
use crate::classifier::pick;

/// How near to the end of the range a feature counts as used up, torchattacks' 0.01.
const SATURATED: f32 = 0.01;

/// The Jacobian-based saliency map attack: two features (values of a pixel's channel) at a time, as few as
/// possible, until the target is reached.
///
/// Papernot, McDaniel, Jha, Fredrikson, Celik & Swami, "The Limitations of Deep Learning in Adversarial
/// Settings", EuroS&P 2016, algorithms 2 and 3: with alpha the summed derivative of the target's logit in two
/// features and beta that of all other logits, each step changes by theta the pair with the largest
/// `alpha * |beta|` among those with alpha > 0 > beta (theta > 0; the signs change with that of theta).
/// Features within 0.01 of the end of their range are left alone, as in torchattacks' `JSMA`, which this is
/// image for image with theta = 1. With a smaller one a feature can be chosen again until it is used up, as
/// in the paper, where torchattacks chooses each feature once.
///
/// Targeted. A step costs two gradients, whatever the number of classes; the pair is the best of all pairs,
/// found without a table of them: memory is linear in the number of features. Images without success come
/// back as they are.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | limit | none | a budget in the attack's norm |
/// | theta | 1 | a number from -1 to 1 other than 0 |
/// | gamma | 0.1 (the paper's Υ is 0.145) | a share above 0 and at most 1 |
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// // Bright or not, by the first row.
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.narrow(2, 0, 1).mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone().neg() + 1.0, bright], 1)
/// });
/// let images = Tensor::<4>::from_floats([[[[0.2, 0.2], [0.4, 0.4]]]], &device);
/// let fallen = Jsma::new().with_gamma(1.0).perturb(&victim, images, &Goal::targeted([1]))?;
/// assert_eq!(fallen.into_data().try_into_vec::<f32>().unwrap(), [1.0, 1.0, 0.4, 0.4]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct Jsma {
    /// Images that need more features stay as they are; counted as [`Norm::L0`] does.
    pub limit: Option<Budget>,
    /// What is added to a chosen feature.
    #[config(default = 1.0)]
    pub theta: f64,
    /// The largest share of features that may change, two a step.
    #[config(default = 0.1)]
    pub gamma: f64,
}

impl Jsma {
    /// Changes the most salient pair of one image; false if there is none.
    fn change(&self, image: &mut [f32], target: &[f32], others: &[f32], free: Option<&[usize]>) -> bool {
        let (theta, sign) = (self.theta as f32, self.theta.signum() as f32);
        let unsaturated =
            |&i: &usize| if sign > 0.0 { image[i] < 1.0 - SATURATED } else { image[i] > SATURATED };
        let point = |i| (i, sign * target[i], -sign * others[i]);
        let may_change = free.map_or_else(|| (0..image.len()).collect(), <[usize]>::to_vec);
        let Some((p, q)) = best_pair(may_change.into_iter().filter(unsaturated).map(point).collect()) else {
            return false;
        };
        [p, q].into_iter().for_each(|i| image[i] = (image[i] + theta).clamp(0.0, 1.0));
        true
    }
}

impl Attack for Jsma {
    fn profile(&self) -> Profile {
        // Without a limit the size of the image decides.
        let steps = self.limit.map(|limit| (limit.size() / 2.0).ceil() as usize);
        let queries = |steps: usize| Queries::forwards(1) + Queries::gradients(steps.saturating_mul(2));
        Profile::smallest("JSMA", (Norm::L0, self.limit), Access::Gradients, steps, steps.map(queries))
            .targeted()
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        let theta = self.theta.abs() <= 1.0 && self.theta != 0.0;
        let gamma = self.gamma > 0.0 && self.gamma <= 1.0;
        vec![
            Parameter::new("theta", "a number from -1 to 1 other than 0", theta, self.theta),
            Parameter::new("gamma", "a share above 0 and at most 1", gamma, self.gamma),
        ]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { limit: Some(budget), ..*self })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        let size = task.size();
        let most = self.limit.map_or(f64::INFINITY, Budget::size).min(size as f64 * self.gamma);
        let mut found = Smallest::new(task.images(), Norm::L0, self.limit);
        let (mut standing, mut points) = (task.afresh(), task.images());
        for _ in 0..(most / 2.0).ceil() as usize {
            task.step()?;
            let target = standing.gradient(&points, |logits| pick(logits, standing.goal().classes()));
            let reached = standing.goal().reached(target.logits);
            found.offer(standing.positions(), &points, &reached);
            let open = flagged(&reached, false);
            if open.is_empty() {
                return Ok(found.into_images());
            }
            (standing, points) = (standing.keep(&open), points.keep(&open));
            let target = values(target.gradient.keep(&open));
            let others = standing.gradient(&points, |logits| {
                logits.clone().sum_dim(1).reshape([standing.len()]) - pick(logits, standing.goal().classes())
            });
            let others = values(others.gradient);
            let mut pixels = values(points.clone());
            let free: Vec<_> = (0..standing.len()).map(|row| standing.free(row)).collect();
            let changed: Vec<bool> = pixels
                .par_chunks_mut(size)
                .zip(target.par_chunks(size).zip(others.par_chunks(size)))
                .enumerate()
                .map(|(row, (image, (target, others)))| self.change(image, target, others, free[row]))
                .collect();
            points = batch(pixels, &points);
            let open = flagged(&changed, true);
            if open.is_empty() {
                return Ok(found.into_images());
            }
            (standing, points) = (standing.keep(&open), points.keep(&open));
        }
        found.ask(&standing, &points);
        Ok(found.into_images())
    }
}
