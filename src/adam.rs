//! Adam in one pass over memory.

use burn::optim::decay::WeightDecayConfig;
use burn::optim::{
    Adam as BurnAdam, AdamConfig, AdamState, AdaptiveMomentumState, LearningRate, ModuleOptimizer, Optimizer,
};
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;

/// Values that a thread takes at once.
const SHARE: usize = 1 << 14;

/// Adam (Kingma & Ba, ICLR 2015) with PyTorch's defaults: burn's, to the bit and with its state and records.
///
/// On the CPU in single precision all that one step does to a weight is done at once, by all threads; elsewhere a
/// step is burn's dozen of operations.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::optim::GradientsParams;
/// use histoguard::adam::Adam;
/// use histoguard::prelude::*;
///
/// let device = Device::default().autodiff();
/// let layer = LinearConfig::new(3, 2).init(&device);
/// let mut adam = Adam::new().init();
/// let loss = layer.forward(Tensor::<2>::ones([4, 3], &device)).square().mean();
/// let gradients = GradientsParams::from_grads(loss.backward(), &layer);
/// let layer = adam.step(1e-3, layer, gradients);
/// assert_eq!(layer.weight.dims(), [3, 2]);
/// ```
#[derive(Clone)]
pub struct Adam {
    beta_1: f32,
    beta_2: f32,
    epsilon: f32,
    weight_decay: f32,
}

impl Adam {
    /// PyTorch's: decays of 0.9 and 0.999, epsilon 1e-8, no weight decay.
    pub fn new() -> Self {
        Self { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }

    /// The decays of the gradient's mean and of its mean square, each in \[0,1); 0.9 and 0.999 if not given.
    ///
    /// # Panics
    ///
    /// Panics on a decay out of its range.
    pub fn with_betas(self, beta_1: f32, beta_2: f32) -> Self {
        for beta in [beta_1, beta_2] {
            assert!((0.0..1.0).contains(&beta), "Adam's betas: expected numbers in [0,1), found {beta}");
        }
        Self { beta_1, beta_2, ..self }
    }

    /// The guard against division by zero, above 0; 1e-8 if not given.
    ///
    /// # Panics
    ///
    /// Panics on another one.
    pub fn with_epsilon(self, epsilon: f32) -> Self {
        assert!(epsilon > 0.0, "Adam's epsilon: expected a number above 0, found {epsilon}");
        Self { epsilon, ..self }
    }

    /// The share of each weight that is added to its gradient, from 0; 0 if not given.
    ///
    /// # Panics
    ///
    /// Panics on another one.
    pub fn with_weight_decay(self, weight_decay: f32) -> Self {
        assert!(weight_decay >= 0.0, "Adam's weight decay: expected a number from 0, found {weight_decay}");
        Self { weight_decay, ..self }
    }

    /// The optimizer of a whole module.
    pub fn init(self) -> ModuleOptimizer {
        self.into()
    }

    fn penalty(&self) -> Option<f32> {
        (self.weight_decay > 0.0).then_some(self.weight_decay)
    }

    fn composed(&self) -> BurnAdam {
        AdamConfig::new()
            .with_beta_1(self.beta_1)
            .with_beta_2(self.beta_2)
            .with_epsilon(self.epsilon)
            .with_weight_decay(self.penalty().map(WeightDecayConfig::new))
            .build()
    }
}

impl Default for Adam {
    fn default() -> Self {
        Self::new()
    }
}

impl Optimizer for Adam {
    type State<const D: usize> = AdamState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<AdamState<D>>,
    ) -> (Tensor<D>, Option<AdamState<D>>) {
        match (state, InMemory::of(&grad)) {
            (Some(AdamState { momentum }), Some(gradients)) => {
                let (weights, found) = (tensor.dims(), [&grad, &momentum.moment_1, &momentum.moment_2]);
                let found = found.map(Tensor::dims);
                assert!(found == [weights; 3], "Adam: weights {weights:?}, gradient and moments {found:?}");
                let step = Step::new(self, lr, momentum.time + 1);
                let (tensor, momentum) = step.take(tensor, &gradients, momentum);
                (tensor, Some(AdamState::new(momentum)))
            }
            (state, _) => self.composed().step(lr, tensor, grad, state),
        }
    }

    fn to_device<const D: usize>(state: AdamState<D>, device: &Device) -> AdamState<D> {
        BurnAdam::to_device(state, device)
    }
}

/// One step's factors.
struct Step {
    penalty: Option<f32>,
    beta_1: f32,
    beta_2: f32,
    /// Of the mean, against its bias and that of the mean square.
    unbiased: f32,
    epsilon: f32,
    rate: f32,
}

impl Step {
    fn new(adam: &Adam, rate: LearningRate, time: usize) -> Self {
        let time = time as i32;
        let bias_2 = (1.0 - adam.beta_2.powi(time)).sqrt();
        Self {
            penalty: adam.penalty(),
            beta_1: adam.beta_1,
            beta_2: adam.beta_2,
            unbiased: bias_2 / (1.0 - adam.beta_1.powi(time)),
            epsilon: adam.epsilon * bias_2,
            rate: rate as f32,
        }
    }

