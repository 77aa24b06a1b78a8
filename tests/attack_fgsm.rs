//! FGSM against torchattacks, foolbox and central differences, and what every attack promises.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use histoguard::prelude::*;
use safetensors::SafeTensors;

/// Values, shape: one tensor of the golden file, made by `golden/fgsm.py`.
fn golden(name: &str) -> TensorData {
    let file = SafeTensors::deserialize(include_bytes!("golden/fgsm.safetensors")).unwrap();
    let view = file.tensor(name).unwrap();
    let values: Vec<f32> =
        view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    TensorData::new(values, view.shape().to_vec())
}

fn images() -> Tensor<4> {
    Tensor::from_data(golden("images"), &Device::default())
}

fn classes(name: &str) -> Vec<usize> {
    golden(name).try_into_vec::<f32>().unwrap().into_iter().map(|label| label as usize).collect()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().unwrap()
}

fn network(device: &Device) -> DenseNet {
    let file = SafeTensors::deserialize(include_bytes!("golden/fgsm.safetensors")).unwrap();
    let weights: Vec<_> =
        file.iter().filter_map(|(name, view)| Some((name.strip_prefix("net.")?.to_string(), view))).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    std::fs::write(&path, safetensors::serialize(weights, None).unwrap()).unwrap();
    let config = DenseNetConfig::densenet121(3)
        .with_growth_rate(4)
        .with_block_config(vec![2, 2])
        .with_num_init_features(8)
        .with_bn_size(2);
    histoguard::weights::load(config.init(device), &path).unwrap()
}

