//! Attacks that know a defense beside attacks that do not, as a table with its conclusion.

use super::document::{Document, columns, or_dash};
use super::report::{ModelReport, Report};
use crate::evaluate::{AttackView, AttackViews};

impl Report {
    /// The views of every model, if there are any.
    pub(super) fn views(&self, doc: &mut Document) {
        let mut rows = Vec::new();
        for ModelReport { name, result, .. } in &self.models {
            for views in &result.views {
                let all = [Some(&views.oblivious), views.adaptive.as_ref(), views.black_box.as_ref()];
                let each = |shown: &dyn Fn(&AttackView) -> String| all.map(|view| or_dash(view.map(shown)));
                let mut row = |images: &str, right: [String; 3], more: [String; 2]| {
                    let mut cells = vec![name.clone(), views.oblivious.attacks.join(", ")];
                    cells.extend([views.budget.shown(), images.into()]);
                    rows.push([cells, right.into(), more.into()].concat());
                };
                let gap = or_dash(views.gap.map(|gap| format!("{:.1} points", 100.0 * gap)));
                let alone = each(&|view| view.alone.to_string()).join(" / ");
                row("all", each(&|view| view.accuracy.to_string()), [gap, alone]);
                for (class, called) in result.classes.iter().enumerate().rev() {
                    let right = each(&|view| view.classes[class].to_string());
                    row(&format!("{called} only"), right, Default::default());
                }
            }
        }
        if rows.is_empty() {
            return;
        }
        let head = "model | made for another network | epsilon | images | right under it | adaptive | black \
                    box | gap | fall to one alone";
        let intro = "Right answers under an attack that was made for another network, under the same one (or \
                     all white boxes) with gradients through the model itself, and under attacks that see its \
                     answers. The gap is what rests on the attacker not knowing the model; \"fall to one alone\" \
                     counts images that one of the three breaks and the others do not, in this order.";
        doc.table("What attacks find that know the model", intro, columns(head), rows);
        doc.items(self.models.iter().flat_map(conclusions));
    }
}

/// One for each attack that was made for another network, of the budget with the widest gap.
fn conclusions(ModelReport { name, result, .. }: &ModelReport) -> Vec<String> {
    result
        .views
        .chunk_by(|a, b| a.oblivious.attacks == b.oblivious.attacks)
        .map(|of_one| format!("{name}: {}", conclusion(of_one)))
        .collect()
}

fn conclusion(views: &[AttackViews]) -> String {
    let gap = |views: &AttackViews| views.gap.unwrap_or(f64::NEG_INFINITY);
    let widest = views.iter().max_by(|a, b| gap(a).total_cmp(&gap(b))).expect("a chunk is not empty");
    let (made, at) = (widest.oblivious.attacks.join(", "), widest.budget.shown());
    let said = match widest.gap {
        None => {
            return format!("no attack follows its gradients: what it keeps under {made} is no robustness.");
        }
        Some(gap) if gap > 0.0 => format!(
            "{:.1} points of its accuracy under {made} at epsilon {at} are lost once the attack follows its \
             own gradients: they were hidden from an attacker who does not know it (obscurity, or obfuscated \
             gradients), and are no robustness",
            100.0 * gap
        ),
        Some(gap) if gap < 0.0 => format!(
            "its own gradients find less than {made} does, by {:.1} points or more: they mislead, and its \
             accuracy under them is no robustness",
            -100.0 * gap
        ),
        Some(_) => format!(
            "its own gradients find no more than {made}: as far as these attacks tell, nothing rests on \
             the attacker not knowing it"
        ),
    };
    let beaten = |views: &&AttackViews| {
        let hits = |view: &Option<AttackView>| view.as_ref().map(|view| view.accuracy.hits);
        hits(&views.black_box).zip(hits(&views.adaptive)).is_some_and(|(black, own)| black < own)
    };
    let missed = views.iter().find(beaten).map_or(String::new(), |views| {
        format!(
            "; yet at epsilon {} the black box leaves fewer right than its gradients: its backward pass \
             misses something, and the adaptive figure is too high",
            views.budget.shown()
        )
    });
    format!("{said}{missed}.")
}
