//! The perturbations that the Square attack tries: squares of one colour, or bumps in L2 and L1.

use rand::{Rng, RngExt};

use crate::attack::prelude::*;
use crate::pixels::{change, changed, project_l1_in_box};

/// Keeps quotients of lengths finite, as the reference implementation does.
const TINY: f64 = 1e-12;

/// The part of one image that squares are laid on, and the budget.
#[derive(Clone)]
pub(super) struct Canvas {
    norm: Norm,
    epsilon: f64,
    channels: usize,
    /// Height and width of the image.
    image: [usize; 2],
    /// The upper left corner of the part.
    corner: [usize; 2],
    /// Height and width of the part.
    height: usize,
    width: usize,
    /// Values that stay as they are.
    fixed: Vec<usize>,
}

/// A square of pixels by its upper left corner.
#[derive(Clone, Copy)]
struct Window {
    top: usize,
    left: usize,
    side: usize,
}

impl Canvas {
    /// The whole image.
    pub(super) fn new(budget: Budget, [channels, height, width]: [usize; 3]) -> Self {
        let (norm, epsilon, image, fixed) = (budget.norm(), budget.size(), [height, width], Vec::new());
        Self { norm, epsilon, channels, image, corner: [0, 0], height, width, fixed }
    }

    /// The smallest rectangle around the values that may change, at least one.
    pub(super) fn around(self, free: &[usize]) -> Self {
        let [height, width] = self.image;
        let place = |at: &usize| [at / width % height, at % width];
        let ends = |side: usize| {
            let places = free.iter().map(move |at| place(at)[side]);
            [places.clone().min().unwrap_or(0), places.max().unwrap_or(0)]
        };
        let [[top, bottom], [left, right]] = [ends(0), ends(1)];
        let mut fixed = vec![true; self.channels * height * width];
        free.iter().for_each(|&at| fixed[at] = false);
        let fixed = (0..fixed.len()).filter(|&at| fixed[at]).collect();
        let corner = [top, left];
        Self { corner, height: bottom - top + 1, width: right - left + 1, fixed, ..self }
    }

    /// Pixels of the part.
    pub(super) fn area(&self) -> usize {
        self.height * self.width
    }

    /// The image to begin with: vertical stripes of the whole budget, or a grid of bumps (Andriushchenko et al.
    /// 2020, section 3.4).
    pub(super) fn start(&self, clean: &[f32], rng: &mut impl Rng) -> Vec<f32> {
        let mut change = vec![0.0; clean.len()];
        if self.norm == Norm::Linf {
            for channel in 0..self.channels {
                for column in 0..self.width {
                    let value = sign(rng) * self.epsilon;
                    (0..self.height).for_each(|row| change[self.at(channel, row, column)] = value);
                }
            }
            return self.finish(clean, change);
        }
        let side = (self.height.min(self.width) / 5).max(1);
        let margins = [self.height % side / 2, self.width % side / 2];
        for row in 0..self.height / side {
            for column in 0..self.width / side {
                let window = Window { top: margins[0] + row * side, left: margins[1] + column * side, side };
                let bump = self.bump(side, rng);
                for channel in 0..self.channels {
                    let sign = sign(rng);
                    self.cells(channel, window).zip(&bump).for_each(|(i, b)| change[i] = sign * b);
                }
            }
        }
        self.finish(clean, change)
    }

    /// A change of the best image so far inside a random square of about this `side` (algorithms 2 and 3).
    pub(super) fn propose(&self, clean: &[f32], best: &[f32], side: usize, rng: &mut impl Rng) -> Vec<f32> {
        let mut change = change(clean, best);
        if self.norm == Norm::Linf {
            let window = self.window(side.max(1), rng);
            for channel in 0..self.channels {
                let value = sign(rng) * self.epsilon;
                self.cells(channel, window).for_each(|i| change[i] = value);
            }
            return self.finish(clean, change);
        }
        let side = side.max(3) | 1;
        let (window, source) = (self.window(side, rng), self.window(side, rng));
        let bump = self.bump(window.side, rng);
        let unused = self.unused(self.norm.measure_values(&change));
        for channel in 0..self.channels {
            let old: Vec<f64> = self.cells(channel, window).map(|i| change[i]).collect();
            let outside = self.cells(channel, source).filter(|&i| !self.inside(i, window)).map(|i| change[i]);
            let both: Vec<f64> = old.iter().copied().chain(outside).collect();
            let (length, sign) = (self.norm.measure_values(&old) + TINY, sign(rng));
            let mixed: Vec<f64> = bump.iter().zip(&old).map(|(b, o)| sign * b + o / length).collect();
            let scale = self.share(unused, self.norm.measure_values(&both))
                / (self.norm.measure_values(&mixed) + TINY);
            self.cells(channel, source).for_each(|i| change[i] = 0.0);
            self.cells(channel, window).zip(mixed).for_each(|(i, m)| change[i] = m * scale);
        }
        self.finish(clean, change)
    }

    /// What the budget has left over this length; in L2 its square.
    fn unused(&self, length: f64) -> f64 {
        let measured = |length: f64| if self.norm == Norm::L2 { length.powi(2) } else { length };
        (measured(self.epsilon) - measured(length)).max(0.0)
    }

    /// The length of a channel's new square: that of the two old ones and its part of what is left over. L1
    /// takes it for every channel and leaves the rest to the projection, as the reference implementation.
    fn share(&self, unused: f64, old: f64) -> f64 {
        let channels = self.channels as f64;
        if self.norm == Norm::L2 { (unused / channels + old.powi(2)).sqrt() } else { unused + old * channels }
    }

