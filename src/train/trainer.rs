//! A training run: burn-train's `SupervisedTraining` over a classifier and its defenses.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use burn::data::dataloader::DataLoader;
use burn::module::{Module, ModuleDisplay, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::train::metric::{AccuracyMetric, LossMetric};
use burn::train::renderer::MetricsRenderer;
use burn::train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};
use serde_json::{Value, json};

use super::checkpoint::{Folder, LastAndBest, State};
use super::history::Recorder;
use super::learnable::{Learnable, Shared};
use super::no_log::NoLog;
use super::progress::{PlainProgress, epoch_line, say};
use super::spread::Spread;
use super::validation::Adversary;
use super::watched::Watched;
use super::{DataParallel, History, Overfitting, Schedule, TrainError, TrainingConfig};
use crate::attack::{Attack, Pgd};
use crate::classifier::Classifier;
use crate::data::{Batch, ImageCache, ImageLoader, ImageSet, LoaderConfig, Prepared, Split};
use crate::defense::{CrossEntropy, DefenseError, Objective};
use crate::file::FolderLock;
use crate::parameter::{self, Parameter};

/// A trained classifier in evaluation mode.
#[derive(Debug)]
pub struct Trained<C> {
    /// The weights of the epoch that was best on validation.
    pub model: C,
    /// That epoch, from 1.
    pub best_epoch: usize,
    /// Loss and accuracy over all epochs.
    pub history: History,
}

/// Trains `model` on `split.train`, choosing the epoch on `split.validation`, without leaving files.
///
/// # Errors
///
/// [`TrainError`]; see [`Trainer::fit`].
pub fn train<C>(model: C, split: &Split, config: &TrainingConfig) -> Result<Trained<C>, TrainError>
where
    C: Classifier + Module + ModuleDisplay + Sync + 'static,
{
    Trainer::new(config.clone()).fit(model, &split.train, &split.validation)
}

/// A training run: Adam on the cross-entropy, a checkpoint every epoch, the best epoch on validation kept.
///
/// On a terminal burn-train's dashboard shows the run; elsewhere plain lines go to standard error.
pub struct Trainer {
    config: TrainingConfig,
    objective: Arc<dyn Objective>,
    validation_attack: Option<Arc<dyn Attack>>,
    directory: Option<PathBuf>,
    resume: bool,
    interrupter: Interrupter,
    label: String,
    settings: Value,
    dashboard: bool,
    data_parallel: Option<DataParallel>,
}

impl Trainer {
    /// A run with these settings on the cross-entropy of the images as they are.
    pub fn new(config: TrainingConfig) -> Self {
        Self {
            config,
            objective: Arc::new(CrossEntropy::new()),
            validation_attack: None,
            directory: None,
            resume: false,
            interrupter: Interrupter::new(),
            label: "training".to_string(),
            settings: Value::Null,
            dashboard: true,
            data_parallel: None,
        }
    }

    /// What each step minimises, as its type or boxed.
    pub fn objective(mut self, objective: impl Into<Box<dyn Objective>>) -> Self {
        self.objective = Arc::from(objective.into());
        self
    }

    /// The attack under which validation images are put in every epoch, by whose accuracy the epoch is then
    /// chosen; for an objective that is adversarial it is [`Pgd`] of ten steps at the objective's budget if
    /// not given.
    pub fn validation_attack(mut self, attack: impl Attack + 'static) -> Self {
        self.validation_attack = Some(Arc::new(attack));
        self
    }

    /// Where checkpoints go; a temporary folder if not given.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Whether to go on from the last whole checkpoint in the directory, if there is one.
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// A handle that stops the run from another thread, such as a signal handler.
    pub fn interrupter(mut self, interrupter: Interrupter) -> Self {
        self.interrupter = interrupter;
        self
    }

    /// The run's name in progress lines.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Further settings, such as the data and the initial weights, that must be the same to resume.
    pub fn settings(mut self, settings: Value) -> Self {
        self.settings = settings;
        self
    }

    /// Whether to draw burn-train's dashboard where standard output is a terminal; true by default.
    pub fn dashboard(mut self, dashboard: bool) -> Self {
        self.dashboard = dashboard;
        self
    }

