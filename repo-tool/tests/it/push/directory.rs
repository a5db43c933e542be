//! Tests of the files that `push` uploads to a folder, and of the cases in which `push` refuses to upload.

use std::fs;

use lastmile_cli_support::ExitStatus;
use lastmile_fs::disk;
use serde_json::json;

use super::machine::{Machine, copy_tree, tree};
use crate::world::folder;

#[test]
fn a_first_push_uploads_everything_that_clients_need_and_nothing_else() {
    let machine = Machine::new(&[]);
    machine.add("docs/a b~1.txt", "1");
    // `push` uploads only files that belong to the published state, so it does not upload these files.
    fs::write(machine.dir().join("metadata/notes.txt"), "private").unwrap();
    fs::write(machine.dir().join("targets/draft"), "private").unwrap();
    fs::write(machine.dir().join("metadata/9.targets.json"), "left over").unwrap();
    let site = folder();
    let site = site.path().join("new/site");
    let ran = machine.push(&site).done();
    let order = ["metadata/root.json", "targets/docs/a b~1.txt", "metadata/targets.json", "metadata/snapshot.json"];
    assert_eq!(ran.sent(), [&order[..], &["metadata/timestamp.json"]].concat());
    assert_eq!(ran.json["served_before"], json!(null));
    assert_eq!(tree(&site).len(), 5, "{:?}", tree(&site).keys());
    assert_eq!(machine.fetch(&site, "docs/a b~1.txt").unwrap(), b"1");
    let again = machine.run(&["push"]).done();
    assert_eq!((&again.json["outcome"], again.sent().len()), (&json!("nothing"), 0));
    assert!(again.stderr.contains("Nothing to push"), "{again:?}");
}

