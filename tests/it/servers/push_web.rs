//! Tests `lastmile-repo push` to the folder of nginx, with a cache in front of it, and to a checkout of GitHub Pages.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::nginx::{Nginx, server};
use super::site::{Site, replaced, succeed};
use crate::cli::program;

/// A server that caches the responses of the server on port `ORIGIN` for a long time.
const CACHE: &str = r#"
proxy_cache_path cache keys_zone=it:1m;
server {
    listen 127.0.0.1:PORT;
    location / {
        proxy_pass http://127.0.0.1:ORIGIN;
        proxy_cache it;
        proxy_cache_valid 200 1h;
        proxy_ignore_headers Cache-Control Expires;
    }
}
"#;

/// Returns a command that runs `lastmile-repo` on the repository in the folder `machine`, with the configuration of this machine.
fn command(site: &Site, machine: &str, line: &str) -> Command {
    let mut command = Command::new(program("lastmile-repo"));
    command.env("LASTMILE_REPO_CONFIG", site.path(&format!("{machine}.toml")));
    command.current_dir(site.path(machine)).arg("--json").args(line.split_whitespace());
    command
}

/// Runs `lastmile-repo`, and returns the exit status, the result and the messages.
fn run(site: &Site, machine: &str, line: &str) -> (i32, Value, String) {
    let Output { status, stdout, stderr } = command(site, machine, line).output().unwrap();
    let result = serde_json::from_slice(&stdout).unwrap_or_default();
    (status.code().unwrap(), result, String::from_utf8(stderr).unwrap())
}

/// Like [`run`], but the command must succeed.
fn done(site: &Site, machine: &str, line: &str) -> Value {
    let (status, result, said) = run(site, machine, line);
    assert_eq!(status, 0, "{line}: {said}");
    result
}

#[test]
fn a_push_is_done_when_clients_get_the_new_state_and_a_cache_that_serves_the_old_state_is_named() {
    let mut site = Site::new(&[]);
    fs::rename(site.path("config.toml"), site.path("packages.toml")).unwrap();
    let servers = |[origin, cache]: [u16; 2]| {
        let origin_server = server(&site, &format!("listen 127.0.0.1:{origin};"));
        let packages = site.path("packages");
        let origin_server = replaced(&origin_server, packages.to_str().unwrap(), site.path("www").to_str().unwrap());
        origin_server + &CACHE.replace("PORT", &cache.to_string()).replace("ORIGIN", &origin.to_string())
    };
    let (_nginx, [origin, cache]) = Nginx::start(&site.path("nginx"), servers);
    let public = format!("http://127.0.0.1:{cache}/");
    let pushed = done(&site, "packages", &format!("push --to ../www --public-url {public} --public-wait 10"));
    assert_eq!(pushed["public"]["state"], "current", "{pushed}");
    site.trust("it", &public);
    site.fetch_all("it");

    fs::rename(site.path("packages.toml"), site.path("config.toml")).unwrap();
    site.release(&[("docs/news.txt", b"There is news.".as_slice())]);
    fs::rename(site.path("config.toml"), site.path("packages.toml")).unwrap();
    let (status, pushed, said) = run(&site, "packages", "push --public-wait 0");
    assert_eq!((status, &pushed["public"]["state"]), (6, &Value::from("stale")), "{said}");
    assert_eq!(pushed["public"]["timestamp"], pushed["served_before"]["timestamp"]);
    assert!(said.contains(&format!("{public}metadata/ still serves timestamp version")), "{said}");

    fs::remove_dir_all(site.path("nginx/cache")).unwrap();
    fs::create_dir(site.path("nginx/cache")).unwrap();
    let pushed = done(&site, "packages", "push --public-wait 10");
    assert_eq!((&pushed["outcome"], &pushed["public"]["state"]), (&Value::from("nothing"), &Value::from("current")));
    site.fetch_all("it");
    let pushed = done(&site, "packages", &format!("push --public-url http://127.0.0.1:{origin}/"));
    assert_eq!(pushed["public"]["state"], "current");
}

/// Runs `git` in a folder.
fn git(folder: &Path, line: &str) -> (bool, String) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=it", "-c", "user.email=it@example.org", "-c", "core.autocrlf=false"]);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
    let output = command.current_dir(folder).args(line.split_whitespace()).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn git_done(folder: &Path, line: &str) -> String {
    let (is_done, said) = git(folder, line);
    assert!(is_done, "git {line}: {said}");
    said
}

/// Commits everything in the checkout `pages` and pushes the commit. Returns whether the server accepted it.
fn deploy(site: &Site, pages: &str) -> bool {
    let pages = site.path(pages);
    git_done(&pages, "add --all");
    git_done(&pages, "commit --quiet --message Release");
    git(&pages, "push --quiet origin HEAD:main").0
}

#[test]
fn two_machines_publish_through_a_checkout_of_github_pages() {
    let site = Site::empty(&[]);
    let root = site.path("");
    git_done(&root, "init --quiet --bare --initial-branch main pages.git");
    git_done(&root, "clone --quiet pages.git first-pages");
    for (from, to) in [("packages", "first"), ("config.toml", "first.toml")] {
        fs::rename(site.path(from), site.path(to)).unwrap();
    }
    done(&site, "first", "push --to ../first-pages");
    assert!(deploy(&site, "first-pages"));
    let files = git_done(&site.path("first-pages"), "ls-files");
    let is_served = |name: &str| name.starts_with("metadata/") || name.starts_with("targets/");
    assert!(files.lines().count() >= 4 && files.lines().all(is_served), "{files}");

    // The second machine has a copy of the folder, and pushes to its own checkout.
    succeed(Command::new("cp").arg("-a").arg(site.path("first")).arg(site.path("second")));
    fs::copy(site.path("first.toml"), site.path("second.toml")).unwrap();
    git_done(&root, "clone --quiet pages.git second-pages");
    for (machine, name) in [("first", "a"), ("second", "b")] {
        fs::write(site.path(name), name).unwrap();
        done(&site, machine, &format!("add ../{name}"));
        done(&site, machine, &format!("push --to ../{machine}-pages"));
    }
    assert!(deploy(&site, "first-pages"));
    assert!(!deploy(&site, "second-pages"), "the server must refuse to lose the commit of the first machine");

    // The second machine discards its commit and publishes its change on top of the state of the first.
    let pages = site.path("second-pages");
    git_done(&pages, "fetch --quiet origin");
    git_done(&pages, "reset --quiet --hard origin/main");
    let (_, _, said) = run(&site, "second", "push --catch-up");
    assert!(deploy(&site, "second-pages"), "{said}");

    git_done(&root, "clone --quiet pages.git served");
    fs::rename(site.path("first"), site.path("packages")).unwrap();
    let served = format!("file://{}/", site.path("served").display());
    site.trust("it", &served);
    let mut get = site.client("it");
    succeed(get.args(["get", "a", "b", "--output", "downloads"]));
    assert_eq!(fs::read(site.path("downloads/b")).unwrap(), b"b");
}
