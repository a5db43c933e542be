//! Machines that run `lastmile-repo` inside the test process, and the folder to which they push.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use lastmile_cli_support::{Captured, ExitStatus, World};
use lastmile_client::{MemoryStore, Updater, blocking};
use lastmile_metadata::TargetPath;
use lastmile_repo_tool::internal::cli::run;
use serde_json::Value;
use tempfile::TempDir;

use crate::world::folder;

/// A machine with its own home folder and its own copy of the repository.
pub(super) struct Machine {
    pub(super) folder: TempDir,
    pub(super) now: DateTime<Utc>,
}

#[derive(Debug)]
pub(super) struct Ran {
    pub(super) status: ExitStatus,
    pub(super) json: Value,
    pub(super) stderr: String,
}

impl Ran {
    /// Returns the names of the uploaded files, without the hashes and versions in front of them.
    pub(super) fn sent(&self) -> Vec<String> {
        let names = self.json.pointer("/sent").and_then(Value::as_array).unwrap_or_else(|| panic!("{self:?}")).iter();
        names.map(|sent| plain(sent.get("name").unwrap().as_str().unwrap())).collect()
    }

    pub(super) fn done(self) -> Ran {
        assert_eq!(self.status, ExitStatus::Done, "{self:?}");
        self
    }

    /// Checks that the command failed with an error of the kind `kind`, and that the message contains `text`.
    pub(super) fn failed(self, kind: &str, text: &str) -> Ran {
        assert_eq!(self.json.pointer("/error/kind").unwrap(), kind, "{self:?}");
        assert!(self.stderr.contains(text), "{self:?}");
        self
    }
}

/// Removes a hash or a version from the start of a file name.
fn plain(name: &str) -> String {
    let (folder, file) = name.rsplit_once('/').unwrap();
    let Some((first, rest)) = file.split_once('.') else { return name.to_string() };
    let is_version = first.bytes().all(|byte| byte.is_ascii_digit());
    if is_version || first.len() == 64 { format!("{folder}/{rest}") } else { name.to_string() }
}

impl Machine {
    /// Creates a machine without a repository.
    pub(super) fn empty() -> Self {
        Self { folder: folder(), now: DateTime::from_timestamp(1_900_000_000, 0).unwrap() }
    }

    /// `init` contains additional arguments for the command `init`.
    pub(super) fn new(init: &[&str]) -> Self {
        let machine = Self::empty();
        machine.run(&[&["init", "--unencrypted-keys", "--immutable", "!*"], init].concat()).done();
        machine
    }

    pub(super) fn copy(&self) -> Self {
        let copy = Self { folder: folder(), now: self.now };
        copy_tree(self.folder.path(), copy.folder.path());
        copy
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    pub(super) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(&|_| None, args)
    }

    pub(super) fn run_with(&self, env: &dyn Fn(&str) -> Option<String>, args: &[&str]) -> Ran {
        let stdout = Captured::default();
        let stderr = Captured::default();
        let names = ["LASTMILE_REPO_ROOT_SHA256"];
        let variables: BTreeMap<&str, String> = names.iter().filter_map(|name| Some((*name, env(name)?))).collect();
        let repository = self.dir().into_os_string();
        let world = World {
            env: Box::new(move |name| match name {
                "LASTMILE_REPOSITORY" => Some(repository.clone()),
                _ => variables.get(name).map(OsString::from),
            }),
            home: Some(self.folder.path().join("home")),
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(stderr.clone()),
            ..World::isolated(self.now)
        };
        let status = run(["lastmile-repo", "--json"].iter().chain(args).map(OsString::from), world);
        let text = stdout.take_text();
        let json = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ran { status, json, stderr: stderr.take_text() }
    }

    pub(super) fn add(&self, name: &str, content: &str) {
        self.try_add(name, content).done();
    }

    pub(super) fn try_add(&self, name: &str, content: &str) -> Ran {
        let dist = tempfile::tempdir_in(self.folder.path()).unwrap();
        let path = dist.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self.run(&["add", dist.path().to_str().unwrap()])
    }

    pub(super) fn push(&self, site: &Path) -> Ran {
        self.run(&["push", "--to", site.to_str().unwrap()])
    }

    /// Returns the oldest root.
    pub(super) fn root(&self) -> Vec<u8> {
        fs::read(self.dir().join("metadata/1.root.json")).unwrap()
    }

    /// Fetches a target with a new client that updates from the folder `site`. Returns `None` if the target is not
    /// listed.
    pub(super) fn fetch(&self, site: &Path, name: &str) -> Option<Vec<u8>> {
        self.fetch_with(&MemoryStore::default(), site, name).unwrap()
    }

    /// Like [`Machine::fetch`], but the client keeps its trusted metadata in `store`.
    pub(super) fn fetch_with(
        &self,
        store: &MemoryStore,
        site: &Path,
        name: &str,
    ) -> Result<Option<Vec<u8>>, lastmile_client::Error> {
        let url = |folder: &str| format!("file://{}/{folder}/", site.display());
        let updater = Updater::builder(self.root()).mirror(url("metadata"), url("targets")).store(store.clone());
        let client = blocking::Updater::new(updater.build().unwrap()).unwrap();
        let mut session = client.refresh_at(self.now)?;
        let Some(target) = session.find(&TargetPath::new(name).unwrap())? else { return Ok(None) };
        session.read(&target).map(Some)
    }
}

/// Returns the content of all files below a folder, by their relative paths.
pub(super) fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    let files = files.filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| {
            let name = entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_string();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

pub(super) fn copy_tree(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let to = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(&to).unwrap();
            fs::set_permissions(to, entry.metadata().unwrap().permissions()).unwrap();
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Makes the folder contain exactly these files.
pub(super) fn restore(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for name in tree(folder).keys().filter(|name| !files.contains_key(*name)) {
        fs::remove_file(folder.join(name)).unwrap();
    }
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}
