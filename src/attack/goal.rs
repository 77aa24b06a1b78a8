//! What an attack aims for: away from the true class, or towards a chosen one.

use burn::tensor::{Int, Tensor, activation::log_softmax};

use super::AttackError;
use crate::classifier::{highest, pick};
use crate::rows::{Rows, values};

/// What an attack aims for, one class an image.
///
/// ```
/// use histoguard::prelude::*;
///
/// let away = Goal::untargeted(vec![1, 0, 1]);
/// let towards = Goal::targeted(vec![0, 1, 0]).with_true_classes(vec![1, 0, 1]);
/// assert!(!away.is_targeted() && towards.is_targeted());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    targeted: bool,
    classes: Vec<i64>,
    true_classes: Option<Vec<i64>>,
    indices: Option<Vec<u64>>,
}

impl Goal {
    /// Away from these true classes.
    pub fn untargeted(labels: impl IntoLabels) -> Self {
        Self { targeted: false, classes: labels.into_labels(), true_classes: None, indices: None }
    }

    /// Towards these classes.
    pub fn targeted(targets: impl IntoLabels) -> Self {
        Self { targeted: true, classes: targets.into_labels(), true_classes: None, indices: None }
    }

    /// The true classes beside the targets: a target equal to its true class is then an error.
    pub fn with_true_classes(mut self, labels: impl IntoLabels) -> Self {
        self.true_classes = Some(labels.into_labels());
        self
    }

    /// The images' indices in their data set, from which random attacks draw (seed, index), so that results
    /// do not depend on how images are batched. Default: the position in the batch.
    pub fn with_indices(mut self, indices: Vec<u64>) -> Self {
        self.indices = Some(indices);
        self
    }

    /// Whether the classes are targets.
    pub fn is_targeted(&self) -> bool {
        self.targeted
    }

    /// The class of each image: the true one, or the target.
    pub fn classes(&self) -> &[i64] {
        &self.classes
    }

    /// The index in the data set of image `position` of the batch.
    pub fn index(&self, position: usize) -> u64 {
        self.indices.as_ref().and_then(|i| i.get(position)).copied().unwrap_or(position as u64)
    }

    /// The goal of some of the images, by their positions in the batch.
    ///
    /// # Panics
    ///
    /// Panics if a position is past the end.
    pub fn select(&self, positions: &[usize]) -> Self {
        let indices = Some(positions.iter().map(|&position| self.index(position)).collect());
        let (classes, true_classes) = (self.classes.keep(positions), self.true_classes.keep(positions));
        Self { targeted: self.targeted, classes, true_classes, indices }
    }

    /// The value that an attack raises, one an image: the cross-entropy of the true class, or minus that of
    /// the target.
    ///
    /// # Shapes
    ///
    /// - `logits`: `[batch, classes]`
    /// - output: `[batch]`
    pub fn objective(&self, logits: Tensor<2>) -> Tensor<1> {
        let log_likelihood = pick(log_softmax(logits, 1), &self.classes);
        if self.targeted { log_likelihood } else { log_likelihood.neg() }
    }

    /// How far the logits are past the decision boundary, one value an image: positive once the goal is
    /// reached, and not flattened by a saturated softmax.
    ///
    /// Untargeted the largest other logit minus that of the true class, targeted the target's minus the
    /// largest other one (Carlini & Wagner, S&P 2017, f6 without its clamp, negated).
    ///
    /// # Shapes
    ///
    /// - `logits`: `[batch, classes]`, at least two classes
    /// - output: `[batch]`
    pub fn margin(&self, logits: Tensor<2>) -> Tensor<1> {
        let ([batch, _], chosen) = (logits.dims(), pick(logits.clone(), &self.classes));
        let margin = self.others(logits).max_dim(1).reshape([batch]) - chosen;
        if self.targeted { margin.neg() } else { margin }
    }

