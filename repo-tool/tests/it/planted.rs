//! Planted files in a repository's folder. Everything in the folder except signed metadata is untrusted input.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lastmile_metadata::TargetNames;
use lastmile_repo_tool::internal::batch::{self, Shared};
use lastmile_repo_tool::internal::queue::{Answer, PublishRequest};
use lastmile_repo_tool::internal::verify;
use lastmile_repo_tool::{AddOptions, Config, Error, Invocation, Repository, Sharing, Source, Unobserved, target_path};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::world::{World, is_published};

/// The user ID of `nobody` on most systems. The tests are never run as this user.
const STRANGER: u32 = 65534;

/// The kinds of directory entries that are planted in place of an expected file or folder.
const KINDS: [&str; 4] = ["link", "fifo", "socket", "file"];

fn plant(kind: &str, at: &Path, precious: &Path) {
    let node = |kind| mknodat(CWD, at, kind, Mode::from_raw_mode(0o600), 0).unwrap();
    match kind {
        "link" => symlink(precious, at).unwrap(),
        "fifo" => node(FileType::Fifo),
        "socket" => node(FileType::Socket),
        _ => fs::write(at, "x").unwrap(),
    }
}

/// Creates a folder outside the repository, with files and folders that no command may change. They are two hours old,
/// because the tool removes abandoned request folders after an hour.
fn precious(world: &World) -> PathBuf {
    let folder = world.folder.path().join("precious");
    fs::create_dir_all(folder.join("old")).unwrap();
    fs::write(folder.join("old/file"), "precious").unwrap();
    fs::write(folder.join("file"), "precious").unwrap();
    for path in [folder.join("old/file"), folder.join("file"), folder.join("old")] {
        let long_ago = SystemTime::now() - Duration::from_secs(7200);
        fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
    }
    folder
}

fn is_intact(precious: &Path) -> bool {
    let mut names: Vec<_> = fs::read_dir(precious).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names == ["file", "old"]
        && fs::read(precious.join("file")).unwrap() == b"precious"
        && fs::read(precious.join("old/file")).unwrap() == b"precious"
}

