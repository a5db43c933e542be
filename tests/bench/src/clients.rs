//! The clients that the benches compare. Each client has its own folder for state and output.

use crate::process::{self, TIME_LIMIT, Used};
use crate::row::{Contestant, OURS};
use crate::{Setup, server::Server};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(crate) const PYTHON_TUF: &str = "python-tuf";
pub(crate) const TUF_JS: &str = "tuf-js";
pub(crate) const TOUGH: &str = "tough";

pub(crate) struct Clients<'a> {
    setup: &'a Setup,
    repository: PathBuf,
    url: String,
    scratch: PathBuf,
}

impl<'a> Clients<'a> {
    /// Creates clients for the repository in the folder `repository`, which is served at `url`. Each client has its own
    /// folder `SCRATCH/PROGRAM` in the temporary folder of the benches.
    pub(crate) fn new(setup: &'a Setup, repository: &Path, url: &str, scratch: &str) -> Self {
        let scratch = setup.scratch.join(scratch);
        Self { setup, repository: repository.to_path_buf(), url: url.to_owned(), scratch }
    }

    fn folder(&self, program: &str) -> PathBuf {
        self.scratch.join(program)
    }

    /// Deletes the state of the client, so that it has only the shipped root.
    pub(crate) fn forget(&self, program: &str) -> Result<(), String> {
        let folder = self.folder(program);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        if program == OURS {
            let metadata = self.metadata();
            let targets = self.targets();
            let root = self.root();
            let add = ["--state-dir", "state", "trust", "add", "bench", "--root", &root];
            let from = ["--metadata-url", &metadata, "--targets-url", &targets];
            process::run(&self.setup.client, &[&add[..], &from].concat(), &folder)?;
        }
        Ok(())
    }

    fn metadata(&self) -> String {
        format!("{}metadata/", self.url)
    }

    fn targets(&self) -> String {
        format!("{}targets/", self.url)
    }

    fn root(&self) -> String {
        self.repository.join("metadata/1.root.json").display().to_string()
    }

    /// Returns the command for `program` with the common arguments: the URLs of metadata and targets, the root, and the
    /// state folder.
    fn start(&self, program: &str) -> Command {
        let setup = self.setup;
        let folder = self.folder(program);
        let scripts = setup.project.join("tests/perf");
        let mut command;
        match program {
            PYTHON_TUF => {
                command = process::command(&setup.python, &folder);
                command.arg(scripts.join("python_tuf.py"));
            }
            TUF_JS => {
                command = process::command(Path::new("node"), &folder);
                command.arg(scripts.join("tuf_js.cjs"));
                command.env("NODE_MODULES", setup.project.join("target/interop/node/node_modules"));
            }
            TOUGH => {
                command = process::command(&setup.tough, &folder);
                command.args(["metadata", "targets"].map(|part| self.repository.join(part)));
                command.args([&self.root(), "state"]);
                return command;
            }
            _ => command = process::command(&setup.refresh, &folder),
        }
        command.args([&self.metadata(), &self.targets(), &self.root(), "state"]);
        command
    }

    /// If `names` is empty, the command fetches only the metadata.
    pub(crate) fn get(&self, program: &str, names: &[String]) -> Command {
        if program == OURS {
            return self.ours(names);
        }
        let mut command = self.start(program);
        command.arg("output").args(names);
        command
    }

    fn ours(&self, names: &[String]) -> Command {
        let mut command = process::command(&self.setup.client, &self.folder(OURS));
        // The targets metadata is longer than the client's default limit.
        command.args(["--quiet", "--state-dir", "state", "--limit", "targets_length=4000000000"]);
        if names.is_empty() {
            command.arg("refresh");
        } else {
            command.args(["get", "--output", "output"]).args(names);
        }
        command
    }

    /// Runs `program`, which refreshes twice in one process. Returns the duration of the second refresh, in seconds.
    /// The second refresh uses the connections that the first refresh opened.
    pub(crate) fn refresh_again(&self, program: &str) -> Result<f64, String> {
        self.forget(program)?;
        let output = self.start(program).output().map_err(|error| format!("{program}: {error}"))?;
        let out = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        out.trim().parse().map_err(|_| format!("{program} failed: {}", err.lines().last().unwrap_or_default()))
    }

    pub(crate) fn measure(&self, command: &Command, limit: Duration) -> Result<Used, String> {
        process::measure(&self.setup.python, command, limit)
    }

    /// Returns a [`Contestant`] that starts every round with only the shipped root, and fetches `names`.
    pub(crate) fn first(&'a self, program: &'static str, rounds: usize, names: &'a [String]) -> Contestant<'a> {
        self.contestant(program, rounds, move || {
            self.forget(program)?;
            self.measure(&self.get(program, names), TIME_LIMIT)
        })
    }

    /// Like [`Clients::first`], but with a single round and a shorter time limit, for a program that may be too slow to
    /// finish.
    pub(crate) fn tries(&'a self, program: &'static str, names: &'a [String]) -> Contestant<'a> {
        self.contestant(program, 1, move || {
            self.forget(program)?;
            self.measure(&self.get(program, names), self.setup.sizes.slow)
        })
    }

    /// Returns a [`Contestant`] that fetches `names` in each round, although it already has them from an earlier run.
    pub(crate) fn second(&'a self, program: &'static str, rounds: usize, names: &'a [String]) -> Contestant<'a> {
        self.contestant(program, rounds, move || self.measure(&self.get(program, names), TIME_LIMIT))
    }

    /// Calls `turn` once in each round. Without `--peers`, other implementations have no rounds.
    pub(crate) fn contestant(
        &self,
        program: &'static str,
        rounds: usize,
        turn: impl FnMut() -> Result<Used, String> + 'a,
    ) -> Contestant<'a> {
        let rounds = if program == OURS || self.setup.peers { rounds } else { 0 };
        Contestant { program, rounds, turn: Box::new(turn) }
    }

    pub(crate) fn bytes_of_refresh(&self, program: &'static str, server: &Server) -> Result<f64, String> {
        server.take_log();
        self.measure(&self.get(program, &[]), TIME_LIMIT)?;
        Ok(server.take_log().bytes as f64)
    }
}
