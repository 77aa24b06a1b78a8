//! Adam for a batch whose images each have their own clock.

use crate::attack::prelude::*;

const DECAY: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;

/// Kingma & Ba, ICLR 2015, with the paper's constants. Not burn's: there all images share one clock, here one
/// may start again or leave the batch while the others go on.
#[derive(Clone, Debug)]
pub struct Adam {
    rate: f64,
    first: Tensor<4>,
    second: Tensor<4>,
    times: Vec<i32>,
}

impl Adam {
    /// At rest, for a batch of this shape.
    pub fn new(rate: f64, like: &Tensor<4>) -> Self {
        let zeros = like.zeros_like();
        Self { rate, first: zeros.clone(), second: zeros, times: vec![0; like.dims()[0]] }
    }

    /// After so many steps of all images that left these first and second moments.
    pub fn resumed([first, second]: [Tensor<4>; 2], times: i32) -> Self {
        let count = first.dims()[0];
        Self { rate: 0.0, first, second, times: vec![times; count] }
    }

    /// The same with this rate.
    pub fn at_rate(self, rate: f64) -> Self {
        Self { rate, ..self }
    }

    /// The first and second moments, before their corrections.
    pub fn moments(&self) -> [&Tensor<4>; 2] {
        [&self.first, &self.second]
    }

    /// Steps of each image since it began.
    pub fn times(&self) -> &[i32] {
        &self.times
    }

    /// The step to subtract.
    pub fn step(&mut self, gradient: Tensor<4>) -> Tensor<4> {
        let mix = |old: &Tensor<4>, new: Tensor<4>, decay| old.clone() * decay + new * (1.0 - decay);
        self.first = mix(&self.first, gradient.clone(), DECAY[0]);
        self.second = mix(&self.second, gradient.square(), DECAY[1]);
        self.times.iter_mut().for_each(|time| *time += 1);
        let correction = |decay: f64| -> Vec<f32> {
            self.times.iter().map(|&time| (1.0 / (1.0 - decay.powi(time))) as f32).collect()
        };
        let first = self.first.clone() * factors(&correction(DECAY[0]), &self.first);
        let second = self.second.clone() * factors(&correction(DECAY[1]), &self.second);
        first / (second.sqrt() + EPSILON) * self.rate
    }

    /// These images begin again.
    pub fn restart(&mut self, flags: &[bool]) {
        let keep: Vec<f32> = flags.iter().map(|&again| if again { 0.0 } else { 1.0 }).collect();
        let keep = factors(&keep, &self.first);
        self.first = self.first.clone() * keep.clone();
        self.second = self.second.clone() * keep;
        self.times.iter_mut().zip(flags).filter(|(_, again)| **again).for_each(|(time, _)| *time = 0);
    }
}

impl Rows for Adam {
    fn keep(&self, rows: &[usize]) -> Self {
        let (first, second) = (self.first.keep(rows), self.second.keep(rows));
        Self { rate: self.rate, first, second, times: self.times.keep(rows) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::values;
    use burn::tensor::Device;

    #[test]
    fn steps_are_those_of_the_paper_on_each_clock() {
        let gradient = |g: f32| Tensor::<4>::from_floats([[[[g]]], [[[g]]]], &Device::default());
        let mut adam = Adam::new(0.1, &gradient(0.0));
        let mut steps = vec![];
        for g in [1.0, -2.0, 4.0] {
            steps.push(values(adam.step(gradient(g))));
        }
        // Algorithm 1 by hand: m = 0.1, -0.11, 0.301; v = 0.001, 0.004999, 0.020994; with their corrections.
        let expected = |m: f64, v: f64, t: i32| {
            0.1 * (m / (1.0 - 0.9f64.powi(t))) / ((v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8)
        };
        let by_hand =
            [expected(0.1, 0.001, 1), expected(-0.11, 0.004_999, 2), expected(0.301, 0.020_994_001, 3)];
        for (step, expected) in steps.iter().zip(by_hand) {
            assert!((f64::from(step[0]) - expected).abs() < 1e-6, "{step:?} {expected}");
        }
        adam.restart(&[true, false]);
        let mixed = values(adam.step(gradient(1.0)));
        assert!((mixed[0] - 0.1).abs() < 1e-6 && (mixed[1] - 0.1).abs() > 1e-3, "{mixed:?}");
        let alone = values(adam.keep(&[1]).step(gradient(3.0).keep(&[1])));
        assert_eq!(alone, values(adam.step(gradient(3.0)))[1..]);
    }
}
