//! Reads inputs as the crate does, and judges the answer: a value that can be, or an error that says what was
//! expected.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use burn::module::{Module, ModuleVisitor, Param};
use histoguard::data::breakhis::ImageName;
use histoguard::data::{ImageSet, MemoryImage, Sample, decode_image};
use histoguard::download::{Downloader, Remote, UnpackLimits, unpack};
use histoguard::prelude::*;
use histoguard::report::figures::{AccuracyCurves, AttackCurves, CertifiedCurves, Figure};
use histoguard::report::{PaperView, Report};
use histoguard::weights;
use image::RgbImage;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::common::fault_campaign::kind::Kind;
use crate::common::fault_campaign::seeds::{self, Seed, seeds};
use crate::common::fault_campaign::server::Server;
use crate::common::fault_campaign::small;

/// What became of an input that was read as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    Refused,
}

/// Reads inputs of one kind.
pub struct Reader {
    kind: Kind,
    folder: TempDir,
    pub seeds: Vec<Seed>,
    fixture: Fixture,
}

/// What inputs of a kind are read with.
enum Fixture {
    None,
    Network(Box<DenseNet>),
    Images(ImageSet),
    Server(Server),
}

impl Reader {
    pub fn new(kind: Kind) -> Result<Self, Box<dyn Error>> {
        // In memory where that is possible: a disk would be the slowest part.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let [folder, made] =
            [(), ()].map(|()| tempfile::Builder::new().prefix("campaign-").tempdir_in(&place));
        let (folder, made) = (folder?, made?);
        let seeds = seeds(kind, made.path())?;
        let fixture = match kind {
            Kind::Checkpoints => Fixture::Network(Box::new(seeds::network())),
            Kind::Splits => {
                let image = MemoryImage(Arc::new(RgbImage::new(8, 8)));
                let slides = seeds::slides().into_iter().enumerate();
                let sample = |(number, name): (usize, String)| {
                    Sample::new(image.clone(), number % 2, name).from_slide(format!("{}", number / 2), "")
                };
                Fixture::Images(ImageSet::new(
                    "s",
                    vec!["b".into(), "m".into()],
                    slides.map(sample).collect(),
                )?)
            }
            Kind::Responses => Fixture::Server(Server::new()?),
            _ => Fixture::None,
        };
        if kind == Kind::Names {
            seeds::picture(&folder.path().join("other/plain.png"))?;
        }
        let reader = Self { kind, folder, seeds, fixture };
        if matches!(kind, Kind::Journals | Kind::Histories) {
            reader.restore("")?;
        }
        Ok(reader)
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Reads an input made from this seed; an error says what is wrong with the answer.
    pub fn read(&self, seed: usize, bytes: &[u8]) -> Result<Answer, String> {
        match self.kind {
            Kind::Images => image(bytes),
            Kind::Checkpoints => self.checkpoint(bytes),
            Kind::Journals => self.journal(seed, bytes),
            Kind::Histories => self.history(seed, bytes),
            Kind::Splits => self.split(bytes),
            Kind::Names => self.name(bytes),
            Kind::Reports => self.report(bytes),
            Kind::Archives => self.archive(bytes),
            Kind::Responses => self.response(bytes),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn written(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("room for an input");
        path
    }

    fn checkpoint(&self, bytes: &[u8]) -> Result<Answer, String> {
        let Fixture::Network(network) = &self.fixture else { unreachable!("made for checkpoints") };
        let path = self.written("input", bytes);
        judged(weights::load((**network).clone(), path), |network| finite(&network))
    }

    fn split(&self, bytes: &[u8]) -> Result<Answer, String> {
        let Fixture::Images(images) = &self.fixture else { unreachable!("made for splits") };
        let path = self.written("dsfold1.txt", bytes);
        judged(Split::by_fold_file(images, path, 0.3, 0), |split| {
            let sides = [&split.train, &split.validation, &split.test].map(|side| side.len());
            let fits = sides.iter().sum::<usize>() <= images.len() && !sides.contains(&0);
            fits.then_some(()).ok_or(format!("sides of {sides:?} images"))
        })
    }

    fn name(&self, bytes: &[u8]) -> Result<Answer, String> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if let Some(name) = ImageName::parse(&text) {
            let back = ImageName::parse(&name.to_string());
            return match back == Some(name) {
                true => Ok(Answer::Accepted),
                false => Err(format!("{text:?} is read as {back:?}")),
            };
        }
        // As a path below a folder, as far as the system takes it: no other part of this machine is to be
        // written to.
        let plain = |part: &&str| {
            !part.is_empty() && part.len() < 200 && !part.contains('\0') && !["..", "."].contains(part)
        };
        let path =
            text.split('/').filter(plain).take(5).fold(self.path("input"), |path, part| path.join(part));
        let parent = path.parent().expect("below a folder");
        if path == self.path("input")
            || fs::create_dir_all(parent).and_then(|()| fs::write(&path, bytes)).is_err()
        {
            let _ = fs::remove_dir_all(self.path("input"));
            return Ok(Answer::Refused);
        }
        let listed = judged(FolderSet::open(self.folder.path()), |set| sized(set.all().len()));
        let opened = judged(BreakHis::open(self.folder.path()), |set| sized(set.len()));
        fs::remove_dir_all(self.path("input")).map_err(|error| error.to_string())?;
        listed
            .and_then(|listed| opened.map(|opened| if opened == Answer::Accepted { opened } else { listed }))
    }

    fn report(&self, bytes: &[u8]) -> Result<Answer, String> {
        let path = self.written("report.json", bytes);
        judged(Report::read(&path), |report| {
            let mut texts = [vec![report.to_markdown(), report.summary()], report.warnings()].concat();
            // The paper's tables are of two models.
            if report.models.len() > 1 {
                let view = PaperView::new(&report);
                texts.push(view.to_markdown());
                texts.extend(view.warnings());
            }
            // Drawing takes a hundred times as long: one in sixty-four.
            if bytes.len().is_multiple_of(64) {
                draw(&report);
            }
            let nan = texts.iter().find(|text| text.contains("NaN %"));
            nan.map_or(Ok(()), |_| Err("NaN for a rate in a report".to_string()))
        })
    }

    fn archive(&self, bytes: &[u8]) -> Result<Answer, String> {
        let (archive, into) = (self.written("set.tar.gz", bytes), self.path("set"));
        let limits = UnpackLimits { entries: 8, bytes: 1 << 16 };
        let answer = judged(unpack(&archive, &into, limits), |()| Ok(()))?;
        let left = fs::read_dir(self.folder.path()).map_err(|error| error.to_string())?;
        for entry in left.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let known = ["set.tar.gz", ".set.lock"].contains(&name.as_str());
            if !(known || name == "set" && answer == Answer::Accepted) {
                return Err(format!("{name} is left after {answer:?}"));
            }
        }
        match answer {
            Answer::Accepted => fs::remove_dir_all(into).map(|()| answer).map_err(|error| error.to_string()),
            Answer::Refused => Ok(answer),
        }
    }

    fn response(&self, bytes: &[u8]) -> Result<Answer, String> {
        let Fixture::Server(server) = &self.fixture else { unreachable!("made for responses") };
        server.answer_with(bytes.to_vec());
        let whole = seeds::downloaded();
        let remote = Remote::new(server.url("net.bin"), 1..=1 << 16)
            .with_sha256(format!("{:x}", Sha256::digest(&whole)));
        let cache = self.path("cache");
        let downloader = Downloader::new().with_cache(&cache).with_offline(false).with_retries(0);
        let answer = judged(downloader.with_timeout(Duration::from_secs(2)).fetch(&remote), |path| {
            let same = fs::read(path).is_ok_and(|found| found == whole);
            same.then_some(()).ok_or("another file than the published one".to_string())
        });
        fs::remove_dir_all(cache).map_err(|error| error.to_string())?;
        answer
    }

    fn journal(&self, seed: usize, bytes: &[u8]) -> Result<Answer, String> {
        let name = &self.seeds[seed].name;
        self.written(name, bytes);
        let run = Path::new(name).iter().next().expect("a folder").to_string_lossy().into_owned();
        let folder = self.path(&run);
        let answer = match run.as_str() {
            "evaluation" => judged(small::plain_evaluation(&folder), |result| {
                let rates =
                    result.attacks.iter().flat_map(|attack| &attack.sweep).map(|under| &under.metrics);
                let fits = rates.chain([&result.clean.metrics]).all(|m| m.accuracy.hits <= m.accuracy.total);
                fits.then_some(()).ok_or("more right answers than images".to_string())
            }),
            "transfer" => judged(small::plain_transfer(&folder), |_| Ok(())),
            _ => judged(small::plain_certification(&folder), |_| Ok(())),
        };
        self.restore(&run).map_err(|error| error.to_string())?;
        answer
    }

    fn history(&self, seed: usize, bytes: &[u8]) -> Result<Answer, String> {
        self.written(&self.seeds[seed].name, bytes);
        let answer = judged(small::tiny_training(self.folder.path()), |trained| {
            let epochs = trained.history.epochs.len();
            if !(1..=epochs).contains(&trained.best_epoch) {
                return Err(format!("epoch {} of {epochs}", trained.best_epoch));
            }
            finite(&trained.model)
        });
        self.restore("").map_err(|error| error.to_string())?;
        answer
    }

    /// Puts the whole files of this folder back, and nothing else.
    fn restore(&self, below: &str) -> std::io::Result<()> {
        match below {
            "" => {
                for entry in fs::read_dir(self.folder.path())? {
                    let path = entry?.path();
                    if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
                }
            }
            below => fs::remove_dir_all(self.path(below))?,
        }
        for seed in self.seeds.iter().filter(|seed| Path::new(&seed.name).starts_with(below)) {
            let path = self.path(&seed.name);
            fs::create_dir_all(path.parent().expect("below the folder"))?;
            fs::write(path, &seed.bytes)?;
        }
        Ok(())
    }
}

/// An accepted value is looked at, an error has to say what was expected.
fn judged<T, E: std::fmt::Display>(
    answer: Result<T, E>,
    look: impl FnOnce(T) -> Result<(), String>,
) -> Result<Answer, String> {
    match answer {
        Ok(value) => look(value).map(|()| Answer::Accepted),
        Err(error) => {
            let message = error.to_string();
            match message.contains("expected") || message.contains("found") {
                true => Ok(Answer::Refused),
                false => Err(format!("an error that does not say what was expected: {message}")),
            }
        }
    }
}

fn image(bytes: &[u8]) -> Result<Answer, String> {
    judged(decode_image("input", bytes), |image| {
        sized(image.width().min(image.height()) as usize)?;
        let sample = Sample::new(MemoryImage(Arc::new(image)), 0, "input");
        let set =
            ImageSet::new("input", vec!["a".into()], vec![sample]).map_err(|error| error.to_string())?;
        let batch = Prepared::new(set, 8).and_then(|set| set.batch(&[0], &Device::default()));
        let images = batch.map_err(|error| error.to_string())?.images;
        let values: Vec<f32> = images.into_data().try_into_vec().expect("f32");
        let fits = values.len() == 3 * 8 * 8 && values.iter().all(|value| (0.0..=1.0).contains(value));
        fits.then_some(()).ok_or("pixels outside [0,1]".to_string())
    })
}

fn sized(size: usize) -> Result<(), String> {
    (size > 0).then_some(()).ok_or("nothing in it".to_string())
}

fn draw(report: &Report) {
    let results = || report.models.iter().map(|model| (model.name.clone(), &model.result));
    let _ = AttackCurves::new(Norm::Linf, results()).draw();
    let histories =
        report.models.iter().filter_map(|model| Some((model.name.clone(), model.history.clone()?)));
    let _ = AccuracyCurves::new(histories).draw();
    let certified = report.models.iter().filter_map(|m| Some((m.name.clone(), m.certification.as_ref()?)));
    let certified: Vec<_> = certified.collect();
    if !certified.is_empty() {
        let _ = CertifiedCurves::new(certified).draw();
    }
}

/// Whether every weight is a number.
fn finite(module: &impl Module) -> Result<(), String> {
    struct Look(bool);
    impl ModuleVisitor for Look {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values = param.val().into_data().convert::<f32>().try_into_vec::<f32>().expect("f32");
            self.0 &= values.iter().all(|value| value.is_finite());
        }
    }
    let mut look = Look(true);
    module.visit(&mut look);
    look.0.then_some(()).ok_or("a weight that is not finite".to_string())
}
