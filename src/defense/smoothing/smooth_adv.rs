//! The attack on a smoothed classifier.

use super::noise::fill;
use crate::attack::prelude::*;
use crate::classifier::mean_probabilities;

const NOISE: Purpose = Purpose::named("SmoothAdv's noise");

/// SmoothAdv: projected gradient steps against the smoothed classifier, through several noisy copies of each
/// image.
///
/// Ascends `-log(mean_i p_y(x + d + n_i))`, the logarithm of the mean of the base's probabilities, with the
/// noise n_i the same in every step (Salman et al., "Provably Robust Deep Learning via Adversarially Trained
/// Smoothed Classifiers", NeurIPS 2019; Hadisalman/smoothing-adversarial, `attacks.py`). From `d = 0` it takes steps of length 2 budgets / steps along the gradient; d is cut to
/// \[0,1\] around the image, then to the budget.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required | a finite number of at least 0 |
/// | norm | the budget's | L2 |
/// | sigma | required | a finite number of at least 0, on the \[0,1\] scale |
/// | steps | 10 | at least 1 |
/// | draws | 8 | at least 1 |
/// | clip | false | |
/// | seed | 0 | any |
///
/// The victim is the base classifier of [`Smoothing`](super::Smoothing), not
/// [`Smoothing::classifier`](super::Smoothing::classifier), which has noise of its own and is attacked by
/// [`Pgd`](crate::attack::Pgd) or any other attack. The paper trains with 2 to 10 steps and 1 to 8 draws,
/// then minimises the cross-entropy on noisy copies of what it crafted; to attack, draw 32 or more. Sigma and
/// clip are those of the smoothing. The noise of an image comes from the seed, its index and the draw's
/// number. Where the gradient is zero the image stays; the authors' code steps at random there.
///
/// ```
/// use histoguard::defense::SmoothAdv;
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let base = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let image = Tensor::full([1, 1, 4, 4], 0.55, &device);
/// // The boundary is 0.2 away.
/// let attack = SmoothAdv::new(Budget::l2(0.3), 0.1);
/// let adversarial = attack.perturb(&base, image, &Goal::untargeted([1]))?;
/// assert_eq!(base.predict(adversarial), [0]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct SmoothAdv {
    /// How far each image may be changed, in L2.
    pub budget: Budget,
    /// Standard deviation of the noise on the \[0,1\] scale.
    pub sigma: f64,
    /// Number of steps: the paper's T.
    #[config(default = 10)]
    pub steps: usize,
    /// Noisy copies of each image: the paper's m. They go through the victim together.
    #[config(default = 8)]
    pub draws: usize,
    /// Whether noisy copies are cut to \[0,1\].
    #[config(default = false)]
    pub clip: bool,
    /// Seed of the noise.
    #[config(default = 0)]
    pub seed: u64,
}

impl SmoothAdv {
    /// From the images with this noise, a draw each for all of them.
    fn climb(&self, task: &Task<'_>, noise: &[Tensor<4>]) -> Result<Tensor<4>, AttackError> {
        let (images, size) = (task.images(), self.budget.size());
        let mut points = images.clone();
        for _ in 0..self.steps {
            task.step()?;
            let step =
                Norm::L2.unit_step(self.gradient(task, &points, noise)) * (2.0 * size / self.steps as f64);
            let change = (points + step).clamp(0.0, 1.0) - images.clone();
            points = task.add(change, self.budget);
        }
        Ok(points)
    }

    /// The gradient of the goal's objective at the logarithm of the mean probabilities.
    fn gradient(&self, task: &Task<'_>, points: &Tensor<4>, noise: &[Tensor<4>]) -> Tensor<4> {
        let [images, channels, height, width] = points.dims();
        let noisy = Tensor::cat(noise.iter().map(|noise| points.clone() + noise.clone()).collect(), 0);
        let seen = if self.clip { noisy.clone().clamp(0.0, 1.0) } else { noisy.clone() };
        // The copies are rows of one batch: what each adds to the gradient of its image is summed below.
        let found = task.gradient(&seen, |logits| {
            let classes = logits.dims()[1];
            task.goal().objective(mean_probabilities(logits.reshape([noise.len(), images, classes])))
        });
        let cut = noisy.clone().not_equal(seen);
        let gradient = found.gradient.mask_fill(cut, 0.0);
        task.restrict(
            gradient.reshape([noise.len(), images, channels, height, width]).sum_dim(0).squeeze_dim(0),
        )
    }
}

