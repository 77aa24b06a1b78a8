//! What each defense trains by.

use histoguard::defense::{CrossEntropy, GaussianNoise};
use histoguard::prelude::*;

use crate::common::defend::options::{Defense, Options};
use crate::common::network::Model;

/// What a defense minimises; `undefended` is the network that was trained before all others.
pub fn objective(options: &Options, defense: Defense, undefended: Option<&Model>) -> Box<dyn Objective> {
    let (budget, steps, seed) = (options.budget(), options.steps, options.images.seed);
    let pgd = PgdAt::new(budget).with_steps(steps).with_seed(seed);
    match defense {
        Defense::Undefended => CrossEntropy::new().into(),
        Defense::Noise => GaussianNoise::new(options.sigma).with_seed(seed).into(),
        Defense::Stain => StainAugmentation::new(options.stain).with_seed(seed).into(),
        Defense::FgsmRs => FgsmRs::new(budget).with_seed(seed).into(),
        Defense::PgdAt => pgd.into(),
        Defense::PgdAwp => Awp::new(pgd).into(),
        Defense::Trades => Trades::new(budget).with_steps(steps).with_seed(seed).into(),
        Defense::Smoothing => {
            GaussianNoise::new(options.smoothing_sigma).with_clip(false).with_seed(seed).into()
        }
        Defense::EnsembleAt => {
            let source = undefended.expect("the undefended network is the first").clone();
            EnsembleAt::new(budget, [("undefended", Frozen::new(source))]).with_seed(seed).into()
        }
        other => unreachable!("{} trains no network", other.name()),
    }
}
