//! Tests `lastmile-repo push` and `pull` with an SSH server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::ran::{Ran, run};
use super::site::{Site, replaced, succeed};
use super::sshd::Server;
use crate::cli::program;

/// A maintainer's machine. Each machine has its own configuration and its own copy of the repository.
#[derive(Clone, Copy)]
pub(super) struct Machine<'a> {
    pub(super) site: &'a Site,
    pub(super) server: &'a Server,
    /// The folder of the repository, relative to the site's folder.
    pub(super) folder: &'a str,
}

impl Machine<'_> {
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("lastmile-repo"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.site.path(""));
        command.env("LASTMILE_SSH", self.server.program());
        let config = if self.folder == "packages" { "config.toml" } else { "other.toml" };
        command.env("LASTMILE_REPO_CONFIG", self.site.path(config));
        command.current_dir(self.site.path(self.folder)).arg("--json").args(arguments);
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        run(self.command(arguments), &[])
    }

    /// Pushes to the folder `www/it` of the site.
    pub(super) fn push(&self, more: &[&str]) -> Ran {
        self.run(&[&["push", "--to", &url(self.site)], more].concat())
    }
}

/// Returns the machine on which the repository was created.
pub(super) fn first<'a>(site: &'a Site, server: &'a Server) -> Machine<'a> {
    Machine { site, server, folder: "packages" }
}

/// Pulls the repository to a second machine, and copies the keys and `repo.toml` from the first machine.
pub(super) fn second<'a>(site: &'a Site, server: &'a Server) -> Machine<'a> {
    fs::create_dir(site.path("copy")).unwrap();
    let machine = Machine { site, server, folder: "copy" };
    machine.run(&["pull", "--from", &url(site), "--root", "../packages/metadata/1.root.json"]).done();
    for file in ["keys", "repo.toml"] {
        succeed(Command::new("cp").arg("-a").arg(site.path("packages").join(file)).arg(site.path("copy")));
    }
    machine
}

pub(super) fn url(site: &Site) -> String {
    format!("ssh://www{}", site.path("www/it").display())
}

pub(super) fn fetch_all(site: &Site, client: &str) {
    if !site.path(&format!("state-{client}")).exists() {
        site.trust(client, &format!("file://{}/", site.path("www/it").display()));
    }
    site.fetch_all(client);
}

pub(super) fn listed(site: &Site, client: &str) -> Vec<String> {
    let output = succeed(site.client(client).arg("list"));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode()
}

