//! Runs the client with a store in which files are damaged, come from another repository, or are replaced by links,
//! devices or folders. These files must never make the client follow a link, wait for a pipe, read without a limit, or
//! accept a rollback.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};

use lastmile_client::{Error as ClientError, Event};
use lastmile_metadata::ErrorKind;
use lastmile_testkit::{Repository, TestClient, TestKey, refused};
use tempfile::TempDir;

use crate::cli::program;

/// All files in a store that has been used.
const FILES: [&str; 9] = [
    "root.json",
    "timestamp.json",
    "snapshot.json",
    "targets.json",
    "state/2.root.json",
    "state/floors",
    "state/stamp.json",
    "state/lock",
    "state/refresh.lock",
];

const ROLES: [&str; 3] = ["timestamp.json", "snapshot.json", "targets.json"];

const KINDS: [&str; 11] =
    ["missing", "empty", "corrupt", "truncated", "huge", "link", "dangling link", "device", "fifo", "socket", "folder"];

fn say(line: &str) {
    lastmile_tests::say(&format!("cached: {line}"));
}

/// Replaces the file at `path`; `kind` is one of [`KINDS`]. Returns `false` if this system does not allow creating the
/// replacement.
fn put(kind: &str, path: &Path, outside: &Path) -> bool {
    let whole = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    match kind {
        "missing" => {}
        "empty" => fs::write(path, b"").unwrap(),
        "corrupt" => fs::write(path, b"{\"signed\": 7").unwrap(),
        "truncated" => fs::write(path, &whole[..whole.len() / 2]).unwrap(),
        "huge" => File::create(path).unwrap().set_len(10 * 1024 * 1024 * 1024).unwrap(),
        "link" => {
            fs::write(outside, &whole).unwrap();
            symlink(outside, path).unwrap();
        }
        "dangling link" => symlink(outside.with_extension("none"), path).unwrap(),
        "device" => {
            if !Command::new("mknod").arg(path).args(["c", "1", "5"]).output().is_ok_and(|made| made.status.success()) {
                return false;
            }
            // The test does not open the device, because some systems allow creating a device node but not opening it.
            assert!(fs::symlink_metadata(path).unwrap().file_type().is_char_device());
        }
        "fifo" => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        "socket" => drop(UnixListener::bind(path).unwrap()),
        _ => fs::create_dir(path).unwrap(),
    }
    true
}

#[test]
fn d3_with_any_content_of_the_cache_nothing_older_is_accepted_and_no_other_file_is_changed() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    let oldest = repository.fork();
    repository.publish(&["root", "targets"]);
    repository.publish(&["targets"]);
    client.refresh().unwrap();
    let mut unchecked = 0;
    let mut recovered = 0;
    let mut kept = Vec::new();
    for name in FILES {
        for kind in KINDS {
            let case = format!("{kind} {name}");
            let folder = tempfile::tempdir().unwrap();
            let outside = folder.path().join("outside");
            let changed = || {
                let changed = client.copy();
                for lock in ["state/lock", "state/refresh.lock"] {
                    fs::write(changed.store_path().join(lock), b"").unwrap();
                }
                put(kind, &changed.store_path().join(name), &outside).then_some(changed)
            };
            let Some(victim) = changed() else {
                unchecked += 1;
                continue;
            };
            let before = fs::read(&outside).ok();
            // If the server replays an old state, the refresh must fail.
            victim.use_network(oldest.network());
            let ended = victim.refresh();
            assert!(ended.is_err(), "{case}: {ended:?}");
            // With the honest server, the client must either be up to date after one refresh, or report an error in
            // this run and in the next run.
            let honest = fs::remove_file(&outside).ok().map_or_else(changed, |()| changed()).unwrap();
            match honest.refresh() {
                Ok(versions) => {
                    recovered += 1;
                    assert_eq!(versions, [2, 3, 3, 3], "{case}");
                    let noticed = honest.events().iter().any(|notice| matches!(notice, Event::UnusableFile { .. }));
                    assert!(
                        noticed || kind != "link" || !ROLES.contains(&name),
                        "{case}: the client must report the link as unusable instead of following it"
                    );
                    honest.use_network(oldest.network());
                    assert!(matches!(refused(honest.refresh()).kind, ErrorKind::Rollback { .. }), "{case}");
                }
                Err(ClientError::Local(error)) => {
                    let says = error.hint.is_some() || error.path.starts_with(honest.store_path());
                    assert!(says, "{case}: {error:?}");
                    assert!(matches!(honest.refresh(), Err(ClientError::Local(_))), "{case}");
                    kept.push(case.clone());
                }
                Err(error) => panic!("{case}: {error:?}"),
            }
            assert_eq!(fs::read(&outside).ok(), before, "{case}: the file behind the link must not change");
            assert!(!outside.with_extension("none").exists(), "{case}");
        }
    }
    let all = FILES.len() * KINDS.len();
    if unchecked > 0 {
        say(&format!("NOT CHECKED: {unchecked} device nodes, which this machine does not allow"));
    }
    say(&format!("{} of {all} cases tested; one refresh repairs {recovered} of them", all - unchecked));
    // Only these kinds of damage may remain, because the client does not remove folders, and does not replace unusable
    // identity or lock files.
    let may_stay = |kept: &String| {
        ["folder ", "state/stamp.json", "state/lock", "state/refresh.lock"].iter().any(|kind| kept.contains(kind))
    };
    assert!(kept.iter().all(may_stay), "{kept:?}");
}

