//! The clients that are compared, each with its own folder of state and output.

use super::process::{self, PATIENCE, Used};
use super::row::{Contestant, OURS};
use super::{Place, server::Server};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(crate) const PYTHON_TUF: &str = "python-tuf";
pub(crate) const TUF_JS: &str = "tuf-js";
pub(crate) const TOUGH: &str = "tough";

/// Clients who visit one repository.
pub(crate) struct Visit<'a> {
    place: &'a Place,
    repository: PathBuf,
    url: String,
    scratch: PathBuf,
}

impl<'a> Visit<'a> {
    /// `url` leads to what `repository` holds; `scratch` is the visitors' own.
    pub(crate) fn new(place: &'a Place, repository: &Path, url: &str, scratch: &str) -> Self {
        let scratch = place.scratch.join(scratch);
        Self { place, repository: repository.to_path_buf(), url: url.to_owned(), scratch }
    }

    fn folder(&self, program: &str) -> PathBuf {
        self.scratch.join(program)
    }

    /// A client that was never here, but for the root it is shipped with.
    pub(crate) fn forget(&self, program: &str) -> Result<(), String> {
        let folder = self.folder(program);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        if program == OURS {
            let (metadata, targets, root) = (self.metadata(), self.targets(), self.root());
            let add = ["--state-dir", "state", "trust", "add", "bench", "--root", &root];
            let from = ["--metadata-url", &metadata, "--targets-url", &targets];
            process::run(&self.place.client, &[&add[..], &from].concat(), &folder)?;
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

    /// `program` with the arguments that all take: where metadata and targets are, the root, and where to keep state.
    fn start(&self, program: &str) -> Command {
        let (place, folder) = (self.place, self.folder(program));
        let scripts = place.project.join("tests/perf");
        let mut command;
        match program {
            PYTHON_TUF => {
                command = process::command(&place.python, &folder);
                command.arg(scripts.join("python_tuf.py"));
            }
            TUF_JS => {
                command = process::command(Path::new("node"), &folder);
                command.arg(scripts.join("tuf_js.cjs"));
                command.env("NODE_MODULES", place.project.join("target/interop/node/node_modules"));
            }
            TOUGH => {
                command = process::command(&place.tough, &folder);
                command.args(["metadata", "targets"].map(|part| self.repository.join(part)));
                command.args([&self.root(), "state"]);
                return command;
            }
            _ => command = process::command(&place.refresh, &folder),
        }
        command.args([&self.metadata(), &self.targets(), &self.root(), "state"]);
        command
    }

    /// `program` fetching `names`, or only the metadata if there are none.
    pub(crate) fn get(&self, program: &str, names: &[String]) -> Command {
        if program == OURS {
            return self.ours(names);
        }
        let mut command = self.start(program);
        command.arg("output").args(names);
        command
    }

    fn ours(&self, names: &[String]) -> Command {
        let mut command = process::command(&self.place.client, &self.folder(OURS));
        // Larger files than it reads by default.
        command.args(["--quiet", "--state-dir", "state", "--limit", "targets_length=4000000000"]);
        if names.is_empty() {
            command.arg("refresh");
        } else {
            command.args(["get", "--output", "output"]).args(names);
        }
        command
    }

    /// `program` refreshing twice over one connection, and saying how long the second time took.
    pub(crate) fn refresh_again(&self, program: &str) -> Result<f64, String> {
        self.forget(program)?;
        let said = self.start(program).output().map_err(|error| format!("{program}: {error}"))?;
        let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        out.trim().parse().map_err(|_| format!("{program} failed: {}", err.lines().last().unwrap_or_default()))
    }

    /// Runs and measures.
    pub(crate) fn measure(&self, command: &Command, limit: Duration) -> Result<Used, String> {
        process::measure(&self.place.python, command, limit)
    }

    /// A contestant who gets `names` for the first time in each turn.
    pub(crate) fn first(&'a self, program: &'static str, rounds: usize, names: &'a [String]) -> Contestant<'a> {
        self.contestant(program, rounds, move || {
            self.forget(program)?;
            self.measure(&self.get(program, names), PATIENCE)
        })
    }

    /// One who may be unable to, and is not waited for as long as others.
    pub(crate) fn tries(&'a self, program: &'static str, names: &'a [String]) -> Contestant<'a> {
        self.contestant(program, 1, move || {
            self.forget(program)?;
            self.measure(&self.get(program, names), self.place.sizes.slow)
        })
    }

    /// A contestant who got `names` before.
    pub(crate) fn second(&'a self, program: &'static str, rounds: usize, names: &'a [String]) -> Contestant<'a> {
        self.contestant(program, rounds, move || self.measure(&self.get(program, names), PATIENCE))
    }

    /// Does `turn` in so many rounds, or never if peers are not asked for.
    pub(crate) fn contestant(
        &self,
        program: &'static str,
        rounds: usize,
        turn: impl FnMut() -> Result<Used, String> + 'a,
    ) -> Contestant<'a> {
        let rounds = if program == OURS || self.place.peers { rounds } else { 0 };
        Contestant { program, rounds, turn: Box::new(turn) }
    }

    /// How many bytes `program` was sent while it refreshed.
    pub(crate) fn bytes_of_refresh(&self, program: &'static str, server: &Server) -> Result<f64, String> {
        server.asked();
        self.measure(&self.get(program, &[]), PATIENCE)?;
        Ok(server.asked().bytes as f64)
    }
}
