//! A classifier of brightness, images and attacks on it whose outcomes are computed by hand.
#![allow(dead_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use histoguard::attack::{Access, Attack, AttackError};
use histoguard::data::{Batch, DataError, LabeledImages};
use histoguard::prelude::*;

/// Mean brightness of eight images; class 1 from 0.5 up. 0.55 and 0.4 are wrong without attack; the others
/// are 0.4, 0.2, 0.05 (benign) and 0.1, 0.15, 0.4 (malignant) away from the boundary.
pub const BRIGHTNESS: [f32; 8] = [0.1, 0.3, 0.45, 0.55, 0.4, 0.6, 0.65, 0.9];
pub const LABELS: [usize; 8] = [0, 0, 0, 0, 1, 1, 1, 1];

/// Plain images by brightness, two a slide.
#[derive(Clone)]
pub struct Plain {
    pub brightness: Vec<f32>,
    pub labels: Vec<usize>,
    classes: Vec<String>,
}

impl Plain {
    pub fn new(brightness: &[f32], labels: &[usize]) -> Self {
        let classes = vec!["benign".into(), "malignant".into()];
        Self { brightness: brightness.to_vec(), labels: labels.to_vec(), classes }
    }

    pub fn eight() -> Self {
        Self::new(&BRIGHTNESS, &LABELS)
    }
}

impl LabeledImages for Plain {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, position: usize) -> usize {
        self.labels[position]
    }

    fn group(&self, position: usize) -> String {
        format!("slide {}", position / 2)
    }

    fn name(&self, position: usize) -> String {
        format!("{position}.png")
    }

    fn batch(&self, positions: &[usize], device: &Device) -> Result<Batch, DataError> {
        let labels: Vec<i64> = positions.iter().map(|&p| self.labels[p] as i64).collect();
        let values: Vec<f32> = positions.iter().map(|&p| self.brightness[p]).collect();
        let count = positions.len();
        let images = Tensor::<1>::from_floats(values.as_slice(), device).reshape([count, 1, 1, 1]);
        Ok(Batch {
            images: images.expand([count, 3, 12, 12]),
            labels: Tensor::from_data(labels.as_slice(), device),
            indices: positions.iter().map(|&p| p as u64).collect(),
            epoch: 0,
        })
    }
}

/// Class 1 where this function of the mean brightness is positive.
pub fn by_brightness(score: impl Fn(Tensor<2>) -> Tensor<2> + Send + 'static) -> Frozen {
    Frozen::from_fn(2, &Device::default(), move |x| {
        let score = score(x.mean_dims(&[1, 2, 3]).reshape([-1, 1]));
        Tensor::cat(vec![score.clone().neg(), score], 1)
    })
}

/// Class 1 from 0.5 up.
pub fn bright() -> Frozen {
    by_brightness(|mean| (mean - 0.5) * 10.0)
}

/// Follows the sign of the gradient in equal steps.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    pub epsilon: Epsilon,
    /// On the [0,1] scale; by default the steps go through the budget twice.
    pub size: Option<f64>,
    pub steps: usize,
}

impl Steps {
    pub fn new(steps: usize) -> Self {
        Self { epsilon: Epsilon::ZERO, size: None, steps }
    }
}

impl Attack for Steps {
    fn name(&self) -> &'static str {
        "steps"
    }

    fn norm(&self) -> Norm {
        Norm::Linf
    }

    fn epsilon(&self) -> Option<Epsilon> {
        Some(self.epsilon)
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        Box::new(Self { epsilon, ..*self })
    }

    fn steps(&self) -> Option<usize> {
        Some(self.steps)
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        Some(Box::new(Self { steps: 2 * self.steps, ..*self }))
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        let epsilon = self.epsilon.value();
        let size = self.size.unwrap_or(2.0 * epsilon / self.steps as f64);
        let mut found = images.clone();
        for _ in 0..self.steps {
            if victim.watch().is_stopped() {
                return Err(AttackError::Stopped);
            }
            let gradient = victim.input_gradient(found.clone(), |logits| goal.objective(logits)).gradient;
            let change = (found + gradient.sign() * size - images.clone()).clamp(-epsilon, epsilon);
            found = (images.clone() + change).clamp(0.0, 1.0);
        }
        Ok(found)
    }
}

/// Makes images of one class brighter and those of the other darker by the whole budget; knows no gradient.
#[derive(Clone)]
pub struct Shade {
    pub epsilon: Epsilon,
    /// The class that it moves; the other stays.
    pub only: Option<usize>,
    /// Images that it was given.
    pub seen: Arc<AtomicUsize>,
}

impl Shade {
    pub fn new(only: Option<usize>) -> Self {
        Self { epsilon: Epsilon::ZERO, only, seen: Arc::default() }
    }
}

/// The settings alone: two runs of one attack are to look the same.
impl std::fmt::Debug for Shade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shade {:?} {:?}", self.epsilon, self.only)
    }
}

impl Attack for Shade {
    fn name(&self) -> &'static str {
        "shade"
    }

    fn norm(&self) -> Norm {
        Norm::Linf
    }

    fn epsilon(&self) -> Option<Epsilon> {
        Some(self.epsilon)
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        Box::new(Self { epsilon, ..self.clone() })
    }

    fn access(&self) -> Access {
        Access::Label
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        self.seen.fetch_add(images.dims()[0], Ordering::Relaxed);
        victim.logits(images.clone());
        let shift = |&class: &i64| match self.only {
            Some(only) if only as i64 != class => 0.0,
            _ => self.epsilon.value() as f32 * if class == 0 { 1.0 } else { -1.0 },
        };
        let shifts: Vec<f32> = goal.classes().iter().map(shift).collect();
        let shifts = Tensor::<1>::from_floats(shifts.as_slice(), &images.device());
        Ok((images + shifts.reshape([-1, 1, 1, 1])).clamp(0.0, 1.0))
    }
}

/// Moves images over the boundary at 0.5, and a thousandth beyond: the smallest perturbation.
#[derive(Clone, Default)]
pub struct Search {
    pub limit: Option<Epsilon>,
    /// Images that it was given.
    pub seen: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Search {:?}", self.limit)
    }
}

impl Attack for Search {
    fn name(&self) -> &'static str {
        "search"
    }

    fn norm(&self) -> Norm {
        Norm::Linf
    }

    fn epsilon(&self) -> Option<Epsilon> {
        self.limit
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        Box::new(Self { limit: Some(epsilon), ..self.clone() })
    }

    fn perturb(&self, _: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        let [count, channels, height, width] = images.dims();
        self.seen.fetch_add(count, Ordering::Relaxed);
        let beyond: Vec<f32> =
            goal.classes().iter().map(|&class| if class == 0 { 0.501 } else { 0.499 }).collect();
        let beyond = Tensor::<1>::from_floats(beyond.as_slice(), &images.device()).reshape([count, 1, 1, 1]);
        Ok(beyond.expand([count, channels, height, width]))
    }
}
