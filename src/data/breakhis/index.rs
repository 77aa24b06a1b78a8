//! The index of BreakHis: which images are there, and selections of them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::name::PATTERN;
use super::{ImageName, Magnification, PaperCoverage, Subtype, TumourClass};
use crate::data::walk::walk;
use crate::data::{DataError, FileImage, ImageSet, OnError, Sample, Skipped};

/// How to open [`BreakHis`].
#[derive(Clone, Copy, Debug, Default)]
pub struct BreakHisOptions {
    on_error: OnError,
}

/// The BreakHis images below a folder, indexed from their names; none is read.
///
/// Any layout will do, because only file names count: the official tree
/// (`histology_slides/breast/benign/SOB/adenosis/SOB_B_A_14-22549AB/100X/...`), the Kaggle copy with its
/// doubled root, and the flat one (`BreaKHis 400X/train/benign/...`). Files that are no images by their
/// ending are passed over. Filters narrow the selection and can be chained.
///
/// ```no_run
/// use histoguard::data::breakhis::{BreakHis, Magnification, TumourClass};
///
/// let breakhis = BreakHis::open("BreaKHis_v1")?;
/// let paper = breakhis.paper_subset();
/// println!("{}", paper.describe());
/// let others = breakhis.magnification(Magnification::X400).class(TumourClass::Malignant).all();
/// # Ok::<(), histoguard::data::DataError>(())
/// ```
///
/// Source: Spanhol et al., "A Dataset for Breast Cancer Histopathological Image Classification", IEEE
/// Transactions on Biomedical Engineering 63(7), 2016.
#[derive(Clone, Debug)]
pub struct BreakHis {
    root: Arc<Path>,
    index: ImageSet,
    names: Arc<[ImageName]>,
    selected: Vec<usize>,
    repeated_slides: Arc<[RepeatedSlide]>,
    repeated_files: Arc<[PathBuf]>,
    skipped: Arc<[Skipped]>,
}

/// A slide that stands under two subtypes with the same images, dropped from all but the first.
///
/// In the published data this is 14-13412, under ductal and under lobular carcinoma.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepeatedSlide {
    /// The slide, such as `14-13412`.
    pub slide: String,
    /// The subtype that keeps it.
    pub kept: Subtype,
    /// The subtype that it was dropped from.
    pub dropped: Subtype,
    /// Number of images dropped.
    pub images: usize,
}

impl fmt::Display for RepeatedSlide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slide, kept, dropped, images } = self;
        write!(f, "slide {slide} stands under {kept} and {dropped}: {images} images dropped from {dropped}")
    }
}

impl BreakHisOptions {
    /// What happens with an image of another name, an empty file or an unreadable folder. Default:
    /// [`OnError::Fail`].
    #[must_use]
    pub fn on_error(self, on_error: OnError) -> Self {
        Self { on_error }
    }