    fn take<const D: usize>(
        &self,
        weights: Tensor<D>,
        gradients: &InMemory,
        moments: AdaptiveMomentumState<D>,
    ) -> (Tensor<D>, AdaptiveMomentumState<D>) {
        let like = (&weights.device(), weights.dtype());
        let AdaptiveMomentumState { time, moment_1, moment_2, max_moment_2 } = moments;
        // Without a copy, as nobody else has them.
        let [mut weights, mut mean, mut square] = [weights, moment_1, moment_2].map(Tensor::into_data);
        let [weights_now, mean_now, square_now] = [&mut weights, &mut mean, &mut square]
            .map(|data| data.as_mut_slice::<f32>().expect("single precision, as the gradients"));
        let gradients = gradients.values();
        if gradients.len() <= SHARE {
            self.along(weights_now, gradients, mean_now, square_now);
        } else {
            let shares = (
                weights_now.par_chunks_mut(SHARE),
                gradients.par_chunks(SHARE),
                mean_now.par_chunks_mut(SHARE),
                square_now.par_chunks_mut(SHARE),
            );
            shares.into_par_iter().for_each(|(weights, gradients, mean, square)| {
                self.along(weights, gradients, mean, square);
            });
        }
        let [weights, moment_1, moment_2] = [weights, mean, square].map(|data| Tensor::from_data(data, like));
        (weights, AdaptiveMomentumState { time: time + 1, moment_1, moment_2, max_moment_2 })
    }

    /// In the order of burn's operations, so that no bit differs.
    fn along(&self, weights: &mut [f32], gradients: &[f32], mean: &mut [f32], square: &mut [f32]) {
        let moments = mean.iter_mut().zip(square);
        for ((weight, &gradient), (mean, square)) in weights.iter_mut().zip(gradients).zip(moments) {
            let gradient = match self.penalty {
                Some(penalty) => *weight * penalty + gradient,
                None => gradient,
            };
            *mean = *mean * self.beta_1 + gradient * (1.0 - self.beta_1);
            *square = *square * self.beta_2 + gradient * gradient * (1.0 - self.beta_2);
            *weight -= *mean * self.unbiased / (square.sqrt() + self.epsilon) * self.rate;
        }
    }
}

/// A tensor's values, in single precision and where this processor reads them.
#[cfg(feature = "flex")]
struct InMemory(burn::backend::tensor::FloatTensor<burn::backend::Flex>);

#[cfg(feature = "flex")]
impl InMemory {
    fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if tensor.dtype() != burn::tensor::DType::F32 {
            return None;
        }
        let tensor = tensor.clone().try_into_primitive::<burn::backend::Flex>().ok()?;
        let in_order = tensor.layout().is_contiguous();
        Some(Self(if in_order { tensor } else { tensor.to_contiguous() }))
    }

    fn values(&self) -> &[f32] {
        let layout = self.0.layout();
        &self.0.storage()[layout.start_offset()..][..layout.num_elements()]
    }
}

#[cfg(not(feature = "flex"))]
enum InMemory {}

#[cfg(not(feature = "flex"))]
impl InMemory {
    fn of<const D: usize>(_tensor: &Tensor<D>) -> Option<Self> {
        None
    }

    fn values(&self) -> &[f32] {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, RngExt, generator};
    use burn::tensor::TensorData;

    fn noise<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
        let mut generator = generator(Purpose::named("noise of Adam's tests"), seed, &[]);
        let values: Vec<f32> =
            (0..shape.iter().product()).map(|_| generator.random_range(-1.0..1.0)).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::default())
    }

    fn bits<const D: usize>(tensor: &Tensor<D>) -> Vec<u32> {
        tensor.to_data().iter::<f32>().map(f32::to_bits).collect()
    }

    /// Where somebody else keeps the weights and the state of before, and where nobody does.
    fn assert_burns<const D: usize>(shape: [usize; D], adam: Adam) {
        for kept in [true, false] {
            assert_steps(shape, &adam, kept);
        }
    }

    fn assert_steps<const D: usize>(shape: [usize; D], adam: &Adam, keep: bool) {
        let (mut expected, mut found) = (noise(shape, 1), noise(shape, 1));
        let (mut their_state, mut own_state) = (None, None);
        for step in 0..4 {
            let rate = 0.01 / (step + 1) as f64;
            // A view of others' values, as gradients of concatenated weights are.
            let gradients =
                Tensor::cat(vec![noise(shape, 90), noise(shape, 100 + step)], 0) * (step as f64 - 1.5);
            let gradients = gradients.narrow(0, shape[0], shape[0]);
            (expected, their_state) = adam.composed().step(rate, expected, gradients.clone(), their_state);
            let kept = keep.then(|| (found.clone(), bits(&found), own_state.clone()));
            (found, own_state) = adam.step(rate, found, gradients, own_state);
            assert_eq!(bits(&found), bits(&expected), "{shape:?}, step {step}");
            let [theirs, own] = [&their_state, &own_state].map(|state: &Option<AdamState<D>>| {
                let moments = &state.as_ref().expect("a state after a step").momentum;
                (moments.time, bits(&moments.moment_1), bits(&moments.moment_2))
            });
            assert_eq!(own, theirs, "{shape:?}, step {step}");
            if let Some((weights, before, _)) = kept {
                assert_eq!(bits(&weights), before);
            }
        }
    }

    #[test]
    #[should_panic(expected = "Adam: weights [2, 6], gradient and moments [[2, 6], [3, 4], [3, 4]]")]
    fn moments_of_other_weights_are_refused() {
        let (_, state) = Adam::new().step(0.1, noise([3, 4], 1), noise([3, 4], 2), None);
        Adam::new().step(0.1, noise([2, 6], 1), noise([2, 6], 2), state);
    }

    #[test]
    fn a_step_is_burns_to_the_bit() {
        for adam in [Adam::new(), Adam::new().with_betas(0.5, 0.9).with_epsilon(1e-3).with_weight_decay(0.1)]
        {
            assert_burns([1], adam.clone());
            assert_burns([7, 5], adam.clone());
            assert_burns([33, 129, 3, 3], adam);
        }
    }
}
