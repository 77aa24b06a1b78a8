//! The fault campaign of the examples at its smallest: what it finds is nothing, and what it would find it
//! says.

mod programs;

use std::process::{Output, Stdio};

use programs::example;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a campaign says that finds nothing.
fn faultless(arguments: &[&str]) -> String {
    let output = example("fault_campaign").args(arguments).output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success(), "{arguments:?}\n{said}{}", text(&output.stderr));
    said
}

#[test]
fn damaged_files_are_refused_or_read_as_they_should_be() {
    let said = faultless(&["--seed", "4", "mutate", "--inputs", "2000", "--jobs", "2"]);
    assert!(said.contains("mutate: 2000 inputs from seed 4") && said.contains(" 0 faults"), "{said}");
    let kinds = ["images", "checkpoints", "journals", "splits", "names", "reports", "archives", "responses"];
    for kind in kinds.into_iter().chain(["histories"]) {
        let line = said.lines().find(|line| line.starts_with(kind)).expect(kind);
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [inputs, read, refused, faults] = numbers[..] else { panic!("{line}") };
        assert!(inputs > 0 && read + refused == inputs && faults == 0, "{line}");
        // What is fed reaches the readers; a training goes on from an older checkpoint than a damaged one.
        assert!(refused > 0 || kind == "histories", "{line}");
    }
}

#[test]
fn an_input_is_the_same_whenever_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = |seed: &str, name: &str| {
        let path = folder.path().join(name);
        let arguments = ["--seed", seed, "mutate", "--replay", "images:17", "--keep", path.to_str().unwrap()];
        faultless(&arguments);
        std::fs::read(path).unwrap()
    };
    assert_eq!(bytes("3", "one"), bytes("3", "again"));
    assert_ne!(bytes("3", "one"), bytes("4", "other"));
}

#[cfg(unix)]
#[test]
fn killed_runs_go_on_to_the_same_result() {
    let said = faultless(&["kill", "--kills", "4"]);
    for subject in ["training", "battery", "report", "download"] {
        assert!(said.contains(&format!("kill: {subject}")), "{said}");
    }
}

#[test]
fn a_second_process_in_a_folder_refuses() {
    let said = faultless(&["together", "--times", "2"]);
    assert_eq!(said.lines().filter(|line| line.starts_with("together: ")).count(), 4, "{said}");
}

/// The end of an example whose output goes there.
fn into(output: Stdio) -> Output {
    example("own_model").stdout(output).stderr(Stdio::piped()).output().unwrap()
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_ends_an_example_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = into(writer.into());
    // As a shell counts SIGPIPE.
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(141), String::new()));

    // Nor does one end because nobody reads what it notes.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output =
        example("train").args(["--data", "/no/such/folder", "--out", "x"]).stderr(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_below_standard_output_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = into(full.into());
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: standard output: ") && said.lines().count() == 1, "{said}");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = example("train").arg("--help").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
}
