//! Attacks that know a detector or a random defense, black boxes above all, against Croce and Hein's Square with the
//! same knowledge.

mod stripes;
mod victim;

use std::sync::{Arc, Mutex};

use burn::tensor::activation::softmax;
use histoguard::attack::{Attack, Eot, Profile, Task};
use histoguard::classifier::{Average, FrozenFeatures};
use histoguard::defense::detector::{
    Alarm, Calibration, Detector, Evading, FeatureSqueezing, ImageMap, Threshold,
};
use histoguard::defense::{Backward, Custom};
use histoguard::parameter::{Parameter, ParameterError};
use histoguard::prelude::*;
use histoguard::random::{Purpose, RngExt};
use serde::Serialize;
use stripes::stripes;
use victim::{golden, images, labels, values};

/// One number of an image.
#[derive(Clone, Copy, Debug, Serialize)]
enum Number {
    /// Total variation along rows.
    Rows,
    Brightness,
    /// The value at this place.
    Value(usize),
}

impl Detector for Number {
    fn name(&self) -> String {
        format!("{self:?}").to_lowercase()
    }

    fn score(&self, images: Tensor<4>) -> Tensor<1> {
        let [_, _, _, width] = images.dims();
        match self {
            Self::Rows => {
                let steps = images.clone().narrow(3, 1, width - 1) - images.narrow(3, 0, width - 1);
                steps.abs().mean_dims(&[1, 2, 3]).reshape([-1])
            }
            Self::Brightness => images.mean_dims(&[1, 2, 3]).reshape([-1]),
            Self::Value(place) => images.flatten::<2>(1, 3).narrow(1, *place, 1).reshape([-1]),
        }
    }
}

fn alarm(detector: Number, value: f64, median: f64) -> Alarm {
    let threshold = Threshold { value, rate: 0.05, median, images: 19, slides: 19 };
    Alarm { detector: Arc::new(detector), threshold }
}

fn reference(name: &str) -> Vec<f32> {
    golden("square_adaptive", name).try_into_vec().unwrap()
}

/// The alarms of `golden/attacks/square_adaptive.py`.
fn alarms() -> Vec<Alarm> {
    let (thresholds, medians) = (reference("guard.threshold"), reference("guard.median"));
    let of = |(at, number)| alarm(number, f64::from(thresholds[at]), f64::from(medians[at]));
    [Number::Rows, Number::Brightness].into_iter().enumerate().map(of).collect()
}

/// Which images are wrong and accepted.
fn lost(victim: &Frozen, alarms: &[Alarm], images: &Tensor<4>, labels: &[usize]) -> Vec<bool> {
    let wrong = victim.predict(images.clone()).into_iter().zip(labels).map(|(found, label)| found != *label);
    let fires: Vec<Vec<bool>> = alarms.iter().map(|alarm| alarm.fires(images.clone())).collect();
    wrong.enumerate().map(|(row, wrong)| wrong && !fires.iter().any(|fires| fires[row])).collect()
}

fn count(flags: &[bool]) -> usize {
    flags.iter().filter(|flag| **flag).count()
}

/// What an attack saw, of every image by its index.
type Saw = Arc<Mutex<Vec<(u64, [f32; 3], bool)>>>;

/// Looks at what its task says of the images, and leaves them as they are.
#[derive(Clone, Debug, Default, Serialize)]
struct Look {
    #[serde(skip)]
    saw: Saw,
}

impl Attack for Look {
    fn profile(&self) -> Profile {
        let queries = histoguard::classifier::Queries::forwards(1);
        Profile::within("Look", Budget::pixels(8.0), Access::Logits, 1, queries)
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        vec![]
    }

    fn at(&self, _: Budget) -> Box<dyn Attack> {
        Box::new(self.clone())
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        let (goal, logits) = (task.goal(), task.victim().logits(task.images()));
        let [margins, objectives, odds] =
            [goal.margin(logits.clone()), goal.objective(logits.clone()), goal.log_odds(logits.clone())]
                .map(values);
        let saw = goal.reached(logits).into_iter().enumerate();
        let saw =
            saw.map(|(row, reached)| (goal.index(row), [margins[row], objectives[row], odds[row]], reached));
        self.saw.lock().unwrap().extend(saw);
        Ok(task.images())
    }
}

