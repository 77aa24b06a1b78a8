//! Figures decoded from their PNG files.
#![cfg(feature = "figures")]

use histoguard::attack::{Aim, Goals, Profile, Task};
use histoguard::classifier::Queries;
use histoguard::data::TensorSet;
use histoguard::parameter::Parameter;
use histoguard::prelude::*;
use histoguard::report::figures::{
    AccuracyCurves, AccuracyOverEpsilon, AdversarialExample, AdversarialPanel, Figure, NoisePanel,
};
use histoguard::report::{EpochMetrics, History};
use image::RgbImage;

const BLUE: [u8; 3] = [0, 114, 178];
const VERMILLION: [u8; 3] = [213, 94, 0];
const GREEN: [u8; 3] = [0, 158, 115];
const ORANGE: [u8; 3] = [230, 159, 0];

/// Saves into a folder of the test, reads back, and looks at what every figure must hold.
fn decoded(figure: &dyn Figure, name: &str) -> RgbImage {
    let folder = tempfile::tempdir().unwrap();
    // Kept where this variable says, to be looked at.
    let folder = std::env::var_os("HISTOGUARD_FIGURES").map_or(folder.path().to_path_buf(), Into::into);
    let path = folder.join("new folder").join(format!("{name}.png"));
    figure.save(&path).unwrap();
    let image = image::open(&path).unwrap().into_rgb8();
    let (width, height) = image.dimensions();
    let edge = |x, y| x < 8 || y < 8 || x >= width - 8 || y >= height - 8;
    for (x, y, pixel) in image.enumerate_pixels() {
        assert!(!edge(x, y) || pixel.0 == [255; 3], "{name}: something runs off the picture at {x}, {y}");
    }
    image
}

fn count(image: &RgbImage, color: [u8; 3]) -> usize {
    image.pixels().filter(|p| p.0 == color).count()
}

fn tissue(seed: f32, side: usize) -> Tensor<3> {
    let device = Device::default();
    let pixels: Vec<f32> = (0..3 * side * side)
        .map(|i| {
            let (c, y, x) = (i / (side * side), i / side % side, i % side);
            let wave = ((x as f32 * 0.13 + seed).sin() * (y as f32 * 0.09 - seed).cos() + 1.0) / 2.0;
            [0.75 + 0.2 * wave, 0.45 + 0.4 * wave, 0.7 + 0.2 * wave][c].clamp(0.0, 1.0)
        })
        .collect();
    Tensor::<1>::from_floats(pixels.as_slice(), &device).reshape([3, side, side])
}

fn noise(image: &Tensor<3>, size: f32) -> Tensor<3> {
    let [c, h, w] = image.dims();
    let mut state = 7u32;
    let noise: Vec<f32> = (0..c * h * w)
        .map(|_| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            size * ((state >> 8) as f32 / 8388608.0 - 1.0)
        })
        .collect();
    let noise = Tensor::<1>::from_floats(noise.as_slice(), &image.device()).reshape([c, h, w]);
    (image.clone() + noise).clamp(0.0, 1.0)
}

fn history(epochs: usize, best: f64) -> History {
    let epochs = (1..=epochs)
        .map(|epoch| {
            let t = 1.0 - (-(epoch as f64) / (1.0 + epochs as f64 / 5.0)).exp();
            let wobble = 0.04 * (epoch as f64 * 1.7).sin();
            EpochMetrics {
                epoch,
                train_accuracy: Some(0.5 + (best - 0.5) * t),
                validation_accuracy: Some((0.5 + (best - 0.53) * t + wobble).clamp(0.0, 1.0)),
                ..Default::default()
            }
        })
        .collect();
    History { epochs, ..Default::default() }
}

/// Moves every image towards the other class by its budget.
#[derive(Clone, Copy, Debug, serde::Serialize)]
struct Towards(Budget);

