//! Adversarial attacks: the [`Attack`] trait, what it works on ([`Task`]), what to aim for ([`Goal`]), and one file an
//! attack.

mod access;
#[expect(clippy::module_inception)]
mod attack;
mod black_box;
mod bounded;
mod combined;
mod draws;
mod error;
mod generative;
mod goal;
mod learned;
mod lessons;
mod mask;
mod minimal;
mod origin;
pub mod prelude;
mod profile;
mod region;
mod semantic;
mod settings;
pub mod steps;
mod stored;
mod task;
mod universal;

pub use access::Access;
pub use attack::Attack;
pub use black_box::{HopSkipJump, Square, Starts, Transfer};
pub use bounded::{
    Apgd, ApgdLoss, Bim, Fgsm, InputDiversity, MiFgsm, NoiseKind, Pgd, RFgsm, RandomNoise, VarianceTuning,
};
pub use combined::{AutoAttack, Ensemble, Eot, Masked, Restarts};
pub use draws::Draws;
pub use error::AttackError;
pub use generative::{
    AdvGan, AdvGanPlusPlus, Bounding, Critic, Discriminator, Distillation, DistilledCopy, FeatureGenerator,
    FeatureGeneratorConfig, GanLoss, GanLosses, GanSchedule, GanTraining, GeneratedImage,
    GeneratedPerturbation, Generator, GeneratorConfig, GeneratorLoss, GeneratorNorm, Inverter, LatentConfig,
    LatentGenerator, Natural, NaturalAdversary, NaturalExample, NaturalOutcome, Reconstruction,
    ReconstructionLimits, ResnetBlock, ShellOrder, ShellSearch, StepLosses, Wgan, WganLosses, WganTraining,
};
pub use goal::{Goal, IntoLabels};
pub use learned::Learned;
pub use mask::{Mask, MaskSummary};
pub use minimal::{
    CarliniWagner, CarliniWagnerLinf, Ddn, DecisionRule, DeepFool, Ead, Fab, Fmn, Jsma, Lbfgs, MinimalFgsm,
    SigmaZero,
};
pub use origin::Origin;
use profile::targets_among;
pub use profile::{Aim, Goals, Profile, norm_among};
pub use semantic::{Scanner, Stain, StainGrid};
pub use settings::Settings;
pub use stored::StoredError;
pub use task::Task;
pub use universal::{
    AdversarialPatch, DeepFoolUap, Patch, PatchOptimizer, PatchOverlay, PatchShape, Placement, Places,
    SgdUap, UniversalPerturbation,
};
