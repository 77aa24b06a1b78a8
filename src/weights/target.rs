//! A module as the place that a checkpoint's tensors go to.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};

use super::checkpointed::Checkpointed;

/// A floating-point parameter or running statistic of a module.
pub(super) struct Slot {
    /// Its path in the module.
    pub(super) path: String,
    /// Its name in files.
    pub(super) name: String,
    /// As burn has it.
    pub(super) shape: Vec<usize>,
    /// Whether it is the weight of a linear layer, which PyTorch has the other way round.
    pub(super) is_linear: bool,
    /// Whether it belongs to the last layer, which depends on the number of classes.
    pub(super) is_head: bool,
}

impl Slot {
    /// As PyTorch has it.
    pub(super) fn torch_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if self.is_linear {
            shape.reverse();
        }
        shape
    }
}

/// Every slot of a module, none of them initialised by this.
pub(super) fn slots<M: Checkpointed>(model: &M) -> Vec<Slot> {
    let mut slots = Slots { stack: Stack::default(), name: M::tensor_name, head: M::HEAD, found: Vec::new() };
    model.visit(&mut slots);
    slots.found
}

/// The first parts of the names of a module's tensors, but for its head.
pub(super) fn parts(slots: &[Slot]) -> BTreeSet<&str> {
    slots.iter().filter(|slot| !slot.is_head).filter_map(|slot| slot.name.split('.').next()).collect()
}

/// The module with these values at these paths, and the others its own.
///
/// The result shares no running statistics with clones of `model`, as burn's modules otherwise do.
pub(super) fn filled<M: Module>(model: M, values: BTreeMap<String, TensorData>) -> M {
    let autodiff = model.devices().first().is_some_and(|device| device.is_autodiff());
    let mut blank = Fill { stack: Stack::default(), values, blank: true };
    let own = model.map(&mut blank).valid();
    let own = if autodiff { own.train() } else { own };
    own.map(&mut Fill { blank: false, ..blank })
}

/// The path of the module that is visited; variants of enums leave no trace.
#[derive(Default)]
struct Stack(Vec<(String, bool)>);

impl Stack {
    fn enter(&mut self, name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.push((name.to_string(), container == "Struct:Linear"));
        }
    }

    fn exit(&mut self, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.pop();
        }
    }

    fn path(&self) -> String {
        self.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(".")
    }
}

struct Slots {
    stack: Stack,
    name: fn(&str) -> String,
    head: &'static str,
    found: Vec<Slot>,
}

impl ModuleVisitor for Slots {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.stack.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.stack.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.stack.path();
        let is_linear = D == 2 && self.stack.0.last().is_some_and(|(_, linear)| *linear);
        let (name, shape) = ((self.name)(&path), param.lazy_shape().to_vec());
        let is_head = name.starts_with(self.head);
        self.found.push(Slot { path, name, shape, is_linear, is_head });
    }
}

struct Fill {
    stack: Stack,
    values: BTreeMap<String, TensorData>,
    /// Zeros in place of initial weights that nobody has drawn yet and that will be replaced.
    blank: bool,
}

impl ModuleMapper for Fill {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.stack.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.stack.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (path, device, id) = (self.stack.path(), param.lazy_device(), param.id);
        let tensor = match (self.blank, self.values.get(&path)) {
            (true, Some(_)) if !param.is_initialized() => Tensor::zeros(param.lazy_shape(), &device),
            (true, _) | (_, None) => return param,
            (false, Some(_)) => {
                let data = self.values.remove(&path).expect("just found");
                Tensor::from_data(data, (&device, DType::F32))
            }
        };
        param.transform_for_load(tensor, id)
    }
}
