//! A folder for each side of a split, each with a folder a class.

use std::path::Path;

use super::folder::{sides, wrong};
use super::split::by_image;
use super::{DataError, FolderOptions, ImageSet, OnError, Skipped, Split, SplitMethod};
use crate::parameter::Parameter;
use crate::random::{Purpose, generator};

/// Names of the sides in the errors.
const SIDES: [&str; 3] = ["training", "validation", "test"];

/// Images that come split: `root/<side>/<class>/<image>`, as most public sets do.
///
/// A side is a folder called `train` or `training`, `val`, `valid` or `validation`, `test` or `testing`, in
/// any case of letters. Training must be there, and every side has the same classes. Folders of other names
/// beside them are passed over.
///
/// ```no_run
/// use histoguard::data::FolderSplit;
///
/// let chest = FolderSplit::open("chest_xray")?;
/// // Where a side is missing, a tenth of the training images takes its place.
/// let split = chest.split(0.1, 0)?;
/// # Ok::<(), histoguard::data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FolderSplit {
    images: ImageSet,
    sides: [Vec<usize>; 3],
    skipped: Vec<Skipped>,
}

impl FolderSplit {
    /// Whether the folders below `root` are sides of a split by their names; otherwise a
    /// [`FolderSet`](super::FolderSet) may be.
    ///
    /// # Errors
    ///
    /// [`DataError`] if the folder cannot be read.
    pub fn is_at(root: impl AsRef<Path>) -> Result<bool, DataError> {
        Ok(!sides(root.as_ref(), OnError::Skip)?.is_empty())
    }

    /// Lists the images of all sides, stopping at the first file that does not belong there; none is read.
    ///
    /// # Errors
    ///
    /// As [`open_with`](Self::open_with) and [`OnError::Fail`].
    pub fn open(root: impl AsRef<Path>) -> Result<Self, DataError> {
        Self::open_with(FolderOptions::default(), root)
    }

    /// Lists the images of all sides with these options.
    ///
    /// # Errors
    ///
    /// [`DataError::Classes`] if a side has other classes than training; [`DataError`] if there is no
    /// training folder, if there are two for a side, and as [`FolderOptions::open`] of each side.
    pub fn open_with(options: FolderOptions, root: impl AsRef<Path>) -> Result<Self, DataError> {
        let root = root.as_ref();
        let folders = sides(root, options.policy())?;
        let of = |side: usize| folders.iter().filter(move |(of, _)| *of == side);
        for (side, name) in SIDES.iter().enumerate() {
            let found: Vec<&str> = of(side).map(|(_, entry)| entry.name.as_str()).collect();
            if found.len() > 1 || (side == 0 && found.is_empty()) {
                let expected = format!("one folder of {name} images");
                let found = if found.is_empty() { "none".to_string() } else { found.join(", ") };
                return Err(wrong(root, &expected, &found));
            }
        }
        let (mut classes, mut samples, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        let mut positions: [Vec<usize>; 3] = Default::default();
        for (side, positions) in positions.iter_mut().enumerate() {
            let Some((_, entry)) = of(side).next() else { continue };
            let (found, more) = options.classes(&entry.path, &format!("{}/", entry.name), &mut skipped)?;
            if side == 0 {
                classes = found;
            } else if found != classes {
                let what = entry.path.display().to_string();
                return Err(DataError::Classes { what, expected: classes, found });
            }
            *positions = (samples.len()..samples.len() + more.len()).collect();
            samples.extend(more);
        }
        let mut images = ImageSet::new(root.display().to_string(), classes, samples)?;
        if !skipped.is_empty() {
            images = images.with_note(format!("{} unusable files skipped", skipped.len()));
        }
        Ok(Self { images, sides: positions, skipped })
    }

    /// The images of all sides.
    pub fn all(&self) -> &ImageSet {
        &self.images
    }

    /// Training images.
    pub fn train(&self) -> ImageSet {
        self.images.subset(&self.sides[0])
    }

    /// Validation images, if they have a folder.
    pub fn validation(&self) -> Option<ImageSet> {
        self.side(1)
    }

    /// Test images, if they have a folder.
    pub fn test(&self) -> Option<ImageSet> {
        self.side(2)
    }

    /// What was left out under [`OnError::Skip`].
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// The sides as a [`Split`]. One that has no folder gets this share of the training images of every
    /// class, rounded up, drawn image by image from the seed.
    ///
    /// # Errors
    ///
    /// [`DataError::Parameter`] if `share` is not between 0 and 0.5, [`DataError::EmptyClass`] if a class is
    /// left without an image on a side.
    pub fn split(&self, share: f64, seed: u64) -> Result<Split, DataError> {
        let fits = share > 0.0 && share < 0.5;
        Parameter::new("share", "a number above 0 and below 0.5", fits, share).check()?;
        let mut sides = self.sides.clone();
        let mut rng = generator(Purpose::SPLIT, seed, &[]);
        for side in (1..3).filter(|&side| self.sides[side].is_empty()) {
            let train = self.images.subset(&sides[0]);
            let classes = self.images.classes().len();
            let [keep, _, give] = by_image(train.samples(), classes, [1.0 - share, 0.0, share], &mut rng);
            let of = |kept: Vec<usize>| kept.into_iter().map(|position| sides[0][position]).collect();
            let (keep, give): (Vec<usize>, Vec<usize>) = (of(keep), of(give));
            sides[0] = keep;
            sides[side] = give;
        }
        let split = Split::of_sides(&self.images, sides, SplitMethod::Folders, seed);
        split.check_sides(&self.images, &["train", "validation", "test"], |sample| &sample.name)?;
        Ok(split)
    }

    fn side(&self, side: usize) -> Option<ImageSet> {
        (!self.sides[side].is_empty()).then(|| self.images.subset(&self.sides[side]))
    }
}
