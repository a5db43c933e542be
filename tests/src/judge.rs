//! Bytes in, verdict out: one document judged by the keys of a repository's root, without any workflow.

use lastmile_metadata::{
    Envelope, Error, ErrorKind, KeyRing, Limits, Role, RoleName, Root, Targets, Verified, Version,
};
use lastmile_testkit::{Repository, TestKey, sign};
use serde_json::{Value, json};

/// The role called `name`, of the top level or delegated.
///
/// # Panics
///
/// When no role may be called that.
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

/// Version `number`.
///
/// # Panics
///
/// When `number` is no version.
#[must_use]
pub fn version(number: u64) -> Version {
    Version::new(number).expect("a version")
}

/// The verdict `kind` about the role called `name`.
#[must_use]
pub fn verdict(name: &str, kind: ErrorKind) -> Error {
    Error { role: role(name), kind }
}

/// What `result` says about text that is malformed: where, what was expected, what was found.
///
/// # Panics
///
/// When it is accepted, or refused for another reason.
pub fn malformed<T>(result: Result<T, Error>) -> String {
    match result {
        Err(Error { kind: kind @ ErrorKind::Malformed { .. }, .. }) => kind.to_string(),
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => panic!("accepted"),
    }
}

/// Reads `bytes` as the top-level file of the type `R`.
///
/// # Errors
///
/// The verdict under test.
pub fn parse<R: Role>(bytes: Vec<u8>) -> Result<Envelope<R>, Error> {
    Envelope::parse(&role(R::TYPE), bytes)
}

/// The keys and threshold that the root of `repository` gives the role called `name`.
///
/// # Panics
///
/// When the root as it was written last is not usable.
#[must_use]
pub fn ring(repository: &Repository, name: &str) -> KeyRing {
    let root = parse::<Root>(repository.written("root")).expect("a root");
    root.unverified(&RoleName::ROOT).expect("a root").key_ring(&role(name)).expect("a role of the root")
}

/// Signs `signed` with the keys that sign `name` in `repository` and has the result judged.
///
/// # Errors
///
/// The verdict under test.
pub fn judge<R: Role>(repository: &Repository, name: &str, signed: &Value) -> Result<Verified<R>, Error> {
    judge_bytes(repository, name, sign(signed, &repository.signers(name)))
}

/// Has `bytes` judged as the role called `name`.
///
/// # Errors
///
/// The verdict under test.
pub fn judge_bytes<R: Role>(repository: &Repository, name: &str, bytes: Vec<u8>) -> Result<Verified<R>, Error> {
    Envelope::<R>::parse(&role(name), bytes)?.verify(&role(name), &ring(repository, name))
}

/// A root document with one key for every role, signed by it, after `edit`.
///
/// # Errors
///
/// The verdict under test.
pub fn judge_root(edit: impl FnOnce(&mut Value)) -> Result<Verified<Root>, Error> {
    let mut repository = Repository::new();
    repository.set_keys("root", &[TestKey::new("root-1")], 1);
    let mut signed = repository.signed("root").clone();
    signed["version"] = json!(1);
    edit(&mut signed);
    Verified::of_itself(sign(&signed, &[TestKey::new("root-1")]), &Limits::default())
}

/// The top-level targets document of an honest repository after `edit`, signed and judged.
///
/// # Errors
///
/// The verdict under test.
pub fn judge_targets(edit: impl FnOnce(&mut Repository)) -> Result<Verified<Targets>, Error> {
    let mut repository = Repository::new();
    edit(&mut repository);
    let signed = repository.signed("targets").clone();
    judge(&repository, "targets", &signed)
}
