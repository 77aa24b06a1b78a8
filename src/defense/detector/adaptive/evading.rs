//! Any attack on a classifier with alarms.

use burn::tensor::{Bool, Int, Tensor, activation::relu};
use serde::Serialize;

use crate::attack::Goal;
use crate::attack::prelude::*;
use crate::classifier::Frozen;
use crate::defense::detector::alarm::Alarm;

/// Further than this, in logits, no score is from its threshold: also where it is NaN or infinite.
const FAR: f64 = 1e6;
/// By how much of itself one logit must exceed another to be the larger one in single precision.
const CLEAR: f64 = 1e-6;

/// Any attack, as it attacks a classifier with alarms: only an image that is wrong and passes every alarm
/// reaches the goal. For black boxes such as [`Square`](crate::attack::Square) and
/// [`HopSkipJump`](crate::attack::HopSkipJump), and for every attack that [`Adaptive`](super::Adaptive) is
/// not.
///
/// The attack sees the classifier as the owner of an image would who counts a rejection as right: the logit
/// of the true class is at least `max_i z_i + w e(x)`, with the weight w and the excess e over the
/// thresholds, positive exactly where an alarm fires (after the class for detected images of Carlini &
/// Wagner, "Adversarial Examples Are Not Easily Detected", AISec 2017, section 3.3). What an attack raises
/// is then `margin - w e` while the image is right, `-w e` once it is wrong but rejected. The excess is
/// `sum_k max(0, s_k(x) - t_k) / w_k` where an alarm fires, else the largest of the terms without the
/// maximum, with scores `s_k`, thresholds `t_k` and the distances `w_k` from median clean score to
/// threshold. Towards a target, a rejection counts as another class.
///
/// Every query of the victim comes with a forward pass through every detector, and every gradient with a
/// backward one, which a detector's own networks count. Classes are attacked one after another, so that
/// steps are counted for each.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | attack | required | one that asks the victim; its norm and budget are those of the whole |
/// | alarms | required | at least 1 |
/// | weight: of the excess against the logits | 1 | a finite number above 0 |
///
/// ```
/// use std::sync::Arc;
///
/// use histoguard::defense::detector::{Alarm, Detector, Evading, Threshold};
/// use histoguard::prelude::*;
/// use serde::Serialize;
///
/// /// How dark the left half is.
/// #[derive(Debug, Serialize)]
/// struct Left;
///
/// impl Detector for Left {
///     fn name(&self) -> String {
///         "left half".into()
///     }
///
///     fn score(&self, images: Tensor<4>) -> Tensor<1> {
///         let half = images.dims()[3] / 2;
///         images.narrow(3, 0, half).mean_dims(&[1, 2, 3]).reshape([-1]).neg()
///     }
/// }
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let threshold = Threshold { value: -0.5, rate: 0.05, median: -0.55, images: 19, slides: 19 };
/// let alarm = Alarm { detector: Arc::new(Left), threshold };
///
/// let (image, goal) = (Tensor::full([1, 1, 8, 8], 0.55, &device), Goal::untargeted([1]));
/// let square = Square::new(Budget::linf(Epsilon::unit(0.15))).with_queries(200);
/// let oblivious = square.perturb(&victim, image.clone(), &goal)?;
/// let evading = Evading::new(square, vec![alarm.clone()]).perturb(&victim, image, &goal)?;
/// assert_eq!((victim.predict(oblivious.clone()), alarm.fires(oblivious)), (vec![0], vec![true]));
/// assert_eq!((victim.predict(evading.clone()), alarm.fires(evading)), (vec![0], vec![false]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Serialize)]
pub struct Evading {
    attack: Box<dyn Attack>,
    alarms: Vec<Alarm>,
    weight: f64,
}

impl Evading {
    /// This attack where these alarms are, for example
    /// [`Guard::alarms`](crate::defense::detector::Guard::alarms).
    pub fn new(attack: impl Attack + 'static, alarms: Vec<Alarm>) -> Self {
        Self::boxed(Box::new(attack), alarms)
    }

    /// The same of an attack that is chosen at run time.
    pub fn boxed(attack: Box<dyn Attack>, alarms: Vec<Alarm>) -> Self {
        Self { attack, alarms, weight: 1.0 }
    }

    /// With this weight of the excess against the logits.
    pub fn with_weight(self, weight: f64) -> Self {
        Self { weight, ..self }
    }

    fn around(&self, attack: Box<dyn Attack>) -> Self {
        Self { attack, alarms: self.alarms.clone(), weight: self.weight }
    }

    /// The victim as this class sees it, which a rejection counts as; on the victim's own watch.
    fn guarded(&self, victim: &Frozen, class: i64) -> Frozen {
        let (alarms, weight) = (self.alarms.clone(), self.weight);
        let guarded = victim.shared().wrapped(1, move |network, images| {
            let excess = Excess::new(&alarms, weight, images.clone());
            excess.counted_as(class, network.logits(images))
        });
        guarded.watched_by(victim.watch())
    }

