//! What the generators learn with, epoch by epoch.

use std::path::Path;

use histoguard::attack::{
    AdvGan, AdvGanPlusPlus, Distillation, DistilledCopy, GanSchedule, GanTraining, GeneratorNorm,
};
use histoguard::classifier::FrozenFeatures;
use histoguard::data::{Augmentation, LabeledImages, Prepared};
use histoguard::defense::StainAugmentation;
use histoguard::prelude::*;

use crate::common::advgan::curve::Curve;
use crate::common::advgan::options::{self, Method, Options};
use crate::common::failure::Failure;
use crate::common::images::ImageOptions;
use crate::common::interrupt;
use crate::common::output::note;

/// The checkpoint's network.
pub type Model = Normalized<DenseNet>;

/// Images at a time of those that nothing learns from.
const BATCH_SIZE: usize = 32;

/// What is learned, and on what.
pub struct Learner<'a> {
    pub options: &'a Options,
    pub victim: Frozen,
    pub features: FrozenFeatures,
    pub train: Prepared,
    pub target: Option<usize>,
    /// The same network, asked for what is said of the learning alone, and images that nothing learns from.
    pub judge: &'a Frozen,
    pub validation: &'a Prepared,
}

impl Learner<'_> {
    /// Refuses wrong settings.
    pub fn check(&self) -> Result<(), Failure> {
        self.advgan().start(self.shape())?;
        self.blank_copy()?;
        let gray = Tensor::full([1, 3, 1, 1], 0.5, self.victim.device());
        self.stained(gray, &[0], 1).map(drop)?;
        Ok(())
    }

    fn advgan(&self) -> AdvGan {
        let blank = AdvGan::new(self.budget());
        let losses = blank.losses.with_kappa(self.options.kappa);
        let norm = match self.options.norm {
            options::Norm::Instance => GeneratorNorm::Instance,
            options::Norm::Batch => GeneratorNorm::Batch,
        };
        blank
            .with_width(self.options.width)
            .with_norm(norm)
            .with_losses(losses)
            .with_schedule(self.schedule())
    }

    fn plus_plus(&self) -> AdvGanPlusPlus {
        let blank = AdvGanPlusPlus::new(self.budget());
        let losses = blank.losses.with_kappa(self.options.kappa);
        blank.with_width(self.options.width).with_losses(losses).with_schedule(self.schedule())
    }

    pub fn budget(&self) -> Budget {
        Budget::pixels(self.options.epsilon)
    }

    fn schedule(&self) -> GanSchedule {
        let Options { epochs, batch_size, learning_rate, images, .. } = self.options;
        GanSchedule::new()
            .with_epochs(*epochs)
            .with_batch_size(*batch_size)
            .with_learning_rate(*learning_rate)
            // A last fifth of smaller steps.
            .with_milestones(vec![epochs * 4 / 5 + 1])
            .with_seed(images.seed)
    }

    pub fn shape(&self) -> [usize; 3] {
        let size = self.options.images.image_size();
        [3, size, size]
    }

    /// The images at these positions as they are learned from in this epoch.
    fn images(&self, positions: &[usize], epoch: usize) -> Result<(Tensor<4>, Goal), Failure> {
        let device = self.victim.device();
        let batch = match self.options.plain {
            true => self.train.batch(positions, device)?,
            false => {
                let views = Augmentation { quarter_turns: true, ..Augmentation::paper() };
                self.train.views(positions, views, (self.options.images.seed, epoch), device)?
            }
        };
        let goal = match self.target {
            Some(class) => Goal::targeted(vec![class; positions.len()]),
            None => Goal::untargeted(batch.labels),
        };
        Ok((self.stained(batch.images, &batch.indices, epoch)?, goal))
    }

    /// In the stains of this epoch.
    fn stained(&self, images: Tensor<4>, indices: &[u64], epoch: usize) -> Result<Tensor<4>, Failure> {
        let Options { stain, images: ImageOptions { seed, .. }, .. } = self.options;
        match *stain == 0.0 {
            true => Ok(images),
            false => Ok(StainAugmentation::new(*stain).with_seed(*seed).stained(images, indices, epoch)?),
        }
    }

    /// A small DenseNet that is to answer as the checkpoint does.
    fn blank_copy(&self) -> Result<DistilledCopy<Model>, Failure> {
        let Options { copy_epochs, batch_size, learning_rate, images, .. } = self.options;
        let config = DenseNetConfig::new(self.victim.num_classes())
            .with_growth_rate(12)
            .with_block_config(vec![4, 4, 4])
            .with_num_init_features(24);
        let net =
            Normalized::new(config.init_seeded(&Device::default(), images.seed), Normalization::IMAGENET);
        let distillation = Distillation::new()
            .with_epochs(*copy_epochs)
            .with_batch_size(*batch_size)
            .with_learning_rate(*learning_rate)
            .with_seed(images.seed);
        Ok(DistilledCopy::new(net, distillation, self.shape())?)
    }

    /// The copy after its own epochs, saved after each.
    fn copy(&self) -> Result<DistilledCopy<Model>, Failure> {
        let path = self.options.out.join("copy.safetensors");
        let mut copy = self.blank_copy()?;
        if path.exists() {
            copy = copy.load(&path)?;
        }
        while !copy.origin().finished {
            let epoch = copy.origin().passes + 1;
            let images = |positions: &[usize]| self.images(positions, epoch);
            self.heeded(copy.pass(&self.victim, self.train.len(), images))?;
            copy.save(&path)?;
            note(format_args!(
                "copy: epochs over {} training images: {}; of {} validation images, it answers as the checkpoint to {}",
                self.train.len(),
                copy.origin().passes,
                self.validation.len(),
                self.agreed(&copy)?
            ));
        }
        Ok(copy)
    }

    /// Validation images to which the copy gives the checkpoint's answer.
    fn agreed(&self, copy: &DistilledCopy<Model>) -> Result<usize, Failure> {
        let positions: Vec<usize> = (0..self.validation.len()).collect();
        let mut agreed = 0.0;
        for positions in positions.chunks(BATCH_SIZE) {
            let images = self.validation.batch(positions, self.judge.device())?.images;
            agreed += copy.agreement(self.judge, images) * positions.len() as f64;
        }
        Ok(agreed.round() as usize)
    }

    /// What a pass gave, or that it was stopped.
    fn heeded<T>(&self, passed: Result<T, Failure>) -> Result<T, Failure> {
        if self.victim.watch().is_stopped() {
            let message = "stopped; the same command goes on after the last whole epoch";
            return Err(interrupt::interrupted(message));
        }
        passed
    }

    /// All epochs, each judged and saved.
    pub fn learn(&self, curve: &mut Curve<'_>) -> Result<Box<dyn Attack>, Failure> {
        let path = self.options.out.join("training.safetensors");
        let mut copy = match self.options.method {
            Method::BlackBox => Some(self.copy()?),
            _ => None,
        };
        let mut training = match (path.exists(), self.options.method, &copy) {
            (true, ..) => GanTraining::load(&path)?,
            (_, _, Some(copy)) => self.advgan().start_black_box(copy, self.shape())?,
            (_, Method::PlusPlus, _) => self.plus_plus().start(&self.features, self.shape())?,
            _ => self.advgan().start(self.shape())?,
        };
        curve.goes_on_after(training.origin().passes)?;
        while !training.origin().finished {
            let epoch = training.origin().passes + 1;
            let (count, images) = (self.train.len(), |positions: &[usize]| self.images(positions, epoch));
            let passed = match (self.options.method, &mut copy) {
                (Method::PlusPlus, _) => {
                    self.plus_plus().pass(&self.victim, &self.features, &mut training, count, images)
                }
                (_, Some(copy)) => {
                    self.advgan().pass_black_box(&self.victim, copy, &mut training, count, images)
                }
                _ => self.advgan().pass(&self.victim, &mut training, count, images),
            };
            self.heeded(passed)?;
            curve.add(&training, &*self.attack(&training, None)?)?;
            training.save(&path)?;
        }
        self.attack(&training, Some(&self.options.out.join("advgan.safetensors")))
    }

    /// What has been learned so far, saved if there is a path for it.
    fn attack(&self, training: &GanTraining, path: Option<&Path>) -> Result<Box<dyn Attack>, Failure> {
        if self.options.method == Method::PlusPlus {
            let attack = self.plus_plus().attack(training, &self.features)?;
            path.map_or(Ok(()), |path| attack.save(path))?;
            return Ok(Box::new(attack));
        }
        let attack = self.advgan().attack(training, self.victim.device())?;
        path.map_or(Ok(()), |path| attack.save(path))?;
        Ok(Box::new(attack))
    }
}
