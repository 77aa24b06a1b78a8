//! Randomized smoothing: certificates held against closed forms and against attacks, and what they depend on.

mod victim;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::TensorData;
use histoguard::attack::Task;
use histoguard::defense::smoothing::{Certificate, Radius, Smoothing, SmoothingError, Tally};
use histoguard::defense::{GaussianNoise, SmoothAdv};
use histoguard::prelude::*;
use histoguard::random::{Purpose, RngExt, generator};
use victim::{images, labels, largest_difference, values};

const VALUES: usize = 16;

/// A linear classifier of 1 x 4 x 4 images, and the signed distance of each image to its boundary.
struct Linear {
    weights: Vec<f32>,
    bias: f32,
}

impl Linear {
    fn new() -> Self {
        let mut random = generator(Purpose::named("test of a linear classifier"), 3, &[]);
        let weights: Vec<f32> = (0..VALUES).map(|_| random.random::<f32>() - 0.4).collect();
        let bias = -0.5 * weights.iter().sum::<f32>();
        Self { weights, bias }
    }

    fn frozen(&self) -> Frozen {
        let (data, bias) = (TensorData::new(self.weights.clone(), [1, 1, 4, 4]), self.bias);
        Frozen::from_fn(2, &Device::default(), move |x| {
            let weights = Tensor::<4>::from_data(data.clone(), &Device::default());
            let score = (x * weights).sum_dims(&[1, 2, 3]).reshape([-1, 1]) + bias;
            Tensor::cat(vec![score.clone().neg(), score], 1)
        })
    }

    /// Positive on the side of class 1.
    fn distance(&self, image: &[f32]) -> f64 {
        let pairs = || self.weights.iter().map(|&w| f64::from(w));
        let score: f64 =
            pairs().zip(image).map(|(w, &x)| w * f64::from(x)).sum::<f64>() + f64::from(self.bias);
        score / pairs().map(|w| w * w).sum::<f64>().sqrt()
    }
}

fn random_images(count: usize) -> Tensor<4> {
    let mut random = generator(Purpose::named("test images"), 0, &[]);
    let pixels: Vec<f32> = (0..count * VALUES).map(|_| random.random::<f32>()).collect();
    Tensor::from_data(TensorData::new(pixels, [count, 1, 4, 4]), &Device::default())
}

fn indices(count: usize) -> Vec<u64> {
    (0..count as u64).collect()
}

#[test]
fn the_radius_of_a_linear_classifier_approaches_the_closed_form_from_below() {
    let (linear, images) = (Linear::new(), random_images(60));
    let distances: Vec<f64> =
        values(images.clone()).chunks(VALUES).map(|image| linear.distance(image)).collect();
    let base = linear.frozen();
    let mut shares = Vec::new();
    for draws in [500, 20_000] {
        let smoothing = Smoothing::new(0.3).with_draws(draws).with_draws_a_batch(2000);
        let certificates = smoothing.certify(&base, images.clone(), &indices(60)).unwrap();
        let answers = smoothing.predict(&base, images.clone(), &indices(60)).unwrap();
        let mut share = Vec::new();
        for ((certificate, answer), &distance) in certificates.iter().zip(&answers).zip(&distances) {
            assert_eq!(certificate.prediction, *answer, "from the same draws");
            let (class, radius) = (usize::from(distance > 0.0), certificate.radius.size());
            assert!(radius <= distance.abs(), "{draws} draws: {radius} of {distance}");
            assert!(certificate.class.is_none_or(|found| found == class), "{certificate:?} of {distance}");
            assert!(answer.class.is_none_or(|found| found == class), "{answer:?} of {distance}");
            // Far below the largest radius, and far from an abstention.
            if (0.1..0.6).contains(&distance.abs()) {
                share.push(radius / distance.abs());
            }
        }
        assert!(share.len() > 20, "{}", share.len());
        shares.push((
            share.iter().sum::<f64>() / share.len() as f64,
            share.iter().copied().fold(1.0, f64::min),
        ));
    }
    let ((few, _), (many, least)) = (shares[0], shares[1]);
    assert!(few < many && few < 0.95 && many > 0.95 && least > 0.85, "{shares:?}");
}

