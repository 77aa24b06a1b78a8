//! One table of all defenses.

use histoguard::statistics::Proportion;

use crate::common::defend::row::Row;

/// What a defense costs.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Seconds of the training.
    pub training: f64,
    /// Seconds that the answer to an image takes.
    pub answer: f64,
}

/// Right answers of every defense, and what it costs, as Markdown; the first row is what others are compared with.
pub fn table(rows: &[(Row, Cost)]) -> String {
    let Some((first, reference)) = rows.first() else { return String::new() };
    let certified = rows.iter().flat_map(|(row, _)| &row.budgets).any(|under| under.certified.is_some());
    let mut head = vec!["defense".to_string(), "no attack".to_string()];
    for under in &first.budgets {
        let budget = under.budget.shown();
        let views = ["made for the undefended network", "adaptive", "black box", "worst case"];
        head.extend(views.map(|view| format!("{view}, {budget}")));
        if certified {
            head.push(format!("proven, {budget}"));
        }
    }
    head.extend(first.semantic.iter().map(|under| under.attack.clone()));
    head.extend(["weakest slide", "training", "an answer"].map(String::from));
    let shown = |share: Option<Proportion>| share.map_or("-".into(), |share| share.to_string());
    let body = rows.iter().map(|(row, cost)| {
        let mut cells = vec![row.defense.clone(), row.clean.to_string()];
        for under in &row.budgets {
            cells.extend([under.oblivious, under.adaptive, under.black_box, under.worst].map(shown));
            if certified {
                cells.push(shown(under.certified));
            }
        }
        cells.extend(row.semantic.iter().map(|under| under.right.to_string()));
        cells.push(
            row.weakest.as_ref().map_or("-".into(), |slide| format!("{}: {}", slide.name, slide.score)),
        );
        cells.push(format!("{:.1} x", cost.training / reference.training));
        cells.push(format!("{:.1} x", cost.answer / reference.answer));
        cells
    });
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let rule = line(vec!["---".to_string(); head.len()]);
    std::iter::once(line(head)).chain([rule]).chain(body.map(line)).collect()
}