fn refusal(result: Result<impl Sized, Error>) -> String {
    match result.err() {
        Some(error @ (Error::Path(_) | Error::Pin(_) | Error::Publication(_))) => error.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

fn hash(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn plant_journal(world: &World, journal: &Value) {
    fs::write(world.layout().publishing().join("journal.json"), journal.to_string()).unwrap();
}

fn step(rank: &str, from: &str, to: &str) -> Value {
    json!({ "rank": rank, "from": from, "to": to, "existing": "Replaced" })
}

fn journal(steps: &[Value]) -> Value {
    json!({ "steps": steps, "clears_staged": false })
}

fn snapshot(world: &World) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| (name.clone(), fs::read(world.dir().join(name)).unwrap_or_default());
    world.files("").into_iter().map(read).collect()
}

#[test]
fn an_entry_in_place_of_a_working_folder_is_refused_and_not_followed() {
    for place in [".queue", ".publishing", "staged", "metadata", "targets"] {
        for kind in KINDS {
            let world = World::new();
            world.add("a", "1");
            let precious = precious(&world);
            let at = world.dir().join(place);
            if at.exists() {
                fs::rename(&at, world.folder.path().join("away")).unwrap();
            }
            plant(kind, &at, &precious);
            let added = world.try_add("b", "2", &mut Unobserved);
            assert!(added.is_err(), "{place} {kind}");
            assert!(is_intact(&precious), "{place} {kind}");
        }
    }
}

#[test]
fn only_requests_are_removed_from_the_queue() {
    let world = World::new();
    let precious = precious(&world);
    let queue = world.layout().queue();
    fs::create_dir(&queue).unwrap();
    symlink(precious.join("old"), queue.join("abcdefghijkl")).unwrap();
    symlink(&precious, queue.join(".new-abcdefghijkl")).unwrap();
    world.add("a", "1");
    assert!(is_intact(&precious));
}

#[test]
fn a_working_folder_of_another_user_or_that_others_can_write_is_refused() {
    for place in [".publishing", ".queue", "staged"] {
        let world = World::new();
        let at = world.dir().join(place);
        fs::create_dir_all(&at).unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(0o770)).unwrap();
        let reason = refusal(world.try_add("a", "1", &mut Unobserved));
        assert!(reason.contains("is writable by other users") && reason.contains("chmod go-w"), "{reason}");
        fs::set_permissions(&at, fs::Permissions::from_mode(0o700)).unwrap();
        // Only root can change the owner of a folder, so other users skip this part.
        if chown(&at, Some(STRANGER), None).is_ok() {
            let reason = refusal(world.try_add("a", "1", &mut Unobserved));
            assert!(reason.contains("belongs to user 65534"), "{reason}");
        }
        fs::remove_dir_all(&at).unwrap();
        assert!(is_published(&world.add("a", "1")));
    }
}

#[test]
fn a_journal_moves_only_files_of_a_publication() {
    let world = World::new();
    let precious = precious(&world);
    let file = precious.join("file").display().to_string();
    let up = "../precious/file";
    let new = ".publishing/new-0";
    let lies = [
        step("Policy", new, &file),
        step("Policy", &file, "repo.toml"),
        step("Policy", new, up),
        step("Policy", up, "repo.toml"),
        step("TargetFile", ".publishing/in-0", "targets/../../precious/file"),
        step("TargetFile", ".publishing/../../precious/file", "targets/file"),
        step("TargetFile", "staged/targets/../../../precious/file", "targets/file"),
        step("TargetFile", "keys/root-1.pem", "targets/file"),
        step("TargetFile", ".publishing/root-1.pem", "targets/file"),
        step("TargetFile", ".publishing/in-0", "metadata/timestamp.json"),
        step("TargetFile", ".publishing/in-0", "keys/root-1.pem"),
        step("TargetFile", ".publishing/in-0", "targets"),
        step("Key", ".publishing/root-1.pem", "targets/root-1.pem"),
        step("Key", ".publishing/root-9.pem", "keys/root-1.pem"),
        step("Timestamp", new, "metadata/1.root.json"),
        step("Timestamp", new, "targets/timestamp.json"),
        step("Timestamp", "staged/targets/x", "metadata/timestamp.json"),
        step("Delegated", new, "metadata/1.root.json"),
        step("Delegated", new, "metadata/a/b.json"),
        step("Root", new, "metadata/root.json"),
        step("Policy", new, ".git/config"),
        step("Policy", new, ".lock"),
    ];
    for lie in lies {
        for name in ["new-0", "in-0", "root-1.pem", "root-9.pem"] {
            fs::write(world.layout().publishing().join(name), "stranger").unwrap();
        }
        plant_journal(&world, &journal(std::slice::from_ref(&lie)));
        let before = snapshot(&world);
        let reason = refusal(world.try_add("a", "1", &mut Unobserved));
        assert!(reason.contains("which no publication does") && reason.contains("remove"), "{lie}: {reason}");
        assert!(is_intact(&precious) && snapshot(&world) == before, "{lie}");
    }
    fs::remove_file(world.layout().publishing().join("journal.json")).unwrap();
    assert!(
        is_published(&world.add("a", "1")),
        "publishing must work again after the journal is removed, as the error advises"
    );
}

#[test]
fn a_journal_never_replaces_files_named_by_version_or_hash() {
    let world = World::new();
    world.add("a", "1");
    let hashed = format!("targets/{}.a", hash("1"));
    let goals = [
        ("Root", "new-0", "metadata/1.root.json".to_string()),
        ("Targets", "new-0", "metadata/2.targets.json".to_string()),
        ("TargetFile", "in-0", hashed),
        ("Key", "root-1.pem", "keys/root-1.pem".to_string()),
    ];
    for (rank, name, to) in goals {
        fs::write(world.layout().publishing().join(name), "stranger").unwrap();
        plant_journal(&world, &journal(&[step(rank, &format!(".publishing/{name}"), &to)]));
        let before = fs::read(world.dir().join(&to)).unwrap();
        refusal(world.try_add("b", "1", &mut Unobserved));
        assert_eq!(fs::read(world.dir().join(&to)).unwrap(), before, "{to}");
    }
}

#[test]
fn a_journal_moves_only_regular_files_with_the_recorded_content() {
    let world = World::new();
    let precious = precious(&world);
    let to = "metadata/timestamp.json";
    let before = fs::read(world.dir().join(to)).unwrap();
    let source = world.layout().publishing().join("new-0");
    for kind in KINDS {
        plant(kind, &source, &precious.join("file"));
        let mut lie = step("Timestamp", ".publishing/new-0", to);
        // Journals of version 0.1.0 have no digests. A journal without a digest may therefore move any regular file, so
        // add a digest that does not match.
        if kind == "file" {
            lie["content"] = json!({ "length": 1, "sha256": hash("y") });
        }
        plant_journal(&world, &journal(&[lie]));
        assert!(world.try_add("a", "1", &mut Unobserved).is_err(), "{kind}");
        assert_eq!(fs::read(world.dir().join(to)).unwrap(), before, "{kind}");
        fs::remove_file(&source).unwrap();
    }
    // Plant a journal with a move that seems to be complete: the source file is missing. But the content of the file at
    // the destination is not the content that the journal lists.
    let mut lie = step("Timestamp", ".publishing/new-0", to);
    lie["content"] = json!({ "length": 1, "sha256": hash("y") });
    plant_journal(&world, &journal(&[lie]));
    assert!(refusal(world.try_add("a", "1", &mut Unobserved)).contains("expected 1 bytes"));
    assert!(is_intact(&precious));
}

#[test]
fn links_on_the_way_to_a_destination_are_refused() {
    let world = World::new();
    let precious = precious(&world);
    symlink(&precious, world.layout().targets().join("sub")).unwrap();
    fs::write(world.layout().publishing().join("in-0"), "stranger").unwrap();
    plant_journal(&world, &journal(&[step("TargetFile", ".publishing/in-0", "targets/sub/file")]));
    refusal(world.try_add("a", "1", &mut Unobserved));
    assert!(is_intact(&precious));
    fs::remove_file(world.layout().publishing().join("journal.json")).unwrap();
    refusal(world.try_add("sub/file", "1", &mut Unobserved));
    assert!(is_intact(&precious));
}

#[test]
fn a_huge_journal_is_not_read() {
    let world = World::new();
    let file = fs::File::create(world.layout().publishing().join("journal.json")).unwrap();
    // The file is sparse, so it takes no space on the disk.
    file.set_len(1 << 40).unwrap();
    assert!(refusal(world.try_add("a", "1", &mut Unobserved)).contains("the limit for such a file"));
}

#[test]
fn a_journal_of_version_0_1_0_is_finished() {
    let world = World::new();
    world.add("a", "1");
    let name = format!("{}.b", hash("2"));
    let content = "2";
    fs::create_dir_all(world.layout().staged().join("targets/sub")).unwrap();
    fs::write(world.layout().publishing().join("in-0"), content).unwrap();
    fs::write(world.layout().staged().join("targets/sub").join(&name), content).unwrap();
    let timestamp = fs::read(world.layout().metadata().join("timestamp.json")).unwrap();
    fs::write(world.layout().publishing().join("new-3"), &timestamp).unwrap();
    let mut left = journal(&[
        step("TargetFile", ".publishing/in-0", &format!("targets/{name}")),
        step("TargetFile", &format!("staged/targets/sub/{name}"), &format!("targets/sub/{name}")),
        // This file was already moved before the crash.
        step("Targets", ".publishing/new-2", "metadata/2.targets.json"),
        step("Timestamp", ".publishing/new-3", "metadata/timestamp.json"),
    ]);
    left["clears_staged"] = true.into();
    plant_journal(&world, &left);
    assert!(is_published(&world.add("c", "3")));
    for folder in ["targets", "targets/sub"] {
        assert_eq!(fs::read(world.dir().join(folder).join(&name)).unwrap(), b"2", "{folder}");
    }
    assert!(!world.layout().staged().exists());
    // Plant a journal that moves a target file. The hash in the new name is the hash of different content.
    fs::write(world.layout().publishing().join("in-0"), "other").unwrap();
    plant_journal(&world, &journal(&[step("TargetFile", ".publishing/in-0", &format!("targets/{}.d", hash("4")))]));
    assert!(refusal(world.try_add("e", "5", &mut Unobserved)).contains("its hash differs from the hash in the name"));
    assert!(!world.layout().targets().join(format!("{}.d", hash("4"))).exists());
}

#[test]
fn pending_target_files_are_published_from_the_users_own_folder() {
    for count in [1, 70] {
        for lie in ["folder", "file", "fifo"] {
            let world = World::new();
            world.without_key("targets-1", || {
                (0..count).for_each(|number| drop(world.add(&format!("sub/{number}"), &number.to_string())));
            });
            let targets = world.layout().staged().join("targets");
            let away = world.folder.path().join("away");
            let name = format!("{}.0", hash("0"));
            let file = targets.join("sub").join(&name);
            match lie {
                "folder" => {
                    fs::rename(&targets, &away).unwrap();
                    symlink(&away, &targets).unwrap();
                }
                "file" => {
                    fs::rename(&file, &away).unwrap();
                    symlink(&away, &file).unwrap();
                }
                _ => {
                    fs::remove_file(&file).unwrap();
                    plant("fifo", &file, &away);
                }
            }
            let publish = || {
                let mut repository = world.open();
                let draft = repository.staged()?;
                let plan = repository.plan(draft, lastmile_repo_tool::Signing::All)?;
                repository.conclude(&plan, &mut Unobserved)
            };
            // Publishing may succeed or fail, but it must not publish the link, the file behind the link or the FIFO.
            let published = publish();
            assert!(away.exists() || lie == "fifo", "{lie}: the file behind the link must not be moved");
            let found = world.layout().targets().join("sub").join(&name);
            assert!(found.symlink_metadata().map_or(true, |found| found.is_file()), "{lie} {count}");
            if lie == "folder" {
                assert!(published.is_err() && !world.layout().targets().join("sub").exists(), "{lie}");
            }
        }
    }
}

#[test]
fn a_pending_file_of_another_user_is_copied_and_not_linked() {
    let world = World::new();
    world.without_key("targets-1", || drop(world.add("a", "1")));
    let name = format!("{}.a", hash("1"));
    let waiting = world.layout().staged().join("targets").join(&name);
    // Another user with write access could change the file after it was checked.
    fs::set_permissions(&waiting, fs::Permissions::from_mode(0o666)).unwrap();
    let inode = fs::metadata(&waiting).unwrap().ino();
    world.publish_pending();
    let published = fs::metadata(world.layout().targets().join(&name)).unwrap();
    assert!(published.ino() != inode && published.mode() & 0o022 == 0, "{published:?}");
    assert_eq!(world.fetch("a").unwrap().unwrap(), b"1");
}

fn enter(world: &World, name: &str) -> PublishRequest {
    let file = world.folder.path().join(format!("file-{name}"));
    fs::write(&file, name).unwrap();
    let config = Config::read(&world.layout()).unwrap();
    let sources = [Source::new(file, target_path(name).unwrap())];
    PublishRequest::enter(&world.layout(), &config, None, &sources, &AddOptions::default(), &|_| {}).unwrap()
}

#[test]
fn a_request_is_published_only_with_the_files_that_it_lists() {
    for lie in ["bytes", "length", "link", "fifo", "huge"] {
        let world = World::new();
        let live = format!("{}.live", hash("live"));
        world.add("live", "live");
        let mine = enter(&world, "mine");
        let theirs = enter(&world, "theirs");
        let folders = fs::read_dir(world.layout().queue()).unwrap().map(|entry| entry.unwrap().path());
        let folder = folders.into_iter().find(|folder| fs::read(folder.join("in-0")).unwrap() == b"theirs").unwrap();
        let file = folder.join("in-0");
        fs::remove_file(&file).unwrap();
        match lie {
            "bytes" => fs::write(&file, "THEIRS").unwrap(),
            "length" => fs::write(&file, "their").unwrap(),
            "huge" => fs::File::create(folder.join("request.json")).unwrap().set_len(1 << 40).unwrap(),
            kind => plant(kind, &file, &world.layout().keys().join("targets-1.pem")),
        }
        let Shared::ByUs(done) = batch::publish(&mine, &world.invocation(), &mut Unobserved).unwrap() else { panic!() };
        assert!(is_published(&done.outcome), "{lie}");
        drop(done);
        assert_eq!(world.fetch("mine").unwrap().unwrap(), b"mine", "{lie}");
        assert_eq!(world.fetch("theirs").unwrap(), None, "{lie}");
        assert_eq!(fs::read(world.layout().targets().join(&live)).unwrap(), b"live");
        if matches!(lie, "bytes" | "length") {
            assert!(matches!(theirs.answer().unwrap(), Some(Answer::Refused(..))), "{lie}");
        }
        let verified = verify::directory(&world.dir(), world.now, TargetNames::HashPrefixed, &|_, _| {}).unwrap();
        assert!(verified.is_good(), "{lie}: {verified:?}");
    }
}

#[test]
fn a_file_that_is_named_by_its_hash_is_never_replaced() {
    let world = World::new();
    let name = format!("{}.a", hash("1"));
    fs::write(world.layout().targets().join(&name), "somebody else's").unwrap();
    let reason = refusal(world.try_add("a", "1", &mut Unobserved));
    assert!(reason.contains("already exists with different content"), "{reason}");
    assert_eq!(fs::read(world.layout().targets().join(&name)).unwrap(), b"somebody else's");
    fs::write(world.layout().targets().join(&name), "1").unwrap();
    assert!(is_published(&world.add("a", "1")));
}

#[test]
fn the_lock_is_a_regular_file_of_this_user() {
    for kind in ["link", "fifo", "socket"] {
        let world = World::new();
        let lock = world.dir().join(".lock");
        fs::remove_file(&lock).unwrap();
        plant(kind, &lock, &world.folder.path().join("elsewhere"));
        assert!(refusal(world.layout().lock()).contains("is not a regular file"), "{kind}");
        assert!(!world.folder.path().join("elsewhere").exists());
    }
    let world = World::new();
    if chown(world.dir().join(".lock"), Some(STRANGER), Some(STRANGER)).is_ok() {
        assert!(refusal(world.layout().lock()).contains("belongs to user 65534"));
        world.layout().shared(Sharing::Group(STRANGER)).lock().unwrap_err();
        fs::set_permissions(world.dir().join(".lock"), fs::Permissions::from_mode(0o660)).unwrap();
        world.layout().shared(Sharing::Group(STRANGER)).lock().unwrap();
    }
}

fn in_group(world: &World) -> Invocation {
    Invocation { sharing: Sharing::Group(rustix::process::getegid().as_raw()), ..world.invocation() }
}

#[test]
fn each_user_of_a_group_has_folders_of_their_own_and_finishes_their_own_publications() {
    let world = World::new();
    let me = rustix::process::geteuid().as_raw();
    let add = |content: &str| -> Result<(), Error> {
        let file = world.folder.path().join("shared");
        fs::write(&file, content).unwrap();
        let layout = in_group(&world).layout(&world.dir());
        let sources = [Source::new(file, target_path("a").unwrap())];
        let request =
            PublishRequest::enter(&layout, &Config::read(&layout)?, None, &sources, &AddOptions::default(), &|_| {})?;
        batch::publish(&request, &in_group(&world), &mut Unobserved).map(drop)
    };
    add("1").unwrap();
    assert!(
        world.dir().join(format!(".publishing-{me}")).is_dir() && world.dir().join(format!(".queue-{me}")).is_dir()
    );
    let lock = fs::metadata(world.dir().join(".lock")).unwrap();
    assert_eq!(lock.mode() & 0o777, 0o660);
    // Simulate an interrupted publication by another user, which only that user can finish.
    let other = world.dir().join(".publishing-65534");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("journal.json"), journal(&[]).to_string()).unwrap();
    if chown(&other, Some(STRANGER), None).is_ok() {
        let reason = refusal(add("2"));
        assert!(reason.contains("user 65534 must run `lastmile-repo renew`"), "{reason}");
        assert!(reason.contains(".publishing-65534"), "{reason}");
        assert!(other.join("journal.json").exists());
        let opened = Repository::open(&world.dir(), &world.invocation());
        assert!(opened.is_ok(), "reading must be possible while another user's publication is interrupted");
    }
    fs::remove_dir_all(&other).unwrap();
    add("2").unwrap();
    assert_eq!(world.fetch("a").unwrap().unwrap(), b"2");
}

