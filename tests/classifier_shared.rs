//! One network behind several handles, on several threads.

use histoguard::attack::{Bounding, GeneratedPerturbation, GeneratorConfig, Origin, Transfer};
use histoguard::classifier::FrozenFeatures;
use histoguard::defense::RandomResizePad;
use histoguard::prelude::*;
use rayon::prelude::*;
use serde_json::Value;

#[test]
fn tasks_of_rayon_may_ask_one_network_at_the_same_time() {
    let device = Device::default();
    let config = DenseNetConfig::new(2).with_block_config(vec![2, 2]).with_num_init_features(8);
    let image = |i: usize| Tensor::<4>::full([3, 3, 64, 64], i as f64 / 16.0, &Device::default());
    let bits = |tensor: Tensor<2>| tensor.into_data().try_into_vec::<f32>().unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    for _ in 0..20 {
        let (frozen, features) =
            (Frozen::new(config.init(&device)), FrozenFeatures::new(config.init(&device)));
        let ask = |i: usize| {
            (bits(frozen.shared().logits(image(i))), bits(features.head(features.features(image(i)))))
        };
        let together: Vec<_> = pool.install(|| (0..16).into_par_iter().with_max_len(1).map(ask).collect());
        let alone: Vec<_> = (0..16).map(ask).collect();
        assert!(together == alone);
    }
}

#[test]
fn tasks_of_rayon_may_attack_with_one_network_at_the_same_time() {
    let device = Device::default();
    let config = DenseNetConfig::new(2).with_block_config(vec![2, 2]).with_num_init_features(8);
    let image = |i: usize| Tensor::<4>::full([3, 3, 64, 64], (i + 1) as f64 / 20.0, &Device::default());
    let (victim, goal) = (Frozen::new(config.init_seeded(&device, 1)), Goal::untargeted([0, 1, 1]));
    let twin = Frozen::new(config.init_seeded(&device, 2));
    let counts = twin.watch().clone();
    let transfer = Transfer::new(Bim::new(Budget::pixels(4.0)).with_steps(3), "twin", twin);
    let config = GeneratorConfig::new(3);
    let (generator, origin) = (config.init(&device, 1).unwrap(), Origin::new("AdvGAN", Value::Null));
    let bounded = (Budget::pixels(4.0), Bounding::Scale);
    let generated =
        GeneratedPerturbation::from_generator(&generator, config, bounded, [3, 64, 64], origin).unwrap();
    let craft = |i: usize| {
        [&transfer as &dyn Attack, &generated].map(|attack| {
            let found = attack.perturb(&victim.shared(), image(i), &goal).unwrap();
            found.into_data().try_into_vec::<f32>().unwrap()
        })
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    let together: Vec<_> = pool.install(|| (0..16).into_par_iter().with_max_len(1).map(craft).collect());
    let queries = counts.queries();
    let alone: Vec<_> = (0..16).map(craft).collect();
    assert!(together == alone);
    // Sixteen times three images and three steps.
    assert_eq!((queries.gradients, counts.queries().gradients), (144, 288));
}

#[test]
fn tasks_of_rayon_may_ask_behind_one_random_preprocessing_at_the_same_time() {
    let device = Device::default();
    let bright = |images: Tensor<4>| images.slice([0..3, 0..2]).mean_dims(&[2, 3]).reshape([-1, 2]);
    let behind = || {
        let victim = Frozen::from_fn(2, &Device::default(), bright);
        RandomResizePad::new().before(victim).unwrap()
    };
    let images: Vec<Tensor<4>> =
        (0..64).map(|i| Tensor::full([3, 3, 32, 32], f64::from(i + 1) / 65.0, &device)).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    for _ in 0..50 {
        let (victim, another) = (behind(), behind());
        let ask = |victim: &Frozen, i: usize| {
            victim.logits(images[i].clone()).into_data().try_into_vec::<f32>().unwrap()
        };
        let together: Vec<_> =
            pool.install(|| (0..64).into_par_iter().with_max_len(1).map(|i| ask(&victim, i)).collect());
        let alone: Vec<_> = (0..64).map(|i| ask(&another, i)).collect();
        assert!(together == alone);
    }
}
