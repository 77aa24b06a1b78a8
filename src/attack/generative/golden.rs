//! Networks and gradients out of golden files of `tests/golden/attacks`, for the tests of training steps.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::numbers::{Name, filled, numbers};
use crate::attack::stored::Numbers;
use crate::rows::values;

#[path = "../../../tests/victim/mod.rs"]
#[allow(unreachable_pub)]
pub(super) mod victim;

use victim::golden;

const TOLERANCE: f32 = 3e-4;

/// All golden tensors of a network.
pub(super) fn stored<M: Module>(file: &str, blank: &M, prefix: &str, name: Name) -> Numbers {
    let named = |name: String| {
        let data = golden(file, &format!("{prefix}.{name}"));
        let shape = data.shape().to_vec();
        (name, (shape, data.try_into_vec().unwrap()))
    };
    numbers(blank, name).into_keys().map(named).collect()
}

pub(super) fn network<M: Module>(file: &str, blank: M, prefix: &str, name: Name) -> M {
    let weights = stored(file, &blank, prefix, name);
    filled(blank, &weights, name).unwrap()
}

/// Gradients by the names of their weights.
struct Collect {
    gradients: GradientsParams,
    name: Name,
    path: Vec<String>,
    found: Vec<(String, Vec<f32>)>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            // PyTorch has the weight of a linear layer the other way round.
            let gradient = if D == 2 { values(gradient.transpose()) } else { values(gradient) };
            self.found.push(((self.name)(&self.path.join(".")), gradient));
        }
    }
}

/// Every gradient of the module, held against the script's. Those of biases before a norm are rounding
/// errors: a value is off by a share of the largest one of its tensor, or of a hundredth of the largest of
/// all.
pub(super) fn compare<M: Module>(file: &str, case: &str, module: &M, gradients: GradientsParams, name: Name) {
    let mut weights = 0;
    module.visit(&mut Weights(&mut weights));
    assert_eq!(compare_some(file, case, module, gradients, name), weights, "{case}");
}

/// The same of those tensors that have a gradient; how many there are.
pub(super) fn compare_some<M: Module>(
    file: &str,
    case: &str,
    module: &M,
    gradients: GradientsParams,
    name: Name,
) -> usize {
    let mut collect = Collect { gradients, name, path: Vec::new(), found: Vec::new() };
    module.visit(&mut collect);
    let expected: Vec<Vec<f32>> = collect
        .found
        .iter()
        .map(|(name, _)| golden(file, &format!("{case}.{name}")).try_into_vec().unwrap())
        .collect();
    let most = |values: &[f32]| values.iter().fold(0f32, |most, value| most.max(value.abs()));
    let largest = expected.iter().map(|values| most(values)).fold(0.0, f32::max);
    assert!(largest > 1e-3, "{case}: {largest}");
    for ((name, found), expected) in collect.found.iter().zip(&expected) {
        let (off, size) = (victim::largest_difference(found, expected), most(expected).max(0.01 * largest));
        assert!(off <= TOLERANCE * size, "{case}.{name}: {off} of {size}");
    }
    collect.found.len()
}

/// Counts the tensors that are learned.
struct Weights<'a>(&'a mut usize);

impl ModuleVisitor for Weights<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        *self.0 += usize::from(param.val().is_require_grad());
    }
}
