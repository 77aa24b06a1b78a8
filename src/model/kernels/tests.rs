//! The kernels against the float64 reference, at every instruction level.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::reference::{Random, Reference, distance, double, weights};
use super::simd::Level;
use super::train_grad::Gradients;
use super::{Arch, NormStatistics, Packed, TrainState};

fn tiny() -> impl Strategy<Value = (Arch, [usize; 3])> {
    // From 53 pixels on the first block's rows are whole tiles of the widest vectors.
    let sizes = (1usize..=4, 29usize..=50, prop_oneof![29usize..=50, 53usize..=56]);
    let blocks = prop::collection::vec(1usize..=3, 1..=3);
    (1usize..=40, blocks, 2usize..=70, 1usize..=4, 1usize..=4, sizes).prop_map(
        |(growth_rate, block_config, num_init_features, bn_size, in_channels, (n, h, w))| {
            let arch =
                Arch { growth_rate, block_config, num_init_features, bn_size, in_channels, bn_eps: 1e-5 };
            (arch, [n, h, w])
        },
    )
}

struct Case {
    arch: Arch,
    shape: [usize; 3],
    params: Vec<f32>,
    stats: Vec<f32>,
    images: Vec<f32>,
    grad: Vec<f32>,
}

impl Case {
    fn new(arch: Arch, shape: [usize; 3], seed: u64) -> Self {
        let mut random = Random(seed);
        let (params, stats) = weights(&arch, &mut random);
        let images = random.vector(shape.iter().product::<usize>() * arch.in_channels, -1.0, 1.0);
        let grad = random.vector(shape[0] * arch.features(), -1.0, 1.0);
        Case { arch, shape, params, stats, images, grad }
    }

    fn reference(&self, batch: bool) -> Reference {
        let (params, stats, images) = (double(&self.params), double(&self.stats), double(&self.images));
        let mut net = Reference::new(&self.arch, &params, &stats, batch, &images, self.shape);
        net.backward(&double(&self.grad));
        net
    }

    fn train(&self, statistics: NormStatistics, level: Level) -> (Vec<f32>, TrainState) {
        TrainState::forward_at(&self.arch, &self.params, statistics, &self.images, self.shape, level)
    }

    /// Into memory of which nothing may be left.
    fn backward(&self, state: TrainState, wants_images: bool) -> Gradients {
        state.backward(&self.grad, vec![f32::NAN; self.params.len()], wants_images)
    }

    /// Each tensor's gradient within 1e-4 of its own size, or of a tenth of the largest's: what stands before a batch norm
    /// hardly matters to the loss, and its gradient is all cancellation.
    fn check_params(&self, ours: &[f32], reference: &[f64]) {
        let size = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
        let slots = self.arch.parameters();
        let largest = slots.iter().map(|s| size(&reference[s.offset..][..s.len()])).fold(0.0, f64::max);
        for slot in slots {
            let (ours, reference) =
                (&ours[slot.offset..][..slot.len()], &reference[slot.offset..][..slot.len()]);
            let difference: Vec<f64> = ours.iter().zip(reference).map(|(&a, b)| f64::from(a) - b).collect();
            let (error, bound) = (size(&difference), 1e-4 * size(reference).max(0.1 * largest));
            assert!(error <= bound, "{}: off by {error}, {bound} allowed, of {}", slot.name, size(reference));
        }
    }
}

fn check(what: &str, ours: &[f32], reference: &[f64], level: Level) {
    let distance = distance(ours, reference);
    assert!(distance <= 1e-4, "{what} at {level:?}: {distance}");
}

