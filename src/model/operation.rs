//! The kernels as a differentiable operation of burn's CPU backend.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, TensorMetadata, backend_extension};
use burn::tensor::TensorData;

use super::kernels::{Arch, EvalState, NormStatistics, Packed, TrainState};
use super::linear;

/// From images to the pooled features of a DenseNet.
#[backend_extension(Flex, Autodiff)]
pub(super) trait PooledFeatures: Backend {
    /// With constant weights and running statistics; differentiable in the images.
    fn evaluated_features(images: FloatTensor<Self>, packed: Arc<Packed>) -> FloatTensor<Self>;

    /// Differentiable in the images and in all parameters, which come concatenated.
    fn trained_features(
        images: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        call: Arc<Call>,
    ) -> FloatTensor<Self>;

    /// A linear layer, `[batch, inputs]` by `[inputs, outputs]`. A matrix product adds in an order that depends on
    /// the batch size; here a row's bits do not depend on its neighbours.
    fn rowwise_linear(
        rows: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// What [`PooledFeatures::trained_features`] takes and leaves beside tensors.
pub(super) struct Call {
    pub(super) arch: Arch,
    /// Running statistics to use; batch statistics without them.
    pub(super) running: Option<Vec<f32>>,
    /// The batch's mean and unbiased variance of every norm, after a call with batch statistics.
    pub(super) batch: OnceLock<Vec<f32>>,
}

impl Call {
    fn forward(&self, images: &FloatTensor<Flex>, parameters: &FloatTensor<Flex>) -> (Vec<f32>, TrainState) {
        let statistics = match &self.running {
            Some(running) => NormStatistics::Running(running),
            None => NormStatistics::Batch,
        };
        let (images_data, parameters_data) = (images.to_contiguous(), parameters.to_contiguous());
        let result = TrainState::forward(
            &self.arch,
            values(&parameters_data),
            statistics,
            values(&images_data),
            size(images),
        );
        if self.running.is_none() {
            self.batch.get_or_init(|| result.1.statistics().to_vec());
        }
        result
    }
}

impl PooledFeatures for Flex {
    fn evaluated_features(images: FloatTensor<Self>, packed: Arc<Packed>) -> FloatTensor<Self> {
        let data = images.to_contiguous();
        pooled(packed.forward(values(&data), size(&images)), &images)
    }

    fn trained_features(
        images: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        call: Arc<Call>,
    ) -> FloatTensor<Self> {
        pooled(call.forward(&images, &parameters).0, &images)
    }

    fn rowwise_linear(
        rows: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [batch, _] = rows.shape().dims();
        let [_, outputs] = weight.shape().dims();
        let [rows, weight, bias] = [rows, weight, bias].map(|tensor| tensor.to_contiguous());
        tensor(linear::forward(values(&rows), values(&weight), values(&bias)), [batch, outputs])
    }
}

impl<C: CheckpointStrategy> PooledFeatures for Autodiff<Flex, C> {
    fn evaluated_features(images: FloatTensor<Self>, packed: Arc<Packed>) -> FloatTensor<Self> {
        match EvaluatedBackward.prepare::<C>([images.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let images = images.into_primitive();
                let data = images.to_contiguous();
                let (features, state) = packed.forward_saving(values(&data), size(&images));
                let state = EvaluatedState { packed, state: Arc::new(state), images: dims(&images) };
                prep.finish(state, pooled(features, &images))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(<Flex as PooledFeatures>::evaluated_features(images.into_primitive(), packed))
            }
        }
    }

    fn trained_features(
        images: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        call: Arc<Call>,
    ) -> FloatTensor<Self> {
        let nodes = [images.node(), parameters.node()];
        let (images, parameters) = (images.into_primitive(), parameters.into_primitive());
        let (features, state) = call.forward(&images, &parameters);
        let output = pooled(features, &images);
        match TrainedBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                // Nobody else has the parameters in one piece: their memory will do for the gradients.
                let memory = parameters.into_data().try_into_vec().expect("single precision");
                let state = Arc::new(Mutex::new(Some((state, memory))));
                prep.finish(TrainedState { state, images: dims(&images) }, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn rowwise_linear(
        rows: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [rows.node(), weight.node(), bias.node()];
        let [rows, weight, bias] = [rows, weight, bias].map(|tensor| tensor.into_primitive());
        let output = Flex::rowwise_linear(rows.clone(), weight.clone(), bias);
        match LinearBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish([rows, weight], output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[derive(Clone)]
struct EvaluatedState {
    packed: Arc<Packed>,
    state: Arc<EvalState>,
    images: [usize; 4],
}

impl std::fmt::Debug for EvaluatedState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EvaluatedState").field("images", &self.images).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct EvaluatedBackward;

impl Backward<Flex, 1> for EvaluatedBackward {
    type State = EvaluatedState;

    fn backward(self, ops: Ops<EvaluatedState, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
        let EvaluatedState { packed, state, images } = ops.state;
        if let [Some(node)] = ops.parents {
            let values = packed.backward(&state, values(&grad));
            grads.register::<Flex>(node.id, tensor(values, images));
        }
    }
}

/// What the forward pass kept, and memory for the parameters' gradients.
type Kept = (TrainState, Vec<f32>);

/// The backward pass takes what the forward pass kept, and frees it on its way.
#[derive(Clone)]
struct TrainedState {
    state: Arc<Mutex<Option<Kept>>>,
    images: [usize; 4],
}

impl std::fmt::Debug for TrainedState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrainedState").field("images", &self.images).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct TrainedBackward;

impl Backward<Flex, 2> for TrainedBackward {
    type State = TrainedState;

    fn backward(self, ops: Ops<TrainedState, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
        let [images, parameters] = ops.parents;
        let state = ops.state.state.lock().unwrap_or_else(PoisonError::into_inner).take();
        // burn's graph gives its steps away: a second backward pass does not come here.
        let (state, memory) = state.expect("one backward pass of a forward pass");
        let gradients = state.backward(values(&grad), memory, images.is_some());
        if let (Some(node), Some(values)) = (images, gradients.images) {
            grads.register::<Flex>(node.id, tensor(values, ops.state.images));
        }
        if let Some(node) = parameters {
            let length = gradients.params.len();
            grads.register::<Flex>(node.id, tensor(gradients.params, [length]));
        }
    }
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, 3> for LinearBackward {
    type State = [FloatTensor<Flex>; 2];

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
        let [rows, weight] = ops.state.map(|tensor| tensor.to_contiguous());
        let (batch, inputs, outputs) = (rows.shape()[0], weight.shape()[0], weight.shape()[1]);
        let [rows_node, weight_node, bias_node] = ops.parents;
        if let Some(node) = rows_node {
            let grad = linear::rows_gradient(values(&grad), values(&weight), outputs);
            grads.register::<Flex>(node.id, tensor(grad, [batch, inputs]));
        }
        if let Some(node) = weight_node {
            let grad = linear::weight_gradient(values(&grad), values(&rows), outputs);
            grads.register::<Flex>(node.id, tensor(grad, [inputs, outputs]));
        }
        if let Some(node) = bias_node {
            grads.register::<Flex>(node.id, tensor(linear::bias_gradient(values(&grad), outputs), [outputs]));
        }
    }
}

fn dims(images: &FloatTensor<Flex>) -> [usize; 4] {
    images.shape().dims()
}

fn size(images: &FloatTensor<Flex>) -> [usize; 3] {
    let [batch, _, height, width] = dims(images);
    [batch, height, width]
}

/// The elements of a contiguous tensor.
pub(super) fn values(tensor: &FloatTensor<Flex>) -> &[f32] {
    tensor.as_slice().expect("a contiguous tensor in single precision")
}

fn pooled(features: Vec<f32>, images: &FloatTensor<Flex>) -> FloatTensor<Flex> {
    let [batch, ..] = dims(images);
    let width = features.len() / batch;
    tensor(features, [batch, width])
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FloatTensor<Flex> {
    Flex::float_from_data(TensorData::new(values, shape), &Default::default())
}
