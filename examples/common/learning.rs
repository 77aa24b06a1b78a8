//! What the examples that learn an attack share.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use histoguard::data::{LabeledImages, Prepared};
use histoguard::file::{IoError, write_whole};
use histoguard::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::common::failure::Failure;

/// Whether what is in the folder comes from this checkpoint and these options; says there what it comes from.
pub fn same_work(options: &impl Serialize, checkpoint: &Path, out: &Path) -> Result<(), Failure> {
    let bytes = std::fs::read(checkpoint).map_err(IoError::at(checkpoint, "a checkpoint"))?;
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let own = serde_json::json!({ "options": options, "checkpoint_sha256": digest });
    let path = out.join("learned_from.json");
    if !path.exists() {
        let text = format!("{}\n", serde_json::to_string_pretty(&own)?);
        return Ok(write_whole(&path, text.as_bytes()).map_err(IoError::at(&path, "a file to write"))?);
    }
    let text = std::fs::read(&path).map_err(IoError::at(&path, "what is beside it comes from"))?;
    match serde_json::from_slice::<serde_json::Value>(&text).is_ok_and(|found| found == own) {
        true => Ok(()),
        false => Err(Failure::wrong(format!(
            "{}: expected this checkpoint and these options, found others; another --out starts anew",
            path.display()
        ))),
    }
}

/// The number of the class that `--target` names.
pub fn class(images: &Prepared, name: &str) -> Result<usize, Failure> {
    let found = images.classes().iter().position(|class| class == name);
    found.ok_or_else(|| {
        Failure::wrong(format!("--target: expected one of {}, found {name}", images.classes().join(", ")))
    })
}

/// Stops whatever attacks the victim once the flag is set.
pub fn stop_with(victim: &Frozen, stop: &'static AtomicBool) {
    let watch = victim.watch().clone();
    victim.watch().on_step(move |_| {
        if stop.load(Ordering::Relaxed) {
            watch.stop();
        }
    });
}
