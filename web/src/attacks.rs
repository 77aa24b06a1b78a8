//! The attacks that the page offers.

use histoguard::attack::{
    Apgd, Attack, Bim, CarliniWagner, Ddn, DeepFool, Fgsm, Fmn, HopSkipJump, MiFgsm, Pgd, RandomNoise,
    Square, Stain,
};
use histoguard::pixels::{Budget, Epsilon, Norm};
use serde::{Deserialize, Serialize};

/// An attack of the page, with what can be chosen of it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Choice {
    /// What requests call it.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// What it does, in a few words.
    pub about: &'static str,
    /// Norms of its budget, the usual one first; none if no norm bounds it.
    pub norms: &'static [Norm],
    /// What its effort is counted in, `steps` or `queries`, and how many are usual; none for one step.
    pub effort: Option<(&'static str, usize)>,
    /// The most of that effort which a request may ask for.
    pub most: usize,
}

const STEPS: usize = 1000;
const QUERIES: usize = 20_000;

/// Every attack of the page.
pub const CHOICES: &[Choice] = {
    use Norm::{L0, L1, L2, Linf};
    const fn of(
        (name, title): (&'static str, &'static str),
        about: &'static str,
        norms: &'static [Norm],
        effort: Option<(&'static str, usize)>,
    ) -> Choice {
        let most = match effort {
            Some((_, usual)) if usual > STEPS => QUERIES,
            _ => STEPS,
        };
        Choice { name, title, about, norms, effort, most }
    }
    &[
        of(("fgsm", "FGSM"), "one step along the gradient", &[Linf, L2, L1], None),
        of(("bim", "BIM"), "small steps along the gradient", &[Linf, L2, L1], Some(("steps", 10))),
        of(("mifgsm", "MI-FGSM"), "steps with momentum", &[Linf, L2], Some(("steps", 10))),
        of(("pgd", "PGD"), "steps from a random start", &[Linf, L2, L1], Some(("steps", 10))),
        of(("apgd", "APGD"), "steps that adapt their size", &[Linf, L2, L1], Some(("steps", 50))),
        of(
            ("deepfool", "DeepFool"),
            "the nearest boundary of the linearised network",
            &[L2, Linf],
            Some(("steps", 50)),
        ),
        of(("fmn", "FMN"), "a small change, found fast", &[L2, Linf, L1, L0], Some(("steps", 100))),
        of(("ddn", "DDN"), "a small change in whole grey levels", &[L2], Some(("steps", 100))),
        of(("cw", "Carlini & Wagner"), "a small change, found by an optimizer", &[L2], Some(("steps", 100))),
        of(
            ("square", "Square"),
            "squares at random, without gradients",
            &[Linf, L2],
            Some(("queries", 2000)),
        ),
        of(
            ("hopskipjump", "HopSkipJump"),
            "from the network's answers alone",
            &[L2, Linf],
            Some(("queries", 2000)),
        ),
        of(("stain", "Stain"), "another laboratory's stain, no noise at all", &[], Some(("steps", 10))),
        of(("noise", "Random noise"), "for comparison: no attack", &[Linf], None),
    ]
};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The name of a [`Choice`].
    pub attack: String,
    /// The norm of the budget; an attack without one does not look at it.
    pub norm: Norm,
    /// Grey levels of 255 in L-infinity; otherwise the norm over the image in \[0,1\], in L0 a number of values.
    pub epsilon: f64,
    /// Steps or queries, at least 1; an attack of one step does not look at it.
    pub effort: usize,
    /// Towards this class, and not away from the true one.
    #[serde(default)]
    pub target: Option<usize>,
    /// The true class; without it, the network's own answer.
    #[serde(default)]
    pub label: Option<usize>,
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
}

impl Request {
    /// The attack that is asked for.
    ///
    /// # Errors
    ///
    /// What is out of its range, with what was expected.
    pub fn attack(&self) -> Result<Box<dyn Attack>, String> {
        let Some(choice) = CHOICES.iter().find(|choice| choice.name == self.attack) else {
            let names: Vec<&str> = CHOICES.iter().map(|choice| choice.name).collect();
            return Err(format!("attack: expected one of {}, found {}", names.join(", "), self.attack));
        };
        let norm = self.norm;
        if !choice.norms.is_empty() && !choice.norms.contains(&norm) {
            let names: Vec<String> = choice.norms.iter().map(Norm::to_string).collect();
            return Err(format!("norm: expected {} for {}, found {norm}", names.join(" or "), choice.title));
        }
        if let Some((what, _)) = choice.effort
            && !(1..=choice.most).contains(&self.effort)
        {
            return Err(format!("{what}: expected 1 to {}, found {}", choice.most, self.effort));
        }
        if norm == Norm::L0 && self.epsilon.fract() != 0.0 {
            return Err(format!("epsilon: expected a whole number of values in L0, found {}", self.epsilon));
        }
        let budget = match norm {
            Norm::Linf => Budget::pixels(self.epsilon),
            norm => Budget::new(norm, Epsilon::unit(self.epsilon)),
        };
        let (steps, seed) = (self.effort, self.seed);
        Ok(match choice.name {
            "fgsm" => Box::new(Fgsm::new(budget)),
            "bim" => Box::new(Bim::new(budget).with_steps(steps)),
            "mifgsm" => Box::new(MiFgsm::new(budget).with_steps(steps)),
            "pgd" => Box::new(Pgd::new(budget).with_steps(steps).with_seed(seed)),
            "apgd" => Box::new(Apgd::new(budget).with_steps(steps).with_seed(seed)),
            "deepfool" => DeepFool::new().with_norm(norm).with_steps(steps).at(budget),
            "fmn" => Fmn::new(norm).with_steps(steps).at(budget),
            "ddn" => Ddn::new().with_steps(steps).at(budget),
            "cw" => CarliniWagner::new().with_steps(steps).at(budget),
            "square" => Box::new(Square::new(budget).with_queries(steps).with_seed(seed)),
            "hopskipjump" => {
                HopSkipJump::new().with_norm(norm).with_queries(Some(steps)).with_seed(seed).at(budget)
            }
            "stain" => Box::new(Stain::strong().with_steps(steps).with_seed(seed)),
            _ => Box::new(RandomNoise::uniform(budget.epsilon()).with_seed(seed)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(choice: &Choice) -> Request {
        Request {
            attack: choice.name.into(),
            norm: choice.norms.first().copied().unwrap_or(Norm::Linf),
            epsilon: 2.0,
            effort: choice.effort.map_or(1, |(_, usual)| usual),
            target: None,
            label: None,
            seed: 0,
        }
    }

    #[test]
    fn every_choice_is_an_attack_in_each_of_its_norms() {
        for choice in CHOICES {
            assert!(choice.effort.is_none_or(|(_, usual)| usual <= choice.most), "{}", choice.name);
            for &norm in choice.norms {
                let attack = Request { norm, ..request(choice) }.attack().unwrap();
                assert_eq!(attack.profile().norm(), Some(norm), "{}", choice.name);
                assert_eq!(attack.profile().budget().map(|budget| budget.norm()), Some(norm));
            }
        }
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let pgd = request(&CHOICES[3]);
        let wrong = |request: Request| request.attack().unwrap_err();
        assert!(wrong(Request { attack: "magic".into(), ..pgd.clone() }).ends_with("found magic"));
        assert_eq!(wrong(Request { effort: 0, ..pgd.clone() }), "steps: expected 1 to 1000, found 0");
        assert!(wrong(Request { norm: Norm::L0, ..pgd }).starts_with("norm: expected Linf or L2 or L1"));
    }
}
