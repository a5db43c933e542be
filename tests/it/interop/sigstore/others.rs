//! Runs verifiers of other projects in pinned versions: sigstore-python, pypi-attestations and @sigstore/verify.

use std::path::Path;
use std::process::Command;

use super::super::programs::{installed, project};
use super::workshop::Verdict;

/// Uses @sigstore/verify to verify a bundle that was signed with a key.
pub(crate) fn js_verifies(bundle: &Path, file: &Path, key: &Path) -> Verdict {
    answer(javascript().arg("key").args([bundle, file, key]))
}

/// Uses @sigstore/verify to verify a bundle that contains a certificate. @sigstore/verify does not compare the subject
/// of the statement.
pub(crate) fn js_verifies_identity(bundle: &Path, root: &Path, subject: &str, issuer: &str) -> Verdict {
    answer(javascript().arg("identity").args([bundle, root]).args([subject, issuer]))
}

pub(crate) fn python_verifies(bundle: &Path, root: &Path, subject: &str, issuer: &str, sha256: &str) -> Verdict {
    answer(python().arg("bundle").args([bundle, root]).args([subject, issuer, sha256]))
}

/// Uses pypi-attestations to verify an attestation or provenance object of the Python package index.
pub(crate) fn pypi_verifies(evidence: &Path, name: &str, subject: &str, issuer: &str, sha256: &str) -> Verdict {
    answer(python().arg("pep740").arg(evidence).args([name, subject, issuer, sha256]))
}

fn javascript() -> Command {
    let mut command = Command::new("node");
    command.env("NODE_MODULES", installed("node/node_modules"));
    command.arg(project("tests/interop/verify_with_sigstore_js.cjs"));
    command
}

fn python() -> Command {
    let mut command = Command::new(installed("sigstore-venv/bin/python"));
    command.arg(project("tests/interop/verify_with_sigstore_python.py"));
    command
}

/// Runs a script that prints "ok" or an error.
fn answer(command: &mut Command) -> Verdict {
    let output = command.output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success() && !answer.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    if answer == "ok" { Ok(()) } else { Err(answer) }
}
