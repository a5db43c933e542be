//! Tests that run `lastmile-repo` as a separate process, and check its output and its changes to the configuration.
//!
//! A new process briefly inherits the locks of the program that starts it. If the tests of the library ran in this
//! program, they would sometimes find their repositories locked. Therefore, they are in another program.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests create the files that they need")]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use lastmile_repo_tool::Config;
use lastmile_repo_tool::internal::cli::ExitStatus;
use lastmile_repo_tool::internal::layout::Layout;
use tempfile::TempDir;

/// Returns a command that runs as a user whose configuration is in the test's folder.
fn program(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastmile-repo"));
    command.env("LASTMILE_REPO_CONFIG", folder.path().join(".user/config.toml"));
    command
}

fn output(folder: &TempDir, args: &[&str]) -> Output {
    let mut command = program(folder);
    command.env("LASTMILE_PASS_PHRASE", "pass").arg("-C").arg(folder.path()).args(args).output().unwrap()
}

fn run(folder: &TempDir, args: &[&str]) -> i32 {
    output(folder, args).status.code().unwrap()
}

/// Runs the command and returns its standard error. The command must succeed.
fn printed(folder: &TempDir, args: &[&str]) -> String {
    printed_with(folder, args, ExitStatus::Done)
}

/// Runs the command and returns its standard error. The exit status of the command must be `status`.
fn printed_with(folder: &TempDir, args: &[&str], status: ExitStatus) -> String {
    let output = output(folder, args);
    assert_eq!(output.status.code(), Some(status as i32), "{args:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn repository() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(&folder, &["init", "--unencrypted-keys"]), ExitStatus::Done as i32);
    folder
}

fn keys_of(folder: &TempDir, entry: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder.path().join("repo.toml")).unwrap();
    let config = Config::parse(&text, Path::new("repo.toml")).unwrap();
    let role = lastmile_metadata::RoleName::listed(entry).unwrap();
    config.role(&role).keys.iter().map(ToString::to_string).collect()
}

#[test]
fn the_config_keeps_a_key_that_other_bins_trust() {
    let folder = repository();
    for name in ["old", "new"] {
        assert_eq!(run(&folder, &["key", "generate", name, "--unencrypted"]), ExitStatus::Done as i32);
    }
    assert_eq!(run(&folder, &["bins", "--bit-length", "1", "--prefixes", "--key", "old"]), ExitStatus::Done as i32);
    assert_eq!(run(&folder, &["rotate", "bin-0", "--add", "new", "--remove", "old"]), ExitStatus::Done as i32);
    assert_eq!(keys_of(&folder, "bin-*"), ["file:keys/old.pem", "file:keys/new.pem"]);
    assert_eq!(run(&folder, &["rotate", "bin-1", "--add", "new", "--remove", "old"]), ExitStatus::Done as i32);
    assert_eq!(keys_of(&folder, "bin-*"), ["file:keys/new.pem"]);
}

#[test]
fn the_expiry_of_a_missing_role_cannot_be_set() {
    let folder = repository();
    let before = std::fs::read(folder.path().join("repo.toml")).unwrap();
    assert_eq!(run(&folder, &["set-expiry", "timestmp", "3"]), ExitStatus::NoSuchName as i32);
    assert_eq!(run(&folder, &["set-expiry", "timestamp", "0"]), ExitStatus::Usage as i32);
    assert_eq!(run(&folder, &["set-expiry", "timestamp", "4294967295"]), ExitStatus::Usage as i32);
    assert_eq!(std::fs::read(folder.path().join("repo.toml")).unwrap(), before);
    assert_eq!(run(&folder, &["set-expiry", "timestamp", "3"]), ExitStatus::Done as i32);
}

