//! Tests of the commands `key` and `verify`. The tests run `lastmile-repo` as a separate process.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests create the files that they need")]

use std::path::Path;
use std::process::{Command, Output};

use lastmile_repo_tool::internal::cli::ExitStatus;
use tempfile::TempDir;

/// Runs the command as a user whose configuration is in the test's folder.
fn output(folder: &TempDir, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastmile-repo"));
    command.env("LASTMILE_REPO_CONFIG", folder.path().join(".user/config.toml"));
    command.env("LASTMILE_PASS_PHRASE", "pass").arg("-C").arg(folder.path()).args(args).output().unwrap()
}

fn run(folder: &TempDir, args: &[&str]) -> i32 {
    output(folder, args).status.code().unwrap()
}

fn repository() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(&folder, &["init", "--unencrypted-keys"]), ExitStatus::Done as i32);
    folder
}

#[test]
fn verify_refuses_a_folder_without_the_pinned_root() {
    let folder = repository();
    assert_eq!(run(&folder, &["rotate", "targets", "--add", "new"]), ExitStatus::NoSuchName as i32);
    assert_eq!(run(&folder, &["key", "generate", "new", "--unencrypted"]), ExitStatus::Done as i32);
    assert_eq!(run(&folder, &["rotate", "targets", "--add", "new"]), ExitStatus::Done as i32);
    let dir = folder.path().to_str().unwrap();
    assert_eq!(run(&folder, &["verify", dir]), ExitStatus::Done as i32);
    let first = folder.path().join("metadata/1.root.json");
    let second = folder.path().join("metadata/2.root.json");
    let clients = |root: &Path| {
        let output = output(&folder, &["verify", dir, "--json", "--root", root.to_str().unwrap()]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        json["clients"].as_array().unwrap().iter().map(|client| client["root"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(clients(&second), [2]);
    assert_eq!(clients(&first), [1, 2]);
    let other = repository();
    let foreign = other.path().join("metadata/1.root.json");
    let refused = output(&folder, &["verify", dir, "--root", foreign.to_str().unwrap()]);
    assert_eq!((refused.status.code().unwrap(), refused.stdout.len()), (ExitStatus::Failed as i32, 0), "{refused:?}");
    // Roll the folder back to root version 1, as an attacker with the old keys could.
    std::fs::remove_file(&second).unwrap();
    let refused = output(&folder, &["verify", dir]);
    assert_eq!(refused.status.code(), output(&folder, &["status"]).status.code(), "{refused:?}");
    assert!(!refused.status.success());
    assert!(String::from_utf8(refused.stderr).unwrap().contains("root version 2 is pinned"));
}

#[test]
fn the_list_of_keys_is_an_object_with_a_schema() {
    let output = output(&repository(), &["key", "list", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["schema"], 1);
    let keys = json["keys"].as_array().unwrap();
    assert!(!keys.is_empty() && keys.iter().all(|key| key["keyid"].is_string()), "{json}");
}

#[test]
fn a_key_is_not_shown_as_verified_because_of_its_pub_file() {
    let folder = repository();
    let shown = |name: &str| {
        let [text, json] = [&["key", "show", name][..], &["key", "show", name, "--json"]].map(|args| {
            let output = output(&folder, args);
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        });
        (text, serde_json::from_str::<serde_json::Value>(&json).unwrap())
    };
    for (name, more) in [("alice", &[][..]), ("bob", &["--unencrypted"][..])] {
        assert_eq!(run(&folder, &[&["key", "generate", name], more].concat()), ExitStatus::Done as i32);
    }
    let keys = folder.path().join("keys");
    let alice = keys.join("alice.pem");
    let bob = keys.join("bob.pem");
    let (text, json) = shown(alice.to_str().unwrap());
    assert!(text.contains("alice.pub, not verified"), "{text}");
    assert_eq!(json["verified"], false);
    assert!(json["according_to"].as_str().unwrap().ends_with("alice.pub"), "{json}");
    let (text, json) = shown(bob.to_str().unwrap());
    assert!(!text.contains("not verified"), "{text}");
    assert_eq!((json["verified"].as_bool(), json["according_to"].is_null()), (Some(true), true));
    // If the private key can be opened, a `.pub` file with a different key is refused.
    std::fs::copy(keys.join("alice.pub"), keys.join("bob.pub")).unwrap();
    let refused = output(&folder, &["key", "show", bob.to_str().unwrap()]);
    assert!(!refused.status.success(), "{refused:?}");
}

#[test]
fn no_key_is_generated_in_a_served_folder() {
    let folder = repository();
    for served in ["targets", "metadata/keys"] {
        let served = folder.path().join(served);
        let args = ["key", "generate", "new", "--unencrypted", "--folder", served.to_str().unwrap()];
        let refused = output(&folder, &args);
        assert!(!refused.status.success(), "{refused:?}");
        assert!(String::from_utf8(refused.stderr).unwrap().contains("is served to everyone"));
        assert!(!served.join("new.pem").exists());
    }
}

#[test]
fn a_public_key_in_a_file_that_ends_in_pem_can_be_added_to_a_role() {
    let folder = repository();
    let public = folder.path().join("alice.pem");
    let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea alice@laptop\n";
    std::fs::write(&public, line).unwrap();
    let added = output(&folder, &["rotate", "root", "--add", public.to_str().unwrap()]);
    assert!(added.status.success(), "{added:?}");
    let root = std::fs::read_to_string(folder.path().join("metadata/2.root.json")).unwrap();
    assert!(root.contains("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"), "{root}");
}
