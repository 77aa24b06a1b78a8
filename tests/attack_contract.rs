//! What every attack says of itself, held against what it does, what it checks and what its documentation
//! says.

mod victim;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use histoguard::attack::{
    Aim, Bounding, CarliniWagner, CarliniWagnerLinf, DeepFool, Ead, FeatureGeneratorConfig, GeneratedImage,
    GeneratedPerturbation, GeneratorConfig, Goals, Inverter, Jsma, LatentConfig, LatentGenerator, Lbfgs,
    Mask, Masked, MinimalFgsm, Natural, Origin, Patch, PatchShape, Places, ReconstructionLimits, ShellOrder,
    ShellSearch, Task, UniversalPerturbation,
};
use histoguard::classifier::FrozenFeatures;
use histoguard::defense::SmoothAdv;
use histoguard::defense::detector::{
    Adaptive, AdaptiveConfig, Alarm, ImageMap, ReconstructionError, Threshold,
};
use histoguard::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::Value;
use victim::labels;

const IMAGES: usize = 4;

fn images() -> Tensor<4> {
    victim::images(4).narrow(0, 0, IMAGES)
}

/// A quick attack with its source, and how its settings are read back if they can be.
struct Case {
    attack: Box<dyn Attack>,
    again: Option<fn(Value) -> Value>,
    source: &'static str,
}

fn case<A: Attack + DeserializeOwned + 'static>(attack: A, source: &'static str) -> Case {
    let again = |settings| serde_json::from_value::<A>(settings).expect("readable settings").settings();
    Case { attack: Box::new(attack), again: Some(again), source }
}

/// One put together from others, whose parameters are documented with those.
fn combined(attack: impl Attack + 'static) -> Case {
    Case { attack: Box::new(attack), again: None, source: "" }
}

macro_rules! source {
    ($path:literal) => {
        include_str!(concat!("../src/attack/", $path, ".rs"))
    };
}

/// An alarm for images far from grey.
fn alarm() -> Alarm {
    let grey = ImageMap::new("grey", |x| x * 0.0 + 0.5);
    let threshold = Threshold { value: 0.2, rate: 0.05, median: 0.1, images: 19, slides: 19 };
    Alarm { detector: Arc::new(ReconstructionError::new(grey, 1).unwrap()), threshold }
}

fn adaptive(budget: Budget) -> Case {
    let config = AdaptiveConfig::new(budget).with_steps(3).with_search_steps(2);
    let source = include_str!("../src/defense/detector/adaptive/climb.rs");
    Case { source, ..combined(Adaptive::new(config, vec![alarm()])) }
}

fn cases() -> Vec<Case> {
    of_attacks().into_iter().chain(of_defenses()).collect()
}

/// The attacks that stand outside `attack`.
fn of_defenses() -> Vec<Case> {
    vec![
        case(
            SmoothAdv::new(Budget::l2(0.3), 0.1).with_steps(3).with_draws(2),
            include_str!("../src/defense/smoothing/smooth_adv.rs"),
        ),
        adaptive(Budget::pixels(6.0)),
        adaptive(Budget::l2(0.3)),
    ]
}

/// A generator as it is before it learns.
fn generated(budget: Budget) -> GeneratedPerturbation {
    let config = GeneratorConfig::new(3);
    let generator = config.init(&Device::default(), 1).unwrap();
    let origin = Origin::new("AdvGAN", Value::Null);
    let bounded = (budget, Bounding::Scale);
    GeneratedPerturbation::from_generator(&generator, config, bounded, [3, 16, 16], origin).unwrap()
}

/// The same of images, from the features of the victim.
fn generated_image(budget: Budget) -> GeneratedImage {
    let features = FrozenFeatures::new(victim::Victim::trained(4, &Device::default()));
    let config = FeatureGeneratorConfig::new(16, [3, 16, 16]);
    let generator = config.init(&Device::default(), 1).unwrap();
    let origin = Origin::new("AdvGAN++", Value::Null);
    GeneratedImage::from_generator(&generator, config, &features, budget, 0, origin).unwrap()
}

