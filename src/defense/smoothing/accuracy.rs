//! How many images are certified to be right, over the radius.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Certificate, Radius, Smoothing};
use crate::pixels::round;
use crate::statistics::Proportion;

/// One image with its certificate, as [`CertifiedAccuracy::new`] takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Certified<'a> {
    /// The true class.
    pub label: usize,
    /// The slide or patient.
    pub group: &'a str,
    /// What smoothing says.
    pub certificate: &'a Certificate,
}

/// Certified accuracy of a set of images, of all together, and of each class and each slide.
///
/// Each certificate is wrong with a probability of at most [`alpha`](Smoothing::alpha), whatever the number
/// of images: some certificates of a large table may be. [`CertifiedCurve::lower_bound`] holds for the table
/// as a whole.
///
/// ```
/// use histoguard::defense::smoothing::{Certified, CertifiedAccuracy, Counts, Smoothing, Tally};
///
/// let smoothing = Smoothing::new(0.25).with_draws(1000);
/// let counts = |right: usize, draws: usize| Counts { classes: vec![draws - right, right], undecided: 0 };
/// let certificates = [1000, 990, 510, 20].map(|right| {
///     let (selection, estimate) = (counts(right / 10, 100), counts(right, 1000));
///     smoothing.certificate(&Tally { values: 3 * 224 * 224, selection, estimate }).expect("all draws")
/// });
/// let image = |certificate| Certified { label: 1, group: "a slide", certificate };
/// let images: Vec<Certified<'_>> = certificates.iter().map(image).collect();
/// let classes = ["benign".into(), "malignant".into()];
/// let accuracy = CertifiedAccuracy::new(smoothing, 3 * 224 * 224, &classes, &images);
/// // The third image is an abstention, the fourth one is certified to be of the wrong class.
/// assert_eq!((accuracy.all.at(0.0).hits, accuracy.all.at(0.5).hits), (2, 1));
/// assert_eq!(accuracy.largest_radius.to_string(), "L2 0.6158 (all of Linf 0.404746/255)");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertifiedAccuracy {
    /// What the images were certified with.
    pub settings: Smoothing,
    /// No image can be certified further with these settings, so that the curve must end here.
    pub largest_radius: Radius,
    /// Of all images.
    pub all: CertifiedCurve,
    /// Of each class, in the order of the classes.
    pub classes: Vec<NamedCurve>,
    /// Of each slide or patient, sorted by name.
    pub groups: Vec<NamedCurve>,
}

/// The images of one class, slide or patient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedCurve {
    /// Its name.
    pub name: String,
    /// Of its images.
    pub curve: CertifiedCurve,
}

/// Accuracy over the radius: a staircase that falls behind each of its points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertifiedCurve {
    /// Images whose [answer](Certificate::answer), by CERTIFY or PREDICT, is right; an abstention of both is
    /// an error.
    pub smoothed: Proportion,
    /// Images on which CERTIFY abstains.
    pub abstained: Proportion,
    /// Mean of the certified radii, in which an image that is not right counts as zero (Zhai et al., "MACER",
    /// ICLR 2020); `None` without images.
    pub mean_radius: Option<Radius>,
    /// At radius zero and at every radius that was certified, from the smallest on.
    pub points: Vec<CertifiedAt>,
}

/// Certified accuracy at one radius.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertifiedAt {
    /// The radius.
    pub radius: Radius,
    /// Images that are right and certified at least so far; an abstention is an error.
    pub accuracy: Proportion,
}

/// For example `81.0 % [72.2, 87.5] (81/100) within L2 0.5 (all of Linf 0.328626/255)`.
impl std::fmt::Display for CertifiedAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} within {}", self.accuracy, self.radius)
    }
}

