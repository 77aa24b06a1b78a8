//! Each adversarial objective's training step against PyTorch in float64: tests/golden/objectives.py.

use std::collections::{BTreeMap, HashMap};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor};

use safetensors::SafeTensors;

use super::awp::Awp;
use super::base::Objective;
use super::crafting::Crafting;
use super::cross_entropy::CrossEntropy;
use super::ensemble_at::{EnsembleAt, Source};
use super::fgsm_rs::FgsmRs;
use super::pgd_at::PgdAt;
use super::step::Step;
use super::trades::Trades;
use super::trainee::{Trainee, Weight};
use crate::attack::Task;
use crate::classifier::Frozen;
use crate::data::Batch;
use crate::model::DenseNet;
use crate::pixels::{Budget, Epsilon};
use crate::rows::values;
use crate::weights;

#[path = "../../../tests/golden/mod.rs"]
#[allow(unreachable_pub)]
mod golden;

const TOLERANCE: f64 = 3e-4;
/// AWP's changes are differences of weights a hundred times as large.
const MOVED: f64 = 1e-3;
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

    /// The script's static model.
    fn other(&self) -> Frozen {
        let tensors = std::fs::read(golden::path("objectives/inputs.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&tensors).unwrap();
        let own = tensors.iter().filter_map(|(name, view)| Some((name.strip_prefix("static.")?, view)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("static.safetensors");
        std::fs::write(&path, safetensors::serialize(own.collect::<Vec<_>>(), None).unwrap()).unwrap();
        Frozen::new(weights::load(golden::config().init(&Device::default()), &path).unwrap())
    }

    fn step(&self) -> Step<'_> {
        Step::new(&self.network, &self.batch)
    }

    /// How far the script starts from the images.
    fn beside(&self, name: &str) -> Tensor<4> {
        golden::tensor(&self.inputs[&format!("start.{name}")], &Device::default())
    }

    /// The script's start, cut to \[0,1\].
    fn start(&self, name: &str) -> impl FnOnce(&Task<'_>) -> Tensor<4> {
        let beside = self.beside(name);
        |task| (task.images() + beside).clamp(0.0, 1.0)
    }

    /// The rest of the step: loss, gradients, running statistics, and what AWP adds to weights.
    fn compare(&self, objective: &dyn Objective, crafted: Tensor<4>, expected: &Tensors, case: &str) {
        let Self { network, batch, .. } = self;
        golden::assert_close("crafted", crafted.clone(), &expected[&format!("{case}.crafted")].1, 1e-6);
        let place = objective.place(network, batch, &crafted);
        let loss = objective.loss(place.as_deref().unwrap_or(network), batch, crafted).value;
        golden::assert_close("loss", loss.clone(), &expected[&format!("{case}.loss")].1, 1e-5);
        let at = place.as_deref().unwrap_or(network);
        let gradients = at.gradients(loss);
        let changes = changes(network, at, &gradients);
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
        assert_eq!(seen(Values::Changes(changes)), all("moved"));
    }
}

/// The weights that gradients reach.
fn weights_of(network: &dyn Trainee, gradients: &GradientsParams) -> Vec<Weight> {
    let mut weights = Vec::new();
    network.moved(gradients, &mut |weight| {
        weights.push(weight.clone());
        weight.values
    });
    weights
}

/// How far the weights of a copy are from those of the network.
fn changes(
    network: &dyn Trainee,
    copy: &dyn Trainee,
    gradients: &GradientsParams,
) -> HashMap<ParamId, Tensor<1>> {
    let [from, to] = [network, copy].map(|network| weights_of(network, gradients));
    from.into_iter().zip(to).map(|(from, to)| (from.id, to.values - from.values)).collect()
}

enum Values {
    Gradients(GradientsParams),
    Buffers,
    Changes(HashMap<ParamId, Tensor<1>>),
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
            Values::Changes(changes) => {
                ("moved", changes.get(&param.id).map(|change| change.clone().reshape(param.shape())))
            }
        };
        let key = format!("{}.{kind}.{name}", self.case);
        let Some(found) = found else { return };
        let Some((_, expected)) = self.expected.get(&key) else {
            let still = kind != "moved" || found.abs().max().into_scalar::<f32>() == 0.0;
            return assert!(still, "{key}: moved here alone");
        };
        // torchvision holds a linear layer's weight the other way round.
        let found = if name == "classifier.weight" { found.swap_dims(0, 1) } else { found };
        let tolerance = if kind == "moved" { MOVED } else { TOLERANCE };
        golden::assert_close(&key, found, expected, tolerance);
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

/// TRADES starts beside the images, in or out of \[0,1\].
#[test]
fn trades_is_the_script_of_its_paper() {
    let expected = golden::tensors("objectives/trades.safetensors");
    let setting = Setting::new();
    let (objective, beside) = (trades(), setting.beside("normal"));
    let crafted = objective.craft_from(&setting.step(), |task| task.images() + beside).unwrap();
    setting.compare(&objective, crafted, &expected, "trades");
}

fn trades() -> Trades {
    Trades::new(BUDGET).with_steps(3).with_step_size(Some(STEP))
}

/// Gradients where the weights have been moved, which are the network's own again afterwards.
#[test]
fn awp_is_the_script_of_its_paper() {
    let expected = golden::tensors("objectives/awp.safetensors");
    let setting = Setting::new();
    let inner = PgdAt::new(BUDGET).with_steps(3).with_step_size(Some(STEP));
    let crafted = inner.craft_from(&setting.step(), setting.start("uniform")).unwrap();
    setting.compare(&Awp::new(inner), crafted, &expected, "pgd_at");

    let setting = Setting::new();
    let (inner, beside) = (trades(), setting.beside("normal"));
    let crafted = inner.craft_from(&setting.step(), |task| task.images() + beside).unwrap();
    let awp = Awp::new(inner).with_gamma(0.005).with_warm_up(1);
    let first = awp.place(&setting.network, &setting.batch, &crafted);
    assert!(first.is_none(), "the first epoch is warm-up");
    let setting = Setting { batch: Batch { epoch: 2, ..setting.batch }, ..setting };
    setting.compare(&awp, crafted, &expected, "trades");
}

#[test]
fn ensemble_at_is_the_script_of_its_paper() {
    let expected = golden::tensors("objectives/ensemble_at.safetensors");
    for (case, source) in [("itself", Source::Itself), ("static", Source::Static(0))] {
        let setting = Setting::new();
        let objective = EnsembleAt::new(BUDGET, [("static", setting.other())]);
        let crafted = objective.craft_at(&setting.step(), source).unwrap();
        setting.compare(&objective, crafted, &expected, case);
    }
}

#[test]
fn an_ensemble_refuses_models_of_other_classes() {
    let setting = Setting::new();
    let two = Frozen::from_fn(2, &Device::default(), |x| Tensor::zeros([x.dims()[0], 2], &x.device()));
    let objective = EnsembleAt::new(BUDGET, [("two", two)]);
    let error = objective.craft_at(&setting.step(), Source::Static(0)).unwrap_err().to_string();
    assert_eq!(error, "classes: expected those of the network, found 2 (two) where the network has 3");
}

/// Statistics after crafting and no training pass.
#[test]
fn crafting_in_evaluation_mode_leaves_running_statistics_alone() {
    let statistics = |objective: &dyn Objective| {
        let setting = Setting::new();
        objective.craft(&setting.step()).unwrap();
        let mut found = Statistics(Vec::new());
        setting.network.valid().visit(&mut found);
        found.0
    };
    let untouched = statistics(&CrossEntropy::new());
    let ensemble = EnsembleAt::new(BUDGET, [("static", Setting::new().other())]);
    let objectives: [&dyn Objective; 5] = [
        &FgsmRs::new(BUDGET),
        &PgdAt::new(BUDGET),
        &Trades::new(BUDGET),
        &Awp::new(PgdAt::new(BUDGET)),
        &ensemble,
    ];
    for objective in objectives {
        assert!(statistics(objective) == untouched, "{objective:?}");
    }
    let moved = FgsmRs::new(BUDGET).with_crafting(Crafting::Training);
    assert!(statistics(&moved) != untouched);
}

struct Statistics(Vec<Vec<f32>>);

impl ModuleVisitor for Statistics {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(values(param.val()));
    }
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
