//! A repository that `lastmile-repo` made, a server for its files, and the home directory of its maintainer.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_repo_tool::internal::cli::{self, ExitStatus, World};
use lastmile_testkit::{FakeNetwork, METADATA, Request, Server};
use serde_json::Value;
use tempfile::TempDir;

#[derive(Debug)]
pub(super) struct Ran {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Ran {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the kinds of the reported problems.
    pub(super) fn problems(&self) -> Vec<String> {
        let problems = self.json()["problems"].as_array().unwrap().clone();
        problems.iter().map(|problem| problem["kind"].as_str().unwrap().to_owned()).collect()
    }
}

#[derive(Clone, Default)]
pub(super) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) struct Site {
    pub(super) folder: TempDir,
    pub(super) now: DateTime<Utc>,
    pub(super) network: FakeNetwork,
    pub(super) server: Server,
    /// The header lines of all requests.
    pub(super) headers: Arc<Mutex<Vec<String>>>,
}

impl Site {
    /// Creates a repository and uploads its metadata to the server.
    pub(super) fn new() -> Site {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let network = FakeNetwork::new();
        let headers = Arc::new(Mutex::new(Vec::new()));
        let files = network.clone();
        let record = Arc::clone(&headers);
        let server = Server::responding(Arc::new(move |request: &Request, _: &mut _| {
            record.lock().unwrap().push(format!("{}\n{}", request.path, request.header.join("\n")));
            Ok(Some(files.answer(&request.path)))
        }));
        let now = "2030-01-01T12:00:00Z".parse().unwrap();
        let site = Site { folder, now, network, server, headers };
        site.done(&["init", "--unencrypted-keys", "--metadata-url", &site.url()]);
        site.upload();
        site
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    pub(super) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(super) fn config(&self) -> PathBuf {
        self.home().join(".config/lastmile-repo/config.toml")
    }

    /// Returns the metadata URL.
    pub(super) fn url(&self) -> String {
        format!("{}{METADATA}", self.server.url())
    }

    pub(super) fn days_pass(&mut self, days: i64) {
        self.now += TimeDelta::days(days);
    }

    pub(super) fn upload(&self) {
        copy_to(&self.dir(), &self.network);
    }

    pub(super) fn run(&self, args: &[&str]) -> Ran {
        self.run_in(self.dir(), args)
    }

    pub(super) fn run_in(&self, dir: PathBuf, args: &[&str]) -> Ran {
        let stdout = Written::default();
        let stderr = Written::default();
        let world = World {
            env: Box::new(move |name| (name == "LASTMILE_REPOSITORY").then(|| dir.clone().into_os_string())),
            home: Some(self.home()),
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(stderr.clone()),
            ..World::isolated(self.now)
        };
        let status = cli::run(["lastmile-repo"].iter().chain(args).map(OsString::from), world);
        Ran { status, stdout: stdout.text(), stderr: stderr.text() }
    }

    /// Runs a command for a folder that is not a repository.
    pub(super) fn run_elsewhere(&self, args: &[&str]) -> Ran {
        self.run_in(self.folder.path().to_path_buf(), args)
    }

    pub(super) fn done(&self, args: &[&str]) {
        let ran = self.run(args);
        assert_eq!(ran.status, ExitStatus::Done, "{args:?}: {ran:?}");
    }

    /// Publishes a new target in the repository, but does not upload the new metadata.
    pub(super) fn add(&self, name: &str) {
        let file = self.path("file");
        fs::write(&file, name).unwrap();
        self.done(&["add", &file, "--name", name, "--quiet", "--skip-served-check"]);
    }
}

pub(super) fn copy_to(dir: &std::path::Path, network: &FakeNetwork) {
    for entry in fs::read_dir(dir.join("metadata")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        network.put(&format!("{METADATA}{name}"), fs::read(entry.path()).unwrap());
    }
}
