//! Kills the programs at random moments while other processes use the same repository and store.
//!
//! The tests print the seeds of their random numbers. However, the state in which a program is killed also depends on
//! the speed of the machine, so the same seed may not reproduce a failure.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use chrono::Utc;
use lastmile_client::{HttpSettings, ProxyChoice};
use lastmile_testkit::{Repository, TestClient, hash};
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::program;

/// A folder with a repository, its server, and the files of a client.
struct World {
    folder: TempDir,
    server: Child,
    base: String,
    /// The hashes of all published files seen so far, by file name. `timestamp.json` is not included.
    seen: BTreeMap<String, String>,
}

/// Kills the server when it is dropped, even if the test panics.
impl Drop for World {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let mut repo = Command::new(program("lastmile-repo"));
        repo.current_dir(folder.path()).env("LASTMILE_REPO_CONFIG", "config.toml").args([
            "init",
            "packages",
            "--unencrypted-keys",
        ]);
        assert!(repo.output().unwrap().status.success());
        let mut serve = Command::new(program("lastmile-repo"));
        serve.args(["-C", "packages", "serve", "--port", "0", "--quiet"]).current_dir(folder.path());
        let mut server = serve.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let base = line.trim().trim_start_matches("metadata: ").trim_end_matches("metadata/").to_owned();
        let world = World { folder, server, base, seen: BTreeMap::new() };
        world.release("always");
        let root = world.path("packages/metadata/1.root.json");
        let url = format!("{}metadata/", world.base);
        world.client(&["trust", "add", "it", "--root", root.to_str().unwrap(), "--metadata-url", &url]);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn repo_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("lastmile-repo"));
        command.current_dir(self.folder.path()).env("LASTMILE_REPO_CONFIG", "config.toml");
        command.env("LASTMILE_PASS_PHRASE", "pass").args(["-C", "packages"]);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn client_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("lastmile"));
        command.current_dir(self.folder.path()).env("LASTMILE_STATE_DIR", "state").args(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn repo(&self, arguments: &[&str]) {
        succeed(self.repo_command(arguments));
    }

    fn client(&self, arguments: &[&str]) {
        succeed(self.client_command(arguments));
    }

    /// Writes a file whose name and content are both `name`, and returns the command that publishes the file.
    fn release_command(&self, name: &str) -> Command {
        let path = self.path(name);
        std::fs::write(&path, name).unwrap();
        self.repo_command(&["add", path.to_str().unwrap()])
    }

    fn release(&self, name: &str) {
        succeed(self.release_command(name));
    }

    /// Checks that no published file has changed since an earlier call, except `timestamp.json`.
    fn check_names(&mut self) {
        for folder in ["metadata", "targets"] {
            for entry in std::fs::read_dir(self.path("packages").join(folder)).unwrap().map(Result::unwrap) {
                let name = entry.file_name().into_string().unwrap();
                if name != "timestamp.json" {
                    let found = hash(&std::fs::read(entry.path()).unwrap());
                    let before = self.seen.entry(name.clone()).or_insert_with(|| found.clone());
                    assert_eq!(*before, found, "the content of {name} has changed");
                }
            }
        }
    }

    /// Returns a client that has its own store and the first root, and that updates from the server.
    fn new_client(&self) -> TestClient {
        let root = std::fs::read(self.path("packages/metadata/1.root.json")).unwrap();
        let mut client = TestClient::with_root(root, Repository::new().network());
        client.now = Utc::now();
        let settings = HttpSettings { proxy: ProxyChoice::Direct, ..HttpSettings::default() };
        client.http = Some((self.base.clone(), settings));
        client
    }

    fn stored_version(&self) -> u64 {
        version(&self.path("state/it/metadata/timestamp.json"))
    }

    /// Publishes another release. Then checks that the repository is valid, that it contains every release in
    /// `published`, and that no temporary files are left.
    fn check(&mut self, published: &[String]) {
        self.release("last");
        self.repo(&["verify"]);
        self.check_names();
        let client = self.new_client();
        for name in published {
            assert_eq!(
                client.get(name).unwrap(),
                name.as_bytes(),
                "a release that was reported as published must have its content"
            );
        }
        for folder in [".publishing", ".queue"] {
            let left =
                std::fs::read_dir(self.path("packages").join(folder)).unwrap().map(|entry| entry.unwrap().path());
            // A process that publishes creates a folder in `.queue`. If it is killed before it creates the file `owner`
            // there, the folder remains until another process removes it after an hour.
            let left: Vec<_> = left.filter(|path| folder != ".queue" || path.join("owner").exists()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

fn version(path: &Path) -> u64 {
    let read = std::fs::read(path).unwrap_or_default();
    let parsed: Value = serde_json::from_slice(&read).unwrap_or_default();
    parsed["signed"]["version"].as_u64().unwrap_or(0)
}

fn succeed(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A linear congruential generator.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        say(&format!("seed {seed}"));
        Random(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn say(line: &str) {
    lastmile_tests::say(&format!("killed: {line}"));
}

/// Starts the command and kills its process after a random time of less than `at_most`. Returns `true` if the command
/// had already succeeded.
fn kill_within(mut command: Command, at_most: Duration, random: &mut Random) -> bool {
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    sleep(Duration::from_micros(random.below(u64::try_from(at_most.as_micros()).unwrap().max(1))));
    drop(child.kill());
    child.wait().unwrap().success()
}

fn quickest(command: impl Fn() -> Command) -> Duration {
    let time = |_| {
        let start = Instant::now();
        succeed(command());
        start.elapsed()
    };
    (0..3).map(time).min().unwrap()
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn w_5_0_a_client_killed_at_any_moment_keeps_its_floors() {
    let world = World::new();
    let mut random = Random::new(11);
    let get = ["get", "always", "--output", "out"];
    let at_most = quickest(|| world.client_command(&["refresh"])) * 3 / 2;
    let old = world.path("old");
    let mut floor = world.stored_version();
    let mut killed = 0;
    for round in 0..40 {
        if round % 8 == 0 {
            world.repo(&["renew", "--force", "timestamp"]);
        }
        if round == 8 {
            copy(&world.path("packages"), &old);
        }
        let command = if round % 2 == 0 { world.client_command(&["refresh"]) } else { world.client_command(&get) };
        killed += usize::from(!kill_within(command, at_most, &mut random));
        let stored = world.stored_version();
        assert!(stored >= floor, "round {round}: the stored version went down from {floor} to {stored}");
        floor = stored;
        if let Ok(read) = std::fs::read(world.path("out/always")) {
            assert_eq!(read, b"always", "round {round}");
            std::fs::remove_file(world.path("out/always")).unwrap();
        }
    }
    say(&format!("client: 40 runs, {killed} of them killed"));
    assert!(killed >= 10, "{killed}");
    world.client(&get);
    assert_eq!(
        names_in(&world.path("out")),
        ["always"],
        "the folder must contain the downloaded file and nothing else"
    );
    assert!(names_in(&world.path("state/it/metadata")).iter().all(|name| !name.ends_with(".part")));
    // The client must refuse an old state of the repository.
    std::fs::rename(world.path("packages"), world.path("newest")).unwrap();
    std::fs::rename(&old, world.path("packages")).unwrap();
    let refused = world.client_command(&["refresh"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(5), "{}", String::from_utf8_lossy(&refused.stderr));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let goal = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &goal)
        } else {
            drop(std::fs::copy(entry.path(), goal))
        }
    }
}

/// Fetches the target `always` repeatedly until `done` is set, as a new client and as a returning client. While
/// `lenient` is set, a failed attempt is repeated once.
fn poll(world: &World, done: &AtomicBool, polls: &AtomicUsize, lenient: &AtomicBool) {
    let warm = world.new_client();
    while !done.load(Ordering::Relaxed) {
        for client in [&warm, &world.new_client()] {
            let is_lenient = lenient.load(Ordering::Relaxed);
            let mut found = client.get("always");
            if found.is_err() && is_lenient {
                found = client.get("always");
            }
            assert_eq!(found.unwrap(), b"always");
            polls.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The minimum number of rounds. Each round starts an `add` and a `renew`, and kills each of them after a random time.
const ROUNDS: usize = 16;
const MAX_ROUNDS: usize = 200;
/// The minimum number of polls by clients during the rounds.
const POLLS: usize = 10;

#[test]
fn r_x_1_clients_see_a_consistent_repository_when_a_publisher_is_killed() {
    let mut world = World::new();
    let mut random = Random::new(12);
    let done = AtomicBool::new(false);
    let lenient = AtomicBool::new(false);
    let polls = AtomicUsize::new(0);
    let mut published = vec!["always".to_owned()];
    let mut killed = [0; 4];
    let mut rounds = 0;
    std::thread::scope(|scope| {
        let polled = &world;
        let poller = scope.spawn(|| poll(polled, &done, &polls, &lenient));
        let work = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let at_most = quickest(|| polled.repo_command(&["renew", "--force", "timestamp"])) * 3 / 2;
            // A fast machine needs more rounds before clients have polled often enough.
            let goes_on = |round: &usize| *round < ROUNDS || polls.load(Ordering::Relaxed) < POLLS;
            for round in (0..MAX_ROUNDS).take_while(goes_on) {
                rounds += 1;
                let name = format!("package-{round}");
                if kill_within(polled.release_command(&name), at_most, &mut random) {
                    published.push(name);
                } else {
                    killed[0] += 1;
                }
                let renew = polled.repo_command(&["renew", "--force", "targets"]);
                killed[1] += usize::from(!kill_within(renew, at_most, &mut random));
            }
            for round in 0..5 {
                let name = format!("fresh-{round}");
                polled.repo(&["key", "generate", &name, "--unencrypted"]);
                let rotate = polled.repo_command(&["rotate", "timestamp", "--add", &name]);
                killed[2] += usize::from(!kill_within(rotate, at_most, &mut random));
            }
            // The tool warns that an update during a revocation can fail, so a failed update is repeated once.
            lenient.store(true, Ordering::Relaxed);
            for _ in 0..3 {
                let key = format!("timestamp-{}", newest_key(&polled.path("packages/repo.toml")));
                let revoke = polled.repo_command(&["revoke", &key, "--unencrypted-online-keys"]);
                killed[3] += usize::from(!kill_within(revoke, at_most * 4, &mut random));
            }
        }));
        done.store(true, Ordering::Relaxed);
        poller.join().unwrap();
        work.unwrap();
    });
    say(&format!(
        "publisher: killed {} of {rounds} add, {} of {rounds} renew, {} of 5 rotate, {} of 3 revoke; {polls:?} polls",
        killed[0], killed[1], killed[2], killed[3]
    ));
    assert!(killed.iter().sum::<usize>() >= 12 && polls.into_inner() >= POLLS);
    world.check(&published);
}

/// Returns the highest N of all keys `timestamp-N` in `repo.toml`.
fn newest_key(policy: &Path) -> u32 {
    let text = std::fs::read_to_string(policy).unwrap();
    let numbers = text.split("keys/timestamp-").skip(1).filter_map(|rest| rest.split('.').next()?.parse().ok());
    numbers.max().unwrap()
}

#[test]
fn killed_processes_do_not_affect_the_others() {
    let mut world = World::new();
    let mut random = Random::new(13);
    let mut published = vec!["always".to_owned()];
    let mut floor = world.stored_version();
    let mut all_killed = 0;
    for round in 0..2 {
        let clients = (0..20).map(|number| {
            let out = format!("out-{}", number % 3);
            let get = ["get", "always", "--output", &out];
            (None, if number % 2 == 0 { world.client_command(&["refresh"]) } else { world.client_command(&get) })
        });
        let publishers = (0..10).map(|number| {
            let name = format!("round-{round}-{number}");
            (Some(name.clone()), world.release_command(&name))
        });
        let mut all: Vec<_> = clients.chain(publishers).collect();
        let mut running: Vec<(Option<String>, Child, bool)> = Vec::new();
        while !all.is_empty() {
            let (name, mut command) = all.swap_remove(usize::try_from(random.below(all.len() as u64)).unwrap());
            running.push((name, command.spawn().unwrap(), false));
        }
        for _ in 0..7 {
            sleep(Duration::from_millis(random.below(40)));
            let mut alive: Vec<_> =
                running.iter_mut().filter_map(|one| matches!(one.1.try_wait(), Ok(None)).then_some(one)).collect();
            let Some(count) = u64::try_from(alive.len()).ok().filter(|count| *count > 0) else { break };
            let victim = alive.swap_remove(usize::try_from(random.below(count)).unwrap());
            drop(victim.1.kill());
            victim.2 = true;
        }
        for (name, child, is_victim) in running {
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() || is_victim, "{name:?}: {text}");
            all_killed += usize::from(!output.status.success());
            published.extend(name.filter(|_| output.status.success()));
        }
        let stored = world.stored_version();
        assert!(stored >= floor, "{stored} < {floor}");
        floor = stored;
        world.check_names();
    }
    say(&format!("neighbours: 60 processes, {all_killed} killed, {} releases", published.len()));
    assert!(all_killed > 0);
    world.check(&published);
    for number in 0..3 {
        let out = format!("out-{number}");
        std::fs::remove_file(world.path(&out).join("always")).unwrap_or_default();
        world.client(&["get", "always", "--output", &out]);
        assert_eq!(
            names_in(&world.path(&out)),
            ["always"],
            "the folder must contain the downloaded file and nothing else"
        );
    }
    assert!(
        world.stored_version() > floor
            || world.stored_version() == version(&world.path("packages/metadata/timestamp.json"))
    );
}
