//! The Square attack.

use burn::tensor::{Tensor, TensorData};
use rand::rngs::Xoshiro256PlusPlus;
use rayon::prelude::*;

use super::super::base::{check, check_parameter, step};
use super::super::rows::{put, take, values};
use super::super::{Access, Attack, AttackError, Goal, Norm};
use super::proposal::Canvas;
use crate::classifier::Frozen;
use crate::pixels::Epsilon;
use crate::random::{Purpose, generator};

/// Proposals of 10000 after which the squares get smaller: half the area of before at each.
const SMALLER: [usize; 9] = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000];
const SCHEDULE: usize = 10_000;

/// The Square attack: random squares of colour, kept where they bring the image closer to the goal. It asks for
/// logits only.
///
/// Andriushchenko, Croce, Flammarion & Hein, "Square Attack: a query-efficient black-box adversarial attack via
/// random search", ECCV 2020, algorithms 1 to 3; the L1 version of Croce & Hein 2021. Parameters and losses are
/// those of the authors' implementation in `pyautoattack` 0.2.0 on PyPI: the margin, and the target's
/// cross-entropy for a targeted goal. Each image has squares of its own, not those of its batch.
///
/// An image that does not reach the goal comes back as the point of highest loss.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | epsilon | required | finite, at least 0 |
/// | norm | L-infinity | L-infinity, L2, L1 |
/// | queries: proposals a run, after its start | 5000 | at least 1 |
/// | restarts: runs | 1 | at least 1 |
/// | p init: share of the area that the first squares cover | 0.8 | more than 0, up to 1 |
/// | rescaled schedule: squares shrink over all queries, else over 10000 | yes | |
/// | seed | 0 | any |
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// // Rounded pixels have no gradient to follow.
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = (x * 20.0).round().mean_dims(&[1, 2, 3]).reshape([-1, 1]) / 20.0;
///     Tensor::cat(vec![bright.clone().neg() + 0.5, bright - 0.5], 1)
/// });
/// let attack = Square::new(Epsilon::unit(0.2)).with_queries(100);
/// let image = Tensor::full([1, 1, 8, 8], 0.6, &device);
/// let adversarial = attack.perturb(&victim, image, &Goal::untargeted([1]))?;
/// assert_eq!(victim.predict(adversarial), [0]);
/// assert_eq!(victim.watch().queries().gradients, 0);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Square {
    epsilon: Epsilon,
    norm: Norm,
    queries: usize,
    restarts: usize,
    p_init: f64,
    rescaled_schedule: bool,
    seed: u64,
}

/// An image that is still tried.
struct Searched {
    position: usize,
    clean: Vec<f32>,
    best: Vec<f32>,
    loss: f32,
    rng: Xoshiro256PlusPlus,
}

impl Square {
    /// Square with an L-infinity budget: one run of 5000 proposals.
    pub fn new(epsilon: Epsilon) -> Self {
        Self {
            epsilon,
            norm: Norm::Linf,
            queries: 5000,
            restarts: 1,
            p_init: 0.8,
            rescaled_schedule: true,
            seed: 0,
        }
    }

    /// The same in another norm; epsilon is then that norm over the whole image.
    pub fn with_norm(mut self, norm: Norm) -> Self {
        self.norm = norm;
        self
    }

    /// The same with so many proposals a run.
    pub fn with_queries(mut self, queries: usize) -> Self {
        self.queries = queries;
        self
    }

    /// The same with so many runs.
    pub fn with_restarts(mut self, restarts: usize) -> Self {
        self.restarts = restarts;
        self
    }

    /// The same with first squares of another share of the area.
    pub fn with_p_init(mut self, p_init: f64) -> Self {
        self.p_init = p_init;
        self
    }

    /// Whether squares shrink over all queries, or over 10000 as in the paper and in AutoAttack.
    pub fn with_rescaled_schedule(mut self, rescaled_schedule: bool) -> Self {
        self.rescaled_schedule = rescaled_schedule;
        self
    }

