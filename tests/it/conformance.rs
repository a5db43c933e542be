//! Runs the program `lastmile-conformance` against an HTTP server, with the command lines of the TUF conformance suite.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use lastmile_testkit::{Delegation, NetworkFault, Repository, Server, TestKey, hash, sign};
use serde_json::json;
use tempfile::TempDir;

/// A client installation with the folders that the suite uses.
struct Client {
    folder: TempDir,
    repository: Repository,
    server: Server,
    /// The prefix of the URL paths, before `metadata/` and `targets/`.
    prefix: &'static str,
}

impl Client {
    fn new(repository: Repository) -> Client {
        let server = Server::start(repository.network());
        let client = Client { folder: tempfile::tempdir().unwrap(), repository, server, prefix: "" };
        fs::create_dir(client.path("metadata")).unwrap();
        fs::create_dir(client.path("targets")).unwrap();
        client
    }

    /// Creates an installation and runs `init` with the first root.
    fn ready(repository: Repository) -> Client {
        let client = Client::new(repository);
        let root = client.repository.network().file("metadata/1.root.json").unwrap();
        assert_eq!(client.init(&root), 0);
        client
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastmile-conformance"));
        command.arg("--metadata-dir").arg(self.path("metadata"));
        command
    }

    fn init(&self, root: &[u8]) -> i32 {
        fs::write(self.path("shipped.json"), root).unwrap();
        code(self.command().arg("init").arg(self.path("shipped.json")))
    }

    fn with_url(&self) -> Command {
        let mut command = self.command();
        command.arg("--metadata-url").arg(format!("{}{}metadata/", self.server.url(), self.prefix));
        command
    }

    fn refresh(&self) -> i32 {
        code(self.with_url().arg("refresh"))
    }

    fn download(&self, names: &[&str]) -> i32 {
        let mut command = self.with_url();
        for name in names {
            command.args(["--target-name", name]);
        }
        command.arg("--target-dir").arg(self.path("targets"));
        command.arg("--target-base-url").arg(format!("{}{}targets/", self.server.url(), self.prefix));
        code(command.arg("download"))
    }

    /// Returns the `.json` files directly in the metadata folder.
    fn trusted(&self) -> BTreeMap<String, Vec<u8>> {
        let names = files(&self.path("metadata")).into_iter().filter(|(name, _)| name.ends_with(".json"));
        names.collect()
    }

    fn versions(&self) -> Vec<(String, u64)> {
        let version =
            |bytes: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()["signed"]["version"].as_u64();
        self.trusted().into_iter().map(|(name, bytes)| (name, version(bytes).unwrap())).collect()
    }
}

