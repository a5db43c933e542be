//! Functions that verify a single file with the keys in the root of a repository, without the update workflow.

use lastmile_metadata::{
    Envelope, Error, ErrorKind, KeyRing, Limits, Role, RoleName, Root, Targets, Verified, Version,
};
use lastmile_testkit::{Repository, TestKey, sign};
use serde_json::{Value, json};

/// Converts `name` to the name of a top-level or delegated role.
///
/// # Panics
///
/// Panics if `name` is not a valid role name.
#[must_use]
pub fn role(name: &str) -> RoleName {
    match name {
        "root" => RoleName::ROOT,
        "timestamp" => RoleName::TIMESTAMP,
        "snapshot" => RoleName::SNAPSHOT,
        "targets" => RoleName::TARGETS,
        other => RoleName::delegated(other).expect("a role name"),
    }
}

/// Returns the version `number`.
///
/// # Panics
///
/// Panics if `number` is not a valid version.
#[must_use]
pub fn version(number: u64) -> Version {
    Version::new(number).expect("a version")
}

/// Returns the error that tests expect: an error of the given kind about the role `name`.
#[must_use]
pub fn verdict(name: &str, kind: ErrorKind) -> Error {
    Error { role: role(name), kind }
}

/// Returns the message of an error about a malformed file: the location, what was expected and what was found.
///
/// # Panics
///
/// Panics if `result` is a success or an error of another kind.
pub fn malformed<T>(result: Result<T, Error>) -> String {
    match result {
        Err(Error { kind: kind @ ErrorKind::Malformed { .. }, .. }) => kind.to_string(),
        Err(other) => panic!("refused for an unexpected reason: {other}"),
        Ok(_) => panic!("accepted"),
    }
}

/// Parses `bytes` as the metadata file of a top-level role. The type `R` determines the role.
///
/// # Errors
///
/// Returns the error from the parser, so that the caller can check it.
pub fn parse<R: Role>(bytes: Vec<u8>) -> Result<Envelope<R>, Error> {
    Envelope::parse(&role(R::TYPE), bytes)
}

/// Returns the keys and the threshold of the role `name` in the root of `repository`.
///
/// # Panics
///
/// Panics if the newest root is invalid or does not list the role.
#[must_use]
pub fn ring(repository: &Repository, name: &str) -> KeyRing {
    let root = parse::<Root>(repository.written("root")).expect("a root");
    root.unverified(&RoleName::ROOT).expect("a root").key_ring(&role(name)).expect("the root must list the role")
}

/// Signs `signed` with the keys of the role `name` in `repository` and verifies the result.
///
/// # Errors
///
/// Returns the error from the verification, so that the caller can check it.
pub fn judge<R: Role>(repository: &Repository, name: &str, signed: &Value) -> Result<Verified<R>, Error> {
    judge_bytes(repository, name, sign(signed, &repository.signers(name)))
}

/// Verifies `bytes` as the metadata file of the role `name`, with the keys in the root of `repository`.
///
/// # Errors
///
/// Returns the error from the verification, so that the caller can check it.
pub fn judge_bytes<R: Role>(repository: &Repository, name: &str, bytes: Vec<u8>) -> Result<Verified<R>, Error> {
    Envelope::<R>::parse(&role(name), bytes)?.verify(&role(name), &ring(repository, name))
}

/// Applies `edit` to a root document, signs the document, and verifies it with the keys that it lists. Before `edit`,
/// the root role has one key and a threshold of 1. This key signs the document.
///
/// # Errors
///
/// Returns the error from the verification, so that the caller can check it.
pub fn judge_root(edit: impl FnOnce(&mut Value)) -> Result<Verified<Root>, Error> {
    let mut repository = Repository::new();
    repository.set_keys("root", &[TestKey::new("root-1")], 1);
    let mut signed = repository.signed("root").clone();
    signed["version"] = json!(1);
    edit(&mut signed);
    Verified::of_itself(sign(&signed, &[TestKey::new("root-1")]), &Limits::default())
}

/// Applies `edit` to a new repository, then signs and verifies its top-level targets file.
///
/// # Errors
///
/// Returns the error from the verification, so that the caller can check it.
pub fn judge_targets(edit: impl FnOnce(&mut Repository)) -> Result<Verified<Targets>, Error> {
    let mut repository = Repository::new();
    edit(&mut repository);
    let signed = repository.signed("targets").clone();
    judge(&repository, "targets", &signed)
}
