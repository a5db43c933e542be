//! A dry run changes nothing, ends with the same exit status as the real run, and reports the same changes and outcome.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests create the files that they need")]
#![expect(clippy::indexing_slicing, reason = "a panic fails the test")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lastmile_repo_tool::internal::cli::ExitStatus::{self, Done, Failed, Network, NoSuchName, Pending, Refused, Usage};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a repository in `packages`, a file `file` to publish, and the user's configuration.
struct Place {
    folder: TempDir,
    /// The environment variables of commands, except `LASTMILE_REPO_CONFIG` and `LASTMILE_REPOSITORY`.
    variables: Vec<(&'static str, String)>,
}

impl Place {
    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "1").unwrap();
        Self { folder, variables: vec![("LASTMILE_PASS_PHRASE", "pass".into())] }
    }

    fn new() -> Self {
        let place = Self::empty();
        place.done(&["init", "--unencrypted-keys"]);
        place.done(&["key", "generate", "new", "--unencrypted"]);
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn output(&self, args: &[&str]) -> Output {
        self.output_in("packages", args)
    }

    fn output_in(&self, repository: &str, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastmile-repo"));
        command.env("LASTMILE_REPO_CONFIG", self.at("config.toml")).current_dir(self.folder.path());
        // Commands that need no repository do not accept the option `--repository`, so set the repository with an
        // environment variable.
        command.env("LASTMILE_REPOSITORY", repository);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.args(args).output().unwrap()
    }

    fn done(&self, args: &[&str]) {
        self.done_in("packages", args);
    }

    fn done_in(&self, repository: &str, args: &[&str]) {
        let output = self.output_in(repository, args);
        assert!(output.status.success(), "{args:?}: {}", text(&output));
    }

    fn take_away(&self, key: &str) {
        std::fs::rename(self.at("packages/keys").join(format!("{key}.pem")), self.at(&format!("{key}.pem"))).unwrap();
    }

    /// Runs a command with `--dry-run` and then without it. Both runs must report the same result, and the exit status
    /// of both must be `status`.
    fn same(&self, args: &[&str], status: ExitStatus) {
        let before = contents(self.folder.path());
        let dry = self.output(&[args, &["--json", "--dry-run"]].concat());
        assert!(contents(self.folder.path()) == before, "{args:?} changed something: {}", text(&dry));
        let real = self.output(&[args, &["--json"]].concat());
        let both = format!("{args:?}\ndry: {}\nreal: {}", text(&dry), text(&real));
        assert_eq!((dry.status.code(), real.status.code()), (Some(status as i32), Some(status as i32)), "{both}");
        let (dry, real): (Value, Value) =
            (serde_json::from_slice(&dry.stdout).unwrap(), serde_json::from_slice(&real.stdout).unwrap());
        assert_eq!(shown(&dry), shown(&real), "{both}");
        assert!(dry.get("error").is_some() || dry["dry_run"] == true, "{both}");
    }
}

/// Returns the parts of a report that must be the same in both runs. Leaves out the details of changes: they contain
/// key IDs, which differ because each run generates its own keys.
fn shown(report: &Value) -> Value {
    let titles = |changes: &Value| -> Vec<Value> {
        let changes = changes.as_array().into_iter().flatten();
        changes.map(|change| serde_json::json!([change["role"], change["change"]])).collect()
    };
    let cases = |proof: &Value| -> Vec<Value> {
        let rows = proof.as_array().into_iter().flatten().flat_map(|row| row["cases"].as_array().unwrap());
        rows.map(|case| serde_json::json!([case["case"], case["good"]])).collect()
    };
    serde_json::json!({
        "changes": titles(&report["changes"]), "outcome": report["outcome"], "proof": cases(&report["proof"]),
        "error": report["error"]["kind"], "resolution": report["resolution"], "dropped": report["dropped"],
        "missing": report["missing"],
    })
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Maps each path below `folder` to the content of the file, or to `None` for a folder.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    entries.map(|entry| (entry.path().to_path_buf(), std::fs::read(entry.path()).ok())).collect()
}