    /// The clean image with this change, made to use up the budget and cut to \[0,1\].
    fn finish(&self, clean: &[f32], mut change: Vec<f64>) -> Vec<f32> {
        self.fixed.iter().for_each(|&at| change[at] = 0.0);
        match self.norm {
            Norm::L1 => project_l1_in_box(clean, &mut change, self.epsilon),
            Norm::L2 => {
                let scale = self.epsilon / (self.norm.measure_values(&change) + TINY);
                change.iter_mut().for_each(|c| *c *= scale);
            }
            _ => {}
        }
        changed(clean, change)
    }

    fn window(&self, side: usize, rng: &mut impl Rng) -> Window {
        let side = side.min(self.height).min(self.width);
        // As in the authors' code the last place is left out.
        let top = rng.random_range(0..(self.height - side).max(1));
        Window { top, left: rng.random_range(0..(self.width - side).max(1)), side }
    }

    fn at(&self, channel: usize, row: usize, column: usize) -> usize {
        let [height, width] = self.image;
        (channel * height + self.corner[0] + row) * width + self.corner[1] + column
    }

    fn inside(&self, index: usize, window: Window) -> bool {
        let ([height, width], [top, left]) = (self.image, self.corner);
        let (row, column) = (index / width % height, index % width);
        let within = |at: usize, from: usize| (from..from + window.side).contains(&at);
        within(row, top + window.top) && within(column, left + window.left)
    }

    fn cells(&self, channel: usize, window: Window) -> impl Iterator<Item = usize> + use<'_> {
        let Window { top, left, side } = window;
        (0..side * side).map(move |i| self.at(channel, top + i / side, left + i % side))
    }

    /// A square of length one: a pyramid up in one half, down in the other, of either orientation (equation 2).
    fn bump(&self, side: usize, rng: &mut impl Rng) -> Vec<f64> {
        let upper = side / 2;
        let mut bump = self.pyramid(upper, side);
        bump.extend(self.pyramid(side - upper, side).iter().map(|b| -b));
        let length = self.norm.measure_values(&bump);
        let transposed = rng.random::<bool>();
        let at = |i: usize| if transposed { i % side * side + i / side } else { i };
        (0..side * side).map(|i| bump[at(i)] / length).collect()
    }

    /// `height` rows of `width`, highest in the middle, of length one.
    fn pyramid(&self, height: usize, width: usize) -> Vec<f64> {
        let power = if self.norm == Norm::L1 { 4 } else { 2 };
        let [row, column] = [height / 2, width / 2];
        let levels = row.max(column) + 1;
        let value = |i: usize| {
            let distance = (i / width).abs_diff(row).max((i % width).abs_diff(column));
            (distance..levels).map(|level| ((level + 1) as f64).powi(-power)).sum::<f64>()
        };
        let values: Vec<f64> = (0..height * width).map(value).collect();
        let length = self.norm.measure_values(&values);
        values.iter().map(|v| v / length).collect()
    }
}

fn sign(rng: &mut impl Rng) -> f64 {
    if rng.random::<bool>() { 1.0 } else { -1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::Epsilon;
    use crate::random::{Purpose, generator};

    fn canvas(norm: Norm, [height, width]: [usize; 2], epsilon: f64) -> Canvas {
        Canvas::new(Budget::new(norm, Epsilon::unit(epsilon)), [3, height, width])
    }

    /// `SquareAttack.eta_rectangles(2, 4)` of pyautoattack 0.2.0 before its division by the length, by hand: levels
    /// 1, 1/4, 1/9 from the middle at row 1, column 2.
    #[test]
    fn pyramids_are_those_of_the_reference() {
        let (a, b, c) = (1.0 + 0.25 + 1.0 / 9.0, 0.25 + 1.0 / 9.0, 1.0 / 9.0);
        let expected = [c, b, b, b, c, b, a, b];
        let length = expected.iter().map(|e| e * e).sum::<f64>().sqrt();
        let found = canvas(Norm::L2, [9, 9], 1.0).pyramid(2, 4);
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e / length).abs() < 1e-12), "{found:?}");
    }

    #[test]
    fn every_proposal_keeps_to_ball_and_box_at_any_size() {
        for norm in [Norm::Linf, Norm::L2, Norm::L1] {
            for size in [[1, 1], [2, 7], [9, 4], [16, 16]] {
                let canvas = canvas(norm, size, 0.7);
                let mut rng = generator(Purpose::SQUARE, 1, &[]);
                let clean: Vec<f32> = (0..3 * size[0] * size[1]).map(|_| rng.random()).collect();
                let mut best = canvas.start(&clean, &mut rng);
                let mut moved = false;
                for side in [1, 2, 3, 5, 20] {
                    let next = canvas.propose(&clean, &best, side, &mut rng);
                    let change: Vec<f64> =
                        next.iter().zip(&clean).map(|(&n, &c)| f64::from(n) - f64::from(c)).collect();
                    assert!(norm.measure_values(&change) <= 0.7 + 1e-5, "{norm} {size:?}");
                    assert!(next.iter().all(|p| (0.0..=1.0).contains(p)));
                    moved |= next != best;
                    best = next;
                }
                assert!(moved, "{norm} {size:?}");
            }
        }
    }
}
