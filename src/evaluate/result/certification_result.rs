//! What a certification found.

use serde::{Deserialize, Serialize};

use crate::defense::smoothing::{Certificate, Certified, CertifiedAccuracy, Smoothing, Tally};

/// How far a smoothed classifier's answers are proven to hold, with the certificate of every image.
///
/// The same certification gives the same result, but for [`seconds`](Self::seconds).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertificationResult {
    /// Whether the images were drawn, not photographed.
    pub synthetic: bool,
    /// Values of an image: channels times height times width.
    pub values: usize,
    /// Certified accuracy over the radius, of all images, each class and each slide, with the settings.
    pub accuracy: CertifiedAccuracy,
    /// Every image, in the data set's order.
    pub images: Vec<CertifiedImage>,
    /// Duration: the only part that differs between two runs.
    pub seconds: f64,
}

/// One image with its certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertifiedImage {
    /// Its name.
    pub name: String,
    /// Its slide or patient.
    pub group: String,
    /// Its true class.
    pub label: usize,
    /// What smoothing says.
    pub certificate: Certificate,
}

impl CertificationResult {
    /// Of these images, whose draws are all made.
    pub(in crate::evaluate) fn new(
        settings: Smoothing,
        (classes, synthetic): (&[String], bool),
        drawn: impl Iterator<Item = (String, String, usize, Tally)>,
    ) -> Self {
        let mut values = 0;
        let certified = |(name, group, label, tally): (String, String, usize, Tally)| {
            values = tally.values;
            let certificate = settings.certificate(&tally).expect("all draws are made");
            CertifiedImage { name, group, label, certificate }
        };
        let images: Vec<CertifiedImage> = drawn.map(certified).collect();
        let by_group: Vec<Certified<'_>> = images
            .iter()
            .map(|CertifiedImage { group, label, certificate, .. }| Certified {
                label: *label,
                group,
                certificate,
            })
            .collect();
        let accuracy = CertifiedAccuracy::new(settings, values, classes, &by_group);
        Self { synthetic, values, accuracy, images, seconds: 0.0 }
    }

    /// Without its duration: equal for two runs of the same certification.
    pub fn without_timing(self) -> Self {
        Self { seconds: 0.0, ..self }
    }
}
