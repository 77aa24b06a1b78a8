//! A classifier of brightness, images and attacks on it whose outcomes are computed by hand.
#![allow(dead_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use histoguard::attack::{Access, Aim, Attack, AttackError, Goals, Profile, Task};
use histoguard::classifier::Queries;
use histoguard::data::{Batch, DataError, LabeledImages};
use histoguard::evaluate::EvaluationResult;
use histoguard::parameter::Parameter;
use histoguard::prelude::*;
use serde::Serialize;

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
pub fn by_brightness(score: impl Fn(Tensor<2>) -> Tensor<2> + Send + Sync + 'static) -> Frozen {
    Frozen::from_fn(2, &Device::default(), move |x| {
        let score = score(x.mean_dims(&[1, 2, 3]).reshape([-1, 1]));
        Tensor::cat(vec![score.clone().neg(), score], 1)
    })
}

/// Class 1 from 0.5 up.
pub fn bright() -> Frozen {
    by_brightness(|mean| (mean - 0.5) * 10.0)
}

/// So much on the [0,1] scale for every value.
pub fn linf(size: f64) -> Budget {
    Budget::linf(Epsilon::unit(size))
}

/// Images that are right under this attack, by rising budget.
pub fn hits(result: &EvaluationResult, label: &str) -> Vec<usize> {
    let attack = result.attack(label).unwrap_or_else(|| panic!("no {label}"));
    attack.sweep.iter().map(|under| under.metrics.accuracy.hits).collect()
}

/// The same of the worst case in L-infinity.
pub fn worst(result: &EvaluationResult) -> Vec<usize> {
    let worst = result.worst_case(Norm::Linf).unwrap();
    worst.sweep.iter().map(|under| under.metrics.accuracy.hits).collect()
}

/// Follows the sign of the gradient in equal steps.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Steps {
    pub budget: Budget,
    /// On the [0,1] scale; by default the steps go through the budget twice.
    pub size: Option<f64>,
    pub steps: usize,
}

impl Steps {
    pub fn new(steps: usize) -> Self {
        Self { budget: linf(0.0), size: None, steps }
    }
}

impl Attack for Steps {
    fn profile(&self) -> Profile {
        Profile {
            name: "steps".into(),
            aim: Aim::Within(self.budget),
            goals: Goals::Any,
            access: Access::Gradients,
            steps: Some(self.steps),
            queries: Some(Queries::gradients(self.steps)),
            mask: None,
        }
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        vec![Parameter::at_least("steps", self.steps, 1)]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget, ..*self })
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        Some(Box::new(Self { steps: 2 * self.steps, ..*self }))
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        let size = self.size.unwrap_or(2.0 * self.budget.size() / self.steps as f64);
        let mut found = task.images();
        for _ in 0..self.steps {
            task.step()?;
            let gradient = task.ascent(&found).gradient;
            found = task.project(found + gradient.sign() * size, self.budget);
        }
        Ok(found)
    }
}

/// Makes images of one class brighter and those of the other darker by the whole budget; knows no gradient.
#[derive(Clone, Debug, Serialize)]
pub struct Shade {
    pub budget: Budget,
    /// The class that it moves; the other stays.
    pub only: Option<usize>,
    /// Images that it was given; no setting.
    #[serde(skip)]
    pub seen: Arc<AtomicUsize>,
}

impl Shade {
    pub fn new(only: Option<usize>) -> Self {
        Self { budget: linf(0.0), only, seen: Arc::default() }
    }
}

impl Attack for Shade {
    fn profile(&self) -> Profile {
        Profile {
            name: "shade".into(),
            aim: Aim::Within(self.budget),
            goals: Goals::Any,
            access: Access::Label,
            steps: None,
            queries: Some(Queries::forwards(1)),
            mask: None,
        }
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        Vec::new()
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget, ..self.clone() })
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        None
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        task.step()?;
        self.seen.fetch_add(task.len(), Ordering::Relaxed);
        let images = task.images();
        task.victim().logits(images.clone());
        let shift = |&class: &i64| match self.only {
            Some(only) if only as i64 != class => 0.0,
            _ => self.budget.size() as f32 * if class == 0 { 1.0 } else { -1.0 },
        };
        let shifts: Vec<f32> = task.goal().classes().iter().map(shift).collect();
        let shifts = Tensor::<1>::from_floats(shifts.as_slice(), &images.device());
        Ok((images + shifts.reshape([-1, 1, 1, 1])).clamp(0.0, 1.0))
    }
}

/// Moves images over the boundary at 0.5, and a thousandth beyond: the smallest perturbation.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Search {
    pub limit: Option<Budget>,
    /// Images that it was given; no setting.
    #[serde(skip)]
    pub seen: Arc<AtomicUsize>,
}

impl Attack for Search {
    fn profile(&self) -> Profile {
        Profile {
            name: "search".into(),
            aim: Aim::Smallest { norm: Norm::Linf, limit: self.limit },
            goals: Goals::Untargeted,
            access: Access::Gradients,
            steps: None,
            queries: Some(Queries::NONE),
            mask: None,
        }
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        Vec::new()
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { limit: Some(budget), ..self.clone() })
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        None
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        self.seen.fetch_add(task.len(), Ordering::Relaxed);
        let beyond: Vec<f32> =
            task.goal().classes().iter().map(|&class| if class == 0 { 0.501 } else { 0.499 }).collect();
        let images = task.images();
        let beyond = Tensor::<1>::from_floats(beyond.as_slice(), &images.device()).reshape([-1, 1, 1, 1]);
        Ok(beyond.expand(images.dims()))
    }
}
