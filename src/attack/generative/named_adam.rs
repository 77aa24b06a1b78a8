//! Adam whose moments have the names of their weights, so that they can be stored beside them.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::{AdamState, AdaptiveMomentumState, GradientsParams, Optimizer};
use burn::tensor::{Device, Tensor, TensorData};

use crate::adam::Adam;
use crate::attack::stored::Numbers;
use crate::rows::values;

const FIRST: &str = ".exp_avg";
const SECOND: &str = ".exp_avg_sq";

/// burn's Adam with PyTorch's settings, for the weights of one module.
pub(super) struct NamedAdam {
    adam: Adam,
    states: BTreeMap<String, AdamState<1>>,
}

impl NamedAdam {
    pub(super) fn new() -> Self {
        Self { adam: Adam::new(), states: BTreeMap::new() }
    }

    /// One that has taken so many steps, and left these moments.
    pub(super) fn after(steps: usize, moments: &Numbers, device: &Device) -> Self {
        let mut adam = Self::new();
        let tensor =
            |values: &[f32]| Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device);
        for (name, (_, first)) in moments.iter() {
            let Some(path) = name.strip_suffix(FIRST) else { continue };
            let Some((_, second)) = moments.get(&format!("{path}{SECOND}")) else { continue };
            let momentum = AdaptiveMomentumState::new(steps, tensor(first), tensor(second));
            adam.states.insert(path.into(), AdamState::new(momentum));
        }
        adam
    }

    /// Steps so far, and the moments by PyTorch's names behind those of their weights.
    pub(super) fn moments(&self) -> (usize, Numbers) {
        let mut steps = 0;
        let mut moments = Numbers::new();
        for (path, state) in &self.states {
            let AdaptiveMomentumState { time, moment_1, moment_2, .. } = &state.momentum;
            steps = steps.max(*time);
            for (moment, tensor) in [(FIRST, moment_1), (SECOND, moment_2)] {
                let value = (tensor.dims().to_vec(), values(tensor.clone()));
                moments.insert(format!("{path}{moment}"), value);
            }
        }
        (steps, moments)
    }

    /// The module after a step along these gradients.
    pub(super) fn step<M: Module>(&mut self, rate: f64, module: M, gradients: GradientsParams) -> M {
        module.map(&mut Step { own: self, rate, gradients, path: Vec::new() })
    }
}

struct Step<'a> {
    own: &'a mut NamedAdam,
    rate: f64,
    gradients: GradientsParams,
    path: Vec<String>,
}

impl ModuleMapper for Step<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return param };
        let (id, tensor, mapper) = param.consume();
        let (name, shape, tracked) = (self.path.join("."), tensor.dims(), tensor.is_require_grad());
        let size = shape.iter().product::<usize>();
        let state = self.own.states.remove(&name);
        let (moved, state) = self.own.adam.step(
            self.rate,
            tensor.inner().reshape([size]),
            gradient.inner().reshape([size]),
            state,
        );
        if let Some(state) = state {
            self.own.states.insert(name, state);
        }
        let moved = Tensor::from_inner(moved.reshape(shape)).set_require_grad(tracked);
        Param::from_mapped_value(id, moved, mapper)
    }
}

#[cfg(test)]
mod tests {
    use super::super::numbers::{numbers, path_name};
    use super::*;
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::AdamConfig;

    #[test]
    fn steps_are_those_of_burns_own_optimizer_also_after_a_break() {
        let device = Device::default().autodiff();
        let start = LinearConfig::new(5, 3).init(&device);
        let inputs = Tensor::<2>::from_floats([[0.5, -1.0, 0.25, 2.0, -0.75]], &device);
        let gradients = |module: &Linear, scale: f32| {
            let loss = (module.forward(inputs.clone()) * scale).square().sum();
            GradientsParams::from_grads(loss.backward(), module)
        };
        let mut reference = AdamConfig::new().with_epsilon(1e-8).init();
        let (mut expected, mut found) = (start.clone(), start);
        let mut adam = NamedAdam::new();
        for scale in [1.0, 0.3, 2.0] {
            let at = gradients(&expected, scale);
            expected = reference.step(0.01, expected, at);
            let at = gradients(&found, scale);
            found = adam.step(0.01, found, at);
            let (steps, moments) = adam.moments();
            adam = NamedAdam::after(steps, &moments, &device.clone().inner());
            assert_eq!(numbers(&found, path_name), numbers(&expected, path_name));
        }
        assert_eq!(adam.moments().0, 3);
    }
}
