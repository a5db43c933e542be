//! Commands that run while a change is pending. A new change is published if it does not depend on the pending change
//! and has all signatures. Every other change is added to the pending change or refused.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]
#![expect(clippy::indexing_slicing, reason = "a panic fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests create the files that they need")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lastmile_repo_tool::internal::cli::ExitStatus;
use serde_json::Value;
use tempfile::TempDir;

/// A repository with unencrypted keys, and a folder that represents another machine with some of the keys.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(place.elsewhere()).unwrap();
        std::fs::create_dir(place.packages()).unwrap();
        place.run(&["init", "--unencrypted-keys"], ExitStatus::Done);
        place
    }

    fn packages(&self) -> PathBuf {
        self.folder.path().join("packages")
    }

    fn elsewhere(&self) -> PathBuf {
        self.folder.path().join("elsewhere")
    }

    /// Moves a private key to the other machine, and returns its new path.
    fn move_away(&self, key: &str) -> String {
        let to = self.elsewhere().join(format!("{key}.pem"));
        std::fs::rename(self.packages().join(format!("keys/{key}.pem")), &to).unwrap();
        to.to_str().unwrap().to_string()
    }

    fn generate(&self, key: &str) {
        self.run(&["key", "generate", key, "--unencrypted"], ExitStatus::Done);
    }

    fn output(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastmile-repo"));
        command.env("LASTMILE_REPO_CONFIG", self.folder.path().join("config.toml"));
        command.arg("-C").arg(self.packages()).args(args).output().unwrap()
    }

    /// Runs a command that must end with the exit status `status`, and returns its output.
    fn run(&self, args: &[&str], status: ExitStatus) -> String {
        let output = self.output(args);
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(status as i32), "{args:?}: {text}");
        text
    }

    fn add(&self, name: &str, options: &[&str], status: ExitStatus) -> String {
        let file = self.folder.path().join("file");
        std::fs::write(&file, name).unwrap();
        let args = [&["add", file.to_str().unwrap(), "--name", name][..], options].concat();
        self.run(&args, status)
    }

    fn json(&self, file: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.packages().join(file)).unwrap()).unwrap()
    }

    /// Returns the names of the published targets of a role.
    fn published(&self, role: &str) -> Vec<String> {
        let timestamp = self.json("metadata/timestamp.json");
        let snapshot = timestamp["signed"]["meta"]["snapshot.json"]["version"].clone();
        let snapshot = self.json(&format!("metadata/{snapshot}.snapshot.json"));
        let version = snapshot["signed"]["meta"][format!("{role}.json")]["version"].clone();
        let targets = self.json(&format!("metadata/{version}.{role}.json"));
        targets["signed"]["targets"].as_object().unwrap().keys().cloned().collect()
    }

    fn signatures(&self, staged: &str) -> usize {
        self.json(&format!("staged/{staged}.json"))["signatures"].as_array().unwrap().len()
    }

    fn is_staged(&self, role: &str) -> bool {
        self.packages().join(format!("staged/{role}.json")).exists()
    }
}

/// Creates a repository with a pending root, which adds a second targets key and lacks one signature. Returns the path
/// of a root key that can add this signature.
fn with_pending_root() -> (Place, String) {
    let place = Place::new();
    place.generate("targets-2");
    let (root, _) = (place.move_away("root-2"), place.move_away("root-3"));
    let printed = place.run(&["rotate", "targets", "--add", "targets-2"], ExitStatus::Pending);
    assert!(printed.contains("Nothing has been published"), "{printed}");
    (place, root)
}

#[test]
fn a_release_does_not_wait_for_a_pending_root() {
    let (place, root) = with_pending_root();
    let list = place.folder.path().join("list");
    std::fs::write(&list, format!("{}  5  listed\n", "0".repeat(64))).unwrap();
    let printed = place.add("a", &[], ExitStatus::Done);
    assert!(
        printed.contains("Published.") && printed.contains("An earlier change to root is still pending."),
        "{printed}"
    );
    assert!(!printed.contains("Nothing has been published"), "{printed}");
    place.run(&["add", "--from-list", list.to_str().unwrap()], ExitStatus::Done);
    assert_eq!(place.published("targets"), ["a", "listed"]);
    place.run(&["remove", "listed"], ExitStatus::Done);
    place.generate("team");
    place.run(&["delegate", "team", "--paths", "team/*", "--key", "team"], ExitStatus::Done);
    place.add("team/x", &["--role", "team"], ExitStatus::Done);
    place.run(&["renew", "targets", "--force"], ExitStatus::Done);
    assert_eq!((place.published("targets"), place.published("team")), (vec!["a".into()], vec!["team/x".into()]));
    // The pending root still has its first signature, so one more signature is enough to publish it.
    assert_eq!(place.signatures("root"), 1);
    place.run(&["sign", "--yes", "--key", &root], ExitStatus::Done);
    place.run(&["publish"], ExitStatus::Done);
    assert_eq!((place.published("targets"), place.published("team")), (vec!["a".into()], vec!["team/x".into()]));
    place.run(&["verify"], ExitStatus::Done);
}