/// Whether no ReLU or pool is so near a tie that float32 may decide otherwise.
const MARGIN: f64 = 3e-6;

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_global_rejects: 400, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn evaluation_equals_the_reference((arch, shape) in tiny(), seed: u64) {
        let case = Case::new(arch, shape, seed);
        let reference = case.reference(false);
        prop_assume!(reference.margin > MARGIN);
        for level in Level::available() {
            let packed = Packed::new(&case.arch, &case.params, &case.stats, level);
            let (pooled, state) = packed.forward_saving(&case.images, shape);
            check("pooled", &pooled, &reference.pooled, level);
            prop_assert_eq!(&pooled, &packed.forward(&case.images, shape));
            check("image gradient", &packed.backward(&state, &case.grad), &reference.image_grad, level);
        }
    }

    #[test]
    fn running_norms_equal_the_reference((arch, shape) in tiny(), seed: u64) {
        let case = Case::new(arch, shape, seed);
        let reference = case.reference(false);
        prop_assume!(reference.margin > MARGIN);
        for level in Level::available() {
            let (pooled, state) = case.train(NormStatistics::Running(&case.stats), level);
            check("pooled", &pooled, &reference.pooled, level);
            prop_assert_eq!(state.statistics(), &case.stats[..]);
            let gradients = case.backward(state, true);
            case.check_params(&gradients.params, &reference.param_grad);
            check("image gradient", &gradients.images.unwrap(), &reference.image_grad, level);
        }
    }

    #[test]
    fn training_equals_the_reference((arch, shape) in tiny(), seed: u64) {
        let side = |side: usize| (side.div_ceil(2)).div_ceil(2) >> (arch.block_config.len() - 1);
        // Over a handful of values a variance is near zero, and its gradient is all cancellation.
        prop_assume!(shape[0] * side(shape[1]) * side(shape[2]) >= 16);
        let case = Case::new(arch, shape, seed);
        let reference = case.reference(true);
        prop_assume!(reference.margin > MARGIN);
        for level in Level::available() {
            let (pooled, state) = case.train(NormStatistics::Batch, level);
            check("pooled", &pooled, &reference.pooled, level);
            check("statistics", state.statistics(), &reference.statistics, level);
            let gradients = case.backward(state, true);
            case.check_params(&gradients.params, &reference.param_grad);
            check("image gradient", &gradients.images.unwrap(), &reference.image_grad, level);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, rng_seed: RngSeed::Fixed(2), ..ProptestConfig::default() })]

    #[test]
    fn neighbours_threads_and_other_callers_change_no_bit(
        (arch, [_, h, w]) in tiny(),
        n in 1usize..=33,
        one: prop::sample::Index,
        count in 1usize..=4,
        seed: u64,
    ) {
        let case = Case::new(arch, [n, h, w], seed);
        let (image, features) = (case.arch.in_channels * h * w, case.arch.features());
        let packed = Packed::new(&case.arch, &case.params, &case.stats, Level::current());
        let (pooled, gradient) = evaluate(&packed, &case.images, &case.grad, case.shape);
        let one = one.index(n);
        let [x, d] = [&case.images[one * image..][..image], &case.grad[one * features..][..features]];
        let alone = || threads(count).install(|| evaluate(&packed, x, d, [1, h, w]));
        let found = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..3).map(|_| scope.spawn(alone)).collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect::<Vec<_>>()
        });
        for (alone, alone_gradient) in found {
            prop_assert!(alone == pooled[one * features..][..features]);
            prop_assert!(alone_gradient == gradient[one * image..][..image]);
        }
        let step = || {
            let (pooled, state) = case.train(NormStatistics::Batch, Level::current());
            let Gradients { params, images } = case.backward(state, true);
            // An empty variance makes NaNs, which equal nothing.
            [pooled, params, images.unwrap()].map(|v| v.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        prop_assert!(threads(1).install(step) == threads(count).install(step));
    }
}

/// The level in which a process of its own runs: see the next test.
#[test]
fn the_level_is_the_forced_one_or_the_fastest() {
    let fastest = Level::available()[0];
    let expected = match std::env::var("HISTOGUARD_SIMD").as_deref() {
        Ok("avx512") if Level::Avx512.is_available() => Level::Avx512,
        Ok("avx2") if Level::Avx2.is_available() => Level::Avx2,
        Ok("portable") => Level::Portable,
        _ => fastest,
    };
    assert_eq!(Level::current(), expected);
    let half = match std::env::var("HISTOGUARD_SIMD").as_deref() {
        Ok("avx512" | "avx2" | "portable") => None,
        Ok("avx512bf16") => Some(Level::Avx512Bf16).filter(|level| level.is_available()),
        _ => Level::bf16().first().copied(),
    };
    assert_eq!(Level::current_bf16().ok(), half);
}

#[test]
fn the_environment_forces_a_level() {
    for value in ["amx", "avx512bf16", "avx512", "avx2", "portable", "none"] {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "model::kernels::tests::the_level_is_the_forced_one_or_the_fastest"])
            .env("HISTOGUARD_SIMD", value)
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{value}: {output}");
    }
}

