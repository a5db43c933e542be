//! Tests of `pull`.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::thread;

use lastmile_cli_support::ExitStatus;
use lastmile_fs::faults::{Fault, arm};
use lastmile_repo_tool::RootDigest;
use serde_json::json;

use super::machine::{Machine, tree};
use crate::world::folder;

/// Creates a machine that has pushed a repository with bins and two roots to a folder.
fn pushed() -> (Machine, tempfile::TempDir) {
    let machine = Machine::new(&[]);
    machine.run(&["bins", "--bit-length", "2"]).done();
    (0..6).for_each(|number| machine.add(&format!("docs/file-{number}"), &number.to_string()));
    with_new_root(machine)
}

fn with_new_root(machine: Machine) -> (Machine, tempfile::TempDir) {
    machine.run(&["key", "generate", "root-new", "--unencrypted"]).done();
    machine.run(&["rotate", "root", "--add", "file:keys/root-new.pem"]).done();
    let site = folder();
    machine.push(site.path()).done();
    (machine, site)
}

#[test]
fn a_new_machine_gets_a_complete_folder_that_it_can_publish_from() {
    let (machine, site) = pushed();
    let from = site.path().to_str().unwrap();
    let new = Machine::empty();
    new.run(&["pull", "--from", from]).failed("not-pinned", "root is not pinned");
    assert!(!new.dir().exists());
    let digest = RootDigest::of(&machine.root()).to_string();
    let dry = new.run(&["pull", "--from", from, "--root-sha256", &digest, "--dry-run"]).done();
    assert!(!new.dir().exists() && dry.json["targets"] == 6, "{dry:?}");
    new.run(&["pull", "--from", from, "--root-sha256", &digest]).done();
    let pulled = tree(&new.dir());
    for (name, bytes) in tree(site.path()) {
        assert_eq!(pulled.get(&name), Some(&bytes), "{name}");
    }
    assert!(pulled.contains_key("repo.toml") && !pulled.keys().any(|name| name.starts_with("keys/")));
    new.run(&["verify"]).done();
    assert_eq!(new.run(&["status"]).json["pinned"], true);
    // With the keys, the new machine can publish and push.
    for name in ["targets-1", "snapshot-1", "timestamp-1"] {
        let key = machine.dir().join(format!("keys/{name}.pem"));
        new.run(&["key", "allow", key.to_str().unwrap()]).done();
    }
    let config = fs::read_to_string(new.dir().join("repo.toml")).unwrap();
    let mut text = config;
    for role in ["targets", "snapshot", "timestamp"] {
        let key = machine.dir().join(format!("keys/{role}-1.pem"));
        let at = text.find(&format!("[roles.{role}]")).unwrap();
        let keys = at + text[at..].find("keys = []").unwrap();
        text.replace_range(keys..keys + 9, &format!("keys = [\"file:{}\"]", key.display()));
    }
    fs::write(new.dir().join("repo.toml"), text).unwrap();
    let added = new.try_add("docs/new", "new");
    assert!(matches!(added.status, ExitStatus::Done | ExitStatus::Pending), "{added:?}");
    assert_eq!(new.run(&["push"]).done().json["destination"], "default");
}

#[test]
fn a_pull_into_an_existing_folder_brings_it_up_to_date() {
    let (machine, site) = pushed();
    let digest = RootDigest::of(&machine.root()).to_string();
    let new = Machine::empty();
    new.run(&["pull", "--from", site.path().to_str().unwrap(), "--root-sha256", &digest]).done();
    machine.add("docs/late", "late");
    machine.run(&["push"]).done();
    // The new target was not published from this folder, so the user must decide whether to adopt it.
    new.run(&["pull"]).failed("failed", "--adopt");
    let ran = new.run(&["pull", "--adopt"]).done();
    assert_eq!(ran.json["resolution"], "adopted");
    let ran = new.run(&["pull"]).done();
    assert_eq!(ran.json["resolution"], "nothing");
    let served = tree(site.path());
    let pulled = tree(&new.dir());
    let targets: Vec<_> = served.keys().filter(|name| name.starts_with("targets/")).collect();
    assert!(targets.iter().any(|name| name.ends_with(".late")), "{targets:?}");
    assert!(targets.iter().all(|name| pulled.contains_key(*name)), "{targets:?}");
}

#[test]
fn a_machine_that_lost_its_folder_pulls_it_again_from_its_pinned_root() {
    let machine = Machine::new(&[]);
    machine.add("a", "1");
    let site = folder();
    machine.push(site.path()).done();
    fs::remove_dir_all(machine.dir()).unwrap();
    machine.run(&["pull", "--from", site.path().to_str().unwrap()]).done();
    machine.run(&["verify"]).done();
}

