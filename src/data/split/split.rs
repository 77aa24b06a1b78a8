//! Training, validation and test images.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::LeakageReport;
use super::assign::{SIDES, by_group, by_image, check_fractions};
use super::fold::read_fold_file;
use crate::data::{DataError, ImageSet, Sample};
use crate::parameter::Parameter;
use crate::random::{Purpose, generator};

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
    /// By the folders that the images are in.
    Folders,
    /// By a record of the images that a classifier was trained on.
    Record,
}

impl fmt::Display for SplitMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "by image",
            Self::Slide => "by slide",
            Self::Stem => "by slide stem",
            Self::FoldFile => "by fold file",
            Self::Folders => "by folder",
            Self::Record => "by the record of training images",
        })
    }
}

/// How a split was made and what came of it, for reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitRecord {
    /// How images were shared out.
    pub method: SplitMethod,
    /// Seed of the random order.
    pub seed: u64,
    /// Wanted shares of training, validation and test; of a fold file's training images for
    /// [`SplitMethod::FoldFile`], where test is 0; the shares that there are for [`SplitMethod::Folders`] and
    /// [`SplitMethod::Record`].
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
    /// [`DataError::Parameter`] if the fractions are not above 0 with sum 1, [`DataError::NoneOfClass`] if
    /// the set has no image of a class, [`DataError::EmptyClass`] if a class is left without an image on a
    /// side.
    pub fn by_image(images: &ImageSet, fractions: [f64; 3], seed: u64) -> Result<Self, DataError> {
        check_fractions(fractions)?;
        check_classes(images)?;
        let mut rng = generator(Purpose::SPLIT, seed, &[]);
        let sides = by_image(images.samples(), images.classes().len(), fractions, &mut rng);
        Self::new(images, sides, SplitMethod::Image, fractions, seed, |s| &s.name)
    }

    /// Slide by slide, as near to the fractions of every class as whole slides allow.
    ///
    /// # Errors
    ///
    /// [`DataError::Parameter`] if the fractions are not above 0 with sum 1, [`DataError::NoneOfClass`] if
    /// the set has no image of a class, [`DataError::EmptyClass`] if a class has too few slides for three
    /// sides.
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
        let fits = validation > 0.0 && validation < 1.0;
        Parameter::new("validation", "a share above 0 and below 1", fits, validation).check()?;
        check_classes(images)?;
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
        let mut rng = generator(Purpose::SPLIT, seed, &[]);
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
        check_classes(images)?;
        let mut rng = generator(Purpose::SPLIT, seed, &[]);
        let positions: Vec<usize> = (0..images.len()).collect();
        let (samples, classes) = (images.samples(), images.classes().len());
        let mut sides = by_group(samples, &positions, classes, &fractions, &key, &mut rng).into_iter();
        let sides = std::array::from_fn(|_| sides.next().unwrap_or_default());
        Self::new(images, sides, method, fractions, seed, key)
    }

    /// These images on these sides, which are positions of training, validation and test images: somebody
    /// else's split. Sides may be without an image of a class, or empty.
    ///
    /// # Panics
    ///
    /// Panics if a position is past the end.
    pub(crate) fn of_sides(
        images: &ImageSet,
        sides: [Vec<usize>; 3],
        method: SplitMethod,
        seed: u64,
    ) -> Self {
        let total = sides.iter().map(Vec::len).sum::<usize>().max(1) as f64;
        let fractions = [0, 1, 2].map(|side| sides[side].len() as f64 / total);
        Self::shared_out(images, sides, method, fractions, seed)
    }

    fn new(
        images: &ImageSet,
        sides: [Vec<usize>; 3],
        method: SplitMethod,
        fractions: [f64; 3],
        seed: u64,
        key: impl Fn(&Sample) -> &str,
    ) -> Result<Self, DataError> {
        let split = Self::shared_out(images, sides, method, fractions, seed);
        split.check_sides(images, &SIDES, key)?;
        Ok(split)
    }

    /// Refuses a split that leaves one of these sides without an image of a class.
    pub(crate) fn check_sides(
        &self,
        images: &ImageSet,
        sides: &[&str],
        key: impl Fn(&Sample) -> &str,
    ) -> Result<(), DataError> {
        for (label, class) in images.classes().iter().enumerate() {
            let empty = |side: &usize| self.record.counts[class][*side] == 0 && sides.contains(&SIDES[*side]);
            if let Some(side) = (0..3).find(empty) {
                let of_class = || images.samples().iter().filter(|s| s.label == label);
                return Err(DataError::EmptyClass {
                    side: SIDES[side],
                    class: class.clone(),
                    images: of_class().count(),
                    groups: of_class().map(&key).collect::<BTreeSet<_>>().len(),
                });
            }
        }
        Ok(())
    }

    fn shared_out(
        images: &ImageSet,
        mut sides: [Vec<usize>; 3],
        method: SplitMethod,
        fractions: [f64; 3],
        seed: u64,
    ) -> Self {
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
        Self { train, validation, test, record: SplitRecord { method, seed, fractions, counts } }
    }
}