/// The same of images from codes.
fn natural(search: ShellSearch) -> Natural {
    let (networks, device) = (LatentConfig::new([3, 16, 16]).with_latent(4).with_width(2), Device::default());
    let generator = LatentGenerator::init(networks, &device, 1).unwrap();
    let inverter = Inverter::init(networks, &device, 1).unwrap();
    let form = (networks, Origin::new("WGAN-GP with an inverter", Value::Null));
    let limits = ReconstructionLimits { largest_error: 1e9, least_kept: 0.0 };
    let images = |positions: &[usize]| {
        let goal = Goal::untargeted(vec![0; positions.len()]);
        Ok::<_, AttackError>((histoguard::rows::take(&images(), positions), goal))
    };
    let networks = (&generator, &inverter);
    Natural::from_networks(networks, form, limits, &victim::victim(4), IMAGES, images)
        .unwrap()
        .with_search(search.with_samples(20).with_step(0.5).with_patience(2))
}

fn of_attacks() -> Vec<Case> {
    let budget = Budget::pixels(6.0);
    let hop = HopSkipJump::new().with_steps(3).with_initial_evaluations(10).with_max_evaluations(15);
    let (mi, apgd) = (MiFgsm::new(budget).with_steps(3), Apgd::new(budget).with_steps(5));
    let noise = RandomNoise::uniform(Epsilon::pixels(6.0));
    vec![
        case(Fgsm::new(budget), source!("bounded/fgsm")),
        case(Bim::new(budget).with_steps(3), source!("bounded/bim")),
        case(Pgd::new(budget).with_steps(3), source!("bounded/pgd")),
        case(Pgd::new(Budget::l2(0.3)).with_steps(3).with_restarts(3), source!("bounded/pgd")),
        case(RFgsm::new(budget).with_steps(2), source!("bounded/rfgsm")),
        case(mi, source!("bounded/mi_fgsm/attack")),
        case(
            mi.with_nesterov(true)
                .with_scale_invariance(2)
                .with_translation_invariance(Some(5))
                .with_input_diversity(Some(InputDiversity { probability: 0.5, resize_rate: 0.8 }))
                .with_variance_tuning(Some(VarianceTuning { neighbours: 2, beta: 1.5 })),
            source!("bounded/mi_fgsm/attack"),
        ),
        case(apgd, source!("bounded/apgd/attack")),
        case(apgd.with_loss(ApgdLoss::Dlr).with_best_loss(true), source!("bounded/apgd/attack")),
        case(
            apgd.with_loss(ApgdLoss::TargetedDlr { targets: 2 }).with_restarts(2),
            source!("bounded/apgd/attack"),
        ),
        case(
            Apgd::new(Budget::l1(6.0)).with_steps(8).with_multi_epsilon(true),
            source!("bounded/apgd/attack"),
        ),
        case(noise, source!("bounded/random_noise")),
        case(RandomNoise::gaussian(0.5).with_repeats(3), source!("bounded/random_noise")),
        case(RandomNoise::salt_and_pepper(30), source!("bounded/random_noise")),
        combined(Restarts::new(noise, 3)),
        combined(Restarts::new(Fab::new(Norm::Linf).with_steps(2), 2)),
        combined(Transfer::new(Bim::new(budget), "twin", victim::victim(4))),
        combined(Ensemble::new(vec![Box::new(mi), Box::new(apgd.with_loss(ApgdLoss::Dlr))]).unwrap()),
        combined(generated(budget)),
        combined(generated_image(budget)),
        combined(natural(ShellSearch::new().with_queries(Some(150)))),
        combined(natural(ShellSearch::new().with_order(ShellOrder::Iterative))),
        case(AutoAttack::standard(Budget::pixels(24.0)), ""),
        case(Fab::new(Norm::Linf).with_steps(3), source!("minimal/fab/attack")),
        case(
            Fab::new(Norm::L2).with_steps(3).with_restarts(2).with_targets(Some(2)),
            source!("minimal/fab/attack"),
        ),
        case(Fmn::new(Norm::Linf).with_steps(3), source!("minimal/fmn")),
        case(Fmn::new(Norm::L0).with_steps(3).with_alpha_final(Some(0.1)), source!("minimal/fmn")),
        case(Ddn::new().with_steps(3), source!("minimal/ddn")),
        case(Ddn::new().with_steps(3).with_levels(None), source!("minimal/ddn")),
        case(SigmaZero::new().with_steps(3), source!("minimal/sigma_zero")),
        case(Square::new(budget).with_queries(20).with_restarts(2), source!("black_box/square/attack")),
        case(Stain::strong().with_steps(3), source!("semantic/stain")),
        case(StainGrid::light().with_levels(2), source!("semantic/stain_grid")),
        case(
            Scanner::new().with_contrasts(vec![0.9]).with_brightnesses(vec![1.1]),
            source!("semantic/scanner"),
        ),
        combined(Restarts::new(Stain::light().with_steps(2).with_corners(0), 2)),
        combined(
            Ensemble::new(vec![
                Box::new(Stain::strong().with_steps(2)),
                Box::new(Scanner::new().with_translations(vec![[0.0, 0.1]])),
            ])
            .unwrap(),
        ),
        case(hop.clone(), source!("black_box/hopskipjump/attack")),
        case(hop.with_queries(Some(200)).with_norm(Norm::Linf), source!("black_box/hopskipjump/attack")),
    ]
}