/// Four logits from -10 to 10, and scores after them.
fn tabled() -> Frozen {
    Frozen::from_fn(4, &Device::default(), |x| (x.flatten::<2>(1, 3).narrow(1, 0, 4) - 0.5) * 20.0)
}

fn table(rows: &[[f32; 6]]) -> Tensor<4> {
    Tensor::<1>::from_floats(rows.concat().as_slice(), &Device::default()).reshape([rows.len(), 1, 1, 6])
}

#[test]
fn an_attack_sees_the_losses_that_torch_computes_beside_alarms() {
    let numbers = reference("loss.values");
    let images = Tensor::<1>::from_floats(numbers.as_slice(), &Device::default()).reshape([40, 1, 1, 6]);
    let labels: Vec<usize> = (0..40).map(|row| row % 4).collect();
    let alarms = vec![alarm(Number::Value(4), 0.7, 0.5), alarm(Number::Value(5), 0.4, 0.1)];
    let look = Look::default();
    let victim = tabled();
    let evading = Evading::new(look.clone(), alarms.clone()).with_weight(2.5);
    let found = evading.perturb(&victim, images.clone(), &Goal::untargeted(&labels[..])).unwrap();
    assert_eq!(values(found), numbers);
    assert_eq!(victim.watch().queries().forwards, 40);
    let mut saw = look.saw.lock().unwrap().clone();
    saw.sort_by_key(|(index, ..)| *index);
    for (at, name) in ["margin", "cross_entropy", "log_odds"].into_iter().enumerate() {
        let expected = reference(&format!("loss.{name}"));
        for (row, (_, found, _)) in saw.iter().enumerate() {
            let off = (found[at] - expected[row]).abs();
            assert!(off < 2e-5 * (1.0 + expected[row].abs()), "{name} {row}: {found:?} {}", expected[row]);
        }
    }
    let reached: Vec<bool> = saw.iter().map(|(.., reached)| *reached).collect();
    let expected: Vec<bool> = reference("loss.lost").into_iter().map(|flag| flag == 1.0).collect();
    assert_eq!((reached, count(&expected)), (expected, 9));
    assert_eq!(lost(&victim, &alarms, &images, &labels), saw.iter().map(|s| s.2).collect::<Vec<_>>());
}

#[test]
fn a_decision_is_the_alarms_at_the_edge_of_every_threshold() {
    // Class 1 leads by far or by nothing, the score is at the threshold or next to it.
    let (at, value) = (0.7f32, f64::from(0.7f32));
    let rows = [
        ([0.9, 0.95, 0.0, 0.0, at, 0.0], true),
        ([0.9, 0.95, 0.0, 0.0, at.next_up(), 0.0], false),
        ([0.9, 0.95, 0.0, 0.0, at.next_down(), 0.0], true),
        ([0.5, 0.5, 0.0, 0.0, at, 0.0], false),
        ([0.5, 0.6, 0.0, 0.0, 1.0, 0.0], false),
        ([0.5, 0.6, 0.0, 0.0, 0.0, 0.0], true),
    ];
    let seen = |scale: f64, goal: &Goal, victim: &Frozen| -> Vec<bool> {
        let look = Look::default();
        let alarms = vec![alarm(Number::Value(4), value, value - scale)];
        let images = table(&rows.map(|(row, _)| row));
        Evading::new(look.clone(), alarms).perturb(victim, images, goal).unwrap();
        look.saw.lock().unwrap().iter().map(|saw| saw.2).collect()
    };
    let expected = rows.map(|(_, lost)| lost);
    for scale in [1e-9, 1.0, 1e9] {
        assert_eq!(seen(scale, &Goal::untargeted([0; 6]), &tabled()), expected, "scale {scale}");
        // Towards class 1, a rejection is no success either; nor is it one towards class 0.
        assert_eq!(seen(scale, &Goal::targeted([1; 6]), &tabled()), expected, "scale {scale}");
        let towards = seen(scale, &Goal::targeted([0; 6]), &tabled());
        assert_eq!(towards, [false, false, false, true, false, false], "scale {scale}");
    }
    // A guard rejects an image whose logits are NaN.
    let blind = tabled().wrapped(1, |network, images| network.logits(images) * f32::NAN);
    assert_eq!(seen(1.0, &Goal::untargeted([0; 6]), &blind), [false; 6]);
}

