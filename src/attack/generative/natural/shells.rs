//! The shells that a search goes through, and in which order.

use burn::config::Config;
use serde::{Deserialize, Serialize};

use crate::parameter::{self, Parameter, ParameterError};

/// Below this radius a search has arrived, as in the code of Zhao et al.
const ARRIVED: f64 = 1e-4;

/// In which order a search goes through the shells around a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShellOrder {
    /// From the code outwards until one reaches the goal: the paper's algorithm 1, iterative stochastic
    /// search.
    Iterative,
    /// First the halves of a wide shell on either side of the boundary, then thin ones inwards: the paper's
    /// algorithm 2, hybrid shrinking search.
    Hybrid,
}

/// How [`Natural`](super::Natural) searches around the code of an image: in shells, each with so many random
/// directions at random radii of it, of which the nearest one that reaches the goal counts.
///
/// Zhao, Dua & Singh, ICLR 2018, algorithms 1 and 2 with the defaults of their code (`search.py`), where the
/// iterative search has no end.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | order | hybrid | |
/// | samples | 5000 | at least 1 |
/// | step | 0.01 | a finite number above 0 |
/// | largest | 10 | a finite number above 0 |
/// | patience | 5, of the hybrid search | at least 1 |
/// | queries, for each image | no bound | at least 1 |
/// | seed | 0 | any |
#[derive(Config, Copy, Debug, PartialEq)]
pub struct ShellSearch {
    /// Which shells come first.
    #[config(default = "ShellOrder::Hybrid")]
    pub order: ShellOrder,
    /// Candidates of a shell.
    #[config(default = 5000)]
    pub samples: usize,
    /// Thickness of a shell, in the L2 norm of codes.
    #[config(default = 0.01)]
    pub step: f64,
    /// The largest radius.
    #[config(default = 10.0)]
    pub largest: f64,
    /// How often the hybrid search tries a thin shell before it ends.
    #[config(default = 5)]
    pub patience: usize,
    /// Queries of an image; a shell that might need more is not begun.
    pub queries: Option<usize>,
    /// The seed of the directions.
    #[config(default = 0)]
    pub seed: u64,
}

impl ShellSearch {
    /// Whether all of it is in its ranges, before anything is learned for it.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] if a parameter is out of its documented range.
    pub fn check(&self) -> Result<(), ParameterError> {
        parameter::check(self.parameters())
    }

    pub(super) fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::at_least("samples", self.samples, 1),
            Parameter::above_zero("step", self.step),
            Parameter::above_zero("largest", self.largest),
            Parameter::at_least("patience", self.patience, 1),
            Parameter::at_least("queries", self.queries.unwrap_or(1), 1),
        ]
    }

    /// Shells at most, if anything bounds them beforehand.
    pub(super) fn most(&self) -> Option<usize> {
        // Rounding may leave one more.
        let outwards = || ((self.largest / self.step).ceil() as usize).saturating_add(1);
        (self.order == ShellOrder::Iterative).then(outwards)
    }
}

/// The search around one code: a shell, what it gave, and the next one.
#[derive(Clone, Debug)]
pub(super) struct Shells {
    settings: ShellSearch,
    low: f64,
    high: f64,
    /// Whether the hybrid search is at its thin shells.
    inwards: bool,
    misses: usize,
    done: bool,
}

impl Shells {
    pub(super) fn new(settings: ShellSearch) -> Self {
        let high = match settings.order {
            ShellOrder::Iterative => settings.step.min(settings.largest),
            ShellOrder::Hybrid => settings.largest,
        };
        Self { settings, low: 0.0, high, inwards: false, misses: 0, done: false }
    }

    /// The radii of the next shell, from one up to the other; `None` at the end.
    pub(super) fn next(&self) -> Option<[f64; 2]> {
        (!self.done).then_some([self.low, self.high])
    }

    /// What the shell gave: the radius of its nearest hit.
    pub(super) fn tell(&mut self, nearest: Option<f64>) {
        let ShellSearch { step, largest, patience, .. } = self.settings;
        match (self.settings.order, nearest) {
            (ShellOrder::Iterative, Some(_)) => self.done = true,
            (ShellOrder::Iterative, None) => {
                self.low += step;
                self.high = (self.low + step).min(largest);
                self.done = self.low >= largest;
            }
            (ShellOrder::Hybrid, nearest) if !self.inwards => {
                let thin = self.high - self.low < step;
                let ended = match nearest {
                    Some(radius) => {
                        (self.low, self.high) = (radius / 2.0, radius);
                        self.high - self.low < step
                    }
                    None => {
                        self.low += (self.high - self.low) / 2.0;
                        thin
                    }
                };
                if ended {
                    (self.low, self.inwards) = ((self.high - step).max(0.0), true);
                    self.done = self.high <= ARRIVED;
                }
            }
            (ShellOrder::Hybrid, None) => {
                self.misses += 1;
                self.done = self.misses == patience;
            }
            (ShellOrder::Hybrid, Some(_)) => {
                (self.low, self.high, self.misses) = ((self.low - step).max(0.0), self.low, 0);
                self.done = self.high <= ARRIVED;
            }
        }
    }
}
