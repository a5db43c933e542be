//! Injects a crash and disk errors at every system call of a command. After each fault, clients must find a valid
//! state, the next command must finish or discard the interrupted change, and no temporary files may be left.

use std::path::Path;

use crate::revocation::generated;
use lastmile_client::MemoryStore;
use lastmile_fs::Syscall;
use lastmile_fs::faults::{Fault, arm};
use lastmile_metadata::{RoleName, TargetNames};
use lastmile_repo_tool::internal::batch::{self, Shared};
use lastmile_repo_tool::internal::list::List;
use lastmile_repo_tool::internal::queue::PublishRequest;
use lastmile_repo_tool::internal::received::Receipt;
use lastmile_repo_tool::internal::revoke::revoke;
use lastmile_repo_tool::internal::verify;
use lastmile_repo_tool::{
    AddOptions, Config, Draft, Error, NewBins, NewRepository, Outcome, PathError, Protection, Signing, Source, Trust,
    Unobserved, target_path,
};

use sha2::{Digest as _, Sha256};

use crate::compressed::set_codings;
use crate::world::{World, say};

type Run<'a> = &'a dyn Fn(&World) -> Result<(), Error>;

/// Returns the faults to inject at a system call. If `all` is true, they include every error in `Fault::ERRORS`. Two of
/// these errors are included twice: once for this call only, and once for this call and all later calls. If `all` is
/// false, the faults include only one of the errors, which depends on `number`.
pub(crate) fn faults(call: Syscall, number: usize, all: bool) -> Vec<Fault> {
    let mut faults = vec![Fault::Die];
    if call == Syscall::Write {
        faults.push(Fault::Torn);
    }
    if matches!(call, Syscall::Rename | Syscall::SyncFolder | Syscall::SyncAll | Syscall::Remove | Syscall::Link) {
        faults.push(Fault::Power);
    }
    let [full, .., read_only, _] = Fault::ERRORS;
    if all {
        faults.extend(Fault::ERRORS.map(Fault::Once));
        faults.extend([full, read_only].map(Fault::FromNowOn));
    } else {
        faults.extend(Fault::ERRORS.into_iter().cycle().nth(number % Fault::ERRORS.len()).map(Fault::Once));
    }
    faults
}

/// Executes `run` once for every system call and every fault, each time on a new copy of `base`, and injects that fault
/// at that call. Prints the number of runs.
fn inject_every_fault(name: &str, base: &World, all: bool, run: Run<'_>) {
    let clean = base.copy();
    let watched = arm(&clean.dir(), usize::MAX, Fault::Die);
    run(&clean).unwrap();
    let calls = watched.calls();
    drop(watched);
    let mut runs = 0;
    for (number, (call, path)) in calls.iter().enumerate() {
        for fault in faults(*call, number, all) {
            let place = path.strip_prefix(clean.dir()).unwrap_or(path).display();
            inject_fault_at(base, run, number, fault, &format!("{name}: {fault:?} at call {number}, {call:?} {place}"));
            runs += 1;
        }
    }
    print_count(name, calls.len(), runs);
}

fn inject_fault_at(base: &World, run: Run<'_>, number: usize, fault: Fault, case: &str) {
    let world = base.copy();
    let warm = MemoryStore::default();
    world.fetch_with(&warm, "old").unwrap();
    let version = timestamp_version(&world);
    let armed = arm(&world.dir(), number, fault);
    let ended = run(&world);
    assert!(armed.has_struck(), "{case}: the fault was not injected");
    drop(armed);
    check_error(&ended, fault, case);
    if ended.is_ok() && !world.layout().staged().exists() {
        assert!(timestamp_version(&world) > version, "{case}: success was reported, but nothing was published");
    }
    // Returning and new clients must find a valid state, either the old or the new one.
    for store in [&warm, &MemoryStore::default()] {
        let found = world.fetch_with(store, "old");
        assert_eq!(found.unwrap().as_deref(), Some(b"1".as_slice()), "{case}");
    }
    make_old(&world.layout().queue());
    // The next change must first finish or discard the interrupted change.
    let next = world.try_add("next", "3", &mut Unobserved).unwrap_or_else(|error| panic!("{case}: {error}"));
    let waits = !matches!(next, Outcome::Published { .. });
    let is_key_here = world.layout().keys().join("targets-1.pem").exists();
    if waits && is_key_here {
        world.publish_pending();
    }
    if !waits || is_key_here {
        assert_eq!(world.fetch_with(&warm, "next").unwrap().unwrap(), b"3", "{case}");
    }
    let verified = verify::directory(&world.dir(), world.now, TargetNames::HashPrefixed, &|_, _| {}).unwrap();
    assert!(verified.is_good(), "{case}: {verified:?}");
    let left: Vec<String> = world.files("").into_iter().filter(|name| is_leftover(name)).collect();
    assert_eq!(left, [""; 0], "{case}");
}