/// The goals that an attack takes.
fn goals(goals: Goals) -> Vec<Goal> {
    let labels = &labels(4)[..IMAGES];
    let next: Vec<usize> = labels.iter().map(|label| (label + 1) % 4).collect();
    let (away, towards) = (Goal::untargeted(labels), Goal::targeted(next));
    match goals {
        Goals::Any => vec![away, towards],
        Goals::Untargeted => vec![away],
        Goals::Targeted => vec![towards],
    }
}

#[test]
fn queries_and_steps_are_at_most_what_the_profile_says() {
    for Case { attack, .. } in cases() {
        let profile = attack.profile();
        for goal in goals(profile.goals) {
            let victim = victim::victim(4);
            let reported = Arc::new(AtomicUsize::new(0));
            let (counter, total) = (Arc::clone(&reported), profile.steps);
            victim.watch().on_step(move |step| {
                counter.fetch_add(1, Ordering::Relaxed);
                assert!(total.is_none() || step.done < step.total, "{step:?}");
            });
            attack.perturb(&victim, images(), &goal).unwrap();
            let (found, steps) = (victim.watch().queries(), reported.load(Ordering::Relaxed));
            let shown = format!("{attack:?}: {found:?}, {steps} steps");
            if let Some(most) = profile.queries {
                assert!(
                    found.forwards <= most.forwards * IMAGES as u64,
                    "{shown}, at most {most:?} an image"
                );
                assert!(
                    found.gradients <= most.gradients * IMAGES as u64,
                    "{shown}, at most {most:?} an image"
                );
            }
            assert!(steps > 0 && profile.steps.is_none_or(|most| steps <= most), "{shown}");
        }
    }
}

#[test]
fn settings_are_read_back() {
    for Case { attack, again, .. } in cases() {
        let settings = attack.settings();
        if let Some(again) = again {
            assert_eq!(again(settings.clone()), settings, "{attack:?}");
        }
        assert_eq!(
            serde_json::to_value(&*attack).unwrap(),
            serde_json::json!({ "attack": attack.profile().name, "settings": settings })
        );
    }
}

/// Name and range of each row of the table of parameters in a type's documentation.
fn table(source: &str) -> Vec<(String, String)> {
    let lines = source.lines().skip_while(|line| *line != "/// | parameter | default | range |");
    let rows = lines.map_while(|line| line.strip_prefix("/// |")?.strip_suffix('|'));
    let row = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        (cells[0].to_string(), cells[2].replace('\\', ""))
    };
    rows.map(row).collect()
}

#[test]
fn documented_ranges_are_the_ones_that_are_checked() {
    let victim = victim::victim(4);
    for Case { attack, source, .. } in cases().into_iter().filter(|case| !case.source.is_empty()) {
        let (profile, rows) = (attack.profile(), table(source));
        let task = Task::new(&victim, images(), &goals(profile.goals)[0], profile.clone()).unwrap();
        let bound = match profile.aim {
            Aim::Within(_) => Some(("budget", "a finite number of at least 0")),
            Aim::Smallest { .. } => Some(("limit", "a budget in the attack's norm")),
            Aim::Semantic => None,
        };
        let parameters = attack.parameters(&task);
        let checked = parameters.iter().map(|parameter| (parameter.name(), parameter.range()));
        for (name, range) in checked.chain(bound) {
            let documented = rows.iter().any(|row| row.0.starts_with(name) && row.1.contains(range));
            assert!(documented, "{}: no row `| {name} | .. | {range} |`", profile.name);
        }
    }
}

