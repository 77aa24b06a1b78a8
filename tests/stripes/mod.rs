//! Images like those that the small network for two classes was trained on.

use std::f32::consts::PI;

use histoguard::prelude::*;
use histoguard::random::{Purpose, RngExt, generator};
use rand_distr::{Distribution, StandardNormal};

/// Images as those that the network of `golden/attacks/victim.py` was trained on, drawn here.
pub fn stripes(count: usize, seed: u64) -> TensorSet {
    let image = |number: usize| {
        let mut rng = generator(Purpose::named("stripes"), seed, &[number as u64]);
        let angle = (number % 2) as f32 * PI / 2.0 + (rng.random::<f32>() - 0.5) * 0.3;
        let (frequency, phase) = (0.9 + 0.4 * rng.random::<f32>(), 6.3 * rng.random::<f32>());
        let channels: Vec<(f32, f32)> =
            (0..3).map(|_| (0.3 + 0.4 * rng.random::<f32>(), 0.04 + 0.14 * rng.random::<f32>())).collect();
        let mut pixels = Vec::with_capacity(3 * 256);
        for (base, color) in channels {
            for (y, x) in (0..16).flat_map(|y| (0..16).map(move |x| (y as f32, x as f32))) {
                let wave = ((x * angle.cos() + y * angle.sin()) * frequency + phase).sin();
                let noise: f32 = StandardNormal.sample(&mut rng);
                pixels.push(((base + color * wave + 0.12 * noise).clamp(0.0, 1.0) * 255.0).round() / 255.0);
            }
        }
        pixels
    };
    let pixels: Vec<f32> = (0..count).flat_map(image).collect();
    let images = Tensor::<1>::from_floats(pixels.as_slice(), &Device::default()).reshape([count, 3, 16, 16]);
    set(images, (0..count).map(|number| number % 2).collect())
}

/// Of the two classes of that network.
pub fn set(images: Tensor<4>, labels: Vec<usize>) -> TensorSet {
    TensorSet::new(images, labels, vec!["across".into(), "down".into()]).unwrap()
}
