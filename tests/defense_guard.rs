//! Thresholds at the rates that they promise, and guards counted by hand.

mod small;

use std::sync::Arc;

use histoguard::data::{DataError, LabeledImages};
use histoguard::defense::detector::*;
use histoguard::prelude::*;
use histoguard::random::{Purpose, RngExt, generator};
use serde::Serialize;
use small::{Plain, Shade, bright, linf};

fn device() -> Device {
    Device::default()
}

fn set(images: Tensor<4>, labels: Vec<usize>, classes: usize) -> TensorSet {
    TensorSet::new(images, labels, (0..classes).map(|class| format!("class {class}")).collect()).unwrap()
}

/// How bright an image is.
#[derive(Debug, Serialize)]
struct Brightness;

impl Detector for Brightness {
    fn name(&self) -> String {
        "brightness".into()
    }

    fn score(&self, images: Tensor<4>) -> Tensor<1> {
        images.mean_dims(&[1, 2, 3]).reshape([-1])
    }
}

/// Images of one pixel, with their slides.
struct Slides {
    images: TensorSet,
    groups: Vec<String>,
}

impl Slides {
    fn new(slides: &[Vec<f32>]) -> Self {
        let values = slides.concat();
        let pixels = Tensor::<1>::from_floats(values.as_slice(), &device()).reshape([-1, 1, 1, 1]);
        let group = |(slide, images): (usize, &Vec<f32>)| vec![format!("slide {slide}"); images.len()];
        let groups = slides.iter().enumerate().flat_map(group).collect();
        Self { images: set(pixels, vec![0; values.len()], 2), groups }
    }
}

impl LabeledImages for Slides {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn classes(&self) -> &[String] {
        self.images.classes()
    }

    fn label(&self, position: usize) -> usize {
        self.images.label(position)
    }

    fn group(&self, position: usize) -> String {
        self.groups[position].clone()
    }

    fn name(&self, position: usize) -> String {
        self.images.name(position)
    }

    fn batch(&self, positions: &[usize], device: &Device) -> Result<Batch, DataError> {
        self.images.batch(positions, device)
    }
}

/// Slides of 1 to 8 images whose brightness hangs together; the large ones are darker.
fn slides(count: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut rng = generator(Purpose::named("slides"), seed, &[]);
    let mut slide = || {
        let size = rng.random_range(1..=8usize);
        let own: f32 = rng.random::<f32>() - 0.05 * size as f32;
        (0..size).map(|_| own + 0.1 * rng.random::<f32>()).collect()
    };
    (0..count).map(|_| slide()).collect()
}

#[test]
fn new_slides_give_alarm_as_often_as_promised() {
    const RATE: f64 = 0.1;
    const REPEATS: u64 = 200;
    let (mut rates, mut naive) = (Vec::new(), 0.0);
    for repeat in 0..REPEATS {
        let benign = slides(39, 2 * repeat);
        let calibration = Calibration::new(RATE).with_batch_size(64);
        let alarm = calibration.alarm(Arc::new(Brightness), &Slides::new(&benign), &device()).unwrap();
        assert_eq!((alarm.threshold.slides, alarm.threshold.images), (39, benign.concat().len()));
        let fresh = slides(60, 2 * repeat + 1);
        let above = |threshold: f64| {
            let share = |slide: &Vec<f32>| {
                slide.iter().filter(|score| f64::from(**score) > threshold).count() as f64
                    / slide.len() as f64
            };
            fresh.iter().map(share).sum::<f64>() / fresh.len() as f64
        };
        rates.push(above(alarm.threshold.value));
        let mut all = benign.concat();
        all.sort_by(f32::total_cmp);
        naive += above(f64::from(all[((all.len() + 1) as f64 * (1.0 - RATE)).ceil() as usize - 1]))
            / REPEATS as f64;
    }
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / (rates.len() - 1) as f64;
    let error = (variance / rates.len() as f64).sqrt();
    // At most the rate, and short of it by no more than the weight of a slide.
    assert!(mean <= RATE + 4.0 * error && mean >= RATE - 1.0 / 40.0 - 4.0 * error, "{mean} +- {error}");
    // The quantile over images, which lets slides with many of them speak for all, promises too much.
    assert!(naive > RATE + 4.0 * error, "{naive} +- {error}");
}

#[test]
fn calibration_refuses_before_it_scores() {
    #[derive(Debug, Serialize)]
    struct Untouched;
    impl Detector for Untouched {
        fn name(&self) -> String {
            "untouched".into()
        }
        fn score(&self, _: Tensor<4>) -> Tensor<1> {
            panic!("scored")
        }
    }
    let few = Slides::new(&slides(9, 0));
    let alarm = |calibration: Calibration| {
        calibration.alarm(Arc::new(Untouched), &few, &device()).unwrap_err().to_string()
    };
    let error = alarm(Calibration::new(0.05));
    assert!(error.contains("expected at least 19 slides of clean images, found 9"), "{error}");
    assert!(alarm(Calibration::new(1.0)).starts_with("rate: expected a number above 0 and below 1"));
    assert_eq!(alarm(Calibration::new(0.5).with_batch_size(0)), "batch size: expected at least 1, found 0");
    let bad = Slides::new(&[vec![0.5], vec![f32::NAN]]);
    let error = Calibration::new(0.5).alarm(Arc::new(Brightness), &bad, &device()).unwrap_err();
    assert_eq!(error.to_string(), "brightness of image 1: expected a finite score, found NaN");
}