impl Attack for SmoothAdv {
    fn profile(&self) -> Profile {
        let queries = Queries::gradients(self.steps * self.draws);
        Profile::within("SmoothAdv", self.budget, Access::Gradients, self.steps, queries)
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        vec![
            norm_among(self.budget.norm(), &[Norm::L2]),
            Parameter::from_zero("sigma", self.sigma),
            Parameter::at_least("steps", self.steps, 1),
            Parameter::at_least("draws", self.draws, 1),
        ]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget, ..*self })
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        Some(Box::new(self.with_draws(2 * self.draws)))
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        let draw = |number: usize| {
            // The defense adds its noise everywhere, whatever part of the image is attacked.
            let draws = task.draws(NOISE, self.seed, &[number as u64]).everywhere();
            draws.perturbations(&task.images(), |values, generator| fill(values, self.sigma, generator))
        };
        self.climb(&task, &(0..self.draws).map(draw).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use burn::tensor::{DType, Device, TensorData};
    use safetensors::SafeTensors;

    use super::*;
    use crate::attack::Goal;
    use crate::classifier::Frozen;
    use crate::model::DenseNetConfig;
    use crate::weights;

    fn path(name: &str) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "tests", "golden", name].iter().collect()
    }

    /// The tensors of tests/golden/smooth_adv.py.
    fn golden(name: &str) -> BTreeMap<String, TensorData> {
        let bytes = std::fs::read(path(name)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let floats = file.tensors().into_iter().filter(|(_, view)| view.dtype() == safetensors::Dtype::F32);
        let data = |view: &safetensors::tensor::TensorView<'_>| {
            TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), DType::F32)
        };
        floats.map(|(name, view)| (name, data(&view))).collect()
    }

    fn largest_difference<const D: usize>(found: Tensor<D>, expected: &TensorData) -> f32 {
        let expected: Vec<f32> = expected.clone().try_into_vec().unwrap();
        let found = values(found);
        assert_eq!(found.len(), expected.len());
        found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn crafted_images_equal_pytorchs() {
        let device = Device::default();
        let config = DenseNetConfig::new(3).with_growth_rate(4).with_block_config(vec![2, 1]);
        let net = config.with_num_init_features(6).with_bn_size(2).init(&device);
        let base = Frozen::new(weights::load(net, path("densenet_tiny.safetensors")).unwrap());
        let (golden, images) =
            (golden("smooth_adv.safetensors"), golden("densenet_tiny_expected.safetensors"));
        let images = Tensor::<4>::from_data(images["images"].clone(), &device).narrow(0, 0, 2);
        let noise: Tensor<5> = Tensor::from_data(golden["noise"].clone(), &device) * 0.25;
        let noise: Vec<Tensor<4>> =
            (0..4).map(|draw| noise.clone().narrow(0, draw, 1).squeeze_dim(0)).collect();

        let attack = SmoothAdv::new(Budget::l2(2.0), 0.25).with_steps(3).with_draws(4);
        let away = Goal::untargeted([2, 0]);
        let cases = [
            ("untargeted", attack, away.clone()),
            ("targeted", attack, Goal::targeted([0, 1])),
            ("clipped", attack.with_clip(true), away.clone()),
        ];
        for (name, attack, goal) in cases {
            let task = Task::new(&base, images.clone(), &goal, attack.profile()).unwrap();
            let off = largest_difference(attack.climb(&task, &noise).unwrap(), &golden[name]);
            assert!(off < 1e-5, "{name}: {off}");
        }
        let task = Task::new(&base, images.clone(), &away, attack.profile()).unwrap();
        let gradient = attack.gradient(&task, &images, &noise);
        let expected = &golden["smoothed_gradient"];
        let largest =
            Norm::Linf.measure(Tensor::<4>::from_data(expected.clone(), &device)).max().into_scalar::<f32>();
        let off = largest_difference(gradient, expected);
        assert!(off < 1e-4 * largest, "{off} of {largest}");
    }
}
