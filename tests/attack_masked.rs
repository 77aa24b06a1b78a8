//! Attacks on a part of the image: against IBM ART, against what can be computed by hand, and what reports
//! and journals make of masks.

mod small;
mod victim;

use burn::tensor::{Device, Tensor};
use histoguard::attack::{
    Attack, CarliniWagner, Ddn, DeepFool, Ead, Fab, Fmn, HopSkipJump, InputDiversity, Mask, Masked, MiFgsm,
    MinimalFgsm, SigmaZero, Square,
};
use histoguard::data::TensorSet;
use histoguard::evaluate::{EvaluationError, Verdict};
use histoguard::prelude::*;
use histoguard::rows::{batch, take};
use small::linf;
use victim::{golden, largest_difference, values};

/// Images of the golden file.
const COUNT: usize = 5;

/// The golden masks: one for all images, and one for each.
fn golden_mask(name: &str) -> Mask {
    let free: Vec<bool> =
        golden("masked", name).try_into_vec::<f32>().unwrap().iter().map(|&value| value == 1.0).collect();
    let mut masks = free.chunks(256).map(|free| Mask::new([1, 16, 16], free.to_vec()).unwrap());
    if name == "mask" { masks.next_back().unwrap() } else { Mask::each(masks).unwrap() }
}

#[test]
fn pgd_equals_arts_with_the_same_mask() {
    for classes in [2, 4] {
        let (victim, images) =
            (victim::victim(classes), victim::images(classes).narrow(0, 0, COUNT) * 0.5 + 0.25);
        let labels = &victim::labels(classes)[..COUNT];
        let next: Vec<usize> = labels.iter().map(|label| (label + 1) % classes).collect();
        let cases = [
            ("linf", Budget::pixels(20.3), Epsilon::pixels(4.1)),
            ("l2", Budget::l2(0.9), Epsilon::unit(0.27)),
        ];
        for (name, budget, step) in cases {
            let pgd = Pgd::new(budget).with_steps(7).with_step_size(Some(step));
            let pgd = pgd.with_random_start(false).with_early_stop(false);
            for mask in ["mask", "each"] {
                let goals = [("away", Goal::untargeted(labels)), ("towards", Goal::targeted(&next))];
                for (aim, goal) in goals {
                    let attack = Masked::new(pgd, golden_mask(mask));
                    let found = values(attack.perturb(&victim, images.clone(), &goal).unwrap());
                    let golden = format!("{name}{classes}.{mask}.{aim}");
                    let off = largest_difference(&found, &expected(&golden));
                    assert!(off < 2e-5, "{golden}: {off}");
                }
            }
        }
    }
}

fn expected(name: &str) -> Vec<f32> {
    golden("masked", name).try_into_vec().unwrap()
}

/// A linear classifier of two classes, `w . x - b` for the second, so that every smallest perturbation is
/// known.
fn linear(weights: &'static [f32], bias: f32) -> Frozen {
    Frozen::from_fn(2, &Device::default(), move |x| {
        let [count, ..] = x.dims();
        let weights = Tensor::<1>::from_floats(weights, &x.device()).reshape([1, weights.len()]);
        let score = (x.reshape([count as i32, -1]) * weights).sum_dim(1) - bias;
        Tensor::cat(vec![score.clone().neg(), score], 1)
    })
}

const WEIGHTS: &[f32] = &[2.0, -1.0, 0.5, 3.0, -2.5, 1.0, 0.7, -0.3, 1.5];

/// A grey image of the second class, the attack's distance to the boundary within the free values, and the
/// mask.
fn known() -> (Frozen, Tensor<4>, Mask, [f64; 3]) {
    // Score 0.5 * (2 - 1 + 0.5 + 3 - 2.5 + 1 + 0.7 - 0.3 + 1.5) = 2.45.
    let victim = linear(WEIGHTS, 2.05);
    let image = Tensor::full([1, 1, 3, 3], 0.5, &Device::default());
    let free: Vec<bool> = [0, 1, 2, 5, 6].iter().fold(vec![false; 9], |mut free, &at| {
        free[at] = true;
        free
    });
    let of_free = || [2.0f64, 1.0, 0.5, 1.0, 0.7].into_iter();
    let l2 = of_free().map(|w| w * w).sum::<f64>().sqrt();
    let (l1, largest): (f64, f64) = (of_free().sum(), 2.0);
    (victim, image, Mask::new([1, 3, 3], free).unwrap(), [0.4 / l1, 0.4 / l2, 0.4 / largest])
}

