//! One network behind several handles, on several threads.

use histoguard::classifier::FrozenFeatures;
use histoguard::prelude::*;
use rayon::prelude::*;

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