    /// The logarithm of the odds of the goal, one value an image. The gradient of the
    /// [objective](Self::objective) has its direction, but vanishes in single precision where the victim is
    /// sure.
    ///
    /// # Shapes
    ///
    /// - `logits`: `[batch, classes]`, at least two classes
    /// - output: `[batch]`
    pub fn log_odds(&self, logits: Tensor<2>) -> Tensor<1> {
        let ([batch, _], chosen) = (logits.dims(), pick(logits.clone(), &self.classes));
        let others = self.others(logits);
        let largest = others.clone().detach().max_dim(1);
        let all = (others - largest.clone()).exp().sum_dim(1).log() + largest;
        let odds = all.reshape([batch]) - chosen;
        if self.targeted { odds.neg() } else { odds }
    }

    /// The logits with minus infinity for the goal's class.
    fn others(&self, logits: Tensor<2>) -> Tensor<2> {
        let (device, [batch, classes]) = (logits.device(), logits.dims());
        let own = Tensor::<1, Int>::from_data(self.classes.as_slice(), &device).reshape([batch, 1]);
        let is_own = own.equal(Tensor::<1, Int>::arange(0..classes as i64, &device).reshape([1, classes]));
        logits.mask_fill(is_own, f32::NEG_INFINITY)
    }

    /// By how much these classes are likelier than those of the goal, one value an image.
    pub(crate) fn lead(&self, logits: Tensor<2>, others: &[i64]) -> Tensor<1> {
        pick(logits.clone(), others) - pick(logits, &self.classes)
    }

    /// Whether each image's logits reach the goal: not the true class, or the target. As everywhere the
    /// lower class wins a tie; a NaN logit is no class, so that it is away from the true one and not the
    /// target.
    ///
    /// # Shapes
    ///
    /// - `logits`: `[batch, classes]`
    pub fn reached(&self, logits: Tensor<2>) -> Vec<bool> {
        let [_, classes] = logits.dims();
        let reached = |(row, &class): (&[f32], &i64)| {
            let found = highest(row) as i64 == class && !row.iter().any(|logit| logit.is_nan());
            found == self.targeted
        };
        values(logits).chunks(classes.max(1)).zip(&self.classes).map(reached).collect()
    }

    pub(crate) fn check(&self, images: usize, classes: usize) -> Result<(), AttackError> {
        let count =
            |labels| if labels == images { Ok(()) } else { Err(AttackError::Count { images, labels }) };
        count(self.classes.len())?;
        if let Some(indices) = &self.indices {
            count(indices.len())?;
        }
        check_classes(if self.targeted { "target" } else { "label" }, &self.classes, classes)?;
        let Some(true_classes) = &self.true_classes else { return Ok(()) };
        count(true_classes.len())?;
        check_classes("label", true_classes, classes)?;
        let same = |&image: &usize| self.targeted && self.classes[image] == true_classes[image];
        let Some(image) = (0..images).find(same) else { return Ok(()) };
        Err(AttackError::TargetIsTrueClass { image, class: true_classes[image] as usize })
    }
}

impl Rows for Goal {
    fn keep(&self, rows: &[usize]) -> Self {
        self.select(rows)
    }
}

fn check_classes(role: &'static str, labels: &[i64], classes: usize) -> Result<(), AttackError> {
    let unknown = |label: &i64| !(0..classes as i64).contains(label);
    let Some(image) = labels.iter().position(unknown) else { return Ok(()) };
    Err(AttackError::Label { role, image, classes, found: labels[image] })
}

/// Class labels in any of the forms that programs hold them in: vectors, slices and arrays of any integers,
/// or a tensor.
pub trait IntoLabels {
    /// One label an image.
    fn into_labels(self) -> Vec<i64>;
}

impl<L: TryInto<i64> + Copy> IntoLabels for &[L] {
    fn into_labels(self) -> Vec<i64> {
        // A label past i64::MAX is out of range for any victim, and must stay so.
        self.iter().map(|&label| label.try_into().unwrap_or(i64::MAX)).collect()
    }
}

impl<L: TryInto<i64> + Copy> IntoLabels for Vec<L> {
    fn into_labels(self) -> Vec<i64> {
        self.as_slice().into_labels()
    }
}

impl<L: TryInto<i64> + Copy> IntoLabels for &Vec<L> {
    fn into_labels(self) -> Vec<i64> {
        self.as_slice().into_labels()
    }
}