impl Attack for Towards {
    fn profile(&self) -> Profile {
        Profile {
            name: "FGSM".into(),
            aim: Aim::Within(self.0),
            goals: Goals::Any,
            access: Access::Gradients,
            steps: Some(1),
            queries: Some(Queries::NONE),
            mask: None,
        }
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        Vec::new()
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self(budget))
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        None
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        let away: Vec<f32> = task.goal().classes().iter().map(|&c| if c == 1 { -1.0 } else { 1.0 }).collect();
        let images = task.images();
        let away = Tensor::<1>::from_floats(away.as_slice(), &images.device()).reshape([-1, 1, 1, 1]);
        Ok((images + away * self.0.size()).clamp(0.0, 1.0))
    }
}

/// 60 images whose distances from a boundary at `threshold` are spread over `spread`.
fn result(threshold: f32, spread: f32, levels: &[f64]) -> EvaluationResult {
    let device = Device::default();
    let labels: Vec<usize> = (0..60).map(|i| i % 2).collect();
    let away = |i: usize| if i % 2 == 1 { 1.0 } else { -1.0 } * (i as f32 / 60.0) * spread;
    let values: Vec<f32> = (0..60).map(|i| (0.5 + away(i)).clamp(0.0, 1.0)).collect();
    let images = Tensor::<1>::from_floats(values.as_slice(), &device).reshape([60, 1, 1, 1]);
    let data = TensorSet::new(images, labels, vec!["benign".into(), "malignant".into()]).unwrap();
    let victim = Frozen::from_fn(2, &device, move |x| {
        let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - threshold;
        Tensor::cat(vec![bright.clone().neg(), bright], 1)
    });
    Evaluation::new(&victim)
        .attack(Towards(Budget::pixels(0.0)))
        .budgets(levels.iter().map(|&level| Budget::pixels(level)))
        .run(&data)
        .unwrap()
}

/// Where plot areas are: rectangles outlined in ink.
fn ink_inside_plots(image: &RgbImage) -> (usize, usize) {
    let ink = |x: u32, y: u32| image.get_pixel(x, y).0 == [34; 3];
    let (width, height) = image.dimensions();
    let (mut plots, mut dark) = (0, 0);
    // The top edge of a plot is the first long run of ink in its columns.
    for y in 0..height {
        let mut x = 0;
        while x < width {
            let run = (x..width).take_while(|&x| ink(x, y)).count() as u32;
            let top = run > 200 && (y == 0 || !ink(x + 50, y - 1)) && y + 100 < height && ink(x, y + 50);
            if top {
                plots += 1;
                let bottom =
                    (y + 1..height).find(|&b| ink(x + run / 2, b) && ink(x + run / 2 + 1, b)).unwrap();
                dark += (y + 1..bottom)
                    .flat_map(|y| (x + 1..x + run - 1).map(move |x| (x, y)))
                    .filter(|&(x, y)| image.get_pixel(x, y).0.iter().all(|&v| v < 80))
                    .count();
            }
            x += run.max(1);
        }
    }
    (plots, dark)
}

#[test]
fn accuracy_over_epsilon_shows_both_models_in_three_clean_plots() {
    let many = [0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0];
    for (name, levels) in [
        ("sweep_usual", &[0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0][..]),
        ("sweep_two", &[0.0, 8.0]),
        ("sweep_one", &[8.0]),
        ("sweep_many", &many),
        ("sweep_even", &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]),
        ("sweep_clean_only", &[0.0]),
    ] {
        let (original, defense) = (result(0.5, 0.06, levels), result(0.46, 0.1, levels));
        let models = [("original", &original), ("defense: Gaussian noise, sigma 0.1", &defense)];
        let figure = AccuracyOverEpsilon::new(Norm::Linf, models);
        let image = decoded(&figure, name);
        assert_eq!(ink_inside_plots(&image), (3, 0), "{name}");
        assert!(count(&image, BLUE) > 200 && count(&image, VERMILLION) > 200, "{name}");
    }
    let levels = [0.0, 1.0, 2.0];
    let (right, malignant) = (result(0.5, 0.9, &levels), result(-9.0, 0.9, &levels));
    let long = "always malignant, with a name that is far too long to stand in one line of a legend of a \
                figure and then some more of it for good measure";
    let ends = AccuracyOverEpsilon::new(Norm::Linf, [("always right", &right), (long, &malignant)]);
    assert_eq!(ink_inside_plots(&decoded(&ends, "sweep_ends")), (3, 0));
}