#[test]
fn g_3_1_a_cache_that_is_older_or_newer_than_the_shipped_root_is_used() {
    let mut repository = Repository::new();
    let first = TestClient::new(&repository);
    repository.publish(&["root"]);
    repository.publish(&["root"]);
    first.refresh().unwrap();
    let cached_3 = first.copy();
    repository.publish(&["root"]);
    repository.publish(&["root"]);
    let fifth = repository.fork();
    repository.publish(&["root"]);
    repository.publish(&["root"]);
    first.refresh().unwrap();
    let newest = [7, 5, 5, 1];
    let root = |version: u64| repository.network().file(&format!("metadata/{version}.root.json")).unwrap();
    let shipped = TestClient::with_root(root(5), repository.network());
    for cache in [&cached_3, &first] {
        shipped.copy_store_of(cache);
        assert_eq!(shipped.refresh().unwrap()[0], 7);
        shipped.use_network(fifth.network());
        // The client must keep the newest root or report an error.
        assert!(shipped.refresh().map_or(true, |versions| versions[0] == newest[0]));
        shipped.use_network(repository.network());
    }
    // A store with other root keys belongs to another repository, so the client must not change the store.
    let mut other = Repository::new();
    other.set_keys("root", &[TestKey::new("other")], 1);
    other.reissue(&["root"]);
    let foreign = TestClient::new(&other);
    foreign.copy_store_of(&first);
    let before = foreign.all_stored();
    assert!(matches!(foreign.refresh(), Err(ClientError::Local(_) | ClientError::Refused(_))));
    assert_eq!(foreign.all_stored(), before);
}

/// A folder that contains a repository and the state of a client.
struct Home(TempDir);

impl Home {
    fn new() -> Home {
        let home = Home(tempfile::tempdir().unwrap());
        home.must("lastmile-repo", &["init", "packages", "--unencrypted-keys"]);
        fs::write(home.0.path().join("file"), "file").unwrap();
        home.must("lastmile-repo", &["-C", "packages", "add", "file"]);
        let url = format!("file://{}/packages/metadata/", home.0.path().display());
        home.must(
            "lastmile",
            &["trust", "add", "it", "--root", "packages/metadata/1.root.json", "--metadata-url", &url],
        );
        home.must("lastmile", &["refresh"]);
        home
    }

    fn must(&self, name: &str, arguments: &[&str]) {
        let output = self.command(name).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command.current_dir(self.0.path()).env("LASTMILE_STATE_DIR", "state");
        command.env("LASTMILE_REPO_CONFIG", self.0.path().join("config.toml"));
        command
    }

    /// Runs a script in which `$client` and `$repo` are the paths of the two programs.
    fn shell(&self, wrapper: &[&str], script: &str) -> Output {
        let (name, arguments) = wrapper.split_first().unwrap();
        let mut command = Command::new(name);
        // The function `fails` replaces `!`, because `set -e` ignores the exit status of a command after `!`.
        let fails = "fails() { if \"$@\"; then echo \"succeeded unexpectedly: $*\"; exit 1; fi; }";
        command.args(arguments).args(["-euc", &format!("{fails}\n{script}")]).current_dir(self.0.path());
        command.env("client", program("lastmile")).env("repo", program("lastmile-repo"));
        command
            .env("LASTMILE_REPO_CONFIG", self.0.path().join("config.toml"))
            .env("LASTMILE_STATE_DIR", "state")
            .output()
            .unwrap()
    }