impl CertifiedAccuracy {
    /// Of these images of so many values (channels times height times width).
    ///
    /// # Panics
    ///
    /// Panics if a label is not below `classes.len()`, or if a certificate has another number of draws than
    /// the settings.
    pub fn new(settings: Smoothing, values: usize, classes: &[String], images: &[Certified<'_>]) -> Self {
        let draws = |image: &Certified<'_>| image.certificate.draws == settings.draws;
        assert!(images.iter().all(draws), "{} draws in every certificate", settings.draws);
        let mut by_class = vec![Vec::new(); classes.len()];
        let mut by_group = BTreeMap::<&str, Vec<Certified<'_>>>::new();
        for image in images {
            by_class[image.label].push(*image);
            by_group.entry(image.group).or_default().push(*image);
        }
        let named = |(name, images): (&str, Vec<Certified<'_>>)| NamedCurve {
            name: name.into(),
            curve: CertifiedCurve::new(values, &images),
        };
        Self {
            settings,
            largest_radius: settings.largest_radius(values),
            all: CertifiedCurve::new(values, images),
            classes: classes.iter().map(String::as_str).zip(by_class).map(named).collect(),
            groups: by_group.into_iter().map(named).collect(),
        }
    }
}

impl CertifiedCurve {
    fn new(values: usize, images: &[Certified<'_>]) -> Self {
        let share = |hit: &dyn Fn(&Certified<'_>) -> bool| {
            Proportion::new(images.iter().filter(|image| hit(image)).count(), images.len())
        };
        let right = |image: &Certified<'_>| image.certificate.class == Some(image.label);
        let mut radii: Vec<Radius> = images.iter().map(|image| image.certificate.radius).collect();
        radii.push(Radius::new(0.0, values));
        radii.sort_by(|a, b| a.size().total_cmp(&b.size()));
        radii.dedup_by(|a, b| a.size() == b.size());
        let at = |radius: Radius| CertifiedAt {
            radius,
            accuracy: share(&|image| right(image) && image.certificate.radius.size() >= radius.size()),
        };
        let sum: f64 =
            images.iter().filter(|image| right(image)).map(|image| image.certificate.radius.size()).sum();
        Self {
            smoothed: share(&|image| image.certificate.answer() == Some(image.label)),
            abstained: share(&|image| image.certificate.class.is_none()),
            mean_radius: (!images.is_empty()).then(|| Radius::new(sum / images.len() as f64, values)),
            points: radii.into_iter().map(at).collect(),
        }
    }

    /// Certified accuracy at an L2 radius on the \[0,1\] scale: images that are right and certified at least
    /// so far.
    ///
    /// # Panics
    ///
    /// Panics unless the radius is at least 0.
    pub fn at(&self, radius: f64) -> Proportion {
        assert!(radius >= 0.0, "radius {radius}");
        let point = self.points.iter().find(|point| point.radius.size() >= radius);
        point.map_or(Proportion::new(0, self.smoothed.total), |point| point.accuracy)
    }

    /// What the share of images that truly are right within a radius is at least, with a probability of 1 -
    /// `rho`, if each certificate is wrong with a probability of at most `alpha`; `None` without images
    /// (`HighProbAccuracy` of locuslab/smoothing, `analyze.py`, which does not stop at zero).
    ///
    /// It speaks of these images, not of others that they were drawn from.
    ///
    /// # Panics
    ///
    /// Panics unless the radius is at least 0, and alpha and rho are between 0 and 1.
    pub fn lower_bound(&self, radius: f64, alpha: f64, rho: f64) -> Option<f64> {
        assert!([alpha, rho].iter().all(|share| *share > 0.0 && *share < 1.0), "alpha {alpha}, rho {rho}");
        let accuracy = self.at(radius);
        let images = accuracy.total as f64;
        let doubt = (1.0 / rho).ln();
        let spread = (alpha * (1.0 - alpha) * doubt / images).sqrt() + doubt / (3.0 * images);
        Some(round((accuracy.value? - alpha - spread).max(0.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defense::smoothing::{Counts, Tally};
    use proptest::prelude::*;

    const VALUES: usize = 12;

    fn names() -> Vec<String> {
        ["a", "b", "c"].map(String::from).to_vec()
    }

    fn certificate(smoothing: Smoothing, chosen: usize, estimate: Vec<usize>) -> Certificate {
        let mut selection = Counts::new(3);
        selection.classes[chosen] = smoothing.selection_draws;
        let estimate = Counts { classes: estimate, undecided: 0 };
        smoothing.certificate(&Tally { values: VALUES, selection, estimate }).unwrap()
    }

    fn accuracy(smoothing: Smoothing, labels: &[usize], certificates: &[Certificate]) -> CertifiedAccuracy {
        let images: Vec<Certified<'_>> = labels
            .iter()
            .zip(certificates)
            .map(|(&label, certificate)| Certified {
                label,
                group: ["slide 1", "slide 2"][label % 2],
                certificate,
            })
            .collect();
        CertifiedAccuracy::new(smoothing, VALUES, &names(), &images)
    }

    /// tests/golden/binomial.py: numpy on the formulas of analyze.py of locuslab/smoothing.
    #[test]
    fn certified_accuracy_equals_the_reference() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/golden/binomial.json")).unwrap();
        let golden = &golden["accuracy"];
        let list = |name: &str| golden[name].as_array().unwrap().iter().map(|value| value.as_i64().unwrap());
        let number = |value: &serde_json::Value| value.as_f64().unwrap();
        let smoothing = Smoothing::new(number(&golden["sigma"])).with_draws(1000);
        let labels: Vec<usize> = list("labels").map(|label| label as usize).collect();
        let certificates: Vec<Certificate> = list("classes")
            .zip(list("hits"))
            .map(|(class, hits)| {
                // An abstention of the file has 500 draws of the first class.
                let (chosen, hits) = (class.max(0) as usize, hits as usize);
                let mut estimate = vec![0; 3];
                (estimate[chosen], estimate[(chosen + 1) % 3]) = (hits, 1000 - hits);
                certificate(smoothing, chosen, estimate)
            })
            .collect();
        let found = accuracy(smoothing, &labels, &certificates);
        let rho = number(&golden["rho"]);
        for at in golden["at"].as_array().unwrap() {
            // The largest radius of the file is one of a certificate, whose 12 digits may round it down.
            let radius = number(&at["radius"]) * (1.0 - 1e-11);
            assert!((found.all.at(radius).value.unwrap() - number(&at["value"])).abs() < 1e-11, "{at}");
            let lower = found.all.lower_bound(radius, smoothing.alpha, rho).unwrap();
            assert!((lower - number(&at["lower"]).max(0.0)).abs() < 1e-11, "{at}: {lower}");
        }
        let mean = found.all.mean_radius.unwrap().size();
        assert!((mean / number(&golden["mean_radius"]) - 1.0).abs() < 1e-9, "{mean}");
        let abstained = list("classes").filter(|class| *class < 0).count();
        assert_eq!(found.all.abstained.hits, abstained);
        let total = |curves: &[NamedCurve]| curves.iter().map(|c| c.curve.at(0.2).hits).sum::<usize>();
        assert_eq!([total(&found.classes), total(&found.groups)], [found.all.at(0.2).hits; 2]);
        let names = |curves: &[NamedCurve]| curves.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        assert_eq!(
            (names(&found.classes).len(), names(&found.groups)),
            (3, vec!["slide 1".into(), "slide 2".into()])
        );
    }

    proptest! {
        #[test]
        fn accuracy_falls_with_the_radius_and_never_exceeds_the_smoothed_one(
            images in prop::collection::vec((0usize..3, 0usize..3, 0usize..=100, 0usize..=100), 1..20)
        ) {
            let smoothing = Smoothing::new(0.5).with_draws(200);
            let labels: Vec<usize> = images.iter().map(|image| image.0).collect();
            let certificates: Vec<Certificate> = images
                .iter()
                .map(|&(_, chosen, a, b)| certificate(smoothing, chosen, vec![a, b, 200 - a - b]))
                .collect();
            let found = accuracy(smoothing, &labels, &certificates);
            let hits: Vec<usize> = found.all.points.iter().map(|point| point.accuracy.hits).collect();
            prop_assert!(hits.is_sorted_by(|a, b| a >= b) && found.all.points[0].radius.size() == 0.0);
            prop_assert!(found.all.at(0.0).hits <= found.all.smoothed.hits);
            prop_assert!(found.all.at(0.0).hits + found.all.abstained.hits <= images.len());
            for point in &found.all.points {
                prop_assert!(point.radius.size() <= found.largest_radius.size());
                prop_assert_eq!(found.all.at(point.radius.size()), point.accuracy);
            }
            prop_assert_eq!(found.all.at(found.largest_radius.size() * 1.01).hits, 0);
        }
    }

    #[test]
    fn an_abstention_is_an_error_even_at_radius_zero() {
        let smoothing = Smoothing::new(0.5).with_draws(200);
        // Most draws are right, by too few for a bound above one half or for PREDICT.
        let found = accuracy(smoothing, &[0], &[certificate(smoothing, 0, vec![110, 90, 0])]);
        assert_eq!((found.all.at(0.0).hits, found.all.smoothed.hits, found.all.abstained.hits), (0, 0, 1));
        assert_eq!(found.all.points.len(), 1);
        // Under one half, but twice the next class: PREDICT answers what cannot be certified.
        let found = accuracy(smoothing, &[0], &[certificate(smoothing, 0, vec![98, 51, 51])]);
        assert_eq!((found.all.at(0.0).hits, found.all.smoothed.hits, found.all.abstained.hits), (0, 1, 1));
    }
}