/// Refuses a set that has no image of a class: whatever the split, no side could have one.
fn check_classes(images: &ImageSet) -> Result<(), DataError> {
    let counts = images.classes().iter().zip(images.class_counts());
    let missing: Vec<String> =
        counts.filter(|(_, count)| *count == 0).map(|(class, _)| class.clone()).collect();
    if missing.is_empty() { Ok(()) } else { Err(DataError::NoneOfClass { missing, set: images.describe() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::breakhis::ImageName;
    use crate::data::{FileImage, Sample};

    /// Images of made-up names; the files are not there and need not be.
    fn named(names: impl IntoIterator<Item = String>) -> ImageSet {
        let sample = |name: String| {
            let parsed = ImageName::parse(&name).unwrap();
            let (slide, stem) = (parsed.slide(), parsed.stem());
            Sample::new(FileImage(name.clone().into()), parsed.class.label(), name).from_slide(slide, stem)
        };
        let classes = vec!["benign".to_string(), "malignant".to_string()];
        ImageSet::new("made up", classes, names.into_iter().map(sample).collect()).unwrap()
    }

    /// As many images as the paper has, on 24 benign and 38 malignant slides of uneven size; the slides A and
    /// B of a number share their stem.
    fn paper() -> ImageSet {
        let class = |count: usize, slides: usize, start: &'static str| {
            (0..count).map(move |i| {
                let slide = (i * i / 7 + i) % slides;
                let letter = if slide.is_multiple_of(2) { 'A' } else { 'B' };
                format!("{start}-14-{}{letter}-100-{:03}.png", 1000 + slide / 2, i)
            })
        };
        named(class(644, 24, "SOB_B_F").chain(class(903, 38, "SOB_M_DC")))
    }

    fn names(set: &ImageSet) -> Vec<&str> {
        set.samples().iter().map(|s| s.name.as_str()).collect()
    }

    /// Table 1 of the paper.
    #[test]
    fn by_image_gives_the_papers_counts() {
        let split = Split::by_image(&paper(), [0.8, 0.1, 0.1], 0).unwrap();
        assert_eq!(split.record().counts["benign"], [515, 64, 65]);
        assert_eq!(split.record().counts["malignant"], [722, 90, 91]);
        let all: BTreeSet<&str> =
            [&split.train, &split.validation, &split.test].into_iter().flat_map(names).collect();
        assert_eq!(all.len(), 1547);
        assert!(!split.leakage().slides.is_empty());
    }

    #[test]
    fn splits_depend_on_the_seed_and_not_on_the_order_of_files() {
        let images = paper();
        let backwards: Vec<usize> = (0..images.len()).rev().collect();
        let backwards = images.subset(&backwards);
        type Method = fn(&ImageSet, [f64; 3], u64) -> Result<Split, DataError>;
        for method in [Split::by_image as Method, Split::by_slide, Split::by_stem] {
            let split = |set, seed| method(set, [0.8, 0.1, 0.1], seed).unwrap();
            let (one, other) = (split(&images, 5), split(&backwards, 5));
            assert_eq!(names(&one.train), names(&other.train));
            assert_eq!(names(&one.test), names(&other.test));
            assert_ne!(names(&one.test), names(&split(&images, 6).test));
        }
    }

    #[test]
    fn groups_stay_whole_and_near_the_fractions() {
        let images = paper();
        for seed in 0..5 {
            let slides = Split::by_slide(&images, [0.8, 0.1, 0.1], seed).unwrap();
            assert!(slides.leakage().slides.is_empty());
            let stems = Split::by_stem(&images, [0.8, 0.1, 0.1], seed).unwrap();
            assert!(stems.leakage().is_clean(), "{}", stems.leakage());
            for split in [slides, stems] {
                for (class, total) in [("benign", 644.0), ("malignant", 903.0)] {
                    let [train, validation, test] = split.record().counts[class].map(|n| n as f64 / total);
                    assert!((train - 0.8).abs() < 0.06, "{class} {train}");
                    assert!(
                        (validation - 0.1).abs() < 0.06 && (test - 0.1).abs() < 0.06,
                        "{validation} {test}"
                    );
                }
            }
        }
    }

    #[test]
    fn leakage_counts_what_is_shared() {
        let set = named(
            ["14-1A-100-001", "14-1A-100-002", "14-1B-100-001", "14-2-100-001", "14-3-100-001"]
                .map(|rest| format!("SOB_B_A-{rest}.png")),
        );
        let report = LeakageReport::new(&set.subset(&[0, 3]), &set.subset(&[4]), &set.subset(&[1, 2]));
        assert_eq!((report.slide_count, report.stem_count), (4, 3));
        assert_eq!((report.slides.len(), report.stems.len()), (1, 1));
        assert_eq!(
            (report.slides[0].name.as_str(), report.slides[0].train, report.slides[0].test),
            ("14-1A", 1, 1)
        );
        assert_eq!((report.test_images_sharing_slide, report.test_images_sharing_stem), (1, 2));
        assert_eq!(
            report.to_string(),
            "leakage: 1 of 4 slides and 1 of 3 stems on more than one side; of 2 test images, 1 share their \
             slide and 2 their stem with training or validation"
        );
    }

    #[test]
    fn fold_files_decide_the_test_images() {
        let images = paper();
        let is_test = |name: &str| ImageName::parse(name).unwrap().slide_id.starts_with("100");
        let line =
            |s: &Sample| format!("{}|100|1|{}\r\n", s.name, if is_test(&s.name) { "test" } else { "train" });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dsfold1.txt");
        std::fs::write(&path, images.samples().iter().map(line).collect::<String>()).unwrap();
        let split = Split::by_fold_file(&images, &path, 0.15, 1).unwrap();
        assert!(names(&split.test).iter().all(|name| is_test(name)));
        assert!(!names(&split.train).iter().chain(&names(&split.validation)).any(|name| is_test(name)));
        assert!(split.leakage().slides.is_empty());
        let more =
            named(names(&images).into_iter().map(str::to_string).chain(["SOB_B_A-14-1-100-001.png".into()]));
        let error = Split::by_fold_file(&more, &path, 0.15, 1).unwrap_err().to_string();
        assert!(error.ends_with("found none for SOB_B_A-14-1-100-001.png"), "{error}");
        for share in [0.0, 1.0, f64::NAN] {
            assert!(Split::by_fold_file(&images, &path, share, 1).is_err());
        }
    }

    #[test]
    fn too_few_images_or_slides_are_an_error() {
        let images = named((0..9).map(|i| {
            let class = if i < 5 { "B_A" } else { "M_DC" };
            format!("SOB_{class}-14-{}-100-{i:03}.png", i % 2 + 10 * (i / 5))
        }));
        let error = Split::by_image(&images, [0.8, 0.1, 0.1], 0).unwrap_err().to_string();
        assert!(error.starts_with("validation: expected at least one image of class benign"), "{error}");
        let error = Split::by_slide(&images, [0.4, 0.3, 0.3], 0).unwrap_err().to_string();
        assert!(error.contains("5 images in 2 groups"), "{error}");
        for fractions in [[0.8, 0.1, 0.2], [1.0, 0.0, 0.0], [1.2, -0.1, -0.1], [f64::NAN, 0.5, 0.5]] {
            let error = Split::by_image(&images, fractions, 0).unwrap_err();
            assert!(matches!(error, DataError::Parameter { .. }), "{error}");
        }
    }
}