    /// The devices that share every step; without them the training is on the model's own.
    pub fn data_parallel(mut self, devices: DataParallel) -> Self {
        self.data_parallel = Some(devices);
        self
    }

    /// Trains on the images of `train` and chooses the epoch on those of `validation`.
    ///
    /// Parts that [`FineTune::with_trainable`](crate::model::FineTune::with_trainable) or burn's `freeze`
    /// took out keep their weights and running statistics.
    ///
    /// A last batch that is not full is dropped when there is a full one, PyTorch's `drop_last`; a batch on
    /// which a batch norm would see one value a channel, where PyTorch raises, is refused before any work.
    ///
    /// A finished run in the directory is replaced, or with [`resume`](Self::resume) returned as it is. An
    /// unfinished one is never overwritten.
    ///
    /// # Errors
    ///
    /// [`TrainError::Parameter`], [`TrainError::Data`], [`TrainError::Empty`], [`TrainError::Classes`],
    /// [`TrainError::Outputs`] and [`TrainError::Defense`] before any work; [`TrainError::Unfinished`] and
    /// [`TrainError::OtherSettings`] about the directory;
    /// [`TrainError::Images`], [`TrainError::File`], [`TrainError::Interrupted`] and [`TrainError::Diverged`]
    /// while training, which leave the last whole checkpoint to resume from.
    pub fn fit<C>(self, model: C, train: &ImageSet, validation: &ImageSet) -> Result<Trained<C>, TrainError>
    where
        C: Classifier + Module + ModuleDisplay + Sync + 'static,
    {
        let config = &self.config;
        config.check()?;
        parameter::check(self.objective.parameters()).map_err(DefenseError::from)?;
        let adversary = self.adversary()?;
        for (side, images) in [("training", train), ("validation", validation)] {
            if images.is_empty() {
                return Err(TrainError::Empty { side });
            }
        }
        check_classes(&model, train, validation)?;
        let parallel = self.data_parallel_on(&model);
        parameter::check(parallel.parameters(config.batch_size, train.len()))?;
        let devices = parallel.devices.len();
        check_batch(&model, config.batch_size.min(train.len()) / devices, devices, config)?;
        let (size, cache) = (config.image_size, ImageCache::new(self.config.cache_bytes));
        let train = Prepared::new(train.clone(), size)?.with_cache(cache.clone());
        let validation = Prepared::new(validation.clone(), size)?.with_cache(cache);
        let device = &parallel.devices[0];
        let loaders = |starting_epoch| -> Result<[Arc<dyn DataLoader<Batch>>; 2], TrainError> {
            let training = LoaderConfig {
                starting_epoch,
                augmentation: config.augmentation,
                drop_last: true,
                ..LoaderConfig::training(config.batch_size, config.seed)
            };
            let loader = Arc::new(ImageLoader::new(train, training, device)?);
            Ok([
                Arc::new(Spread { loader, devices }),
                Arc::new(ImageLoader::new(validation, LoaderConfig::validation(config.batch_size), device)?),
            ])
        };
        run(&self, model, &parallel, adversary, loaders)
    }

    /// The devices that are given, or the model's own.
    fn data_parallel_on(&self, model: &impl Module) -> DataParallel {
        let own = || model.devices().first().expect("a module with at least one parameter").clone();
        self.data_parallel.clone().unwrap_or_else(|| DataParallel::new([own()]))
    }

    /// The attack that is given, or the one for the objective's budget.
    fn adversary(&self) -> Result<Option<Adversary>, TrainError> {
        let attack = self
            .validation_attack
            .clone()
            .or_else(|| self.objective.budget().map(|budget| Arc::new(Pgd::new(budget)) as Arc<dyn Attack>));
        Ok(attack.map(Adversary::new).transpose()?)
    }

    fn all_settings(&self, adversary: Option<&Adversary>, weights: usize, trainable: usize) -> Value {
        let mut config = serde_json::to_value(&self.config).expect("plain data serialises");
        if let Some(config) = config.as_object_mut() {
            // Does not change a result.
            config.remove("cache_bytes");
            // More epochs may be asked for, unless the earlier ones would have been others.
            if self.config.schedule == Schedule::Constant {
                config.remove("epochs");
            }
        }
        let validation = adversary.map(|adversary| json!(&*adversary.attack));
        let mut settings = json!({
            "config": config, "objective": &*self.objective, "validation": validation, "weights": weights,
            "weights_trainable": trainable, "run": self.settings,
        });
        // Which devices they are changes no result but by rounding; how many there are does.
        if let Some(parallel) = self.data_parallel.as_ref().filter(|parallel| parallel.devices.len() > 1) {
            settings["devices"] = json!({ "count": parallel.devices.len(), "optimizer": parallel.optimizer });
        }
        settings
    }

