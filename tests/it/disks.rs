//! Injects a crash or an error at every system call with which the client changes a disk. After each fault, an honest
//! server must bring the client up to date, a malicious server must not be able to roll the client back, and no
//! temporary files may be left.

use std::io::Write as _;
use std::path::Path;

use lastmile_client::Error as ClientError;
use lastmile_fs::Syscall;
use lastmile_fs::faults::{Fault, arm};
use lastmile_metadata::ErrorKind;
use lastmile_testkit::{Repository, TestClient, TestKey, Versions, refused};
use serde_json::{Value, json};

/// A run of the client, which the test repeats for each system call and each fault.
struct DiskCase<'a> {
    /// The name of the run in docs/crashes.md.
    name: &'a str,
    before: TestClient,
    run: &'a dyn Fn(&TestClient) -> Result<(), ClientError>,
    /// Its versions are `expected`.
    newest: &'a Repository,
    expected: Versions,
    older: Vec<Repository>,
    /// Additional checks after each fault.
    inspect: &'a dyn Fn(&TestClient),
}

fn faults(call: Syscall) -> Vec<Fault> {
    let mut faults = vec![Fault::Die];
    if call == Syscall::Write {
        faults.push(Fault::Torn);
    }
    if matches!(call, Syscall::Rename | Syscall::SyncFolder | Syscall::Remove) {
        faults.push(Fault::Power);
    }
    let [full, .., read_only, _] = Fault::ERRORS;
    faults.extend(Fault::ERRORS.map(Fault::Once));
    faults.extend([full, read_only].map(Fault::FromNowOn));
    faults
}

fn home(client: &TestClient) -> std::path::PathBuf {
    client.store_path().parent().unwrap().to_owned()
}

fn timestamp_version(client: &TestClient) -> u64 {
    let stored = client.stored("timestamp");
    let parsed: Option<Value> =
        stored.map(|bytes| serde_json::from_slice(&bytes).expect("a stored file must never be incomplete"));
    parsed.map_or(0, |timestamp| timestamp["signed"]["version"].as_u64().unwrap())
}

impl DiskCase<'_> {
    fn inject_every_fault(&self) {
        let clean = self.before.copy();
        let watched = arm(&home(&clean), usize::MAX, Fault::Die);
        (self.run)(&clean).unwrap();
        let calls = watched.calls();
        drop(watched);
        self.check(&clean, "without a fault");
        let mut runs = 0;
        for (number, (call, path)) in calls.iter().enumerate() {
            for fault in faults(*call) {
                let name = path.strip_prefix(home(&clean)).unwrap_or(path).display();
                self.inject_fault_at(number, fault, &clean, &format!("{fault:?} at call {number}, {call:?} {name}"));
                runs += 1;
            }
        }
        report(self.name, calls.len(), runs);
    }

    fn inject_fault_at(&self, number: usize, fault: Fault, clean: &TestClient, case: &str) {
        let client = self.before.copy();
        let armed = arm(&home(&client), number, fault);
        let ended = (self.run)(&client);
        assert!(armed.has_struck(), "{case}: the fault did not occur");
        drop(armed);
        match (ended, fault) {
            (Err(ClientError::Local(error)), Fault::Once(number) | Fault::FromNowOn(number)) => {
                assert_eq!(error.error.raw_os_error(), Some(number), "{case}: {error:?}");
            }
            // A run may succeed despite the fault, for example if only the cleanup failed.
            (Ok(()) | Err(ClientError::Local(_)), _) => {}
            (Err(error), _) => panic!("{case}: {error:?}"),
        }
        (self.inspect)(&client);
        match fault {
            // `check` is slow, so it does not run for every error code. The other codes lead to the same state.
            Fault::Once(number) if number != Fault::ERRORS[0] => (self.run)(&client).unwrap(),
            Fault::FromNowOn(_) => (self.run)(&client).unwrap(),
            _ => self.check(&client, case),
        }
        assert_eq!(names(&client), names(clean), "{case}");
    }

    /// Checks that the client, in its current state, refuses rollbacks and can update to the newest state.
    fn check(&self, client: &TestClient, case: &str) {
        let reached = timestamp_version(client);
        // Versions of 1,000,000 or more come from an attacker with stolen keys. After the keys are replaced, the client
        // must accept lower versions, so the loop must not expect a rollback error.
        let is_older = |older: &&Repository| older.version("timestamp") < reached && reached < 1_000_000;
        for older in self.older.iter().filter(is_older) {
            let victim = client.copy();
            victim.use_network(older.network());
            let kind = refused(victim.refresh()).kind;
            assert!(matches!(kind, ErrorKind::Rollback { .. }), "{case}: {kind:?}");
        }
        client.use_network(self.newest.network());
        (self.run)(client).unwrap();
        assert_eq!(client.offline().unwrap(), self.expected, "{case}");
        let older = self.older.last().unwrap();
        client.use_network(older.network());
        assert!(matches!(refused(client.refresh()).kind, ErrorKind::Rollback { .. }), "{case}");
    }
}