#[test]
fn another_budget_is_the_profiles() {
    for Case { attack, .. } in cases() {
        let profile = attack.profile();
        let Some(norm) = profile.norm() else {
            let other = attack.at(Budget::pixels(3.0));
            assert_eq!(
                (other.profile(), other.settings()),
                (profile, attack.settings()),
                "no budget bounds it"
            );
            continue;
        };
        let budget = Budget::new(norm, Epsilon::unit(3.0));
        let other = attack.at(budget).profile();
        assert_eq!((&other.name, other.budget()), (&profile.name, Some(budget)));
        assert_eq!((other.goals, other.access), (profile.goals, profile.access));
    }
}

/// Every attack, those too whose contract is tested elsewhere.
fn all_attacks() -> Vec<Box<dyn Attack>> {
    let cw = CarliniWagner::new().with_steps(100).with_search_steps(2).with_initial_constant(10.0);
    let cw = cw.with_learning_rate(0.05);
    let ead = Ead::new().with_steps(20).with_search_steps(2).with_initial_constant(1.0);
    let cw_linf = CarliniWagnerLinf::new().with_steps(60).with_initial_constant(5.0).with_learning_rate(0.05);
    let universal =
        UniversalPerturbation::random(Budget::pixels(6.0), [3, 16, 16], 0, &Device::default()).unwrap();
    let patch = Patch::random(PatchShape::Circle, 8, [3, 16, 16], Places::default(), 0, &Device::default());
    let more: [Box<dyn Attack>; 12] = [
        Box::new(patch.unwrap()),
        // Some of those above with steps enough to find something in small places.
        Box::new(Ddn::new().with_steps(40)),
        Box::new(Ddn::new().with_steps(40).with_levels(None)),
        Box::new(Fmn::new(Norm::L0).with_steps(80)),
        Box::new(cw),
        Box::new(cw_linf),
        Box::new(ead),
        Box::new(DeepFool::new().with_steps(5)),
        Box::new(MinimalFgsm::new().with_grid(20)),
        Box::new(Lbfgs::new().with_iterations(20).with_search_steps(3).with_initial_constant(10.0)),
        Box::new(Jsma::new().with_gamma(0.05)),
        Box::new(universal),
    ];
    cases().into_iter().map(|case| case.attack).chain(more).collect()
}

#[test]
fn masks_leave_everything_else_bit_for_bit_and_cost_no_more() {
    let (victim, images) = (victim::victim(4), images());
    let one_channel: Vec<bool> = (0..768).map(|at| at / 256 == 1 && at % 16 > 7).collect();
    let squares = (0..IMAGES).map(|i| Mask::rectangle([16, 16], [i, 2 * i], [9, 7]).unwrap());
    let masks = [
        Mask::circle([16, 16], [8.0, 7.0], 5.5).unwrap(),
        Mask::new([3, 16, 16], one_channel).unwrap(),
        Mask::each(squares).unwrap(),
    ];
    let mut moved = std::collections::BTreeMap::<String, usize>::new();
    for mask in &masks {
        for attack in all_attacks() {
            let attack = Masked::boxed(attack, mask.clone());
            let profile = attack.profile();
            for goal in goals(profile.goals) {
                let before = victim.watch().queries();
                let found = attack.perturb(&victim, images.clone(), &goal).unwrap();
                if let Some(most) = profile.queries {
                    let asked = victim.watch().queries();
                    let within = asked.forwards - before.forwards <= most.forwards * IMAGES as u64
                        && asked.gradients - before.gradients <= most.gradients * IMAGES as u64;
                    assert!(within, "{attack:?}: {asked:?}, at most {most:?} an image");
                }
                let (before, after) = (victim::values(images.clone()), victim::values(found.clone()));
                let mut changed = 0;
                for (i, (before, after)) in before.iter().zip(&after).enumerate() {
                    let (row, at) = (i / 768, i % 768);
                    let own = mask.of_image(row as u64).unwrap();
                    let free = own[if mask.shape()[0] == 1 { at % 256 } else { at }];
                    assert!(
                        free || before.to_bits() == after.to_bits(),
                        "{attack:?}: value {at} of image {row}"
                    );
                    assert!((0.0..=1.0).contains(after), "{attack:?}: {after}");
                    changed += usize::from(before != after);
                }
                if let Some(budget) = profile.budget() {
                    for size in victim::values(budget.norm().measure(found - images.clone())) {
                        assert!(budget.holds(f64::from(size)), "{attack:?}: {size}");
                    }
                }
                let (name, _) = profile.name.split_once(", masked").unwrap();
                *moved.entry(format!("{name} {:?}", profile.norm())).or_default() += changed;
            }
        }
    }
    // None stands still in all places.
    let still: Vec<_> = moved.iter().filter(|(_, changed)| **changed == 0).collect();
    assert!(still.is_empty(), "{still:?}");
}

