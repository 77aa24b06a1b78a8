//! What a split's sides share: slides, and stems of slides.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::data::{ImageSet, Sample};

/// Slides and stems that have images on more than one side of a split.
///
/// A classifier that has seen other images of a test image's slide may recognise the slide, not the tumour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeakageReport {
    /// Number of slides on all sides together.
    pub slide_count: usize,
    /// Number of stems on all sides together.
    pub stem_count: usize,
    /// Slides on more than one side, sorted by name.
    pub slides: Vec<SharedGroup>,
    /// Stems on more than one side, sorted by name.
    pub stems: Vec<SharedGroup>,
    /// Number of test images.
    pub test_images: usize,
    /// Test images whose slide also has training or validation images.
    pub test_images_sharing_slide: usize,
    /// Test images whose stem also has training or validation images.
    pub test_images_sharing_stem: usize,
}

/// A slide or stem with images on more than one side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SharedGroup {
    /// The slide or stem.
    pub name: String,
    /// Its training images.
    pub train: usize,
    /// Its validation images.
    pub validation: usize,
    /// Its test images.
    pub test: usize,
}

impl LeakageReport {
    /// What these sides share.
    pub fn new(train: &ImageSet, validation: &ImageSet, test: &ImageSet) -> Self {
        let sides = [train, validation, test];
        let (slide_count, slides) = shared(sides, |sample| &sample.group);
        let (stem_count, stems) = shared(sides, |sample| &sample.stem);
        let in_test = |groups: &[SharedGroup]| groups.iter().map(|group| group.test).sum();
        Self {
            slide_count,
            stem_count,
            test_images: test.len(),
            test_images_sharing_slide: in_test(&slides),
            test_images_sharing_stem: in_test(&stems),
            slides,
            stems,
        }
    }

    /// Whether no slide and no stem is on more than one side.
    pub fn is_clean(&self) -> bool {
        self.slides.is_empty() && self.stems.is_empty()
    }
}

impl fmt::Display for LeakageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            let (slides, stems) = (self.slide_count, self.stem_count);
            return write!(
                f,
                "no leakage: none of {slides} slides and {stems} stems is on more than one side"
            );
        }
        write!(
            f,
            "leakage: {} of {} slides and {} of {} stems on more than one side; of {} test images, {} share \
             their slide and {} their stem with training or validation",
            self.slides.len(),
            self.slide_count,
            self.stems.len(),
            self.stem_count,
            self.test_images,
            self.test_images_sharing_slide,
            self.test_images_sharing_stem,
        )
    }
}

fn shared(sides: [&ImageSet; 3], key: impl Fn(&Sample) -> &str) -> (usize, Vec<SharedGroup>) {
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for (side, set) in sides.into_iter().enumerate() {
        for sample in set.samples() {
            counts.entry(key(sample)).or_default()[side] += 1;
        }
    }
    let total = counts.len();
    let on_many = counts.into_iter().filter(|(_, n)| n.iter().filter(|&&n| n > 0).count() > 1);
    let group = |(name, [train, validation, test]): (&str, [usize; 3])| SharedGroup {
        name: name.to_string(),
        train,
        validation,
        test,
    };
    (total, on_many.map(group).collect())
}
