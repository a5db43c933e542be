//! Runs the demo and the examples of the library crates, except `scale`, which only measures how many bytes clients
//! fetch. The examples of the client use a server with a repository that `lastmile-repo` made.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lastmile_attacks::GOOD;
use lastmile_keys::PublicKey;
use lastmile_testkit::{FakeNetwork, Server, TARGETS};
use tempfile::TempDir;

use crate::cli::program;
use crate::made::Made;

/// A folder with `root.json`, and a server with a repository that contains the targets `package` and `team/package`.
struct Setup {
    folder: TempDir,
    made: Made,
    server: Server,
}

impl Setup {
    fn new() -> Setup {
        let folder = tempfile::tempdir().unwrap();
        let made = Made::with_team();
        fs::copy(made.dir().join("metadata/1.root.json"), folder.path().join("root.json")).unwrap();
        let server = Server::start(&made.served());
        Setup { folder, made, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `example` with the root, the URL of the server and `arguments`.
    fn run<A: AsRef<OsStr>>(&self, example: &str, arguments: &[A]) -> Output {
        let mut command = Command::new(program(&format!("examples/{example}")));
        command.current_dir(self.folder.path()).args(["root.json", &self.server.url()]);
        command.env("NO_PROXY", "*").args(arguments).output().unwrap()
    }

    /// Replaces the server with one that serves the same metadata, but wrong bytes for every target.
    fn tamper(&mut self) {
        let honest = self.made.served();
        let tampered = FakeNetwork::new();
        for (path, bytes) in honest.files() {
            tampered.put(&path, if path.starts_with(TARGETS) { b"evil package".to_vec() } else { bytes });
        }
        self.server = Server::start(&tampered);
    }
}

fn printed(output: &Output) -> (bool, &str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[test]
fn fetch_one_file_fetches_a_target_and_refuses_a_wrong_one() {
    let mut setup = Setup::new();
    let output = setup.run("fetch_one_file", &["state", "team/package", "file"]);
    assert_eq!(printed(&output), (true, "file\n", ""));
    assert_eq!(fs::read(setup.path("file")).unwrap(), GOOD);

    let output = setup.run("fetch_one_file", &["state", "nothing", "other"]);
    assert_eq!(printed(&output), (false, "", "no trusted role lists the target `nothing`\n"));

    setup.tamper();
    let output = setup.run("fetch_one_file", &["state", "package", "other"]);
    let (_, data, message) = printed(&output);
    assert_eq!((output.status.code(), data), (Some(5), ""));
    assert!(message.starts_with("refused: ") && message.contains("target `package`"), "{message}");
    assert!(!is_there(&setup.path("other")));
}

#[test]
fn self_check_reports_whether_a_file_is_the_published_one_even_without_a_network() {
    let mut setup = Setup::new();
    let check = |setup: &Setup| {
        let output = setup.run("self_check", &["state", "package", "app"]);
        let (success, data, message) = printed(&output);
        assert!(success, "{message}");
        (data.to_owned(), message.to_owned())
    };
    fs::write(setup.path("app"), GOOD).unwrap();
    assert_eq!(check(&setup), ("app is identical to the published target package\n".to_owned(), String::new()));
    fs::write(setup.path("app"), "older").unwrap();
    let (data, _) = check(&setup);
    assert!(data.starts_with("app differs from the published target package: "), "{data}");

    fs::write(setup.path("app"), GOOD).unwrap();
    setup.server = Server::start(&FakeNetwork::new());
    let (data, message) = check(&setup);
    assert_eq!(data, "app is identical to the published target package\n");
    assert!(message.ends_with("checking against the stored metadata\n"), "{message}");
}

#[test]
fn custom_transport_reads_a_target_and_verifies_it() {
    let mut setup = Setup::new();
    let output = setup.run("custom_transport", &["team/package"]);
    assert_eq!(printed(&output), (true, "12 bytes\n", ""));
    setup.tamper();
    let output = setup.run("custom_transport", &["team/package"]);
    let (success, data, message) = printed(&output);
    assert_eq!((success, data), (false, ""));
    assert!(message.contains("Refused"), "{message}");
}

#[test]
fn blocking_fetches_several_files_and_reports_progress() {
    let setup = Setup::new();
    let output = setup.run("blocking", &["state", "out", "package", "team/package"]);
    let lines = "package: 12 of 12 bytes\nteam/package: 12 of 12 bytes\n";
    assert_eq!(printed(&output), (true, lines, ""));
    for name in ["out/package", "out/team/package"] {
        assert_eq!(fs::read(setup.path(name)).unwrap(), GOOD, "{name}");
    }
}

#[test]
fn own_signer_signs_with_a_key_in_another_thread() {
    let signed = |message: &str| Command::new(program("examples/own_signer")).arg(message).output().unwrap();
    let output = signed("signed text");
    let (success, data, message) = printed(&output);
    assert_eq!((success, message), (true, ""));
    let values: Vec<&str> = data.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    let [keytype, scheme, public, signature] = values.as_slice() else { panic!("{data}") };
    let key = PublicKey::from_tuf(keytype, scheme, public).unwrap();
    assert!(key.verify(b"signed text", &hex::decode(signature).unwrap()));
    assert_ne!(signed("other text").stdout, output.stdout);
}

#[test]
fn a_program_makes_a_repository_and_publishes_into_it() {
    let folder = tempfile::tempdir().unwrap();
    let publish = |files: &[&str]| {
        for file in files {
            fs::write(folder.path().join(file), format!("content of {file}")).unwrap();
        }
        let mut command = Command::new(program("examples/publish"));
        command.current_dir(folder.path()).args(["packages", "config.toml"]).args(files).output().unwrap()
    };
    let first = publish(&["app-1", "manual"]);
    assert_eq!(printed(&first), (true, "root 1, timestamp 2: app-1 manual\n", ""));
    let second = publish(&["app-2"]);
    assert_eq!(printed(&second), (true, "root 1, timestamp 3: app-2\n", ""));

    let url = format!("file://{}/", folder.path().join("packages").display());
    let root = folder.path().join("packages/metadata/1.root.json");
    for name in ["app-1", "app-2", "manual"] {
        let mut fetch = Command::new(program("examples/fetch_one_file"));
        let output =
            fetch.current_dir(folder.path()).arg(&root).args([&url, "state", name, "fetched"]).output().unwrap();
        assert_eq!(printed(&output), (true, "fetched\n", ""));
        assert_eq!(fs::read_to_string(folder.path().join("fetched")).unwrap(), format!("content of {name}"));
    }
}

#[test]
fn custom_signer_signs_the_timestamp_without_a_key_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app-1"), "content").unwrap();
    let mut command = Command::new(program("examples/custom_signer"));
    let output = command.current_dir(folder.path()).args(["packages", "config.toml", "app-1"]).output().unwrap();
    assert_eq!(printed(&output), (true, "the token signed 2 files; app-1 is published\n", ""));
    assert!(!is_there(&folder.path().join("packages/keys/timestamp-1.pem")));
    assert!(is_there(&folder.path().join("packages/keys/snapshot-1.pem")));

    let url = format!("file://{}/", folder.path().join("packages").display());
    let root = folder.path().join("packages/metadata/1.root.json");
    let mut fetch = Command::new(program("examples/fetch_one_file"));
    let output =
        fetch.current_dir(folder.path()).arg(&root).args([&url, "state", "app-1", "fetched"]).output().unwrap();
    assert_eq!(printed(&output), (true, "fetched\n", ""));
}

#[test]
fn all_checks_of_the_demo_pass() {
    let aliases = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cargo/config.toml")).unwrap();
    assert!(aliases.contains("demo = \"run --quiet --package lastmile-repo-tool --bin lastmile-repo -- demo\"\n"));
    let output = Command::new(program("lastmile-repo")).arg("demo").output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && shown.ends_with("All checks passed.\n"), "{shown}{errors}");
}
