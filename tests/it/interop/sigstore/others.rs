//! Runs @sigstore/verify, which is installed with a fixed version.

use std::path::Path;
use std::process::Command;

use super::super::programs::{installed, project};
use super::workshop::Verdict;

/// Lets @sigstore/verify verify a bundle that a key signed.
pub(crate) fn js_verifies(bundle: &Path, file: &Path, key: &Path) -> Verdict {
    answer(javascript().arg("key").args([bundle, file, key]))
}

fn javascript() -> Command {
    let mut command = Command::new("node");
    command.env("NODE_MODULES", installed("node/node_modules"));
    command.arg(project("tests/interop/verify_with_sigstore_js.cjs"));
    command
}

/// Runs a script that prints "ok" or an error.
fn answer(command: &mut Command) -> Verdict {
    let said = command.output().unwrap();
    let answer = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    assert!(said.status.success() && !answer.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));
    if answer == "ok" { Ok(()) } else { Err(answer) }
}
