//! Tests `lastmile-repo push` and `pull` with an emulator of Azure Blob Storage.
//!
//! `cargo xtask setup` installs the emulator below `target/interop/azurite`.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::child::{Running, announced, start};
use super::ran::{self, Ran};
use super::site::{Site, succeed};
use crate::cli::program;

const ACCOUNT: &str = "devstoreaccount1";
/// The well-known key of the emulator's account.
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const WRONG_KEY: &str = "bm90IHRoZSBrZXkgb2YgdGhlIGFjY291bnQ=";
/// The text that the emulator prints before its address.
const STARTED: &str = "Blob service successfully listens on ";

const NOT_CHECKED: &str =
    "Azure Blob Storage: NOT CHECKED: `cargo xtask setup` did not install azurite on this machine";

/// An emulator with the empty container `packages`.
struct Container {
    _running: Running,
    port: u16,
}

impl Container {
    /// Starts an emulator. Returns `None` if it is not installed.
    fn new(site: &Site) -> Option<Self> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let emulator = project.join("target/interop/azurite/node_modules/azurite/dist/src/blob/main.js");
        if !emulator.exists() {
            return None;
        }
        let printed = site.path("azure-printed");
        let command = |[]: [u16; 0]| {
            let mut command = Command::new("node");
            // The emulator chooses a free port and prints it.
            command.arg(&emulator).args(["--blobHost", "127.0.0.1", "--blobPort", "0"]);
            command.args(["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]);
            command.current_dir(site.path(""));
            command
        };
        let (running, []) = start(&printed, command, || announced(&printed, STARTED).is_some());
        let container = Self { _running: running, port: announced(&printed, STARTED).unwrap() };
        container.put(&["packages"]);
        Some(container)
    }

    /// Creates a container or writes a blob with the script `put.cjs`.
    fn put(&self, arguments: &[&str]) {
        let mut command = Command::new("node");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/azurite/put.cjs"));
        command.arg(self.port.to_string()).args(arguments);
        succeed(command.env("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT).env("AZURE_STORAGE_ACCOUNT_KEY", KEY));
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/{ACCOUNT}", self.port)
    }
}

/// Runs `lastmile-repo` in the folder `machine` of the site. Each machine has its own configuration.
fn run_with(site: &Site, machine: &str, key: &str, arguments: &[&str]) -> Ran {
    let mut command = Command::new(program("lastmile-repo"));
    command.env_clear().env("HOME", site.path("")).env("LASTMILE_REPO_CONFIG", site.path(&format!("{machine}.toml")));
    command.env("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT).env("AZURE_STORAGE_ACCOUNT_KEY", key);
    command.current_dir(site.path(machine)).arg("--json").args(arguments);
    ran::run(command, &[KEY, WRONG_KEY])
}

fn run(site: &Site, machine: &str, arguments: &[&str]) -> Ran {
    run_with(site, machine, KEY, arguments)
}

fn add(site: &Site, machine: &str, name: &str) {
    fs::write(site.path(name), name).unwrap();
    run(site, machine, &["add", &format!("../{name}")]).done();
}

#[test]
fn a_repository_is_pushed_to_azure_by_two_machines() {
    let mut site = Site::empty(&[]);
    site.release(&[("large", &vec![7; 9_000_000]), ("small", b"1")]);
    let Some(container) = Container::new(&site) else { return lastmile_tests::say(NOT_CHECKED) };
    fs::copy(site.path("config.toml"), site.path("packages.toml")).unwrap();
    let endpoint = container.endpoint();
    let to = ["push", "--to", "az://packages/it", "--endpoint", &endpoint];
    run_with(&site, "packages", WRONG_KEY, &to).failed("network", "az://packages/it/");
    let ran = run(&site, "packages", &to).done();
    assert_eq!(ran.json["sent"].as_array().unwrap().len(), 6, "{ran:?}");
    assert_eq!(run(&site, "packages", &["push"]).done().json["outcome"], "nothing");
    add(&site, "packages", "release");
    let ran = run(&site, "packages", &["push"]).done();
    assert_eq!(ran.json["sent"].as_array().unwrap().len(), 4, "{ran:?}");

    // A second machine pulls the repository, and then both machines publish.
    fs::create_dir(site.path("copy")).unwrap();
    let root = "../packages/metadata/1.root.json";
    run(&site, "copy", &["pull", "--from", "az://packages/it", "--endpoint", &endpoint, "--root", root]).done();
    succeed(
        Command::new("cp").arg("-a").args(["packages/keys", "packages/repo.toml", "copy"]).current_dir(site.path("")),
    );
    add(&site, "packages", "first");
    add(&site, "copy", "second");
    run(&site, "packages", &["push"]).done();
    run(&site, "copy", &["push"]).failed("behind", "nothing was uploaded");
    run(&site, "copy", &["push", "--catch-up"]).done();
    fs::create_dir(site.path("served")).unwrap();
    let pulled = run(&site, "served", &["pull", "--from", "az://packages/it", "--endpoint", &endpoint, "--root", root]);
    assert_eq!(pulled.done().json["targets"], 5);
    run(&site, "served", &["verify"]).done();
}

#[test]
fn a_lock_in_azure_is_respected() {
    let site = Site::empty(&[]);
    let Some(container) = Container::new(&site) else { return lastmile_tests::say(NOT_CHECKED) };
    fs::copy(site.path("config.toml"), site.path("packages.toml")).unwrap();
    let to = ["push", "--to", "az://packages/it", "--endpoint", &container.endpoint()];
    run(&site, "packages", &to).done();
    add(&site, "packages", "release");
    let lock = |holder: &str| {
        let content = format!(r#"{{"holder":"{holder}","milliseconds":600000,"renewals":1}}"#);
        container.put(&["packages", "it/.lastmile-lock", &content]);
    };
    lock("another process");
    run(&site, "packages", &["push", "--wait", "0"]).failed("busy", "expires 600 seconds after its last renewal");
    // An empty holder means that the lock was released.
    lock("");
    run(&site, "packages", &["push", "--wait", "0"]).done();
}
