//! Randomized smoothing: certificates that survive a kill.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use histoguard::data::{LabeledImages, Prepared};
use histoguard::defense::smoothing::{Certificate, Certified, CertifiedAccuracy, Tally};
use histoguard::file::write_whole;
use histoguard::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::common::defend::options::Options;
use crate::common::defend::row::Row;
use crate::common::failure::Failure;
use crate::common::interrupt::interrupted;

/// What is finished of the certificates.
#[derive(Serialize, Deserialize)]
struct Unfinished {
    settings: Value,
    tallies: Vec<Tally>,
}

/// The certificates of all test images, from the draws that an earlier run finished on.
pub fn certify(
    options: &Options,
    base: &Frozen,
    test: &Prepared,
    stop: &AtomicBool,
) -> Result<Vec<Certificate>, Failure> {
    let smoothing = options.smoothing();
    let path = options.out.join("unfinished").join("smoothing.json");
    let settings = serde_json::json!({ "smoothing": smoothing, "options": options });
    let mut state = read(&path, &settings)?;
    let mut certificates = Vec::with_capacity(test.len());
    for position in 0..test.len() {
        let batch = test.batch(&[position], base.device())?;
        if state.tallies.len() == position {
            state.tallies.push(Tally::new(batch.images.shape().num_elements(), base.num_classes()));
        }
        loop {
            let tally = &mut state.tallies[position];
            if let Some(certificate) = smoothing.certificate(tally) {
                certificates.push(certificate);
                break;
            }
            if stop.load(Ordering::Relaxed) {
                return Err(interrupted("stopped; go on with --resume and the same options"));
            }
            smoothing.certify_more(base, &batch.images, batch.indices[0], tally)?;
            let text = serde_json::to_vec(&state).expect("plain data serialises");
            write_whole(&path, &text).map_err(|error| {
                Failure::wrong(format!("{}: expected a file that can be written: {error}", path.display()))
            })?;
        }
        eprintln!("smoothing: {} of {} images certified", position + 1, test.len());
    }
    Ok(certificates)
}

fn read(path: &PathBuf, settings: &Value) -> Result<Unfinished, Failure> {
    let fresh = Unfinished { settings: settings.clone(), tallies: Vec::new() };
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(fresh),
        Err(error) => return Err(Failure::wrong(format!("{}: {error}", path.display()))),
    };
    let wrong = |found: String| {
        Failure::wrong(format!(
            "{}: expected draws of the same options, found {found}; choose another --out",
            path.display()
        ))
    };
    let state: Unfinished = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    if state.settings == *settings { Ok(state) } else { Err(wrong("those of others".into())) }
}

/// Certified accuracy of the test images.
pub fn accuracy(options: &Options, test: &Prepared, certificates: &[Certificate]) -> CertifiedAccuracy {
    let side = options.images.image_size();
    let groups: Vec<String> = (0..test.len()).map(|position| test.group(position)).collect();
    let images: Vec<Certified<'_>> = certificates
        .iter()
        .enumerate()
        .map(|(position, certificate)| Certified {
            certificate,
            label: test.label(position),
            group: &groups[position],
        })
        .collect();
    CertifiedAccuracy::new(options.smoothing(), 3 * side * side, test.classes(), &images)
}

/// Fills in what is proven: an L-infinity budget lies within an L2 radius that is longer by the root of the number of values.
pub fn add(row: &mut Row, options: &Options, accuracy: &CertifiedAccuracy) {
    let values = 3 * options.images.image_size().pow(2);
    for under in &mut row.budgets {
        under.certified = Some(accuracy.all.at(under.budget.size() * (values as f64).sqrt()));
    }
    row.detail = serde_json::to_value(accuracy).expect("plain data serialises");
}
