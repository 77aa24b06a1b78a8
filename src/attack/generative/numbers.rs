//! A module's numbers by name: what files hold, and what goes on unchanged where a training was interrupted.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use rand_distr::{Distribution, Normal};

use crate::attack::stored::Numbers;
use crate::parameter::Parameter;
use crate::random::{Purpose, generator};
use crate::rows::values;

/// No image of a generator has longer sides.
const LARGEST_SIDE: usize = 1 << 16;
/// Their largest area: the networks that judge a file look at an image as large.
const LARGEST_AREA: usize = 1 << 26;

/// How a tensor at a path of the module is called.
pub(super) type Name = fn(&str) -> String;

/// The deviation that initial weights are drawn with, from the path of their tensor and its shape.
pub(super) type Sigma = fn(&str, &[usize]) -> f32;

/// The path itself.
pub(super) fn path_name(path: &str) -> String {
    path.to_string()
}

/// Weights and running statistics by name.
pub(super) fn numbers<M: Module>(module: &M, name: Name) -> Numbers {
    let mut read = Read { path: Vec::new(), name, found: Numbers::new() };
    // Only `valid` applies the last update of the running statistics.
    module.valid().visit(&mut read);
    read.found
}

/// The module with these numbers in place of its own, all of them; what was expected and what was found where
/// they are another module's.
pub(super) fn filled<M: Module>(module: M, numbers: &Numbers, name: Name) -> Result<M, (String, String)> {
    let mut fill = Fill { path: Vec::new(), name, numbers, used: BTreeSet::new(), misfit: None };
    let module = module.map(&mut fill);
    if let Some(misfit) = fill.misfit {
        return Err(misfit);
    }
    match numbers.keys().find(|&name| !fill.used.contains(name)) {
        Some(beside) => Err(("the network's tensors alone".into(), format!("{beside} too"))),
        None => Ok(module),
    }
}

/// The module with the initial weights of DCGAN (Radford, Metz & Chintala, ICLR 2016): those of convolutions
/// and linear layers from N(0, 0.02), factors of batch norm from N(1, 0.02), biases of 0.
pub(super) fn drawn<M: Module>(module: M, purpose: Purpose, seed: u64) -> M {
    drawn_as(module, purpose, seed, |_, _| 0.02)
}

/// The same with weights from N(0, sigma) for the sigma of a tensor's path and shape.
pub(super) fn drawn_as<M: Module>(module: M, purpose: Purpose, seed: u64, sigma: Sigma) -> M {
    module.map(&mut Draw { path: Vec::new(), purpose, seed, sigma, tensors: 0 })
}

/// Whether a network of these sizes can lie in a file with these tensors: sizes out of a damaged file are not
/// worked with before.
pub(super) fn plausible(numbers: &Numbers, sizes: &[usize], [_, height, width]: [usize; 3]) -> Parameter {
    let values: usize = numbers.values().map(|(_, values)| values.len()).sum();
    let drawn = height.max(width) <= LARGEST_SIDE && height.saturating_mul(width) <= LARGEST_AREA;
    let fits = drawn && sizes.iter().all(|&size| size <= values);
    let range = format!(
        "sizes of a network with {values} weights, sides of at most {LARGEST_SIDE} and {LARGEST_AREA} pixels"
    );
    Parameter::new("generator", range, fits, format!("sizes {sizes:?}, sides {height} and {width}"))
}

struct Read {
    path: Vec<String>,
    name: Name,
    found: Numbers,
}

impl ModuleVisitor for Read {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        self.found.insert((self.name)(&self.path.join(".")), (value.dims().to_vec(), values(value)));
    }
}

struct Fill<'a> {
    path: Vec<String>,
    name: Name,
    numbers: &'a Numbers,
    used: BTreeSet<String>,
    misfit: Option<(String, String)>,
}

impl ModuleMapper for Fill<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (name, expected) = ((self.name)(&self.path.join(".")), param.lazy_shape().to_vec());
        let found = match self.numbers.get(&name) {
            Some((shape, values)) if *shape == expected => {
                let (device, id) = (param.lazy_device(), param.id);
                let data = TensorData::new(values.clone(), shape.clone());
                self.used.insert(name);
                return param.transform_for_load(Tensor::from_data(data, (&device, DType::F32)), id);
            }
            Some((shape, _)) => format!("{shape:?}"),
            None => "none".into(),
        };
        self.misfit.get_or_insert((format!("a tensor {name} of shape {expected:?}"), found));
        param
    }
}

struct Draw {
    path: Vec<String>,
    purpose: Purpose,
    seed: u64,
    sigma: Sigma,
    tensors: u64,
}

impl ModuleMapper for Draw {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (device, id, shape) = (param.lazy_device(), param.id, param.lazy_shape());
        let count = shape.num_elements();
        let sigma = (self.sigma)(&self.path.join("."), &shape.to_vec());
        let normal = |mean| Normal::new(mean, sigma).expect("a finite deviation");
        let rng = generator(self.purpose, self.seed, &[self.tensors]);
        self.tensors += 1;
        let values: Vec<f32> = match self.path.last().map(String::as_str) {
            Some("weight") => normal(0.0).sample_iter(rng).take(count).collect(),
            Some("gamma") => normal(1.0).sample_iter(rng).take(count).collect(),
            Some("bias") => vec![0.0; count],
            _ => return param,
        };
        let data = TensorData::new(values, shape.to_vec());
        param.transform_for_load(Tensor::from_data(data, (&device, DType::F32)), id)
    }
}