#[test]
fn smallest_perturbations_are_those_of_the_masked_space() {
    let (victim, image, mask, [linf, l2, l1]) = known();
    let goal = Goal::untargeted([1]);
    let cw = CarliniWagner::new().with_steps(300).with_learning_rate(0.01).with_initial_constant(0.1);
    let ead = Ead::new().with_steps(300).with_initial_constant(0.1).with_beta(0.01);
    let ead = ead.with_decision_rule(DecisionRule::L1);
    let hop = HopSkipJump::new().with_steps(30).with_initial_evaluations(60).with_max_evaluations(500);
    let cases: Vec<(Box<dyn Attack>, Norm, f64, f64)> = vec![
        (Box::new(DeepFool::new()), Norm::L2, l2, 0.03),
        (Box::new(DeepFool::new().with_norm(Norm::Linf)), Norm::Linf, linf, 0.03),
        (Box::new(Fab::new(Norm::L2).with_steps(20)), Norm::L2, l2, 0.02),
        (Box::new(Fab::new(Norm::L2).with_steps(20).with_restarts(3)), Norm::L2, l2, 0.02),
        (Box::new(Fab::new(Norm::Linf).with_steps(20)), Norm::Linf, linf, 0.02),
        (Box::new(Fab::new(Norm::L1).with_steps(20)), Norm::L1, l1, 0.02),
        (Box::new(Fmn::new(Norm::L2)), Norm::L2, l2, 0.02),
        (Box::new(Fmn::new(Norm::Linf)), Norm::Linf, linf, 0.02),
        (Box::new(Fmn::new(Norm::L1)), Norm::L1, l1, 0.02),
        (Box::new(Ddn::new().with_steps(200).with_levels(None)), Norm::L2, l2, 0.02),
        (Box::new(MinimalFgsm::new()), Norm::Linf, linf, 0.02),
        (Box::new(MinimalFgsm::new().with_norm(Norm::L2)), Norm::L2, l2, 0.02),
        (Box::new(cw), Norm::L2, l2, 0.02),
        (Box::new(ead), Norm::L1, l1, 0.1),
        (Box::new(hop.clone()), Norm::L2, l2, 0.03),
        (Box::new(hop.with_norm(Norm::Linf)), Norm::Linf, linf, 0.1),
    ];
    for (attack, norm, smallest, most) in cases {
        let shown = format!("{attack:?}");
        let attack = Masked::boxed(attack, mask.clone());
        let found = attack.perturb(&victim, image.clone(), &goal).unwrap();
        assert_eq!(victim.predict(found.clone()), [0], "{shown}");
        let size: f64 = values(norm.measure(found - image.clone()))[0].into();
        assert!(size >= smallest * 0.9999 && size <= smallest * (1.0 + most), "{shown}: {size}, {smallest}");
    }
    // One value is enough, and it is one of the free ones.
    for attack in
        [Masked::new(SigmaZero::new().with_steps(200), mask.clone()), Masked::new(Fmn::new(Norm::L0), mask)]
    {
        let found = attack.perturb(&victim, image.clone(), &goal).unwrap();
        assert_eq!(values(Norm::L0.measure(found.clone() - image.clone())), [1.0], "{attack:?}");
        assert_eq!(victim.predict(found), [0]);
    }
}