#[test]
fn results_do_not_depend_on_the_batch_or_on_the_neighbours() {
    let base = victim::victim(4);
    let smoothing = Smoothing::new(0.12).with_selection_draws(30).with_draws(90).with_seed(5);
    let few = images(4).narrow(0, 0, 4);
    let whole = smoothing.certify(&base, few.clone(), &[3, 4, 5, 6]).unwrap();
    assert!(whole.iter().any(|found| found.successes < found.draws), "{whole:?}");
    for batch in [1, 7, 1000] {
        let smoothing = smoothing.with_draws_a_batch(batch);
        assert_eq!(smoothing.certify(&base, few.clone(), &[3, 4, 5, 6]).unwrap(), whole);
    }
    let alone = few.clone().narrow(0, 2, 1);
    assert_eq!(smoothing.certify(&base, alone.clone(), &[5]).unwrap(), whole[2..3]);
    let counts = |smoothing: Smoothing, index| {
        let found = smoothing.certify(&base, alone.clone(), &[index]).unwrap();
        found[0].prediction.counts.clone()
    };
    // Noise that decides: at sigma 1 the base answers by the noise.
    let loud = Smoothing { sigma: 1.0, ..smoothing };
    assert_eq!(counts(loud, 5), counts(loud, 5));
    assert_ne!(counts(loud, 5), counts(loud, 6), "another image");
    assert_ne!(counts(loud, 5), counts(loud.with_seed(6), 5), "another seed");
    assert_ne!(counts(loud, 5), counts(loud.with_clip(true), 5), "another base");
}

#[test]
fn selection_and_estimate_draw_different_noise() {
    // Equal streams would give equal counts for every image.
    let base = Frozen::from_fn(2, &Device::default(), |x| {
        let score = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.55;
        Tensor::cat(vec![score.clone().neg(), score], 1)
    });
    let smoothing = Smoothing::new(0.3).with_selection_draws(200).with_draws(200).with_draws_a_batch(200);
    let image = Tensor::full([1, 1, 4, 4], 0.5, &Device::default());
    let mut differ = 0;
    for index in 0..20 {
        let mut tally = Tally::new(VALUES, 2);
        while smoothing.certificate(&tally).is_none() {
            smoothing.certify_more(&base, &image, index, &mut tally).unwrap();
        }
        differ += usize::from(tally.selection != tally.estimate);
    }
    assert!(differ >= 15, "{differ} of 20");
}

#[test]
fn unfinished_work_goes_on_to_the_same_certificate() {
    let base = victim::victim(2);
    let image = images(2).narrow(0, 0, 1);
    let smoothing = Smoothing::new(0.2).with_selection_draws(50).with_draws(300).with_draws_a_batch(40);
    let whole = smoothing.certify(&base, image.clone(), &[9]).unwrap();
    let mut tally = Tally::new(3 * 16 * 16, 2);
    let mut calls = 0;
    while smoothing.certificate(&tally).is_none() {
        // Another draws a batch after every resumption.
        let smoothing = smoothing.with_draws_a_batch(17 + calls);
        smoothing.certify_more(&base, &image, 9, &mut tally).unwrap();
        tally = serde_json::from_str(&serde_json::to_string(&tally).unwrap()).unwrap();
        calls += 1;
    }
    assert!(calls > 10);
    let found = smoothing.certificate(&tally).unwrap();
    assert_eq!(found, whole[0]);
    let read: Certificate = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
    assert_eq!(read, found);
    // Finished: nothing is drawn any more.
    let before = base.watch().queries();
    smoothing.certify_more(&base, &image, 9, &mut tally).unwrap();
    assert_eq!((base.watch().queries(), smoothing.certificate(&tally)), (before, Some(found)));

    let refused = |smoothing: Smoothing, mut tally: Tally| {
        let error = smoothing.certify_more(&base, &image, 9, &mut tally).unwrap_err();
        assert!(matches!(error, SmoothingError::Unfinished { .. }), "{error}");
        error.to_string()
    };
    let fewer = refused(smoothing.with_draws(200), tally.clone());
    assert_eq!(fewer, "draws of an unfinished image: expected at most 200 estimate draws, found 300");
    let more = refused(smoothing.with_selection_draws(60), tally.clone());
    assert!(more.contains("expected 60 selection draws before the first estimate, found 50"), "{more}");
    assert!(refused(smoothing, Tally::new(3 * 16 * 16, 4)).contains("expected 2 classes, found 4"));
    assert!(refused(smoothing, Tally::new(7, 2)).contains("expected 768 values an image, found 7"));
}