fn files(folder: &std::path::Path) -> BTreeMap<String, Vec<u8>> {
    let entries =
        fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn code(command: &mut Command) -> i32 {
    let output = output(command);
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

fn pairs(versions: &[(&str, u64)]) -> Vec<(String, u64)> {
    versions.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect()
}

#[test]
fn init_trusts_the_root_and_makes_no_request() {
    let client = Client::ready(Repository::new());
    assert_eq!(client.versions(), pairs(&[("root.json", 1)]));
    assert_eq!(client.trusted()["root.json"], client.repository.written("root"));
    assert_eq!(client.repository.network().requests(), [""; 0]);
}

#[test]
fn init_refuses_an_invalid_root() {
    let mut repository = Repository::new();
    repository.set_signers("root", &[TestKey::new("root-1")]);
    let too_few = repository.write("root");
    for root in [b"".to_vec(), b"{}".to_vec(), repository.written("targets"), too_few] {
        let client = Client::new(Repository::new());
        assert_eq!(client.init(&root), 1);
        assert_eq!(client.versions(), []);
        assert_eq!(client.refresh(), 1);
        assert_eq!(client.repository.network().requests(), [""; 0]);
    }
}

#[test]
fn refresh_asks_in_the_order_of_the_workflow_and_keeps_the_bytes_as_received() {
    let mut repository = Repository::new();
    repository.publish(&["root", "targets"]);
    let client = Client::ready(repository);
    assert_eq!(client.refresh(), 0);
    let asked = ["2.root.json", "3.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"];
    assert_eq!(client.repository.network().requests(), asked.map(|name| format!("metadata/{name}")));
    let expected = ["root", "snapshot", "targets", "timestamp"];
    let expected = expected.map(|role| (format!("{role}.json"), client.repository.written(role)));
    assert_eq!(client.trusted(), BTreeMap::from(expected));
}

#[test]
fn a_second_refresh_goes_on_from_the_first() {
    let mut client = Client::ready(Repository::new());
    client.repository.publish(&["root"]);
    assert_eq!(client.refresh(), 0);
    client.repository.network().forget_requests();
    client.repository.publish(&["timestamp"]);
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.repository.network().requests(), ["metadata/3.root.json", "metadata/timestamp.json"]);
    assert_eq!(
        client.versions(),
        pairs(&[("root.json", 2), ("snapshot.json", 1), ("targets.json", 1), ("timestamp.json", 2)])
    );
}

#[test]
fn a_failure_is_exit_code_1_and_a_later_refresh_succeeds() {
    let mut client = Client::ready(Repository::new());
    assert_eq!(client.refresh(), 0);
    let before = client.trusted();
    let honest = client.repository.network().file("metadata/timestamp.json").unwrap();
    client.repository.set_signers("timestamp", &[TestKey::new("stranger")]);
    client.repository.publish(&["timestamp"]);
    assert_eq!((client.refresh(), client.trusted()), (1, before));
    client.repository.network().put("metadata/timestamp.json", honest);
    assert_eq!(client.refresh(), 0);
    for fault in [
        NetworkFault::Status(500),
        NetworkFault::Status(403),
        NetworkFault::Reset,
        NetworkFault::Truncated(3),
        NetworkFault::Endless,
    ] {
        client.repository.network().fault("metadata/timestamp.json", fault);
        assert_eq!(client.refresh(), 1);
    }
}

#[test]
fn the_exit_code_is_always_0_or_1() {
    let client = Client::ready(Repository::new());
    let mut bad: Vec<Vec<&str>> = vec![
        vec![],
        vec!["--no-such-option"],
        vec!["no-such-command"],
        vec!["refresh"],
        vec!["download"],
        vec!["init"],
    ];
    bad.push(vec!["init", "/no/such/file"]);
    bad.push(vec!["--metadata-url", "no url", "refresh"]);
    bad.push(vec!["--metadata-url", "http://127.0.0.1:1/", "refresh"]);
    bad.push(vec!["refresh", "--metadata-url", "http://127.0.0.1:1/"]);
    for arguments in bad {
        assert_eq!(code(client.command().args(&arguments)), 1, "{arguments:?}");
    }
    let mut bare = Command::new(env!("CARGO_BIN_EXE_lastmile-conformance"));
    assert_eq!(code(bare.arg("refresh")), 1);
    assert_eq!(
        code(Command::new(env!("CARGO_BIN_EXE_lastmile-conformance")).args([
            "--metadata-dir",
            "/proc/no",
            "init",
            "/dev/null"
        ])),
        1
    );
}

#[test]
fn download_refreshes_first_and_stores_each_target_under_one_name() {
    let mut repository = Repository::new();
    let targets = [
        ("a.txt", "a.txt"),
        ("dir/sub/é b.txt", "dir%2Fsub%2F%C3%A9%20b.txt"),
        ("dir%2Fsub", "dir%252Fsub"),
        ("..x/y", "..x%2Fy"),
    ];
    for (path, _) in targets {
        repository.add_target("targets", path, path.as_bytes());
    }
    repository.publish(&["targets"]);
    let client = Client::ready(repository);
    assert_eq!(client.download(&targets.map(|(path, _)| path)), 0);
    assert_eq!(client.repository.network().requests()[1], "metadata/timestamp.json");
    let expected = targets.map(|(path, name)| (name.to_owned(), path.as_bytes().to_vec()));
    assert_eq!(files(&client.path("targets")), BTreeMap::from(expected));
    assert_eq!(
        fs::read_dir(client.path("targets")).unwrap().count(),
        4,
        "the folder for targets must contain only the four downloaded files"
    );
}

#[test]
fn download_stops_at_the_first_failure() {
    let mut repository = Repository::new();
    repository.add_target("targets", "a", b"a");
    repository.add_target("targets", "c", b"c");
    repository.publish(&["targets"]);
    let client = Client::ready(repository);
    assert_eq!(client.download(&["a", "b", "c"]), 1);
    assert_eq!(files(&client.path("targets")).into_keys().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn download_overwrites_a_changed_target_and_updates_its_time() {
    let mut client = Client::ready(Repository::new());
    client.repository.add_target("targets", "a", b"old");
    client.repository.publish(&["targets"]);
    assert_eq!(client.download(&["a"]), 0);
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
    fs::File::open(client.path("targets/a")).unwrap().set_modified(long_ago).unwrap();
    client.repository.add_target("targets", "a", b"new");
    client.repository.publish(&["targets"]);
    assert_eq!(client.download(&["a"]), 0);
    assert_eq!(fs::read(client.path("targets/a")).unwrap(), b"new");
    assert!(fs::metadata(client.path("targets/a")).unwrap().modified().unwrap() > long_ago);
}

#[test]
fn download_refuses_other_bytes_and_leaves_no_stray_file() {
    let mut repository = Repository::new();
    repository.add_target("targets", "a", b"good");
    repository.publish(&["targets"]);
    repository.network().put(&format!("targets/{}.a", hash(b"good")), b"evil".to_vec());
    let client = Client::ready(repository);
    assert_eq!(client.download(&["a"]), 1);
    assert_eq!(fs::read_dir(client.path("targets")).unwrap().count(), 0);
}

#[test]
fn delegated_roles_are_kept_under_their_encoded_names() {
    let mut repository = Repository::new();
    repository.delegate("targets", &Delegation::paths("a/b é?", &["*"]));
    repository.add_target("a/b é?", "x", b"x");
    repository.publish(&["a/b é?", "targets"]);
    let client = Client::ready(repository);
    assert_eq!(client.download(&["x"]), 0);
    assert_eq!(client.trusted()["a%2Fb%20%C3%A9%3F.json"], client.repository.written("a/b é?"));
}

#[test]
fn percent_encoded_characters_of_the_urls_stay_as_they_are() {
    let mut repository = Repository::new();
    repository.add_target("targets", "a", b"a");
    repository.publish(&["targets"]);
    let network = repository.network().clone();
    for (path, bytes) in network.files() {
        network.put(&format!("x%20y%2Fz%7E/{path}"), bytes);
    }
    let mut client = Client::ready(repository);
    client.prefix = "x%20y%2Fz%7E/";
    assert_eq!(client.download(&["a"]), 0);
    assert!(network.requests().iter().all(|path| path.starts_with("x%20y%2Fz%7E/")));
}

#[test]
fn the_program_follows_a_faked_clock() {
    let mut repository = Repository::new();
    repository.signed("timestamp")["expires"] = json!("2035-01-01T00:00:00Z");
    repository.publish(&["timestamp"]);
    let client = Client::ready(repository);
    for (now, expected) in [("2034-12-31 23:00:00", 0), ("2035-01-01 01:00:00", 1), ("2041-01-01 00:00:00", 1)] {
        let plain = {
            let mut command = client.with_url();
            command.arg("refresh");
            command
        };
        let mut faked = Command::new("faketime");
        faked.env("TZ", "UTC").arg("-f").arg(format!("@{now}")).arg(plain.get_program()).args(plain.get_args());
        let output =
            faked.output().expect("`faketime` is missing; run `apt-get install faketime` or `cargo xtask setup`");
        assert_eq!(output.status.code(), Some(expected), "{now}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn stored_metadata_is_verified_again_from_the_shipped_root() {
    let mut client = Client::ready(Repository::new());
    assert_eq!(client.refresh(), 0);
    client.repository.set_keys("root", &["new-1", "new-2"].map(TestKey::new), 2);
    client.repository.publish(&["root"]);
    client.repository.publish(&["root"]);
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.versions()[0], ("root.json".to_owned(), 3));
    client.repository.network().forget_requests();
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.repository.network().requests(), ["metadata/4.root.json", "metadata/timestamp.json"]);
    let before = client.trusted();
    client.repository.network().forget_requests();
    // This forged root 2 is not signed by the keys of the shipped root, so the client must fetch the genuine root 2
    // again.
    client.repository.signed("root")["version"] = json!(2);
    let forged = sign(client.repository.signed("root"), &["new-1", "new-2"].map(TestKey::new));
    fs::write(client.path("metadata/state/2.root.json"), forged).unwrap();
    assert_eq!((client.refresh(), client.trusted()), (0, before));
    let asked = ["2.root.json", "4.root.json", "timestamp.json"];
    assert_eq!(client.repository.network().requests(), asked.map(|name| format!("metadata/{name}")));
}

#[test]
fn every_target_gets_a_unique_file_name() {
    let long = "é".repeat(100);
    let longer = "é".repeat(101);
    let mut repository = Repository::new();
    let names = [long.as_str(), longer.as_str(), "a", "A", "a%2Fb", "a/b", "-rf", "con.txt", "x.", "$(x)"];
    for name in names {
        repository.add_target("targets", name, name.as_bytes());
    }
    repository.publish(&["targets"]);
    let client = Client::ready(repository);
    assert_eq!(client.download(&names), 0);
    let found = files(&client.path("targets"));
    assert_eq!(found.len(), names.len());
    assert!(names.iter().all(|name| found.values().any(|content| content == name.as_bytes())));
}

#[test]
fn the_next_run_finishes_an_interrupted_update() {
    let mut client = Client::ready(Repository::new());
    assert_eq!(client.refresh(), 0);
    client.repository.publish(&["root", "targets"]);
    client.repository.network().fault("metadata/2.snapshot.json", NetworkFault::Status(404));
    assert_eq!(client.refresh(), 1);
    assert_eq!(client.versions()[0], ("root.json".to_owned(), 2));
    client.repository.network().clear_faults();
    client.repository.network().forget_requests();
    assert_eq!(client.refresh(), 0);
    let asked = ["3.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"];
    assert_eq!(client.repository.network().requests(), asked.map(|name| format!("metadata/{name}")));
}

#[test]
fn new_keys_recover_from_a_fast_forward_attack() {
    let mut client = Client::ready(Repository::new());
    let mut attacker = client.repository.fork();
    attacker.signed("timestamp")["version"] = json!(9_999);
    attacker.publish(&["timestamp"]);
    let honest = client.repository.network().file("metadata/timestamp.json").unwrap();
    client.repository.network().put("metadata/timestamp.json", attacker.written("timestamp"));
    assert_eq!(client.refresh(), 0);
    client.repository.network().put("metadata/timestamp.json", honest);
    assert_eq!(client.refresh(), 1);
    client.repository.set_keys("timestamp", &[TestKey::new("recovered")], 1);
    client.repository.publish(&["root", "timestamp"]);
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.versions().pop().unwrap(), ("timestamp.json".to_owned(), 2));
}
