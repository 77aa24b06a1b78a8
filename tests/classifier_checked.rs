//! What a classifier, its images and its labels must be like before any attack, evaluation or certification
//! starts.

mod victim;

use histoguard::attack::IntoLabels;
use histoguard::classifier::{ClassifierError, Queries, SingleLogit};
use histoguard::data::TensorSet;
use histoguard::defense::smoothing::Smoothing;
use histoguard::evaluate::{Certification, EvaluationError, Transferability};
use histoguard::prelude::*;
use victim::values;

const SHAPE: [usize; 4] = [2, 3, 4, 4];

fn images(shape: [usize; 4]) -> Tensor<4> {
    Tensor::full(shape, 0.5, &Device::default())
}

fn data(images: Tensor<4>, classes: &[&str]) -> TensorSet {
    let labels = vec![0; images.dims()[0]];
    TensorSet::new(images, labels, classes.iter().map(|name| name.to_string()).collect()).unwrap()
}

/// Says that it has so many classes, and answers with so many columns.
fn answering(said: usize, columns: usize) -> Frozen {
    Frozen::from_fn(said, &Device::default(), move |x| {
        x.mean_dims(&[1, 2, 3]).reshape([-1, 1]).repeat_dim(1, columns)
    })
}

fn small_net(classes: usize) -> DenseNet {
    let config = DenseNetConfig::new(classes).with_growth_rate(4).with_block_config(vec![1, 1, 1, 1]);
    config.with_num_init_features(8).init(&Device::default())
}

fn attacks() -> Vec<Box<dyn Attack>> {
    let budget = Budget::pixels(2.0);
    vec![
        Box::new(Fgsm::new(budget)),
        Box::new(Pgd::new(budget)),
        Box::new(AutoAttack::standard(budget)),
        Box::new(Fab::new(Norm::Linf)),
        Box::new(DeepFool::new()),
        Box::new(Square::new(budget)),
    ]
}

#[test]
fn one_output_is_refused_by_every_attack_and_evaluation() {
    let single = answering(1, 1);
    let refused = ClassifierError::Classes { found: 1 };
    for attack in attacks() {
        let error = attack.perturb(&single, images(SHAPE), &Goal::untargeted([0, 0])).unwrap_err();
        assert_eq!(error, AttackError::Classifier(refused.clone()), "{attack:?}");
    }
    let message = refused.to_string();
    assert!(message.contains("at least two classes, found one of 1") && message.contains("SingleLogit"));
    let data = data(images(SHAPE), &["tumour"]);
    let of = |error: EvaluationError| matches!(error, EvaluationError::Classifier(error) if error == refused);
    assert!(of(Evaluation::new(&single).run(&data).unwrap_err()));
    assert!(of(Certification::new(&single, Smoothing::new(0.25)).run(&data).unwrap_err()));
    let fgsm = Fgsm::new(Budget::pixels(2.0));
    assert!(of(Transferability::new(&fgsm).model("a", &single).run(&data).unwrap_err()));
}

#[test]
fn a_single_logit_becomes_the_sigmoid_of_two_classes() {
    let device = Device::default();
    let positive = small_net(1);
    let batch = Tensor::<4>::random([3, 3, 32, 32], burn::tensor::Distribution::Uniform(0.0, 1.0), &device);
    let logit = values(positive.forward(batch.clone()));
    let victim = Frozen::new(SingleLogit::new(positive));
    assert_eq!(victim.num_classes(), 2);
    let probabilities = burn::tensor::activation::softmax(victim.logits(batch.clone()), 1);
    // The binary cross-entropy -y ln s - (1 - y) ln(1 - s) of the sigmoid s, for both labels.
    let losses = |label: usize| {
        let goal = Goal::untargeted([label; 3]);
        values(goal.objective(victim.logits(batch.clone())))
    };
    let (negative, positive) = (losses(0), losses(1));
    for (i, row) in values(probabilities).chunks(2).enumerate() {
        let sigmoid = 1.0 / (1.0 + (-f64::from(logit[i])).exp());
        assert!((f64::from(row[1]) - sigmoid).abs() < 1e-6);
        assert!((f64::from(positive[i]) + sigmoid.ln()).abs() < 1e-5);
        assert!((f64::from(negative[i]) + (1.0 - sigmoid).ln()).abs() < 1e-5);
    }
    let moved =
        Fgsm::new(Budget::pixels(4.0)).perturb(&victim, batch.clone(), &Goal::untargeted([1; 3])).unwrap();
    let after = values(victim.logits(moved)).chunks(2).map(|row| row[1]).collect::<Vec<_>>();
    assert!(after.iter().zip(&logit).all(|(after, before)| after < before), "{after:?} {logit:?}");
}