#[test]
fn square_evades_alarms_as_often_at_as_many_queries_as_the_reference() {
    let (batch, labels, alarms) = (images(2), labels(2), alarms());
    let goal = Goal::untargeted(&labels[..]);
    let square = Square::new(Budget::pixels(32.0)).with_queries(300);
    let victim = victim::victim(2);
    let (mut plain, mut evading, mut queries) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 0..5 {
        let square = square.with_seed(seed);
        let found = square.perturb(&victim, batch.clone(), &goal).unwrap();
        plain.push(32.0 - count(&lost(&victim, &alarms, &found, &labels)) as f32);
        let before = victim.watch().queries();
        let attack = Evading::new(square, alarms.clone());
        let found = attack.perturb(&victim, batch.clone(), &goal).unwrap();
        let used = victim.watch().queries() - before;
        assert_eq!(used.gradients, 0);
        queries.push(used.forwards as f32 / 32.0);
        evading.push(32.0 - count(&lost(&victim, &alarms, &found, &labels)) as f32);
    }
    // Of 32 images, the reference's ten seeds left 29 to 32 without and 8 to 13 with the alarms in its loss, at 179
    // to 219 queries an image.
    between("guard", "plain", plain);
    between("guard", "evading", evading);
    between("guard", "queries", queries);
}

/// The mean of these seeds lies where the reference's seeds lie.
fn between(case: &str, what: &str, ours: Vec<f32>) {
    let theirs = reference(&format!("{case}.{what}"));
    let (low, high) = theirs.iter().fold((f32::MAX, 0f32), |(l, h), &t| (l.min(t), h.max(t)));
    let mean = ours.iter().sum::<f32>() / ours.len() as f32;
    assert!((low..=high).contains(&mean), "{case}.{what}: {ours:?} against {theirs:?}");
}

/// Adds a random number from -0.3 to 0.3 to every channel.
fn tinted(seed: u64) -> Frozen {
    const TINT: Purpose = Purpose::named("tint");
    let tint = Custom::random(
        "tint",
        move |x, draws| {
            let of = |row| {
                let mut generator = draws.generator(TINT, seed, row);
                [0; 3].map(|_| generator.random_range(-0.3..0.3f32))
            };
            let tints: Vec<f32> = (0..x.dims()[0]).flat_map(of).collect();
            x.clone() + Tensor::<1>::from_floats(tints.as_slice(), &x.device()).reshape([-1, 3, 1, 1])
        },
        Backward::Identity,
    );
    tint.before(victim::victim(2)).unwrap()
}

#[test]
fn square_needs_the_mean_of_a_random_defense_as_the_reference_does() {
    let (batch, labels) = (images(2), labels(2));
    let goal = Goal::untargeted(&labels[..]);
    let square = Square::new(Budget::pixels(40.0)).with_queries(300);
    let judge = tinted(1000).expectation_over(200, Average::Logits);
    assert_eq!(victim::right(&judge, batch.clone(), &labels), 32);
    let (mut plain, mut eot) = (Vec::new(), Vec::new());
    let (mut plain_queries, mut eot_queries) = (Vec::new(), Vec::new());
    for seed in 0..4 {
        let square = square.with_seed(seed);
        for (draws, right, queries) in [(1, &mut plain, &mut plain_queries), (20, &mut eot, &mut eot_queries)]
        {
            let victim = tinted(seed);
            let found = Eot::new(square, draws).perturb(&victim, batch.clone(), &goal).unwrap();
            let used = victim.watch().queries();
            assert_eq!((used.gradients, used.forwards % draws as u64), (0, 0));
            queries.push(used.forwards as f32 / (32 * draws) as f32);
            right.push(victim::right(&judge, found, &labels) as f32);
        }
    }
    // Of 32 images, the reference's ten seeds left 19 to 24 by single draws and 5 to 16 by the mean of 20.
    between("tint", "plain", plain);
    between("tint", "plain.queries", plain_queries);
    between("tint", "eot", eot);
    between("tint", "eot.queries", eot_queries);
}