#[test]
fn a_budget_is_spent_within_the_mask() {
    // Far from the boundary and from the edges of the box.
    let victim = linear(WEIGHTS, 0.0);
    let image = Tensor::<4>::full([1, 1, 3, 3], 0.5, &Device::default());
    let (_, _, mask, _) = known();
    let goal = Goal::untargeted([1]);
    let (l2, l1) = (Budget::l2(0.2), Budget::l1(0.3));
    let attacks: Vec<(Box<dyn Attack>, Option<f64>)> = vec![
        // The best that a linear score allows: the dual norm of the free weights.
        (Box::new(Pgd::new(linf(0.1)).with_steps(20)), Some(0.1 * 5.2)),
        (
            Box::new(Pgd::new(l2).with_steps(40).with_step_size(Some(Epsilon::unit(0.05)))),
            Some(0.2 * 6.74f64.sqrt()),
        ),
        (Box::new(Apgd::new(l2).with_loss(ApgdLoss::Margin)), Some(0.2 * 6.74f64.sqrt())),
        (Box::new(Apgd::new(l1).with_loss(ApgdLoss::Margin)), Some(0.3 * 2.0)),
        (Box::new(Square::new(linf(0.1)).with_queries(300)), Some(0.1 * 5.2)),
        (Box::new(Square::new(l2).with_queries(1)), None),
        (Box::new(RandomNoise::gaussian(0.2)), None),
        (
            Box::new(
                Pgd::new(l2).with_steps(1).with_step_size(Some(Epsilon::unit(0.2))).with_random_start(false),
            ),
            None,
        ),
    ];
    let score = |image: &Tensor<4>| f64::from(values(victim.logits(image.clone()))[1]);
    for (attack, gain) in attacks {
        let (budget, shown) = (attack.profile().budget().unwrap(), format!("{attack:?}"));
        let attack = Masked::boxed(attack, mask.clone());
        let found = attack.perturb(&victim, image.clone(), &goal).unwrap();
        let size: f64 = values(budget.norm().measure(found.clone() - image.clone()))[0].into();
        assert!((size / budget.size() - 1.0).abs() < 1e-3, "{shown}: {size} of {budget}");
        if let Some(gain) = gain {
            let gained = score(&image) - score(&found);
            assert!((gained / gain - 1.0).abs() < 0.02, "{shown}: {gained} of {gain}");
        }
    }
}

#[test]
fn masks_within_masks_leave_what_both_leave() {
    let (victim, images) = (victim::victim(4), victim::images(4).narrow(0, 0, 2));
    let goal = Goal::untargeted(&victim::labels(4)[..2]);
    let left = Mask::rectangle([16, 16], [0, 0], [16, 8]).unwrap();
    let top = Mask::rectangle([16, 16], [0, 0], [8, 16]).unwrap();
    let both = Mask::rectangle([16, 16], [0, 0], [8, 8]).unwrap();
    let pgd = Pgd::new(Budget::l2(1.0));
    let nested = Masked::new(Masked::new(pgd, left), top);
    let found = nested.perturb(&victim, images.clone(), &goal).unwrap();
    let expected = Masked::new(pgd, both).perturb(&victim, images, &goal).unwrap();
    assert_eq!(values(found), values(expected));
    assert_eq!(nested.profile().name, "PGD, masked to 50 % of the pixels, masked to 50 % of the pixels");
}

#[test]
fn masks_for_other_images_are_refused_before_any_query() {
    let (victim, images) = (victim::victim(4), victim::images(4).narrow(0, 0, 3));
    let goal = Goal::untargeted(&victim::labels(4)[..3]);
    let refused = |mask: Mask| {
        let error = Masked::new(Fgsm::new(Budget::pixels(8.0)), mask).perturb(&victim, images.clone(), &goal);
        error.unwrap_err().to_string()
    };
    let small = Mask::centre([8, 16], 4).unwrap();
    let expected = "1 or 3 channels of 16x16, as the images";
    assert_eq!(refused(small), format!("mask: expected {expected}, found 1 of 8x16"));
    let channels = Mask::new([2, 16, 16], vec![true; 512]).unwrap();
    assert_eq!(refused(channels), format!("mask: expected {expected}, found 2 of 16x16"));
    let two = Mask::each(vec![Mask::centre([16, 16], 4).unwrap(); 2]).unwrap();
    let said = "mask: expected one mask, or one for each image: 2 found, found an image with index 2";
    assert_eq!(refused(two), said);
    assert_eq!(victim.watch().queries().gradients, 0);
}