    /// Indexes the images below `root`.
    ///
    /// # Errors
    ///
    /// [`DataError`] if the root cannot be read or holds no BreakHis image; with [`OnError::Fail`] also on an
    /// image of another name, an empty file and an unreadable folder.
    pub fn open(self, root: impl AsRef<Path>) -> Result<BreakHis, DataError> {
        let root = root.as_ref();
        let mut skipped = Vec::new();
        let mut found = BTreeMap::new();
        let mut repeated_files = Vec::new();
        for entry in walk(root, self.on_error, &mut skipped)? {
            if !entry.has_image_ending() {
                continue;
            }
            let Some(name) = ImageName::parse(&entry.name) else {
                let (expected, found) = (PATTERN.to_string(), format!("{:?}", entry.name));
                let error = DataError::Name { path: entry.path.clone(), expected, found };
                self.on_error.handle(&entry.path, error, &mut skipped)?;
                continue;
            };
            if entry.bytes == 0 {
                let error = DataError::EmptyFile { path: entry.path.clone() };
                self.on_error.handle(&entry.path, error, &mut skipped)?;
            } else if let Entry::Vacant(place) = found.entry(name) {
                place.insert(entry.path);
            } else {
                repeated_files.push(entry.path);
            }
        }
        let repeated_slides = drop_repeated_slides(&mut found);
        if found.is_empty() {
            let expected = format!("BreakHis images, {PATTERN}");
            return Err(DataError::NoImages { path: root.to_path_buf(), expected });
        }
        let samples = found.iter().map(|(name, path)| {
            Sample::new(FileImage(path.clone()), name.class.label(), name.to_string())
                .from_slide(name.slide(), name.stem())
        });
        let classes = TumourClass::ALL.map(|class| class.name().to_string()).to_vec();
        let mut index = ImageSet::new("BreakHis", classes, samples.collect())?;
        for repeated in &repeated_slides {
            index = index.with_note(repeated.to_string());
        }
        if !repeated_files.is_empty() {
            index = index.with_note(format!("{} repeated files passed over", repeated_files.len()));
        }
        if !skipped.is_empty() {
            index = index.with_note(format!("{} unusable files skipped", skipped.len()));
        }
        Ok(BreakHis {
            root: root.into(),
            selected: (0..index.len()).collect(),
            index,
            names: found.into_keys().collect(),
            repeated_slides: repeated_slides.into(),
            repeated_files: repeated_files.into(),
            skipped: skipped.into(),
        })
    }
}

impl BreakHis {
    /// Indexes the images below `root`, stopping at the first file that is not as it should be.
    ///
    /// # Errors
    ///
    /// As [`BreakHisOptions::open`] with [`OnError::Fail`].
    pub fn open(root: impl AsRef<Path>) -> Result<Self, DataError> {
        Self::options().open(root)
    }

    /// Options other than the default ones.
    pub fn options() -> BreakHisOptions {
        BreakHisOptions::default()
    }

    /// The folder that was opened.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Number of selected images.
    pub fn len(&self) -> usize {
        self.selected.len()
    }

    /// Whether no image is selected.
    pub fn is_empty(&self) -> bool {
        self.selected.is_empty()
    }

    /// What the selected images' names say, in order.
    pub fn names(&self) -> impl Iterator<Item = &ImageName> {
        self.selected.iter().map(|&position| &self.names[position])
    }

    /// Number of different slides among the selected images.
    pub fn slides(&self) -> usize {
        self.names().map(ImageName::slide).collect::<BTreeSet<_>>().len()
    }

    /// The selected images whose names fit.
    #[must_use]
    pub fn filter(&self, mut fits: impl FnMut(&ImageName) -> bool) -> Self {
        let selected = self.selected.iter().copied().filter(|&p| fits(&self.names[p])).collect();
        Self { selected, ..self.clone() }
    }

    /// The selected images of this magnification.
    #[must_use]
    pub fn magnification(&self, magnification: Magnification) -> Self {
        self.filter(|name| name.magnification == magnification)
    }

    /// The selected images of this class.
    #[must_use]
    pub fn class(&self, class: TumourClass) -> Self {
        self.filter(|name| name.class == class)
    }

    /// The selected images of these subtypes.
    #[must_use]
    pub fn subtypes(&self, subtypes: &[Subtype]) -> Self {
        self.filter(|name| subtypes.contains(&name.subtype))
    }

    /// The selected images of this slide, such as `14-22549AB`.
    #[must_use]
    pub fn slide(&self, slide: &str) -> Self {
        self.filter(|name| name.slide() == slide)
    }

    /// All selected images, sorted by class, subtype, slide, magnification and sequence.
    pub fn all(&self) -> ImageSet {
        self.index.subset(&self.selected)
    }

