//! What an attack works on: a victim, checked images and what to aim for.

use std::cell::Cell;
use std::rc::Rc;

use burn::tensor::Tensor;

use super::region::Region;
use super::{AttackError, Draws, Goal, Mask, Profile};
use crate::classifier::{Frozen, InputGradient, Step};
use crate::parameter;
use crate::pixels::{Budget, Norm};
use crate::random::Purpose;
use crate::rows::{Rows, take, values};

/// What an attack works on: the victim, checked images and the goal, with the steps that it reports, the
/// random numbers that it draws and the gradients that it follows.
///
/// [`keep`](Rows::keep) narrows it to the images that are still worked on; they keep their own random numbers
/// and their [positions](Self::positions) in the whole.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    victim: &'a Frozen,
    images: Tensor<4>,
    goal: Goal,
    positions: Vec<usize>,
    /// What a mask leaves of the images.
    region: Option<Region>,
    /// The numbers of the runs that they are in, from the outermost on.
    runs: Vec<u64>,
    progress: Rc<Progress>,
}

/// Shared by a task and all its parts.
#[derive(Debug)]
struct Progress {
    attack: String,
    done: Cell<usize>,
    total: usize,
}

impl Progress {
    fn of(attack: Profile) -> Rc<Self> {
        Rc::new(Self { attack: attack.name, done: Cell::new(0), total: attack.steps.unwrap_or(0) })
    }
}

impl<'a> Task<'a> {
    /// These images for the attack of this profile.
    ///
    /// # Errors
    ///
    /// [`AttackError`] on a bad budget, goal, label or image.
    pub fn new(
        victim: &'a Frozen,
        images: Tensor<4>,
        goal: &Goal,
        profile: Profile,
    ) -> Result<Self, AttackError> {
        parameter::check(profile.parameters(goal))?;
        let images = images.inner();
        let count = images.dims()[0];
        victim.check_classes()?;
        goal.check(count, victim.num_classes())?;
        check_range(&images)?;
        let (positions, progress) = ((0..count).collect(), Progress::of(profile));
        Ok(Self { victim, images, goal: goal.clone(), positions, region: None, runs: vec![0], progress })
    }

