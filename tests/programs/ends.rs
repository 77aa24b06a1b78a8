//! How a program ends.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

pub fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}\n{error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Exit code 2 and one line that names `wanted`.
pub fn fail(command: &mut Command, wanted: &str) {
    let output = run(command);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{command:?}\n{error}");
    assert!(error.contains(wanted) && !error.contains("panicked"), "{command:?}\n{error}");
    let lines = error.lines().filter(|line| line.starts_with("error:")).count();
    assert_eq!(lines, 1, "{error}");
}

/// Kills the command, as the system does where memory is short, once this path is there.
pub fn kill_at(command: &mut Command, path: &Path) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !path.exists() {
        assert!(child.try_wait().unwrap().is_none(), "ended before {}", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
