//! The paper's figures as PNG files.
//!
//! Every figure is plain data that implements [`Figure`]: [`NoisePanel`] (the paper's Fig. 4),
//! [`AccuracyCurves`] (Fig. 5), [`AdversarialPanel`] (Fig. 6), [`AccuracyOverEpsilon`], [`AttackCurves`],
//! [`BrokenOverEpochs`], [`CertifiedCurves`] and [`NaturalPanel`].
//! The text is set in DejaVu Sans, which is built in with its licence beside it.

mod accuracy_curves;
mod accuracy_over_epsilon;
mod adversarial_panel;
mod attack_curves;
mod axis;
mod broken_over_epochs;
mod canvas;
mod certified_curves;
mod chart;
mod figure;
mod natural_panel;
mod noise_panel;
mod picture;

pub use accuracy_curves::AccuracyCurves;
pub use accuracy_over_epsilon::AccuracyOverEpsilon;
pub use adversarial_panel::{AdversarialExample, AdversarialPanel};
pub use attack_curves::AttackCurves;
pub use broken_over_epochs::BrokenOverEpochs;
pub use certified_curves::CertifiedCurves;
pub use figure::Figure;
pub use natural_panel::{NaturalPanel, NaturalRow};
pub use noise_panel::NoisePanel;
