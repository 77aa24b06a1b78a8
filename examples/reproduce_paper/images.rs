//! The images of the experiment and their split.

use histoguard::data::breakhis::BreakHis;
use histoguard::data::{ImageSet, Split, SyntheticTissue};

use crate::common::Failure;
use crate::options::{By, Options, Subset};
use crate::verify::readable;

const FRACTIONS: [f64; 3] = [0.8, 0.1, 0.1];

/// Opens the images, says what was found, and splits them.
pub fn open(options: &Options) -> Result<Split, Failure> {
    let images = match &options.data {
        Some(_) => breakhis(options)?,
        None => drawn(options)?,
    };
    eprintln!("{}", images.describe());
    let images = match options.data {
        // A damaged file is to be known now, not hours into the training.
        Some(_) => readable(images, options.skip_damaged)?,
        None => images,
    };
    let split = match (&options.fold_file, options.split) {
        (Some(path), _) => Split::by_fold_file(&images, path, FRACTIONS[1], options.seed)?,
        (None, None | Some(By::Image)) => Split::by_image(&images, FRACTIONS, options.seed)?,
        (None, Some(By::Slide)) => Split::by_slide(&images, FRACTIONS, options.seed)?,
        (None, Some(By::Stem)) => Split::by_stem(&images, FRACTIONS, options.seed)?,
    };
    eprintln!(
        "training / validation / test: {} / {} / {} images; {}",
        split.train.len(),
        split.validation.len(),
        split.test.len(),
        split.leakage()
    );
    Ok(split)
}

fn breakhis(options: &Options) -> Result<ImageSet, Failure> {
    let root = options.data.as_ref().expect("called with --data");
    let breakhis = BreakHis::open(root)?;
    for slide in breakhis.repeated_slides() {
        eprintln!("{slide}");
    }
    Ok(match options.subset {
        None | Some(Subset::Paper) => breakhis.paper_subset(),
        Some(Subset::All) => breakhis.all(),
    })
}

fn drawn(options: &Options) -> Result<ImageSet, Failure> {
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