#[test]
fn accuracy_curves_show_both_models() {
    for (name, epochs) in [("curves_12", 12), ("curves_1", 1), ("curves_400", 400), ("curves_2", 2)] {
        let figure = AccuracyCurves::new([
            ("original", history(epochs, 0.99)),
            ("defense: Gaussian noise, sigma 0.1", history(epochs, 0.93)),
        ])
        .synthetic(epochs == 12);
        let image = decoded(&figure, name);
        assert_eq!(ink_inside_plots(&image), (2, 0), "{name}");
        assert!(count(&image, GREEN) > 100 && count(&image, ORANGE) > 100, "{name}");
    }
}

#[test]
fn noise_panel_shows_the_pixels_themselves() {
    let original = tissue(0.3, 224);
    let figure = NoisePanel::new(original.clone(), noise(&original, 0.17), "sigma 0.1").synthetic(true);
    let image = decoded(&figure, "noise");
    assert!(count(&image, ORANGE) > 2000 && count(&image, VERMILLION) > 100);

    // One colour in, the same colour out, at full size and enlarged.
    let plain = Tensor::<3>::full([3, 20, 20], 0.2, &Device::default());
    let image = decoded(&NoisePanel::new(plain.clone(), plain, "none"), "noise_plain");
    assert!(count(&image, [51; 3]) > 4 * 400 * 400 - 4 * 5000);
    assert_eq!(count(&image, VERMILLION), 0, "a stamp without synthetic images");
    let wide = Tensor::<3>::full([1, 460, 700], 0.6, &Device::default());
    decoded(
        &NoisePanel::new(wide.clone(), noise(&wide, 0.2), "sigma 0.12").zoom([10, 20, 90, 60]),
        "noise_wide",
    );
}

#[test]
fn adversarial_panel_magnifies_the_difference() {
    let example = |seed: f32, name: &str, after: &str| {
        let original = tissue(seed, 96);
        AdversarialExample {
            name: name.into(),
            truth: "malignant".into(),
            adversarial: noise(&original, 8.0 / 255.0),
            original,
            before: ("malignant".into(), 0.983),
            after: (after.into(), 0.874),
        }
    };
    let long =
        "SOB_M_DC-14-15572-100-007.png and a description that goes on until it no longer fits in the row";
    let examples = vec![
        example(0.1, "SOB_M_DC-14-2523-100-011.png", "benign"),
        example(2.0, long, "malignant"),
        example(4.0, "image 3", "a class with a name that is much longer than the picture is wide"),
    ];
    let panel = AdversarialPanel::new("FGSM, epsilon 8/255, original model", examples).synthetic(true);
    decoded(&panel, "adversarial");

    // A change of +10/255 and -10/255 is magnified 12 times (0.5 / (10/255), floored) around grey.
    let device = Device::default();
    let original = Tensor::<3>::full([3, 20, 20], 100.0 / 255.0, &device);
    let adversarial = Tensor::cat(
        vec![
            Tensor::full([3, 20, 10], 110.0 / 255.0, &device),
            Tensor::full([3, 20, 10], 90.0 / 255.0, &device),
        ],
        2,
    );
    let (before, after) = (("a".to_string(), 1.0), ("b".to_string(), 1.0));
    let (name, truth) = ("plain".to_string(), "a".to_string());
    let example = AdversarialExample { name, truth, original, adversarial, before, after };
    let image = decoded(&AdversarialPanel::new("plain", vec![example]), "adversarial_plain");
    for level in [110, 90, 248, 8] {
        assert_eq!(count(&image, [level; 3]) / 1000, 320 * 160 / 1000, "level {level}");
    }
}
