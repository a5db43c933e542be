//! Tests with several users who share a repository on one machine, and with a private key outside the repository that
//! `--allow-key` allows for one command.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lastmile_repo_tool::RootDigest;
use tempfile::TempDir;

use crate::world::say;

/// A folder that every user may enter, with a copy of the program.
struct Place {
    folder: TempDir,
}

#[derive(Clone, Copy)]
struct User {
    id: u32,
    group: u32,
}

const ALICE: User = User { id: 64_001, group: 64_000 };
const BOB: User = User { id: 64_002, group: 64_000 };
const STRANGER: User = User { id: 64_003, group: 64_003 };

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_lastmile-repo"), folder.path().join("lastmile-repo")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, home: &Path) -> Command {
        let mut command = Command::new(self.path("lastmile-repo"));
        command.env_clear().env("LASTMILE_REPO_CONFIG", home.join("config.toml")).current_dir(home);
        command.env("LASTMILE_REPOSITORY", self.path("repository"));
        command
    }

    fn home(&self, user: User) -> PathBuf {
        let home = self.path(&format!("home-{}", user.id));
        if !home.exists() {
            fs::create_dir(&home).unwrap();
            chown(&home, Some(user.id), Some(user.group)).unwrap();
        }
        home
    }

    fn run(&self, user: User, args: &[&str]) -> Output {
        let mut command = self.command(&self.home(user));
        command.uid(user.id).gid(user.group).args(args).output().unwrap()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Lets `group` read and write `folder` and everything below it.
fn share(folder: &Path, group: u32) {
    chown(folder, None, Some(group)).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o2770)).unwrap();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            share(&entry.path(), group);
        } else {
            chown(entry.path(), None, Some(group)).unwrap();
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o660)).unwrap();
        }
    }
}

#[test]
fn two_users_of_a_group_publish_into_one_repository() {
    if !rustix::process::geteuid().is_root() {
        say("NOT CHECKED: only the superuser can run programs as other users");
        return;
    }
    let place = Place::new();
    let repository = place.path("repository");
    fs::create_dir(&repository).unwrap();
    chown(&repository, Some(ALICE.id), Some(ALICE.group)).unwrap();
    let made = place.run(ALICE, &["init", "--unencrypted-keys"]);
    assert!(made.status.success(), "{}", text(&made));
    share(&repository, ALICE.group);
    let publish = |user: User, name: &str, arguments: &[&str]| {
        fs::write(place.home(user).join(name), name).unwrap();
        place.run(user, &[&["add", name], arguments].concat())
    };

    // Bob is refused until the group is configured and the root is pinned.
    let refused = publish(BOB, "b-1", &[]);
    assert!(!refused.status.success(), "{}", text(&refused));
    let digest = RootDigest::of(&fs::read(repository.join("metadata/1.root.json")).unwrap());
    for user in [ALICE, BOB] {
        let config = place.home(user).join("config.toml");
        let before = fs::read_to_string(&config).unwrap_or_default();
        let shared = format!("shared-with-group = \"{}\"", user.group);
        let entry = format!("[folders.\"{}\"]", repository.display());
        let text = if before.contains(&entry) {
            before.replace(&entry, &format!("{entry}\n{shared}"))
        } else {
            format!("{before}\n{entry}\n{shared}\n")
        };
        fs::write(&config, text).unwrap();
        chown(&config, Some(user.id), Some(user.group)).unwrap();
    }
    let refused = publish(BOB, "b-1", &[]);
    assert!(text(&refused).contains(&digest.to_string()), "{}", text(&refused));

    for (user, name) in [(BOB, "b-1"), (ALICE, "a-1"), (BOB, "b-2"), (ALICE, "a-2")] {
        let done = publish(user, name, &["--root-sha256", &digest.to_string()]);
        assert!(done.status.success(), "{name}: {}", text(&done));
    }
    let targets = fs::read_to_string(repository.join("metadata/5.targets.json")).unwrap();
    assert!(["a-1", "a-2", "b-1", "b-2"].iter().all(|name| targets.contains(name)), "{targets}");
    let verified = place.run(BOB, &["verify"]);
    assert!(verified.status.success(), "{}", text(&verified));

    // A user outside the group can neither read nor change the repository.
    let refused = publish(STRANGER, "s-1", &["--root-sha256", &digest.to_string()]);
    assert!(!refused.status.success(), "{}", text(&refused));
}

