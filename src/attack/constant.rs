//! The search for the constant that weighs success against the size of the change.

use burn::tensor::Tensor;

use super::Norm;
use super::rows::values;

/// For each image the smallest constant that succeeds: times ten until one does, then bisection, as in
/// Carlini and Wagner's released `l2_attack.py`.
pub(crate) struct ConstantSearch {
    constants: Vec<f64>,
    lower: Vec<f64>,
    upper: Vec<f64>,
    done: usize,
    steps: usize,
}

impl ConstantSearch {
    pub(crate) fn new(images: usize, initial: f64, steps: usize) -> Self {
        Self {
            constants: vec![initial; images],
            lower: vec![0.0; images],
            upper: vec![f64::INFINITY; images],
            done: 0,
            steps,
        }
    }

    /// The constants to try now.
    pub(crate) fn constants(&self) -> &[f64] {
        &self.constants
    }

    /// Which constants succeeded, before the next ones.
    pub(crate) fn update(&mut self, succeeded: &[bool]) {
        self.done += 1;
        for (i, &succeeded) in succeeded.iter().enumerate() {
            let constant = self.constants[i];
            let bound = if succeeded { &mut self.upper[i] } else { &mut self.lower[i] };
            *bound = constant;
            // A long search ends with the smallest constant that did succeed, once more.
            self.constants[i] =
                match (self.steps >= 10 && self.done + 1 == self.steps, self.upper[i].is_finite()) {
                    (true, _) => self.upper[i].min(1e10),
                    (false, true) => (self.lower[i] + self.upper[i]) / 2.0,
                    (false, false) => constant * 10.0,
                };
        }
    }
}

/// The slots whose loss, the hinge plus the squared length of the change, has fallen by 0.01 % since the last
/// look; `last` takes the new losses.
pub(crate) fn falling(hinge: &[f32], change: Tensor<4>, last: &mut Vec<f32>) -> Vec<usize> {
    let lengths = values(Norm::L2.measure(change));
    let losses: Vec<f32> = hinge.iter().zip(lengths).map(|(hinge, length)| hinge + length * length).collect();
    let slots = (0..losses.len()).filter(|&slot| losses[slot] <= 0.9999 * last[slot]).collect();
    *last = losses;
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_then_bisects() {
        let mut search = ConstantSearch::new(2, 1.0, 12);
        // The first image needs at least 60, the second nothing reaches.
        let mut seen = vec![];
        for _ in 0..12 {
            let constants = search.constants().to_vec();
            seen.push(constants[0]);
            search.update(&[constants[0] >= 60.0, false]);
        }
        assert_eq!(seen[..6], [1.0, 10.0, 100.0, 55.0, 77.5, 66.25]);
        let smallest = seen[..11].iter().copied().filter(|&c| c >= 60.0).fold(f64::INFINITY, f64::min);
        assert_eq!(seen[11], smallest);
    }
}
