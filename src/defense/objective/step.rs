//! What an objective crafts from.

use std::cell::OnceCell;

use super::trainee::Trainee;
use crate::attack::Goal;
use crate::classifier::Frozen;
use crate::data::Batch;
use crate::random::{Purpose, mix};

/// One training step: the network as it is, and the batch.
pub struct Step<'a> {
    network: &'a dyn Trainee,
    batch: &'a Batch,
    victim: OnceCell<Frozen>,
    in_training: OnceCell<Frozen>,
}

impl<'a> Step<'a> {
    /// A step of this network on this batch.
    pub fn new(network: &'a dyn Trainee, batch: &'a Batch) -> Self {
        Self { network, batch, victim: OnceCell::new(), in_training: OnceCell::new() }
    }

    /// The network in training mode: every pass on it moves its running statistics.
    pub fn network(&self) -> &'a dyn Trainee {
        self.network
    }

    /// The batch as it was loaded.
    pub fn batch(&self) -> &'a Batch {
        self.batch
    }

    /// The network in evaluation mode, to craft on.
    pub fn victim(&self) -> &Frozen {
        self.victim.get_or_init(|| self.network.frozen())
    }

    /// The network in training mode, to craft on ([`Trainee::in_training`]).
    pub fn victim_in_training(&self) -> &Frozen {
        self.in_training.get_or_init(|| self.network.in_training())
    }

    /// Away from the batch's labels, with the images' indices.
    pub fn goal(&self) -> Goal {
        Goal::untargeted(self.batch.labels.clone().inner()).with_indices(self.batch.indices.clone())
    }

    /// The seed of this epoch, from the objective's: attacks with it draw anew in every epoch.
    pub fn seed(&self, seed: u64) -> u64 {
        mix(Purpose::OBJECTIVE, seed, &[self.batch.epoch as u64])
    }
}