/// Fires for images further from grey than this.
fn far_from_grey(threshold: f64) -> Alarm {
    let grey = ImageMap::new("grey", |x| x * 0.0 + 0.5);
    let detector = Arc::new(ReconstructionError::new(grey, 1).unwrap());
    Alarm {
        detector,
        threshold: Threshold { value: threshold, rate: 0.25, median: 0.0, images: 3, slides: 3 },
    }
}

#[test]
fn guards_are_counted_by_hand() {
    // Brightness 0.1, 0.3, 0.45, 0.55 (class 0) and 0.4, 0.6, 0.65, 0.9 (class 1), class 1 from 0.5 up: the
    // fourth and the fifth are wrong. Alarms at 0.16 from grey: the first, the second and the last.
    let guard = Guard::new(bright(), vec![far_from_grey(0.16)]).unwrap();
    // The right ones go to 0.32 (right, rejected), 0.52 (lost), 0.67 (rejected), 0.38, 0.43 (both lost), 0.68
    // (right, rejected).
    let shade = Shade { budget: linf(0.22), ..Shade::new(None) };
    let report = guard.report(&Plain::eight(), &[&shade], 3).unwrap();
    let hits = |proportion: &histoguard::statistics::Proportion| (proportion.hits, proportion.total);
    let clean = &report.clean;
    assert_eq!((hits(&clean.false_alarms), hits(&clean.accuracy)), ((3, 8), (3, 8)));
    assert_eq!(hits(&clean.bare_accuracy), (6, 8));
    let classes: Vec<_> = report.classes.iter().map(|c| (hits(&c.false_alarms), hits(&c.accuracy))).collect();
    assert_eq!(classes, [((2, 4), (1, 4)), ((1, 4), (2, 4))]);
    assert_eq!(report.classes[1].class.as_deref(), Some("malignant"));
    assert_eq!(hits(&report.detectors[0].false_alarms), (3, 8));
    assert_eq!(report.joint_rate, 0.25);
    let under = &report.attacks[0];
    assert_eq!((hits(&under.robust_accuracy), hits(&under.worst_case)), ((3, 8), (1, 8)));
    assert_eq!((hits(&under.bare_accuracy), hits(&under.detected)), ((2, 8), (1, 4)));
    assert_eq!(under.classes.iter().map(hits).collect::<Vec<_>>(), [(2, 4), (1, 4)]);
    // Of 0.02, 0.17, 0.07 and 0.12 against 0.4, 0.2, 0.05, 0.05, 0.1, 0.1, 0.15 and 0.4: 0 + 5 + 2 + 4 of 32.
    assert_eq!((under.detectors[0].auroc, under.detectors[0].found_at_5_percent), (Some(0.34375), Some(0.0)));
    assert_eq!(guard.report(&Plain::eight(), &[&shade], 8).unwrap(), report, "in other batches");
    let text = serde_json::to_value(&report).unwrap();
    assert_eq!(text["attacks"][0]["attack"], "shade");
    assert_eq!(text["detectors"][0]["settings"]["power"], 1);
}

#[test]
fn joint_alarms_add_up_and_nan_is_rejected() {
    let guard = Guard::new(bright(), vec![far_from_grey(0.3), far_from_grey(0.2)]).unwrap();
    let answers =
        guard.answers(Tensor::<1>::from_floats([0.1, 0.25, 0.6, f32::NAN], &device()).reshape([4, 1, 1, 1]));
    let alarms: Vec<_> = answers.iter().map(|answer| (answer.alarms.clone(), answer.is_accepted())).collect();
    let expected = [(vec![true, true], false), (vec![false, true], false), (vec![false, false], true)];
    assert_eq!(alarms[..3], expected);
    assert_eq!((answers[3].class, answers[3].is_accepted()), (None, false));
    assert!(answers[2].is_accepted_as(1) && !answers[2].is_accepted_as(0));
    assert_eq!(Guard::new(bright(), vec![]).unwrap_err().to_string(), "alarms: expected at least 1, found 0");
}

#[test]
fn attacks_that_leave_their_budget_are_refused() {
    let guard = Guard::new(bright(), vec![far_from_grey(0.3)]).unwrap();
    let wild = small::Steps { size: Some(0.4), ..small::Steps::new(1) };
    // `Steps` projects; `Shade` with a lying budget does not.
    let honest = guard.report(&Plain::eight(), &[&small::Steps { budget: linf(0.1), ..wild }], 8);
    assert!(honest.is_ok());
    #[derive(Debug, Serialize)]
    struct Liar(Shade);
    impl Attack for Liar {
        fn profile(&self) -> histoguard::attack::Profile {
            histoguard::attack::Profile {
                aim: histoguard::attack::Aim::Within(linf(0.1)),
                ..self.0.profile()
            }
        }
        fn parameters(&self, _: &histoguard::attack::Task<'_>) -> Vec<histoguard::parameter::Parameter> {
            vec![]
        }
        fn at(&self, _: Budget) -> Box<dyn Attack> {
            unreachable!()
        }
        fn craft(&self, task: histoguard::attack::Task<'_>) -> Result<Tensor<4>, AttackError> {
            self.0.craft(task)
        }
    }
    let liar = Liar(Shade { budget: linf(0.22), ..Shade::new(None) });
    let error = guard.report(&Plain::eight(), &[&liar], 8).unwrap_err().to_string();
    assert!(
        error.starts_with("shade: expected finite images [6, 3, 12, 12] in [0,1] within Linf 25.5/255"),
        "{error}"
    );
    assert!(error.contains("found a change of 0.22"), "{error}");
}