#[test]
fn a_release_does_not_wait_for_another_role() {
    let place = Place::new();
    for key in ["one", "two"] {
        place.generate(key);
        place.run(&["delegate", key, "--paths", &format!("{key}/*"), "--key", key], ExitStatus::Done);
    }
    let one = place.move_away("one");
    let printed = place.add("one/x", &["--role", "one"], ExitStatus::Pending);
    assert!(printed.contains("Nothing has been published"), "{printed}");
    place.add("two/x", &["--role", "two"], ExitStatus::Done);
    place.add("x", &[], ExitStatus::Done);
    place.run(&["rotate", "timestamp", "--add", "two"], ExitStatus::Done);
    place.run(&["set-threshold", "timestamp", "2"], ExitStatus::Done);
    assert_eq!((place.published("one"), place.published("two")), (vec![], vec!["two/x".into()]));
    place.run(&["sign", "--yes", "--key", &one], ExitStatus::Done);
    place.run(&["publish"], ExitStatus::Done);
    assert_eq!(place.published("one"), ["one/x"]);
    place.run(&["verify"], ExitStatus::Done);
}

#[test]
fn a_release_of_a_pending_role_is_staged() {
    let place = Place::new();
    let targets = place.move_away("targets-1");
    place.add("a", &[], ExitStatus::Pending);
    for printed in [place.add("b", &[], ExitStatus::Pending), place.run(&["remove", "a"], ExitStatus::Pending)] {
        assert!(printed.contains("Nothing has been published"), "{printed}");
        assert!(printed.contains("Added to the pending change."), "{printed}");
    }
    assert!(place.published("targets").is_empty());
    place.run(&["sign", "--yes", "--key", &targets], ExitStatus::Done);
    place.run(&["publish"], ExitStatus::Done);
    assert_eq!(place.published("targets"), ["b"]);
}

#[test]
fn an_independent_change_that_lacks_signatures_is_added_to_the_pending_one() {
    let (place, root) = with_pending_root();
    let targets = place.move_away("targets-1");
    std::fs::rename(place.packages().join("keys/targets-2.pem"), place.elsewhere().join("targets-2.pem")).unwrap();
    let printed = place.add("a", &[], ExitStatus::Pending);
    assert!(printed.contains("Nothing has been published"), "{printed}");
    assert!(
        printed.contains("Added to the pending change to root.") && printed.contains("root version 2 needs"),
        "{printed}"
    );
    assert!(place.is_staged("targets"));
    assert_eq!((place.signatures("root"), place.signatures("targets")), (1, 0));
    place.run(&["sign", "--yes", "--key", &root], ExitStatus::Done);
    place.run(&["publish"], ExitStatus::Pending);
    place.run(&["sign", "--yes", "--key", &targets], ExitStatus::Done);
    place.run(&["publish"], ExitStatus::Done);
    assert_eq!(place.published("targets"), ["a"]);
    place.run(&["verify"], ExitStatus::Done);
}

#[test]
fn a_revocation_does_not_wait_for_a_pending_change() {
    let place = Place::new();
    let targets = place.move_away("targets-1");
    place.add("a", &[], ExitStatus::Pending);
    let printed = place.run(&["revoke", "timestamp-1", "--unencrypted-online-keys"], ExitStatus::Done);
    assert!(printed.contains("Published.") && printed.contains("is still pending"), "{printed}");
    assert_eq!(place.json("metadata/2.root.json")["signed"]["version"], 2);
    place.run(&["sign", "--yes", "--key", &targets], ExitStatus::Done);
    place.run(&["publish"], ExitStatus::Done);
    assert_eq!(place.published("targets"), ["a"]);
    place.run(&["verify"], ExitStatus::Done);
}