#[test]
fn the_config_keeps_a_role_that_is_still_trusted() {
    let folder = repository();
    for name in ["team", "bins"] {
        assert_eq!(run(&folder, &["key", "generate", name, "--unencrypted"]), ExitStatus::Done as i32);
        assert_eq!(run(&folder, &["delegate", name, "--paths", "*", "--key", name]), ExitStatus::Done as i32);
    }
    let bins = ["bins", "--bit-length", "1", "--role", "bins", "--name-prefix", "team"];
    assert_eq!(run(&folder, &bins), ExitStatus::Done as i32);
    assert_eq!(keys_of(&folder, "team-*"), ["file:keys/bins.pem"]);

    // Remove the delegation to `team` in a pending change, and then discard that change.
    let targets = folder.path().join("keys/targets-1.pem");
    let elsewhere = folder.path().join("elsewhere.pem");
    std::fs::rename(&targets, &elsewhere).unwrap();
    assert_eq!(run(&folder, &["undelegate", "team"]), ExitStatus::Pending as i32);
    assert_eq!(run(&folder, &["discard", "--yes"]), ExitStatus::Done as i32);
    assert_eq!(keys_of(&folder, "team"), ["file:keys/team.pem"]);

    // Remove the delegation to `team`. This must not remove the keys of the bins `team-*` from the configuration,
    // although the names are similar.
    std::fs::rename(&elsewhere, &targets).unwrap();
    assert_eq!(run(&folder, &["undelegate", "team"]), ExitStatus::Done as i32);
    assert_eq!(keys_of(&folder, "team-*"), ["file:keys/bins.pem"]);
}

#[test]
fn extending_the_pending_change_reports_that_earlier_signatures_are_void() {
    let folder = repository();
    let file = folder.path().join("file");
    std::fs::write(&file, "1").unwrap();
    let file = file.to_str().unwrap();
    let targets = folder.path().join("keys/targets-1.pem");
    let elsewhere = folder.path().join("elsewhere.pem");
    std::fs::rename(targets, &elsewhere).unwrap();
    let add = |name: &str| printed_with(&folder, &["add", file, "--name", name], ExitStatus::Pending);
    assert!(!add("a").contains("no longer count"));
    printed(&folder, &["sign", "--yes", "--key", elsewhere.to_str().unwrap()]);
    assert!(add("b").contains("Earlier signatures on targets no longer count."));
    printed(&folder, &["sign", "--yes", "--key", elsewhere.to_str().unwrap()]);
    assert!(!printed(&folder, &["publish"]).contains("no longer count"));
}

#[test]
fn revoking_an_unencrypted_online_key_warns_that_the_new_key_is_encrypted() {
    let folder = repository();
    let revoke = |key: &str, further: &[&str]| printed(&folder, &[&["revoke", key], further].concat());
    assert!(!revoke("timestamp-1", &["--unencrypted-online-keys"]).contains("needs the pass-phrase"));
    assert!(revoke("timestamp-2", &[]).contains("needs the pass-phrase"));
}