    /// The paper's images among the selected ones: 100X, all benign subtypes and ductal carcinoma, 644 + 903
    /// in the whole data set. Where some are missing, the set's [`describe`](ImageSet::describe) says so.
    pub fn paper_subset(&self) -> ImageSet {
        let paper = self.filter(is_paper).all().with_origin("BreakHis 100X, benign and ductal carcinoma");
        let coverage = self.paper_coverage();
        if coverage.is_complete() {
            return paper;
        }
        let paper = paper.with_note(coverage.to_string());
        if coverage.benign > 0 && coverage.malignant > 0 {
            return paper;
        }
        let there: Vec<String> =
            self.magnifications().into_iter().map(|(times, count)| format!("{count} at {times}")).collect();
        paper.with_note(format!(
            "images there: {} (BreakHis::all takes them all, BreakHis::magnification those of one)",
            there.join(", ")
        ))
    }

    /// How many of the selected images there are of each magnification; none of which there is none.
    pub fn magnifications(&self) -> BTreeMap<Magnification, usize> {
        let mut counts = BTreeMap::new();
        for name in self.names() {
            *counts.entry(name.magnification).or_default() += 1;
        }
        counts
    }

    /// How many of the paper's images are among the selected ones.
    pub fn paper_coverage(&self) -> PaperCoverage {
        let paper = self.filter(is_paper);
        let benign = paper.class(TumourClass::Benign).len();
        PaperCoverage { benign, malignant: paper.len() - benign }
    }

    /// Slides that stood under two subtypes and were dropped from one.
    pub fn repeated_slides(&self) -> &[RepeatedSlide] {
        &self.repeated_slides
    }

    /// Files whose name was found before in another folder; they were passed over.
    pub fn repeated_files(&self) -> &[PathBuf] {
        &self.repeated_files
    }