impl<L: TryInto<i64> + Copy, const N: usize> IntoLabels for [L; N] {
    fn into_labels(self) -> Vec<i64> {
        self.as_slice().into_labels()
    }
}

impl IntoLabels for Tensor<1, Int> {
    fn into_labels(self) -> Vec<i64> {
        self.into_data().convert::<i64>().try_into_vec().expect("i64 after conversion")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn objective_is_the_cross_entropy_an_image() {
        // -log(softmax) computed by hand: ln(1 + e^1) for the lower of two logits one apart.
        let logits = Tensor::<2>::from_floats([[0.0, 1.0], [2.0, -1.0]], &Device::default());
        let expected = [(1.0 + 1f64.exp()).ln(), (1.0 + (-3f64).exp()).ln()];
        let untargeted: Vec<f32> =
            Goal::untargeted([0, 0]).objective(logits.clone()).into_data().try_into_vec().unwrap();
        let targeted: Vec<f32> = Goal::targeted([0, 0]).objective(logits).into_data().try_into_vec().unwrap();
        for i in 0..2 {
            assert!((f64::from(untargeted[i]) - expected[i]).abs() < 1e-6);
            assert!((f64::from(targeted[i]) + expected[i]).abs() < 1e-6);
        }
    }

    #[test]
    fn log_odds_are_those_of_the_probabilities() {
        let logits = Tensor::<2>::from_floats([[0.0, 1.0, -0.5], [2.0, -1.0, 0.25]], &Device::default());
        let odds = |goal: Goal| values(goal.log_odds(logits.clone()));
        let (away, towards) = (odds(Goal::untargeted([0, 2])), odds(Goal::targeted([0, 2])));
        // ln((1 - p) / p) by hand.
        let expected = [(1f64.exp() + (-0.5f64).exp()).ln(), (2f64.exp() + (-1f64).exp()).ln() - 0.25];
        for i in 0..2 {
            assert!((f64::from(away[i]) - expected[i]).abs() < 1e-6);
            assert_eq!(towards[i], -away[i]);
        }
    }

    #[test]
    fn margin_is_positive_where_the_goal_is_reached() {
        let logits = Tensor::<2>::from_floats(
            [[0.0, 1.0, 3.0], [2.0, -1.0, 0.5], [1.0, 1.0, 0.0], [f32::NAN, 1.0, 0.0]],
            &Device::default(),
        );
        let away = Goal::untargeted([2, 1, 0, 1]);
        let towards = Goal::targeted([2, 1, 0, 1]);
        let margins: Vec<f32> = away.margin(logits.clone()).into_data().try_into_vec().unwrap();
        assert_eq!(margins[..3], [-2.0, 3.0, 0.0]);
        let margins: Vec<f32> = towards.margin(logits.clone()).into_data().try_into_vec().unwrap();
        assert_eq!(margins[..3], [2.0, -3.0, 0.0]);
        assert_eq!(away.reached(logits.clone()), [false, true, false, true]);
        assert_eq!(towards.reached(logits), [true, false, true, false]);
    }

    #[test]
    fn refuses_labels_that_do_not_fit() {
        let count = Goal::untargeted([0]).check(2, 2);
        assert_eq!(count, Err(AttackError::Count { images: 2, labels: 1 }));
        let label = Goal::untargeted([0, 2]).check(2, 2);
        assert_eq!(label, Err(AttackError::Label { role: "label", image: 1, classes: 2, found: 2 }));
        let same = Goal::targeted([1, 0]).with_true_classes([0, 0]).check(2, 2);
        assert_eq!(same, Err(AttackError::TargetIsTrueClass { image: 1, class: 0 }));
        let huge = Goal::untargeted([usize::MAX]).check(1, 2);
        assert!(matches!(huge, Err(AttackError::Label { image: 0, .. })));
        assert_eq!(Goal::targeted([1, 0]).with_true_classes([0, 1]).check(2, 2), Ok(()));
    }

    #[test]
    fn selected_images_keep_their_indices() {
        let goal = Goal::untargeted([0, 1, 1]).with_indices(vec![7, 8, 9]).select(&[2, 0]);
        assert_eq!((goal.classes(), goal.index(0), goal.index(1)), (&[1, 0][..], 9, 7));
    }
}
