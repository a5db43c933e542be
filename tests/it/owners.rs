//! Tests in which one user runs the programs with files that belong to another user.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lastmile_testkit::{Repository, Server};
use tempfile::TempDir;

use crate::cli::program;

/// A user ID, which is also used as a group ID. The user owns no files before a test.
const USER: u32 = 65_534;

/// Runs the copy of the client that is in the parent folder of `state`.
fn run(state: &Path, user: u32, args: &[&str]) -> Output {
    let mut command = Command::new(state.with_file_name("lastmile"));
    command.arg("--state-dir").arg(state).args(args).uid(user).gid(user).env_clear();
    command.output().unwrap()
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A client's store that belongs to another user, and a server with the repository that the client trusts.
struct Store {
    folder: TempDir,
    state: PathBuf,
    _server: Server,
}

impl Store {
    /// Creates a store that belongs to the user [`USER`]. Returns `None` if this process cannot act as another user.
    fn of_user(repository: &Repository) -> Option<Store> {
        let folder = tempfile::tempdir().unwrap();
        if chown(folder.path(), Some(USER), Some(USER)).is_err() {
            return None;
        }
        // The project may be in a folder that other users cannot enter, so they run a copy of the program. If this
        // process wrote the copy, a program that another test starts at the same time would inherit the open file, and
        // the system would refuse to run the copy ("text file busy").
        let copied = Command::new("cp").arg(program("lastmile")).arg(folder.path()).status().unwrap();
        assert!(copied.success());
        let root = folder.path().join("root.json");
        std::fs::write(&root, repository.written("root")).unwrap();
        set_mode(&root, 0o644);
        let server = Server::start(repository.network());
        let state = folder.path().join("state");
        let url = format!("{}metadata/", server.url());
        let add = ["trust", "add", "it", "--root", root.to_str().unwrap(), "--metadata-url", &url];
        let added = run(&state, USER, &add);
        assert!(added.status.success(), "{added:?}");
        Some(Store { folder, state, _server: server })
    }
}

#[test]
fn c7_another_users_store_is_named_and_root_leaves_it_to_its_user() {
    let mut repository = Repository::new();
    let Some(Store { folder, state, _server }) = Store::of_user(&repository) else {
        lastmile_tests::say("owners: NOT CHECKED: this test requires root");
        return;
    };
    assert!(run(&state, USER, &["refresh"]).status.success());
    repository.publish(&["root", "targets"]);
    // After root has refreshed the store, its owner must still be able to use it.
    let refreshed = run(&state, 0, &["refresh"]);
    assert!(refreshed.status.success(), "{refreshed:?}");
    let mut open = vec![state.clone()];
    let mut files = 0;
    while let Some(path) = open.pop() {
        let found = path.symlink_metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), (USER, USER), "{}", path.display());
        if found.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        files += 1;
    }
    assert!(files > 8, "{files}");
    assert!(run(&state, USER, &["refresh"]).status.success());
    // Another user cannot read the store. The error must name the owner of the store.
    set_mode(folder.path(), 0o755);
    for closed in [&state, &state.join("it")] {
        let status = run(&state, USER - 1, &["status"]);
        let stderr = String::from_utf8(status.stderr).unwrap();
        assert_eq!(status.status.code(), Some(1), "{stderr}");
        assert!(!stderr.contains("no repository is trusted"), "{stderr}");
        let owner =
            format!("`{}` belongs to user {USER} (mode 700), but the current user is {}", closed.display(), USER - 1);
        assert!(stderr.contains(&owner), "{stderr}");
        set_mode(closed, 0o755);
    }
}

#[test]
fn c7_a_target_that_belongs_to_root_is_fetched_again_and_then_belongs_to_its_user() {
    let mut repository = Repository::new();
    repository.add_target("targets", "tool", b"the tool");
    repository.publish(&["targets"]);
    let Some(Store { folder, state, _server }) = Store::of_user(&repository) else {
        lastmile_tests::say("owners: NOT CHECKED: this test requires root");
        return;
    };
    let tool = folder.path().join("tool");
    std::fs::write(&tool, b"the tool").unwrap();
    set_mode(&tool, 0o644);
    let got = run(&state, USER, &["get", "tool", "--output", folder.path().to_str().unwrap()]);
    assert!(got.status.success(), "{got:?}");
    assert_eq!(tool.metadata().unwrap().uid(), USER);
}
