//! Learns a generator of adversarial examples from the training images, and reports it on the test images
//! beside a random perturbation, FGSM and PGD.
//!
//! `cargo run --release --example advgan -- reproduce_paper_out/original.safetensors --epsilon 8`

mod common {
    pub mod advgan {
        pub mod curve;
        pub mod learner;
        pub mod options;
        pub mod report;
    }
    pub mod checkpoint;
    pub mod failure;
    pub mod images;
    pub mod interrupt;
    pub mod learning;
    pub mod output;
    pub mod program;
    pub mod recorded;
    pub mod verify;
    pub mod victim;
}

use std::process::ExitCode;

use clap::CommandFactory;
use common::advgan::curve::Curve;
use common::advgan::learner::Learner;
use common::advgan::options::Options;
use common::advgan::report::report;
use common::failure::Failure;
use common::learning::{class, same_work, stop_with};
use common::output::note;
use common::recorded::Recorded;
use common::{images, interrupt, program, victim};
use histoguard::classifier::FrozenFeatures;
use histoguard::data::{LabeledImages, Prepared};
use histoguard::file::FolderLock;
use histoguard::prelude::*;

fn main() -> ExitCode {
    program::run(|options: Options| advgan(&options))
}

fn advgan(options: &Options) -> Result<(), Failure> {
    let given = Options::command().get_matches();
    let recorded = Recorded::read(std::slice::from_ref(&options.checkpoint), &given)?;
    let options = &Options { images: recorded.complete(&options.images, &given), ..options.clone() };
    options.images.check()?;
    let size = options.images.image_size();
    let split = recorded.split(&options.images)?;
    let train = Prepared::new(split.train.clone(), size)?;
    let validation = Prepared::new(split.validation.clone(), size)?;
    let test = Prepared::new(split.test.clone(), size)?;
    let target = options.target.as_ref().map(|name| class(&train, name)).transpose()?;
    let net = victim::load(&options.checkpoint, train.classes().len())?;
    // The second one is asked for what is reported alone, so that the first one's watch counts the learning.
    let [victim, judge] = [Frozen::new(net.clone()), Frozen::new(net.clone())];
    let features = FrozenFeatures::new(net);
    victim.check([3, size, size])?;
    let learner =
        Learner { options, victim, features, train, target, judge: &judge, validation: &validation };
    // Wrong settings end it before anything is written.
    learner.check()?;

    let _lock = FolderLock::take(&options.out)?;
    same_work(options, &options.checkpoint, &options.out)?;
    let (_, stop) = interrupt::on_interrupt()?;
    stop_with(&learner.victim, stop);
    let sets =
        [("training images", &learner.train), ("validation images", &validation), ("test images", &test)];
    let mut curve = Curve::open(&judge, sets, &options.out)?;
    let asked = learner.victim.watch().queries();
    let attack = learner.learn(&mut curve)?;
    let asked = learner.victim.watch().queries() - asked;
    note(format_args!("queries of this run: {} forwards, {} gradients", asked.forwards, asked.gradients));
    let described = format!("{}, {} test images", options.images.describe(), test.len());
    let mut data = images::summary(&options.images, &split, described);
    data.notes.extend(recorded.notes(test.images())?);
    data.notes.iter().for_each(|said| note(format_args!("note: {said}")));
    report(&learner, &*attack, &curve, &test, data)
}