fn victim() -> Frozen {
    Frozen::new(network(&Device::default()))
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn equals_torchattacks_and_foolbox_image_for_image() {
    let victim = victim();
    let logits = largest_difference(
        &values(victim.logits(images())),
        &golden("logits").try_into_vec::<f32>().unwrap(),
    );
    assert!(logits < 1e-4, "logits differ by {logits}");
    let away = Goal::untargeted(classes("labels"));
    let towards = Goal::targeted(classes("targets")).with_true_classes(classes("labels"));
    let fgsm = Fgsm::new(Budget::pixels(8.0));
    let cases = [
        ("linf", fgsm, &away),
        ("targeted", fgsm, &towards),
        ("l2", Fgsm::new(Budget::l2(2.0)), &away),
        ("l1", Fgsm::new(Budget::l1(50.0)), &away),
    ];
    for (name, attack, goal) in cases {
        let ours = values(attack.perturb(&victim, images(), goal).unwrap());
        let difference = largest_difference(&ours, &golden(name).try_into_vec::<f32>().unwrap());
        assert!(difference < 1e-4, "{name}: differs by {difference}");
    }
}

/// A small smooth classifier in f64, so that central differences are accurate to many digits.
fn smooth(images: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = images.dims();
    let size = channels * height * width;
    let device = images.device();
    let weight: Vec<f64> = (0..size * 5).map(|i| ((i * 37 % 101) as f64 / 101.0 - 0.5) * 0.8).collect();
    let head: Vec<f64> = (0..15).map(|i| ((i * 53 % 29) as f64 / 29.0 - 0.5) * 3.0).collect();
    let weight =
        Tensor::<2>::from_data(TensorData::new(weight, [size, 5]), (&device, burn::tensor::DType::F64));
    let head = Tensor::<2>::from_data(TensorData::new(head, [5, 3]), (&device, burn::tensor::DType::F64));
    images.reshape([batch, size]).matmul(weight).tanh().matmul(head)
}

#[test]
fn input_gradient_equals_central_differences_in_f64() {
    let device = Device::default();
    let victim = Frozen::from_fn(3, &device, smooth);
    let pixels: Vec<f64> = (0..2 * 2 * 3 * 3).map(|i| (i * 29 % 97) as f64 / 97.0).collect();
    let tensor = |pixels: &[f64]| {
        let data = TensorData::new(pixels.to_vec(), [2, 2, 3, 3]);
        Tensor::<4>::from_data(data, (&device, burn::tensor::DType::F64))
    };
    let goal = Goal::untargeted([2, 0]);
    let loss = |pixels: &[f64]| -> f64 { goal.objective(victim.logits(tensor(pixels))).sum().into_scalar() };
    let gradient: Vec<f64> = victim
        .input_gradient(tensor(&pixels), |logits| goal.objective(logits))
        .gradient
        .into_data()
        .try_into_vec()
        .unwrap();
    let h = 1e-5;
    for i in 0..pixels.len() {
        let at = |delta: f64| {
            let mut moved = pixels.clone();
            moved[i] += delta;
            loss(&moved)
        };
        let difference = (at(h) - at(-h)) / (2.0 * h);
        assert!((gradient[i] - difference).abs() < 1e-8, "pixel {i}: {} against {difference}", gradient[i]);
    }
}

#[test]
fn results_stay_in_the_ball_and_in_the_box() {
    let victim = victim();
    let goal = Goal::untargeted(classes("labels"));
    for (norm, budgets) in
        [(Norm::Linf, [0.01, 0.3, 2.0]), (Norm::L2, [0.1, 3.0, 90.0]), (Norm::L1, [1.0, 60.0, 9e3])]
    {
        for budget in budgets {
            let attack = Fgsm::new(Budget::new(norm, Epsilon::unit(budget)));
            let adversarial = attack.perturb(&victim, images(), &goal).unwrap();
            assert!(values(adversarial.clone()).iter().all(|v| (0.0..=1.0).contains(v)));
            for length in values(norm.measure(adversarial - images())) {
                assert!(f64::from(length) <= budget * (1.0 + 1e-5), "{norm}: {length} of {budget}");
                assert!(length > 0.0);
            }
        }
    }
}

#[test]
fn no_budget_returns_the_images() {
    for norm in [Norm::Linf, Norm::L2, Norm::L1] {
        let attack = Fgsm::new(Budget::new(norm, Epsilon::ZERO));
        let same = attack.perturb(&victim(), images(), &Goal::untargeted(classes("labels"))).unwrap();
        assert_eq!(values(same), values(images()));
    }
}

#[test]
fn each_goal_moves_its_own_loss() {
    let victim = victim();
    let attack = Fgsm::new(Budget::pixels(0.5));
    for goal in [Goal::untargeted(classes("labels")), Goal::targeted(classes("targets"))] {
        let adversarial = attack.perturb(&victim, images(), &goal).unwrap();
        let before = values(goal.objective(victim.logits(images())));
        let after = values(goal.objective(victim.logits(adversarial)));
        // The objective is minus the target's loss: raising it lowers the loss.
        assert!(before.iter().zip(&after).all(|(before, after)| after > before), "{before:?} {after:?}");
    }
}

fn pick(positions: &[i64]) -> Tensor<4> {
    images().select(0, Tensor::<1, Int>::from_data(positions, &Device::default()))
}

#[test]
fn an_image_does_not_depend_on_its_batch() {
    let victim = victim();
    let goal = Goal::untargeted(classes("labels"));
    for norm in [Norm::Linf, Norm::L2, Norm::L1] {
        let attack = Fgsm::new(Budget::new(norm, Epsilon::unit(0.5)));
        let together = values(attack.perturb(&victim, images(), &goal).unwrap());
        let size = together.len() / 4;
        for order in [vec![2], vec![3, 2], vec![2, 2, 1]] {
            let positions: Vec<usize> = order.iter().map(|&p| p as usize).collect();
            let other = values(attack.perturb(&victim, pick(&order), &goal.select(&positions)).unwrap());
            for (slot, &position) in positions.iter().enumerate() {
                let difference =
                    largest_difference(&other[slot * size..][..size], &together[position * size..][..size]);
                assert!(difference < 1e-5, "{norm}: image {position} in {order:?} differs by {difference}");
            }
        }
    }
}

#[test]
fn a_nan_stays_with_its_own_image() {
    let victim = victim();
    let goal = Goal::untargeted(classes("labels"));
    let attack = Fgsm::new(Budget::pixels(8.0));
    let clean = values(attack.perturb(&victim, images(), &goal).unwrap());
    // The second image alone is all above this, and a NaN to the network.
    let lit = images().slice_assign(1..2, Tensor::full([1, 3, 32, 32], 0.99, &Device::default()));
    let victim = victim.behind(|x| {
        let lit = x.clone().min_dims(&[1, 2, 3]).greater_elem(0.98).expand(x.dims());
        x.mask_fill(lit, f32::NAN)
    });
    assert!(values(victim.logits(lit.clone())).iter().any(|logit| logit.is_nan()));
    let result = values(attack.perturb(&victim, lit, &goal).unwrap());
    let size = result.len() / 4;
    for image in [0, 2, 3] {
        let range = image * size..(image + 1) * size;
        assert_eq!(largest_difference(&result[range.clone()], &clean[range]), 0.0, "image {image}");
    }
    assert!(
        result[size..2 * size].iter().all(|&value| value == 0.99),
        "no way is made up where there is none"
    );
}

#[test]
fn a_nan_gradient_counts_as_zero() {
    let device = Device::default();
    // The gradient of sqrt at 0 is infinite, times 0 it is NaN: only where a pixel is 0.
    let victim = Frozen::from_fn(2, &device, |x: Tensor<4>| {
        let [batch, ..] = x.dims();
        let sum: Tensor<2> = (x.clone().sqrt() * x).reshape([batch as i64, -1]).sum_dim(1);
        Tensor::cat(vec![sum.clone().neg(), sum], 1)
    });
    let pixels = Tensor::<4>::from_floats([[[[0.0, 0.5]]], [[[0.5, 0.5]]]], &device);
    let raw = values(victim.input_gradient(pixels.clone(), |z| z.sum_dim(1).reshape([2])).gradient);
    assert!(raw[0].is_nan(), "the test needs a NaN gradient, found {raw:?}");
    let attack = Fgsm::new(Budget::linf(Epsilon::unit(0.25)));
    let result = values(attack.perturb(&victim, pixels, &Goal::untargeted([1, 1])).unwrap());
    assert_eq!(result, [0.0, 0.25, 0.25, 0.25]);
}

#[test]
fn frozen_weights_and_statistics_are_bit_identical_after_an_attack() {
    let device = Device::default().autodiff();
    let model = network(&device);
    // `valid` gathers the running statistics that a pass in training mode left with its thread.
    let record = |model: &DenseNet| model.valid().into_record().into_bytes().unwrap().to_vec();
    let before = record(&model);
    let victim = Frozen::new(model.clone());
    let first = values(victim.logits(images()));
    Fgsm::new(Budget::pixels(8.0))
        .perturb(&victim, images().autodiff(), &Goal::untargeted(classes("labels")))
        .unwrap();
    assert!(before == record(&model), "the attack changed the model");
    assert_eq!(first, values(victim.logits(images())));

    // Training goes on: the caller's model changes its running statistics, the frozen one does not.
    model.logits(images().autodiff());
    assert!(before != record(&model), "a pass in training mode updates running statistics");
    assert_eq!(first, values(victim.logits(images())));
}

#[test]
fn bad_input_is_refused_before_any_work() {
    let device = Device::default();
    let untouched = Frozen::from_fn(2, &device, |_| panic!("an attack with bad input reached the network"));
    let images = || Tensor::<4>::full([2, 1, 2, 2], 0.5, &device);
    let goal = Goal::untargeted([0, 1]);
    let fgsm = Fgsm::new(Budget::pixels(8.0));
    for bad in [-0.1, f64::NAN, f64::INFINITY] {
        let attack = Fgsm::new(Budget::linf(Epsilon::unit(bad)));
        let error = attack.perturb(&untouched, images(), &goal).unwrap_err().to_string();
        assert!(error.starts_with("budget: expected a finite number of at least 0, found"), "{bad}: {error}");
    }
    let error = fgsm.perturb(&untouched, images(), &Goal::untargeted([0])).unwrap_err();
    assert_eq!(error, AttackError::Count { images: 2, labels: 1 });
    let error = fgsm.perturb(&untouched, images(), &Goal::untargeted([0, 2])).unwrap_err();
    assert!(matches!(error, AttackError::Label { image: 1, found: 2, .. }));
    for (value, at) in [(1.001, 5), (-0.001, 2), (255.0, 7)] {
        let mut pixels = vec![0.5f32; 8];
        pixels[at] = value;
        let bad = Tensor::from_data(TensorData::new(pixels, [2, 1, 2, 2]), &device);
        let error = fgsm.perturb(&untouched, bad, &goal).unwrap_err();
        assert_eq!(error, AttackError::ImageRange { image: at / 4, value });
    }
}