fn arch() -> Arch {
    Arch {
        growth_rate: 12,
        block_config: vec![2, 3],
        num_init_features: 40,
        bn_size: 4,
        in_channels: 3,
        bn_eps: 1e-5,
    }
}

#[test]
fn the_reference_agrees_with_finite_differences() {
    let case = Case::new(arch(), [2, 33, 29], 5);
    for batch in [false, true] {
        let reference = case.reference(batch);
        let (params, stats, images) = (double(&case.params), double(&case.stats), double(&case.images));
        let mut random = Random(9);
        let (dp, di) = (
            double(&random.vector(params.len(), -1.0, 1.0)),
            double(&random.vector(images.len(), -1.0, 1.0)),
        );
        let loss = |step: f64| {
            let moved = |at: &[f64], by: &[f64]| -> Vec<f64> {
                at.iter().zip(by).map(|(a, b)| a + step * b).collect()
            };
            let net = Reference::new(
                &case.arch,
                &moved(&params, &dp),
                &stats,
                batch,
                &moved(&images, &di),
                case.shape,
            );
            net.pooled.iter().zip(&case.grad).map(|(p, &g)| p * f64::from(g)).sum::<f64>()
        };
        let numeric = (loss(1e-8) - loss(-1e-8)) / 2e-8;
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let analytic = dot(&reference.param_grad, &dp) + dot(&reference.image_grad, &di);
        assert!(
            (numeric - analytic).abs() < 1e-5 * analytic.abs(),
            "{numeric} against {analytic}, batch {batch}"
        );
    }
}

/// Pooled features and image gradient of some images of a batch.
fn evaluate(packed: &Packed, images: &[f32], grad: &[f32], shape: [usize; 3]) -> (Vec<f32>, Vec<f32>) {
    let (pooled, state) = packed.forward_saving(images, shape);
    (pooled, packed.backward(&state, grad))
}

fn threads(count: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap()
}

#[test]
fn an_image_gives_the_same_bits_in_any_batch_and_on_any_number_of_threads() {
    for (h, w) in [(45, 61), (33, 55)] {
        let case = Case::new(arch(), [33, h, w], 3);
        let (image, features) = (3 * h * w, case.arch.features());
        for level in [Level::available(), Level::tested_bf16()].concat() {
            let packed = Packed::new(&case.arch, &case.params, &case.stats, level);
            let (pooled, gradient) = evaluate(&packed, &case.images, &case.grad, case.shape);
            for count in [1, 2, 3, 4] {
                for (first, n) in [(0, 1), (32, 1), (7, 2), (5, 3), (0, 33)] {
                    let images = &case.images[first * image..][..n * image];
                    let grad = &case.grad[first * features..][..n * features];
                    let alone = threads(count).install(|| evaluate(&packed, images, grad, [n, h, w]));
                    assert!(
                        alone.0 == pooled[first * features..][..n * features],
                        "{level:?}, {count} threads, {n} images of {h} x {w}"
                    );
                    assert!(
                        alone.1 == gradient[first * image..][..n * image],
                        "{level:?}, {count} threads, {n} images of {h} x {w}"
                    );
                }
            }
        }
    }
}

#[test]
fn gradients_in_bf16_are_near_the_reference() {
    for (arch, shape) in [(arch(), [4, 61, 45]), (Arch::densenet121(), [1, 64, 64])] {
        let case = Case::new(arch, shape, 12);
        let reference = case.reference(false);
        for level in Level::tested_bf16() {
            let packed = Packed::new(&case.arch, &case.params, &case.stats, level);
            let (pooled, gradient) = evaluate(&packed, &case.images, &case.grad, shape);
            let distances =
                (distance(&pooled, &reference.pooled), distance(&gradient, &reference.image_grad));
            // A number in bf16 is off by up to 4e-3 of itself.
            assert!((1e-4..1e-2).contains(&distances.0), "{level:?}: {distances:?}");
            assert!((1e-4..0.2).contains(&distances.1), "{level:?}: {distances:?}");
        }
    }
}

