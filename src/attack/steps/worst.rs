//! The worst case of each image over several tries.

use crate::attack::prelude::*;

/// What a try made of some images, and how far it went.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The perturbed images.
    pub images: Tensor<4>,
    /// Whether each reached the goal.
    pub reached: Vec<bool>,
    /// How bad each is among those that reached the goal, or among those that did not; NaN is never bad.
    pub scores: Vec<f32>,
}

impl Tried {
    /// What the victim says to these versions of the task's images, by one query each; the score is the
    /// [margin](crate::attack::Goal::margin).
    pub fn judged(task: &Task<'_>, images: Tensor<4>) -> Self {
        Self::scored(task, images, |logits| task.goal().margin(logits))
    }

    /// The same with another score, one value an image.
    pub fn scored(task: &Task<'_>, images: Tensor<4>, score: impl FnOnce(Tensor<2>) -> Tensor<1>) -> Self {
        let logits = task.victim().logits(images.clone());
        Self { images, reached: task.goal().reached(logits.clone()), scores: values(score(logits)) }
    }
}

/// The try of each image that went furthest: one that reaches the goal before one that does not, then the one
/// with the larger score, then the earlier one.
#[derive(Clone, Debug)]
pub struct Worst(pub Tried);

impl Worst {
    /// No try yet: the images themselves.
    pub fn new(images: Tensor<4>) -> Self {
        let count = images.dims()[0];
        Self(Tried { images, reached: vec![false; count], scores: vec![f32::NEG_INFINITY; count] })
    }

    /// The images that have not reached the goal.
    pub fn standing(&self) -> Vec<usize> {
        flagged(&self.0.reached, false)
    }

    /// Keeps what is worse than before of a try on the images at these positions.
    pub fn offer(&mut self, positions: &[usize], tried: &Tried) {
        let Tried { images, reached, scores } = &mut self.0;
        let worse =
            |&i: &usize| (tried.reached[i], tried.scores[i]) > (reached[positions[i]], scores[positions[i]]);
        let better: Vec<usize> = (0..positions.len()).filter(worse).collect();
        if better.is_empty() {
            return;
        }
        let places = positions.to_vec().keep(&better);
        for (&i, &place) in better.iter().zip(&places) {
            (reached[place], scores[place]) = (tried.reached[i], tried.scores[i]);
        }
        *images = put(images.clone(), &places, take(&tried.images, &better));
    }

    /// After so many runs in turn, each on these rows of the task, or on the images that have not reached the
    /// goal by then; a run is told its number.
    ///
    /// # Errors
    ///
    /// As `run`.
    pub fn after(
        mut self,
        task: &Task<'_>,
        runs: usize,
        rows: Option<&[usize]>,
        mut run: impl FnMut(&Task<'_>, usize) -> Result<Tried, AttackError>,
    ) -> Result<Tensor<4>, AttackError> {
        let task = task.afresh();
        for number in 0..runs {
            let rows = rows.map_or_else(|| self.standing(), <[usize]>::to_vec);
            if rows.is_empty() {
                break;
            }
            self.offer(&rows, &run(&task.keep(&rows), number)?);
        }
        Ok(self.0.images)
    }
}

/// The worst of several runs, each on the images that have not reached the goal, or `all` of them. Positions
/// of a run's images are those in `task`.
///
/// # Errors
///
/// As `run`.
pub fn worst_of(
    task: &Task<'_>,
    runs: usize,
    all: bool,
    mut run: impl FnMut(&Task<'_>) -> Result<Tried, AttackError>,
) -> Result<Tensor<4>, AttackError> {
    let rows: Option<Vec<usize>> = all.then(|| (0..task.len()).collect());
    Worst::new(task.images()).after(task, runs, rows.as_deref(), |task, number| run(&task.in_run(number)))
}

/// [`worst_of`] runs that do not judge themselves, by one query an image and run; a single run needs no
/// judge.
///
/// # Errors
///
/// As `run`.
pub fn restarts(
    task: &Task<'_>,
    runs: usize,
    all: bool,
    mut run: impl FnMut(&Task<'_>) -> Result<Tensor<4>, AttackError>,
) -> Result<Tensor<4>, AttackError> {
    match runs {
        1 => run(task),
        _ => worst_of(task, runs, all, |task| Ok(Tried::judged(task, run(task)?))),
    }
}

/// The queries that judge the runs of [`restarts`].
pub(crate) fn judging(runs: usize) -> Queries {
    Queries::forwards(if runs > 1 { runs } else { 0 })
}

/// A number of restarts beside its ranges: without a random start all of them would be the same.
pub(crate) fn restart_parameters(restarts: usize, random_start: bool) -> Vec<Parameter> {
    let differ = random_start || restarts == 1;
    vec![
        Parameter::at_least("restarts", restarts, 1),
        Parameter::new("restarts", "1 without a random start", differ, restarts),
    ]
}
