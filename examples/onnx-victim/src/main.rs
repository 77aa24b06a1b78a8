//! Attacks a classifier that was imported from an ONNX file.
//!
//! burn-onnx turns `model/victim.onnx`, which `model/victim.py` made with PyTorch, into a burn module while this
//! crate is built; two methods make it a [`Classifier`].
//!
//! `cargo run --release --manifest-path examples/onnx-victim/Cargo.toml`

mod golden;

use burn::module::Module;
use histoguard::prelude::*;

/// The module that burn-onnx wrote.
#[allow(warnings, clippy::all)]
mod victim {
    include!(concat!(env!("OUT_DIR"), "/model/victim.rs"));
}

#[derive(Module, Debug)]
struct Imported {
    model: victim::Model,
}

impl Classifier for Imported {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.model.forward(images)
    }

    fn num_classes(&self) -> usize {
        2
    }
}

fn main() -> Result<(), AttackError> {
    let device = Device::default();
    let victim = Frozen::new(Imported { model: victim::Model::from_embedded(&device) });
    let golden = golden::read(golden::VICTIM);
    let images = golden.tensor::<4>("images", &device);
    let labels = golden.labels();
    let right = |images| victim.predict(images).iter().zip(&labels).filter(|(a, b)| a == b).count();

    println!("without attack: {} of {} answers right", right(images.clone()), labels.len());
    for budget in [4.0, 8.0, 16.0, 32.0].map(Budget::pixels) {
        let attack = Fgsm::new(budget);
        let adversarial = attack.perturb(&victim, images.clone(), &Goal::untargeted(labels.as_slice()))?;
        println!(
            "FGSM at epsilon {}: {} of {} answers right",
            budget.shown(),
            right(adversarial),
            labels.len()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(warnings, clippy::all)]
    mod densenet_tiny {
        include!(concat!(env!("OUT_DIR"), "/model/densenet_tiny.rs"));
    }

    fn assert_close(found: Tensor<2>, expected: Tensor<2>) {
        let largest = expected.clone().abs().max().into_scalar::<f32>();
        let off = (found - expected).abs().max().into_scalar::<f32>();
        assert!(off <= 1e-4 * largest, "off by {off} where the largest is {largest}");
    }

    #[test]
    fn the_imported_classifier_has_pytorchs_logits() {
        let device = Device::default();
        let golden = golden::read(golden::VICTIM);
        let victim = Frozen::new(Imported { model: victim::Model::from_embedded(&device) });
        assert_close(victim.logits(golden.tensor("images", &device)), golden.tensor("logits", &device));
    }

    #[test]
    fn an_attack_changes_its_answers_within_the_budget() {
        let device = Device::default();
        let golden = golden::read(golden::VICTIM);
        let victim = Frozen::new(Imported { model: victim::Model::from_embedded(&device) });
        let (images, labels) = (golden.tensor::<4>("images", &device), golden.labels());
        let attack = Fgsm::new(Budget::pixels(16.0));
        let goal = Goal::untargeted(labels.as_slice());
        let adversarial = attack.perturb(&victim, images.clone(), &goal).unwrap();
        let right = |images| victim.predict(images).iter().zip(&labels).filter(|(a, b)| a == b).count();
        assert!(right(adversarial.clone()) < right(images.clone()));
        let change = (adversarial.clone() - images).abs().max().into_scalar::<f32>();
        assert!(change <= 16.0 / 255.0 + 1e-6 && change > 0.0, "{change}");
        assert!(adversarial.min().into_scalar::<f32>() >= 0.0);
    }

    /// The file that histoguard exports, read by another program than the one that wrote it.
    #[test]
    fn an_exported_densenet_has_torchvisions_logits_when_it_is_imported() {
        let device = Device::default();
        let golden = golden::read(include_bytes!("../../../tests/golden/densenet_tiny_onnx.safetensors"));
        let found = densenet_tiny::Model::from_embedded(&device).forward(golden.tensor("images", &device));
        assert_close(found, golden.tensor("logits", &device));
    }
}
