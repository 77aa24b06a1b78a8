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
    defence_correct: 153,
    original_malignant: 90,
    defence_malignant: 88,
    original_malignant_fgsm: 10,
    defence_malignant_fgsm: 25,
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
    /// Table 2, correct test images of the defence (98.08 %).
    pub defence_correct: usize,
    /// Table 3, correct malignant images of the original model without attack (98.90 %).
    pub original_malignant: usize,
    /// Table 3, correct malignant images of the defence without attack (96.70 %).
    pub defence_malignant: usize,
    /// Table 3, correct malignant images of the original model under FGSM (10.99 %).
    pub original_malignant_fgsm: usize,
    /// Table 3, correct malignant images of the defence under FGSM (27.47 %).
    pub defence_malignant_fgsm: usize,
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
    /// Table 3 as proportions: original and defence, without attack, then under FGSM.
    pub fn table3(&self) -> [[Proportion; 2]; 2] {
        let of = |hits| Proportion::new(hits, self.malignant_test_images);
        [
            [of(self.original_malignant), of(self.defence_malignant)],
            [of(self.original_malignant_fgsm), of(self.defence_malignant_fgsm)],
        ]
    }

    /// Table 2 as proportions: original and defence.
    pub fn table2(&self) -> [Proportion; 2] {
        [self.original_correct, self.defence_correct].map(|hits| Proportion::new(hits, self.test_images))
    }
}