    /// The classifier under attack.
    pub fn victim(&self) -> &'a Frozen {
        self.victim
    }

    /// The unperturbed images `[batch, channels, height, width]`, outside autodiff, values in \[0,1\].
    pub fn images(&self) -> Tensor<4> {
        self.images.clone()
    }

    /// What to aim for, a class an image.
    pub fn goal(&self) -> &Goal {
        &self.goal
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there is no image, or none with a pixel.
    pub fn is_empty(&self) -> bool {
        self.images.shape().num_elements() == 0
    }

    /// Channels, height and width of an image.
    pub fn shape(&self) -> [usize; 3] {
        let [_, channels, height, width] = self.images.dims();
        [channels, height, width]
    }

    /// Values of an image: channels times height times width.
    pub fn size(&self) -> usize {
        self.shape().iter().product()
    }

    /// The images' rows in the whole task, however often this one was narrowed.
    pub fn positions(&self) -> &[usize] {
        &self.positions
    }

    /// The number of this run, where an attack is tried several times; 0 for the first. Runs within runs have
    /// numbers of their own.
    pub fn run(&self) -> u64 {
        *self.runs.last().expect("one run at least")
    }

    /// The same images in this run, within the run that they are in: random numbers are drawn anew.
    pub fn in_run(&self, run: usize) -> Self {
        Self { runs: [self.later_runs(), &[run as u64]].concat(), ..self.clone() }
    }

    /// The runs that count for random numbers: first runs draw as if there were no others.
    fn later_runs(&self) -> &[u64] {
        if self.runs == [0] { &[] } else { &self.runs }
    }

    /// The images of this task as a whole of its own, whose positions count from 0.
    pub fn afresh(&self) -> Self {
        Self { positions: (0..self.len()).collect(), ..self.clone() }
    }

    /// The same work on another victim, and on its device.
    pub fn on<'b>(&self, victim: &'b Frozen) -> Task<'b> {
        let images = self.images.clone().to_device(victim.device());
        let region = self.region.as_ref().map(|region| region.to_device(victim.device()));
        let Self { goal, positions, runs, progress, .. } = self.clone();
        Task { victim, images, goal, positions, region, runs, progress }
    }

    /// The same images, of which only what the mask leaves may change: what [`Masked`](super::Masked) hands
    /// on. Masks within masks leave what both leave.
    ///
    /// # Panics
    ///
    /// Panics if the mask is for images of another shape or has none for one of them.
    pub fn masked(&self, mask: &Mask) -> Self {
        let region = Region::new(mask, &self.images, &self.goal, self.region.as_ref());
        Self { region: Some(region), ..self.clone() }
    }

    /// The positions of the values of the image in this row that may change; `None` if all may.
    pub fn free(&self, row: usize) -> Option<&[usize]> {
        self.region.as_ref().map(|region| &*region.free[row])
    }

    /// How many values of the image in this row may change: the dimension in which an attack works.
    pub fn dimension(&self, row: usize) -> usize {
        self.free(row).map_or(self.size(), <[usize]>::len)
    }

    /// The norm of the largest change that the image in this row can take.
    pub fn farthest(&self, row: usize, norm: Norm, image: &[f32]) -> f64 {
        match self.free(row) {
            Some(free) => norm.farthest(&free.iter().map(|&at| image[at]).collect::<Vec<f32>>()),
            None => norm.farthest(image),
        }
    }

    /// What of a change or a gradient lies where the images may change, zero elsewhere.
    ///
    /// # Shapes
    ///
    /// - `change`, output: as [`images`](Self::images)
    pub fn restrict(&self, change: Tensor<4>) -> Tensor<4> {
        match &self.region {
            Some(region) => change.mask_fill(region.may_change().bool_not(), 0.0),
            None => change,
        }
    }

    /// The images with these points where they may change: bit for bit as they were elsewhere.
    ///
    /// # Shapes
    ///
    /// - `points`, output: as [`images`](Self::images); points of another shape come back as they are
    pub fn compose(&self, points: Tensor<4>) -> Tensor<4> {
        match &self.region {
            Some(region) if points.dims() == self.images.dims() => {
                self.images().mask_where(region.may_change(), points)
            }
            _ => points,
        }
    }

    /// Before each step of a batch, however many of its images are left: reports it, and fails if a stop was
    /// asked for. There are as many as the [profile](Profile::steps) says, or fewer.
    ///
    /// # Errors
    ///
    /// [`AttackError::Stopped`].
    pub fn step(&self) -> Result<(), AttackError> {
        let Progress { attack, done, total } = &*self.progress;
        self.victim.watch().report(Step { attack: attack.clone(), done: done.get(), total: *total });
        done.set(done.get() + 1);
        self.go_on()
    }

    /// Before work that is no step: fails if a stop was asked for.
    ///
    /// # Errors
    ///
    /// [`AttackError::Stopped`].
    pub fn go_on(&self) -> Result<(), AttackError> {
        if self.victim.watch().is_stopped() { Err(AttackError::Stopped) } else { Ok(()) }
    }

    /// The logits at these points, one an image of the task, and the gradient of the summed `loss`, in which
    /// every entry that is NaN or infinite counts as zero, and every one of a value that may not change.
    pub fn gradient(&self, at: &Tensor<4>, loss: impl Fn(Tensor<2>) -> Tensor<1>) -> InputGradient {
        let InputGradient { logits, gradient } = self.whole_gradient(at, loss);
        // Images of another size, or several versions of each, are the attack's own affair.
        let own = gradient.dims() == self.images.dims();
        InputGradient { logits, gradient: if own { self.restrict(gradient) } else { gradient } }
    }

    /// The same with the entries of values that may not change: for points whose values are elsewhere than the
    /// images', such as resized ones. What comes of it is to be [restricted](Self::restrict).
    pub fn whole_gradient(&self, at: &Tensor<4>, loss: impl Fn(Tensor<2>) -> Tensor<1>) -> InputGradient {
        let InputGradient { logits, gradient } = self.victim.input_gradient(at.clone(), loss);
        let bad = gradient.clone().is_finite().bool_not();
        InputGradient { logits, gradient: gradient.mask_fill(bad, 0.0) }
    }

    /// The same of the goal's [objective](Goal::objective): the way up.
    pub fn ascent(&self, at: &Tensor<4>) -> InputGradient {
        self.gradient(at, |logits| self.goal.objective(logits))
    }

    /// Whether each of these points, one an image of the task, reaches the goal: one query each.
    pub fn reached(&self, at: &Tensor<4>) -> Vec<bool> {
        self.goal.reached(self.victim.logits(at.clone()))
    }

    /// The nearest points within the budget and within \[0,1\]; what may not change is as in the images.
    pub fn project(&self, points: Tensor<4>, budget: Budget) -> Tensor<4> {
        self.add(points - self.images(), budget)
    }

    /// The images with this change, of what may change, projected into the budget and cut to \[0,1\].
    pub fn add(&self, change: Tensor<4>, budget: Budget) -> Tensor<4> {
        let change = budget.norm().project(self.restrict(change), budget.size());
        (self.images() + change).clamp(0.0, 1.0)
    }

    /// Random numbers for each image, from its index in the data set, the seed, these parts and, after the
    /// first run, the run: what an attack of one's own draws from. Parts tell draws of one image apart, such
    /// as the number of the step.
    ///
    /// ```
    /// use histoguard::attack::prelude::*;
    ///
    /// const SIGNS: Purpose = Purpose::named("my attack's signs");
    ///
    /// /// A sign for every value, new in every step.
    /// fn signs(task: &Task<'_>, seed: u64, step: u64) -> Tensor<4> {
    ///     task.draws(SIGNS, seed, &[step]).perturbations(&task.images(), |values, generator| {
    ///         values.fill_with(|| if generator.random::<bool>() { 1.0 } else { -1.0 });
    ///     })
    /// }
    /// ```
    pub fn draws(&self, purpose: Purpose, seed: u64, parts: &[u64]) -> Draws {
        self.drawn(purpose, seed, [parts, self.later_runs()].concat())
    }

    /// The same with the run's number in the first run too: what [`random_start`](super::steps::random_start)
    /// draws from; only for the starts of attacks that have always drawn so.
    pub fn draws_of_run(&self, purpose: Purpose, seed: u64) -> Draws {
        self.drawn(purpose, seed, self.runs.clone())
    }

    fn drawn(&self, purpose: Purpose, seed: u64, parts: Vec<u64>) -> Draws {
        let free = self.region.as_ref().map(|region| region.free.clone());
        Draws::new(self.indices(), purpose, seed, parts, free)
    }

    /// The images as the whole task of the attack with this profile: for attacks that are put together from
    /// others, whose parameters they check as their own.
    pub fn of(&self, profile: Profile) -> Self {
        Self { progress: Progress::of(profile), ..self.afresh() }
    }

    fn indices(&self) -> Vec<u64> {
        (0..self.len()).map(|row| self.goal.index(row)).collect()
    }
}

impl Rows for Task<'_> {
    fn keep(&self, rows: &[usize]) -> Self {
        Self {
            images: take(&self.images, rows),
            goal: self.goal.keep(rows),
            positions: self.positions.keep(rows),
            region: self.region.keep(rows),
            ..self.clone()
        }
    }
}

fn check_range(images: &Tensor<4>) -> Result<(), AttackError> {
    // NaN compares false on both sides.
    let inside = images.clone().greater_equal_elem(0.0).bool_and(images.clone().lower_equal_elem(1.0));
    if images.shape().num_elements() == 0 || inside.all().into_scalar::<bool>() {
        return Ok(());
    }
    let (values, [batch, ..]) = (values(images.clone()), images.dims());
    let outside = |value: &f32| !(0.0..=1.0).contains(value);
    let position = values.iter().position(outside).expect("found above");
    Err(AttackError::ImageRange { image: position / (values.len() / batch), value: values[position] })
}