fn names(client: &TestClient) -> Vec<String> {
    let stored = client.all_stored().into_keys().map(|name| format!("store/{name}"));
    stored.chain(client.output().into_iter().map(|name| format!("output/{name}"))).collect()
}

/// Prints the number of calls and runs, even if the test passes, and checks that docs/crashes.md contains them.
fn report(name: &str, calls: usize, runs: usize) {
    let line = format!("| {name} | {calls} | {runs} |");
    std::io::stderr().write_all(format!("crash matrix: {line}\n").as_bytes()).unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/crashes.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains(&line), "docs/crashes.md must contain this line: {line}");
}

fn refreshed(client: &TestClient) -> Result<(), ClientError> {
    client.refresh().map(drop)
}

fn nothing(_: &TestClient) {}

#[test]
fn w_5_0_an_update_survives_every_fault_of_the_disk() {
    let mut repository = Repository::new();
    let before = TestClient::new(&repository);
    let oldest = repository.fork();
    repository.publish(&["targets"]);
    before.refresh().unwrap();
    let middle = repository.fork();
    repository.publish(&["root"]);
    repository.publish(&["root", "targets"]);
    let last = repository.fork();
    repository.publish(&["targets"]);
    before.use_network(repository.network());
    let older = vec![oldest, middle, last];
    let expected = [3, 4, 4, 4];
    DiskCase {
        name: "client: update",
        before,
        run: &refreshed,
        newest: &repository,
        expected,
        older,
        inspect: &nothing,
    }
    .inject_every_fault();
}

#[test]
fn w_5_0_the_first_update_survives_every_fault_of_the_disk() {
    let mut repository = Repository::new();
    let before = TestClient::new(&repository);
    let older = vec![repository.fork()];
    repository.publish(&["root", "targets"]);
    let expected = [2, 2, 2, 2];
    let name = "client: first update";
    DiskCase { name, before, run: &refreshed, newest: &repository, expected, older, inspect: &nothing }
        .inject_every_fault();
}

#[test]
fn a4_a_recovery_from_fast_forward_survives_every_fault_of_the_disk() {
    let mut repository = Repository::new();
    let before = TestClient::new(&repository);
    let mut attacker = repository.fork();
    attacker.signed("timestamp")["version"] = json!(1_000_000);
    attacker.signed("snapshot")["version"] = json!(1_000_000);
    attacker.publish(&["snapshot"]);
    before.use_network(attacker.network());
    assert_eq!(before.refresh().unwrap()[1], 1_000_001);
    for role in ["timestamp", "snapshot"] {
        repository.set_keys(role, &[TestKey::new("recovered")], 1);
    }
    repository.publish(&["root", "targets"]);
    repository.publish(&["root"]);
    let older = vec![repository.fork()];
    repository.publish(&["targets"]);
    before.use_network(repository.network());
    let run = |client: &TestClient| {
        client.use_network(repository.network());
        refreshed(client)
    };
    let expected = [3, 3, 3, 3];
    let name = "client: recovery from fast-forward";
    DiskCase { name, before, run: &run, newest: &repository, expected, older, inspect: &nothing }.inject_every_fault();
}

#[test]
fn w_5_7_a_download_survives_every_fault_of_the_disk() {
    let mut repository = Repository::new();
    repository.add_target("targets", "docs/a", b"the old content");
    repository.publish(&["targets"]);
    let before = TestClient::new(&repository);
    let older = vec![repository.fork()];
    repository.add_target("targets", "docs/a", b"the new content, which is longer");
    repository.publish(&["targets"]);
    let run = |client: &TestClient| {
        client.use_network(repository.network());
        let read = client.get("docs/a")?;
        assert_eq!(read, b"the new content, which is longer");
        Ok(())
    };
    let inspect = |client: &TestClient| {
        if client.output().contains(&"docs/a".to_owned()) {
            assert_eq!(client.read_output("docs/a"), b"the new content, which is longer", "torn");
        }
    };
    let expected = [1, 3, 3, 3];
    let name = "client: download";
    DiskCase { name, before, run: &run, newest: &repository, expected, older, inspect: &inspect }.inject_every_fault();
}