/// Sets the modification times of all request folders in the queue to two hours ago. The tool removes an abandoned
/// request folder only after an hour.
fn make_old(queue: &Path) {
    for entry in std::fs::read_dir(queue).into_iter().flatten().map(Result::unwrap) {
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
        std::fs::File::open(entry.path()).unwrap().set_modified(long_ago).unwrap();
    }
}

pub(crate) fn check_error(ended: &Result<(), Error>, fault: Fault, case: &str) {
    match (ended, fault) {
        (Err(Error::File { error, .. }), Fault::Once(number) | Fault::FromNowOn(number)) => {
            assert_eq!(error.raw_os_error(), Some(number), "{case}: {error:?}");
        }
        // A command may succeed in spite of a disk error, for example if the error occurs during cleanup. After a
        // simulated crash, the error number does not matter.
        (Ok(()) | Err(Error::File { .. }), _) => {}
        // After a simulated power failure, files that were not flushed are empty. A real process would have ended, but
        // this one continues, and may fail in any way when it reads such a file.
        (Err(_), Fault::Power) => {}
        (Err(error), _) => panic!("{case}: {error:?}"),
    }
}

pub(crate) fn is_leftover(name: &str) -> bool {
    name.starts_with(".publishing/") || name.starts_with(".queue/") || name.contains("/.") || name.starts_with(".new")
}

pub(crate) fn timestamp_version(world: &World) -> u64 {
    world.metadata("timestamp.json").pointer("/signed/version").and_then(serde_json::Value::as_u64).unwrap()
}

/// Prints the number of system calls and the number of runs, and checks that docs/crashes.md contains both numbers.
pub(crate) fn print_count(name: &str, calls: usize, runs: usize) {
    let line = format!("| {name} | {calls} | {runs} |");
    say(&format!("crash matrix: {line}"));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/crashes.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains(&line), "docs/crashes.md must contain the row: {line}");
}

fn with_old() -> World {
    let base = World::new();
    base.add("old", "1");
    base
}

/// Adds a file through the queue, as the command `add` does.
fn add(world: &World) -> Result<(), Error> {
    let file = world.folder.path().join("file-new");
    std::fs::write(&file, "2").unwrap();
    let sources = [Source::new(file, target_path("new").unwrap())];
    let request = PublishRequest::enter(
        &world.layout(),
        &Config::read(&world.layout())?,
        None,
        &sources,
        &AddOptions::default(),
        &|_| {},
    )?;
    match batch::publish(&request, &world.invocation(), &mut Unobserved)? {
        Shared::ByUs(_) => Ok(()),
        Shared::ByOther(_) => panic!("another process answered the request, although none is running"),
    }
}

#[test]
fn add_survives_every_fault_of_the_disk() {
    inject_every_fault("repository: add", &with_old(), true, &add);
}

