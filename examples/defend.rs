//! Every defense beside the attacks that know it, with one command.
//!
//! `cargo run --release --example defend` on drawn tissue, or with `-- --data BreaKHis_v1`.

mod common {
    pub mod battery {
        pub mod attacks;
        pub mod semantic;
    }
    pub mod defend {
        pub mod comparison;
        pub mod detection;
        pub mod options;
        pub mod preprocessing;
        pub mod row;
        pub mod training;
    }
    pub mod checkpoint;
    pub mod failure;
    pub mod images;
    pub mod interrupt;
    pub mod network;
    pub mod output;
    pub mod program;
    pub mod progress;
    pub mod verify;
}

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::train::Interrupter;
use common::defend::comparison::{self, Cost};
use common::defend::options::{Defense, Kind, Options};
use common::defend::row::Row;
use common::defend::{detection, preprocessing, training};
use common::failure::Failure;
use common::network::Model;
use common::output::say;
use common::progress::Told;
use common::{images, interrupt, program};
use histoguard::data::{ImageSet, LabeledImages, Prepared, Split};
use histoguard::evaluate::EvaluationError;
use histoguard::file::{FolderLock, write_whole};
use histoguard::prelude::*;
use histoguard::report::figures::{AttackCurves, CertifiedCurves, Figure};
use histoguard::report::{History, ModelReport, Report};

/// Side of drawn images in pixels: a dozen trainings and their attacks are to take minutes.
const DRAWN_SIZE: usize = 64;
/// Images of each defense that the page shows.
const EXHIBITS: usize = 2;

fn main() -> ExitCode {
    program::run(|mut options: Options| {
        if options.images.data.is_none() {
            options.images.image_size.get_or_insert(DRAWN_SIZE);
        }
        compare(&options)
    })
}

/// What all defenses share.
struct Setting<'a> {
    options: &'a Options,
    split: &'a Split,
    train: Prepared,
    validation: Prepared,
    test: Prepared,
    interrupter: Interrupter,
    stop: &'static AtomicBool,
}

/// A network that was trained.
struct Network {
    model: Model,
    history: History,
    seconds: f64,
}

/// A defense that was attacked; some are no classifiers that an evaluation takes.
struct Compared {
    row: Row,
    cost: Cost,
    report: Option<ModelReport>,
}

fn compare(options: &Options) -> Result<(), Failure> {
    options.check()?;
    let (interrupter, stop) = interrupt::on_interrupt()?;
    let split = images::open(&options.images)?;
    // A checkpoint that does not fit is found now, not after the first training.
    options.networks().start(split.train.classes().len())?;
    let prepared = |set: &ImageSet| Prepared::new(set.clone(), options.images.image_size());
    let [train, validation, test] = [&split.train, &split.validation, &split.test].map(prepared);
    let (train, validation, test) = (train?, validation?, test?);
    detection::check(options, &validation)?;
    let _lock = FolderLock::take(&options.out)?;
    prepare_folder(options)?;
    let setting = Setting { options, split: &split, train, validation, test, interrupter, stop };
    let undefended = setting.trained(Defense::Undefended, None)?;
    let mut compared = vec![setting.evaluated(Defense::Undefended, &undefended, None)?];
    for &defense in options.defenses.iter().filter(|&&defense| defense != Defense::Undefended) {
        compared.push(match defense.kind() {
            Kind::Trained => {
                let network = setting.trained(defense, Some(&undefended.model))?;
                setting.evaluated(defense, &network, Some(&undefended.model))?
            }
            Kind::Preprocessing => setting.preprocessed(defense, &undefended)?,
            Kind::Detector => setting.guarded(defense, &undefended)?,
            Kind::Smoothing => setting.smoothed(defense, &undefended)?,
        });
    }
    write(&setting, &compared)?;
    for folder in ["unfinished", "training"] {
        let folder = options.out.join(folder);
        std::fs::remove_dir_all(&folder).map_err(|error| {
            Failure::wrong(format!("{}: expected a folder that can be removed: {error}", folder.display()))
        })?;
    }
    Ok(())
}

/// An unfinished run is gone on with or left alone.
fn prepare_folder(options: &Options) -> Result<(), Failure> {
    match !options.resume && options.out.join("training").exists() {
        true => Err(Failure::wrong(format!(
            "{}: expected no unfinished run, found one: go on with --resume, or choose another --out",
            options.out.display()
        ))),
        false => Ok(()),
    }
}

