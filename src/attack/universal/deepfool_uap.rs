//! A universal perturbation out of each image's own smallest one.

use burn::tensor::Device;

use super::perturbation::{ORDER, UniversalPerturbation};
use crate::attack::lessons::{Lessons, first_shape, same_lessons};
use crate::attack::minimal::DeepFool;
use crate::attack::prelude::*;
use crate::attack::{Goal, Origin};
use crate::classifier::Frozen;
use crate::parameter;

/// Learns a [`UniversalPerturbation`] image after image, by the smallest perturbation that brings each one
/// over the boundary too.
///
/// Moosavi-Dezfooli, Fawzi, Fawzi & Frossard, "Universal adversarial perturbations", CVPR 2017, algorithm 1:
/// where the answer to `x + v` is still that to `x`, [`DeepFool`] starts there, and if it gets across within
/// its steps, `v` becomes the projection of `v` plus its way. The passes end when the share of images whose
/// answer changes is at least `1 - delta`. As in IBM ART, and unlike in the authors' code, `x + v` is cut to
/// \[0,1\]. Labels do not count.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required | a finite number above 0 |
/// | norm | the budget's | Linf or L2 |
/// | passes | 20 | at least 1 |
/// | delta | 0.2 | a number from 0 to 1 |
/// | steps | 10, of DeepFool | at least 1 |
/// | overshoot | 0.02, of DeepFool | a finite number of at least 0 |
/// | batch size | 32, where the share is measured | at least 1 |
/// | seed | 0 | any |
#[derive(Config, Copy, Debug, PartialEq)]
pub struct DeepFoolUap {
    /// How far each image may be changed.
    pub budget: Budget,
    /// Passes over the images at most.
    #[config(default = 20)]
    pub passes: usize,
    /// The share of images whose answer need not change.
    #[config(default = 0.2)]
    pub delta: f64,
    /// DeepFool's steps at most.
    #[config(default = 10)]
    pub steps: usize,
    /// How far past the boundary DeepFool goes, as a share of its way.
    #[config(default = 0.02)]
    pub overshoot: f64,
    /// Images at a time where the share is measured.
    #[config(default = 32)]
    pub batch_size: usize,
    /// The order of the images comes from it.
    #[config(default = 0)]
    pub seed: u64,
}

impl DeepFoolUap {
    const NAME: &str = "UAP";

    fn origin(&self) -> Origin {
        Origin::new(Self::NAME, self.settings())
    }

    /// Nothing learned yet, for images of these channels, height and width.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] on a setting out of its range.
    pub fn start(&self, shape: [usize; 3], device: &Device) -> Result<UniversalPerturbation, AttackError> {
        parameter::check([
            norm_among(self.budget.norm(), &[Norm::Linf, Norm::L2]),
            Parameter::at_least("passes", self.passes, 1),
            Parameter::within("delta", self.delta, 0.0..=1.0),
            Parameter::at_least("steps", self.steps, 1),
            Parameter::from_zero("overshoot", self.overshoot),
            Parameter::at_least("batch size", self.batch_size, 1),
        ])?;
        UniversalPerturbation::new(Tensor::zeros(shape, device), self.budget, self.origin())
    }

    /// One more pass over the images, or nothing if it is done; whether any is left then: as
    /// [`SgdUap::pass`](super::SgdUap::pass), of whose goals the classes do not count.
    ///
    /// # Errors
    ///
    /// As [`SgdUap::pass`](super::SgdUap::pass).
    pub fn pass<E: From<AttackError>>(
        &self,
        victim: &Frozen,
        perturbation: &mut UniversalPerturbation,
        count: usize,
        images: impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
    ) -> Result<bool, E> {
        same_lessons(victim, perturbation.learned(), &self.origin(), count)?;
        if perturbation.origin().finished {
            return Ok(false);
        }
        let pass = perturbation.origin().passes;
        let mut lessons = Lessons { victim, count, images };
        let mut v = perturbation.learned_values().to_device(victim.device());
        for (number, position) in lessons.order(ORDER, self.seed, pass).into_iter().enumerate() {
            lessons.step(Self::NAME, pass * count + number, self.passes * count)?;
            let (image, _) = lessons.at(&[position])?;
            let [_, channels, height, width] = image.dims();
            parameter::check([perturbation.fits([channels, height, width])]).map_err(AttackError::from)?;
            v = self.step(victim, image, v)?;
        }
        let fooled = self.fooled(&mut lessons, &v)?;
        let finished = fooled >= 1.0 - self.delta || pass + 1 == self.passes;
        *perturbation = perturbation.after(v, count, finished);
        Ok(!finished)
    }

    /// The way of one image over the boundary added, if it has not got there and finds one.
    fn step(&self, victim: &Frozen, image: Tensor<4>, v: Tensor<4>) -> Result<Tensor<4>, AttackError> {
        let answer = victim.predict(image.clone());
        let start = (image + v.clone()).clamp(0.0, 1.0);
        if victim.predict(start.clone()) != answer {
            return Ok(v);
        }
        let norm = self.budget.norm();
        let deepfool = DeepFool::new().with_norm(norm).with_steps(self.steps).with_overshoot(self.overshoot);
        let across = deepfool.perturb(victim, start.clone(), &Goal::untargeted(answer.clone()))?;
        if victim.predict(across.clone()) == answer {
            return Ok(v);
        }
        Ok(norm.project(v + (across - start), self.budget.size()))
    }

    /// The share of images whose answer changes.
    fn fooled<F, E>(&self, lessons: &mut Lessons<'_, F>, v: &Tensor<4>) -> Result<f64, E>
    where
        F: FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
        E: From<AttackError>,
    {
        let (mut changed, all): (usize, Vec<usize>) = (0, (0..lessons.count).collect());
        for positions in all.chunks(self.batch_size) {
            let (images, _) = lessons.at(positions)?;
            let before = lessons.victim.predict(images.clone());
            let after = lessons.victim.predict((images + v.clone()).clamp(0.0, 1.0));
            changed += before.iter().zip(&after).filter(|(before, after)| before != after).count();
        }
        Ok(changed as f64 / lessons.count as f64)
    }

    /// All passes over the images: see [`pass`](Self::pass).
    ///
    /// # Errors
    ///
    /// As [`pass`](Self::pass).
    pub fn learn<E: From<AttackError>>(
        &self,
        victim: &Frozen,
        count: usize,
        mut images: impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
    ) -> Result<UniversalPerturbation, E> {
        let shape = first_shape(count, &mut images)?;
        let mut perturbation = self.start(shape, victim.device())?;
        while self.pass(victim, &mut perturbation, count, &mut images)? {}
        Ok(perturbation)
    }
}
