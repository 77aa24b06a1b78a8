//! The images of the experiment and their split, from the same options in every example that needs them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use histoguard::data::breakhis::BreakHis;
use histoguard::data::{FolderSet, FolderSplit, ImageSet, Skipped, Split, SyntheticTissue, TrainingRecord};
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
    /// The BreakHis folder, or with --subset folders any other; without it, drawn tissue takes its place.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Which images are in --data: BreakHis's of the paper (100X, benign and ductal carcinoma), all of
    /// BreakHis, or any in a folder a class, which may lie in train, val and test [default: paper].
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

/// Which images of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subset {
    /// 100X, all benign subtypes and ductal carcinoma.
    Paper,
    /// All of BreakHis that is found.
    All,
    /// One folder a class, or such folders in train, val and test, which are the split then.
    Folders,
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
        let of_folder = [("--subset", self.subset.is_some()), ("--fold-file", self.fold_file.is_some())];
        if let Some((option, _)) = of_folder.iter().find(|(_, given)| *given && self.data.is_none()) {
            return Err(Failure::wrong(format!(
                "{option}: expected --data with it: it chooses among its images"
            )));
        }
        let of_breakhis = [
            ("--fold-file", self.fold_file.is_some()),
            ("--split", matches!(self.split, Some(By::Slide | By::Stem))),
        ];
        if self.subset == Some(Subset::Folders)
            && let Some((option, _)) = of_breakhis.iter().find(|(_, given)| *given)
        {
            return Err(Failure::wrong(format!(
                "{option}: expected BreakHis, whose names tell slides, found --subset folders"
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
            (Some(_), Some(Subset::Folders)) => "images in a folder a class",
        }
    }
}

/// Opens the images, says what was found, and splits them.
pub fn open(options: &ImageOptions) -> Result<Split, Failure> {
    share(options, &found(options)?)
}

/// The images that can be read.
pub fn found(options: &ImageOptions) -> Result<ImageSet, Failure> {
    let images = match (&options.data, options.subset) {
        (Some(root), Some(Subset::Folders)) => in_folders(root, options)?,
        (Some(root), _) => breakhis(root, options)?,
        (None, _) => drawn(options)?,
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
    let sides = match (&options.data, options.subset) {
        (Some(root), Some(Subset::Folders)) if options.split.is_none() => sides(root, options)?,
        _ => None,
    };
    let mut split = match (&options.fold_file, options.split) {
        _ if let Some(sides) = sides => among(sides.split(FRACTIONS[1], options.seed)?, images),
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

fn breakhis(root: &Path, options: &ImageOptions) -> Result<ImageSet, Failure> {
    let breakhis = BreakHis::options().on_error(policy(options.skip_damaged)).open(root)?;
    left_out(breakhis.skipped());
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

fn in_folders(root: &Path, options: &ImageOptions) -> Result<ImageSet, Failure> {
    if let Some(sides) = sides(root, options)? {
        left_out(sides.skipped());
        return Ok(sides.all().clone());
    }
    let images = FolderSet::options().on_error(policy(options.skip_damaged)).open(root)?;
    left_out(images.skipped());
    Ok(images.all())
}

/// The folders of a split, if that is what lies there.
fn sides(root: &Path, options: &ImageOptions) -> Result<Option<FolderSplit>, Failure> {
    if !FolderSplit::is_at(root)? {
        return Ok(None);
    }
    Ok(Some(FolderSplit::open_with(FolderSet::options().on_error(policy(options.skip_damaged)), root)?))
}

/// The split without the images that were found damaged, which their notes say.
fn among(mut split: Split, images: &ImageSet) -> Split {
    let names: HashSet<&str> = images.samples().iter().map(|sample| sample.name.as_str()).collect();
    for side in [&mut split.train, &mut split.validation, &mut split.test] {
        let kept = |&position: &usize| names.contains(side.samples()[position].name.as_str());
        let kept: Vec<usize> = (0..side.len()).filter(kept).collect();
        *side = side.subset(&kept);
        for note in images.notes() {
            if !side.notes().contains(note) {
                *side = side.clone().with_note(note.clone());
            }
        }
    }
    split
}

fn left_out(skipped: &[Skipped]) {
    skipped.iter().for_each(|skipped| note(format_args!("left out: {}", skipped.reason)));
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
