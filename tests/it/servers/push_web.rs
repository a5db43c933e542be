//! Tests `lastmile-repo push` to a folder that nginx serves through a cache, and to a checkout of GitHub Pages.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::nginx::{Nginx, server};
use super::site::{Site, replaced, succeed};
use crate::cli::program;

/// The settings of a cache on port `PORT`. It keeps the responses of the server on port `ORIGIN` for an hour.
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

fn command(site: &Site, machine: &str, line: &str) -> Command {
    let mut command = Command::new(program("lastmile-repo"));
    command.env("LASTMILE_REPO_CONFIG", site.path(&format!("{machine}.toml")));
    command.current_dir(site.path(machine)).arg("--json").args(line.split_whitespace());
    command
}

/// Returns the exit status, the JSON result and the messages of `lastmile-repo`.
fn run(site: &Site, machine: &str, line: &str) -> (i32, Value, String) {
    let Output { status, stdout, stderr } = command(site, machine, line).output().unwrap();
    let result = serde_json::from_slice(&stdout).unwrap_or_default();
    (status.code().unwrap(), result, String::from_utf8(stderr).unwrap())
}

fn done(site: &Site, machine: &str, line: &str) -> Value {
    let (status, result, printed) = run(site, machine, line);
    assert_eq!(status, 0, "{line}: {printed}");
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
    let (status, pushed, printed) = run(&site, "packages", "push --public-wait 0");
    assert_eq!((status, &pushed["public"]["state"]), (6, &Value::from("stale")), "{printed}");
    assert_eq!(pushed["public"]["timestamp"], pushed["served_before"]["timestamp"]);
    assert!(printed.contains(&format!("{public}metadata/ still serves timestamp version")), "{printed}");

    fs::remove_dir_all(site.path("nginx/cache")).unwrap();
    fs::create_dir(site.path("nginx/cache")).unwrap();
    let pushed = done(&site, "packages", "push --public-wait 10");
    assert_eq!((&pushed["outcome"], &pushed["public"]["state"]), (&Value::from("nothing"), &Value::from("current")));
    site.fetch_all("it");
    let pushed = done(&site, "packages", &format!("push --public-url http://127.0.0.1:{origin}/"));
    assert_eq!(pushed["public"]["state"], "current");
}

/// Returns the three commands of the section about GitHub Pages in docs/recipes/README.md.
fn recipe() -> [String; 3] {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recipes/README.md");
    let text = fs::read_to_string(page).unwrap();
    let (_, section) = text.split_once("## GitHub Pages\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let commands: Vec<String> = section.lines().filter_map(|line| line.strip_prefix("$ ")).map(String::from).collect();
    commands.try_into().unwrap()
}

/// Runs a command line in the folder of a machine. Returns whether the command succeeded, and its output.
fn shell(site: &Site, machine: &str, line: &str) -> (bool, String) {
    let mut command = site.shell(line);
    command.current_dir(site.path(machine)).env("LASTMILE_REPO_CONFIG", site.path(machine).join("config.toml"));
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
    for person in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{person}_NAME"), "it").env(format!("GIT_{person}_EMAIL"), "it@example.org");
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.success(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

fn shell_done(site: &Site, machine: &str, line: &str) -> String {
    let (is_done, printed) = shell(site, machine, line);
    assert!(is_done, "{machine}: {line}: {printed}");
    printed
}

#[test]
fn two_machines_publish_through_a_checkout_of_github_pages() {
    let site = Site::empty(&[]);
    let [fetch, push, deploy] = recipe();
    fs::create_dir(site.path("first")).unwrap();
    for name in ["packages", "config.toml"] {
        fs::rename(site.path(name), site.path("first").join(name)).unwrap();
    }
    shell_done(&site, "", "git init --quiet --bare --initial-branch main pages.git");
    shell_done(&site, "", "git clone --quiet pages.git first/pages");
    shell_done(&site, "first", &push);
    shell_done(&site, "first", &deploy);
    let files = shell_done(&site, "first", "git -C pages ls-files");
    let is_served = |name: &str| name.starts_with("metadata/") || name.starts_with("targets/");
    assert!(files.lines().count() >= 4 && files.lines().all(is_served), "{files}");

    shell_done(&site, "", "mkdir second && cp -a first/packages first/config.toml second");
    shell_done(&site, "", "git clone --quiet pages.git second/pages");
    for machine in ["first", "second"] {
        shell_done(&site, machine, &format!("echo 1 > {machine}-app && lastmile-repo add {machine}-app -C packages"));
    }
    // Both machines fetch the same state, and only one can push its commit.
    for line in [&fetch, &push] {
        shell_done(&site, "first", line);
        shell_done(&site, "second", line);
    }
    shell_done(&site, "first", &deploy);
    let (is_done, printed) = shell(&site, "second", &deploy);
    assert!(!is_done && printed.contains("rejected"), "{printed}");
    for line in [&fetch, &push, &deploy] {
        shell_done(&site, "second", line);
    }

    shell_done(&site, "", "git clone --quiet pages.git served && ln -s first/packages packages");
    site.trust("it", &format!("file://{}/", site.path("served").display()));
    let mut get = site.client("it");
    succeed(get.args(["get", "first-app", "second-app", "--output", "downloads"]));
}
