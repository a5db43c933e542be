//! The results of commands that print JSON.

use std::process::{Command, Output};

use serde_json::Value;

#[derive(Debug)]
pub(super) struct Ran {
    pub(super) status: i32,
    pub(super) json: Value,
    pub(super) stderr: String,
}

/// Runs a command that prints JSON. Panics if its output contains one of `secrets`.
pub(super) fn run(mut command: Command, secrets: &[&str]) -> Ran {
    ran(command.output().unwrap(), secrets)
}

pub(super) fn ran(output: Output, secrets: &[&str]) -> Ran {
    let Output { status, stdout, stderr } = output;
    let stdout = String::from_utf8(stdout).unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    for output in [&stdout, &stderr] {
        assert!(secrets.iter().all(|secret| !output.contains(secret)), "{output}");
    }
    Ran { status: status.code().unwrap(), json: serde_json::from_str(&stdout).unwrap_or_default(), stderr }
}

impl Ran {
    pub(super) fn done(self) -> Ran {
        assert_eq!(self.status, 0, "{self:?}");
        self
    }

    pub(super) fn failed(self, kind: &str, text: &str) {
        assert_eq!(self.json["error"]["kind"], kind, "{self:?}");
        assert!(self.stderr.contains(text), "{self:?}");
    }
}
