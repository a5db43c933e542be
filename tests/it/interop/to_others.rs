//! Tests that clients of other projects can fetch from repositories that `lastmile-repo` made.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use lastmile_repo_tool::internal::cli::{self, ExitStatus, World};
use lastmile_repo_tool::internal::server;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::programs::{Answer, Client};
use super::tough;

/// Target names with folders, spaces, non-ASCII letters, and characters that have a special meaning in URLs.
const NAMES: [(&str, &str); 5] = [
    ("plain.txt", "one line\n"),
    ("sub/folder/with space.txt", "two\nlines\n"),
    ("größe/日本語-🦀.tar.gz", "näme and content"),
    ("a+b&c=d;e,f@g!.txt", "characters that are legal in URLs"),
    ("empty", ""),
];

/// A maintainer's repository, and a server that serves it during the test.
struct Maintainer {
    folder: TempDir,
    /// Runs the server on threads of its own, because commands block the thread of the test.
    runtime: Runtime,
    url: String,
}

impl Maintainer {
    fn new(options: &[&str]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let maintainer = Self { folder: tempfile::tempdir().unwrap(), runtime, url: String::new() };
        // `revoke` needs a pass-phrase, because it encrypts new keys.
        let phrase = maintainer.folder.path().join("phrase");
        fs::write(&phrase, "only for tests").unwrap();
        fs::set_permissions(&phrase, fs::Permissions::from_mode(0o600)).unwrap();
        maintainer.run(&[&["init", "--unencrypted-keys", "--immutable", "!*"], options].concat());
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = maintainer.runtime.block_on(server::Server::bind(&maintainer.repository(), loopback)).unwrap();
        let url = format!("http://{}/", server.address().unwrap());
        maintainer.runtime.spawn(server.run(|_| ()));
        Self { url, ..maintainer }
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    fn root(&self) -> Vec<u8> {
        fs::read(self.repository().join("metadata/1.root.json")).unwrap()
    }

    fn run(&self, arguments: &[&str]) {
        let fixed =
            ["lastmile-repo".into(), "--quiet".into(), "--repository".into(), self.repository().into_os_string()];
        let phrase = ["--pass-phrase-file".into(), self.folder.path().join("phrase").into_os_string()];
        let config = ["--config".into(), self.folder.path().join("config.toml").into_os_string()];
        let all = fixed.into_iter().chain(phrase).chain(config).chain(arguments.iter().map(OsString::from));
        assert_eq!(cli::run(all, World::system()), ExitStatus::Done, "lastmile-repo {}", arguments.join(" "));
    }

    /// Publishes `files` (names and contents) with `lastmile-repo add` and the arguments `options`.
    fn add(&self, files: &[(&str, &str)], options: &[&str]) {
        let new = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = new.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        self.run(&[&["add", &path_of(new.path())], options].concat());
    }

    fn key(&self, name: &str) -> String {
        self.run(&["key", "generate", name, "--unencrypted"]);
        format!("file:keys/{name}.pem")
    }
}

fn path_of(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Returns the expected answer of a client that first requests the existing targets `files`, and then requests targets
/// that do not exist. `absent` is the number of missing targets.
fn holding(versions: [u64; 4], files: &[(&str, &str)], absent: usize) -> Answer {
    let found = files.iter().map(|(_, content)| Some(content.as_bytes().to_vec()));
    Answer::Fetched(versions, found.chain(std::iter::repeat_n(None, absent)).collect())
}

/// Makes each client fetch `files` and search for the targets `absent`, which do not exist.
fn all_fetch(clients: &[Client], maintainer: &Maintainer, versions: [u64; 4], files: &[(&str, &str)], absent: &[&str]) {
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).chain(absent.iter().copied()).collect();
    for client in clients {
        assert_eq!(client.fetch(&maintainer.url, &names), holding(versions, files, absent.len()));
    }
}

/// Makes tough load the whole repository, read `files`, and search for the targets `absent`, which do not exist.
fn tough_reads(maintainer: &Maintainer, files: &[(&str, &str)], absent: &[&str]) {
    maintainer.runtime.block_on(async {
        let repository = tough::load(&maintainer.repository(), &maintainer.root()).await.unwrap();
        for (name, content) in files {
            assert_eq!(tough::read(&repository, name).await.as_deref(), Some(content.as_bytes()), "{name}");
        }
        for name in absent {
            assert_eq!(tough::read(&repository, name).await, None, "{name}");
        }
    });
}

fn clients(maintainer: &Maintainer) -> [Client; 2] {
    [Client::python_tuf(&maintainer.root()), Client::tuf_js(&maintainer.root())]
}

#[test]
fn names_of_all_kinds() {
    let maintainer = Maintainer::new(&[]);
    maintainer.add(&NAMES, &[]);
    all_fetch(&clients(&maintainer), &maintainer, [1, 2, 2, 2], &NAMES, &["none", "größe"]);
    tough_reads(&maintainer, &NAMES, &["none"]);
}

#[test]
fn without_consistent_snapshots() {
    let maintainer = Maintainer::new(&["--no-consistent-snapshot"]);
    maintainer.add(&NAMES, &[]);
    all_fetch(&clients(&maintainer), &maintainer, [1, 2, 2, 2], &NAMES, &["none"]);
    tough_reads(&maintainer, &NAMES, &["none"]);
}

#[test]
fn ecdsa_keys_and_thresholds() {
    let options = ["--scheme", "ecdsa-p256", "--threshold", "targets=2", "--threshold", "timestamp=2"];
    let maintainer = Maintainer::new(&options);
    maintainer.add(&NAMES, &[]);
    all_fetch(&clients(&maintainer), &maintainer, [1, 2, 2, 2], &NAMES, &[]);
    tough_reads(&maintainer, &NAMES, &[]);
}

#[test]
fn delegations() {
    let maintainer = Maintainer::new(&[]);
    maintainer.add(&[("top.txt", "top")], &[]);
    let team = maintainer.key("team-1");
    let partner = maintainer.key("partner-1");
    maintainer.run(&["delegate", "team ü+", "--paths", "libs/*", "libs/*/*", "--key", &team]);
    maintainer.run(&[
        "delegate",
        "partner",
        "--paths",
        "libs/partner/*",
        "--key",
        &partner,
        "--from",
        "team ü+",
        "--terminating",
    ]);
    maintainer.add(&[("ä.tar.gz", "by the team")], &["--under", "libs", "--role", "team ü+"]);
    maintainer.add(&[("deep.tar.gz", "by the partner")], &["--under", "libs/partner", "--role", "partner"]);
    let files = [("top.txt", "top"), ("libs/ä.tar.gz", "by the team"), ("libs/partner/deep.tar.gz", "by the partner")];
    let clients = clients(&maintainer);
    all_fetch(&clients, &maintainer, [1, 6, 6, 3], &files, &["libs/none", "libs/partner/none"]);
    tough_reads(&maintainer, &files, &["libs/none"]);
    // The team can publish a release without changing the root or the top-level targets.
    maintainer.add(&[("ä.tar.gz", "by the team, second release")], &["--under", "libs", "--role", "team ü+"]);
    let files = [("top.txt", "top"), ("libs/ä.tar.gz", "by the team, second release")];
    all_fetch(&clients, &maintainer, [1, 7, 7, 3], &files, &[]);
    tough_reads(&maintainer, &files, &[]);
    maintainer.run(&["undelegate", "team ü+"]);
    all_fetch(&clients, &maintainer, [1, 8, 8, 4], &[("top.txt", "top")], &["libs/ä.tar.gz"]);
}

#[test]
fn tap_15_succinct_bins() {
    let maintainer = Maintainer::new(&[]);
    maintainer.add(&NAMES, &[]);
    maintainer.run(&["bins", "--bit-length", "4"]);
    let clients = clients(&maintainer);
    all_fetch(&clients, &maintainer, [1, 3, 3, 3], &NAMES, &["none"]);
    maintainer.add(&[("sub/later.txt", "later")], &[]);
    all_fetch(&clients, &maintainer, [1, 4, 4, 3], &[("sub/later.txt", "later")], &["none"]);
    // tough does not support TAP 15 and reports an error.
    let refused = maintainer.runtime.block_on(tough::load(&maintainer.repository(), &maintainer.root()));
    assert!(matches!(refused, Err(::tough::error::Error::ParseMetadata { .. })));
}

#[test]
fn bins_by_hash_prefix() {
    let maintainer = Maintainer::new(&[]);
    maintainer.add(&NAMES, &[]);
    maintainer.run(&["bins", "--bit-length", "3", "--prefixes"]);
    all_fetch(&clients(&maintainer), &maintainer, [1, 3, 3, 3], &NAMES, &["none"]);
    tough_reads(&maintainer, &NAMES, &["none"]);
}

#[test]
fn rotated_and_revoked_keys() {
    let maintainer = Maintainer::new(&[]);
    maintainer.add(&NAMES, &[]);
    let clients = clients(&maintainer);
    all_fetch(&clients, &maintainer, [1, 2, 2, 2], &NAMES, &[]);
    let root = maintainer.key("root-9");
    let targets = maintainer.key("targets-9");
    maintainer.run(&["rotate", "root", "--add", &root, "--remove", "file:keys/root-1.pem"]);
    maintainer.run(&["rotate", "targets", "--add", &targets, "--remove", "file:keys/targets-1.pem"]);
    maintainer.run(&["revoke", "file:keys/timestamp-1.pem"]);
    let trusted =
        [2, 3, 4].map(|version| maintainer.repository().join(format!("metadata/{version}.root.json")).exists());
    assert_eq!(trusted, [true, true, true], "the three changes must create three new roots");
    for client in &clients {
        let answer = client.fetch(&maintainer.url, &["plain.txt"]);
        let Answer::Fetched([4, ..], found) = answer else { panic!("{answer:?}") };
        assert_eq!(found, [Some(b"one line\n".to_vec())]);
    }
    tough_reads(&maintainer, &NAMES, &[]);
}