    /// The history to go on from, with the epochs that are done.
    fn start(&self, folder: &Folder, settings: &Value) -> Result<History, TrainError> {
        let Some(state) = folder.state()? else { return Ok(History::default()) };
        let done = folder.last_whole(&state.history).unwrap_or(0);
        if !self.resume {
            if done > 0 && done < state.epochs && state.history.overfitting().is_none() {
                let directory = folder.path().to_path_buf();
                return Err(TrainError::Unfinished { directory, epoch: done, epochs: state.epochs });
            }
            folder.clear()?;
            return Ok(History::default());
        }
        if let Some((setting, found, expected)) = first_difference("", &state.settings, settings) {
            let directory = folder.path().to_path_buf();
            return Err(TrainError::OtherSettings { directory, setting, expected, found });
        }
        let epochs = self.config.epochs;
        let found = format!("{epochs} with {done} done");
        Parameter::new("epochs", "at least the epochs that are done", epochs >= done, found).check()?;
        let mut history = state.history;
        history.truncate(done);
        Ok(history)
    }
}

fn run<C>(
    trainer: &Trainer,
    model: C,
    parallel: &DataParallel,
    adversary: Option<Adversary>,
    loaders: impl FnOnce(usize) -> Result<[Arc<dyn DataLoader<Batch>>; 2], TrainError>,
) -> Result<Trained<C>, TrainError>
where
    C: Classifier + Module + ModuleDisplay + Sync + 'static,
{
    let temporary;
    let directory = match &trainer.directory {
        Some(directory) => directory.as_path(),
        None => {
            temporary = tempfile::tempdir().map_err(|error| TrainError::File {
                path: std::env::temp_dir(),
                expected: "a folder for temporary files",
                found: error.to_string(),
            })?;
            temporary.path()
        }
    };
    let _lock = FolderLock::take(directory).map_err(|error| TrainError::File {
        path: error.path,
        expected: error.expected,
        found: error.source.to_string(),
    })?;
    let folder = Folder::create(directory)?;
    let device = parallel.devices[0].clone().autodiff();
    // Clones of a module share running statistics; `valid` gives this run its own.
    let model = model.valid().train().fork(&device);
    let mut trainable = TrainableWeights(0);
    model.visit(&mut trainable);
    let settings = trainer.all_settings(adversary.as_ref(), Module::num_params(&model), trainable.0);
    let history = trainer.start(&folder, &settings)?;
    let (done, epochs) = (history.epochs.len(), trainer.config.epochs);
    let ended = done == epochs || history.overfitting().is_some();
    let [train, validation] = loaders(done + 1)?;
    let steps = epochs * train.num_items().div_ceil(trainer.config.batch_size);
    let schedule = trainer.config.schedule.init(trainer.config.learning_rate, steps);
    folder.write_state(&State { settings: settings.clone(), epochs, history: history.clone() })?;

    let shared = Arc::new(Shared {
        objective: trainer.objective.clone(),
        adversary,
        recorder: Mutex::new(Recorder::new(history)),
        interrupter: trainer.interrupter.clone(),
        devices: parallel.devices.len(),
        error: Mutex::new(None),
    });
    let learnable = Learnable::new(model, shared.clone());
    if !ended {
        let plain = !trainer.dashboard || !std::io::IsTerminal::is_terminal(&std::io::stdout());
        let label = trainer.label.clone();
        let strategy = LastAndBest {
            folder: folder.clone(),
            settings,
            epochs,
            shared: shared.clone(),
            on_epoch: Box::new(move |record, history| {
                if plain {
                    say(epoch_line(&label, record, history, record.epoch - done, epochs));
                }
            }),
        };
        let [model, optimizer, scheduler] = folder.checkpointers(&shared);
        let [train, validation] =
            [train, validation].map(|loader| Arc::new(Watched { loader, shared: shared.clone() }));
        let mut training = SupervisedTraining::new(folder.path(), train, validation)
            .metrics((AccuracyMetric::new(), LossMetric::new()))
            .with_custom_checkpointers(model, optimizer, scheduler)
            .with_checkpointing_strategy(strategy)
            .with_interrupter(trainer.interrupter.clone())
            .with_metric_logger(NoLog)
            .with_application_logger(None)
            .with_training_strategy(TrainingStrategy::Default(parallel.strategy()))
            .num_epochs(epochs)
            .label(&trainer.label);
        if done > 0 {
            training = training.checkpoint(done);
        }
        if plain {
            let renderer: Box<dyn MetricsRenderer> =
                Box::new(PlainProgress::new(&trainer.label, done + 1, epochs));
            training = training.renderer(renderer);
        }
        let optimizer = trainer.config.optimizer.init();
        let result = training.launch(Learner::new(learnable.clone(), optimizer, schedule));
        if let Some(error) = shared.error.lock().expect("no panic while storing an error").take() {
            return Err(error);
        }
        if let Some(error) = result.error {
            return Err(TrainError::Backend(error.to_string()));
        }
    }
    let history = shared.recorder.lock().expect("no panic while recording").history.clone();
    let overfitting = history.overfitting();
    if history.epochs.len() < epochs && overfitting.is_none() {
        return Err(TrainError::Interrupted { epoch: history.epochs.len(), epochs });
    }
    let best_epoch = history.best().expect("at least one epoch").epoch;
    if let Some(overfitting) = overfitting {
        // The handle's owner did not stop it, and may use it for other runs.
        if trainer.interrupter.get_message().as_deref() == Some(Overfitting::REASON) {
            trainer.interrupter.reset();
        }
        let label = &trainer.label;
        say(format!("{label}: {overfitting}; training ends and goes back to epoch {best_epoch}"));
    }
    let record = folder.load_model(best_epoch)?;
    let loaded = learnable.try_load_record(record).map_err(|error| TrainError::File {
        path: folder.path().to_path_buf(),
        expected: "a checkpoint of this network",
        found: error.to_string(),
    })?;
    let model = loaded.model.valid();
    Ok(Trained { model, best_epoch, history })
}