#[test]
fn a_role_whose_removal_is_pending_can_still_publish() {
    let place = Place::new();
    place.generate("team");
    place.run(&["delegate", "team", "--paths", "team/*", "--key", "team"], ExitStatus::Done);
    let targets = place.move_away("targets-1");
    place.run(&["undelegate", "team"], ExitStatus::Pending);
    place.add("team/x", &["--role", "team"], ExitStatus::Done);
    assert_eq!(place.published("team"), ["team/x"]);
    place.run(&["sign", "--yes", "--key", &targets], ExitStatus::Done);
    place.run(&["publish"], ExitStatus::Done);
    place.run(&["verify"], ExitStatus::Done);
}

#[test]
fn a_release_that_could_not_be_combined_with_the_pending_change_is_refused() {
    let place = Place::new();
    place.generate("team");
    place.run(&["delegate", "team", "--paths", "a/*", "--key", "team"], ExitStatus::Done);
    place.move_away("team");
    place.add("a/b", &["--role", "team"], ExitStatus::Pending);
    let printed = place.add("a", &[], ExitStatus::Failed);
    assert!(printed.contains("`a/b`"), "{printed}");
    assert!(place.published("targets").is_empty());
}

#[test]
fn a_change_that_would_void_pending_signatures_is_not_published() {
    let place = Place::new();
    for key in ["team", "team-2"] {
        place.generate(key);
    }
    place.run(&["delegate", "team", "--paths", "team/*", "--key", "team"], ExitStatus::Done);
    let team = place.move_away("team");
    place.add("team/x", &["--role", "team"], ExitStatus::Pending);
    place.run(&["sign", "--yes", "--key", &team], ExitStatus::Done);
    place.run(&["rotate", "team", "--add", "team-2"], ExitStatus::Pending);
    assert!(place.is_staged("targets") && place.is_staged("team"));
}

#[test]
fn a_release_stays_valid_under_the_pending_root() {
    let place = Place::new();
    for key in ["targets-2", "targets-3"] {
        place.generate(key);
    }
    // From now on, both keys of the targets role must sign.
    place.run(&["rotate", "targets", "--add", "targets-2"], ExitStatus::Done);
    place.run(&["set-threshold", "targets", "2"], ExitStatus::Done);
    let (root, _) = (place.move_away("root-2"), place.move_away("root-3"));
    place.run(&["set-threshold", "targets", "1"], ExitStatus::Pending);
    place.run(&["discard", "--yes"], ExitStatus::Done);
    place.run(&["rotate", "targets", "--add", "targets-3"], ExitStatus::Pending);
    place.add("a", &[], ExitStatus::Done);
    place.run(&["sign", "--yes", "--key", &root], ExitStatus::Done);
    place.run(&["publish"], ExitStatus::Done);
    place.run(&["verify"], ExitStatus::Done);
}

#[test]
fn discard_shows_what_is_lost_and_asks() {
    let place = Place::new();
    place.move_away("targets-1");
    place.add("a", &[], ExitStatus::Pending);
    let printed = place.run(&["discard"], ExitStatus::Usage);
    assert!(printed.contains("+ a (1 bytes") && printed.contains("unpublished target files: 1"), "{printed}");
    assert!(printed.contains("add --yes"), "{printed}");
    assert!(place.is_staged("targets"));
    let shown: Value =
        serde_json::from_slice(&place.output(&["discard", "--yes", "--json", "--quiet"]).stdout).unwrap();
    assert_eq!((shown["dropped"][0].as_str(), shown["files"].as_u64()), (Some("targets"), Some(1)));
    assert!(shown["changes"][0]["added"][0].as_str().unwrap().starts_with("a (1 bytes"), "{shown}");
    assert!(!place.is_staged("targets"));
}

#[test]
fn a_pending_change_that_cannot_be_read_can_be_discarded() {
    let place = Place::new();
    place.move_away("targets-1");
    place.add("a", &[], ExitStatus::Pending);
    std::fs::write(place.packages().join("staged/targets.json"), "{").unwrap();
    let printed = place.run(&["discard", "--yes"], ExitStatus::Done);
    assert!(printed.contains("cannot show the pending change") && printed.contains("targets"), "{printed}");
    assert!(!Path::new(&place.packages().join("staged")).exists());
}
