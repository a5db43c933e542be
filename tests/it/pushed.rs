//! Tests with two machines, each with a clone of a repository. Publishers on both machines push to one destination at
//! the same time, and their commands are killed after different times. The destination is a folder, a folder on an SSH
//! server, or an S3 bucket.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::cli::program;
use crate::servers::s3::Bucket;
use crate::servers::site::Site;
use crate::servers::sshd::Server;
use crate::servers::wire::get;

/// How long the publishers may continue after the period [`Setup::killing`] has ended.
const LIMIT: Duration = Duration::from_secs(240);

/// A destination, and the publishers that push to it.
struct Setup<'a> {
    /// The options of the first push.
    to: Vec<String>,
    environment: Vec<(&'static str, OsString)>,
    /// The URL from which clients read the destination.
    url: String,
    read: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    /// The number of publishers on each machine.
    publishers: usize,
    /// The period in which commands of publishers are killed. Afterwards, every command runs to its end, so that the
    /// test can end.
    killing: Duration,
}

/// A machine with its own clone and its own configuration.
struct Machine<'a> {
    folder: PathBuf,
    environment: &'a [(&'static str, OsString)],
}

impl Machine<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("lastmile-repo"));
        command.env("LASTMILE_REPO_CONFIG", self.folder.join("config.toml"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.folder.join("packages")).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Runs a command, and kills it if it still runs after `life`. Returns whether the command succeeded, and its messages.
fn run_for(mut command: Command, life: Option<Duration>) -> (bool, String) {
    let mut child: Child = command.spawn().unwrap();
    let start = Instant::now();
    if let Some(life) = life {
        while child.try_wait().unwrap().is_none() && start.elapsed() < life {
            thread::sleep(Duration::from_millis(1));
        }
        drop(child.kill());
    }
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// Like [`push_and_kill`], but the destination is the folder `site` below `folder`. The value of `--to` is `to`,
/// followed by the path of the destination.
fn push_and_kill_in_folder(
    folder: &TempDir,
    to: &str,
    environment: Vec<(&'static str, OsString)>,
    publishers: usize,
    seconds: u64,
) -> String {
    let site = folder.path().join("site");
    let read = |name: &str| fs::read(site.join(name)).ok();
    let to = vec!["--to".to_owned(), format!("{to}{}", site.display())];
    let url = format!("file://{}/metadata/", site.display());
    let killing = Duration::from_secs(seconds);
    push_and_kill(folder, &Setup { to, environment, url, read: &read, publishers, killing })
}

#[test]
fn two_machines_with_killed_publishers_neither_fork_nor_lose_a_release() {
    lastmile_tests::say(&push_and_kill_in_folder(&tempfile::tempdir().unwrap(), "", Vec::new(), 5, 15));
}

#[test]
fn two_machines_with_killed_publishers_neither_fork_nor_lose_a_release_over_ssh() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(&folder.path().join("server"), "");
    let environment = vec![("LASTMILE_SSH", server.program().into())];
    lastmile_tests::say(&push_and_kill_in_folder(&folder, "ssh://www", environment, 2, 8));
}

#[test]
fn two_machines_with_killed_publishers_neither_fork_nor_lose_a_release_in_s3() {
    let site = Site::empty(&[]);
    let bucket = Bucket::new(&site);
    let endpoint = format!("http://127.0.0.1:{}", bucket.port);
    let to = ["--to", "s3://packages/it", "--endpoint", &endpoint, "--region", "us-east-1"].map(str::to_owned);
    let credentials = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| (name, "it".into()));
    let read = |name: &str| {
        let reply = get(bucket.port, &format!("/packages/it/{name}"), &[]);
        (reply.status == 200).then_some(reply.body)
    };
    let setup = Setup {
        to: to.into(),
        environment: credentials.into(),
        url: format!("{}it/metadata/", bucket.url()),
        read: &read,
        publishers: 3,
        killing: Duration::from_secs(10),
    };
    lastmile_tests::say(&push_and_kill(&tempfile::tempdir().unwrap(), &setup));
}

/// Runs all publishers of `setup`, and checks that no release is lost, and that each version of the snapshot is always
/// served with the same content. Returns a summary.
fn push_and_kill(folder: &TempDir, setup: &Setup<'_>) -> String {
    let machine = |name| Machine { folder: folder.path().join(name), environment: &setup.environment };
    let first = machine("first");
    fs::create_dir_all(first.folder.join("packages")).unwrap();
    first.run(&["init", "--unencrypted-keys", "--threshold", "root=1"]);
    let to = setup.to.iter().map(String::as_str);
    first.run(&iter::once("push").chain(to).collect::<Vec<_>>());
    // With a short lock duration, other publishers soon take over the lock of a killed publisher.
    let config = first.folder.join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("url = \"s", "lease-seconds = 2\nurl = \"s")).unwrap();
    copy(&first.folder, &folder.path().join("second"));
    let machines = [first, machine("second")];
    let quiet = Instant::now() + setup.killing;
    let kills = AtomicUsize::new(0);
    let watched = thread::scope(|scope| {
        let publishers: Vec<_> = (0..2 * setup.publishers)
            .map(|number| {
                let (machine, kills, folder) = (&machines[number % 2], &kills, folder.path());
                scope.spawn(move || publish(machine, number, folder, kills, quiet))
            })
            .collect();
        // A client may fetch the snapshot as soon as the timestamp lists it, so its content must not change afterwards.
        let mut seen: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        while publishers.iter().any(|publisher| !publisher.is_finished()) {
            if let Some((version, snapshot)) = served_snapshot(setup.read) {
                let known = seen.entry(version).or_insert_with(|| snapshot.clone());
                assert_eq!(*known, snapshot, "snapshot version {version} was served with two contents");
            }
            thread::sleep(Duration::from_millis(20));
        }
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        seen.len()
    });
    let killed = kills.load(Ordering::Relaxed);
    assert!(killed > 0, "no publisher was killed");
    for machine in &machines {
        machine.run(&["push", "--catch-up"]);
        machine.run(&["verify"]);
    }
    let state = folder.path().join("client");
    let client = |arguments: &[&str]| {
        let mut command = Command::new(program("lastmile"));
        command.env("LASTMILE_STATE_DIR", &state).current_dir(folder.path()).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    client(&["trust", "add", "it", "--root", "first/packages/metadata/1.root.json", "--metadata-url", &setup.url]);
    let listed = client(&["list"]);
    for number in 0..2 * setup.publishers {
        assert!(listed.contains(&format!("release-{number}")), "release-{number} was lost: {listed}");
    }
    format!("two machines: {} releases, {killed} kills, {watched} served snapshots seen", 2 * setup.publishers)
}

/// Publishes a release and pushes it. Until the time `quiet`, kills each command that takes too long. Repeats each
/// command until it succeeds.
fn publish(machine: &Machine<'_>, number: usize, folder: &Path, kills: &AtomicUsize, quiet: Instant) {
    let file = folder.join(format!("release-{number}"));
    fs::write(&file, number.to_string()).unwrap();
    let mut round = 0_u64;
    for arguments in [&["add", file.to_str().unwrap()][..], &["push", "--catch-up"]] {
        loop {
            assert!(quiet.elapsed() < LIMIT, "publisher {number} is not done");
            round += 1;
            // The time until a publisher is killed differs between publishers, and grows with each attempt.
            let life = 8 + (number as u64 * 67 + round * 131) % 120 * round.min(8);
            let life = (Instant::now() < quiet).then_some(Duration::from_millis(life));
            let (is_done, printed) = run_for(machine.command(arguments), life);
            if is_done {
                break;
            }
            if printed.contains("error:") {
                // A command may fail because other publishers held a lock for too long, or because they changed the
                // destination each time the command read it.
                let is_busy =
                    printed.contains("another process") || printed.contains("changed while it was being read");
                assert!(is_busy, "publisher {number}: {arguments:?}: {printed}");
            } else {
                kills.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Returns the version and the content of the snapshot that the timestamp refers to.
fn served_snapshot(read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Option<(u64, Vec<u8>)> {
    let timestamp: serde_json::Value = serde_json::from_slice(&read("metadata/timestamp.json")?).ok()?;
    let version = timestamp.pointer("/signed/meta/snapshot.json/version")?.as_u64()?;
    Some((version, read(&format!("metadata/{version}.snapshot.json"))?))
}
