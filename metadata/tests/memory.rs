//! Tests that the memory needed for hostile metadata is at most a few times the length of the metadata.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod repository;

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use lastmile_metadata::{Error, ErrorKind, FileContent, Limits, Stage as _, StoredFloors, TargetPath, UpdateRoot};
use peak_alloc::PeakAlloc;
use repository::{Repository, targets};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The tests share the allocator, so they must not run in parallel.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the result of `work`, and the peak number of bytes that were allocated while it ran.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let done = work();
    (done, ALLOCATOR.peak_usage() - before)
}

const MEGABYTE: usize = 1_000_000;
/// Returns delegations with `keys` keys and `roles` roles. Each role lists all keys, but in a different order.
fn delegations(keys: usize, roles: usize, key: &str) -> (String, Vec<String>) {
    let id = |number: usize| format!("{number:03x}");
    let all: Vec<String> = (0..keys).map(|number| format!(r#""{}":{key}"#, id(number))).collect();
    let names: Vec<String> = (0..roles).map(|number| format!("r{number:05}")).collect();
    let mut text = String::new();
    for (number, name) in names.iter().enumerate() {
        let ids: Vec<String> = (0..keys).map(|at| format!("\"{}\"", id((at + number) % keys))).collect();
        let ids = ids.join(",");
        let comma = if number > 0 { "," } else { "" };
        // Use different thresholds, so that no two key rings are equal.
        let threshold = number + 1;
        let _ = write!(
            text,
            r#"{comma}{{"keyids":[{ids}],"name":"{name}","paths":["*"],"terminating":false,"threshold":{threshold}}}"#
        );
    }
    (format!(r#"{{"keys":{{{}}},"roles":[{text}]}}"#, all.join(",")), names)
}

#[test]
fn very_many_delegations_with_very_many_keys_need_little_memory() {
    let _alone = alone();
    // The metadata is about 280 kB long in the first case, and about 8.5 MB in the second.
    for (keys, roles, most) in [(200, 200, 20 * MEGABYTE), (1000, 1400, 200 * MEGABYTE)] {
        let mut repository = Repository::new();
        let (delegations, names) = delegations(keys, roles, &repository.key_text());
        repository.publish(&delegations, &names);
        let length = repository.files["1.targets.json"].len();
        let (outcome, listed) = peak(|| {
            let mut trusted = repository.update(Limits::default()).expect("valid metadata");
            let path = TargetPath::new("x").unwrap();
            let searched = repository.drive(trusted.search(path)).map(drop);
            (searched, repository.drive(trusted.listing()).map(drop))
        });
        let absent = |outcome: &Result<(), Error>| outcome.as_ref().is_err_and(|error| error.kind == ErrorKind::Absent);
        assert!(absent(&outcome.0) && absent(&outcome.1), "{outcome:?}");
        println!("{length} bytes of metadata took {listed} bytes of memory");
        assert!(listed < most, "{length} bytes of metadata took {listed} bytes of memory");
    }
}

#[test]
fn a_role_trusted_with_many_sets_of_keys_is_held_once() {
    let _alone = alone();
    let mut repository = Repository::new();
    let key = repository.key_text();
    let count = 100;
    let names: Vec<String> = (0..count).map(|number| format!("r{number:05}")).collect();
    let delegation = |name: &str, id: &str| {
        format!(
            r#"{{"keys":{{"{id}":{key}}},"roles":[{{"keyids":["{id}"],"name":"{name}","paths":["*"],"terminating":false,"threshold":1}}]}}"#
        )
    };
    // Each delegator lists the same key under two IDs. The signature uses the first ID. The second ID is different for
    // each delegator, so that no two delegators have the same key ring.
    let own = repository.keyid();
    for name in &names {
        let two =
            delegation("shared", &own).replacen(&format!(r#""{own}":"#), &format!(r#""0{name}":{key},"{own}":"#), 1);
        let two = two.replacen(r#""keyids":["#, &format!(r#""keyids":["0{name}","#), 1);
        repository.sign(&format!("1.{name}.json"), &targets(&two));
    }
    let member = |number: usize| format!(r#""member{number:06}":{number}"#);
    let members: Vec<String> = (0..40_000).map(member).collect();
    let unknown = format!(r#""version":1,"x":{{{}}}}}"#, members.join(","));
    repository.sign("1.shared.json", &targets("").replace(r#""version":1}"#, &unknown));
    let length = repository.files["1.shared.json"].len();
    let roles: Vec<String> = names
        .iter()
        .map(|name| {
            format!(r#"{{"keyids":["{own}"],"name":"{name}","paths":["*"],"terminating":false,"threshold":1}}"#)
        })
        .collect();
    let top = format!(r#"{{"keys":{{"{own}":{key}}},"roles":[{}]}}"#, roles.join(","));
    let mut listed = names.clone();
    listed.push("shared".to_owned());
    repository.publish(&top, &listed);
    let (found, cost) = peak(|| {
        let mut trusted = repository.update(Limits::default()).expect("valid metadata");
        repository.drive(trusted.listing()).expect("all roles must be loaded").len()
    });
    assert_eq!(found, 0);
    println!("{length} bytes of one role took {cost} bytes of memory");
    assert!(cost < 12 * length, "{length} bytes of one role took {cost} bytes of memory");
}

#[test]
fn unsigned_metadata_needs_a_few_times_its_length_in_memory() {
    let _alone = alone();
    let long = 16 * MEGABYTE;
    let repeated = |part: &str| part.repeat(long / part.len());
    let ids = repeated(r#""a","#);
    let names = (0..long / 14).fold(String::new(), |mut text, number| {
        let _ = write!(text, r#""{number:08}":0,"#);
        text
    });
    let unsorted = (0..long / 14).rev().fold(String::new(), |mut text, number| {
        let _ = write!(text, r#""{number:08}":0,"#);
        text
    });
    let cases = [
        format!(r#"{{"signatures":[],"signed":{{{unsorted}"x":0}}}}"#),
        format!(
            r#"{{"signatures":[],"signed":{{"_type":"targets","delegations":{{"keys":{{}},"roles":[{{"keyids":[{ids}"a"]}}]}}}}}}"#
        ),
        format!(
            r#" {{"signatures":[],"signed":{{"_type":"targets","delegations":{{"keys":{{}},"roles":[{{"keyids":[{ids}"a"]}}]}}}}}}"#
        ),
        format!(r#"{{"signatures":[{}{{}}],"signed":{{}}}}"#, repeated(r#"{"keyid":"a","sig":""},"#)),
        format!(r#"{{"signatures":[],"signed":{{{names}"x":0}}}}"#),
        format!(r#"{{"signatures":[],"signed":{{"_type":"targets","targets":{{"{}":1}}}}}}"#, repeated("a")),
        format!(r#"{{"signatures":[],"signed":{{"_type":"{}"}}}}"#, repeated("a")),
        format!(
            r#"{{"signatures":[{{"keyid":"{0}","sig":"00"}},{{"keyid":"{0}","sig":"00"}}],"signed":{{}}}}"#,
            "a".repeat(long / 2)
        ),
    ];
    for text in cases {
        let mut repository = Repository::new();
        repository.publish("", &[]);
        repository.files.insert("1.targets.json".to_owned(), text.into_bytes());
        let start: DateTime<Utc> = DateTime::UNIX_EPOCH;
        let root = UpdateRoot::start(repository.root(), StoredFloors::FirstRun, start, Limits::default()).unwrap();
        let timestamp = repository.drive(root).unwrap();
        let snapshot = repository.drive(timestamp).unwrap();
        let mut targets = repository.drive(snapshot).unwrap();
        let file = repository.files.remove("1.targets.json").unwrap();
        let begin = String::from_utf8_lossy(&file[..100]).into_owned();
        let length = file.len();
        let (error, cost) = peak(|| targets.apply(Some(FileContent::Bytes(file))).unwrap_err());
        let message = error.to_string();
        println!("{length} bytes of metadata took {cost} more bytes of memory: {message}");
        assert!(cost < 4 * length, "{begin}: {length} bytes of metadata took {cost} more bytes of memory");
        assert!(message.len() < 2000, "the error message has {} bytes", message.len());
    }
}
