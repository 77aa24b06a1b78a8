//! The small runs that are killed and starved, in a process of their own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use histoguard::data::Prepared;
use histoguard::defense::GaussianNoise;
use histoguard::download::{Downloader, Remote, UnpackLimits, unpack};
use histoguard::file::{FolderLock, IoError, write_whole};
use histoguard::prelude::*;
use histoguard::report::figures::{AccuracyCurves, AttackCurves, Figure};
use histoguard::report::{DataSummary, History, ModelReport, Report};
use histoguard::train::{TrainError, Trainer};
use sha2::{Digest, Sha256};

use crate::common::failure::Failure;
use crate::common::fault_campaign::small;
use crate::common::fault_campaign::subject::{Subject, file};

/// One of the small runs, in this folder.
#[derive(Clone, Debug, Args)]
pub struct WorkOptions {
    #[arg(value_enum)]
    pub subject: Subject,
    #[arg(long)]
    pub out: PathBuf,
    /// Of the server to download from.
    #[arg(long)]
    pub address: SocketAddr,
}

const SIDE: usize = 32;

pub fn work(options: &WorkOptions) -> Result<(), Failure> {
    let out = &options.out;
    match options.subject {
        Subject::Training => training(out),
        Subject::Battery => battery(out),
        Subject::Report => report(out),
        Subject::Download => download(out, options.address),
        other => Err(Failure::wrong(format!("{}: expected a small run", other.name()))),
    }
}

fn network(seed: u64) -> Normalized<DenseNet> {
    let config = DenseNetConfig::densenet121(2).with_growth_rate(4).with_block_config(vec![1, 1]);
    let net = config.with_num_init_features(8).with_bn_size(2).init_seeded(&Device::default(), seed);
    Normalized::new(net, Normalization::IMAGENET)
}

fn trained(folder: &Path) -> Result<Trained<Normalized<DenseNet>>, TrainError> {
    let split = small::squares(40, SIDE as u32 + 4)?;
    let config =
        TrainingConfig { epochs: 4, batch_size: 8, image_size: SIDE, seed: 5, ..TrainingConfig::paper() };
    Trainer::new(config)
        .objective(GaussianNoise::new(0.05))
        .directory(folder)
        .resume(true)
        .dashboard(false)
        .fit(network(3), &split.train, &split.validation)
}

fn training(out: &Path) -> Result<(), Failure> {
    let trained = trained(&out.join("training"))?;
    weights::save_safetensors(&trained.model.network, out.join("model.safetensors"))?;
    let path = out.join("history.json");
    let text = serde_json::to_vec_pretty(&trained.history)?;
    Ok(write_whole(&path, &text).map_err(IoError::at(&path, "a file to write"))?)
}

fn battery(out: &Path) -> Result<(), Failure> {
    let test = Prepared::new(small::squares(40, SIDE as u32)?.test, SIDE)?;
    let unfinished = out.join("unfinished");
    let [one, other] = [1, 2].map(|seed| Frozen::new(network(seed)));
    let result = Evaluation::new(&one)
        .attack(Fgsm::new(Budget::pixels(0.0)))
        .attack(Pgd::new(Budget::pixels(0.0)).with_steps(3))
        .budgets([1.0, 8.0].map(Budget::pixels))
        .check_images(2)
        .batch_size(4)
        .resume_from(unfinished.join("one"))
        .run(&test)?;
    let attack = Fgsm::new(Budget::pixels(8.0));
    let transfer = Transferability::new(&attack)
        .model("one", &one)
        .model("other", &other)
        .batch_size(2)
        .resume_from(unfinished.join("transfer"))
        .run(&test)?;
    let certification = Certification::new(&one, Smoothing::new(0.25).with_draws(60))
        .resume_from(unfinished.join("certificates"))
        .run(&test)?;
    let mut model = ModelReport::new("one", result);
    model.certification = Some(certification);
    let report = Report {
        models: vec![model],
        transfer: vec![transfer],
        ..Report::new("A small battery", DataSummary::of("drawn squares"))
    };
    report.write(out)?;
    figures(&report, out)
}

/// The results come anew each time: what is killed is the writing.
fn report(out: &Path) -> Result<(), Failure> {
    let _lock = FolderLock::take(out)?;
    let scratch = tempfile::tempdir()?;
    let report = small::plain_report(scratch.path()).map_err(|error| Failure::wrong(error.to_string()))?;
    for _ in 0..4 {
        report.write(out)?;
        figures(&report, out)?;
    }
    Ok(())
}

fn figures(report: &Report, out: &Path) -> Result<(), Failure> {
    let results = report.models.iter().map(|model| (model.name.clone(), &model.result));
    AttackCurves::new(Norm::Linf, results).save(&out.join("attacks.png"))?;
    let histories =
        report.models.iter().map(|m| (m.name.clone(), m.history.clone().unwrap_or_else(History::default)));
    let histories: Vec<(String, History)> =
        histories.filter(|(_, history)| !history.epochs.is_empty()).collect();
    match histories.is_empty() {
        true => Ok(()),
        false => Ok(AccuracyCurves::new(histories).save(&out.join("epochs.png"))?),
    }
}

fn download(out: &Path, address: SocketAddr) -> Result<(), Failure> {
    let downloader = Downloader::new().with_cache(out).with_offline(false);
    let hash = format!("{:x}", Sha256::digest(file()));
    downloader.fetch(&Remote::new(format!("http://{address}/net.bin"), 1..=1 << 20).with_sha256(hash))?;
    let archive = downloader.fetch(&Remote::new(format!("http://{address}/set.tar.gz"), 1..=1 << 20))?;
    Ok(unpack(archive, out.join("set"), UnpackLimits { entries: 100, bytes: 1 << 20 })?)
}