impl Setting<'_> {
    fn trained(&self, defense: Defense, undefended: Option<&Model>) -> Result<Network, Failure> {
        let trainer = Trainer::new(self.options.training());
        let trainer = trainer.objective(training::objective(self.options, defense, undefended));
        let networks = self.options.networks();
        let trained = networks.train(&defense.name(), trainer, self.split, &self.interrupter)?;
        let (history, seconds) = (History::of(&trained), trained.history.seconds.iter().sum());
        Ok(Network { model: trained.model, history, seconds })
    }

    /// Seconds that an answer takes, on the first test images.
    fn answer(&self, answers: impl Fn(Tensor<4>)) -> Result<f64, Failure> {
        let count = self.options.batch_size.min(self.test.len());
        let batch = self.test.batch(&(0..count).collect::<Vec<_>>(), &Device::default())?;
        answers(batch.images.clone());
        let started = Instant::now();
        answers(batch.images);
        Ok(started.elapsed().as_secs_f64() / count as f64)
    }

    /// The same PGD for every classifier. Without early stop: what barely fools one network fools no other.
    fn pgd(&self) -> Pgd {
        let pgd = Pgd::new(self.options.budget()).with_steps(20).with_early_stop(false);
        pgd.with_seed(self.options.images.seed)
    }

    /// PGD's images for the undefended network: that attack knows nothing of a defense.
    fn oblivious(&self, undefended: &Model) -> Box<dyn Attack> {
        Box::new(Transfer::new(self.pgd(), "the undefended network", Frozen::new(undefended.clone())))
    }

    /// PGD's images for the undefended network, PGD through the defense, Square, the chosen attacks, and those
    /// that no norm bounds.
    fn views(&self, undefended: &Model) -> Result<Vec<Box<dyn Attack>>, Failure> {
        let mut attacks = attack_views(self.pgd(), Frozen::new(undefended.clone()), self.options.squares);
        attacks.extend(self.options.chosen_attacks()?);
        attacks.extend(self.options.semantic_attacks()?);
        Ok(attacks)
    }

    /// A network under all attacks, with those that compare it with the undefended one if it is another.
    fn evaluated(
        &self,
        defense: Defense,
        network: &Network,
        undefended: Option<&Model>,
    ) -> Result<Compared, Failure> {
        let attacks = match undefended {
            Some(undefended) => self.views(undefended)?,
            None => {
                let pgd: Box<dyn Attack> = Box::new(self.pgd());
                let (chosen, semantic) = (self.options.chosen_attacks()?, self.options.semantic_attacks()?);
                std::iter::once(pgd).chain(chosen).chain(semantic).collect()
            }
        };
        let victim = Frozen::new(network.model.clone());
        let history = Some(network.history.clone());
        self.attacked(defense, &victim, attacks, (history, network.seconds))
    }

    /// The undefended network behind a preprocessing.
    fn preprocessed(&self, defense: Defense, undefended: &Network) -> Result<Compared, Failure> {
        let network = Frozen::new(undefended.model.clone());
        let victim = preprocessing::defended(defense, network, self.options.images.seed)?;
        self.attacked(defense, &victim, self.views(&undefended.model)?, (None, undefended.seconds))
    }

    fn guarded(&self, defense: Defense, undefended: &Network) -> Result<Compared, Failure> {
        let (options, model) = (self.options, &undefended.model);
        let started = Instant::now();
        let guard = detection::guard(options, defense, model, &self.train, &self.validation)?;
        let training = undefended.seconds + started.elapsed().as_secs_f64();
        let row = detection::row(options, defense, &guard, model, &self.test)?;
        let answer = self.answer(|images| drop(guard.answers(images)))?;
        Ok(Compared { row, cost: Cost { training, answer }, report: None })
    }

    /// A network trained on unclipped noise and smoothed over it: attacked through a few copies, and
    /// certified.
    fn smoothed(&self, defense: Defense, undefended: &Network) -> Result<Compared, Failure> {
        let network = self.trained(defense, None)?;
        let (options, smoothing) = (self.options, self.options.smoothing());
        let base = Frozen::new(network.model.clone());
        let told = Told::new(format!("{}: certifying", defense.name()));
        let certification = Certification::new(&base, smoothing)
            .batch_size(options.batch_size)
            .resume_from(options.out.join("unfinished").join("certificates"))
            .on_progress(|progress| told.tell(progress))
            .cancel_with(self.stop)
            .run(&self.test)
            .map_err(stopped)?;
        let victim = smoothing.classifier(base, options.copies)?;
        let mut attacks = vec![self.oblivious(&undefended.model), Box::new(self.pgd()) as _];
        attacks.extend(options.semantic_attacks()?);
        let mut compared =
            self.attacked(defense, &victim, attacks, (Some(network.history), network.seconds))?;
        compared.row.prove(&certification.accuracy.all, certification.values);
        let report =
            compared.report.map(|report| ModelReport { certification: Some(certification), ..report });
        Ok(Compared { report, ..compared })
    }

    fn attacked(
        &self,
        defense: Defense,
        victim: &Frozen,
        attacks: Vec<Box<dyn Attack>>,
        (history, training): (Option<History>, f64),
    ) -> Result<Compared, Failure> {
        let (name, options) = (defense.name(), self.options);
        let told = Told::new(format!("{name}: attacking"));
        let mut evaluation = Evaluation::new(victim);
        if defense == Defense::Resize {
            // Random answers tell no classifier from another.
            evaluation = evaluation.fingerprint(&name);
        }
        let evaluation = evaluation
            .attacks(attacks)
            .budgets(options.budgets())
            .only_survivors(options.only_survivors)
            .check_images(options.check_images)
            .seed(options.images.seed)
            .training_groups(self.split.train.samples().iter().map(|sample| sample.group.clone()))
            .batch_size(options.batch_size)
            .resume_from(options.out.join("unfinished").join(&name))
            .on_progress(|progress| told.tell(progress))
            .cancel_with(self.stop);
        let result = evaluation.run(&self.test).map_err(stopped)?;
        let exhibits = evaluation.exhibits(&self.test, &result, EXHIBITS).map_err(stopped)?;
        let row = Row::of(name.clone(), &result, &options.budgets());
        let answer = self.answer(|images| drop(victim.predict(images)))?;
        let report = ModelReport { history, exhibits, ..ModelReport::new(name, result) };
        Ok(Compared { row, cost: Cost { training, answer }, report: Some(report) })
    }
}