#[test]
fn one_draw_is_the_attack_itself() {
    let (batch, labels) = (images(2).slice(0..6), labels(2)[..6].to_vec());
    let goal = Goal::untargeted(&labels[..]);
    let square = Square::new(Budget::pixels(24.0)).with_queries(20);
    let alone = values(square.perturb(&tinted(3), batch.clone(), &goal).unwrap());
    assert_eq!(values(Eot::new(square, 1).perturb(&tinted(3), batch.clone(), &goal).unwrap()), alone);
    // An expectation of the victim's own is the same mean.
    let whole = tinted(3).expectation_over(4, Average::Losses);
    let inside = values(square.perturb(&whole, batch.clone(), &goal).unwrap());
    assert_eq!(values(Eot::new(square, 4).perturb(&tinted(3), batch, &goal).unwrap()), inside);
}

#[test]
fn an_images_result_does_not_depend_on_its_batch() {
    let labels = labels(2)[..6].to_vec();
    let batch = images(2).slice(0..6);
    let goal = |rows: std::ops::Range<usize>| {
        Goal::untargeted(&labels[rows.clone()]).with_indices(rows.map(|row| 40 + row as u64).collect())
    };
    let square = || Square::new(Budget::pixels(24.0)).with_queries(25);
    let attacks: [Box<dyn Attack>; 3] = [
        Box::new(Eot::new(square(), 5)),
        Box::new(Evading::new(square(), alarms())),
        Box::new(Evading::new(Eot::new(square(), 5), alarms())),
    ];
    for attack in attacks {
        let together = attack.perturb(&tinted(7), batch.clone(), &goal(0..6)).unwrap();
        for row in 0..6 {
            let image = batch.clone().slice(row..row + 1);
            let alone = attack.perturb(&tinted(7), image, &goal(row..row + 1)).unwrap();
            let found = values(together.clone().slice(row..row + 1));
            assert_eq!(values(alone), found, "{attack:?}: image {row}");
        }
    }
}

/// An alarm that attacks by gradients set off: squeezing to 2 bits changes what barely fools a network.
fn squeezing() -> Vec<Alarm> {
    let depth = ImageMap::new("2 bits", |x: Tensor<4>| {
        let squeezed = (x.clone() * 3.0).round() / 3.0;
        x.clone() + (squeezed - x).detach()
    });
    let network = FrozenFeatures::logits_of(victim::victim(2));
    let detector = Arc::new(FeatureSqueezing::new(network, vec![depth]).unwrap());
    vec![Calibration::new(0.05).alarm(detector, &stripes(199, 2), &Device::default()).unwrap()]
}

#[test]
fn every_attack_that_asks_can_evade() {
    let (batch, labels, alarms) = (images(2).slice(0..12), labels(2)[..12].to_vec(), squeezing());
    let goal = Goal::untargeted(&labels[..]);
    let budget = Budget::pixels(16.0);
    let victim = victim::victim(2);
    // When last run, of 12 images were lost without and with the alarms: APGD 2 and 6, FMN 0 and 6, FAB 0 and 2.
    type Made = Box<dyn Fn() -> Box<dyn Attack>>;
    let attacks: Vec<(Made, usize)> = vec![
        (Box::new(move || Box::new(Apgd::new(budget))), 3),
        (Box::new(move || Fmn::new(Norm::Linf).at(budget)), 4),
        (Box::new(move || Fab::new(Norm::Linf).at(budget)), 1),
    ];
    for (attack, more) in attacks {
        let of = |attack: &dyn Attack| {
            let found = attack.perturb(&victim, batch.clone(), &goal).unwrap();
            let sizes = values(Norm::Linf.measure(found.clone() - batch.clone()));
            assert!(sizes.into_iter().all(|size| budget.holds(f64::from(size))));
            count(&lost(&victim, &alarms, &found, &labels))
        };
        let (plain, evading) = (of(&*attack()), of(&Evading::boxed(attack(), alarms.clone())));
        assert!(evading >= plain + more, "{}: {plain} {evading}", attack().profile().name);
    }
    // One that asks for decisions alone starts from what is wrong and accepted, and ends there.
    let walk = HopSkipJump::new().with_norm(Norm::L2).with_queries(Some(600));
    let before = victim.watch().queries();
    let found = Evading::new(walk, alarms.clone()).perturb(&victim, batch.clone(), &goal).unwrap();
    assert_eq!((victim.watch().queries() - before).gradients, 0);
    let fell = lost(&victim, &alarms, &found, &labels);
    let moved: Vec<bool> =
        values(Norm::L2.measure(found - batch)).into_iter().map(|length| length > 0.0).collect();
    assert_eq!(moved, fell);
    assert!(count(&fell) >= 6, "{fell:?}");
}