#[test]
fn training_gives_the_same_bits_on_any_number_of_threads() {
    // Few images are shared by the threads, of many each thread has its own, and of some each has helpers.
    for n in [1, 3, 8, 19] {
        let case = Case::new(arch(), [n, 61, 45], 4);
        let step = || {
            let (pooled, state) = case.train(NormStatistics::Batch, Level::current());
            let statistics = state.statistics().to_vec();
            let Gradients { params, images } = case.backward(state, true);
            (pooled, params, images, statistics)
        };
        let expected = threads(1).install(step);
        for count in [2, 3, 4, 9] {
            assert!(threads(count).install(step) == expected, "{n} images, {count} threads");
        }
    }
}

#[test]
fn bottlenecks_that_are_not_kept_change_no_bit() {
    let case = Case::new(arch(), [3, 61, 45], 4);
    let forward = || case.train(NormStatistics::Batch, Level::current()).1;
    let kept = case.backward(forward(), true);
    for count in [1, 2, 9] {
        let mut state = forward();
        state.forget_bottlenecks();
        let again = threads(count).install(|| case.backward(state, true));
        assert!(again.params == kept.params && again.images == kept.images, "{count} threads");
    }
}

#[test]
fn gradients_of_images_are_optional_and_change_nothing_else() {
    let case = Case::new(arch(), [3, 37, 33], 4);
    let gradients = |wanted| case.backward(case.train(NormStatistics::Batch, Level::current()).1, wanted);
    let without = gradients(false);
    assert!(without.images.is_none());
    assert_eq!(without.params, gradients(true).params);
}

#[test]
fn nan_and_infinity_stay_in_their_image() {
    let case = Case::new(arch(), [3, 45, 61], 6);
    let (image, features) = (3 * 45 * 61, case.arch.features());
    for level in Level::available() {
        for count in [1, 4] {
            threads(count).install(|| {
                let packed = Packed::new(&case.arch, &case.params, &case.stats, level);
                let (pooled, gradient) = evaluate(&packed, &case.images, &case.grad, case.shape);
                for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut images = case.images.clone();
                    images[image + 1234] = poison;
                    let (poisoned, poisoned_gradient) = evaluate(&packed, &images, &case.grad, case.shape);
                    for i in [0, 2] {
                        assert!(poisoned[i * features..][..features] == pooled[i * features..][..features]);
                        assert!(poisoned_gradient[i * image..][..image] == gradient[i * image..][..image]);
                    }
                    assert!(
                        poisoned[features..2 * features].iter().any(|v| !v.is_finite()),
                        "{poison} vanished"
                    );
                    // Buffers that saw it are recycled.
                    assert!(
                        evaluate(&packed, &case.images, &case.grad, case.shape)
                            == (pooled.clone(), gradient.clone())
                    );
                    let (running, _) = case.train(NormStatistics::Running(&case.stats), level);
                    assert!(running.iter().all(|v| v.is_finite()));
                }
            });
        }
    }
}

#[test]
fn nan_in_a_training_batch_does_not_reach_the_next() {
    let mut case = Case::new(arch(), [3, 45, 61], 6);
    let step = |case: &Case| {
        let (pooled, state) = case.train(NormStatistics::Batch, Level::current());
        (pooled, case.backward(state, true).params)
    };
    let expected = step(&case);
    let pixel = std::mem::replace(&mut case.images[99], f32::NAN);
    assert!(step(&case).0.iter().any(|v| v.is_nan()));
    case.images[99] = pixel;
    assert!(step(&case) == expected);
}

#[test]
fn concurrent_and_nested_callers_do_not_disturb_each_other() {
    let case = Case::new(arch(), [4, 37, 41], 8);
    let packed = Packed::new(&case.arch, &case.params, &case.stats, Level::current());
    let both = || {
        let eval = evaluate(&packed, &case.images, &case.grad, case.shape);
        let (_, state) = case.train(NormStatistics::Batch, Level::current());
        (eval, case.backward(state, false).params)
    };
    let expected = both();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(|| (0..5).all(|_| both() == expected))).collect();
        assert!(callers.into_iter().all(|caller| caller.join().unwrap()));
    });
    use rayon::prelude::*;
    assert!((0..8).into_par_iter().all(|_| both() == expected));
}

#[test]
#[should_panic(expected = "too small")]
fn too_small_images_are_refused() {
    let case = Case::new(Arch { block_config: vec![1, 1, 1, 1], ..arch() }, [1, 28, 28], 1);
    case.train(NormStatistics::Batch, Level::current());
}
