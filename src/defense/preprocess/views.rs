//! The attacks that belong side by side before a defense is believed.

use crate::attack::{Attack, Square, Transfer};
use crate::classifier::Frozen;

/// Three views of a defended classifier, for [`Evaluation::attacks`](crate::evaluate::Evaluation::attacks) of
/// it:
///
/// 1. the attack crafted on the undefended classifier and handed over ("... from the undefended network"),
///    which does not know the defense;
/// 2. the attack itself, whose gradients go through the defense as its preprocessings declare (BPDA);
/// 3. [`Square`] with these queries, which needs no gradient.
///
/// What the second finds beyond the first is what the defense hides, and what the third finds beyond the
/// second is what its backward pass misses:
/// [`EvaluationResult::views`](crate::evaluate::EvaluationResult::views) has the figures, for each budget.
///
/// A random defense is to be evaluated as its [expectation](Frozen::expectation_over) over at least 20
/// draws, so that the second is EOT too, and no lucky draw counts as a success; one that is to answer by a
/// single draw is attacked by [`Eot`](crate::attack::Eot) of each.
///
/// There is no third view where Square has no attack: of an attack without a budget.
///
/// ```
/// use histoguard::defense::{BitDepth, Preprocess, attack_views};
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = || {
///     Frozen::from_fn(2, &Device::default(), |x| {
///         let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///         Tensor::cat(vec![bright.clone().neg(), bright], 1)
///     })
/// };
/// let defended = BitDepth::new(4).before(victim())?;
/// let attacks = attack_views(Pgd::new(Budget::pixels(8.0)), victim(), 100);
/// let names: Vec<String> = attacks.iter().map(|attack| attack.profile().name).collect();
/// assert_eq!(names, ["PGD from the undefended network", "PGD", "Square"]);
///
/// let image = Tensor::full([1, 1, 2, 2], 0.52, &device);
/// let data = TensorSet::new(image, vec![1], vec!["dark".into(), "bright".into()])?;
/// let views = Evaluation::new(&defended).attacks(attacks).run(&data)?.views;
/// assert_eq!((views[0].oblivious.accuracy.hits, views[0].gap), (0, Some(0.0)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn attack_views(
    attack: impl Attack + Clone + 'static,
    undefended: Frozen,
    queries: usize,
) -> Vec<Box<dyn Attack>> {
    let budget = attack.profile().budget();
    let oblivious = Transfer::new(attack.clone(), "the undefended network", undefended);
    let mut views: Vec<Box<dyn Attack>> = vec![Box::new(oblivious), Box::new(attack)];
    views.extend(budget.map(|budget| Box::new(Square::new(budget).with_queries(queries)) as _));
    views
}
