//! Training, validation and test images.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::LeakageReport;
use super::assign::{SIDES, by_group, by_image, check_fractions};
use super::fold::read_fold_file;
use crate::data::random::{Purpose, generator};
use crate::data::{DataError, ImageSet, Sample};

/// How images were shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SplitMethod {
    /// Image by image, as in the paper: a slide may be on several sides.
    Image,
    /// Slide by slide.
    Slide,
    /// Stem by stem: slides that may be one patient's stay together.
    Stem,
    /// By a fold file of BreakHis's authors.
    FoldFile,
}

/// How a split was made and what came of it, for reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SplitRecord {
    /// How images were shared out.
    pub method: SplitMethod,
    /// Seed of the random order.
    pub seed: u64,
    /// Wanted shares of training, validation and test; of a fold file's training images for
    /// [`SplitMethod::FoldFile`], where test is 0.
    pub fractions: [f64; 3],
    /// Images of each class in training, validation and test.
    pub counts: BTreeMap<String, [usize; 3]>,
}

/// Images shared out to training, validation and test.
///
/// The same images, method and seed give the same split on every machine, whatever order the files were
/// listed in.
///
/// ```
/// use histoguard::data::{Split, SyntheticTissue};
///
/// let tissue = SyntheticTissue { count_per_class: 20, slides_per_class: 5, ..SyntheticTissue::default() };
/// let images = tissue.images()?;
/// let split = Split::by_image(&images, [0.8, 0.1, 0.1], 0)?;
/// assert_eq!((split.train.len(), split.validation.len(), split.test.len()), (32, 4, 4));
/// let split = Split::by_slide(&images, [0.6, 0.2, 0.2], 0)?;
/// assert!(split.leakage().slides.is_empty());
/// # Ok::<(), histoguard::data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Split {
    /// Images to train on.
    pub train: ImageSet,
    /// Images to choose the best checkpoint on.
    pub validation: ImageSet,
    /// Images to report on.
    pub test: ImageSet,
    record: SplitRecord,
}

impl Split {
    /// Image by image, as in the paper: of every class the shares of training and validation rounded down,
    /// the rest to test. 644 and 903 images in shares of 0.8, 0.1 and 0.1 are 515/64/65 and 722/90/91, the
    /// paper's Table 1.
    ///
    /// # Errors
    ///
    /// [`DataError::Parameter`] if the fractions are not above 0 with sum 1, [`DataError::EmptyClass`] if a
    /// class is left without an image on a side.
    pub fn by_image(images: &ImageSet, fractions: [f64; 3], seed: u64) -> Result<Self, DataError> {
        check_fractions(fractions)?;
        let mut rng = generator(Purpose::Split, seed, &[]);
        let sides = by_image(images.samples(), images.classes().len(), fractions, &mut rng);
        Self::new(images, sides, SplitMethod::Image, fractions, seed, |s| &s.name)
    }

    /// Slide by slide, as near to the fractions of every class as whole slides allow.
    ///
    /// # Errors
    ///
    /// [`DataError::Parameter`] if the fractions are not above 0 with sum 1, [`DataError::EmptyClass`] if a
    /// class has too few slides for three sides.
    pub fn by_slide(images: &ImageSet, fractions: [f64; 3], seed: u64) -> Result<Self, DataError> {
        Self::grouped(images, fractions, seed, SplitMethod::Slide, |s| &s.group)
    }

    /// Stem by stem (14-22549 for the slides 14-22549AB, CD and G), as near to the fractions of every class
    /// as whole stems allow.
    ///
    /// # Errors
    ///
    /// As [`by_slide`](Self::by_slide).
    pub fn by_stem(images: &ImageSet, fractions: [f64; 3], seed: u64) -> Result<Self, DataError> {
        Self::grouped(images, fractions, seed, SplitMethod::Stem, |s| &s.stem)
    }