    fn is_refused(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Returns `true` if file systems can be mounted in a separate namespace. If they cannot, prints a message.
fn mounts(home: &Home) -> bool {
    let tried = home.shell(&["unshare", "-m", "sh"], "mkdir -p try; mount -t tmpfs -o size=64k none try");
    if !tried.status.success() {
        say(&format!("NOT CHECKED: this machine does not allow mounting file systems: {}", text(&tried).trim()));
    }
    tried.status.success()
}

#[test]
fn a_full_disk_is_reported_and_nothing_is_lost() {
    let home = Home::new();
    // If the maximum file size is set to zero, every write fails as on a full disk. Setting the limit requires no
    // privileges.
    let limited = home.shell(
        &["sh"],
        "trap '' XFSZ; cp -r state before
         $repo -C packages renew --force timestamp
         (ulimit -f 0; fails $client refresh --quiet; fails $client get file --output out)
         test ! -e out/file; $client refresh --quiet; $client get file --output out; test -e out/file
         (ulimit -f 0; fails $repo -C packages renew --force timestamp); $repo -C packages renew; $repo -C packages verify",
    );
    assert!(limited.status.success(), "{}", text(&limited));
    if !mounts(&home) {
        return;
    }
    let full = home.shell(
        &["unshare", "-m", "sh"],
        "mkdir small; mount -t tmpfs -o size=512k none small
         cp -r state packages small/; cd small
         $client refresh --quiet
         $repo -C packages renew --force timestamp
         dd if=/dev/zero of=filler bs=1k 2>/dev/null || true
         fails $client refresh --quiet 2>printed; cat printed
         fails $client get file --output out
         fails $repo -C packages renew --force timestamp
         fails $repo -C packages add ../file --name again
         rm filler
         test -z \"$(find . -name '*.part')\"
         $client refresh --quiet; $client get file --output out
         $repo -C packages add ../file --name again; $repo -C packages verify
         test -z \"$(ls packages/.publishing)\"; echo whole",
    );
    assert!(full.status.success() && text(&full).contains("whole"), "{}", text(&full));
}

#[test]
fn a_read_only_disk_is_reported_and_read() {
    let home = Home::new();
    if !mounts(&home) {
        return;
    }
    let read_only = home.shell(
        &["unshare", "-m", "sh"],
        "mkdir fixed; mount -t tmpfs none fixed; cp -r state packages fixed/; mount -o remount,ro fixed; cd fixed
         fails $client refresh --quiet 2>../printed; cat ../printed
         $client list --offline; $client get file --offline --output ../out || true
         fails $repo -C packages add ../file --name again 2>../printed; cat ../printed
         $repo -C packages verify; $repo -C packages status || true; echo whole",
    );
    let printed = text(&read_only);
    assert!(read_only.status.success() && printed.contains("whole"), "{printed}");
    assert!(printed.contains("Read-only file system") && printed.contains("--state-dir"), "{printed}");
}

#[test]
fn missing_folders_and_links_in_their_place_are_reported() {
    let home = Home::new();
    let gone = home.shell(
        &["sh"],
        "export HERE=$PWD; mkdir gone; cd gone; rmdir ../gone; fails $client refresh
         export LASTMILE_STATE_DIR=$HERE/state; $client refresh --quiet; fails $client get file; echo told",
    );
    assert!(gone.status.success() && text(&gone).contains("told"), "{}", text(&gone));
    // If a folder of the store is replaced by a link or a file, the client must report an error and write nothing.
    let metadata = home.0.path().join("state/it/metadata");
    let outside = home.0.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::remove_dir_all(metadata.join("state")).unwrap();
    symlink(&outside, metadata.join("state")).unwrap();
    home.is_refused("lastmile", &["refresh"]);
    fs::remove_file(metadata.join("state")).unwrap();
    fs::write(metadata.join("state"), "a file").unwrap();
    home.is_refused("lastmile", &["refresh"]);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn r_x_2_no_file_is_written_through_a_link() {
    let home = Home::new();
    let repository = home.0.path().join("packages");
    let outside = home.0.path().join("outside");
    let places = [
        "metadata",
        "targets",
        ".publishing",
        ".queue",
        "staged",
        "keys",
        ".lock",
        "repo.toml",
        "metadata/timestamp.json",
        "metadata/3.targets.json",
        "metadata/3.snapshot.json",
        "targets/sub",
    ];
    for place in places {
        let path = repository.join(place);
        let away = home.0.path().join("away");
        let was_there = fs::rename(&path, &away).is_ok();
        let is_file = place.contains('.') && !matches!(place, ".publishing" | ".queue");
        fs::create_dir(&outside).unwrap();
        let precious = outside.join("precious");
        fs::write(&precious, "precious").unwrap();
        symlink(if is_file { &precious } else { &outside }, &path).unwrap();
        let added =
            home.command("lastmile-repo").args(["-C", "packages", "add", "file", "--name", "sub/x"]).output().unwrap();
        let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["precious"], "{place}: {added:?}");
        assert_eq!(fs::read(&precious).unwrap(), b"precious", "{place}");
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
            fs::remove_file(&path).unwrap();
        }
        if was_there && !path.exists() {
            fs::rename(&away, &path).unwrap();
        } else {
            drop(fs::remove_file(&away).or_else(|_| fs::remove_dir_all(&away)));
        }
        fs::remove_dir_all(&outside).unwrap();
        home.must("lastmile-repo", &["-C", "packages", "verify"]);
    }
}

#[test]
fn no_file_is_written_through_a_hard_link() {
    let home = Home::new();
    let precious = home.0.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    fs::create_dir(home.0.path().join("out")).unwrap();
    for place in ["out/file", "state/it/metadata/timestamp.json", "state/it/metadata/state/floors"] {
        let path = home.0.path().join(place);
        drop(fs::remove_file(&path));
        fs::hard_link(&precious, &path).unwrap();
    }
    drop(home.command("lastmile").args(["get", "file", "--output", "out"]).output().unwrap());
    assert_eq!(fs::read(&precious).unwrap(), b"precious");
    let links = ["packages/metadata/timestamp.json", "packages/repo.toml"];
    for place in links {
        let path = home.0.path().join(place);
        let copy = fs::read(&path).unwrap();
        fs::write(home.0.path().join("kept"), &copy).unwrap();
        fs::remove_file(&path).unwrap();
        fs::hard_link(home.0.path().join("kept"), &path).unwrap();
        home.must("lastmile-repo", &["-C", "packages", "set-threshold", "targets", "1"]);
        home.must("lastmile-repo", &["-C", "packages", "renew", "--force", "timestamp"]);
        assert_eq!(fs::read(home.0.path().join("kept")).unwrap(), copy, "{place}");
        fs::remove_file(home.0.path().join("kept")).unwrap();
    }
}

#[test]
fn without_a_umask_private_files_stay_private_and_open_folders_are_reported() {
    let home = Home::new();
    let made = home.shell(
        &["sh"],
        "umask 0; export LASTMILE_STATE_DIR=loose
         $repo init other --unencrypted-keys
         $client trust add it --root other/metadata/1.root.json --metadata-url file://$PWD/other/metadata/
         $client refresh --quiet",
    );
    assert!(made.status.success(), "{}", text(&made));
    for folder in ["loose", "other/keys", "other/.publishing"] {
        for entry in walk(&home.0.path().join(folder)) {
            let mode = fs::metadata(&entry).unwrap().permissions().mode() & 0o777;
            let is_public = entry.extension().is_some_and(|ending| ending == "pub");
            let allowed = if entry.is_dir() { 0o700 } else { 0o600 };
            assert!(mode == allowed || is_public, "{}: {mode:o}", entry.display());
        }
    }
    let metadata = home.0.path().join("loose/it/metadata");
    fs::set_permissions(&metadata, fs::Permissions::from_mode(0o777)).unwrap();
    let refreshed = home.command("lastmile").args(["--state-dir", "loose", "refresh"]).output().unwrap();
    assert!(
        !refreshed.status.success() && text(&refreshed).contains("run `chmod go-w loose/it/metadata`"),
        "{}",
        text(&refreshed)
    );
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut all = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() { all.extend(walk(&entry.path())) } else { all.push(entry.path()) }
    }
    all
}