#[test]
fn progress_is_reported_and_a_stop_keeps_what_is_drawn() {
    let base = victim::victim(2);
    let image = images(2).narrow(0, 0, 1);
    let smoothing = Smoothing::new(0.2).with_draws(300).with_draws_a_batch(50);
    let (watch, reported) = (base.watch().clone(), Arc::new(AtomicUsize::new(0)));
    let (stop, seen) = (watch.clone(), Arc::clone(&reported));
    watch.on_step(move |step| {
        assert_eq!((step.attack.as_str(), step.total), ("randomized smoothing", 400));
        seen.store(step.done, Ordering::Relaxed);
        if step.done == 250 {
            stop.stop();
        }
    });
    let mut tally = Tally::new(3 * 16 * 16, 2);
    let stopped = loop {
        if let Err(error) = smoothing.certify_more(&base, &image, 1, &mut tally) {
            break error;
        }
    };
    assert_eq!(
        (stopped, tally.draws(), reported.load(Ordering::Relaxed)),
        (SmoothingError::Stopped, 250, 250)
    );
    assert_eq!(smoothing.certify(&base, image.clone(), &[1]), Err(SmoothingError::Stopped));
    watch.resume();
    watch.on_step(|_| {});
    while smoothing.certificate(&tally).is_none() {
        smoothing.certify_more(&base, &image, 1, &mut tally).unwrap();
    }
    assert_eq!(smoothing.certify(&base, image, &[1]).unwrap(), [smoothing.certificate(&tally).unwrap()]);
}

#[test]
fn hopeless_and_bad_settings_are_refused_before_any_work() {
    let base = victim::victim(2);
    let (image, smoothing) = (images(2).narrow(0, 0, 1), Smoothing::new(0.25));
    let certify = |s: Smoothing| s.certify(&base, image.clone(), &[0]).map(|_| ());
    let predict = |s: Smoothing| s.predict(&base, image.clone(), &[0]).map(|_| ());
    let hopeless = certify(smoothing.with_draws(9)).unwrap_err().to_string();
    assert_eq!(
        hopeless,
        "draws: expected at least log2(1 / alpha) to certify, found 9 at alpha 0.001: \
         every image would abstain"
    );
    let hopeless = predict(smoothing.with_draws(10)).unwrap_err().to_string();
    assert!(hopeless.contains("at least 1 + log2(1 / alpha) to predict, found 10"), "{hopeless}");
    let bad = [
        ("sigma", Smoothing::new(0.0)),
        ("sigma", Smoothing::new(f64::NAN)),
        ("alpha", smoothing.with_alpha(0.0)),
        ("alpha", smoothing.with_alpha(1.0)),
        ("alpha", smoothing.with_alpha(f64::NAN)),
        ("selection draws", smoothing.with_selection_draws(0)),
        ("draws", smoothing.with_draws(0)),
        ("draws a batch", smoothing.with_draws_a_batch(0)),
    ];
    for (name, settings) in bad {
        for error in [certify(settings), predict(settings)].map(Result::unwrap_err) {
            assert!(matches!(&error, SmoothingError::Parameter(e) if e.parameter == name), "{name}: {error}");
        }
    }
    let indices = smoothing.certify(&base, image.clone(), &[0, 1]);
    assert_eq!(indices, Err(SmoothingError::Count { images: 1, indices: 2 }));
    for value in [1.5, -0.1, f32::NAN] {
        let image =
            Tensor::cat(vec![image.clone(), Tensor::full([1, 3, 16, 16], value, &Device::default())], 0);
        let error = smoothing.predict(&base, image, &[0, 1]).unwrap_err();
        assert!(matches!(error, SmoothingError::ImageRange { image: 1, .. }), "{error}");
    }
    assert_eq!(base.watch().queries().forwards, 0);
    // The least that can answer at all.
    let sure =
        Frozen::from_fn(2, &Device::default(), |x| x.mean_dims(&[2, 3]).narrow(1, 0, 2).reshape([-1, 2]));
    let image = Tensor::cat(
        vec![Tensor::zeros([1, 1, 4, 4], &Device::default()), Tensor::ones([1, 1, 4, 4], &Device::default())],
        1,
    );
    let quiet = Smoothing::new(1e-3);
    assert_eq!(quiet.with_draws(10).certify(&sure, image.clone(), &[0]).unwrap()[0].class, Some(1));
    assert_eq!(quiet.with_draws(11).predict(&sure, image, &[0]).unwrap()[0].class, Some(1));
}

