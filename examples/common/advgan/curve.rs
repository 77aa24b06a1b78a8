//! What the generators break after every epoch, of the images that they learn from and of others.

use std::path::{Path, PathBuf};

use histoguard::attack::{GanTraining, StepLosses};
use histoguard::data::{LabeledImages, Prepared};
use histoguard::file::{IoError, write_whole};
use histoguard::prelude::*;
use histoguard::report::figures::BrokenOverEpochs;
use histoguard::statistics::Proportion;
use serde::{Deserialize, Serialize};

use crate::common::failure::Failure;
use crate::common::output::note;

/// Images at a time.
const BATCH_SIZE: usize = 32;

/// An epoch: mean losses, and the right images that are broken after it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Epoch {
    epoch: usize,
    #[serde(flatten)]
    losses: StepLosses,
    training: Proportion,
    validation: Proportion,
    test: Proportion,
}

/// All epochs so far, in a file.
pub struct Curve<'a> {
    judge: &'a Frozen,
    /// The images of each set that are right without attack.
    sets: [(&'static str, Prepared); 3],
    path: PathBuf,
    epochs: Vec<Epoch>,
}

impl<'a> Curve<'a> {
    /// What is there already, for these sets: training, validation and test.
    pub fn open(
        judge: &'a Frozen,
        sets: [(&'static str, &Prepared); 3],
        out: &Path,
    ) -> Result<Self, Failure> {
        let path = out.join("curves.json");
        let epochs = match path.exists() {
            true => {
                let text = std::fs::read(&path).map_err(IoError::at(&path, "the curves so far"))?;
                serde_json::from_slice(&text)
                    .map_err(|error| Failure::wrong(format!("{}: {error}", path.display())))?
            }
            false => Vec::new(),
        };
        let [training, validation, test] = sets;
        let right = |(name, set)| Ok::<_, Failure>((name, right(judge, set)?));
        Ok(Self { judge, sets: [right(training)?, right(validation)?, right(test)?], path, epochs })
    }

    /// Forgets what came after so many epochs, which were not saved.
    pub fn goes_on_after(&mut self, epochs: usize) -> Result<(), Failure> {
        self.epochs.truncate(epochs);
        match self.epochs.len() == epochs {
            true => Ok(()),
            false => Err(Failure::wrong(format!(
                "{}: expected {epochs} epochs, found {}; another --out starts anew",
                self.path.display(),
                self.epochs.len()
            ))),
        }
    }

    /// One epoch more, with what has been learned by then.
    pub fn add(&mut self, training: &GanTraining, attack: &dyn Attack) -> Result<(), Failure> {
        let losses = training.losses().last().copied().unwrap_or_default();
        let broken = |(_, set): &(_, Prepared)| broken(self.judge, attack, set);
        let [of_training, validation, test] = &self.sets;
        let added = Epoch {
            epoch: self.epochs.len() + 1,
            losses,
            training: broken(of_training)?,
            validation: broken(validation)?,
            test: broken(test)?,
        };
        let StepLosses { discriminator, gan, adversarial, .. } = losses;
        let said = |Proportion { hits, total, .. }| format!("{hits}/{total}");
        note(format_args!(
            "epoch {}: margin of the target {adversarial:.4}, generator {gan:.4}, discriminator {discriminator:.4}; \
             right ones broken: training {}, validation {}, test {}",
            added.epoch,
            said(added.training),
            said(added.validation),
            said(added.test),
        ));
        self.epochs.push(added);
        let text = format!("{}\n", serde_json::to_string_pretty(&self.epochs)?);
        Ok(write_whole(&self.path, text.as_bytes()).map_err(IoError::at(&self.path, "a file to write"))?)
    }

    /// The same as a picture.
    pub fn figure(&self, title: String) -> BrokenOverEpochs {
        let broken: [fn(&Epoch) -> Proportion; 3] = [|e| e.training, |e| e.validation, |e| e.test];
        let line = |((name, _), broken): (&(&'static str, _), fn(&Epoch) -> Proportion)| {
            (*name, self.epochs.iter().map(broken).collect())
        };
        let synthetic = self.sets.iter().any(|(_, set)| set.is_synthetic());
        BrokenOverEpochs::new(title, self.sets.iter().zip(broken).map(line)).synthetic(synthetic)
    }
}

/// Those that are right without attack.
fn right(judge: &Frozen, set: &Prepared) -> Result<Prepared, Failure> {
    let mut right = Vec::new();
    for positions in positions(set) {
        let batch = set.batch(&positions, judge.device())?;
        let answers = judge.predict(batch.images);
        right.extend(
            positions.into_iter().zip(answers).filter(|&(position, answer)| set.label(position) == answer),
        );
    }
    Ok(set.subset(&right.into_iter().map(|(position, _)| position).collect::<Vec<_>>()))
}

/// How many of these right ones are wrong afterwards.
fn broken(judge: &Frozen, attack: &dyn Attack, right: &Prepared) -> Result<Proportion, Failure> {
    let mut hits = 0;
    for positions in positions(right) {
        let batch = right.batch(&positions, judge.device())?;
        let goal = Goal::untargeted(batch.labels).with_indices(batch.indices);
        let answers = judge.predict(attack.perturb(judge, batch.images, &goal)?);
        hits += positions.into_iter().zip(answers).filter(|&(p, answer)| right.label(p) != answer).count();
    }
    Ok(Proportion::new(hits, right.len()))
}

fn positions(set: &Prepared) -> Vec<Vec<usize>> {
    let all: Vec<usize> = (0..set.len()).collect();
    all.chunks(BATCH_SIZE).map(<[usize]>::to_vec).collect()
}