    /// By a fold file of BreakHis's authors (`dsfold1.txt` to `dsfold5.txt`, from
    /// <https://web.inf.ufpr.br/vri/databases/breast-cancer-histopathological-database-breakhis/>), which
    /// knows only training and test: `validation` is the share of the training images, taken slide by slide,
    /// to validate on. Lines for images that are not in the set are passed over.
    ///
    /// # Errors
    ///
    /// [`DataError`] if the file cannot be read, a line is not as it should be, an image of the set is not
    /// in it, `validation` is not between 0 and 1, or a class is left without an image on a side.
    pub fn by_fold_file(
        images: &ImageSet,
        path: impl AsRef<Path>,
        validation: f64,
        seed: u64,
    ) -> Result<Self, DataError> {
        let path = path.as_ref();
        if !(validation > 0.0 && validation < 1.0) {
            let (parameter, expected) = ("validation", "a share above 0 and below 1");
            return Err(DataError::Parameter { parameter, expected, found: validation.to_string() });
        }
        let is_test = read_fold_file(path)?;
        let (mut rest, mut test) = (Vec::new(), Vec::new());
        for (position, sample) in images.samples().iter().enumerate() {
            match is_test.get(&sample.name) {
                Some(true) => test.push(position),
                Some(false) => rest.push(position),
                None => {
                    return Err(DataError::FoldFile {
                        path: path.to_path_buf(),
                        line: 0,
                        expected: "a line for every image of the set",
                        found: format!("none for {}", sample.name),
                    });
                }
            }
        }
        let mut rng = generator(Purpose::Split, seed, &[]);
        let fractions = [1.0 - validation, validation];
        let (samples, classes) = (images.samples(), images.classes().len());
        let mut sides = by_group(samples, &rest, classes, &fractions, |s| &s.group, &mut rng).into_iter();
        let sides = [sides.next().unwrap_or_default(), sides.next().unwrap_or_default(), test];
        let fractions = [1.0 - validation, validation, 0.0];
        Self::new(images, sides, SplitMethod::FoldFile, fractions, seed, |s| &s.group)
    }

    /// How the split was made and what came of it.
    pub fn record(&self) -> &SplitRecord {
        &self.record
    }

    /// Slides and stems on more than one side.
    pub fn leakage(&self) -> LeakageReport {
        LeakageReport::new(&self.train, &self.validation, &self.test)
    }

    fn grouped(
        images: &ImageSet,
        fractions: [f64; 3],
        seed: u64,
        method: SplitMethod,
        key: impl Fn(&Sample) -> &str,
    ) -> Result<Self, DataError> {
        check_fractions(fractions)?;
        let mut rng = generator(Purpose::Split, seed, &[]);
        let positions: Vec<usize> = (0..images.len()).collect();
        let (samples, classes) = (images.samples(), images.classes().len());
        let mut sides = by_group(samples, &positions, classes, &fractions, &key, &mut rng).into_iter();
        let sides = std::array::from_fn(|_| sides.next().unwrap_or_default());
        Self::new(images, sides, method, fractions, seed, key)
    }

    fn new(
        images: &ImageSet,
        mut sides: [Vec<usize>; 3],
        method: SplitMethod,
        fractions: [f64; 3],
        seed: u64,
        key: impl Fn(&Sample) -> &str,
    ) -> Result<Self, DataError> {
        let samples = images.samples();
        for side in &mut sides {
            // By name, not by position: a split must not depend on the order that images were listed in.
            side.sort_by(|&a, &b| {
                (samples[a].label, &samples[a].name).cmp(&(samples[b].label, &samples[b].name))
            });
        }
        let [train, validation, test] = sides.map(|side| images.subset(&side));
        let mut counts: BTreeMap<String, [usize; 3]> = BTreeMap::new();
        for (side, set) in [&train, &validation, &test].into_iter().enumerate() {
            for (class, count) in images.classes().iter().zip(set.class_counts()) {
                counts.entry(class.clone()).or_default()[side] = count;
            }
        }
        for (label, class) in images.classes().iter().enumerate() {
            if let Some(side) = counts[class].iter().position(|&count| count == 0) {
                let of_class = || samples.iter().filter(|s| s.label == label);
                return Err(DataError::EmptyClass {
                    side: SIDES[side],
                    class: class.clone(),
                    images: of_class().count(),
                    groups: of_class().map(&key).collect::<BTreeSet<_>>().len(),
                });
            }
        }
        Ok(Self { train, validation, test, record: SplitRecord { method, seed, fractions, counts } })
    }
}
