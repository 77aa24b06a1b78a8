//! What was compared, as Markdown and as JSON.

use serde::Serialize;
use serde_json::json;

use super::case::Row;
use super::compare::{Difference, Tolerance};
use super::network::Size;

/// What every row shares.
#[derive(Serialize)]
pub struct About {
    pub device: String,
    pub network: Size,
    pub image_size: usize,
    pub images: usize,
    pub seed: u64,
    pub autotune: bool,
}

const HEAD: &str = "\
| case | largest difference | relative | distance | values that differ | norms | margins | other answers | tolerance | | second run | CPU, s | cold, s | warm, s |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";

/// What is compared, and the head of the table.
pub fn head(about: &About) -> String {
    let About { device, network, image_size, images, seed, autotune } = about;
    let tuned = if *autotune { ", autotune" } else { "" };
    format!(
        "{device}{tuned} against the CPU: {network:?}, {images} images of {image_size}x{image_size}, seed {seed}\n\n{HEAD}"
    )
}

/// A line of the table.
pub fn line(row: &Row) -> String {
    let seconds = [row.seconds.reference, row.seconds.cold, row.seconds.warm];
    let [reference, cold, warm] = seconds.map(|of| of.map_or_else(String::new, |of| format!("{of:.3}")));
    format!("| {} | {} | {reference} | {cold} | {warm} |", row.case, compared(row))
}

/// The cells between name and times.
fn compared(row: &Row) -> String {
    let (Some(difference), Some(repeated)) = (&row.difference, &row.repeated) else {
        let failed = row.failed.as_deref().unwrap_or_default().replace(['|', '\n'], " ");
        return format!("| | | | | | | {} | **failed**: {failed} |", row.tolerance);
    };
    let percent = |share: f64| format!("{:.3} %", 100.0 * share);
    let counted = difference.margin.is_some() || matches!(row.tolerance, Tolerance::Share { .. });
    let share = if counted { percent(difference.share) } else { String::new() };
    let norm = difference.margin.map_or_else(String::new, |_| percent(difference.norm));
    let margin = difference.margin.map_or_else(String::new, percent);
    let answers = match difference.answers {
        0 => String::new(),
        all => format!("{} of {all}", difference.other_answers),
    };
    let result = match (row.passed, difference.finite) {
        (true, _) => "ok",
        (false, true) => "**differs**",
        (false, false) => "**not finite**",
    };
    let again =
        if repeated.absolute == 0.0 { "same bits".to_string() } else { format!("{:.1e}", repeated.absolute) };
    let Difference { absolute, relative, distance, .. } = difference;
    format!(
        "{absolute:.1e} | {relative:.1e} | {distance:.1e} | {share} | {norm} | {margin} | {answers} | {} | {result} | {again}",
        row.tolerance
    )
}

/// All of it with all digits.
pub fn json(about: &About, rows: &[Row]) -> String {
    format!("{:#}\n", json!({ "about": about, "rows": rows }))
}
