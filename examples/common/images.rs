//! The images of the experiment and their split, from the same options in every example that needs them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use histoguard::data::breakhis::BreakHis;
use histoguard::data::{ImageSet, Split, SyntheticTissue, TrainingRecord};
use histoguard::report::{DataSummary, SplitSummary};
use histoguard::train::TrainingConfig;
use serde::{Deserialize, Serialize};

use crate::common::failure::Failure;
use crate::common::output::note;
use crate::common::verify::{policy, readable};

const FRACTIONS: [f64; 3] = [0.8, 0.1, 0.1];

/// Which images, and how they are split.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ImageOptions {
    /// The BreakHis folder; without it, drawn tissue takes its place.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Which BreakHis images: the paper's (100X, benign and ductal carcinoma), or all found [default: paper].
    #[arg(long, value_enum)]
    pub subset: Option<Subset>,
    /// Number of drawn images, half of them malignant.
    #[arg(long, default_value_t = 400, conflicts_with = "data")]
    pub images: usize,
    /// Leave out images that cannot be read, and count them, instead of stopping.
    #[arg(long)]
    pub skip_damaged: bool,
    /// Side of the images in pixels [default: the paper's 224; 96 on drawn tissue].
    #[arg(long)]
    pub image_size: Option<usize>,
    /// What stays on one side of the split [default: image, as in the paper].
    #[arg(long, value_enum)]
    pub split: Option<By>,
    /// One of BreakHis's fold files (dsfold1.txt ...), instead of --split.
    #[arg(long, conflicts_with = "split")]
    pub fold_file: Option<PathBuf>,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// Which BreakHis images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subset {
    /// 100X, all benign subtypes and ductal carcinoma.
    Paper,
    /// Everything found.
    All,
}

/// What stays on one side of the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Nothing but the image, as in the paper: a patient can be on both sides.
    Image,
    /// A slide.
    Slide,
    /// All slides of one stem, which may be one patient.
    Stem,
}

impl ImageOptions {
    /// Side of the images in pixels.
    pub fn image_size(&self) -> usize {
        self.image_size.unwrap_or(if self.data.is_some() { TrainingConfig::paper().image_size } else { 96 })
    }

    /// Refuses what cannot work, before any image is read.
    pub fn check(&self) -> Result<(), Failure> {
        let breakhis_only = [("--subset", self.subset.is_some()), ("--fold-file", self.fold_file.is_some())];
        if let Some((option, _)) = breakhis_only.iter().find(|(_, given)| *given && self.data.is_none()) {
            return Err(Failure::wrong(format!(
                "{option}: expected --data with it: it chooses BreakHis images"
            )));
        }
        if self.images < 20 || self.images % 2 == 1 {
            let found = self.images;
            return Err(Failure::wrong(format!(
                "--images: expected an even number of at least 20, found {found}"
            )));
        }
        Ok(())
    }

    /// For example `BreakHis, all images found`.
    pub fn describe(&self) -> &'static str {
        match (&self.data, self.subset) {
            (None, _) => "drawn tissue (synthetic)",
            (Some(_), None | Some(Subset::Paper)) => {
                "BreakHis 100X, all benign subtypes and ductal carcinoma"
            }
            (Some(_), Some(Subset::All)) => "BreakHis, all images found",
        }
    }
}

/// Opens the images, says what was found, and splits them.
pub fn open(options: &ImageOptions) -> Result<Split, Failure> {
    share(options, &found(options)?)
}

/// The images that can be read.
pub fn found(options: &ImageOptions) -> Result<ImageSet, Failure> {
    let images = match &options.data {
        Some(_) => breakhis(options)?,
        None => drawn(options)?,
    };
    note(images.describe());
    Ok(match options.data {
        // A damaged file is to be known now, not hours into the training.
        Some(_) => readable(images, options.skip_damaged)?,
        None => images,
    })
}

/// Splits the images as the options say; a note on the test images says how many are among the training
/// images too.
pub fn share(options: &ImageOptions, images: &ImageSet) -> Result<Split, Failure> {
    let mut split = match (&options.fold_file, options.split) {
        (Some(path), _) => Split::by_fold_file(images, path, FRACTIONS[1], options.seed)?,
        (None, None | Some(By::Image)) => Split::by_image(images, FRACTIONS, options.seed)?,
        (None, Some(By::Slide)) => Split::by_slide(images, FRACTIONS, options.seed)?,
        (None, Some(By::Stem)) => Split::by_stem(images, FRACTIONS, options.seed)?,
    };
    tell(&split);
    let seen = TrainingRecord::of(&split)?.seen(&split.test)?;
    if !seen.is_clean() {
        note(format_args!("same pixels on both sides: {seen}"));
        split.test = split.test.with_note(format!("same pixels on both sides: {seen}"));
    }
    Ok(split)
}

/// Says how many images are where.
pub fn tell(split: &Split) {
    note(format_args!(
        "training / validation / test: {} / {} / {} images; {}",
        split.train.len(),
        split.validation.len(),
        split.test.len(),
        split.leakage()
    ));
}

/// What a report says of the images; `tested` describes the test images.
pub fn summary(options: &ImageOptions, split: &Split, tested: String) -> DataSummary {
    DataSummary {
        description: tested,
        notes: split.test.notes().to_vec(),
        split: Some(SplitSummary {
            method: split.record().method.to_string(),
            seed: options.seed,
            train: split.train.class_counts(),
            validation: split.validation.class_counts(),
            test: split.test.class_counts(),
        }),
    }
}

fn breakhis(options: &ImageOptions) -> Result<ImageSet, Failure> {
    let root = options.data.as_ref().expect("called with --data");
    let breakhis = BreakHis::options().on_error(policy(options.skip_damaged)).open(root)?;
    for skipped in breakhis.skipped() {
        note(format_args!("left out: {}", skipped.reason));
    }
    for slide in breakhis.repeated_slides() {
        note(slide);
    }
    if options.subset == Some(Subset::All) {
        return Ok(breakhis.all());
    }
    let paper = breakhis.paper_subset();
    if paper.class_counts().contains(&0) {
        return Err(Failure::wrong(format!(
            "{}: expected the paper's images of both classes, found {}; --subset all takes what is there",
            root.display(),
            paper.describe()
        )));
    }
    Ok(paper)
}

fn drawn(options: &ImageOptions) -> Result<ImageSet, Failure> {
    let per_class = options.images / 2;
    // Drawn a little larger than needed, so that the crops of the augmentation have something to choose from.
    let side = (options.image_size() * 5).div_ceil(4) as u32;
    let tissue = SyntheticTissue {
        image_size: [side, side],
        count_per_class: per_class,
        slides_per_class: (per_class / 10).max(3),
        seed: options.seed,
    };
    Ok(tissue.images()?)
}
