//! Detectors against PyTorch, SciPy, scikit-learn and finite differences.

mod golden;
mod small;

use std::collections::BTreeMap;

use burn::module::Param;
use burn::tensor::activation::log_softmax;
use golden::{assert_close, tensor};
use histoguard::classifier::FrozenFeatures;
use histoguard::defense::detector::*;
use histoguard::prelude::*;
use histoguard::random::{Purpose, RngExt, generator};
use histoguard::statistics::true_positive_rate;
use small::bright;

type Golden = BTreeMap<String, (Vec<usize>, Vec<f64>)>;

fn golden() -> Golden {
    golden::tensors("detectors.safetensors")
}

fn device() -> Device {
    Device::default()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().unwrap()
}

/// The autoencoders of detectors.py.
fn autoencoders() -> [(&'static str, AutoencoderConfig); 3] {
    let max = AutoencoderConfig::new()
        .with_layers(vec![Layer::Conv(4), Layer::MaxPool, Layer::Conv(2)])
        .with_activation(Activation::Relu);
    [("cifar10", AutoencoderConfig::cifar10()), ("mnist_i", AutoencoderConfig::mnist_i()), ("max", max)]
}

fn with_golden_weights(
    golden: &Golden,
    name: &str,
    config: &AutoencoderConfig,
    device: &Device,
) -> Autoencoder {
    let mut autoencoder = config.init(device, 0).unwrap();
    for (i, conv) in autoencoder.convs.iter_mut().enumerate() {
        let part = |kind: &str| &golden[&format!("{name}.weights.convs.{i}.{kind}")];
        conv.weight = Param::from_tensor(tensor(part("weight"), device));
        conv.bias = Some(Param::from_tensor(tensor(part("bias"), device)));
    }
    autoencoder
}

#[test]
fn autoencoders_equal_pytorchs_forward_and_backward() {
    let golden = golden();
    let device = device().autodiff();
    for (name, config) in autoencoders() {
        let autoencoder = with_golden_weights(&golden, name, &config, &device);
        let of = |what: &str| &golden[&format!("{name}.{what}")];
        let images = tensor::<4>(of("images"), &device).require_grad();
        let (output, activity) = autoencoder.forward_with_activity(images.clone());
        assert_close(name, output.clone(), &of("output").1, 5e-6);
        assert_close(name, activity.clone(), &of("activity").1, 5e-6);
        let error = (output - tensor(of("target"), &device)).square().mean();
        let mut gradients = (error + activity.mean() * 1e-3).backward();
        let gradient = images.grad_remove(&mut gradients).unwrap();
        assert_close(name, gradient, &of("image_gradient").1, 1e-5);
        for (i, conv) in autoencoder.convs.iter().enumerate() {
            let weight = conv.weight.val().grad_remove(&mut gradients).unwrap();
            assert_close(name, weight, &of(&format!("weight_gradient.{i}")).1, 1e-5);
            let bias = conv.bias.as_ref().unwrap().val().grad_remove(&mut gradients).unwrap();
            assert_close(name, bias, &of(&format!("bias_gradient.{i}")).1, 1e-5);
        }
    }
}

fn set(images: Tensor<4>, labels: Vec<usize>, classes: usize) -> TensorSet {
    TensorSet::new(images, labels, (0..classes).map(|class| format!("class {class}")).collect()).unwrap()
}

#[test]
fn training_equals_pytorchs() {
    let golden = golden();
    let autoencoder = with_golden_weights(&golden, "cifar10", &AutoencoderConfig::cifar10(), &device());
    let clean = set(tensor(&golden["cifar10.images"], &device()), vec![0, 0], 1);
    let training =
        AutoencoderTraining::new(0.0).with_epochs(20).with_learning_rate(0.01).with_activity_weight(1e-4);
    let trained = training.train(autoencoder, &clean).unwrap();
    for (found, expected) in trained.losses.iter().zip(&golden["cifar10.losses"].1) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
    for (i, conv) in trained.autoencoder.convs.iter().enumerate() {
        assert_close("weight", conv.weight.val(), &golden[&format!("cifar10.trained_weight.{i}")].1, 1e-4);
        let bias = conv.bias.as_ref().unwrap().val();
        assert_close("bias", bias, &golden[&format!("cifar10.trained_bias.{i}")].1, 1e-4);
    }
}

#[test]
fn training_depends_on_its_seed_and_takes_noise_away() {
    let mut rng = generator(Purpose::named("test"), 0, &[]);
    // Images of one grey each: what differs from pixel to pixel is noise.
    let greys: Vec<f32> = (0..64).map(|_| rng.random_range(0.2..0.8)).collect();
    let grey = Tensor::<1>::from_floats(greys.as_slice(), &device()).reshape([64, 1, 1, 1]);
    let clean = set(grey.clone().expand([64, 1, 8, 8]), vec![0; 64], 1);
    let config = AutoencoderConfig::mnist_i();
    let train =
        |training: AutoencoderTraining| training.train(config.init(&device(), 3).unwrap(), &clean).unwrap();
    let training = AutoencoderTraining::new(0.2).with_epochs(60).with_batch_size(16).with_learning_rate(0.02);
    let trained = train(training);
    let weights = |trained: &TrainedAutoencoder| values(trained.autoencoder.convs[0].weight.val());
    assert_eq!(weights(&trained), weights(&train(training)));
    assert_ne!(weights(&trained), weights(&train(training.with_seed(1))));
    let indices: Vec<u64> = (100..164).collect();
    let clean = grey.expand([64, 1, 8, 8]);
    let noisy = GaussianNoise::new(0.2).with_seed(9).noisy(clean.clone(), &indices, 0).unwrap();
    let error = |images: Tensor<4>| (images - clean.clone()).square().mean().into_scalar::<f32>();
    let (before, after) = (error(noisy.clone()), error(trained.autoencoder.forward(noisy)));
    assert!(after < 0.3 * before, "{before} {after}");
    assert!(trained.losses[59] < 0.5 * trained.losses[0], "{:?}", trained.losses);
}

#[test]
fn training_refuses_what_cannot_be_trained() {
    let clean = set(Tensor::zeros([1, 3, 4, 4], &device()), vec![0], 1);
    let none = set(Tensor::zeros([0, 3, 4, 4], &device()), vec![], 1);
    let train = |training: AutoencoderTraining, images: &TensorSet| {
        let autoencoder = AutoencoderConfig::cifar10().init(&device(), 0).unwrap();
        training.train(autoencoder, images).unwrap_err().to_string()
    };
    let new = AutoencoderTraining::new;
    assert_eq!(train(new(-0.1), &clean), "sigma: expected a finite number of at least 0, found -0.1");
    assert_eq!(train(new(0.1).with_epochs(0), &clean), "epochs: expected at least 1, found 0");
    assert_eq!(train(new(0.1).with_batch_size(0), &clean), "batch size: expected at least 1, found 0");
    let rate = train(new(0.1).with_learning_rate(0.0), &clean);
    assert_eq!(rate, "learning rate: expected a finite number above 0, found 0");
    assert_eq!(train(new(0.1), &none), "autoencoder: expected at least one clean image, found none");
    let diverging = set(Tensor::full([1, 3, 4, 4], f32::NAN, &device()), vec![0], 1);
    assert_eq!(train(new(0.1), &diverging), "autoencoder: expected a finite loss, found NaN in epoch 1");
    let config = AutoencoderConfig::cifar10().with_layers(vec![Layer::AveragePool]);
    assert_eq!(
        config.init(&device(), 0).unwrap_err().to_string(),
        "convolutions: expected at least 1, found 0"
    );
}

#[test]
fn marks_equal_numpys() {
    let golden = golden();
    let reconstructions = tensor::<4>(&golden["marks.reconstructions"], &device());
    for power in [1, 2] {
        let fixed = reconstructions.clone();
        let autoencoder = ImageMap::new("fixed", move |_| fixed.clone());
        let detector = ReconstructionError::new(autoencoder, power).unwrap();
        let marks = detector.score(tensor(&golden["marks.images"], &device()));
        assert_close("marks", marks, &golden[&format!("marks.{power}")].1, 1e-6);
    }
    let error = ReconstructionError::new(ImageMap::new("same", |x| x), 3).unwrap_err();
    assert_eq!(error.to_string(), "power: expected 1 or 2, found 3");
}

#[test]
fn divergences_equal_scipys_at_every_temperature() {
    let golden = golden();
    let [p, q] = ["p", "q"].map(|name| tensor::<2>(&golden[&format!("divergence.{name}")], &device()));
    for temperature in [1, 10, 40] {
        let soft = |logits: &Tensor<2>| log_softmax(logits.clone() / f64::from(temperature), 1);
        let found = values(jensen_shannon(soft(&p), soft(&q)));
        for (found, expected) in found.iter().zip(&golden[&format!("divergence.{temperature}")].1) {
            let off = (f64::from(*found) - expected).abs();
            assert!(off <= 1e-3 * expected + 1e-10, "T = {temperature}: {found} {expected}");
        }
    }
}

#[test]
fn the_divergence_detector_compares_an_image_with_its_reconstruction() {
    let golden = golden();
    // Images are the logits themselves; the "autoencoder" answers with the other table, here within [0,1].
    let [p, q] = ["p", "q"].map(|name| {
        let logits = tensor::<2>(&golden[&format!("divergence.{name}")], &device());
        (logits / 300.0 + 0.5).reshape([8, 4, 1, 1])
    });
    let network = FrozenFeatures::from_fn(4, &device(), |x| (x.flatten(1, 3) - 0.5) * 300.0, |logits| logits);
    let other = q.clone();
    let autoencoder = ImageMap::new("other", move |_| other.clone());
    let detector = ReconstructionDivergence::new(autoencoder, network, 10.0).unwrap();
    let found = values(detector.score(p));
    for (found, expected) in found.iter().zip(&golden["divergence.10"].1) {
        assert!((f64::from(*found) - expected).abs() <= 1e-3 * expected + 1e-8, "{found} {expected}");
    }
}

/// Images in steps of 1/n, with the gradient of the identity.
fn depth(n: f64) -> ImageMap {
    ImageMap::new(format!("{n} steps"), move |x: Tensor<4>| {
        let squeezed = (x.clone() * n).round() / n;
        x.clone() + (squeezed - x).detach()
    })
}

fn linear(weights: Tensor<2>) -> FrozenFeatures {
    let classes = weights.dims()[1];
    FrozenFeatures::from_fn(classes, &device(), |x| x.flatten(1, 3), move |f| f.matmul(weights.clone()))
}

#[test]
fn squeezing_scores_equal_scipys() {
    let golden = golden();
    let network = linear(tensor(&golden["squeezing.weights"], &device()));
    let detector = FeatureSqueezing::new(network.clone(), vec![depth(1.0), depth(3.0)]).unwrap();
    let scores = detector.score(tensor(&golden["squeezing.images"], &device()));
    assert_close("scores", scores, &golden["squeezing.scores"].1, 1e-5);
    let error = FeatureSqueezing::new(network, vec![]).unwrap_err();
    assert_eq!(error.to_string(), "squeezers: expected at least 1, found 0");
}

/// The features of detectors.py as images of one pixel.
fn features(golden: &Golden) -> (FrozenFeatures, TensorSet, Tensor<4>) {
    let as_images = |name: &str| tensor::<2>(&golden[name], &device()).reshape([-1, 12, 1, 1]);
    let labels = golden["features.labels"].1.iter().map(|&label| label as usize).collect();
    let training = set(as_images("features.train"), labels, 3);
    (linear(tensor(&golden["features.head"], &device())), training, as_images("features.queries"))
}

#[test]
fn densities_equal_scikit_learns() {
    let golden = golden();
    let (network, training, queries) = features(&golden);
    let mut detector = KernelDensity::fit(network, 1.0, &training).unwrap();
    assert_eq!((detector.images(), detector.dimension()), (40, 12));
    for bandwidth in [0.8, 2.5] {
        detector = detector.with_bandwidth(bandwidth).unwrap();
        let found = detector.log_densities(queries.clone());
        for (found, expected) in found.iter().zip(&golden[&format!("density.{bandwidth}")].1) {
            assert!((found - expected).abs() < 2e-5 * expected.abs(), "{found} {expected}");
        }
    }
    assert!(detector.with_bandwidth(0.0).unwrap_err().to_string().starts_with("bandwidth: expected"));
}

#[test]
fn distances_and_shrunk_covariances_equal_scikit_learns() {
    let golden = golden();
    let (network, training, queries) = features(&golden);
    let detector = Mahalanobis::fit(network.clone(), None, &training).unwrap();
    assert_eq!((detector.images(), detector.dimension()), (40, 12));
    assert!((detector.shrinkage() - golden["shrinkage"].1[0]).abs() < 1e-9);
    assert_close("distances", detector.score(queries.clone()), &golden["mahalanobis"].1, 1e-5);
    let few = ledoit_wolf(&golden["few.rows"].1, 12, None);
    assert!((few.shrinkage - golden["few.shrinkage"].1[0]).abs() < 1e-12);
    for (found, expected) in few.covariance.iter().zip(&golden["few.covariance"].1) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
    // All shrinkage leaves squared Euclidean distances over the mean variance.
    let round = Mahalanobis::fit(network, Some(1.0), &training).unwrap();
    let mean = golden["covariance"].1.iter().step_by(13).sum::<f64>() / 12.0;
    let [train, queried] = ["features.train", "features.queries"].map(|name| &golden[name].1);
    let center = |class: usize, i: usize| {
        let own: Vec<f64> = (class..40).step_by(3).map(|row| train[row * 12 + i]).collect();
        own.iter().sum::<f64>() / own.len() as f64
    };
    let distance =
        |query: &[f64], class| (0..12).map(|i| (query[i] - center(class, i)).powi(2)).sum::<f64>() / mean;
    let nearest = |query| (0..3).map(|class| distance(query, class)).fold(f64::INFINITY, f64::min);
    let by_hand: Vec<f64> = queried.chunks(12).map(nearest).collect();
    assert_close("round", round.score(queries), &by_hand, 1e-5);
}

#[test]
fn fits_are_refused_with_what_is_missing() {
    let golden = golden();
    let (network, _, _) = features(&golden);
    let few = |labels: Vec<usize>, classes| {
        let rows = tensor::<2>(&golden["few.rows"], &device()).reshape([-1, 12, 1, 1]);
        set(rows.narrow(0, 0, labels.len()), labels, classes)
    };
    let fit =
        |shrinkage, training: &TensorSet| Mahalanobis::fit(network.clone(), shrinkage, training).unwrap_err();
    let singular = fit(Some(0.0), &few(vec![0, 1, 2, 0, 1, 2], 3)).to_string();
    assert!(
        singular.ends_with("found none from 6 images with 12 features at a shrinkage of 0"),
        "{singular}"
    );
    let empty = fit(None, &few(vec![0, 1, 0], 3)).to_string();
    assert_eq!(
        empty,
        "Mahalanobis distance: expected at least one training image of class class 2, found none"
    );
    let other = fit(None, &few(vec![0, 1], 2)).to_string();
    assert!(
        other.ends_with("expected training images of 3 classes, as the network has, found 2 classes"),
        "{other}"
    );
    assert!(
        fit(Some(1.5), &few(vec![0, 1, 2], 3))
            .to_string()
            .starts_with("shrinkage: expected a number from 0 to 1")
    );
    let bad = set(Tensor::full([3, 12, 1, 1], f32::NAN, &device()), vec![0, 1, 2], 3);
    let error = KernelDensity::fit(network.clone(), 1.0, &bad).unwrap_err().to_string();
    assert_eq!(error, "kernel density: expected finite features, found NaN or infinity in those of image 0");
}

#[test]
fn true_positive_rates_equal_scikit_learns() {
    let golden = golden();
    for case in 0..3 {
        let of = |what: &str| golden[&format!("roc.{case}.{what}")].1.clone();
        let scored: Vec<(bool, f64)> = of("positive")
            .iter()
            .zip(of("scores"))
            .map(|(positive, score)| (*positive == 1.0, score))
            .collect();
        for (at, expected) in [0.01, 0.05, 0.3].into_iter().zip(of("rates")) {
            let found = true_positive_rate(&scored, at).unwrap();
            assert!((found - expected).abs() < 1e-11, "{case} at {at}: {found} {expected}");
        }
    }
    assert_eq!(true_positive_rate(&[(true, 1.0)], 0.05), None);
    assert_eq!(true_positive_rate(&[(true, 1.0), (false, f64::NAN)], 0.05), None);
}

/// Central differences along every pixel of every image at once, in the direction of the gradient's
/// neighbours.
fn check_gradient(detector: &dyn Detector, images: Tensor<4>, step: f32, tolerance: f32) {
    let tracked = images.clone().autodiff().require_grad();
    let mut gradients = detector.score(tracked.clone()).sum().backward();
    let gradient = tracked.grad_remove(&mut gradients).unwrap();
    let [batch, channels, height, width] = images.dims();
    let size = channels * height * width;
    let found = values(gradient);
    let largest = found.iter().fold(0f32, |a, b| a.max(b.abs()));
    assert!(largest > 0.0, "{}", detector.name());
    for pixel in 0..size {
        let mut bump = vec![0f32; size];
        bump[pixel] = step;
        let bump =
            Tensor::<1>::from_floats(bump.as_slice(), &images.device()).reshape([1, channels, height, width]);
        let up = values(detector.score(images.clone() + bump.clone()));
        let down = values(detector.score(images.clone() - bump));
        for image in 0..batch {
            let slope = (up[image] - down[image]) / (2.0 * step);
            let off = (found[image * size + pixel] - slope).abs();
            assert!(off <= tolerance * largest, "{}: {off} of {largest}", detector.name());
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let golden = golden();
    let (network, training, queries) = features(&golden);
    let queries = queries.narrow(0, 0, 4);
    check_gradient(
        &KernelDensity::fit(network.clone(), 1.5, &training).unwrap(),
        queries.clone(),
        1e-2,
        1e-2,
    );
    check_gradient(&Mahalanobis::fit(network.clone(), None, &training).unwrap(), queries, 1e-2, 1e-2);
    let images = tensor::<4>(&golden["cifar10.images"], &device());
    let smooth =
        with_golden_weights(&golden, "cifar10", &AutoencoderConfig::cifar10(), &device()).frozen("smooth");
    check_gradient(&ReconstructionError::new(smooth.clone(), 2).unwrap(), images.clone(), 1e-2, 1e-2);
    check_gradient(&ReconstructionError::new(smooth.clone(), 1).unwrap(), images.clone(), 1e-3, 2e-2);
    let weights = tensor::<4>(&golden["mnist_i.images"], &device()).reshape([1, 96]).narrow(1, 0, 90);
    let head = Tensor::cat(vec![weights.clone() * 3.0, weights.flip([1])], 0).transpose();
    let network = linear(head);
    check_gradient(
        &FeatureSqueezing::new(network.clone(), vec![smooth.clone()]).unwrap(),
        images.clone(),
        1e-2,
        1e-2,
    );
    check_gradient(&ReconstructionDivergence::new(smooth, network, 1.0).unwrap(), images, 1e-2, 1e-2);
}

#[test]
fn a_densenets_features_are_those_before_its_last_layer() {
    let config =
        DenseNetConfig::new(2).with_growth_rate(4).with_num_init_features(6).with_block_config(vec![2, 1]);
    let model = Normalized::new(config.init(&device()), Normalization::IMAGENET);
    let network = FrozenFeatures::new(model.clone());
    let images = Tensor::<4>::random([3, 3, 32, 32], burn::tensor::Distribution::Default, &device());
    let expected = model.network.embed(model.normalize(images.clone()));
    assert_eq!(network.features(images.clone()).into_data(), expected.into_data());
    let logits = Frozen::new(model).logits(images.clone());
    assert_eq!(network.head(network.features(images.clone())).into_data(), logits.clone().into_data());
    assert_eq!(network.logits(images.clone()).into_data(), logits.into_data());
    let tracked = images.autodiff().require_grad();
    let mut gradients = network.features(tracked.clone()).sum().backward();
    assert!(values(tracked.grad_remove(&mut gradients).unwrap()).iter().any(|g| *g != 0.0));
}

#[test]
fn queries_through_a_frozen_classifier_are_counted() {
    let frozen = bright();
    let watch = frozen.watch().clone();
    let network = FrozenFeatures::logits_of(frozen);
    network.logits(Tensor::zeros([3, 1, 2, 2], &device()));
    network.logits(Tensor::<4>::zeros([2, 1, 2, 2], &device()).autodiff().require_grad());
    assert_eq!((watch.queries().forwards, watch.queries().gradients), (3, 2));
}
