//! Searches over a range of parameters that contradict each other.

use serde_json::Value;

use crate::evaluate::result::{About, Check, EvaluationResult, SemanticResult};

const GRID: About = About {
    name: "grid better than gradients",
    matters: "Over the same few numbers a search that follows gradients should find what a coarse grid finds. If the \
              grid breaks clearly more images, the gradients lead astray or the search has too few starts, and the \
              range does more harm than the attack says.",
    source: "Engstrom et al., Exploring the Landscape of Spatial Robustness, ICML 2019, section 4: on rotations and \
             translations gradients do worse than a grid",
};

const RANGE: About = About {
    name: "a wider range breaks fewer",
    matters: "A wider range of parameters contains the narrower one, and so every image that falls there. If it breaks \
              fewer, its search is too coarse: more levels, steps or starts find more.",
    source: "Carlini et al. 2019, Verify that increasing the perturbation budget strictly increases attack success rate, \
             for ranges",
};

/// Of so many images one may be a grid's luck.
const IMAGES_OF_LUCK: usize = 30;

/// Black boxes that break more images than a white box over the same range.
pub(super) fn grid(result: &EvaluationResult) -> Check {
    let pairs = pairs(result, |grid, climb| {
        let kinds = grid.profile.access.is_black_box() && climb.profile.access.is_white_box();
        kinds && range(grid).is_some() && range(grid) == range(climb)
    });
    let lead = |(grid, climb): &(&SemanticResult, &SemanticResult)| {
        grid.success.hits.saturating_sub(climb.success.hits)
    };
    let seen = pairs.iter().map(|(grid, climb)| {
        let Comparison { only, total } = Comparison::new(result, grid, climb);
        let (by_grid, by_climb) = (grid.success.hits, climb.success.hits);
        let (grid, climb) = (&grid.label, &climb.label);
        format!("of {total} images {grid} breaks {by_grid} and {climb} {by_climb}; {only} fall to the former alone")
    });
    let seen = seen.collect::<Vec<_>>().join("; ");
    if pairs.is_empty() {
        return GRID.not_applicable("it needs a search by answers and one by gradients over the same range");
    }
    let luck = |(grid, _): &(&SemanticResult, &SemanticResult)| grid.success.total.div_ceil(IMAGES_OF_LUCK);
    GRID.check(pairs.iter().any(|pair| lead(pair) > luck(pair)), seen)
}

/// Attacks that break fewer images with a wider range.
pub(super) fn range_of_each(result: &EvaluationResult) -> Check {
    let pairs = pairs(result, |wide, narrow| {
        let strengths = strength(wide).zip(strength(narrow));
        strengths.is_some_and(|(wide, narrow)| wide > narrow) && kind(wide) == kind(narrow)
    });
    if pairs.is_empty() {
        return RANGE.not_applicable("it needs the same attack over a narrower and a wider range");
    }
    let seen = pairs.iter().map(|(wide, narrow)| {
        let Comparison { only, .. } = Comparison::new(result, narrow, wide);
        format!(
            "{} breaks {} images and {} {}; {only} fall to the narrower alone",
            narrow.label, narrow.success.hits, wide.label, wide.success.hits
        )
    });
    let seen = seen.collect::<Vec<_>>().join("; ");
    RANGE.check(pairs.iter().any(|(wide, narrow)| wide.success.hits < narrow.success.hits), seen)
}

/// The attacks of which the first is to be compared with the second, on the same pixels.
fn pairs(
    result: &EvaluationResult,
    compared: impl Fn(&SemanticResult, &SemanticResult) -> bool,
) -> Vec<(&SemanticResult, &SemanticResult)> {
    let all = &result.semantic;
    let both = all.iter().flat_map(|first| all.iter().map(move |second| (first, second)));
    both.filter(|(first, second)| first.profile.mask == second.profile.mask && compared(first, second))
        .collect()
}

/// The range of the parameters of stains: how far, and in which colors.
fn range(attack: &SemanticResult) -> Option<(f64, &Value)> {
    strength(attack).zip(attack.settings.get("space"))
}

fn strength(attack: &SemanticResult) -> Option<f64> {
    attack.settings.get("strength")?.as_f64()
}

/// What two attacks share that differ in their range alone.
fn kind(attack: &SemanticResult) -> (bool, Value) {
    let mut settings = attack.settings.clone();
    settings.as_object_mut().map(|settings| settings.remove("strength"));
    (attack.profile.access.is_white_box(), settings)
}

/// Images that fall to the one attack and not to the other.
struct Comparison {
    only: usize,
    total: usize,
}

impl Comparison {
    fn new(result: &EvaluationResult, one: &SemanticResult, other: &SemanticResult) -> Self {
        let place = |of: &SemanticResult| {
            result.semantic.iter().position(|attack| attack.label == of.label).expect("one of the result's")
        };
        let (one, other) = (place(one), place(other));
        let right = result.records.iter().filter(|image| image.is_right());
        let only = right.filter(|image| {
            let fell = |attack: usize| image.semantic[attack].fell(image.label);
            fell(one) && !fell(other)
        });
        Self { only: only.count(), total: result.semantic[one].success.total }
    }
}