#[test]
fn an_interrupted_pull_continues_and_does_not_repeat_downloads() {
    let machine = Machine::new(&[]);
    ["a", "b"].iter().for_each(|name| machine.add(name, name));
    let (machine, site) = with_new_root(machine);
    let digest = RootDigest::of(&machine.root()).to_string();
    let args = ["pull", "--from", site.path().to_str().unwrap(), "--root-sha256", &digest];
    let clean = Machine::empty();
    let watched = arm(clean.folder.path(), usize::MAX, Fault::Die);
    clean.run(&args).done();
    let calls = watched.calls().len();
    drop(watched);
    let expected = tree(&clean.dir());
    let mut kept = 0;
    for number in (0..calls).step_by(2) {
        let new = Machine::empty();
        let armed = arm(new.folder.path(), number, Fault::Die);
        let ran = new.run(&args);
        assert!(armed.has_struck(), "call {number}");
        drop(armed);
        if ran.status != ExitStatus::Done && !new.dir().join("repo.toml").exists() {
            let inode = |path: &std::path::Path| fs::metadata(path).unwrap().ino();
            let targets = || walkdir::WalkDir::new(new.dir().join("targets")).into_iter().filter_map(Result::ok);
            let complete = targets().filter(|entry| {
                entry.file_type().is_file()
                    && expected.contains_key(&format!(
                        "targets/{}",
                        entry.path().strip_prefix(new.dir().join("targets")).unwrap().display()
                    ))
            });
            let before: Vec<_> = complete.map(|entry| (inode(entry.path()), entry.into_path())).collect();
            new.run(&args).done();
            assert!(before.iter().all(|(number, path)| inode(path) == *number), "call {number}");
            kept += before.len();
        } else {
            // The next command finishes the publication.
            new.run(&args).done();
        }
        let found = tree(&new.dir());
        for (name, bytes) in &expected {
            if name.starts_with("metadata/") || name.starts_with("targets/") {
                assert_eq!(found.get(name), Some(bytes), "call {number}: {name}");
            }
        }
    }
    assert!(kept > 0, "no pull was interrupted after a download");
}

#[test]
fn a_pull_without_targets_gets_only_metadata() {
    let (machine, site) = pushed();
    let root = machine.dir().join("metadata/1.root.json");
    let new = Machine::empty();
    let args = ["pull", "--from", site.path().to_str().unwrap(), "--root", root.to_str().unwrap()];
    let ran = new.run(&[&args[..], &["--without-targets"]].concat()).done();
    assert_eq!((ran.json["targets"].as_u64(), new.dir().join("targets").exists()), (Some(6), false));
    new.run(&["status"]);
    // A push needs only target files that the destination lacks, so the missing target files cause no error.
    assert_eq!(new.run(&["push"]).done().json["outcome"], json!("nothing"));
}

#[test]
fn a_pull_verifies_everything() {
    let (machine, site) = pushed();
    let digest = RootDigest::of(&machine.root()).to_string();
    let args = ["pull", "--from", site.path().to_str().unwrap(), "--root-sha256", &digest];
    let target = tree(site.path()).into_keys().find(|name| name.starts_with("targets/")).unwrap();
    let original = fs::read(site.path().join(&target)).unwrap();
    fs::write(site.path().join(&target), "X").unwrap();
    let new = Machine::empty();
    let ran = new.run(&args);
    assert!(ran.status != ExitStatus::Done && !new.dir().join("repo.toml").exists(), "{ran:?}");
    assert!(!new.dir().join(&target).exists());
    fs::write(site.path().join(&target), original).unwrap();
    let other = RootDigest::of(b"another root").to_string();
    let ran = Machine::empty().run(&["pull", "--from", site.path().to_str().unwrap(), "--root-sha256", &other]);
    assert!(ran.status != ExitStatus::Done && ran.stderr.contains("no root on the server has"), "{ran:?}");
}

/// The job in docs/recipes keeps no files between runs: it pulls the metadata, renews and pushes.
#[test]
fn a_job_that_keeps_no_files_renews_and_pushes() {
    let (machine, site) = pushed();
    let digest = RootDigest::of(&machine.root()).to_string();
    let job = Machine::empty();
    let variables = |name: &str| (name == "LASTMILE_REPO_ROOT_SHA256").then(|| digest.clone());
    let run = |args: &[&str]| job.run_with(&variables, args).done();
    let to = site.path().to_str().unwrap();
    run(&["pull", "--from", to, "--without-targets"]);
    fs::create_dir(job.dir().join("keys")).unwrap();
    fs::set_permissions(job.dir().join("keys"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for name in ["timestamp-1.pem", "snapshot-1.pem"] {
        fs::copy(machine.dir().join("keys").join(name), job.dir().join("keys").join(name)).unwrap();
    }
    fs::copy(machine.dir().join("repo.toml"), job.dir().join("repo.toml")).unwrap();
    run(&["renew", "--force"]);
    let pushed = run(&["push", "--to", to]);
    assert_eq!(pushed.sent(), ["metadata/snapshot.json", "metadata/timestamp.json"]);
    assert_eq!(machine.run(&["pull"]).done().json["resolution"], "adopted");
}

#[test]
fn a_server_that_does_not_respond_does_not_block_other_commands() {
    let machine = Machine::new(&[]);
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metadata/", server.local_addr().unwrap());
    thread::scope(|scope| {
        let pull = scope.spawn(|| machine.run(&["pull", "--from", &url]));
        let connection = server.accept().unwrap();
        machine.run(&["renew", "--force", "--skip-served-check", "--wait", "0"]).done();
        drop((connection, server));
        assert_ne!(pull.join().unwrap().status, ExitStatus::Done);
    });
}