/// Of the images that are read.
const CHANNELS: usize = 3;

fn check_classes(model: &impl Classifier, train: &ImageSet, validation: &ImageSet) -> Result<(), TrainError> {
    let [training, validation] = [train, validation].map(|set| set.classes().to_vec());
    if training != validation {
        return Err(TrainError::Classes { training, validation });
    }
    let outputs = model.num_classes();
    if outputs == training.len() { Ok(()) } else { Err(TrainError::Outputs { classes: training, outputs }) }
}

/// Refuses images that the network cannot look at, and steps on so few that a batch norm sees one value a
/// channel.
fn check_batch(
    model: &impl Classifier,
    images: usize,
    devices: usize,
    config: &TrainingConfig,
) -> Result<(), TrainError> {
    let (size, least) = (config.image_size, model.min_training_batch(config.image_size));
    if let Some(expected) = model.refuses(CHANNELS, size, size) {
        let found = format!("{CHANNELS} channels and {size}x{size} pixels");
        Parameter::new("images", expected, false, found).check()?;
    }
    let name = match (images, devices) {
        (images, 1) if images == config.batch_size => "batch_size",
        (_, 1) => "training images",
        _ => "batch_size over devices",
    };
    let range = format!(
        "at least {least} for images of {size} pixels, where batch norm sees one value per channel of a single \
         image"
    );
    Ok(Parameter::new(name, range, images >= least, images).check()?)
}

/// The number of weights that gradients reach.
struct TrainableWeights(usize);

impl ModuleVisitor for TrainableWeights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.val().is_require_grad() {
            self.0 += param.shape().num_elements();
        }
    }
}

/// The first place where two settings differ: its path, the old and the new value.
fn first_difference(path: &str, old: &Value, new: &Value) -> Option<(String, String, String)> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => old.keys().chain(new.keys()).find_map(|key| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let value = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
            first_difference(&path, &value(old), &value(new))
        }),
        _ => (old != new).then(|| (path.to_string(), old.to_string(), new.to_string())),
    }
}
