//! A network while it is trained, as an objective sees it.

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::classifier::{Classifier, Frozen};

/// A network while it is trained: every classifier that is a burn module is one.
///
/// Its [`logits`](Classifier::logits) are those of training mode, where batch norm takes the batch's
/// statistics and moves its running ones.
pub trait Trainee: Classifier {
    /// A copy in evaluation mode.
    fn frozen(&self) -> Frozen;

    /// The network itself as a victim, in training mode: attacks on it move its running statistics, as they
    /// do in reference code that crafts so.
    fn in_training(&self) -> Frozen;

    /// A copy with running statistics of its own.
    fn apart(&self) -> Box<dyn Trainee>;

    /// A copy with other weights and the same running statistics, which both move: `change` is asked for each
    /// weight with a gradient. Gradients at the copy are gradients of the network's own parameters.
    fn moved(
        &self,
        gradients: &GradientsParams,
        change: &mut dyn FnMut(Weight) -> Tensor<1>,
    ) -> Box<dyn Trainee>;

    /// The gradient of a loss with respect to every weight that is trained.
    fn gradients(&self, loss: Tensor<1>) -> GradientsParams;
}

/// One of a network's weights, beside the gradient of a loss.
#[derive(Clone, Debug)]
pub struct Weight {
    /// The parameter's own.
    pub id: ParamId,
    /// The weight's shape; biases and those of batch norm have one dimension.
    pub dims: Vec<usize>,
    /// Its values in one row, outside autodiff.
    pub values: Tensor<1>,
    /// The gradient with respect to each.
    pub gradient: Tensor<1>,
}

impl<C: Classifier + Module + Sync + 'static> Trainee for C {
    fn frozen(&self) -> Frozen {
        Frozen::new(self.clone())
    }

    fn in_training(&self) -> Frozen {
        let device = self.devices().first().expect("a module with at least one parameter").clone();
        // Gradients of the images alone are asked for.
        let network = self.clone().no_grad();
        Frozen::from_fn(self.num_classes(), &device, move |images| network.logits(images))
    }

    fn apart(&self) -> Box<dyn Trainee> {
        let device = self.devices().first().expect("a module with at least one parameter").clone();
        Box::new(self.valid().train().fork(&device.autodiff()))
    }

    fn moved(
        &self,
        gradients: &GradientsParams,
        change: &mut dyn FnMut(Weight) -> Tensor<1>,
    ) -> Box<dyn Trainee> {
        Box::new(self.clone().map(&mut Mover { gradients, change }))
    }

    fn gradients(&self, loss: Tensor<1>) -> GradientsParams {
        GradientsParams::from_grads(loss.backward(), self)
    }
}

struct Mover<'a> {
    gradients: &'a GradientsParams,
    change: &'a mut dyn FnMut(Weight) -> Tensor<1>,
}

impl ModuleMapper for Mover<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = param.id;
        // Running statistics have none: they stay those of the network.
        let Some(gradient) = self.gradients.get::<D>(id) else { return param };
        param.map(|weight| {
            let shape = weight.shape();
            let count = shape.num_elements();
            let values = weight.inner().reshape([count]);
            let weight =
                Weight { id, dims: shape.to_vec(), values, gradient: gradient.inner().reshape([count]) };
            Tensor::from_inner((self.change)(weight).reshape(shape)).require_grad()
        })
    }
}
