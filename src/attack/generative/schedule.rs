//! How long and how fast a generative attack learns.

use burn::config::Config;

use crate::parameter::Parameter;

/// How long and how fast a generative attack learns: epochs of Adam for generator and discriminator.
///
/// The defaults are those of mathcbc's code, there with Adam anew where the learning rate falls, as here.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | epochs | 60 | at least 1 |
/// | batch size | 128 | at least 1 |
/// | learning rate | 0.001 | a finite number above 0 |
/// | milestones | 50 and 80: epochs from which on the learning rate is a tenth | at least 1 each |
/// | seed | 0 | any |
#[derive(Config, Debug, PartialEq)]
pub struct GanSchedule {
    /// Passes over the images.
    #[config(default = 60)]
    pub epochs: usize,
    /// Images of a step.
    #[config(default = 128)]
    pub batch_size: usize,
    /// Adam's, of both networks.
    #[config(default = 0.001)]
    pub learning_rate: f64,
    /// Epochs, counted from 1, from which on the learning rate is a tenth of what it was, with moments anew.
    #[config(default = "vec![50, 80]")]
    pub milestones: Vec<usize>,
    /// Initial weights and the order of the images come from it.
    #[config(default = 0)]
    pub seed: u64,
}

impl GanSchedule {
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::at_least("epochs", self.epochs, 1),
            Parameter::at_least("batch size", self.batch_size, 1),
            Parameter::above_zero("learning rate", self.learning_rate),
            Parameter::at_least("milestones", self.milestones.iter().copied().min().unwrap_or(1), 1),
        ]
    }

    /// Of this epoch, counted from 1.
    pub(super) fn learning_rate(&self, epoch: usize) -> f64 {
        let reached = self.milestones.iter().filter(|&&milestone| milestone <= epoch).count();
        self.learning_rate * 0.1f64.powi(reached as i32)
    }

    /// Whether Adam starts anew with this epoch, counted from 1.
    pub(super) fn is_anew(&self, epoch: usize) -> bool {
        self.milestones.contains(&epoch)
    }
}