#[test]
fn a_dry_run_predicts_published_changes() {
    let place = Place::new();
    place.same(&["add", "file", "--name", "a/1"], Done);
    place.same(&["add", "file", "--name", "a/2", "--custom", "x=1"], Done);
    place.same(&["remove", "a/1"], Done);
    place.same(&["revert"], Done);
    place.same(&["remove", "a/1"], Done);
    place.same(&["delegate", "team", "--paths", "team/*", "--key", "new"], Done);
    place.same(&["add", "file", "--name", "team/x", "--role", "team"], Done);
    place.same(&["set-delegation", "team", "--terminating"], Done);
    place.same(&["set-threshold", "root", "1"], Done);
    place.same(&["set-expiry", "timestamp", "3"], Done);
    place.same(&["renew"], Done);
    place.same(&["renew", "--force", "root", "targets", "team"], Done);
    place.same(&["rotate", "timestamp", "--add", "new"], Done);
    place.same(&["revoke", "new", "--generate"], Done);
    place.same(&["undelegate", "team"], Done);
    place.same(&["bins", "--bit-length", "2"], Done);
    place.same(&["revoke", "targets-1", "--generate"], Done);
    place.same(&["key", "generate", "other"], Done);
    place.same(&["key", "generate", "another", "--folder", "somewhere"], Done);
    std::fs::write(place.at("list"), format!("{}  5  listed\n", "0".repeat(64))).unwrap();
    place.same(&["add", "--from-list", "list"], Done);
}

#[test]
fn a_dry_run_predicts_missing_signatures() {
    let place = Place::new();
    place.done(&["add", "file", "--name", "old"]);
    place.take_away("targets-1");
    place.same(&["renew", "--force"], Done);
    place.same(&["rotate", "snapshot", "--add", "new"], Done);
    place.same(&["sign"], NoSuchName);
    place.same(&["publish"], NoSuchName);
    place.same(&["discard", "--yes"], NoSuchName);
    place.same(&["add", "file", "--name", "a"], Pending);
    place.same(&["remove", "old"], Pending);
    place.same(&["delegate", "team", "--paths", "team/*", "--key", "new"], Pending);
    place.same(&["bins", "--bit-length", "2", "--prefixes"], Pending);
    place.same(&["renew", "--force", "targets"], Failed);
    // The renewal of the root does not depend on the pending change, so the new root is published.
    place.same(&["renew", "--force", "root"], Done);
    place.same(&["publish"], Pending);
    place.same(&["sign"], Usage);
    place.same(&["sign", "--yes", "--key", "packages/keys/snapshot-1.pem"], Failed);
    place.same(&["sign", "--yes", "--key", "packages/keys/new.pem"], Done);
    place.same(&["sign", "--yes", "--key", "targets-1.pem", "root"], Failed);
    place.same(&["sign", "--yes", "--key", "targets-1.pem"], Done);
    place.same(&["publish"], Done);
    place.same(&["remove", "a"], Pending);
    place.same(&["discard"], Usage);
    place.same(&["discard", "--yes"], Done);
    place.take_away("timestamp-1");
    place.same(&["renew", "--force"], Failed);
}

#[test]
fn a_dry_run_predicts_a_pending_revocation() {
    let place = Place::new();
    place.take_away("root-1");
    place.take_away("root-2");
    place.same(&["revoke", "timestamp-1"], Pending);
    place.same(&["sign", "--yes", "--key", "root-1.pem"], Done);
    place.same(&["publish"], Done);
}

#[test]
fn a_dry_run_predicts_refused_changes() {
    let place = Place::new();
    place.done(&["delegate", "team", "--paths", "team/*", "--key", "new"]);
    place.same(&["add", "file", "--name", "a", "--role", "team"], Refused);
    place.same(&["add", "packages/keys/root-1.pem"], Refused);
    place.same(&["add", "nothing"], Failed);
    place.same(&["add", "file", "--role", "nobody"], NoSuchName);
    place.same(&["remove", "nothing"], NoSuchName);
    place.same(&["rotate", "root", "--remove", "root-1", "--remove", "root-2"], Failed);
    place.same(&["revoke", "targets-1"], Failed);
    place.same(&["key", "generate", "new"], Failed);
    place.same(&["key", "generate", "a", "--folder", "packages/metadata"], Failed);
    place.same(&["key", "generate", "a", "--folder", "no/such/folder"], Failed);
    std::fs::create_dir(place.at("packages/metadata/4.targets.json")).unwrap();
    std::fs::write(place.at("packages/metadata/3.snapshot.json"), "leftover").unwrap();
    place.same(&["add", "file"], Done);
    place.same(&["man", "file"], Failed);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    place.same(&["serve", "--port", &taken.local_addr().unwrap().port().to_string()], Network);
}