#[test]
fn add_with_compressed_copies_survives_every_fault_of_the_disk() {
    let base = World::new();
    set_codings(&base, r#"["zstd", "gzip"]"#);
    base.add("old", "1");
    inject_every_fault("repository: add, with compressed copies", &base, false, &add);
}

#[test]
fn renew_survives_every_fault_of_the_disk() {
    inject_every_fault("repository: renew", &with_old(), false, &|world| world.renew().map(drop));
}

#[test]
fn rotate_survives_every_fault_of_the_disk() {
    let base = with_old();
    let (key, uri) = base.key("timestamp-2");
    let old = base.public("timestamp-1");
    inject_every_fault("repository: rotate", &base, false, &|world| {
        let rotated = world.change_with(std::slice::from_ref(&uri), &mut Unobserved, |edit| {
            edit.rotate(&RoleName::TIMESTAMP, std::slice::from_ref(&key), std::slice::from_ref(&old)).unwrap();
        });
        rotated.map(drop)
    });
}

#[test]
fn revoke_survives_every_fault_of_the_disk() {
    let base = with_old();
    let key = base.public("timestamp-1");
    inject_every_fault("repository: revoke", &base, false, &|world| {
        let mut repository = lastmile_repo_tool::Repository::open_for_change(&world.dir(), &world.invocation())?;
        let revocation = revoke(&mut repository, &key, &generated(&Protection::None))?;
        let plan = repository.plan(revocation.draft, Signing::Now)?;
        repository.conclude(&plan, &mut Unobserved).map(drop)
    });
}

#[test]
fn bins_survive_every_fault_of_the_disk() {
    let base = with_old();
    let trust = Trust { keys: vec![base.public("targets-1")], threshold: 1 };
    let new = NewBins { bit_length: 2, name_prefix: "bin".into(), trust, succinct: true };
    inject_every_fault("repository: bins", &base, false, &|world| {
        world
            .change_with(&[], &mut Unobserved, |edit| edit.make_bins(&RoleName::TARGETS, &new, &|_| {}).unwrap())
            .map(drop)
    });
}

#[test]
fn a_list_survives_every_fault_of_the_disk() {
    let base = with_old();
    let digest = hex::encode(Sha256::digest("1"));
    let list = format!(
        "{{\"path\": \"old\", \"length\": 1, \"hashes\": {{\"sha256\": \"{digest}\"}}, \"custom\": {{\"is\": \"new\"}}}}\n"
    );
    inject_every_fault("repository: add --from-list", &base, false, &|world| {
        let list = List::read_from(list.as_bytes(), Path::new("list"), &world.dir(), &|_| {})?;
        let mut repository = lastmile_repo_tool::Repository::open_for_change(&world.dir(), &world.invocation())?;
        let mut edit = repository.edit(Draft::default());
        edit.fill(&RoleName::TARGETS, &list, &|_| {})?;
        let draft = edit.finish()?;
        let plan = repository.plan(draft, Signing::Now)?;
        repository.conclude(&plan, &mut Unobserved).map(drop)
    });
}

#[test]
fn staging_signing_and_publishing_survive_every_fault_of_the_disk() {
    let base = with_old();
    base.without_key("targets-1", || {
        inject_every_fault("repository: add, staged", &base, false, &add);
        base.add("new", "2");
    });
    inject_every_fault("repository: sign and publish the staged change", &base, false, &|world| {
        let mut repository = lastmile_repo_tool::Repository::open_for_change(&world.dir(), &world.invocation())?;
        let draft = repository.staged()?;
        repository.sign_staged(&draft, &repository.keys.clone(), &std::collections::BTreeSet::new())?;
        let draft = repository.staged()?;
        let plan = repository.plan(draft, Signing::All)?;
        repository.conclude(&plan, &mut Unobserved).map(drop)
    });
}

#[test]
fn publishing_a_change_from_another_machine_survives_every_fault_of_the_disk() {
    let base = with_old();
    let other = base.copy();
    other.without_key("targets-1", || assert!(!matches!(other.add("new", "2"), Outcome::Published { .. })));
    let mut repository = lastmile_repo_tool::Repository::open_for_change(&other.dir(), &other.invocation()).unwrap();
    let draft = repository.staged().unwrap();
    repository.sign_staged(&draft, &repository.keys.clone(), &std::collections::BTreeSet::new()).unwrap();
    let change = other.layout().staged();
    inject_every_fault("repository: publish a change received from another machine", &base, false, &|world| {
        let mut repository = lastmile_repo_tool::Repository::open_for_change(&world.dir(), &world.invocation())?;
        let draft = repository.receive(&change, Receipt::Copy)?;
        let plan = repository.plan(draft, Signing::Now)?;
        repository.conclude(&plan, &mut Unobserved).map(drop)
    });
}

#[test]
fn init_survives_every_fault_of_the_disk() {
    let now = World::new().now;
    let empty = || World { folder: crate::world::folder(), now };
    let new = NewRepository::new(Protection::None);
    let init = |world: &World| new.create(&world.dir(), &world.invocation(), &mut Unobserved).map(drop);
    let clean = empty();
    let watched = arm(&clean.dir(), usize::MAX, Fault::Die);
    init(&clean).unwrap();
    let calls = watched.calls();
    drop(watched);
    let mut runs = 0;
    for (number, (call, path)) in calls.iter().enumerate() {
        for fault in faults(*call, number, false) {
            let case = format!("{fault:?} at call {number}, {call:?} {}", path.display());
            let world = empty();
            let armed = arm(&world.dir(), number, fault);
            let ended = init(&world);
            assert!(armed.has_struck(), "{case}: the fault was not injected");
            drop(armed);
            check_error(&ended, fault, &case);
            // Creating the repository again may fail only if the repository is now complete. Either the first attempt
            // has completed it, or the second attempt has finished the interrupted first attempt.
            match init(&world) {
                Ok(()) => {}
                Err(Error::Path(PathError::RepositoryExists { .. } | PathError::RepositoryFinished { .. })) => {}
                Err(error) => panic!("{case}: {error}"),
            }
            world.try_add("next", "3", &mut Unobserved).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(world.fetch("next").unwrap().unwrap(), b"3", "{case}");
            let left: Vec<String> = world.files("").into_iter().filter(|name| is_leftover(name)).collect();
            assert_eq!(left, [""; 0], "{case}");
            runs += 1;
        }
    }
    print_count("repository: init", calls.len(), runs);
}