#[test]
fn probabilities_of_a_shared_handle_are_the_networks_own() {
    let victim = victim::victim(2);
    let handle = victim.shared();
    let [a, b] = [&victim, &handle].map(|victim| values(softmax(victim.logits(images(2)), 1)));
    assert_eq!(a, b);
    assert_eq!((victim.watch().queries().forwards, handle.watch().queries().forwards), (64, 64));
    victim.watch().stop();
    assert!(handle.watch().is_stopped());
    let apart = victim::victim(2).watched_by(victim.watch());
    apart.logits(images(2));
    assert_eq!(victim.watch().queries().forwards, 96);
    // A copy of the handle outlives the first one.
    drop(victim);
    assert_eq!(values(softmax(handle.logits(images(2)), 1)), a);
}

#[test]
fn profiles_settings_stops_and_refusals() {
    let square = Square::new(Budget::pixels(8.0)).with_queries(10);
    let (eot, evading) = (Eot::new(square, 5), Evading::new(square, alarms()));
    let queries = |attack: &dyn Attack| attack.profile().queries.unwrap().forwards;
    assert_eq!((queries(&eot), queries(&evading)), (55, 11));
    assert_eq!(eot.profile().name, "Square, EOT over 5 draws");
    assert_eq!(evading.profile().name, "Square, evading rows and brightness");
    assert_eq!(evading.profile().access, Access::Logits);
    assert_eq!(eot.at(Budget::l2(1.0)).profile().budget(), Some(Budget::l2(1.0)));
    assert_eq!(queries(&*eot.stronger().unwrap()), 105);
    assert_eq!(queries(&*evading.stronger().unwrap()), 21);
    let settings = serde_json::to_value(&evading).unwrap();
    assert_eq!(
        (settings["weight"].as_f64(), settings["alarms"][0]["detector"]["detector"].as_str()),
        (Some(1.0), Some("rows"))
    );
    assert_eq!(settings["attack"]["attack"], "Square");
    let settings = serde_json::to_value(&eot).unwrap();
    assert_eq!((settings["draws"].as_u64(), settings["average"].as_str()), (Some(5), Some("losses")));

    let victim = victim::victim(2);
    let goal = Goal::untargeted(labels(2));
    let transfer = || Transfer::new(square, "another", victim::victim(2));
    let attacks: Vec<(Box<dyn Attack>, &str)> = vec![
        (Box::new(Eot::new(square, 0)), "draws"),
        (Box::new(Eot::new(transfer(), 5)), "attack"),
        (Box::new(Eot::new(square.with_queries(0), 5)), "queries"),
        (Box::new(Evading::new(square, vec![])), "alarms"),
        (Box::new(Evading::new(square, alarms()).with_weight(0.0)), "weight"),
        (Box::new(Evading::new(square, alarms()).with_weight(f64::NAN)), "weight"),
        (Box::new(Evading::new(transfer(), alarms())), "attack"),
        (Box::new(Evading::new(square.with_restarts(0), alarms())), "restarts"),
    ];
    for (attack, name) in attacks {
        match attack.perturb(&victim, images(2), &goal) {
            Err(AttackError::Parameter(ParameterError { parameter, .. })) => assert_eq!(parameter, name),
            other => panic!("{attack:?}: {other:?}"),
        }
    }
    assert_eq!(victim.watch().queries().forwards, 0);
    let task = Task::new(&victim, images(2), &goal, evading.profile()).unwrap();
    let sources = [
        (include_str!("../src/defense/detector/adaptive/evading.rs"), evading.parameters(&task)),
        (include_str!("../src/attack/combined/eot.rs"), eot.parameters(&task)),
    ];
    for (source, parameters) in sources {
        let own = parameters.len() - square.parameters(&task).len();
        for parameter in &parameters[..own] {
            let (name, range) = (parameter.name(), parameter.range());
            let documents = |row: &str| row.starts_with(&format!("/// | {name}")) && row.contains(range);
            assert!(source.lines().any(documents), "no row {name} .. {range}");
        }
    }
    victim.watch().stop();
    for attack in [&eot as &dyn Attack, &evading] {
        assert_eq!(attack.perturb(&victim, images(2), &goal).unwrap_err(), AttackError::Stopped);
    }
}
