//! Tests of all [`Limits`] of the client. The client must accept a value that equals its limit, and must refuse a
//! higher value with an error that names the limit.

use lastmile_client::{Error as ClientError, Refusal};
use lastmile_metadata::{ErrorKind, Limit, Limits};
use lastmile_testkit::{Delegation, Repository, TestClient, TestKey, refused, time};
use lastmile_tests::verdict;
use serde_json::{Value, json};

/// Returns a repository with three roots and two delegated roles: `a` delegates to `b`, and `b` lists `x`. If
/// `lists_lengths` is set, snapshot and timestamp list the lengths of the other files.
fn repository(lists_lengths: bool) -> Repository {
    let mut repository = Repository::new();
    repository.lists_hashes = lists_lengths;
    repository.delegate("targets", &Delegation::paths("a", &["*"]));
    repository.delegate("a", &Delegation::paths("b", &["*"]));
    repository.add_target("b", "x", b"content");
    repository.publish(&["root", "a", "b", "targets"]);
    repository.publish(&["root"]);
    repository
}

type Field<T> = fn(&mut Limits) -> &mut T;

fn with<T>(repository: &Repository, field: Field<T>, value: T) -> TestClient {
    let mut client = TestClient::new(repository);
    *field(&mut client.limits) = value;
    client
}