/// Of a run that somebody stopped, how to go on.
fn stopped(error: EvaluationError) -> Failure {
    match error {
        EvaluationError::Cancelled { .. } => {
            interrupt::interrupted("stopped; go on with --resume and the same options")
        }
        error => error.into(),
    }
}

fn write(setting: &Setting<'_>, compared: &[Compared]) -> Result<(), Failure> {
    let (options, split) = (setting.options, setting.split);
    let tested = format!("{}, {} test images", options.images.describe(), split.test.len());
    let data = images::summary(&options.images, split, tested);
    let rows: Vec<&Row> = compared.iter().map(|one| &one.row).collect();
    let timing = compared.iter().map(|one| {
        let Cost { training, answer } = one.cost;
        serde_json::json!({ "defense": one.row.defense, "training_seconds": training, "answer_seconds": answer })
    });
    let report = Report {
        configuration: serde_json::json!({
            "options": options, "training": options.training(), "split": split.record(), "comparison": rows,
        }),
        models: compared.iter().filter_map(|one| one.report.clone()).collect(),
        timing: timing.collect(),
        ..Report::new("Defenses under attacks that know them", data)
    };
    let files = report.write(&options.out)?;
    let models = report.models.iter().map(|model| (model.name.clone(), &model.result));
    AttackCurves::new(Norm::Linf, models).save(&options.out.join("figure_attacks_Linf.png"))?;
    let certified: Vec<_> = report
        .models
        .iter()
        .filter_map(|model| Some((model.name.clone(), model.certification.as_ref()?)))
        .collect();
    if !certified.is_empty() {
        CertifiedCurves::new(certified).save(&options.out.join("figure_certified.png"))?;
    }
    let rows: Vec<(Row, Cost)> = compared.iter().map(|one| (one.row.clone(), one.cost)).collect();
    let table = comparison::table(&rows);
    let path = options.out.join("comparison.md");
    write_whole(&path, table.as_bytes())
        .map_err(|error| Failure::wrong(format!("{}: expected a file: {error}", path.display())))?;
    say(&table)?;
    for warning in report.warnings() {
        say(format_args!("note: {warning}"))?;
    }
    say(format_args!("one page in {}, tables and figures beside it", files.html.display()))?;
    Ok(())
}
