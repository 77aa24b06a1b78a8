//! Images before and after an attack, to be compared.

use maud::{Markup, html};

use super::encode::{Change, Encoded, encoded};
use crate::evaluate::{Answer, Version};
use crate::pixels::Norm;
use crate::report::document::or_dash;
use crate::report::report::{ModelReport, Report};

/// Characters that all pictures of a page may take together.
const ROOM: usize = 320_000;

/// The exhibits of every model, as many as there is room for; `None` without any.
pub(super) fn pictures(report: &Report) -> Option<Markup> {
    let with_images = report.models.iter().filter(|model| !model.exhibits.is_empty()).count();
    let room = ROOM.checked_div(with_images)?;
    let models = report.models.iter().map(|model| (model, encoded(&model.exhibits, room)));
    let shown = models.filter(|(_, exhibits)| !exhibits.is_empty());
    Some(html! {
        p {
            "Images that fall to the smallest budget first, under the attack that broke the most, then those that fall to \
             attacks that no norm bounds, if there are any. An adversarial image is composed of the original and the \
             difference, which is held in three steps each way of its largest value, or as a JPEG where no norm bounds it; \
             large images are reduced. The numbers are those of the images themselves."
        }
        noscript { p { "Without JavaScript originals and differences are shown, one beside the other." } }
        @for (number, (model, exhibits)) in shown.enumerate() {
            h3 { (model.name) }
            div.exhibits {
                @for (place, exhibit) in exhibits.iter().enumerate() {
                    (shown_exhibit(&format!("exhibit-{number}-{place}"), model, exhibit))
                }
            }
        }
    })
}

fn shown_exhibit(id: &str, model: &ModelReport, encoded: &Encoded<'_>) -> Markup {
    let Encoded { exhibit, size: [width, height], original, changes } = encoded;
    let classes = &model.result.classes;
    let truth = &classes[exhibit.label];
    let described = format!("{}, {truth}", exhibit.name);
    html! {
        article.exhibit id=(id) {
            h4 { (exhibit.name) }
            p { "true class " strong { (truth) } ", slide " (exhibit.group) ", under " (exhibit.attack) }
            div.stage {
                figure {
                    div.wipe style=(format!("aspect-ratio:{width}/{height}")) {
                        img.original src=(original) width=(width) height=(height) alt=(format!("original: {described}"));
                        canvas.live width=(width) height=(height) role="img"
                            aria-label=(format!("adversarial: {described}")) {}
                    }
                    figcaption { "original" span.live { " and adversarial" } }
                }
                @for change in changes { (difference(encoded, change)) }
            }
            div.controls.live {
                label { "original" input.slide type="range" min="0" max="100" value="50" step="1"
                    aria-label=(format!("share of the adversarial image shown of {}", exhibit.name)); "adversarial" }
                label { (if exhibit.norm.is_some() { "epsilon " } else { "as found " }) select.epsilon {
                    @for change in changes { option value=(change.version) { (size(exhibit.norm, &exhibit.versions[change.version])) } }
                } }
            }
            (answers(id, model, encoded))
        }
    }
}

fn difference(Encoded { exhibit, size: [width, height], .. }: &Encoded<'_>, change: &Change) -> Markup {
    let Change { version, picture, most } = change;
    let at = size(exhibit.norm, &exhibit.versions[*version]);
    let factor = if *most > 0.0 { format!(", ×{:.0}", 0.5 / most) } else { ", none".into() };
    html! {
        figure.difference data-version=(version) data-most=(most) {
            img src=(picture) width=(width) height=(height)
                alt=(format!("difference at {at}{factor}, grey where nothing changes"));
            figcaption { "difference at " (at) (factor) " (grey: none)" }
        }
    }
}

/// What the classifier says with every budget, and how far the image is from the original.
fn answers(id: &str, model: &ModelReport, Encoded { exhibit, changes, .. }: &Encoded<'_>) -> Markup {
    let classes = &model.result.classes;
    let said = |answer: &Answer| {
        let class = answer.prediction.map_or("no answer", |class| classes[class].as_str()).to_string();
        let right = answer.prediction == Some(exhibit.label);
        (class, or_dash(answer.probability.map(|p| format!("{:.1} %", 100.0 * p))), right)
    };
    let row = |at: String, answer: &Answer, sizes: [String; 3], version: Option<usize>| {
        let (class, probability, right) = said(answer);
        html! { tr data-version=[version] {
            th scope="row" { (at) }
            td { @if right { (class) ", right" } @else { strong { (class) ", wrong" } } }
            td { (probability) }
            @for size in sizes { td { (size) } }
        } }
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label=(format!("Answers of {} to {} ({})", model.name, exhibit.name, kind(exhibit.norm))) {
            table id=(format!("{id}-answers")) {
                @let first = if exhibit.norm.is_some() { "epsilon" } else { "image" };
                thead { tr { @for head in [first, "answer", "probability", "grey levels", "L2", "L1"] {
                    th scope="col" { (head) }
                } } }
                tbody {
                    (row("original".into(), &exhibit.before, ["-", "-", "-"].map(String::from), None))
                    @for Change { version, .. } in changes {
                        @let Version { after, distances: d, .. } = &exhibit.versions[*version];
                        @let sizes = [format!("{:.2}", 255.0 * d.linf), format!("{:.3}", d.l2), format!("{:.1}", d.l1)];
                        (row(size(exhibit.norm, &exhibit.versions[*version]), after, sizes, Some(*version)))
                    }
                }
            }
        }
    }
}

/// The budget, how far a search for the smallest perturbation went, or how alike what no norm bounds is.
fn size(norm: Option<Norm>, version: &Version) -> String {
    match (version.budget, norm) {
        (Some(budget), _) => budget.to_string(),
        (None, Some(norm)) => format!("{norm} {:.4}, found", version.distances.in_norm(norm)),
        (None, None) => format!("SSIM {}", or_dash(version.distances.ssim.map(|ssim| format!("{ssim:.3}")))),
    }
}

fn kind(norm: Option<Norm>) -> String {
    norm.map_or("no norm".into(), |norm| norm.to_string())
}