/// Name and range of each row of the table of parameters in a type's documentation.
fn table(source: &str) -> Vec<(String, String)> {
    let lines = source.lines().skip_while(|line| *line != "/// | parameter | default | range |");
    let rows = lines.map_while(|line| line.strip_prefix("/// |")?.strip_suffix('|'));
    let row = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        (cells[0].to_string(), cells[2].replace('\\', ""))
    };
    rows.map(row).collect()
}

#[test]
fn documented_ranges_are_the_ones_that_are_checked() {
    let smoothing = Smoothing::new(0.25);
    let rows = table(include_str!("../src/defense/smoothing/smoothing.rs"));
    let attack = SmoothAdv::new(Budget::l2(1.0), 0.25);
    let base = victim::victim(2);
    let task = Task::new(&base, images(2), &Goal::untargeted(labels(2)), attack.profile()).unwrap();
    let cases = [
        (rows.clone(), smoothing.parameters()),
        (rows, smoothing.prediction_parameters()),
        (table(include_str!("../src/defense/smoothing/smooth_adv.rs")), attack.parameters(&task)),
    ];
    for (rows, parameters) in cases {
        for parameter in parameters {
            let (name, range) = (parameter.name(), parameter.range());
            let documented = rows.iter().any(|row| row.0 == name && row.1.contains(range));
            assert!(documented, "no row `| {name} | .. | {range} |`");
        }
    }
    let text = serde_json::to_value(smoothing).unwrap();
    assert_eq!(serde_json::from_value::<Smoothing>(text).unwrap(), smoothing);
    let text = serde_json::to_value(attack).unwrap();
    assert_eq!(serde_json::from_value::<SmoothAdv>(text).unwrap(), attack);
}

/// Images that are certified with the trained network of two classes, with certificates and indices.
fn certified(base: &Frozen, smoothing: Smoothing, count: usize) -> Vec<(Tensor<4>, Certificate, u64)> {
    let found = smoothing.certify(base, images(2), &indices(32)).unwrap();
    let rows = found.into_iter().enumerate().filter(|(_, certificate)| certificate.radius.size() > 0.03);
    let one = |(row, certificate)| (images(2).narrow(0, row, 1), certificate, row as u64);
    let rows: Vec<_> = rows.map(one).take(count).collect();
    assert_eq!(rows.len(), count, "certified images");
    rows
}

