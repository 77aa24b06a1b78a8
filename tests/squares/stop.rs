//! An objective that stops its run.

use burn::train::Interrupter;
use histoguard::data::Batch;
use histoguard::defense::{DefenseError, Loss, Step, Trainee};
use histoguard::parameter::Parameter;
use histoguard::prelude::*;
use serde::{Serialize, Serializer};

/// Another objective, that stops the run at the first batch of one epoch, as Ctrl-C would.
struct StopAt {
    objective: Box<dyn Objective>,
    epoch: usize,
    interrupter: Interrupter,
}

impl std::fmt::Debug for StopAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, stopped in epoch {}", self.objective, self.epoch)
    }
}

impl Objective for StopAt {
    fn name(&self) -> String {
        self.objective.name()
    }

    fn parameters(&self) -> Vec<Parameter> {
        self.objective.parameters()
    }

    fn craft(&self, step: &Step<'_>) -> Result<Tensor<4>, DefenseError> {
        if step.batch().epoch == self.epoch {
            self.interrupter.stop(None);
        }
        self.objective.craft(step)
    }

    fn loss(&self, network: &dyn Trainee, batch: &Batch, crafted: Tensor<4>) -> Loss {
        self.objective.loss(network, batch, crafted)
    }

    fn place(&self, network: &dyn Trainee, batch: &Batch, crafted: &Tensor<4>) -> Option<Box<dyn Trainee>> {
        self.objective.place(network, batch, crafted)
    }

    fn budget(&self) -> Option<Budget> {
        self.objective.budget()
    }
}

/// As the other one: the stop is no setting.
impl Serialize for StopAt {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Of the objective itself: a box has settings of its own, with the name.
        (*self.objective).settings().serialize(to)
    }
}

/// The run with this objective, stopped at the first batch of an epoch.
pub fn stopping(trainer: Trainer, objective: impl Into<Box<dyn Objective>>, epoch: usize) -> Trainer {
    let interrupter = Interrupter::new();
    let stop = StopAt { objective: objective.into(), epoch, interrupter: interrupter.clone() };
    trainer.objective(stop).interrupter(interrupter)
}
