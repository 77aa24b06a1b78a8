//! The parity program, with the crate's CPU kernels beside burn's own operations.
#![cfg(feature = "flex")]

#[allow(dead_code)]
#[path = "programs/ends.rs"]
mod ends;
mod programs;

use std::path::Path;

use ends::{fail, run, succeed};
use programs::example;
use serde_json::Value;

/// The rows of a table that was written as JSON.
fn rows(path: &Path) -> Vec<Value> {
    let table: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(table["about"]["network"], "small");
    table["rows"].as_array().unwrap().clone()
}

#[test]
fn kernels_and_operations_compute_the_same_and_a_difference_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("parity.json");
    let said = succeed(example("parity").arg("--json").arg(&json));
    let found = rows(&json);
    assert_eq!(found.len(), 18);
    for row in &found {
        let case = row["case"].as_str().unwrap();
        assert!(said.contains(&format!("| {case} | ")), "{case} in\n{said}");
        assert!(row["passed"] == true && row["failed"].is_null(), "{row}");
        assert_eq!(row["repeated"]["absolute"], 0.0, "{case} is the same again");
    }
    // They are two ways to compute, so the last digits differ.
    let difference = |row: &Value| row["difference"]["relative"].as_f64().unwrap();
    let forward = difference(&found[0]);
    assert!(forward > 0.0, "{forward}");

    // With no tolerance, what differs at all is too far.
    let out =
        run(example("parity").args(["--cases", "forward,gradient", "--tolerance", "0", "--json"]).arg(&json));
    let error = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(3), "{error}");
    assert!(error.contains("error: out of tolerance: forward, gradient"), "{error}");
    let strict = rows(&json);
    assert!(strict.len() == 2 && strict[0]["passed"] == false && difference(&strict[0]) == forward);
}

#[test]
fn wrong_options_end_in_one_line_that_names_them() {
    let parity = |words: &[&str]| {
        let mut command = example("parity");
        command.args(words);
        command
    };
    fail(&mut parity(&["--device", "tpu"]), "--device");
    for (device, built) in [("wgpu", cfg!(feature = "wgpu")), ("cuda", cfg!(feature = "cuda"))] {
        if !built {
            fail(
                &mut parity(&["--device", device]),
                &format!("--device {device}: expected a device of this build (flex"),
            );
        }
    }
    fail(parity(&[]).env("HISTOGUARD_KERNELS", "off"), "HISTOGUARD_KERNELS");
    fail(&mut parity(&["--cases", "forward,backward"]), "found backward");
    fail(&mut parity(&["--image-size", "8"]), "--image-size: expected at least 16, found 8");
    fail(&mut parity(&["--network", "densenet121", "--image-size", "28"]), "at least 29, found 28");
    fail(&mut parity(&["--images", "3"]), "--images: expected an even number");
    fail(&mut parity(&["--tolerance=-1"]), "--tolerance: expected a number of at least 0");
    // No folder can be made below a file.
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("parity.json");
    fail(parity(&["--cases", "forward", "--json"]).arg(&below), &below.display().to_string());
}