#[test]
fn no_attack_breaks_a_certificate_and_attacks_beyond_it_do() {
    let smoothing = Smoothing::new(0.1).with_draws(1000).with_draws_a_batch(500);
    let judge = smoothing.with_draws(500);
    let base = victim::victim(2);
    let soft = smoothing.classifier(victim::victim(2), 32).unwrap();
    let (mut beyond, mut attacks) = (0, 0);
    for (image, certificate, index) in certified(&base, smoothing, 20) {
        let class = certificate.class.unwrap();
        let goal = Goal::untargeted([class]).with_indices(vec![index]);
        let radius = certificate.radius.size();
        for (size, inside) in [(radius, true), (6.0 * radius, false)] {
            let budget = Budget::l2(size);
            let pgd = Pgd::new(budget).with_early_stop(false).perturb(&soft, image.clone(), &goal).unwrap();
            let adv = SmoothAdv::new(budget, smoothing.sigma).with_draws(32);
            let adv = adv.perturb(&base, image.clone(), &goal).unwrap();
            for adversarial in [pgd, adv] {
                let length: f32 = Norm::L2.measure(adversarial.clone() - image.clone()).into_scalar();
                assert!(
                    budget.holds(f64::from(length)) && f64::from(length) > 0.5 * size,
                    "{length} of {size}"
                );
                // From draws of its own: what smoothing answers there.
                let answer = &judge.predict(&base, adversarial, &[1000 + index]).unwrap()[0];
                let broken = answer.class.is_some_and(|found| found != class);
                assert!(!(inside && broken), "image {index}: {answer:?} within {}", certificate.radius);
                beyond += usize::from(!inside && broken);
                attacks += usize::from(!inside);
            }
        }
    }
    assert!(beyond * 2 > attacks, "{beyond} of {attacks} attacks beyond the radius succeed");
}

