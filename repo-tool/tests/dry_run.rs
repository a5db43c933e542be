//! Dry runs, `status` and `verify` change nothing, and `sign` changes only the pending metadata file that it signs.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests create the files that they need")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lastmile_repo_tool::internal::cli::ExitStatus;
use tempfile::TempDir;

fn output(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastmile-repo"));
    command.env("LASTMILE_PASS_PHRASE", "pass").arg("-C").arg(folder).args(args).output().unwrap()
}

fn done(folder: &Path, args: &[&str]) -> String {
    let output = output(folder, args);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}: {text}");
    text
}

/// Maps each path below `folder` to the content of the file, or to `None` for a folder.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry.clone());
                all.insert(entry, None);
            } else {
                all.insert(entry.clone(), Some(std::fs::read(&entry).unwrap()));
            }
        }
    }
    all
}

fn repository() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let packages = folder.path().join("packages");
    std::fs::create_dir(&packages).unwrap();
    done(&packages, &["init", "--unencrypted-keys"]);
    std::fs::write(folder.path().join("file"), "1").unwrap();
    done(&packages, &["key", "generate", "new", "--unencrypted"]);
    (folder, packages)
}

/// Creates the files that an interrupted publication leaves behind. If `has_journal` is true, also creates a journal,
/// which lists the files that the publication still has to move.
fn cut_short(packages: &Path, has_journal: bool) {
    let publishing = packages.join(".publishing");
    std::fs::copy(packages.join("metadata/timestamp.json"), publishing.join("new-0")).unwrap();
    std::fs::create_dir_all(packages.join(".queue/abcdefghijkl")).unwrap();
    std::fs::write(packages.join(".queue/abcdefghijkl/owner"), "").unwrap();
    let step =
        r#"{"rank":"Timestamp","from":".publishing/new-0","to":"metadata/timestamp.json","existing":"Replaced"}"#;
    if has_journal {
        let journal = format!("{{\"steps\":[{step}],\"clears_staged\":false}}");
        std::fs::write(publishing.join("journal.json"), journal).unwrap();
    }
}

#[test]
fn dry_runs_status_and_verify_change_nothing() {
    let (folder, packages) = repository();
    let file = folder.path().join("file");
    let file = file.to_str().unwrap();
    done(&packages, &["add", file, "--name", "old"]);
    done(&packages, &["delegate", "plugins", "--paths", "plugins/*", "--key", "new"]);
    let commands: [&[&str]; 14] = [
        &["set-delegation", "plugins", "--terminating", "--dry-run"],
        &["add", file, "--name", "new", "--dry-run"],
        &["remove", "old", "--dry-run"],
        &["delegate", "team", "--paths", "team/*", "--key", "new", "--dry-run"],
        &["bins", "--bit-length", "1", "--prefixes", "--dry-run"],
        &["renew", "--force", "--dry-run"],
        &["rotate", "timestamp", "--add", "new", "--dry-run"],
        &["set-threshold", "root", "1", "--dry-run"],
        &["set-expiry", "timestamp", "3", "--dry-run"],
        &["revoke", "timestamp-1", "--dry-run"],
        &["init", "--dry-run"],
        &["key", "generate", "other", "--unencrypted", "--dry-run"],
        &["status"],
        &["verify"],
    ];
    for has_journal in [false, true] {
        cut_short(&packages, has_journal);
        let before = contents(&packages);
        for command in commands {
            let output = output(&packages, command);
            let text =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let needs_attention = has_journal && command == ["status"];
            let is_refused = command.first() == Some(&"init");
            assert!(output.status.success() != (needs_attention || is_refused), "{command:?}: {text}");
            let is_told = text.contains("was interrupted") && text.contains("to finish it");
            assert_eq!(is_told, has_journal && command.first() != Some(&"key"), "{command:?}: {text}");
            assert!(contents(&packages) == before, "{command:?} changed something");
        }
    }
    done(&packages, &["renew"]);
    assert!(!packages.join(".publishing/journal.json").exists());
}

#[test]
fn sign_changes_only_the_signed_document() {
    let (folder, packages) = repository();
    let file = folder.path().join("file");
    let (targets, elsewhere) = (packages.join("keys/targets-1.pem"), folder.path().join("targets-1.pem"));
    std::fs::rename(targets, &elsewhere).unwrap();
    let added = output(&packages, &["add", file.to_str().unwrap()]);
    assert_eq!(added.status.code(), Some(ExitStatus::Pending as i32), "{added:?}");
    let sign = ["sign", "--yes", "--key", elsewhere.to_str().unwrap()];
    cut_short(&packages, true);
    let before = contents(&packages);
    for (command, status) in [
        (&sign[..], ExitStatus::Failed),
        (&["sign", "--dry-run"], ExitStatus::Failed),
        (&["publish", "--dry-run"], ExitStatus::Pending),
        (&["discard", "--yes", "--dry-run"], ExitStatus::Done),
    ] {
        let output = output(&packages, command);
        assert_eq!(output.status.code(), Some(status as i32), "{command:?}: {output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("was interrupted; run `lastmile-repo renew` to finish it"), "{command:?}: {stderr}");
        assert!(contents(&packages) == before, "{command:?}");
    }
    std::fs::remove_file(packages.join(".publishing/journal.json")).unwrap();
    let before = contents(&packages);
    done(&packages, &sign);
    let after = contents(&packages);
    let changed: Vec<&PathBuf> =
        after.iter().filter(|(path, file)| before.get(*path) != Some(file)).map(|(path, _)| path).collect();
    assert_eq!(changed, [&packages.join("staged/targets.json")]);
    assert_eq!(before.len(), after.len());
}

#[test]
fn a_key_is_used_only_if_its_private_key_file_confirms_it() {
    let (_folder, packages) = repository();
    done(&packages, &["key", "generate", "stranger", "--unencrypted"]);
    std::fs::copy(packages.join("keys/stranger.pub"), packages.join("keys/new.pub")).unwrap();
    let before = contents(&packages);
    for key in ["new", "file:keys/new.pem"] {
        for command in [
            &["rotate", "timestamp", "--add", key][..],
            &["revoke", key],
            &["delegate", "b", "--paths", "b", "--key", key],
        ] {
            let refused = output(&packages, command);
            assert_eq!(refused.status.code(), Some(ExitStatus::Failed as i32), "{command:?}: {refused:?}");
            assert!(
                String::from_utf8_lossy(&refused.stderr).contains("new.pub next to it"),
                "{command:?}: {refused:?}"
            );
        }
    }
    let metadata = |all: BTreeMap<PathBuf, Option<Vec<u8>>>| -> Vec<_> {
        all.into_iter().filter(|(path, _)| path.starts_with(packages.join("metadata"))).collect()
    };
    assert!(metadata(contents(&packages)) == metadata(before));
    // If no role lists a key and its private key is missing, users cannot specify the key by its ID. Only its `.pub`
    // file is left, and anyone could have written that file.
    std::fs::remove_file(packages.join("keys/stranger.pem")).unwrap();
    std::fs::remove_file(packages.join("keys/new.pub")).unwrap();
    let shown: serde_json::Value = serde_json::from_str(&done(
        &packages,
        &["--json", "--quiet", "key", "show", packages.join("keys/stranger.pub").to_str().unwrap()],
    ))
    .unwrap();
    let id = shown["keyid"].as_str().unwrap().get(..8).unwrap().to_string();
    let refused = output(&packages, &["rotate", "timestamp", "--add", &id]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("give its public key file"), "{refused:?}");
}