#[test]
fn a_dry_run_predicts_clashes_with_published_targets() {
    let place = Place::empty();
    place.done(&["init", "--unencrypted-keys", "--no-hash-prefix"]);
    place.same(&["add", "file"], Done);
    place.same(&["add", "file", "--name", "file/x"], Failed);
    std::fs::write(place.at("file"), "2").unwrap();
    place.same(&["add", "file"], Failed);
}

#[test]
fn a_dry_run_needs_the_same_pass_phrases() {
    let mut place = Place::empty();
    place.done(&["init", "--unencrypted-online-keys"]);
    place.variables = vec![("LASTMILE_PASS_PHRASE", "wrong".into())];
    place.same(&["add", "file"], Failed);
    place.same(&["renew", "--force"], Done);
    place.variables.clear();
    place.same(&["add", "file"], Usage);
    place.same(&["key", "generate", "a"], Usage);
    place.same(&["revoke", "timestamp-1"], Usage);
}

#[test]
fn a_dry_run_predicts_refusals_for_a_root_that_is_not_pinned() {
    let mut place = Place::new();
    place.variables.push(("LASTMILE_REPO_CONFIG", place.at("other.toml").to_str().unwrap().into()));
    place.same(&["add", "file"], Refused);
    place.same(&["renew", "--force"], Done);
    place.same(&["revoke", "timestamp-1"], Refused);
}

#[test]
fn a_dry_run_compares_the_clock_and_the_server() {
    let mut place = Place::empty();
    place.done(&["init", "--unencrypted-keys", "--metadata-url", "http://127.0.0.1:1/metadata/"]);
    place.same(&["add", "file"], Network);
    place.same(&["add", "file", "--skip-served-check"], Done);
    place.same(&["catch-up"], Network);
    place.variables.push(("SOURCE_DATE_EPOCH", "1000000000".into()));
    place.same(&["renew", "--force", "--skip-served-check"], Failed);
}

#[test]
fn a_dry_run_predicts_catching_up() {
    let place = Place::new();
    place.done(&["add", "file", "--name", "a"]);
    let copy = |from: &str, to: &str| {
        for entry in walkdir::WalkDir::new(place.at(from)).into_iter().map(Result::unwrap) {
            let to = place.at(to).join(entry.path().strip_prefix(place.at(from)).unwrap());
            if entry.file_type().is_dir() {
                std::fs::create_dir_all(&to).unwrap();
                std::fs::set_permissions(to, entry.metadata().unwrap().permissions()).unwrap();
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    };
    copy("packages", "served");
    let url = format!("file://{}/metadata/", place.at("served").display());
    place.same(&["catch-up", "--metadata-url", &url], Done);
    // Publish changes on the server only.
    place.done_in("served", &["add", "file", "--name", "b"]);
    place.done_in("served", &["remove", "a"]);
    place.same(&["catch-up"], Failed);
    std::fs::remove_dir_all(place.at("served/targets")).unwrap();
    place.same(&["catch-up", "--adopt"], Done);
    // Publish different changes in both copies of the repository.
    place.done(&["add", "file", "--name", "c", "--skip-served-check"]);
    place.done_in("served", &["renew", "--force", "--skip-served-check"]);
    place.done_in("served", &["renew", "--force", "--skip-served-check"]);
    place.take_away("timestamp-1");
    place.same(&["catch-up"], Failed);
    std::fs::rename(place.at("timestamp-1.pem"), place.at("packages/keys/timestamp-1.pem")).unwrap();
    place.same(&["catch-up"], Done);
}

#[test]
fn a_dry_run_predicts_a_new_repository() {
    let mut place = Place::empty();
    place.same(&["init", "--threshold", "targets=2"], Done);
    place.same(&["init"], Failed);
    place.same(&["init", "file"], Failed);
    place.same(&["init", "file/below"], Failed);
    place.same(&["init", "other", "--keys", "keys-of-other"], Done);
    place.same(&["init", "third", "--keys", "keys-of-other"], Failed);
    place.same(&["init", "third", "--keys", "third/metadata"], Failed);
    place.same(&["init", "third", "--keys", "no/such/folder"], Failed);
    std::fs::create_dir_all(place.at("fourth/metadata")).unwrap();
    std::fs::write(place.at("fourth/metadata/1.snapshot.json"), "leftover").unwrap();
    place.same(&["init", "fourth"], Failed);
    place.variables.clear();
    place.same(&["init", "fifth"], Usage);
}