#[test]
fn training_noise_without_clipping_is_the_noise_of_the_smoothing() {
    // The same moments, so that a base trained with one is smoothed with the other.
    let sigma = 0.2;
    let grey = Tensor::<4>::full([64, 1, 16, 16], 0.5, &Device::default());
    let noise =
        GaussianNoise::new(sigma).with_clip(false).noisy(grey.clone(), &indices(64), 1).unwrap() - 0.5;
    let deviation = |values: &[f32]| {
        (values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
    };
    // Probability of a single pixel above 0.5 + sigma under the smoothing's noise: 1 - Phi(1).
    let above = Frozen::from_fn(2, &Device::default(), move |x| {
        let first = x.narrow(2, 0, 1).narrow(3, 0, 1).reshape([-1, 1]) - (0.5 + sigma);
        Tensor::cat(vec![first.clone().neg(), first], 1)
    });
    let smoothing = Smoothing::new(sigma).with_draws(20_000).with_draws_a_batch(5000);
    let image = Tensor::full([1, 1, 2, 2], 0.5, &Device::default());
    let counts = smoothing.predict(&above, image, &[0]).unwrap().remove(0).counts;
    // Five standard errors of 16,384 and 20,000 draws.
    assert!((deviation(&values(noise)) / sigma - 1.0).abs() < 5.0 / (2.0f64 * 16_384.0).sqrt());
    assert!(
        (counts.classes[1] as f64 / 20_000.0 - 0.158_655_254).abs() < 5.0 * (0.1335f64 / 20_000.0).sqrt()
    );
}

#[test]
fn the_smoothed_classifier_is_the_mean_over_its_copies() {
    let smoothing = Smoothing::new(0.3).with_seed(2);
    let linear = Linear::new();
    let x = random_images(3);
    let soft = |copies| smoothing.classifier(linear.frozen(), copies).unwrap();
    // Its noise through the logits of one copy: the linear score at the noisy image, minus that at the image.
    let score = |logits: Tensor<2>| -> Vec<f64> {
        values(logits).chunks(2).map(|row| (f64::from(row[1]) - f64::from(row[0])) / 2.0).collect()
    };
    let shift: Vec<f64> = score(soft(1).logits(x.clone()))
        .iter()
        .zip(score(linear.frozen().logits(x.clone())))
        .map(|(noisy, clean)| noisy - clean)
        .collect();
    assert!(
        shift[0].abs() > 1e-3 && shift.iter().all(|s| (s - shift[0]).abs() < 1e-5),
        "the same for all: {shift:?}"
    );
    let whole = values(soft(16).logits(x.clone()));
    let alone = values(soft(16).logits(x.clone().narrow(0, 1, 1)));
    assert_eq!(whole[2..4], alone);
    assert_eq!(values(soft(16).logits(x.clone())), whole, "at every query");
    let other = smoothing.with_seed(3).classifier(linear.frozen(), 16).unwrap();
    assert_ne!(values(other.logits(x.clone())), whole);
    // Central differences of the loss of the smoothed classifier.
    let victim = soft(16);
    let loss = |x: Tensor<4>| {
        let logits = victim.logits(x);
        values(Goal::untargeted([0, 1, 0]).objective(logits)).iter().map(|v| f64::from(*v)).sum::<f64>()
    };
    let goal = Goal::untargeted([0, 1, 0]);
    let gradient = values(victim.input_gradient(x.clone(), |logits| goal.objective(logits)).gradient);
    for place in [0, 5, 21, 47] {
        let mut step = vec![0f32; 3 * VALUES];
        step[place] = 0.02;
        let step = Tensor::<4>::from_data(TensorData::new(step, [3, 1, 4, 4]), &Device::default());
        let slope = (loss(x.clone() + step.clone()) - loss(x.clone() - step)) / 0.04;
        assert!((slope - f64::from(gradient[place])).abs() < 2e-4, "{slope} {}", gradient[place]);
    }
    let queries = victim.watch().queries();
    assert_eq!(queries.gradients, 3 * 16);
    let none = smoothing.classifier(linear.frozen(), 0).unwrap_err().to_string();
    assert_eq!(none, "copies: expected at least 1, found 0");
}

#[test]
fn smooth_adv_does_not_depend_on_the_batch_and_keeps_to_its_budget() {
    let base = victim::victim(4);
    let (x, y) = (images(4).narrow(0, 0, 5), &labels(4)[..5]);
    let attack = SmoothAdv::new(Budget::l2(0.8), 0.2).with_steps(3).with_draws(4);
    for goal in
        [Goal::untargeted(y), Goal::targeted(y.iter().map(|label| (label + 1) % 4).collect::<Vec<_>>())]
    {
        let goal = goal.with_indices(vec![11, 12, 13, 14, 15]);
        let together = attack.perturb(&base, x.clone(), &goal).unwrap();
        let lengths = values(Norm::L2.measure(together.clone() - x.clone()));
        assert!(lengths.iter().all(|&length| length > 0.7 && Budget::l2(0.8).holds(f64::from(length))));
        assert!(values(together.clone()).iter().all(|v| (0.0..=1.0).contains(v)));
        let alone = attack.perturb(&base, x.clone().narrow(0, 2, 1), &goal.select(&[2])).unwrap();
        let off = largest_difference(&values(together.clone().narrow(0, 2, 1)), &values(alone));
        assert!(off < 1e-6, "{off}");
        let loss = |x: Tensor<4>| values(goal.objective(base.logits(x))).iter().sum::<f32>();
        assert!(loss(together.clone()) > loss(x.clone()));
        let other = attack.with_seed(1).perturb(&base, x.clone(), &goal).unwrap();
        assert!(largest_difference(&values(other), &values(together)) > 1e-3);
    }
    assert_eq!(base.watch().queries().gradients, 2 * (2 * 5 + 1) * 12);
    let refused =
        SmoothAdv::new(Budget::pixels(8.0), 0.2).perturb(&base, x, &Goal::untargeted(y)).unwrap_err();
    assert_eq!(refused.to_string(), "norm: expected L2, found Linf");
}

#[test]
fn radii_say_what_they_are_worth() {
    let radius = Radius::new(0.5, 3 * 224 * 224);
    assert_eq!(radius.to_string(), "L2 0.5 (all of Linf 0.328626/255)");
    // Any perturbation of that budget is that long at most.
    let corner = radius.linf.size() * (3.0f64 * 224.0 * 224.0).sqrt();
    assert!((corner - radius.size()).abs() < 1e-9);
}