/// Four images of the shared victim.
fn data() -> (Tensor<4>, TensorSet) {
    let images = victim::images(4).narrow(0, 0, 4);
    let classes: Vec<String> = (0..4).map(|class| class.to_string()).collect();
    let set = TensorSet::new(images.clone(), victim::labels(4)[..4].to_vec(), classes).unwrap();
    (images, set)
}

#[test]
fn an_evaluation_names_the_mask_and_compares_like_with_like() {
    let (victim, (_, set)) = (victim::victim(4), data());
    let (budget, mask) = (Budget::pixels(48.0), Mask::rectangle([16, 16], [2, 3], [5, 6]).unwrap());
    let result = Evaluation::new(&victim)
        .attack(Masked::new(Pgd::new(budget), mask.clone()))
        .attack(Masked::new(Fgsm::new(budget), mask.clone()))
        .attack(Square::new(budget).with_queries(200))
        .check_images(4)
        .run(&set)
        .unwrap();
    let [pgd, fgsm, _] = &result.attacks[..] else { panic!("three attacks") };
    assert_eq!(pgd.label, "PGD, masked to 12 % of the pixels");
    assert_eq!(fgsm.label, "FGSM, masked to 12 % of the pixels");
    assert_eq!(pgd.profile.mask, Some(mask.summary()));
    let digest = &pgd.settings["mask"]["sha256"];
    assert_eq!(
        (digest.as_str().unwrap(), digest.as_str().unwrap().len()),
        (mask.summary().sha256.as_str(), 64)
    );
    for record in &result.records {
        for attack in &record.attacks[..2] {
            let distances = attack.at[0].distances.expect("an attacked image");
            assert!(distances.l0 <= 3 * 30, "{distances:?}");
            assert_eq!(attack.at[0].violations, Default::default());
        }
    }
    // JSON gives the profile back, with the mask and without.
    let text = serde_json::to_string(&result).unwrap();
    assert_eq!(serde_json::from_str::<EvaluationResult>(&text).unwrap().attacks, result.attacks);
    assert_eq!(text.matches("\"mask\":{\"share\"").count(), 2);
    // Square may change everything, so that it is no black box that does better than masked gradients; and
    // what is held to a part of the image need not break every image without a bound.
    for name in ["black box better than white box", "survives an unbounded attack"] {
        let check = result.checks.iter().find(|check| check.name == name).unwrap();
        assert_eq!(check.verdict, Verdict::NotApplicable, "{check:?}");
    }
    let one_step = result.checks.iter().find(|check| check.name == "one step better than many").unwrap();
    assert_ne!(one_step.verdict, Verdict::NotApplicable);
}

#[test]
fn another_mask_is_another_run() {
    let (victim, (_, set)) = (victim::victim(4), data());
    let folder = tempfile::tempdir().unwrap();
    let run = |mask: Mask| {
        Evaluation::new(&victim)
            .attack(Masked::new(Fgsm::new(Budget::pixels(8.0)), mask))
            .check_images(0)
            .resume_from(folder.path())
            .run(&set)
    };
    let at = |left| Mask::rectangle([16, 16], [0, left], [4, 4]).unwrap();
    let first = run(at(0)).unwrap();
    assert!(run(at(0)).unwrap().without_timing() == first.without_timing());
    let error = run(at(1)).unwrap_err();
    assert!(matches!(error, EvaluationError::State { .. }), "{error}");
    assert!(error.to_string().contains("sha256"), "{error}");
}

/// A black box of somebody else's that knows nothing of masks: it tries other colours for the whole image.
#[derive(Debug, serde::Serialize)]
struct Flood;

impl Attack for Flood {
    fn profile(&self) -> histoguard::attack::Profile {
        histoguard::attack::Profile::within("Flood", linf(1.0), histoguard::attack::Access::Logits, 1, None)
    }

    fn parameters(&self, _: &histoguard::attack::Task<'_>) -> Vec<histoguard::parameter::Parameter> {
        Vec::new()
    }

