//! The paper's own numbers.

use crate::evaluate::Proportion;

/// Li & Liu, "Adversarial Attack and Defense in Breast Cancer Deep Learning Systems", Bioengineering 2023,
/// 10, 973.
pub const PAPER: Paper = Paper {
    benign: PaperSplit { train: 515, validation: 64, test: 65 },
    malignant: PaperSplit { train: 722, validation: 90, test: 91 },
    test_images: 156,
    malignant_test_images: 91,
    original_correct: 154,
    defense_correct: 153,
    original_malignant: 90,
    defense_malignant: 88,
    original_malignant_fgsm: 10,
    defense_malignant_fgsm: 25,
    epochs: 400,
};

/// What the paper states, as counts of images. It leaves the attack's epsilon and the noise's sigma open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paper {
    /// Table 1, benign images.
    pub benign: PaperSplit,
    /// Table 1, malignant images.
    pub malignant: PaperSplit,
    /// Images of the test set.
    pub test_images: usize,
    /// Malignant images of the test set.
    pub malignant_test_images: usize,
    /// Table 2, correct test images of the original model (98.72 %).
    pub original_correct: usize,
    /// Table 2, correct test images of the defense (98.08 %).
    pub defense_correct: usize,
    /// Table 3, correct malignant images of the original model without attack (98.90 %).
    pub original_malignant: usize,
    /// Table 3, correct malignant images of the defense without attack (96.70 %).
    pub defense_malignant: usize,
    /// Table 3, correct malignant images of the original model under FGSM (10.99 %).
    pub original_malignant_fgsm: usize,
    /// Table 3, correct malignant images of the defense under FGSM (27.47 %).
    pub defense_malignant_fgsm: usize,
    /// Epochs of training.
    pub epochs: usize,
}

/// Images of one class in the paper's Table 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaperSplit {
    /// Training images.
    pub train: usize,
    /// Validation images.
    pub validation: usize,
    /// Test images.
    pub test: usize,
}

impl Paper {
    /// Table 3 as proportions: original and defense, without attack, then under FGSM.
    pub fn table3(&self) -> [[Proportion; 2]; 2] {
        let of = |hits| Proportion::new(hits, self.malignant_test_images);
        [
            [of(self.original_malignant), of(self.defense_malignant)],
            [of(self.original_malignant_fgsm), of(self.defense_malignant_fgsm)],
        ]
    }

    /// Table 2 as proportions: original and defense.
    pub fn table2(&self) -> [Proportion; 2] {
        [self.original_correct, self.defense_correct].map(|hits| Proportion::new(hits, self.test_images))
    }
}