    /// The same with other squares.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    fn check_parameters(&self) -> Result<(), AttackError> {
        check_parameter(self.norm != Norm::L0, "norm", "Linf, L2 or L1", self.norm)?;
        check_parameter(self.queries > 0, "queries", "at least 1", self.queries)?;
        check_parameter(self.restarts > 0, "restarts", "at least 1", self.restarts)?;
        let share = self.p_init > 0.0 && self.p_init <= 1.0;
        check_parameter(share, "p_init", "a number above 0, up to 1", self.p_init)
    }

    /// The side of the squares of a proposal.
    fn side(&self, proposal: usize, canvas: Canvas) -> usize {
        let proposal = match self.rescaled_schedule {
            true => (proposal as f64 / self.queries as f64 * SCHEDULE as f64) as usize,
            false => proposal,
        };
        let halvings = SMALLER.iter().filter(|&&after| proposal > after).count() as i32;
        let area = self.p_init * 0.5f64.powi(halvings) * (canvas.height * canvas.width) as f64;
        area.sqrt().round_ties_even() as usize
    }

    /// The victim's word on some images: whether each reached the goal, and its loss.
    fn judge(
        &self,
        victim: &Frozen,
        pixels: Vec<f32>,
        shape: [usize; 3],
        goal: &Goal,
    ) -> (Vec<bool>, Vec<f32>) {
        let [channels, height, width] = shape;
        let data = TensorData::new(pixels, [goal.classes().len(), channels, height, width]);
        let logits = victim.logits(Tensor::from_data(data, victim.device()));
        let reached = goal.reached(logits.clone());
        let losses = if goal.is_targeted() { goal.objective(logits) } else { goal.margin(logits) };
        (reached, values(losses))
    }

    /// One run on these images: whether each reached the goal, its last or best point, and the loss there.
    fn run(
        &self,
        victim: &Frozen,
        images: &Tensor<4>,
        goal: &Goal,
        run: usize,
    ) -> Result<(Vec<bool>, Tensor<4>, Vec<f32>), AttackError> {
        let [count, channels, height, width] = images.dims();
        let shape = [channels, height, width];
        let canvas = Canvas { norm: self.norm, channels, height, width, epsilon: self.epsilon.value() };
        let size = shape.iter().product::<usize>();
        let clean = values(images.clone());
        let begin = |position: usize| {
            let mut rng = generator(Purpose::Square, self.seed, &[goal.index(position), run as u64]);
            let clean = clean[position * size..][..size].to_vec();
            let best = canvas.start(&clean, &mut rng);
            Searched { position, clean, best, loss: f32::NEG_INFINITY, rng }
        };
        let mut searched: Vec<Searched> = (0..count).into_par_iter().map(begin).collect();
        let mut result = clean.clone();
        let mut losses = vec![f32::NEG_INFINITY; count];
        let mut fallen = vec![false; count];
        for query in 0..=self.queries {
            if searched.is_empty() {
                break;
            }
            step(victim, self.name(), run * (self.queries + 1) + query, self.restarts * (self.queries + 1))?;
            let propose = |image: &mut Searched| match query {
                0 => image.best.clone(),
                _ => canvas.propose(&image.clean, &image.best, self.side(query - 1, canvas), &mut image.rng),
            };
            let proposals: Vec<Vec<f32>> = searched.par_iter_mut().map(propose).collect();
            let positions: Vec<usize> = searched.iter().map(|image| image.position).collect();
            let (reached, found) = self.judge(victim, proposals.concat(), shape, &goal.select(&positions));
            for (i, (image, proposal)) in searched.iter_mut().zip(proposals).enumerate() {
                if reached[i] || found[i] > image.loss {
                    image.best = proposal;
                    image.loss = found[i];
                }
                fallen[image.position] = reached[i];
            }
            let mut finish = |image: &Searched| {
                result[image.position * size..][..size].copy_from_slice(&image.best);
                losses[image.position] = image.loss;
            };
            let last = query == self.queries;
            searched.iter().filter(|image| last || fallen[image.position]).for_each(&mut finish);
            searched.retain(|image| !fallen[image.position]);
        }
        Ok((fallen, Tensor::from_data(TensorData::new(result, images.dims()), &images.device()), losses))
    }
}

impl Attack for Square {
    fn name(&self) -> &'static str {
        "Square"
    }

    fn norm(&self) -> Norm {
        self.norm
    }

    fn epsilon(&self) -> Option<Epsilon> {
        Some(self.epsilon)
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        Box::new(Self { epsilon, ..*self })
    }

    fn access(&self) -> Access {
        Access::Logits
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        Some(Box::new(Self { queries: 2 * self.queries, ..*self }))
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        check(victim, &images, goal, self.epsilon)?;
        self.check_parameters()?;
        let images = images.inner();
        let count = images.dims()[0];
        if self.epsilon == Epsilon::ZERO || images.shape().num_elements() == 0 {
            return Ok(images);
        }
        let mut result = images.clone();
        let mut highest = vec![f32::NEG_INFINITY; count];
        let mut left: Vec<usize> = (0..count).collect();
        for run in 0..self.restarts {
            if left.is_empty() {
                break;
            }
            let (fallen, found, losses) =
                self.run(victim, &take(&images, &left), &goal.select(&left), run)?;
            let better: Vec<usize> =
                (0..left.len()).filter(|&i| fallen[i] || losses[i] > highest[left[i]]).collect();
            if !better.is_empty() {
                let positions: Vec<usize> = better.iter().map(|&i| left[i]).collect();
                result = put(result, &positions, take(&found, &better));
                better.iter().for_each(|&i| highest[left[i]] = losses[i]);
            }
            let mut fallen = fallen.into_iter();
            left.retain(|_| !fallen.next().expect("one flag an image"));
        }
        Ok(result)
    }
}