#[test]
fn a_mask_of_everything_changes_nothing() {
    let (victim, images) = (victim::victim(4), images());
    let everything = Mask::rectangle([16, 16], [0, 0], [16, 16]).unwrap();
    for (attack, same) in all_attacks().into_iter().zip(all_attacks()) {
        let masked = Masked::boxed(same, everything.clone());
        for goal in goals(attack.profile().goals) {
            let alone = attack.perturb(&victim, images.clone(), &goal).unwrap();
            let masked = masked.perturb(&victim, images.clone(), &goal).unwrap();
            assert_eq!(victim::values(masked), victim::values(alone), "{attack:?}");
        }
    }
}

#[test]
fn attacks_of_defenses_and_learned_ones_keep_to_their_budget_whatever_the_batch() {
    let (victim, labels) = (victim::victim(4), &labels(4)[..IMAGES]);
    let goal = |rows: std::ops::Range<usize>| {
        Goal::untargeted(&labels[rows.clone()]).with_indices(rows.map(|row| 7 + row as u64).collect())
    };
    let budget = Budget::pixels(6.0);
    let learned = [combined(generated(budget)), combined(generated_image(budget))];
    for Case { attack, .. } in of_defenses().into_iter().chain(learned) {
        let budget = attack.profile().budget().unwrap();
        let together = attack.perturb(&victim, images(), &goal(0..IMAGES)).unwrap();
        assert!(
            victim::values(together.clone()).iter().all(|value| (0.0..=1.0).contains(value)),
            "{attack:?}"
        );
        for size in victim::values(budget.norm().measure(together.clone() - images())) {
            assert!(size > 0.0 && budget.holds(f64::from(size)), "{attack:?}: {size}");
        }
        for row in 0..IMAGES {
            let alone = attack.perturb(&victim, images().narrow(0, row, 1), &goal(row..row + 1)).unwrap();
            let same = victim::values(alone) == victim::values(together.clone().narrow(0, row, 1));
            assert!(same, "{attack:?}: image {row} differs");
        }
    }
}

#[test]
fn attacks_of_defenses_draw_from_their_seed_and_refuse_other_norms() {
    let (victim, goal) = (victim::victim(4), Goal::untargeted(&labels(4)[..IMAGES]));
    let linf = Budget::pixels(6.0);
    let [smooth, knows]: [fn(u64) -> Box<dyn Attack>; 2] = [
        |seed| Box::new(SmoothAdv::new(Budget::l2(0.3), 0.1).with_steps(2).with_draws(2).with_seed(seed)),
        |seed| {
            let config = AdaptiveConfig::new(Budget::l2(0.3)).with_steps(2).with_search_steps(1);
            Box::new(Adaptive::new(config.with_seed(seed), vec![alarm()]))
        },
    ];
    for (attack, norms) in [(smooth, "L2"), (knows, "Linf or L2")] {
        let found = |seed| victim::values(attack(seed).perturb(&victim, images(), &goal).unwrap());
        assert_eq!(found(1), found(1));
        assert_ne!(found(1), found(2));
        let error = attack(0).at(Budget::l1(1.0)).perturb(&victim, images(), &goal).unwrap_err().to_string();
        assert_eq!(error, format!("norm: expected {norms}, found L1"));
    }
    let refused = |attack: SmoothAdv| attack.perturb(&victim, images(), &goal).unwrap_err().to_string();
    let smooth = SmoothAdv::new(Budget::l2(0.3), 0.1);
    assert_eq!(refused(SmoothAdv::new(linf, 0.1)), "norm: expected L2, found Linf");
    assert!(refused(SmoothAdv::new(Budget::l2(0.3), f64::NAN)).starts_with("sigma: expected"));
    assert!(refused(smooth.with_steps(0)).starts_with("steps: expected"));
    assert!(refused(smooth.with_draws(0)).starts_with("draws: expected"));
}
