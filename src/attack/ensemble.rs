//! The worst case of several attacks.

use burn::tensor::Tensor;

use super::base::{check, check_parameter};
use super::rows::{put, take, values};
use super::{Attack, AttackError, Goal, Norm};
use crate::classifier::Frozen;
use crate::pixels::Epsilon;

/// Several attacks, one after another, each on the images that withstood those before: the worst case of each
/// image.
///
/// All share one norm and one epsilon. An image that withstands all of them comes back as the result with the
/// highest [`Goal::margin`]. Attacks that look for the smallest perturbation (all of them without an epsilon) run
/// on every image instead, and the smallest perturbation that reaches the goal counts.
///
/// An image that reaches the goal unperturbed comes back as it is.
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone().neg() + 0.5, bright - 0.5], 1)
/// });
/// let epsilon = Epsilon::unit(0.2);
/// let attack = Ensemble::new(vec![
///     Box::new(Fgsm::new(epsilon)),
///     Box::new(Apgd::new(epsilon).with_loss(ApgdLoss::Margin)),
/// ])?;
/// let image = Tensor::full([1, 1, 4, 4], 0.6, &device);
/// let adversarial = attack.perturb(&victim, image, &Goal::untargeted([1]))?;
/// assert_eq!(victim.predict(adversarial), [0]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Debug)]
pub struct Ensemble {
    name: &'static str,
    norm: Norm,
    epsilon: Option<Epsilon>,
    attacks: Vec<Box<dyn Attack>>,
}

impl Ensemble {
    /// These attacks in this order, named "Ensemble".
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] if there is none, or if their norms or epsilons differ.
    pub fn new(attacks: Vec<Box<dyn Attack>>) -> Result<Self, AttackError> {
        let Some(first) = attacks.first() else {
            return Err(AttackError::Parameter {
                parameter: "attacks",
                expected: "one attack or more",
                found: "none".into(),
            });
        };
        let (norm, epsilon) = (first.norm(), first.epsilon());
        for attack in &attacks {
            let found = || format!("{:?} and {:?} ({})", norm, attack.norm(), attack.name());
            check_parameter(attack.norm() == norm, "norm", "one for all attacks of an ensemble", found())?;
            let found = || format!("{:?} and {:?} ({})", epsilon, attack.epsilon(), attack.name());
            check_parameter(
                attack.epsilon() == epsilon,
                "epsilon",
                "one for all attacks of an ensemble",
                found(),
            )?;
        }
        Ok(Self { name: "Ensemble", norm, epsilon, attacks })
    }

    /// The same under another name.
    pub fn with_name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// The attacks in their order.
    pub fn attacks(&self) -> &[Box<dyn Attack>] {
        &self.attacks
    }
}

impl Attack for Ensemble {
    fn name(&self) -> &'static str {
        self.name
    }

    fn norm(&self) -> Norm {
        self.norm
    }

    fn epsilon(&self) -> Option<Epsilon> {
        self.epsilon
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        let attacks = self.attacks.iter().map(|attack| attack.with_epsilon(epsilon)).collect();
        Box::new(Self { name: self.name, norm: self.norm, epsilon: Some(epsilon), attacks })
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        check(victim, &images, goal, self.epsilon)?;
        let images = images.inner();
        let [count, channels, height, width] = images.dims();
        // A batch without images makes every attack check its parameters before any of them works.
        let none = Tensor::zeros([0, channels, height, width], &images.device());
        for attack in &self.attacks {
            attack.perturb(victim, none.clone(), &goal.select(&[]))?;
        }
        if images.shape().num_elements() == 0 {
            return Ok(images);
        }
        let mut judged = Judged::of(victim, &images, goal);
        let mut result = images.clone();
        // How bad each image's result is: what decides which of two counts.
        let mut worst: Vec<f32> = judged.margins.clone();
        let mut smallest: Vec<f32> =
            judged.reached.iter().map(|&r| if r { 0.0 } else { f32::INFINITY }).collect();
        let mut left: Vec<usize> = (0..count).filter(|&i| !judged.reached[i]).collect();
        for attack in &self.attacks {
            if left.is_empty() {
                break;
            }
            let (clean, goal) = (take(&images, &left), goal.select(&left));
            let found = attack.perturb(victim, clean.clone(), &goal)?.inner();
            judged = Judged::of(victim, &found, &goal);
            let sizes = values(self.norm.measure(found.clone() - clean));
            let counts = |i: usize| match (judged.reached[i], self.epsilon) {
                (true, Some(_)) => true,
                (true, None) => sizes[i] < smallest[left[i]],
                (false, _) => smallest[left[i]] == f32::INFINITY && judged.margins[i] > worst[left[i]],
            };
            let better: Vec<usize> = (0..left.len()).filter(|&i| counts(i)).collect();
            if better.is_empty() {
                continue;
            }
            let positions: Vec<usize> = better.iter().map(|&i| left[i]).collect();
            result = put(result, &positions, take(&found, &better));
            for (&i, &position) in better.iter().zip(&positions) {
                worst[position] = judged.margins[i];
                if judged.reached[i] {
                    smallest[position] = sizes[i];
                }
            }
            if self.epsilon.is_some() {
                left.retain(|&position| smallest[position] == f32::INFINITY);
            }
        }
        Ok(result)
    }
}

/// What the victim says about each image.
struct Judged {
    reached: Vec<bool>,
    margins: Vec<f32>,
}

impl Judged {
    fn of(victim: &Frozen, images: &Tensor<4>, goal: &Goal) -> Self {
        let logits = victim.logits(images.clone());
        Self { reached: goal.reached(logits.clone()), margins: values(goal.margin(logits)) }
    }
}