#[test]
fn releases_of_many_processes_are_published_together_even_if_one_is_killed() {
    let folder = repository();
    let layout = Layout::new(folder.path());
    let files = tempfile::tempdir().unwrap();
    // Hold the repository's lock until all processes wait for the lock.
    let lock = layout.lock().unwrap();
    let mut publishers: Vec<_> = (0..12)
        .map(|number| {
            let file = files.path().join(format!("package-{number}"));
            std::fs::write(&file, number.to_string()).unwrap();
            let mut command = program(&folder);
            command.arg("-C").arg(folder.path()).arg("add").arg(file);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let waiting = || {
        let names = std::fs::read_dir(layout.queue()).into_iter().flatten().map(|entry| entry.unwrap().file_name());
        names.filter(|name| !name.to_string_lossy().starts_with('.')).count()
    };
    let start = Instant::now();
    while waiting() < publishers.len() {
        assert!(start.elapsed() < Duration::from_secs(60), "{}", waiting());
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut killed = publishers.remove(7);
    killed.kill().unwrap();
    killed.wait().unwrap();
    drop(lock);
    for publisher in publishers {
        let output = publisher.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(layout.metadata().join(name)).unwrap()).unwrap()
    };
    assert_eq!(read("timestamp.json")["signed"]["version"], 2);
    let targets = &read("2.targets.json")["signed"]["targets"];
    let mut names: Vec<&String> = targets.as_object().unwrap().keys().collect();
    names.sort();
    let expected: Vec<String> =
        (0..12).filter(|number| *number != 7).map(|number| format!("package-{number}")).collect();
    assert!(names.len() == 11 && expected.iter().all(|name| names.contains(&name)), "{names:?}");
    assert_eq!(run(&folder, &["verify"]), ExitStatus::Done as i32);
    assert_eq!(waiting(), 0);
}

/// Plants a pending change in `staged/` that the maintainer has not reviewed.
fn plant(folder: &TempDir) {
    let targets = folder.path().join("keys/targets-1.pem");
    let elsewhere = folder.path().join("elsewhere.pem");
    std::fs::rename(&targets, &elsewhere).unwrap();
    let evil = folder.path().join("evil");
    std::fs::write(&evil, "evil").unwrap();
    run(folder, &["add", evil.to_str().unwrap()]);
    std::fs::rename(elsewhere, targets).unwrap();
}

#[test]
fn r_x_1_only_the_command_that_shows_the_pending_change_signs_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let file = file.path().to_str().unwrap();
    let commands: [&[&str]; 6] = [
        &["publish"],
        &["add", file, "--name", "mine"],
        &["rotate", "timestamp", "--add", "new"],
        &["set-threshold", "root", "1"],
        &["revoke", "snapshot-1"],
        &["renew", "--force", "targets"],
    ];
    for command in commands {
        let folder = repository();
        run(&folder, &["key", "generate", "new", "--unencrypted"]);
        plant(&folder);
        let output = output(&folder, command);
        let staged = std::fs::read_to_string(folder.path().join("staged/targets.json")).unwrap();
        assert!(staged.contains("\"signatures\":[]"), "{command:?} signed: {staged}");
        let published = folder.path().join("metadata/2.targets.json");
        assert!(!published.exists(), "{command:?} published: {output:?}");
        // The command `sign` shows the pending change to the maintainer, so it may sign the change.
        run(&folder, &["sign", "--yes"]);
        assert_eq!(run(&folder, &["publish"]), ExitStatus::Done as i32, "{command:?}: {output:?}");
        assert_eq!(run(&folder, &["verify"]), ExitStatus::Done as i32);
    }
}

#[test]
fn a_pending_revocation_is_proved_when_it_is_published() {
    let folder = repository();
    let root = folder.path().join("keys/root-1.pem");
    let elsewhere = folder.path().join("elsewhere.pem");
    let other = folder.path().join("keys/root-2.pem");
    std::fs::rename(&root, &elsewhere).unwrap();
    std::fs::rename(&other, folder.path().join("other.pem")).unwrap();
    assert_eq!(run(&folder, &["revoke", "timestamp-1"]), ExitStatus::Pending as i32);
    std::fs::rename(&elsewhere, &root).unwrap();
    printed(&folder, &["sign", "--yes"]);
    let stderr = printed(&folder, &["publish"]);
    assert!(stderr.contains(" is no longer trusted for any role.") && stderr.contains("forged timestamp"), "{stderr}");
    assert!(!stderr.contains("NO "), "{stderr}");
}

#[test]
fn a_list_is_read_from_standard_input_and_its_files_may_be_on_another_server() {
    let folder = repository();
    let mut add = program(&folder)
        .arg("-C")
        .arg(folder.path())
        .args(["add", "--from-list", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let line = format!("{} 3 a/b\n", "0".repeat(64));
    std::io::Write::write_all(&mut add.stdin.take().unwrap(), line.as_bytes()).unwrap();
    assert!(add.wait().unwrap().success());
    let listed = std::fs::read_to_string(folder.path().join("metadata/2.targets.json")).unwrap();
    assert!(listed.contains("a/b"), "{listed}");
    assert_eq!(run(&folder, &["verify"]), ExitStatus::Refused as i32);
    assert!(printed(&folder, &["verify", "--allow-missing-targets"]).contains("1 target file is not in this folder"));
    // With `--allow-missing-targets`, `verify` still checks the target files that exist.
    std::fs::create_dir(folder.path().join("targets/a")).unwrap();
    std::fs::write(folder.path().join(format!("targets/a/{}.b", "0".repeat(64))), "bad").unwrap();
    assert_eq!(run(&folder, &["verify", "--allow-missing-targets"]), ExitStatus::Refused as i32);
    // `--elsewhere` is the former name of `--allow-missing-targets`.
    std::fs::remove_dir_all(folder.path().join("targets/a")).unwrap();
    assert_eq!(printed(&folder, &["verify", "--elsewhere"]), printed(&folder, &["verify", "--allow-missing-targets"]));
}

#[test]
fn a_foreign_repository_is_used_once_its_root_is_given() {
    let folder = repository();
    let file = folder.path().join("file");
    let root = folder.path().join("metadata/1.root.json");
    std::fs::write(&file, "1").unwrap();
    let given = folder.path().join("given.json");
    std::fs::copy(&root, &given).unwrap();
    let as_user = |user: &str, variable: Option<&str>, further: &[&str]| {
        let mut command = program(&folder);
        command.env("LASTMILE_REPO_CONFIG", folder.path().join(user)).arg("-C").arg(folder.path());
        command.envs(variable.map(|digest| ("LASTMILE_REPO_ROOT_SHA256", digest)));
        command.arg("add").arg(&file).args(["--name", "a"]).args(further).output().unwrap()
    };
    let refused = as_user("a.toml", None, &[]);
    let printed = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(ExitStatus::Refused as i32));
    assert!(printed.contains("its root is not pinned") && printed.contains("--root-sha256 "), "{printed}");
    let digest = printed.split("--root-sha256 ").nth(1).unwrap().get(..64).unwrap().to_string();
    // A root that is given in an environment variable, as in a scheduled job, is not stored. A root that is given on
    // the command line is stored.
    assert!(as_user("a.toml", Some(&digest), &[]).status.success());
    assert!(!folder.path().join("a.toml").exists());
    assert!(as_user("b.toml", None, &["--root-sha256", &digest]).status.success());
    assert!(as_user("b.toml", None, &[]).status.success());
    assert!(as_user("c.toml", None, &["--root", given.to_str().unwrap()]).status.success());
    assert!(as_user("c.toml", None, &[]).status.success());
    let wrong = "0".repeat(64);
    assert!(!as_user("d.toml", Some(&wrong), &[]).status.success());
    assert_eq!(as_user("d.toml", Some("0"), &[]).status.code(), Some(ExitStatus::Usage as i32));
}

#[test]
fn a_key_outside_the_folder_is_named_on_the_command_line_or_allowed_first() {
    let folder = repository();
    let away = tempfile::tempdir().unwrap();
    let place = away.path().to_str().unwrap();
    assert_eq!(
        run(&folder, &["key", "generate", "targets-2", "--folder", place, "--unencrypted"]),
        ExitStatus::Done as i32
    );
    let key = away.path().canonicalize().unwrap().join("targets-2.pem");
    let uri = format!("file:{}", key.display());
    printed(&folder, &["rotate", "targets", "--add", &uri, "--remove", "targets-1"]);
    let file = folder.path().join("file");
    std::fs::write(&file, "1").unwrap();
    printed(&folder, &["add", file.to_str().unwrap(), "--name", "a"]);
    // Use another user's configuration, which does not allow the use of the key.
    let root = folder.path().join("metadata/1.root.json");
    let other = |args: &[&str]| {
        let mut command = program(&folder);
        command.env("LASTMILE_REPO_CONFIG", folder.path().join("other.toml")).arg("-C").arg(folder.path());
        command.args(["--root", root.to_str().unwrap()]).args(args).output().unwrap()
    };
    let status = other(&["status"]);
    let printed = String::from_utf8(status.stderr).unwrap();
    assert!(printed.contains("you have not allowed its use"), "{printed}");
    let add = ["add", file.to_str().unwrap(), "--name", "b"];
    let staged = other(&add);
    assert!(String::from_utf8(staged.stderr).unwrap().contains("Nothing has been published"));
    assert!(other(&["discard", "--yes"]).status.success());
    assert!(other(&["key", "allow", key.to_str().unwrap()]).status.success());
    assert!(String::from_utf8(other(&add).stderr).unwrap().contains("Published."));
}

#[test]
fn private_keys_and_the_repository_itself_are_never_published() {
    let folder = repository();
    let files = tempfile::tempdir().unwrap();
    let key = folder.path().join("keys/root-1.pem");
    std::fs::create_dir(files.path().join("dist")).unwrap();
    std::fs::write(files.path().join("dist/app"), "app").unwrap();
    std::fs::write(files.path().join("dist/.env"), "secret").unwrap();
    let copy = files.path().join("copy.pem");
    std::fs::copy(&key, &copy).unwrap();
    let metadata = || std::fs::read_dir(folder.path().join("metadata")).unwrap().count();
    let before = metadata();
    let inside = folder.path().to_str().unwrap();
    let above = folder.path().join("metadata/..");
    let paths = [inside, above.to_str().unwrap(), key.to_str().unwrap(), copy.to_str().unwrap()];
    for path in paths.into_iter().chain(["keys", ".", "..", "keys/.."]) {
        let output = program(&folder).current_dir(folder.path()).args(["add", path]).output().unwrap();
        assert_eq!(output.status.code(), Some(ExitStatus::Refused as i32), "{path}: {output:?}");
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(printed.contains("must stay private") && printed.contains(path), "{printed}");
        assert_eq!((metadata(), folder.path().join("targets").read_dir().unwrap().count()), (before, 0), "{path}");
    }
    let allowed = ["add", copy.to_str().unwrap(), "--allow-private-key-material"];
    assert_eq!(run(&folder, &[&allowed[..2], &["--dry-run"]].concat()), ExitStatus::Refused as i32);
    // Private keys of the repository are refused even with the option that allows private keys. Other private keys are
    // published.
    assert_eq!(run(&folder, &allowed), ExitStatus::Refused as i32);
    std::fs::copy(repository().path().join("keys/root-1.pem"), &copy).unwrap();
    assert_eq!(run(&folder, &allowed[..2]), ExitStatus::Refused as i32);
    assert_eq!(run(&folder, &allowed), ExitStatus::Done as i32);
    let dist = files.path().join("dist");
    let printed = printed(&folder, &["add", dist.to_str().unwrap()]);
    assert!(printed.contains("Skipped 1 hidden file or folder; --include-hidden"), "{printed}");
}

#[test]
fn revoke_generates_no_key_for_another_holder_by_default() {
    let folder = repository();
    let keys = || std::fs::read_dir(folder.path().join("keys")).unwrap().count();
    let before = keys();
    let output = output(&folder, &["revoke", "targets-1"]);
    assert_eq!(output.status.code(), Some(ExitStatus::Failed as i32), "{output:?}");
    let reason = String::from_utf8(output.stderr).unwrap();
    assert!(reason.contains("--replace-with FILE.pub") && reason.contains("--generate"), "{reason}");
    let stderr = printed(&folder, &["revoke", "root-3"]);
    assert!(stderr.contains("root has 2 keys left, and 2 must sign: if one is lost"), "{stderr}");
    assert!(stderr.contains("2 of 2 root keys are on this machine, and 2 can sign a new root"), "{stderr}");
    assert_eq!(keys(), before);
    let stderr = printed(&folder, &["revoke", "targets-1", "--generate"]);
    assert!(stderr.contains("1 of 1 targets keys is now on this machine, and 1 must sign"), "{stderr}");
    // A colleague generates a key and sends the public key.
    let colleague = tempfile::tempdir().unwrap();
    let args = ["key", "generate", "root-9", "--unencrypted", "--folder", colleague.path().to_str().unwrap()];
    assert_eq!(run(&folder, &args), ExitStatus::Done as i32);
    let public = colleague.path().join("root-9.pub");
    printed(&folder, &["rotate", "root", "--add", public.to_str().unwrap()]);
    // A key that is already listed for the role is not a replacement.
    let with = format!("root={}", public.display());
    assert_eq!(run(&folder, &["revoke", "root-1", "--replace-with", &with]), ExitStatus::Failed as i32);
    assert_eq!(run(&folder, &["verify"]), ExitStatus::Done as i32);
}
/// Adds a key to the targets role of a pending root, as anyone who can write to `staged/` could. python-tuf can use the
/// key, but lastmile cannot. Returns the key ID.
fn plant_key(folder: &TempDir) -> String {
    let keys = folder.path().join("keys");
    let elsewhere = folder.path().join("elsewhere");
    std::fs::rename(&keys, &elsewhere).unwrap();
    run(folder, &["renew", "--force", "root"]);
    std::fs::rename(&elsewhere, &keys).unwrap();
    let public = "-----BEGIN PUBLIC KEY-----\nMEkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDMgAE\n-----END PUBLIC KEY-----\n";
    let key = serde_json::json!({
        "keytype": "rsa", "scheme": "rsa-pkcs1v15-sha512", "keyval": { "public": public }
    });
    let canonical = lastmile_metadata::Json::parse(&key.to_string()).unwrap();
    let id = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(canonical.canonical()));
    let path = folder.path().join("staged/root.json");
    let mut staged: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let member = |pointer: &str, staged: &mut serde_json::Value, value: serde_json::Value| match pointer {
        "/signed/keys" => drop(staged.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert(id.clone(), value)),
        _ => staged.pointer_mut(pointer).unwrap().as_array_mut().unwrap().push(value),
    };
    member("/signed/keys", &mut staged, key);
    member("/signed/roles/targets/keyids", &mut staged, id.as_str().into());
    std::fs::write(path, staged.to_string()).unwrap();
    id
}

#[test]
fn a_planted_key_is_refused_with_its_name_and_removed_by_its_id() {
    let folder = repository();
    let id = plant_key(&folder);
    let refused = output(&folder, &["sign", "--yes"]);
    assert_eq!(refused.status.code(), Some(ExitStatus::Failed as i32), "{refused:?}");
    let text = String::from_utf8(refused.stderr).unwrap();
    let options = [format!("--accept 'root:/keys/{id}'"), format!("--accept 'root:/roles/targets/keyids/{id}'")];
    assert!(options.iter().all(|option| text.contains(option)), "{text}");
    assert!(String::from_utf8(refused.stdout).unwrap().contains("rsa-pkcs1v15-sha512"));
    assert_eq!(run(&folder, &["publish"]), ExitStatus::Failed as i32);
    let places = [format!("root:/keys/{id}"), format!("root:/roles/targets/keyids/{id}")];
    let accept = ["--accept", &places[0], "--accept", &places[1]];
    printed(&folder, &[&["sign", "--yes"], &accept[..]].concat());
    assert_eq!(run(&folder, &["publish"]), ExitStatus::Failed as i32);
    assert!(printed(&folder, &[&["publish"], &accept[..]].concat()).contains(&format!("rotate targets --remove {id}")));

    let shown = |args: &[&str]| String::from_utf8(output(&folder, args).stdout).unwrap();
    assert!(shown(&["key", "list"]).contains(&format!("{id} cannot be used by lastmile")));
    assert!(shown(&["status"]).contains(&format!("{id} cannot be used by lastmile")));
    printed(&folder, &["rotate", "targets", "--remove", &id[..6]]);
    let root = std::fs::read_to_string(folder.path().join("metadata/3.root.json")).unwrap();
    assert!(!root.contains(&id), "{root}");
    assert!(!shown(&["key", "list"]).contains("cannot be used"));
    assert_eq!(run(&folder, &["verify"]), ExitStatus::Done as i32);
}

#[test]
fn an_unusable_key_is_revoked_by_the_start_of_its_id() {
    let folder = repository();
    let id = plant_key(&folder);
    printed(&folder, &["sign", "--yes", "--accept", &id]);
    printed(&folder, &["publish", "--accept", &id]);
    assert_eq!(run(&folder, &["revoke", "ffff0000ffff"]), ExitStatus::NoSuchName as i32);
    let stderr = printed(&folder, &["revoke", &id[..6]]);
    assert!(
        stderr.contains("targets (key listed in root)") && stderr.contains("cannot test whether clients refuse"),
        "{stderr}"
    );
    let root = std::fs::read_to_string(folder.path().join("metadata/3.root.json")).unwrap();
    assert!(!root.contains(&id), "{root}");
}

#[test]
fn accepting_a_member_that_does_not_exist_changes_nothing() {
    let folder = repository();
    assert_eq!(run(&folder, &["renew", "--force", "--accept", "targets:/x"]), ExitStatus::Done as i32);
}

#[test]
fn a_dry_run_allows_no_key() {
    let folder = repository();
    let away = tempfile::tempdir().unwrap();
    let place = away.path().to_str().unwrap();
    assert_eq!(run(&folder, &["key", "generate", "ext", "--folder", place, "--unencrypted"]), ExitStatus::Done as i32);
    let config = folder.path().join(".user/config.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    let key = format!("file:{}/ext.pem", away.path().canonicalize().unwrap().display());
    printed(&folder, &["delegate", "team", "--paths", "x/*", "--key", &key, "--dry-run"]);
    assert_eq!(std::fs::read_to_string(&config).unwrap(), before);
    printed(&folder, &["delegate", "team", "--paths", "x/*", "--key", &key]);
    assert!(std::fs::read_to_string(&config).unwrap().contains("ext.pem"));
}

#[test]
fn a_pass_phrase_in_the_environment_need_not_be_utf_8() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = repository();
    let mut command = program(&folder);
    command.env("LASTMILE_PASS_PHRASE", std::ffi::OsStr::from_bytes(b"pa\xffss"));
    let output =
        command.arg("-C").arg(folder.path()).args(["key", "generate", "spare"]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let pem = std::fs::read_to_string(folder.path().join("keys/spare.pem")).unwrap();
    assert!(lastmile_keys::PrivateKey::from_pem(&pem, Some(b"pa\xffss")).is_ok());
}