    fn at(&self, _: Budget) -> Box<dyn Attack> {
        Box::new(Self)
    }

    fn craft(&self, task: histoguard::attack::Task<'_>) -> Result<Tensor<4>, AttackError> {
        Ok(task.images() * 0.0 + f32::NAN)
    }
}

#[test]
fn what_an_attack_does_outside_the_mask_is_undone() {
    let (victim, images) = (victim::victim(4), victim::images(4).narrow(0, 0, 2));
    let mask = Mask::rectangle([16, 16], [0, 0], [1, 2]).unwrap();
    let goal = Goal::untargeted(&victim::labels(4)[..2]);
    let found = Masked::new(Flood, mask).perturb(&victim, images.clone(), &goal).unwrap();
    let (found, before) = (values(found), values(images));
    for (i, (found, before)) in found.iter().zip(&before).enumerate() {
        assert_eq!(found.is_nan(), i % 256 < 2);
        assert!(found.is_nan() || found == before);
    }
}

#[test]
fn given_starts_of_hopskipjump_are_used_within_the_mask() {
    let (victim, images, mask, [_, l2, _]) = known();
    // Reaches the goal as a whole and within the mask.
    let start = batch(WEIGHTS.iter().map(|w| if *w > 0.0 { 0.0 } else { 1.0 }).collect(), &images);
    let hop = HopSkipJump::new().with_steps(30).with_initial_evaluations(60).with_max_evaluations(500);
    let attack = Masked::new(hop.with_starts(histoguard::attack::Starts::images(start)), mask);
    let found = attack.perturb(&victim, images.clone(), &Goal::untargeted([1])).unwrap();
    let size: f64 = values(Norm::L2.measure(found - images))[0].into();
    assert!(size / l2 < 1.03, "{size}, {l2}");
}

#[test]
fn rows_of_a_batch_keep_their_masks() {
    let (victim, (images, _)) = (victim::victim(4), data());
    let masks = (0..4).map(|i| Mask::rectangle([16, 16], [i, i], [6, 6]).unwrap());
    let attack = Masked::new(Pgd::new(Budget::pixels(48.0)).with_restarts(2), Mask::each(masks).unwrap());
    let goal = |rows: &[usize]| {
        let labels = victim::labels(4);
        let own: Vec<usize> = rows.iter().map(|&row| labels[row]).collect();
        Goal::untargeted(own).with_indices(rows.iter().map(|&row| row as u64).collect())
    };
    let together = attack.perturb(&victim, images.clone(), &goal(&[0, 1, 2, 3])).unwrap();
    for rows in [vec![3, 1], vec![2]] {
        let found = attack.perturb(&victim, take(&images, &rows), &goal(&rows)).unwrap();
        assert_eq!(values(found), values(take(&together, &rows)));
    }
}

#[test]
fn a_masked_step_through_resized_images_is_the_unmasked_one_within_the_mask() {
    let (victim, images) = (victim::victim(4), victim::images(4).narrow(0, 0, COUNT) * 0.5 + 0.25);
    let goal = Goal::untargeted(&victim::labels(4)[..COUNT]);
    let diversity = InputDiversity { probability: 1.0, resize_rate: 0.6 };
    let attack = MiFgsm::new(Budget::pixels(8.0)).with_steps(1).with_input_diversity(Some(diversity));
    let whole = values(attack.perturb(&victim, images.clone(), &goal).unwrap());
    let mask = Mask::rectangle([16, 16], [0, 0], [4, 4]).unwrap();
    let masked = values(Masked::new(attack, mask).perturb(&victim, images.clone(), &goal).unwrap());
    let (mut moved, images) = (0, values(images));
    for (at, ((masked, whole), image)) in masked.iter().zip(&whole).zip(&images).enumerate() {
        let free = at / 16 % 16 < 4 && at % 16 < 4;
        assert_eq!(masked, if free { whole } else { image }, "value {at}");
        moved += usize::from(masked != image);
    }
    assert!(moved > COUNT * 3 * 8, "{moved}");
}
