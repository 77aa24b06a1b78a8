//! Each adversarial objective's training step against PyTorch in float64: tests/golden/objectives.py.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor};

use super::base::Objective;
use super::crafting::Crafting;
use super::fgsm_rs::FgsmRs;
use super::pgd_at::PgdAt;
use super::step::Step;
use crate::attack::Task;
use crate::data::Batch;
use crate::model::DenseNet;
use crate::pixels::{Budget, Epsilon};
use crate::rows::values;
use crate::weights;

#[path = "../../../tests/golden/mod.rs"]
#[allow(unreachable_pub)]
mod golden;

const TOLERANCE: f64 = 1e-4;
const BUDGET: Budget = Budget::linf(Epsilon::unit(0.03));
const STEP: Epsilon = Epsilon::unit(0.012);
const MODES: [(&str, Crafting); 2] = [("evaluation", Crafting::Evaluation), ("training", Crafting::Training)];

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f64>)>;

/// A network in training mode and a batch, as the script has them.
struct Setting {
    network: DenseNet,
    batch: Batch,
    inputs: Tensors,
}

impl Setting {
    fn new() -> Self {
        let device = Device::default().autodiff();
        let network =
            weights::load(golden::config().init(&device), golden::path("densenet_tiny.safetensors")).unwrap();
        let inputs = golden::tensors("objectives/inputs.safetensors");
        let images = golden::tensor::<4>(&inputs["images"], &device);
        let labels: Vec<i64> = inputs["labels"].1.iter().map(|&label| label as i64).collect();
        let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &device);
        let indices = (0..images.dims()[0] as u64).collect();
        Self { network, batch: Batch { images, labels, indices, epoch: 1 }, inputs }
    }

    fn step(&self) -> Step<'_> {
        Step::new(&self.network, &self.batch)
    }

    /// The script's start, cut to \[0,1\].
    fn start(&self, name: &str) -> impl FnOnce(&Task<'_>) -> Tensor<4> {
        let start = golden::tensor::<4>(&self.inputs[&format!("start.{name}")], &Device::default());
        |task| (task.images() + start).clamp(0.0, 1.0)
    }

    /// The rest of the step: loss, gradients, running statistics, and what AWP adds to weights.
    fn compare(&self, objective: &dyn Objective, crafted: Tensor<4>, expected: &Tensors, case: &str) {
        let Self { network, batch, .. } = self;
        golden::assert_close("crafted", crafted.clone(), &expected[&format!("{case}.crafted")].1, 1e-6);
        let place = objective.place(network, batch, &crafted);
        let loss = objective.loss(place.as_deref().unwrap_or(network), batch, crafted).value;
        golden::assert_close("loss", loss.clone(), &expected[&format!("{case}.loss")].1, 1e-5);
        let gradients = place.as_deref().unwrap_or(network).gradients(loss);
        let seen = |values| {
            let mut compared = Compare { values, expected, case, path: Vec::new(), seen: 0 };
            // The running statistics of a module in evaluation mode are up to date.
            network.valid().visit(&mut compared);
            compared.seen
        };
        let all =
            |kind: &str| expected.keys().filter(|name| name.starts_with(&format!("{case}.{kind}."))).count();
        assert_eq!(seen(Values::Gradients(gradients)), all("gradient"));
        assert_eq!(seen(Values::Buffers), all("buffer"));
    }
}

enum Values {
    Gradients(GradientsParams),
    Buffers,
}

/// Compares what belongs to each parameter with the script's value of that name.
struct Compare<'a> {
    values: Values,
    expected: &'a Tensors,
    case: &'a str,
    path: Vec<String>,
    seen: usize,
}

impl ModuleVisitor for Compare<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = golden::torchvision_name(&self.path);
        let (kind, found) = match &self.values {
            Values::Gradients(gradients) => ("gradient", gradients.get::<D>(param.id)),
            Values::Buffers => ("buffer", Some(param.val())),
        };
        let key = format!("{}.{kind}.{name}", self.case);
        let (Some(found), Some((_, expected))) = (found, self.expected.get(&key)) else { return };
        // torchvision holds a linear layer's weight the other way round.
        let found = if name == "classifier.weight" { found.swap_dims(0, 1) } else { found };
        golden::assert_close(&key, found, expected, TOLERANCE);
        self.seen += 1;
    }
}

#[test]
fn fgsm_rs_is_the_script_of_its_paper() {
    let expected = golden::tensors("objectives/fgsm_rs.safetensors");
    for (case, crafting) in MODES {
        let setting = Setting::new();
        let objective = FgsmRs::new(BUDGET).with_crafting(crafting);
        let crafted = objective.as_pgd().craft_from(&setting.step(), setting.start("uniform")).unwrap();
        setting.compare(&objective, crafted, &expected, case);
    }
}

#[test]
fn pgd_at_is_the_script_of_its_paper() {
    let expected = golden::tensors("objectives/pgd_at.safetensors");
    for (case, crafting) in MODES {
        let setting = Setting::new();
        let objective = PgdAt::new(BUDGET).with_steps(3).with_step_size(Some(STEP)).with_crafting(crafting);
        let crafted = objective.craft_from(&setting.step(), setting.start("uniform")).unwrap();
        setting.compare(&objective, crafted, &expected, case);
    }
    let setting = Setting::new();
    let objective = PgdAt::new(Budget::l2(0.8)).with_steps(3).with_step_size(Some(Epsilon::unit(0.3)));
    let crafted = objective.craft_from(&setting.step(), setting.start("l2")).unwrap();
    golden::assert_close("L2", crafted, &expected["l2.crafted"].1, 1e-5);
}

/// What `craft` draws, as `start` and no step of its own.
#[test]
fn starts_fill_the_ball_and_are_fresh_in_each_epoch() {
    let setting = Setting::new();
    let crafted = |batch: &Batch, seed| {
        // A step too short to move anything: what is left is the start.
        let objective = FgsmRs::new(BUDGET).with_step_size(Some(Epsilon::unit(1e-12))).with_seed(seed);
        let images = objective.craft(&Step::new(&setting.network, batch)).unwrap();
        values(images - 0.5)
    };
    let grey = Batch { images: setting.batch.images.zeros_like() + 0.5, ..setting.batch.clone() };
    let start = crafted(&grey, 0);
    let scaled: Vec<f64> = start.iter().map(|&value| f64::from(value) / 0.03).collect();
    assert!(scaled.iter().all(|value| value.abs() <= 1.0 + 1e-5));
    // Uniform in [-1,1]: mean 0, variance 1/3, fourth moment 1/5; within five standard errors.
    let count = scaled.len() as f64;
    let moment = |power| scaled.iter().map(|value| value.powi(power)).sum::<f64>() / count;
    assert!(moment(1).abs() < 5.0 * (1.0 / 3.0 / count).sqrt(), "{}", moment(1));
    assert!((moment(2) - 1.0 / 3.0).abs() < 5.0 * (4.0 / 45.0 / count).sqrt(), "{}", moment(2));
    assert!((moment(4) - 0.2).abs() < 5.0 * (16.0 / 225.0 / count).sqrt(), "{}", moment(4));

    assert_eq!(start, crafted(&grey, 0));
    assert_ne!(start, crafted(&grey, 1), "another seed");
    assert_ne!(start, crafted(&Batch { epoch: 2, ..grey.clone() }, 0), "fresh in each epoch");
    let other = Batch { indices: vec![4, 1, 2, 3], ..grey };
    let (size, other) = (start.len() / 4, crafted(&other, 0));
    assert!(start[..size] != other[..size] && start[size..] == other[size..], "an image's own");
}
