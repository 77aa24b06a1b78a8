//! The input of a number: the same on every machine, whatever came before it.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use histoguard::random::{Purpose, RngExt, generator};
use serde::{Deserialize, Serialize};

use crate::common::fault_campaign::kind::Kind;
use crate::common::fault_campaign::mutation::mutated;
use crate::common::fault_campaign::seeds::Seed;

const KIND: Purpose = Purpose::named("the kind of a damaged file");
const DAMAGE: Purpose = Purpose::named("the damage of a file");

/// Names an input, as `images:1234`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    pub kind: Kind,
    pub number: u64,
}

impl Input {
    /// The input with this number, of one of these kinds by their weights.
    pub fn of(kinds: &[Kind], seed: u64, number: u64) -> Self {
        let total: u64 = kinds.iter().map(|kind| kind.weight()).sum();
        let mut place = generator(KIND, seed, &[number]).random_range(0..total);
        let chosen = kinds.iter().find(|kind| {
            let here = place < kind.weight();
            place = place.saturating_sub(kind.weight());
            here
        });
        Self { kind: *chosen.expect("a place below the total"), number }
    }

    /// Which of the whole files it is made from, and its bytes.
    pub fn bytes(self, seeds: &[Seed], seed: u64) -> (usize, Vec<u8>) {
        let mut rng = generator(DAMAGE, seed, &[self.kind as u64, self.number]);
        let [at, other] = [(), ()].map(|()| rng.random_range(0..seeds.len()));
        (at, mutated(&seeds[at].bytes, &seeds[other].bytes, &mut rng))
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.number)
    }
}

impl FromStr for Input {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, number) = text.split_once(':').ok_or("expected KIND:NUMBER")?;
        let number =
            number.parse().map_err(|_| format!("expected KIND:NUMBER, found {number} as the number"))?;
        Ok(Self { kind: Kind::from_str(kind, false)?, number })
    }
}
