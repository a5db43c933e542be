//! Memory use of hostile metadata: at most a few times its length.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use lastmile_keys::{PrivateKey, Scheme, Signer as _};
use lastmile_metadata::{
    Error, ErrorKind, FileContent, Key, Limits, Signature, Stage, StoredFloors, TargetPath, TrustedMetadata,
    UpdateRoot, assemble,
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Makes the tests of this file run one after the other, because they share the allocator.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the result of `work`, and the peak number of bytes that it had allocated.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let done = work();
    (done, ALLOCATOR.peak_usage() - before)
}

const MEGABYTE: usize = 1_000_000;
const EXPIRES: &str = r#""expires":"2030-01-01T00:00:00Z""#;

/// The files of a repository in which one key signs for all roles.
struct Repository {
    key: PrivateKey,
    files: BTreeMap<String, Vec<u8>>,
}

impl Repository {
    fn new() -> Self {
        Self { key: PrivateKey::from_seed(Scheme::Ed25519, &[7; 32]).unwrap(), files: BTreeMap::new() }
    }

    fn keyid(&self) -> String {
        Key::from_public(self.key.public_key()).keyid().as_str().to_owned()
    }

    fn key_text(&self) -> String {
        Key::from_public(self.key.public_key()).to_json().to_text()
    }

    fn sign(&mut self, file: &str, signed: &str) {
        let sig = self.key.sign(signed.as_bytes()).unwrap();
        let keyid = Key::from_public(self.key.public_key()).keyid();
        self.files.insert(file.to_owned(), assemble(signed, &[Signature::new(keyid, sig)]));
    }

    /// Publishes a targets role with `delegations`, and a snapshot that lists the delegated `roles`.
    fn publish(&mut self, delegations: &str, roles: &[String]) {
        self.sign("1.targets.json", &targets(delegations));
        let mut listed: Vec<String> = roles.to_vec();
        listed.push("targets".to_owned());
        listed.sort();
        let meta: Vec<String> = listed.iter().map(|role| format!(r#""{role}.json":{{"version":1}}"#)).collect();
        let meta = meta.join(",");
        self.sign(
            "1.snapshot.json",
            &format!(r#"{{"_type":"snapshot",{EXPIRES},"meta":{{{meta}}},"spec_version":"1.0","version":1}}"#),
        );
        let timestamp = r#""meta":{"snapshot.json":{"version":1}},"spec_version":"1.0","version":1}"#;
        self.sign("timestamp.json", &format!(r#"{{"_type":"timestamp",{EXPIRES},{timestamp}"#));
    }

    fn root(&mut self) -> Vec<u8> {
        let id = self.keyid();
        let role = |name: &str| format!(r#""{name}":{{"keyids":["{id}"],"threshold":1}}"#);
        let roles = ["root", "snapshot", "targets", "timestamp"].map(role).join(",");
        let key = self.key_text();
        self.sign(
            "1.root.json",
            &format!(
                r#"{{"_type":"root","consistent_snapshot":true,{EXPIRES},"keys":{{"{id}":{key}}},"roles":{{{roles}}},"spec_version":"1.0","version":1}}"#
            ),
        );
        self.files["1.root.json"].clone()
    }

    /// Runs the update of a client.
    fn update(&mut self) -> Result<TrustedMetadata, Error> {
        let start: DateTime<Utc> = DateTime::UNIX_EPOCH;
        let root = UpdateRoot::start(self.root(), StoredFloors::FirstRun, start, Limits::default())?;
        let timestamp = self.drive(root)?;
        let snapshot = self.drive(timestamp)?;
        let targets = self.drive(snapshot)?;
        self.drive(targets)
    }

    fn drive<S: Stage>(&self, mut stage: S) -> Result<S::Next, Error> {
        while let Some(request) = stage.request() {
            let file = self.files.get(&request.file_name()).cloned();
            if file.is_none() && !request.may_be_absent() {
                break;
            }
            stage.apply(file.map(FileContent::Bytes))?;
        }
        stage.finish()
    }
}

fn targets(delegations: &str) -> String {
    let delegations = if delegations.is_empty() { String::new() } else { format!(r#""delegations":{delegations},"#) };
    format!(r#"{{"_type":"targets",{delegations}{EXPIRES},"spec_version":"1.0","targets":{{}},"version":1}}"#)
}

/// Returns delegations with `keys` keys and `roles` roles that list all of them, each in another order.
fn delegations(keys: usize, roles: usize, key: &str) -> (String, Vec<String>) {
    let id = |number: usize| format!("{number:03x}");
    let all: Vec<String> = (0..keys).map(|number| format!(r#""{}":{key}"#, id(number))).collect();
    let names: Vec<String> = (0..roles).map(|number| format!("r{number:05}")).collect();
    let mut text = String::new();
    for (number, name) in names.iter().enumerate() {
        let ids: Vec<String> = (0..keys).map(|at| format!("\"{}\"", id((at + number) % keys))).collect();
        let ids = ids.join(",");
        let comma = if number > 0 { "," } else { "" };
        // Different thresholds, so that no two rings are equal.
        let threshold = number + 1;
        let _ = write!(
            text,
            r#"{comma}{{"keyids":[{ids}],"name":"{name}","paths":["*"],"terminating":false,"threshold":{threshold}}}"#
        );
    }
    (format!(r#"{{"keys":{{{}}},"roles":[{text}]}}"#, all.join(",")), names)
}

#[test]
fn very_many_delegations_with_very_many_keys_cost_little() {
    let _alone = alone();
    // About 280 kB, and about 8.5 MB.
    for (keys, roles, most) in [(200, 200, 20 * MEGABYTE), (1000, 1400, 200 * MEGABYTE)] {
        let mut repository = Repository::new();
        let (delegations, names) = delegations(keys, roles, &repository.key_text());
        repository.publish(&delegations, &names);
        let length = repository.files["1.targets.json"].len();
        let (outcome, listed) = peak(|| {
            let mut trusted = repository.update().expect("valid metadata");
            let path = TargetPath::new("x").unwrap();
            let searched = repository.drive(trusted.search(path)).map(drop);
            (searched, repository.drive(trusted.listing()).map(drop))
        });
        let absent = |outcome: &Result<(), Error>| outcome.as_ref().is_err_and(|error| error.kind == ErrorKind::Absent);
        assert!(absent(&outcome.0) && absent(&outcome.1), "{outcome:?}");
        println!("{length} bytes of metadata cost {listed}");
        assert!(listed < most, "{length} bytes of metadata cost {listed}");
    }
}

#[test]
fn a_role_that_many_trust_with_other_keys_is_held_once() {
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
    // The same key, under the ID of its signature and under another ID for each delegator.
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
        let mut trusted = repository.update().expect("valid metadata");
        repository.drive(trusted.listing()).expect("all roles are there").len()
    });
    assert_eq!(found, 0);
    println!("{length} bytes of one role cost {cost}");
    assert!(cost < 12 * length, "{length} bytes of one role cost {cost}");
}

#[test]
fn unsigned_metadata_costs_a_few_times_its_length() {
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
        println!("{length} bytes cost {cost} more: {message}");
        assert!(cost < 4 * length, "{begin}: {length} bytes cost {cost} more");
        assert!(message.len() < 2000, "{} bytes of error", message.len());
    }
}