    /// The rows of each class of the goal, with the class that a rejection counts as.
    fn groups(goal: &Goal) -> Vec<(i64, Vec<usize>)> {
        let mut groups: Vec<(i64, Vec<usize>)> = Vec::new();
        for (row, &class) in goal.classes().iter().enumerate() {
            // Towards a target any class but that one will do.
            let own = if goal.is_targeted() { i64::from(class == 0) } else { class };
            match groups.iter_mut().find(|(class, _)| *class == own) {
                Some((_, rows)) => rows.push(row),
                None => groups.push((own, vec![row])),
            }
        }
        groups
    }
}

impl Attack for Evading {
    fn profile(&self) -> Profile {
        let profile = self.attack.profile();
        let detectors: Vec<String> = self.alarms.iter().map(|alarm| alarm.detector.name()).collect();
        Profile { name: format!("{}, evading {}", profile.name, detectors.join(" and ")), ..profile }
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        let own = vec![
            self.attack.profile().asks("attack"),
            Parameter::at_least("alarms", self.alarms.len(), 1),
            Parameter::above_zero("weight", self.weight),
        ];
        [own, self.attack.parameters(task)].concat()
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(self.around(self.attack.at(budget)))
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        Some(Box::new(self.around(self.attack.stronger()?)))
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        let mut images = task.images();
        for (class, rows) in Self::groups(task.goal()) {
            let victim = self.guarded(task.victim(), class);
            let part = task.keep(&rows).on(&victim).of(self.profile());
            images = put(images, &rows, self.attack.craft(part)?);
        }
        Ok(images)
    }
}

/// How far images are past the thresholds.
struct Excess {
    /// Positive exactly where an alarm fires.
    over: Tensor<1>,
    fires: Tensor<1, Bool>,
}

impl Excess {
    fn new(alarms: &[Alarm], weight: f64, images: Tensor<4>) -> Self {
        let [batch, ..] = images.dims();
        let none = Tensor::<1>::zeros([batch], &images.device()).greater_elem(0.0);
        let each = alarms.iter().map(|Alarm { detector, threshold }| {
            let (score, value) = (detector.score(images.clone()), below(threshold.value));
            let bad = score.clone().is_nan();
            let fires = score.clone().greater_elem(value).bool_or(bad.clone());
            ((score - value).mask_fill(bad, f32::INFINITY) / threshold.scale(), fires)
        });
        let (over, fires): (Vec<Tensor<1>>, Vec<Tensor<1, Bool>>) = each.unzip();
        let (over, fires) = (Tensor::stack::<2>(over, 0), fires.into_iter().fold(none, Tensor::bool_or));
        let together = relu(over.clone()).sum_dim(0).reshape([batch]);
        let most = over.max_dim(0).reshape([batch]);
        let over = most.mask_where(fires.clone(), together) * weight;
        Self { over: over.clamp(-FAR, FAR), fires }
    }

    /// The logits where a rejection is an answer of this class. A NaN logit is a rejection too, as it is to a
    /// [`Guard`](crate::defense::detector::Guard).
    fn counted_as(self, class: i64, logits: Tensor<2>) -> Tensor<2> {
        let [batch, classes] = logits.dims();
        let bad = logits.clone().is_nan();
        let spoilt = bad.clone().any_dim(1);
        let logits = logits.mask_fill(bad, -FAR);
        let top = logits.clone().max_dim(1);
        let over = self.over.reshape([batch, 1]).mask_fill(spoilt.clone(), FAR);
        let fires = self.fires.reshape([batch, 1]).bool_or(spoilt);
        // However small an excess is, the decision is the alarms'.
        let clear = top.clone().detach().abs() * CLEAR + CLEAR * CLEAR;
        let (least, most) = (top.clone() + clear.clone(), top.clone() - clear);
        let raised = top + over;
        let rejected = raised.clone().min_pair(most).mask_where(fires, raised.max_pair(least));
        let classes = Tensor::<1, Int>::arange(0..classes as i64, &logits.device()).reshape([1, classes]);
        let own = classes.equal_elem(class).expand(logits.dims());
        logits.clone().mask_where(own, logits.clone().max_pair(rejected.expand(logits.dims())))
    }
}

/// The largest number in single precision that is no larger: a score exceeds both or neither.
fn below(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value { near.next_down() } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_exceed_a_threshold_and_its_single_precision_alike() {
        for value in [0.1, 0.3, -0.7, 1.0, 0.0, 1e-40, f64::from(f32::MAX) * 0.999_999_99] {
            let at = below(value);
            for score in [at.next_down(), at, at.next_up()] {
                assert_eq!(f64::from(score) > value, score > at, "{value} {score}");
            }
        }
    }
}
