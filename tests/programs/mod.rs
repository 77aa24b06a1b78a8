//! The examples as programs, for their tests to share.

use std::path::Path;
use std::process::Command;

/// A built example; `cargo test` builds them beside the tests.
pub fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap().join("examples");
    let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(program.is_file(), "{} is not there: cargo build --examples makes it", program.display());
    Command::new(program)
}