#[test]
fn a_key_outside_the_folder_is_allowed_for_one_command() {
    let place = Place::new();
    let home = place.folder.path();
    let run = |command: &mut Command, args: &[&str]| command.args(args).output().unwrap();
    let made = run(&mut place.command(home), &["init", "--unencrypted-keys"]);
    assert!(made.status.success(), "{}", text(&made));
    let key = place.path("targets.pem");
    let config = place.path("repository/repo.toml");
    fs::rename(place.path("repository/keys/targets-1.pem"), &key).unwrap();
    let named = fs::read_to_string(&config).unwrap();
    fs::write(&config, named.replace("file:keys/targets-1.pem", &format!("file:{}", key.display()))).unwrap();
    fs::write(place.path("app"), "1").unwrap();

    let staged = run(&mut place.command(home), &["add", "app"]);
    assert!(text(&staged).contains("Nothing has been published"), "{staged:?}");
    let discarded = run(&mut place.command(home), &["discard", "--yes"]);
    assert!(discarded.status.success(), "{}", text(&discarded));

    let by_option = run(&mut place.command(home), &["add", "app", "--allow-key", "targets.pem"]);
    assert!(by_option.status.success() && place.path("repository/metadata/2.targets.json").exists(), "{by_option:?}");
    fs::write(place.path("app"), "2").unwrap();
    let mut command = place.command(home);
    let by_variable = run(
        command.env("LASTMILE_REPO_ALLOWED_KEYS", format!("other.pem:{}", key.display())),
        &["add", "app", "--replace"],
    );
    assert!(
        by_variable.status.success() && place.path("repository/metadata/3.targets.json").exists(),
        "{by_variable:?}"
    );
}

#[test]
fn b5_secrets_that_everyone_can_read_are_refused_but_secrets_that_a_service_group_can_read_are_used() {
    if !rustix::process::geteuid().is_root() {
        say("NOT CHECKED: only the superuser can run programs as other users");
        return;
    }
    let place = Place::new();
    let repository = place.path("repository");
    let home = place.home(ALICE);
    fs::create_dir(&repository).unwrap();
    chown(&repository, Some(ALICE.id), Some(ALICE.group)).unwrap();
    let phrase = home.join("phrase");
    fs::write(&phrase, "a long pass-phrase\n").unwrap();
    let phrase_option = ["--pass-phrase-file", phrase.to_str().unwrap()];
    let run = |arguments: &[&str]| place.run(ALICE, &[arguments, &phrase_option].concat());
    let refused = run(&["init"]);
    assert!(!refused.status.success() && !repository.join("metadata").exists(), "{refused:?}");
    assert!(text(&refused).contains(&format!("`chmod go-rwx {}`", phrase.display())), "{}", text(&refused));
    assert!(text(&refused).contains("defaultMode: 0400"), "{}", text(&refused));
    fs::set_permissions(&phrase, fs::Permissions::from_mode(0o640)).unwrap();
    chown(&phrase, Some(0), Some(ALICE.group)).unwrap();
    let made = run(&["init"]);
    assert!(made.status.success(), "{}", text(&made));

    let key = repository.join("keys/timestamp-1.pem");
    chown(&key, Some(0), Some(ALICE.group)).unwrap();
    for (mode, works) in [(0o440, true), (0o444, false), (0o442, false), (0o400, false), (0o640, true)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let renewed = run(&["renew", "--force"]);
        assert_eq!(renewed.status.success(), works, "{mode:o}: {}", text(&renewed));
        if mode & 0o007 != 0 {
            assert!(text(&renewed).contains(&format!("run `chmod go-rwx {}`", key.display())), "{}", text(&renewed));
        }
    }
}

/// Runs a program with the user ID `user` and the umask 002. The ID of the primary group is also `user`, and the
/// process is a member of `group` too.
fn run_as_member(place: &Place, user: u32, group: u32, program: &Path, args: &[&str]) -> Output {
    let home = place.home(User { id: user, group: user });
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user.to_string(), "--regid", &user.to_string(), "--groups", &format!("{user},{group}")]);
    command.args(["sh", "-c", "umask 002; exec \"$0\" \"$@\""]).arg(program).args(args);
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LASTMILE_REPOSITORY", place.path("repository"));
    command.env("LASTMILE_REPO_CONFIG", home.join("config.toml")).env("LASTMILE_PASS_PHRASE", "a long pass-phrase");
    command.current_dir(&home).output().unwrap()
}

