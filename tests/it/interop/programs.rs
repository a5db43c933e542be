//! Runs programs of other projects: the clients of python-tuf and tuf-js, and a script that makes repositories with
//! python-tuf.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lastmile_testkit::FakeNetwork;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tempfile::TempDir;

/// The characters to percent-encode in a URL path: all except ASCII letters, digits and `-._~/`.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// `path` is relative to the workspace.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Returns the path of a file that `cargo xtask setup` installs.
pub(crate) fn installed(path: &str) -> PathBuf {
    let path = project("target/interop").join(path);
    assert!(path.exists(), "{} is missing; run `cargo xtask setup`", path.display());
    path
}

/// A repository that python-tuf made, in one or more states.
pub(crate) struct Foreign {
    folder: TempDir,
}

impl Foreign {
    /// Runs `tests/interop/make_with_python_tuf.py`, which defines the scenarios.
    pub(crate) fn make(scenario: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new(installed("venv/bin/python"))
            .arg(project("tests/interop/make_with_python_tuf.py"))
            .arg(scenario)
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{scenario}: {}", String::from_utf8_lossy(&made.stderr));
        Self { folder }
    }

    pub(crate) fn root(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("root.json")).unwrap()
    }

    /// Replaces the files on `network` with the files of `state`.
    pub(crate) fn publish(&self, state: u32, network: &FakeNetwork) {
        for path in network.files().into_keys() {
            network.remove(&path);
        }
        let folder = self.folder.path().join(state.to_string());
        for top in ["metadata", "targets"] {
            for file in files_below(&folder.join(top)) {
                let bytes = fs::read(folder.join(top).join(&file)).unwrap();
                // The metadata files on the disk already have percent-encoded names.
                let name = if top == "targets" { utf8_percent_encode(&file, IN_PATH).to_string() } else { file };
                network.put(&format!("{top}/{name}"), bytes);
            }
        }
    }

    pub(crate) fn contents(&self, state: u32) -> BTreeMap<String, String> {
        let text = fs::read(self.folder.path().join(state.to_string()).join("contents.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

/// Returns paths relative to `folder`, with `/` as separator.
pub(crate) fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_below(&entry.path()).into_iter().map(|below| format!("{name}/{below}")));
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

/// A TUF client of another project, with its own state.
pub(crate) struct Client {
    command: fn() -> Command,
    folder: TempDir,
    root: PathBuf,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// The client succeeded. The first field contains the trusted versions of root, timestamp, snapshot and targets.
    /// The second field contains the content of each requested target, or `None` if the client did not find the target.
    Fetched([u64; 4], Vec<Option<Vec<u8>>>),
    /// The client failed. The fields are the name and the message of the error.
    Refused(String, String),
}

impl Client {
    pub(crate) fn python_tuf(root: &[u8]) -> Self {
        Self::new(root, || {
            let mut command = Command::new(installed("venv/bin/python"));
            command.arg(project("tests/interop/fetch_with_python_tuf.py"));
            command
        })
    }

    pub(crate) fn tuf_js(root: &[u8]) -> Self {
        Self::new(root, || {
            let mut command = Command::new("node");
            command.env("NODE_MODULES", installed("node/node_modules"));
            command.arg(project("tests/interop/fetch_with_tuf_js.cjs"));
            command
        })
    }

    fn new(root: &[u8], command: fn() -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shipped = folder.path().join("shipped.json");
        fs::write(&shipped, root).unwrap();
        Self { command, folder, root: shipped }
    }

    pub(crate) fn fetch(&self, base: &str, names: &[&str]) -> Answer {
        let state = self.folder.path().join("state");
        let output = self.folder.path().join("output");
        if output.exists() {
            fs::remove_dir_all(&output).unwrap();
        }
        let printed = (self.command)()
            .args([format!("{base}metadata/"), format!("{base}targets/")])
            .args([&self.root, &state, &output])
            .args(names)
            .output()
            .unwrap();
        let answer: Value = serde_json::from_slice(&printed.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&printed.stderr)));
        if let Some(error) = answer["error"].as_str() {
            return Answer::Refused(error.to_owned(), answer["message"].to_string());
        }
        let version = |role| answer["versions"][role].as_u64().unwrap();
        let found = answer["found"].as_array().unwrap().iter().enumerate();
        Answer::Fetched(
            ["root", "timestamp", "snapshot", "targets"].map(version),
            found
                .map(|(number, found)| {
                    found.as_bool().unwrap().then(|| fs::read(output.join(number.to_string())).unwrap())
                })
                .collect(),
        )
    }
}