#[test]
fn the_pending_change_of_a_shared_repository_is_open_to_the_group() {
    let world = World::new();
    let invocation = in_group(&world);
    fs::remove_file(world.layout().keys().join("targets-1.pem")).unwrap();
    let file = world.folder.path().join("shared");
    fs::write(&file, "1").unwrap();
    let mut repository = Repository::open_for_change(&world.dir(), &invocation).unwrap();
    let sources = [Source::new(file, target_path("sub/a").unwrap())];
    let draft = repository.staged().unwrap();
    let role = lastmile_metadata::RoleName::TARGETS;
    let draft = repository.add_files(draft, &role, &sources, &AddOptions::default(), &|_| {}).unwrap();
    let plan = repository.plan(draft, lastmile_repo_tool::Signing::Now).unwrap();
    repository.conclude(&plan, &mut Unobserved).unwrap();
    drop(repository);
    for folder in ["staged", "staged/targets", "staged/targets/sub"] {
        let mode = fs::metadata(world.dir().join(folder)).unwrap().mode() & 0o777;
        assert_eq!(mode & 0o077, 0o070, "{folder}: {mode:o}");
    }
    let staged = world.layout().staged();
    // Change the owner, as if another member of the group had created the folder.
    if chown(&staged, Some(STRANGER), None).is_ok() {
        assert!(Repository::open_for_change(&world.dir(), &invocation).unwrap().staged().unwrap().continues_pending());
        refusal(Repository::open_for_change(&world.dir(), &world.invocation()));
        chown(&staged, Some(STRANGER), Some(STRANGER)).unwrap();
        refusal(Repository::open_for_change(&world.dir(), &invocation));
    }
}
