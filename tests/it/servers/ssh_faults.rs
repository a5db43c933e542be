//! Tests pushes over SSH during which a process of the client or of the server is killed or stopped. Also tests the
//! lock at an SSH server.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::child::eventually;
use super::push_ssh::{Machine, fetch_all, first, listed, second};
use super::ran::{Ran, ran};
use super::site::{Site, succeed};
use super::sshd::Server;

fn shorten_lease(site: &Site) {
    for name in ["config.toml", "other.toml"] {
        let Ok(text) = fs::read_to_string(site.path(name)) else { continue };
        let url = "url = \"ssh://";
        assert!(text.contains(url), "{text}");
        fs::write(site.path(name), text.replace(url, &format!("lease-seconds = 5\n{url}"))).unwrap();
    }
}

/// A target whose upload takes a while.
fn large() -> Vec<u8> {
    (0..12_000_000_u32).map(|number| (number % 251) as u8).collect()
}

/// Starts a push, and waits until it uploads a target.
fn start(machine: Machine<'_>) -> Child {
    let mut command = machine.command(&["push"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let working = machine.site.path("www/it/.lastmile-push");
    let is_uploading = || {
        let folders = fs::read_dir(&working).ok()?.flatten();
        let files = folders.filter_map(|folder| fs::read_dir(folder.path()).ok()).flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).any(|file| file.len() > 1_000_000).then_some(())
    };
    eventually(is_uploading).expect("the push has not started");
    child
}

fn signal(id: u32, name: &str) {
    succeed(Command::new("kill").args([&format!("-{name}"), &id.to_string()]));
}

fn ended(child: Child) -> Ran {
    ran(child.wait_with_output().unwrap(), &[])
}

fn descendants(id: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let children: Vec<u32> = text.split_whitespace().map(|id| id.parse().unwrap()).collect();
    let below = children.iter().flat_map(|id| descendants(*id)).collect::<Vec<_>>();
    [children, below].concat()
}

/// Returns the sorted names of the files in a folder of the destination. A missing folder counts as empty.
fn names(site: &Site, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(site.path("www/it").join(folder)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn has_large(site: &Site) -> bool {
    names(site, "targets").iter().any(|name| name.ends_with(".large"))
}

/// Writes a lock object as if another process held the lock.
fn lock(site: &Site, number: u64, milliseconds: u64) {
    fs::create_dir_all(site.path("www/it/.lastmile-lock")).unwrap();
    let content = format!(r#"{{"holder":"other","milliseconds":{milliseconds},"renewals":1}}"#);
    fs::write(site.path(&format!("www/it/.lastmile-lock/{number}")), content).unwrap();
}

fn lock_content(site: &Site) -> Value {
    let newest = names(site, ".lastmile-lock").iter().map(|name| name.parse::<u64>().unwrap()).max().unwrap();
    serde_json::from_slice(&fs::read(site.path(&format!("www/it/.lastmile-lock/{newest}"))).unwrap()).unwrap()
}

#[test]
fn a_lock_at_an_ssh_server_is_respected_and_an_abandoned_one_is_taken_over() {
    let site = Site::empty(&[]);
    let server = Server::new(&site.path("server"), "");
    let machine = first(&site, &server);
    lock(&site, 7, 600_000);
    machine.push(&["--wait", "1"]).failed("busy", "another process is pushing");
    assert_eq!(names(&site, ""), [".lastmile-lock"]);
    lock(&site, 12, 1000);
    // A slow process may leave behind a lock object with a lower number. It must be ignored.
    lock(&site, 3, 600_000);
    let start = Instant::now();
    machine.push(&["--wait", "30"]).done();
    assert!(start.elapsed() > Duration::from_secs(1));
    assert_eq!(lock_content(&site)["holder"], "", "the lock must be released");
    assert!(names(&site, ".lastmile-lock").len() <= 2, "{:?}", names(&site, ".lastmile-lock"));
    machine.push(&[]).done();
}

#[test]
fn a_push_with_ssh_continues_after_a_process_or_the_connection_was_killed() {
    let mut site = Site::empty(&[]);
    let server = Server::new(&site.path("server"), "");
    first(&site, &server).push(&[]).done();
    shorten_lease(&site);
    site.release(&[("large", &large()), ("small", b"1")]);
    let served = || (names(&site, "metadata"), fs::read(site.path("www/it/metadata/timestamp.json")).unwrap());
    let before = served();
    let machine = first(&site, &server);

    let mut killed = start(machine);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(served(), before);
    assert!(!has_large(&site));
    machine.run(&["push", "--wait", "0"]).failed("busy", "another process is pushing");

    let mut command = machine.command(&["push", "--wait", "30"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // When the new process takes over the lock, it replaces the folder of the killed process with its own.
    let old = names(&site, ".lastmile-push");
    let is_new = || {
        let now = names(&site, ".lastmile-push");
        (now != old && !now.is_empty()).then_some(())
    };
    eventually(is_new).expect("the lock was not taken over");
    descendants(server.id())
        .into_iter()
        .for_each(|id| drop(Command::new("kill").args(["-KILL", &id.to_string()]).output()));
    let ran = ended(child);
    assert_eq!(ran.status, 4, "{ran:?}");
    assert!(ran.stderr.contains("the SSH connection to www failed"), "{ran:?}");
    assert_eq!(served(), before);

    machine.run(&["push", "--wait", "30"]).done();
    assert_eq!(names(&site, ""), [".lastmile-lock", "metadata", "targets"]);
    fetch_all(&site, "first");
}

#[test]
fn a_push_with_ssh_that_was_stopped_writes_nothing_after_it_has_lost_the_lock() {
    let mut site = Site::empty(&[]);
    let server = Server::new(&site.path("server"), "");
    first(&site, &server).push(&[]).done();
    second(&site, &server).push(&[]).done();
    shorten_lease(&site);
    site.release(&[("large", &large())]);
    fs::write(site.path("b"), "2").unwrap();
    let stopped = start(first(&site, &server));
    signal(stopped.id(), "STOP");
    let other = Machine { site: &site, server: &server, folder: "copy" };
    other.run(&["add", "../b"]).done();
    other.run(&["push", "--wait", "30"]).done();
    let served = || (names(&site, "metadata"), fs::read(site.path("www/it/metadata/timestamp.json")).unwrap());
    let before = served();
    signal(stopped.id(), "CONT");
    ended(stopped).failed("busy", "another process pushed");
    assert_eq!(served(), before);
    assert!(!has_large(&site));
    first(&site, &server).run(&["push", "--catch-up", "--wait", "30"]).done();
    fetch_all(&site, "first");
    assert_eq!(listed(&site, "first"), ["b", "large"]);
}