#[test]
fn a_repository_is_pushed_with_ssh_and_pulled_from_there() {
    let mut site = Site::new(&[]);
    let large: Vec<u8> = (0..9_000_000_u32).map(|number| (number % 251) as u8).collect();
    site.release(&[("large~1", &large)]);
    let server = Server::new(&site.path("server"), "");
    let machine = first(&site, &server);
    let planned = machine.push(&["--dry-run"]).done();
    assert!(!site.path("www").exists());
    let pushed = machine.push(&[]).done();
    assert_eq!(pushed.json["sent"], planned.json["sent"]);
    fetch_all(&site, "first");
    let mut entries: Vec<_> =
        fs::read_dir(site.path("www/it")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    entries.sort();
    assert_eq!(entries, [".lastmile-lock", "metadata", "targets"]);

    // New files and folders have the same modes as those that ordinary programs create.
    fs::create_dir(site.path("ordinary")).unwrap();
    fs::write(site.path("ordinary/file"), "").unwrap();
    assert_eq!(mode(&site.path("www/it/targets")), mode(&site.path("ordinary")));
    assert_eq!(mode(&site.path("www/it/metadata/timestamp.json")), mode(&site.path("ordinary/file")));

    // rsync finds no difference between the destination and the repository.
    let mut compare = Command::new("rsync");
    compare.args(["-rcn", "--itemize-changes", "-e"]).arg(server.program());
    compare.arg(site.path("www/it/metadata")).arg(site.path("www/it/targets"));
    let compared = succeed(compare.arg(format!("www:{}/", site.path("packages").display())));
    assert_eq!(String::from_utf8_lossy(&compared.stdout), "");

    // A release uploads only new files.
    site.release(&[("docs/news.txt", b"There is news.".as_slice())]);
    let machine = first(&site, &server);
    let ran = machine.run(&["push"]).done();
    assert_eq!(ran.json["sent"].as_array().unwrap().len(), 4, "{ran:?}");
    fetch_all(&site, "first");
    assert_eq!(machine.run(&["push"]).done().json["outcome"], "nothing");

    second(&site, &server).run(&["verify"]).done();
}

#[test]
fn two_machines_publish_in_turn_with_ssh() {
    let mut site = Site::empty(&[]);
    let server = Server::new(&site.path("server"), "");
    first(&site, &server).push(&[]).done();
    let copy = second(&site, &server).folder.to_owned();
    site.release(&[("a", b"1".as_slice())]);
    let other = Machine { site: &site, server: &server, folder: &copy };
    first(&site, &server).run(&["push"]).done();
    fs::write(site.path("b"), "2").unwrap();
    other.run(&["add", "../b"]).done();
    other.run(&["push"]).failed("behind", "was not published from this folder");
    other.run(&["push", "--catch-up"]).done();
    first(&site, &server).run(&["pull", "--adopt"]).done();
    fetch_all(&site, "first");
    assert_eq!(listed(&site, "first"), ["a", "b"]);
}

/// Returns the first code block in docs/recipes/README.md that contains `mark`.
fn recipe(mark: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recipes/README.md");
    let text = fs::read_to_string(page).unwrap();
    let block = text.split("\n```").find(|block| !block.starts_with("\n\n") && block.contains(mark));
    block.unwrap_or_else(|| panic!("no block has {mark}")).split_once('\n').unwrap().1.to_owned()
}

fn commands(block: &str) -> Vec<&str> {
    block.lines().map(|line| line.strip_prefix("$ ").unwrap()).collect()
}

#[test]
fn the_recipe_with_an_account_that_is_restricted_to_sftp_is_sufficient() {
    let mut site = Site::empty(&[]);
    fs::create_dir(site.path("www")).unwrap();
    let user = String::from_utf8(succeed(Command::new("id").arg("-un")).stdout).unwrap();
    let settings = replaced(&recipe("Match User"), "User packages", &format!("User {}", user.trim()));
    // sshd refuses a `ChrootDirectory` below a folder that all users can write to, such as /tmp.
    let settings = replaced(&settings, "  ChrootDirectory /srv\n", "");
    let settings = replaced(&settings, "-d /www", &format!("-d {}", site.path("www").display()));
    let keys = site.path("server/authorized");
    let settings = replaced(&settings, "/etc/ssh/authorized_keys/%u", keys.to_str().unwrap());
    let server = Server::new(&site.path("server"), &settings);
    let digest = succeed(Command::new("sha256sum").arg(site.path("packages/metadata/1.root.json")));
    let digest = String::from_utf8(digest.stdout).unwrap().split_once(' ').unwrap().0.to_owned();
    let block = recipe("push --to ssh://");
    let run = |site: &Site, line: &str, config: &str| {
        let line = replaced(line, "www.example.org/~/packages", "www/~/it");
        let mut command = site.shell(&line);
        command.env("LASTMILE_SSH", server.program()).env("ROOT_SHA256", &digest);
        succeed(command.env("LASTMILE_REPO_CONFIG", site.path(config)).current_dir(site.path("packages")));
    };
    let [push, pull] = commands(&block)[..] else { panic!("{block}") };
    run(&site, push, "config.toml");
    site.release(&[("a", b"1".as_slice())]);
    run(&site, push, "config.toml");
    fetch_all(&site, "first");
    run(&site, pull, "other.toml");
    assert!(site.path("copy/metadata/timestamp.json").exists());
}

#[test]
fn a_server_without_the_extension_that_makes_files_durable_is_sufficient() {
    let mut site = Site::empty(&[]);
    site.release(&[("a", b"1".as_slice())]);
    let server = Server::new(&site.path("server"), "ForceCommand internal-sftp -P fsync");
    first(&site, &server).push(&[]).done();
    fetch_all(&site, "first");
}

#[test]
fn a_server_that_cannot_replace_files_is_refused() {
    let site = Site::empty(&[]);
    let server = Server::new(&site.path("server"), "ForceCommand internal-sftp -P posix-rename");
    first(&site, &server).push(&[]).failed("failed", "does not let this user replace files");
    assert!(!site.path("www").exists());
}

#[test]
fn a_folder_that_the_user_may_not_change_is_named() {
    let site = Site::empty(&[]);
    let server = Server::new(&site.path("server"), "ForceCommand internal-sftp -P mkdir");
    let ran = first(&site, &server).push(&[]);
    assert_eq!(ran.status, 4, "{ran:?}");
    assert!(ran.stderr.contains("/www") && ran.stderr.contains("permission denied"), "{ran:?}");
}

#[test]
fn the_messages_of_ssh_are_reported() {
    let site = Site::empty(&[]);
    let server = Server::new(&site.path("server"), "");
    let machine = first(&site, &server);
    let fails = |text: &str| {
        let ran = machine.push(&[]);
        assert_eq!(ran.status, 4, "{ran:?}");
        assert!(ran.stderr.contains(text) && ran.stderr.contains("hint: check that `ssh HOST` connects"), "{ran:?}");
    };
    fs::write(server.path("authorized"), "").unwrap();
    fails("Permission denied (publickey)");
    fs::write(server.path("known_hosts"), "").unwrap();
    fails("Host key verification failed");
    let config = fs::read_to_string(server.path("ssh_config")).unwrap();
    fs::write(server.path("ssh_config"), config.replace("HostName 127.0.0.1", "HostName 127.0.0.1\nPort 1")).unwrap();
    fails("Connection refused");
    // The SSH program now prints text instead of speaking SFTP. A shell does so if its start-up file prints text.
    fs::write(server.program(), "#!/bin/sh\necho Welcome to this server\nexec cat >/dev/null\n").unwrap();
    fails("the server sent a packet with the invalid length");
    fs::remove_file(server.program()).unwrap();
    fails("cannot run");
    assert!(!site.path("www").exists());
}

#[test]
fn destinations_that_ssh_could_misunderstand_are_refused() {
    let site = Site::empty(&[]);
    let server = Server::new(&site.path("server"), "");
    let machine = first(&site, &server);
    for (to, text) in [
        ("ssh://-oProxyCommand=touch%20x/a", "the host name is not valid"),
        ("ssh://www/a/../b", "the path contains `..`"),
        ("ssh://me:secret@www/a", "contains credentials"),
        ("me@www:/srv/it", "write `ssh://USER@HOST/PATH`"),
        ("www:it", "write `ssh://USER@HOST/PATH`"),
    ] {
        let ran = machine.run(&["push", "--to", to]);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.stderr.contains(text) && !ran.stderr.contains("secret"), "{ran:?}");
    }
    // A path that contains a colon is accepted if it starts with `./`.
    machine.run(&["push", "--to", "./www:it"]).done();
}

#[test]
fn the_recipe_with_rsync_copies_a_repository() {
    let mut site = Site::new(&[]);
    let server = Server::new(&site.path("server"), "");
    let block = recipe("push --to ../www");
    fs::create_dir(site.path("www")).unwrap();
    let place = format!("www:{}/", site.path("www/it").display());
    let copy = |site: &Site| {
        for line in commands(&block) {
            let line = line.replace("www.example.org:/srv/www/packages/", &place).replace("../www", "../local");
            let mut command = site.shell(&line);
            succeed(command.current_dir(site.path("packages")).env("RSYNC_RSH", server.program()));
        }
    };
    copy(&site);
    fetch_all(&site, "first");
    site.release(&[("docs/news.txt", b"There is news.".as_slice())]);
    copy(&site);
    fetch_all(&site, "first");
    assert!(!site.path("www/it/.lastmile-lock").exists());
}