#[test]
fn c17_two_maintainers_with_separate_keys_share_a_repository_with_setgid_and_umask_002() {
    if !rustix::process::geteuid().is_root() {
        say("NOT CHECKED: only the superuser can run programs as other users");
        return;
    }
    const GROUP: u32 = 64_000;
    let place = Place::new();
    let repository = place.path("repository");
    fs::create_dir(&repository).unwrap();
    chown(&repository, Some(ALICE.id), Some(GROUP)).unwrap();
    fs::set_permissions(&repository, fs::Permissions::from_mode(0o2775)).unwrap();
    let program = place.path("lastmile-repo");
    let run = |user: User, args: &[&str]| run_as_member(&place, user.id, GROUP, &program, args);
    let works = |user: User, args: &[&str]| {
        let done = run(user, args);
        assert!(done.status.success(), "{args:?}: {}", text(&done));
    };
    let declare = |user: User| {
        let config = place.home(User { group: user.id, ..user }).join("config.toml");
        let entry = format!("[folders.\"{}\"]", repository.display());
        let before = fs::read_to_string(&config).unwrap_or(entry.clone());
        fs::write(&config, before.replace(&entry, &format!("{entry}\nshared-with-group = \"{GROUP}\""))).unwrap();
        chown(&config, Some(user.id), Some(user.id)).unwrap();
    };
    works(ALICE, &["init"]);
    let digest = RootDigest::of(&fs::read(repository.join("metadata/1.root.json")).unwrap()).to_string();
    for (user, names) in [(ALICE, ["a-1", "a-2"]), (BOB, ["b-1", "b-2"])] {
        for name in names {
            fs::write(place.home(User { group: user.id, ..user }).join(name), name).unwrap();
        }
    }
    declare(BOB);
    let refused = run(BOB, &["status"]);
    let expected = format!("user {} must set shared-with-group", ALICE.id);
    assert!(!refused.status.success() && text(&refused).contains(&expected), "{}", text(&refused));
    declare(ALICE);
    works(ALICE, &["add", "a-1"]);
    works(BOB, &["verify"]);

    // Bob generates a key in the folder that contains Alice's keys. He can neither read nor remove her keys.
    works(BOB, &["key", "generate", "targets"]);
    for (tool, option) in [("cat", "--"), ("rm", "-f")] {
        let key = repository.join("keys/targets-1.pem");
        let refused = run_as_member(&place, BOB.id, GROUP, Path::new(tool), &[option, key.to_str().unwrap()]);
        assert!(!refused.status.success() && key.exists(), "{tool}: {refused:?}");
    }
    works(ALICE, &["rotate", "targets", "--add", &repository.join("keys/targets.pub").display().to_string()]);
    let staged = run(BOB, &["add", "b-1", "--root-sha256", &digest]);
    assert_eq!(staged.status.code(), Some(6), "{}", text(&staged));
    assert!(text(&staged).contains("this machine lacks private keys of snapshot or timestamp"), "{}", text(&staged));
    works(ALICE, &["publish"]);

    // Once Alice lets the group read the online keys, Bob can publish without her.
    for key in ["snapshot-1", "timestamp-1"] {
        let key = repository.join(format!("keys/{key}.pem"));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    }
    works(BOB, &["add", "b-2"]);
    works(ALICE, &["add", "a-2"]);
    works(BOB, &["renew", "--force"]);
    works(BOB, &["remove", "b-1"]);
    let targets = fs::read_to_string(repository.join("metadata/6.targets.json")).unwrap();
    assert!(["a-1", "a-2", "b-2"].iter().all(|name| targets.contains(name)) && !targets.contains("b-1"), "{targets}");
    for (key, owner) in [("targets", BOB), ("targets-1", ALICE)] {
        let found = fs::metadata(repository.join(format!("keys/{key}.pem"))).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o777), (owner.id, 0o600));
    }
}

#[test]
fn a_dry_run_refuses_a_relative_key_folder_in_a_folder_that_is_not_writable() {
    if !rustix::process::geteuid().is_root() {
        say("only root can act as another user");
        return;
    }
    let place = Place::new();
    fs::create_dir(place.path("repository")).unwrap();
    chown(place.path("repository"), Some(ALICE.id), Some(ALICE.group)).unwrap();
    let home = place.home(ALICE);
    for (folder, succeeds) in [(home.clone(), true), (place.path(""), false)] {
        let mut command = place.command(&home);
        command.uid(ALICE.id).gid(ALICE.group).current_dir(folder);
        let ran = command.args(["init", "--unencrypted-keys", "--keys", "new-keys", "--dry-run"]).output().unwrap();
        assert_eq!(ran.status.success(), succeeds, "{}", text(&ran));
    }
}