#[test]
fn an_answer_with_other_columns_than_said_is_an_error_before_work() {
    for (said, columns) in [(3, 2), (2, 3), (2, 1)] {
        let victim = answering(said, columns);
        let expected = ClassifierError::Answer { expected: [1, said], found: [1, columns] };
        for attack in attacks() {
            let error = attack.perturb(&victim, images(SHAPE), &Goal::untargeted([0, 0])).unwrap_err();
            assert_eq!(error, AttackError::Classifier(expected.clone()), "{attack:?}");
        }
        let names = ["a", "b", "c"];
        let error = Evaluation::new(&victim).run(&data(images(SHAPE), &names[..said])).unwrap_err();
        assert!(matches!(error, EvaluationError::Classifier(error) if error == expected));
        assert_eq!(victim.watch().queries(), Queries::NONE);
    }
}

#[test]
fn images_that_a_densenet_cannot_take_are_an_error_before_work() {
    let victim = Frozen::new(Normalized::new(small_net(2), Normalization::IMAGENET));
    let averaged = Frozen::averaged(
        [Frozen::new(small_net(2)), Frozen::new(SingleLogit::new(small_net(1)))],
        histoguard::classifier::Average::Logits,
    );
    let expected = "3 channels and at least 29x29 pixels".to_string();
    for shape in [[1, 1, 32, 32], [1, 3, 28, 32], [1, 3, 32, 28], [1, 4, 64, 64]] {
        let found = [shape[1], shape[2], shape[3]];
        let refused = ClassifierError::Images { expected: expected.clone(), found };
        for victim in [&victim, &averaged] {
            let error = Pgd::new(Budget::pixels(1.0)).perturb(victim, images(shape), &Goal::untargeted([0]));
            assert_eq!(error.unwrap_err(), AttackError::Classifier(refused.clone()));
            let error = Evaluation::new(victim).run(&data(images(shape), &["a", "b"])).unwrap_err();
            assert!(matches!(error, EvaluationError::Classifier(error) if error == refused));
        }
    }
    assert_eq!(victim.check([3, 29, 29]), Ok(()));
}

#[test]
fn a_pixel_that_is_no_number_in_range_is_an_error_that_names_the_image() {
    let victim = answering(2, 2);
    for bad in [f32::NAN, f32::INFINITY, -0.01, 1.01] {
        let mut pixels = values(images(SHAPE));
        pixels[48 + 5] = bad;
        let spoiled = Tensor::<1>::from_floats(pixels.as_slice(), &Device::default()).reshape(SHAPE);
        for attack in attacks() {
            let error = attack.perturb(&victim, spoiled.clone(), &Goal::untargeted([0, 0])).unwrap_err();
            assert!(
                matches!(error, AttackError::ImageRange { image: 1, value } if value.to_bits() == bad.to_bits()),
                "{attack:?}: {error}"
            );
        }
        let of = |error: EvaluationError| matches!(error, EvaluationError::Pixels { image, value } if image == "image 1" && value.to_bits() == bad.to_bits());
        let data = data(spoiled, &["a", "b"]);
        assert!(of(Evaluation::new(&victim).run(&data).unwrap_err()));
        let error = Certification::new(&victim, Smoothing::new(0.25)).run(&data).unwrap_err();
        assert!(matches!(&error, EvaluationError::Smoothing { image, .. } if image == "image 1"), "{error}");
        let fgsm = Fgsm::new(Budget::pixels(2.0));
        assert!(of(Transferability::new(&fgsm).model("a", &victim).run(&data).unwrap_err()));
    }
}

#[test]
fn labels_come_in_the_forms_that_programs_hold_them_in() {
    let vector: Vec<usize> = vec![1, 0];
    let wide: Vec<i64> = vec![1, 0];
    let bytes: &[u8] = &[1, 0];
    let goals = [
        Goal::untargeted(&vector),
        Goal::untargeted(vector.clone()),
        Goal::untargeted(&vector[..]),
        Goal::untargeted(&wide),
        Goal::untargeted(wide.clone()),
        Goal::untargeted(bytes),
        Goal::untargeted([1, 0]),
        Goal::untargeted([1u32, 0]),
        Goal::untargeted(Tensor::from_ints([1, 0], &Device::default())),
    ];
    assert!(goals.iter().all(|goal| goal.classes() == [1, 0]));
    // What no victim has stays what no victim has.
    assert_eq!([u64::MAX].into_labels(), [i64::MAX]);
    assert_eq!([-1i8].into_labels(), [-1]);
}

#[test]
fn a_step_in_l0_is_refused() {
    let error = Fgsm::new(Budget::l0(3)).perturb(&answering(2, 2), images(SHAPE), &Goal::untargeted([0, 0]));
    assert_eq!(error.unwrap_err().to_string(), "norm: expected Linf, L2 or L1, found L0");
}

#[test]
fn networks_print_and_summarise() {
    let text = small_net(2).to_string();
    assert!(text.contains("DenseNet") && text.contains("norm5"), "{text}");
}
