//! Tests of the state that a client keeps between updates: the stored files and the record of trusted versions.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use chrono::{DateTime, Utc};
use lastmile_keys::{PrivateKey, Scheme, Signer};

use super::{Request, Stage};
use crate::floors::RoleFloors;
use crate::stored::FileContent;
use crate::{
    Envelope, Error, ErrorKind, Floors, Header, Key, Limits, MetaFile, ReusableTargets, Role, RoleKeys, RoleName, Root,
    Signature, Snapshot, StoredFloors, TargetPath, Targets, Threshold, Timestamp, TrustedMetadata, UpdateRoot, Version,
    assemble, parse_time,
};

const ROOT_KEY: u8 = 1;
const ONLINE_KEY: u8 = 2;

fn key(number: u8) -> PrivateKey {
    PrivateKey::from_seed(Scheme::Ed25519, &[number; 32]).unwrap()
}

fn signed(role: &impl Role, number: u8) -> Vec<u8> {
    let text = role.write();
    let key = key(number);
    let keyid = Key::from_public(key.public_key()).keyid();
    assemble(&text, &[Signature::new(keyid, key.sign(text.as_bytes()).unwrap())])
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn time(text: &str) -> DateTime<Utc> {
    parse_time(text).unwrap()
}

fn expires() -> DateTime<Utc> {
    time("2030-01-01T00:00:00Z")
}

/// Returns a root that lists the key `online` for the roles timestamp, snapshot and targets.
fn root(number: u64, online: u8) -> Vec<u8> {
    let keys = [ROOT_KEY, online].map(|number| Key::from_public(key(number).public_key()));
    let [of_root, of_online] = keys.each_ref().map(|key| RoleKeys::new(vec![key.keyid()], Threshold::ONE));
    let roles = RoleName::TOP_LEVEL.map(|role| {
        let keys = if role == RoleName::ROOT { of_root.clone() } else { of_online.clone() };
        (role, keys)
    });
    let root = Root {
        header: Header::new(version(number), expires()),
        consistent_snapshot: true,
        keys: keys.into_iter().map(|key| (key.keyid(), key)).collect(),
        roles: BTreeMap::from(roles),
    };
    signed(&root, ROOT_KEY)
}

fn timestamp(number: u64, snapshot: u64, online: u8) -> Vec<u8> {
    let timestamp =
        Timestamp { header: Header::new(version(number), expires()), snapshot: MetaFile::new(version(snapshot)) };
    signed(&timestamp, online)
}

fn snapshot(number: u64, targets: u64, online: u8) -> Vec<u8> {
    let mut snapshot = Snapshot::new(version(number), expires());
    snapshot.insert(&RoleName::TARGETS, MetaFile::new(version(targets)));
    signed(&snapshot, online)
}

struct TestClient {
    files: BTreeMap<String, Vec<u8>>,
    record: String,
}

impl TestClient {
    fn new(files: impl IntoIterator<Item = (&'static str, Vec<u8>)>, record: &str) -> Self {
        let files = files.into_iter().map(|(name, bytes)| (name.to_string(), bytes)).collect();
        Self { files, record: record.to_string() }
    }

    /// Updates root, timestamp and snapshot. Like a real client, stores the record after each stage, even if the stage
    /// fails.
    fn update(&mut self, repository: &BTreeMap<String, Vec<u8>>) -> Result<(), Error> {
        let now = time("2026-01-01T00:00:00Z");
        let limits = Limits::default();
        let start = UpdateRoot::start(root(1, ONLINE_KEY), Floors::from_text(&self.record), now, limits)?;
        let timestamp = self.drive(start, repository)?;
        if timestamp.forgets_stored() {
            self.files.remove("timestamp.json");
            self.files.remove("snapshot.json");
        }
        self.record = timestamp.floors().unwrap().to_text();
        let snapshot = self.drive(timestamp, repository)?;
        self.drive(snapshot, repository).map(drop)
    }

    fn drive<S: Stage>(&mut self, mut stage: S, repository: &BTreeMap<String, Vec<u8>>) -> Result<S::Next, Error> {
        let fed = self.feed(&mut stage, repository);
        self.record = stage.floors().unwrap().to_text();
        fed.and_then(|()| stage.finish())
    }

    fn feed(&mut self, stage: &mut impl Stage, repository: &BTreeMap<String, Vec<u8>>) -> Result<(), Error> {
        while let Some(request) = stage.request() {
            let stored = self.files.get(&stored_name(&request)).cloned();
            if stored.is_some_and(|stored| stage.recall(FileContent::Bytes(stored))) {
                continue;
            }
            let fetched = repository.get(&request.file_name()).cloned();
            if let Some(kept) = stage.apply(fetched.map(FileContent::Bytes))? {
                let crate::Accepted::Received(kept) = kept else { panic!("small files are held in memory") };
                self.files.insert(stored_name(&request), kept.to_vec());
            }
        }
        Ok(())
    }
}

fn stored_name(request: &Request) -> String {
    let is_root = request.role == RoleName::ROOT;
    if is_root { request.file_name() } else { request.role.file_name(None) }
}

fn repository(files: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> BTreeMap<String, Vec<u8>> {
    files.into_iter().map(|(name, bytes)| (name.to_string(), bytes)).collect()
}

/// Returns a repository with version 2 of timestamp and snapshot, signed with the keys of the first root.
fn behind() -> BTreeMap<String, Vec<u8>> {
    repository([("timestamp.json", timestamp(2, 2, ONLINE_KEY)), ("2.snapshot.json", snapshot(2, 2, ONLINE_KEY))])
}

/// Returns a client that trusts version 5 of timestamp and snapshot, and whose record is damaged.
fn without_record() -> TestClient {
    let files = [("timestamp.json", timestamp(5, 5, ONLINE_KEY)), ("snapshot.json", snapshot(5, 5, ONLINE_KEY))];
    TestClient::new(files, "damaged")
}

fn state_lost(role: RoleName) -> Result<(), Error> {
    Err(Error { role, kind: ErrorKind::StateLost })
}

fn rollback(role: RoleName, trusted: u64, found: u64) -> Result<(), Error> {
    Err(Error { role, kind: ErrorKind::Rollback { trusted: version(trusted), found: version(found) } })
}

#[test]
fn d3_without_the_record_the_stored_copies_set_the_floors() {
    let mut client = without_record();
    assert_eq!(client.update(&behind()), rollback(RoleName::TIMESTAMP, 5, 2));
    assert_eq!(client.update(&behind()), rollback(RoleName::TIMESTAMP, 5, 2));
    let next = [("timestamp.json", timestamp(6, 6, ONLINE_KEY)), ("6.snapshot.json", snapshot(6, 5, ONLINE_KEY))];
    assert_eq!(client.update(&repository(next)), Ok(()));
    assert!(matches!(Floors::from_text(&client.record), StoredFloors::Known(_)));
}

#[test]
fn d3_if_the_record_and_a_copy_are_lost_later_updates_fail_too() {
    for (copy, role) in [("timestamp.json", RoleName::TIMESTAMP), ("snapshot.json", RoleName::SNAPSHOT)] {
        for damage in [None, Some(b"damaged".to_vec())] {
            let mut client = without_record();
            client.files.remove(copy);
            client.files.extend(damage.map(|bytes| (copy.to_string(), bytes)));
            let next =
                [("timestamp.json", timestamp(6, 6, ONLINE_KEY)), ("6.snapshot.json", snapshot(6, 1, ONLINE_KEY))];
            for _ in 0..3 {
                assert_eq!(client.update(&repository(next.clone())), state_lost(role.clone()));
            }
        }
    }
}

#[test]
fn d3_an_old_rotation_does_not_drop_floors_when_the_record_is_lost() {
    let rotated = root(2, 3);
    let online = 3;
    let files = [
        ("2.root.json", rotated.clone()),
        ("timestamp.json", timestamp(5, 5, online)),
        ("snapshot.json", snapshot(5, 5, online)),
    ];
    let mut client = TestClient::new(files, "damaged");
    let behind = [("timestamp.json", timestamp(2, 2, online)), ("2.snapshot.json", snapshot(2, 2, online))];
    assert_eq!(client.update(&repository(behind)), rollback(RoleName::TIMESTAMP, 5, 2));
}

#[test]
fn d3_a_new_rotation_drops_floors_even_when_the_record_is_lost() {
    let mut client = without_record();
    let next =
        [("2.root.json", root(2, 3)), ("timestamp.json", timestamp(1, 1, 3)), ("1.snapshot.json", snapshot(1, 1, 3))];
    assert_eq!(client.update(&repository(next)), Ok(()));
}

#[test]
fn d3_a_damaged_root_is_not_hidden_when_the_record_is_lost() {
    let mut client = without_record();
    client.files.insert("2.root.json".to_string(), b"damaged".to_vec());
    assert_eq!(client.update(&behind()), state_lost(RoleName::ROOT));
    let found = [
        ("2.root.json", root(2, ONLINE_KEY)),
        ("timestamp.json", timestamp(6, 6, ONLINE_KEY)),
        ("6.snapshot.json", snapshot(6, 6, ONLINE_KEY)),
    ];
    assert_eq!(client.update(&repository(found)), Ok(()));
}

#[test]
fn w_5_4_3_2_an_old_copy_put_back_does_not_lower_the_floor_of_the_snapshot() {
    let mut client = TestClient::new([], "");
    client.record = Floors { timestamp: Some((version(5), version(5))), ..first_record() }.to_text();
    for put_back in [timestamp(5, 3, ONLINE_KEY), timestamp(6, 3, ONLINE_KEY)] {
        client.files.insert("timestamp.json".to_string(), put_back);
        let next = [("timestamp.json", timestamp(7, 4, ONLINE_KEY)), ("4.snapshot.json", snapshot(4, 4, ONLINE_KEY))];
        let kind = ErrorKind::ListedRollback { listed: RoleName::SNAPSHOT, trusted: version(5), found: version(4) };
        assert_eq!(client.update(&repository(next)), Err(Error { role: RoleName::TIMESTAMP, kind }));
    }
}

#[test]
fn w_5_5_5_1_a_snapshot_of_the_same_version_raises_the_floors_of_its_roles() {
    let trusted = Envelope::<Snapshot>::parse(&RoleName::SNAPSHOT, snapshot(5, 5, ONLINE_KEY)).unwrap();
    let floors = RoleFloors::of(
        &trusted.unverified(&RoleName::SNAPSHOT).unwrap(),
        "not the digest of the trusted snapshot".to_string(),
    );
    let record = Floors { timestamp: Some((version(5), version(5))), snapshot: Some(floors), ..first_record() };
    let mut client = TestClient::new([], &record.to_text());
    let same = [("timestamp.json", timestamp(6, 5, ONLINE_KEY)), ("5.snapshot.json", snapshot(5, 9, ONLINE_KEY))];
    assert_eq!(client.update(&repository(same)), Ok(()));
    let next = [("timestamp.json", timestamp(7, 6, ONLINE_KEY)), ("6.snapshot.json", snapshot(6, 7, ONLINE_KEY))];
    let kind = ErrorKind::ListedRollback { listed: RoleName::TARGETS, trusted: version(9), found: version(7) };
    assert_eq!(client.update(&repository(next)), Err(Error { role: RoleName::SNAPSHOT, kind }));
}

/// Returns the record of a client that knows only the first root.
fn first_record() -> Floors {
    let now = time("2026-01-01T00:00:00Z");
    let start = UpdateRoot::start(root(1, ONLINE_KEY), StoredFloors::FirstRun, now, Limits::default()).unwrap();
    start.floors().unwrap().clone()
}

/// Updates all four top-level roles with a new client. `known` is the targets role of an earlier update, for reuse.
fn trust(
    known: Option<ReusableTargets>,
    online: u8,
    targets: &[u8],
    versions: (u64, u64),
) -> Result<TrustedMetadata, Error> {
    let now = time("2026-01-01T00:00:00Z");
    let start = UpdateRoot::start(root(1, online), StoredFloors::FirstRun, now, Limits::default())?.reusing(known);
    let repository = BTreeMap::from([
        ("timestamp.json".to_string(), timestamp(1, 1, online)),
        ("1.snapshot.json".to_string(), snapshot(1, versions.0, online)),
        (alloc::format!("{}.targets.json", versions.0), targets.to_vec()),
    ]);
    let mut client = TestClient::new([], "");
    let timestamp = client.drive(start, &repository)?;
    let snapshot = client.drive(timestamp, &repository)?;
    let targets = client.drive(snapshot, &repository)?;
    let trusted = client.drive(targets, &repository)?;
    assert_eq!(trusted.targets().version(), version(versions.1));
    Ok(trusted)
}

#[test]
fn targets_are_reused_only_for_the_same_bytes_and_keys() {
    let file = signed(&Targets::new(version(1), expires()), ONLINE_KEY);
    let first = trust(None, ONLINE_KEY, &file, (1, 1)).unwrap();
    assert_eq!((first.targets().len(), first.targets().is_empty()), (0, true));
    let known = || first.reusable_targets();
    let again = trust(known(), ONLINE_KEY, &file, (1, 1)).unwrap();
    assert!(Arc::ptr_eq(first.targets().held().unwrap(), again.targets().held().unwrap()));
    // With different bytes, different keys or a different listed version, the role is verified as if there had been no
    // earlier update.
    let other = signed(&Targets::new(version(2), expires()), ONLINE_KEY);
    let forged = String::from_utf8(file.clone()).unwrap().replace("2030-", "2031-").into_bytes();
    trust(known(), ONLINE_KEY, &other, (2, 2)).unwrap();
    for (online, file, listed) in [(ONLINE_KEY, &forged, 1), (9, &file, 1), (ONLINE_KEY, &file, 2)] {
        let judged = trust(known(), online, file, (listed, 1));
        let expected = trust(None, online, file, (listed, 1));
        assert_eq!(judged.map(drop).unwrap_err(), expected.map(drop).unwrap_err());
    }
}

#[test]
fn a_root_accepted_by_one_ring_may_be_refused_by_another() {
    let now = time("2026-01-01T00:00:00Z");
    let start = UpdateRoot::start(root(1, ONLINE_KEY), StoredFloors::FirstRun, now, Limits::default()).unwrap();
    let role = &RoleName::ROOT;
    let root = start.root();
    assert_eq!(root.signatures().len(), 1);
    assert_eq!(root.verify(role, &root.key_ring(role).unwrap()), Ok(()));
    let refused = ErrorKind::ThresholdNotMet { valid: 0, threshold: Threshold::ONE }.of(role);
    assert_eq!(root.verify(role, &root.key_ring(&RoleName::TIMESTAMP).unwrap()), Err(refused));
}

#[test]
fn a15_a_target_without_a_known_hash_ends_the_search() {
    let text = Targets::new(version(1), expires()).write();
    let listed = r#""targets":{"x":{"hashes":{"md5":"00"},"length":1}}"#;
    let text = text.replace(r#""targets":{}"#, listed);
    let keyid = Key::from_public(key(ONLINE_KEY).public_key()).keyid();
    let file = assemble(&text, &[Signature::new(keyid, key(ONLINE_KEY).sign(text.as_bytes()).unwrap())]);
    let mut trusted = trust(None, ONLINE_KEY, &file, (1, 1)).unwrap();
    assert_eq!((trusted.targets().len(), trusted.targets().is_empty()), (1, false));
    let found = trusted.search(TargetPath::new("x").unwrap()).finish();
    let refused = ErrorKind::NoSupportedHash("x".to_string()).of(&RoleName::TARGETS);
    assert_eq!(found.map(drop), Err(refused));
}

#[test]
fn w_5_3_3_the_limit_of_roots_is_reported_only_if_it_explains_foreign_signatures() {
    let limits = Limits { root_updates: 1, ..Limits::default() };
    let now = time("2026-01-01T00:00:00Z");
    let start = UpdateRoot::start(root(1, ONLINE_KEY), StoredFloors::FirstRun, now, limits).unwrap();
    let roots = repository([("2.root.json", root(2, ONLINE_KEY)), ("3.root.json", root(3, 9))]);
    let stage = TestClient::new([], "").drive(start, &roots).unwrap();
    let verdict = |file: &[u8]| stage.clone().apply(Some(FileContent::Bytes(file.to_vec()))).unwrap_err();
    let behind = ErrorKind::LimitReached { limit: crate::Limit::RootUpdates, value: 1 }.of(&RoleName::ROOT);
    assert_eq!(verdict(&timestamp(1, 1, 9)), behind);
    let malformed = verdict(b"{}");
    assert!(malformed.role == RoleName::TIMESTAMP && matches!(malformed.kind, ErrorKind::Malformed { .. }));
}