/// Updates two clients. The first client has the limit `length` in `field`, and must succeed. The limit of the second
/// client is one byte less, and this client must refuse a file. Returns the details of the refusal.
fn too_long_by_one(repository: &Repository, length: usize, field: Field<u64>) -> (String, u64, Option<Limit>) {
    let length = length as u64;
    assert!(
        with(repository, field, length).find("x").unwrap().is_some(),
        "a file as long as the limit must be accepted"
    );
    let past = with(repository, field, length - 1);
    match past.find("x") {
        Err(ClientError::Limit(error)) => match error.refusal {
            Refusal::TooLong { file, max_length, limit } => (file, max_length, limit),
            other => panic!("{other}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_length_of_a_file_without_a_listed_length_is_limited() {
    let repository = repository(false);
    let longest = |roles: &[&str]| roles.iter().map(|role| repository.written(role).len()).max().unwrap();
    let root = longest(&["root"]);
    let cases: [(Limit, usize, Field<u64>); 4] = [
        (Limit::RootLength, root, |limits| &mut limits.root_length),
        (Limit::TimestampLength, longest(&["timestamp"]), |limits| &mut limits.timestamp_length),
        (Limit::SnapshotLength, longest(&["snapshot"]), |limits| &mut limits.snapshot_length),
        (Limit::TargetsLength, longest(&["targets", "a", "b"]), |limits| &mut limits.targets_length),
    ];
    for (name, length, field) in cases {
        let (file, max_length, limit) = too_long_by_one(&repository, length, field);
        assert_eq!((max_length, limit), (length as u64 - 1, Some(name)), "{file}");
    }
}

#[test]
fn the_listed_length_of_a_file_is_limited() {
    for role in ["snapshot", "targets", "a", "b"] {
        let mut repository = repository(true);
        // The file of `role` must be the longest file. Otherwise, the client would refuse another file first.
        repository.signed(role)["more"] = json!("x".repeat(10_000));
        repository.publish(&[role]);
        let length = repository.written(role).len() as u64;
        let field: Field<u64> = |limits| &mut limits.listed_length;
        let mut at_the_limit = with(&repository, field, length);
        // The lengths of these files are listed, so the limits for files without a listed length must not apply.
        at_the_limit.limits.snapshot_length = 1;
        at_the_limit.limits.targets_length = 1;
        assert!(at_the_limit.find("x").unwrap().is_some(), "a listed length that equals the limit must be accepted");
        repository.network().forget_requests();
        let kind = ErrorKind::ListedTooLong { listed: length, limit: Limit::ListedLength, value: length - 1 };
        assert_eq!(refused(with(&repository, field, length - 1).find("x")), verdict(role, kind));
        let asked = repository.network().requests();
        assert!(
            asked.iter().all(|path| !path.ends_with(&format!(".{role}.json"))),
            "the client must not request a file whose listed length exceeds the limit: {asked:?}"
        );
    }
}

#[test]
fn a_stored_copy_does_not_bypass_the_limit_of_listed_lengths() {
    let repository = repository(true);
    let mut client = TestClient::new(&repository);
    client.refresh().unwrap();
    client.limits.listed_length = 10;
    assert!(matches!(refused(client.refresh()).kind, ErrorKind::ListedTooLong { .. }));
    client.limits = Limits::default();
    assert!(client.find("x").unwrap().is_some());
}

#[test]
fn counts_and_depths_are_limited() {
    let mut repository = repository(true);
    let strangers: Vec<Value> =
        (0..3).map(|number| json!({"keyid": format!("stranger {number}"), "sig": "00"})).collect();
    let mut envelope: Value = serde_json::from_slice(&repository.written("timestamp")).unwrap();
    envelope["signatures"].as_array_mut().unwrap().extend(strangers);
    repository.put_metadata("timestamp", serde_json::to_vec(&envelope).unwrap());
    let keys = repository.signed("root")["keys"].as_object().unwrap().len() as u32;
    type Ask = fn(&TestClient) -> Result<bool, ClientError>;
    let find: Ask = |client| client.find("x").map(|found| found.is_some());
    let list: Ask = |client| client.list().map(|listed| listed == ["x"]);
    let cases: [(Limit, &str, u32, Field<u32>, Ask); 6] = [
        (Limit::RolesVisited, "b", 2, |limits| &mut limits.roles_visited, find),
        (Limit::RolesListed, "b", 2, |limits| &mut limits.roles_listed, list),
        (Limit::DelegationDepth, "b", 2, |limits| &mut limits.delegation_depth, find),
        (Limit::DelegationDepth, "b", 2, |limits| &mut limits.delegation_depth, list),
        (Limit::Signatures, "timestamp", 4, |limits| &mut limits.signatures, find),
        (Limit::Keys, "root", keys, |limits| &mut limits.keys, find),
    ];
    for (limit, role, value, field, ask) in cases {
        assert!(
            ask(&with(&repository, field, value)).unwrap(),
            "{limit}: a value that equals the limit must be accepted"
        );
        let kind = ErrorKind::LimitReached { limit, value: u64::from(value) - 1 };
        assert_eq!(refused(ask(&with(&repository, field, value - 1))), verdict(role, kind));
    }
}

#[test]
fn the_number_of_new_roots_in_one_update_is_limited() {
    let repository = repository(true);
    for (allowed, reached) in [(0, 1), (1, 2), (2, 3), (3, 3)] {
        let client = with(&repository, |limits| &mut limits.root_updates, allowed);
        assert_eq!(client.refresh().unwrap()[0], reached, "{allowed} allowed");
    }
}

#[test]
fn the_error_for_a_root_that_is_old_because_of_the_limit_says_so() {
    let limit = |value| verdict("root", ErrorKind::LimitReached { limit: Limit::RootUpdates, value });
    // Version 4 of the root replaces the timestamp key. The client has version 1 and may fetch only two new roots, so
    // its first update does not reach version 4.
    let mut repository = repository(true);
    repository.set_keys("timestamp", &[TestKey::new("another")], 1);
    repository.publish(&["root", "timestamp"]);
    let client = with(&repository, |limits| &mut limits.root_updates, 2);
    assert_eq!(refused(client.refresh()), limit(2));
    assert_eq!(client.refresh().unwrap()[0], 4, "the next update must continue from the stored root");
    // The client may fetch only one new root. That root has expired, but the error must name the limit.
    let mut repository = Repository::new();
    repository.signed("root")["expires"] = json!("2029-01-01T00:00:00Z");
    repository.publish(&["root"]);
    repository.signed("root")["expires"] = json!("2039-01-01T00:00:00Z");
    repository.publish(&["root"]);
    let mut client = with(&repository, |limits| &mut limits.root_updates, 1);
    client.now = time("2030-01-01T00:00:00Z");
    assert_eq!(refused(client.refresh()), limit(1));
    assert_eq!(client.refresh().unwrap()[0], 3);
}

#[test]
fn the_nesting_of_json_is_limited() {
    // The file and its signed part are objects, so they use the first two of the 64 levels.
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let asked = |levels| {
        let mut repository = Repository::new();
        repository.signed("timestamp")["deep"] = nested(levels);
        repository.publish(&["timestamp"]);
        TestClient::new(&repository).refresh()
    };
    assert!(asked(62).is_ok());
    let ErrorKind::Malformed { expected, .. } = refused(asked(63)).kind else {
        panic!("the file must be refused as malformed")
    };
    assert_eq!(expected, "at most 64 levels of nesting");
}

/// If the client wrote a record that is longer than it can read, the next start would treat the record as damaged, and
/// all further updates would fail.
#[test]
fn d3_a_record_of_versions_that_could_not_be_read_again_is_not_written() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    client.refresh().unwrap();
    // In the record, each `%` of a role name is escaped as three characters.
    let name = format!("{}.json", "%".repeat(23 << 20));
    repository.signed("snapshot")["meta"][name.as_str()] = json!({"version": 1});
    repository.publish(&["snapshot"]);
    let error = client.refresh().unwrap_err();
    assert!(matches!(error, ClientError::Local(_)), "{error:?}");
    assert!(format!("{error:?}").contains("the maximum that can be read"), "{error:?}");
    repository.signed("snapshot")["meta"].as_object_mut().unwrap().remove(&name);
    repository.publish(&["targets"]);
    assert_eq!(client.refresh().unwrap(), [1, 3, 3, 2]);
}
