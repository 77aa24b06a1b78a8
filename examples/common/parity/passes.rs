//! What is computed of the network without an attack.

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{GradientsParams, SgdConfig};
use histoguard::adam::Adam;
use histoguard::prelude::*;
use histoguard::rows::values;

use super::case::{Case, Found, Part};
use super::compare::Tolerance;
use super::network::{Model, gradients};
use super::side::Side;

/// Logits, the input gradient and a training step with two optimizers.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("forward", Tolerance::Relative(1e-4), |side| {
            let logits = side.victim.logits(side.images.clone());
            let answers = side.victim.predict(side.images.clone());
            Ok(Found { answers, ..Found::numbers(vec![Part::new("logits", values(logits))]) })
        }),
        Case::new("gradient", Tolerance::Distance(0.05), |side| {
            let goal = side.goal();
            let found = side.victim.input_gradient(side.images.clone(), |logits| goal.log_odds(logits));
            Ok(Found::numbers(vec![Part::new("gradient", values(found.gradient))]))
        }),
        Case::new("sgd step", Tolerance::Distance(0.05), |side| {
            Ok(Found::numbers(step(side, |model, gradients| {
                SgdConfig::new().init().step(0.1, model, gradients)
            })))
        }),
        // Adam's first step is the gradient's sign, whatever its size.
        Case::new("adam step", Tolerance::Share { of_values: 0.02, beyond: 1e-4 }, |side| {
            let adam = || Adam::new().init();
            Ok(Found::numbers(step(side, |model, gradients| adam().step(1e-3, model, gradients))))
        }),
    ]
}

/// What a step of training changes in each parameter and running statistic.
fn step(side: &Side, optimize: impl FnOnce(Model, GradientsParams) -> Model) -> Vec<Part> {
    let before = Parameters::of(&side.model);
    let model = side.model.clone().train();
    let gradients = gradients(&model, &side.images, &side.labels, &CrossEntropyLossConfig::new());
    let after = Parameters::of(&optimize(model, gradients));
    let changes = after.0.into_iter().zip(before.0).map(|(after, before)| {
        let change = after.values.iter().zip(&before.values).map(|(after, before)| after - before);
        Part { values: change.collect(), ..after }
    });
    changes.collect()
}

/// All parameters and running statistics by name.
struct Parameters(Vec<Part>);

impl Parameters {
    fn of(model: &Model) -> Self {
        let mut collect = Collect { path: Vec::new(), found: Vec::new() };
        // Only `valid` applies the last update of the running statistics.
        model.valid().visit(&mut collect);
        Self(collect.found)
    }
}

struct Collect {
    path: Vec<String>,
    found: Vec<Part>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push(Part::new(self.path.join("."), values(param.val())));
    }
}