#[test]
fn a_release_uploads_the_package_the_changed_roles_and_nothing_else() {
    let machine = Machine::new(&[]);
    machine.run(&["bins", "--bit-length", "6"]).done();
    (0..20).for_each(|number| machine.add(&format!("old-{number}"), "old"));
    let site = folder();
    machine.push(site.path()).done();
    machine.add("new", "12345");
    let dry = machine.run(&["push", "--dry-run"]).done();
    let before = tree(site.path());
    let ran = machine.run(&["push"]).done();
    let mut sent = ran.sent();
    let bin = sent.remove(1);
    assert_eq!(sent, ["targets/new", "metadata/snapshot.json", "metadata/timestamp.json"]);
    assert!(bin.starts_with("metadata/bin"), "{bin}");
    let after = tree(site.path());
    assert_eq!(after.len(), before.len() + 3, "only timestamp.json is replaced");
    assert_eq!((dry.json["sent"].clone(), &dry.json["dry_run"]), (ran.json["sent"].clone(), &json!(true)));
    let served = |ran: &super::machine::Ran| ran.json["served_before"]["timestamp"].as_u64().unwrap();
    assert_eq!(ran.json["versions"]["timestamp"], served(&ran) + 1);
    // If there were several publications since the last push, `push` uploads only the newest versions.
    machine.add("x", "1");
    machine.add("y", "2");
    machine.run(&["renew", "--force"]).done();
    let sent = machine.run(&["push"]).done().sent();
    assert_eq!(sent.iter().filter(|name| name.starts_with("targets/")).count(), 2);
    assert_eq!(sent.iter().filter(|name| name.ends_with("snapshot.json")).count(), 1);
    for name in ["x", "y", "new", "old-7"] {
        assert!(machine.fetch(site.path(), name).is_some(), "{name}");
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let machine = Machine::new(&[]);
    machine.add("a", "1");
    let site = folder();
    let ran = machine.run(&["push", "--dry-run", "--to", site.path().to_str().unwrap()]).done();
    assert_eq!(ran.sent().len(), 5);
    assert_eq!(fs::read_dir(site.path()).unwrap().count(), 0);
    let config = fs::read_to_string(machine.folder.path().join("home/.config/lastmile-repo/config.toml")).unwrap();
    assert!(!config.contains("destinations"), "{config}");
}

#[test]
fn a_folder_that_is_behind_uploads_nothing() {
    let machine = Machine::new(&[]);
    let site = folder();
    machine.push(site.path()).done();
    let other = machine.copy();
    machine.add("a", "1");
    machine.run(&["push"]).done();
    let before = tree(site.path());
    let ran = other.run(&["push"]).failed("behind", "has timestamp version 2, but this folder has version 1");
    assert!(ran.stderr.contains("nothing was uploaded") && ran.stderr.contains("lastmile-repo pull"), "{ran:?}");
    // The other machine has published the same version with different content, so the histories have forked.
    other.add("b", "2");
    other.run(&["push"]).failed("behind", "that was not published from this folder");
    // The other machine now has higher versions than the server, but lacks the target `a`, which the server has.
    other.add("c", "3");
    other.run(&["push"]).failed("behind", "snapshot version 2 that was not published from this folder");
    assert_eq!(tree(site.path()), before);
    let ran = other.run(&["pull", "--adopt"]).done();
    assert_eq!(ran.json["dropped"], json!(["b", "c"]));
    other.add("b", "2");
    other.run(&["push"]).done();
    assert!(["a", "b"].iter().all(|name| machine.fetch(site.path(), name).is_some()));
}

#[test]
fn a_renewal_on_another_machine_is_adopted_by_pull() {
    let machine = Machine::new(&[]);
    let site = folder();
    machine.push(site.path()).done();
    let other = machine.copy();
    machine.run(&["renew", "--force"]).done();
    machine.run(&["push"]).done();
    other.run(&["push"]).failed("behind", "nothing was uploaded");
    assert_eq!(other.run(&["pull"]).done().json["resolution"], "adopted");
    assert_eq!(other.run(&["push"]).done().json["outcome"], "nothing");
}

#[test]
fn another_repository_at_the_destination_is_refused() {
    let one = Machine::new(&[]);
    let other = Machine::new(&[]);
    let site = folder();
    one.push(site.path()).done();
    let before = tree(site.path());
    let ran = other.push(site.path());
    assert!(ran.status != ExitStatus::Done && ran.stderr.contains("does not verify"), "{ran:?}");
    // Without a timestamp, only the roots show that this is another repository.
    fs::remove_file(site.path().join("metadata/timestamp.json")).unwrap();
    other.push(site.path()).failed("failed", "metadata/1.root.json has different content than in this folder");
    fs::write(site.path().join("metadata/timestamp.json"), &before["metadata/timestamp.json"]).unwrap();
    assert_eq!(tree(site.path()), before);
}

#[test]
fn nothing_is_pushed_from_a_folder_whose_root_is_not_pinned() {
    let machine = Machine::new(&[]);
    fs::remove_dir_all(machine.folder.path().join("home")).unwrap();
    let site = folder();
    machine.push(site.path()).failed("not-pinned", "root is not pinned");
    assert_eq!(fs::read_dir(site.path()).unwrap().count(), 0);
}

#[test]
fn only_one_process_pushes_at_a_time() {
    let machine = Machine::new(&[]);
    let site = folder();
    let lock = site.path().join(".lastmile-lock");
    let held = disk::try_lock_at(&lock, disk::lock_file_of_owner).unwrap().unwrap();
    let push = ["push", "--wait", "0", "--to", site.path().to_str().unwrap()];
    machine.run(&push).failed("busy", "another process is pushing");
    drop(held);
    machine.run(&push).done();
    assert!(!lock.exists());
}

#[test]
fn a_stale_cache_is_named() {
    let machine = Machine::new(&[]);
    let site = folder();
    let cache = folder();
    machine.push(site.path()).done();
    copy_tree(site.path(), cache.path());
    machine.add("a", "1");
    let url = format!("file://{}", cache.path().display());
    let ran = machine.run(&["push", "--public-url", &url, "--public-wait", "0"]);
    assert_eq!((ran.status, &ran.json["public"]["state"]), (ExitStatus::Pending, &json!("stale")), "{ran:?}");
    let expected = format!("published, but {url}/metadata/ still serves timestamp version 1");
    assert!(ran.stderr.contains(&expected), "{ran:?}");
    copy_tree(site.path(), cache.path());
    // The URL is stored, and a push that uploads nothing also checks the files at this URL.
    let ran = machine.run(&["push"]).done();
    assert_eq!((&ran.json["outcome"], &ran.json["public"]["state"]), (&json!("nothing"), &json!("current")));
    fs::remove_dir_all(cache.path().join("metadata")).unwrap();
    let ran = machine.run(&["push", "--public-wait", "0"]);
    assert_eq!((ran.status, &ran.json["public"]["state"]), (ExitStatus::Pending, &json!("unreadable")), "{ran:?}");
}

#[test]
fn a_leftover_of_an_abandoned_push_is_replaced_but_a_root_is_not() {
    let machine = Machine::new(&[]);
    let site = folder();
    machine.push(site.path()).done();
    let other = machine.copy();
    other.add("b", "2");
    // The other machine stopped before it uploaded its timestamp, and never continued.
    let abandoned = fs::read(other.dir().join("metadata/2.snapshot.json")).unwrap();
    fs::write(site.path().join("metadata/2.snapshot.json"), &abandoned).unwrap();
    machine.add("a", "1");
    machine.run(&["push"]).done();
    assert!(machine.fetch(site.path(), "a").is_some());
    machine.run(&["key", "generate", "root-new", "--unencrypted"]).done();
    machine.run(&["rotate", "root", "--add", "file:keys/root-new.pem"]).done();
    fs::write(site.path().join("metadata/2.root.json"), "other").unwrap();
    let ran = machine.run(&["push"]);
    assert!(ran.status != ExitStatus::Done, "{ran:?}");
    assert_eq!(fs::read(site.path().join("metadata/2.root.json")).unwrap(), b"other");
}

#[test]
fn compressed_copies_are_uploaded_and_always_match() {
    let machine = Machine::new(&[]);
    let config = machine.dir().join("repo.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("compress = [\"gzip\", \"zstd\"]\n{text}")).unwrap();
    machine.add("a", "1");
    let site = folder();
    machine.push(site.path()).done();
    machine.add("b", "2");
    machine.run(&["push"]).done();
    for name in ["timestamp.json", "3.snapshot.json", "3.targets.json"] {
        for ending in ["", ".gz", ".zst"] {
            let name = format!("metadata/{name}{ending}");
            let at = |folder: &std::path::Path| fs::read(folder.join(&name)).unwrap();
            assert_eq!(at(site.path()), at(&machine.dir()), "{name}");
        }
    }
    // A compressed copy that does not match its file is not uploaded.
    machine.add("c", "3");
    fs::write(machine.dir().join("metadata/timestamp.json.gz"), "planted").unwrap();
    machine.run(&["push"]).done();
    assert!(!site.path().join("metadata/timestamp.json.gz").exists());
}

#[test]
fn repositories_with_plain_names_are_pushed() {
    for init in ["--no-hash-prefix", "--no-consistent-snapshot"] {
        let machine = Machine::new(&[init]);
        machine.add("a", "1");
        let site = folder();
        machine.push(site.path()).done();
        machine.add("b", "2");
        let ran = machine.run(&["push"]).done();
        let expected = ["targets/b", "metadata/targets.json", "metadata/snapshot.json", "metadata/timestamp.json"];
        assert_eq!(ran.sent(), expected, "{init}");
        assert!(["a", "b"].iter().all(|name| site.path().join("targets").join(name).exists()), "{init}");
        assert_eq!(machine.run(&["push"]).done().json["outcome"], "nothing", "{init}");
    }
}

#[test]
fn missing_target_files_are_refused_before_anything_is_uploaded() {
    let machine = Machine::new(&[]);
    let site = folder();
    machine.push(site.path()).done();
    machine.add("a", "1");
    machine.add("b", "2");
    let before = tree(site.path());
    let file = |end: &str| {
        let names = fs::read_dir(machine.dir().join("targets")).unwrap().map(|entry| entry.unwrap().path());
        names.into_iter().find(|path| path.to_str().unwrap().ends_with(end)).unwrap()
    };
    fs::write(file(".a"), "x").unwrap();
    machine.run(&["push"]).failed("failed", "is not the file listed as `a`");
    fs::remove_file(file(".a")).unwrap();
    machine.run(&["push"]).failed("failed", "1 of the target files to upload are missing");
    let timestamp = "metadata/timestamp.json";
    assert_eq!(tree(site.path())[timestamp], before[timestamp]);
    let ran = machine.run(&["push", "--allow-missing-targets"]).done();
    assert_eq!(ran.json["missing"].as_array().unwrap().len(), 1);
    assert!(machine.fetch(site.path(), "b").is_some());
}

#[test]
fn destinations_are_named_and_validated() {
    let machine = Machine::new(&[]);
    let one = folder();
    let two = folder();
    machine.run(&["push"]).failed("usage", "--to");
    machine.push(one.path()).done();
    machine.run(&["push", "backup", "--to", two.path().to_str().unwrap()]).done();
    machine.add("a", "1");
    assert_eq!(machine.run(&["push"]).done().json["destination"], "default");
    assert_eq!(machine.run(&["push", "backup"]).done().json["outcome"], "pushed");
    assert_eq!(tree(one.path()), tree(two.path()));
    machine.run(&["push", "--to", "gopher://example.org/a"]).failed("usage", "is not a destination");
    let ran = machine.run(&["push", "--to", "file://alice:secret@/a"]);
    assert!(ran.status == ExitStatus::Usage && !ran.stderr.contains("secret"), "{ran:?}");
}

#[test]
fn a_served_root_of_another_machine_is_a_fork_even_if_the_folder_has_newer_roots() {
    let machine = Machine::new(&[]);
    let site = folder();
    machine.push(site.path()).done();
    machine.run(&["key", "generate", "root-new", "--unencrypted"]).done();
    machine.run(&["key", "generate", "root-newer", "--unencrypted"]).done();
    let mut other = machine.copy();
    other.now += chrono::TimeDelta::days(1);
    other.run(&["rotate", "root", "--add", "file:keys/root-new.pem"]).done();
    other.run(&["push"]).done();
    machine.run(&["rotate", "root", "--add", "file:keys/root-new.pem"]).done();
    machine.run(&["rotate", "root", "--add", "file:keys/root-newer.pem"]).done();
    let before = tree(site.path());
    machine.run(&["push"]).failed("behind", "root version 2 that was not published from this folder");
    assert_eq!(tree(site.path()), before);
}

#[test]
fn the_compressed_copy_of_an_abandoned_file_is_replaced_too() {
    let machine = Machine::new(&[]);
    let site = folder();
    machine.push(site.path()).done();
    for name in ["2.targets.json", "2.targets.json.gz", "2.targets.json.zst"] {
        fs::write(site.path().join("metadata").join(name), "abandoned").unwrap();
    }
    machine.add("a", "1");
    machine.run(&["push"]).done();
    let names: Vec<String> = tree(site.path()).into_keys().filter(|name| name.contains("2.targets.json")).collect();
    assert_eq!(names, ["metadata/2.targets.json"]);
}

#[test]
fn an_endpoint_with_a_password_is_refused_and_not_printed() {
    let machine = Machine::new(&[]);
    let to = ["push", "--to", "s3://bucket/it", "--region", "us-east-1", "--endpoint", "http://me:hidden@127.0.0.1:1"];
    let ran = machine.run(&to).failed("usage", "contains credentials");
    assert!(!format!("{ran:?}").contains("hidden"), "{ran:?}");
    let from =
        ["pull", "--from", "s3://bucket/it", "--region", "us-east-1", "--endpoint", "http://me:hidden@127.0.0.1:1"];
    let ran = Machine::empty().run(&from).failed("usage", "contains credentials");
    assert!(!format!("{ran:?}").contains("hidden"), "{ran:?}");
    let config = fs::read_to_string(machine.folder.path().join("home/.config/lastmile-repo/config.toml")).unwrap();
    assert!(!config.contains("hidden"), "{config}");
}

#[test]
fn a_lock_lasts_at_most_ten_minutes() {
    let machine = Machine::new(&[]);
    let site = folder();
    machine.push(site.path()).done();
    let config = machine.folder.path().join("home/.config/lastmile-repo/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    for (seconds, expected) in [(600, ExitStatus::Done), (601, ExitStatus::Failed), (0, ExitStatus::Failed)] {
        let url = format!("url = \"{}\"", machine_url(site.path()));
        assert!(text.contains(&url), "{text}");
        fs::write(&config, text.replace(&url, &format!("{url}\nlease-seconds = {seconds}"))).unwrap();
        let ran = machine.run(&["push"]);
        assert_eq!(ran.status, expected, "{seconds}: {ran:?}");
    }
}

fn machine_url(site: &std::path::Path) -> String {
    format!("file://{}/", site.display())
}
