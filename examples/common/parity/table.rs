//! What was compared, as Markdown and as JSON.

use std::fmt::Write;

use serde::Serialize;
use serde_json::json;

use super::case::Row;
use super::compare::Tolerance;
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
| case | largest difference | relative | values that differ | norms | other answers | tolerance | | second run | CPU, s | cold, s | warm, s |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";

/// The table, under a line that says of what.
pub fn markdown(about: &About, rows: &[Row]) -> String {
    let About { device, network, image_size, images, seed, autotune } = about;
    let tuned = if *autotune { ", autotune" } else { "" };
    let mut text = format!(
        "{device}{tuned} against the CPU: {network:?}, {images} images of {image_size}x{image_size}, seed {seed}\n\n{HEAD}"
    );
    for row in rows {
        let result = if row.passed { "ok" } else { "**differs**" };
        let cells = match (&row.difference, &row.repeated) {
            (Some(difference), Some(repeated)) => {
                let share = match row.tolerance {
                    Tolerance::Share { .. } => format!("{:.3} %", 100.0 * difference.share),
                    Tolerance::Relative(_) | Tolerance::Norm(_) => String::new(),
                };
                let norm = match row.tolerance {
                    Tolerance::Norm(_) => format!("{:.3} %", 100.0 * difference.norm),
                    Tolerance::Relative(_) | Tolerance::Share { .. } => String::new(),
                };
                let answers = match difference.answers {
                    0 => String::new(),
                    all => format!("{} of {all}", difference.other_answers),
                };
                let again = match repeated.absolute {
                    0.0 => "same bits".to_string(),
                    apart => format!("{apart:.1e}"),
                };
                let finite = if difference.finite { result } else { "**not finite**" };
                format!(
                    "{:.1e} | {:.1e} | {share} | {norm} | {answers} | {} | {finite} | {again}",
                    difference.absolute, difference.relative, row.tolerance
                )
            }
            _ => {
                let failed = row.failed.as_deref().unwrap_or_default().replace(['|', '\n'], " ");
                format!("| | | | | {} | **failed**: {failed} | ", row.tolerance)
            }
        };
        let seconds = [row.seconds.reference, row.seconds.cold, row.seconds.warm];
        let [reference, cold, warm] = seconds.map(|of| of.map_or_else(String::new, |of| format!("{of:.3}")));
        let _ = write!(text, "\n| {} | {cells} | {reference} | {cold} | {warm} |", row.case);
    }
    text
}

/// The same with all digits.
pub fn json(about: &About, rows: &[Row]) -> String {
    format!("{:#}\n", json!({ "about": about, "rows": rows }))
}