    /// What was left out under [`OnError::Skip`].
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

fn is_paper(name: &ImageName) -> bool {
    let fits = name.class == TumourClass::Benign || name.subtype == Subtype::DuctalCarcinoma;
    fits && name.magnification == Magnification::X100
}

/// Takes each slide out of all subtypes but its first, in the order of [`Subtype::ALL`].
fn drop_repeated_slides(found: &mut BTreeMap<ImageName, PathBuf>) -> Vec<RepeatedSlide> {
    let mut first: HashMap<String, Subtype> = HashMap::new();
    for name in found.keys() {
        first.entry(name.slide()).and_modify(|s| *s = name.subtype.min(*s)).or_insert(name.subtype);
    }
    let mut dropped: BTreeMap<(String, Subtype), usize> = BTreeMap::new();
    found.retain(|name, _| {
        let keep = first[&name.slide()] == name.subtype;
        if !keep {
            *dropped.entry((name.slide(), name.subtype)).or_default() += 1;
        }
        keep
    });
    let report = |((slide, dropped), images): ((String, Subtype), usize)| {
        let kept = first[&slide];
        RepeatedSlide { slide, kept, dropped, images }
    };
    dropped.into_iter().map(report).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn put(root: &Path, folder: &str, name: &str) {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), "not read").unwrap();
    }

    const ADENOSIS: &str = "SOB_B_A-14-22549AB-100-001.png";
    const DUCTAL: &str = "SOB_M_DC-14-2523-100-001.png";

    #[test]
    fn all_layouts_give_the_same_index() {
        let official = "histology_slides/breast/benign/SOB/adenosis/SOB_B_A_14-22549AB/100X";
        let kaggle = format!("BreaKHis_v1/BreaKHis_v1/{official}");
        for folder in [official, &kaggle, "BreaKHis 400X/train/benign", "."] {
            let root = tempfile::tempdir().unwrap();
            put(root.path(), folder, ADENOSIS);
            put(root.path(), folder, DUCTAL);
            put(root.path(), "", "Folds.csv");
            let breakhis = BreakHis::open(root.path()).unwrap();
            let names: Vec<String> = breakhis.names().map(ToString::to_string).collect();
            assert_eq!(names, [ADENOSIS, DUCTAL]);
            let set = breakhis.all();
            assert_eq!(set.classes(), ["benign", "malignant"]);
            assert_eq!((set.samples()[0].label, set.samples()[1].label), (0, 1));
            assert_eq!(set.samples()[0].stem, "14-22549");
        }
    }

    #[test]
    fn filters_can_be_chained() {
        let root = tempfile::tempdir().unwrap();
        for name in [ADENOSIS, DUCTAL, "SOB_M_LC-14-12204-100-001.png", "SOB_M_DC-14-2523-400-001.png"] {
            put(root.path(), "", name);
        }
        let breakhis = BreakHis::open(root.path()).unwrap();
        assert_eq!((breakhis.len(), breakhis.slides()), (4, 3));
        assert_eq!(breakhis.magnification(Magnification::X100).class(TumourClass::Malignant).len(), 2);
        assert_eq!(breakhis.subtypes(&[Subtype::LobularCarcinoma, Subtype::Adenosis]).len(), 2);
        assert_eq!(breakhis.slide("14-2523").len(), 2);
        let paper = breakhis.paper_subset();
        let names: Vec<&str> = paper.samples().iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, [ADENOSIS, DUCTAL]);
        assert!(paper.describe().contains("2 of the paper's 1547 images found: 1 benign, 1 malignant"));
        assert_eq!(breakhis.all().subset(&[1]).samples()[0].index, paper.samples()[1].index);
    }

    #[test]
    fn the_slide_under_two_subtypes_stays_under_ductal() {
        let root = tempfile::tempdir().unwrap();
        for sequence in 1..=3 {
            put(root.path(), "lc", &format!("SOB_M_LC-14-13412-100-{sequence:03}.png"));
            put(root.path(), "dc", &format!("SOB_M_DC-14-13412-100-{sequence:03}.png"));
        }
        put(root.path(), "copy", "SOB_M_DC-14-13412-100-003.png");
        let breakhis = BreakHis::open(root.path()).unwrap();
        assert_eq!(breakhis.len(), 3);
        assert!(breakhis.names().all(|name| name.subtype == Subtype::DuctalCarcinoma));
        let report: Vec<String> = breakhis.repeated_slides().iter().map(ToString::to_string).collect();
        let expected = "slide 14-13412 stands under ductal carcinoma and lobular carcinoma: \
                        3 images dropped from lobular carcinoma";
        assert_eq!(report, [expected]);
        assert_eq!(breakhis.repeated_files().len(), 1);
        assert!(breakhis.all().describe().contains(expected));
    }

    #[test]
    fn wrong_names_and_empty_files_fail_or_are_counted() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "a", ADENOSIS);
        put(root.path(), "b", "SOB_B_A-14-22549AB-100-1.png");
        fs::write(root.path().join("SOB_M_DC-14-2523-100-002.png"), "").unwrap();
        let error = BreakHis::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("found an empty file") || error.contains("a name like"), "{error}");
        let breakhis = BreakHis::options().on_error(OnError::Skip).open(root.path()).unwrap();
        assert_eq!((breakhis.len(), breakhis.skipped().len()), (1, 2));
        let reasons: Vec<&str> = breakhis.skipped().iter().map(|s| s.reason.as_str()).collect();
        assert!(reasons.iter().any(|r| r.contains("expected a name like SOB_M_DC")), "{reasons:?}");
        assert!(reasons.iter().any(|r| r.ends_with("found an empty file")), "{reasons:?}");
    }

    #[test]
    fn a_folder_without_breakhis_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("notes.txt"), "x").unwrap();
        let error = BreakHis::open(root.path()).unwrap_err();
        assert!(matches!(error, DataError::NoImages { .. }), "{error}");
        let error = BreakHis::open(root.path().join("nowhere")).unwrap_err();
        assert!(matches!(error, DataError::Io { .. }), "{error}");
    }
}
