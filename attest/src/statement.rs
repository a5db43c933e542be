//! Statements of the in-toto attestation framework (v0.1 and v1). A statement is a claim about files, which it
//! identifies by their digests.
//!
//! Source: <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>.

use std::collections::BTreeSet;

use lastmile_metadata::Algorithm;

use crate::artifact::Artifact;
use crate::json::{Object, Value};

/// The media type of statements in DSSE envelopes.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The supported values of `_type`.
const TYPES: [&str; 2] = ["https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1"];

const MAX_SUBJECTS: usize = 10_000;

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    subjects: Vec<Subject>,
    predicate_type: String,
    predicate: Value,
}

#[derive(Clone, Debug, PartialEq)]
struct Subject {
    digests: Vec<(Algorithm, Vec<u8>)>,
}

/// The reason why a payload is not a statement, or why a statement is not about the artifact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StatementError(String);

impl Statement {
    /// Reads the payload of an envelope whose payload type is [`PAYLOAD_TYPE`].
    ///
    /// # Errors
    /// [`StatementError`] if the payload is not a statement.
    pub fn parse(payload: &[u8]) -> Result<Self, StatementError> {
        let value = Value::parse(payload)
            .map_err(|error| StatementError(format!("the statement is not strict JSON: {error}")))?;
        let object = value.as_object().ok_or_else(|| error("the statement is not an object"))?;
        let kind = string(object, "_type")?;
        if !TYPES.contains(&kind) {
            return Err(StatementError(format!("`_type` is {kind:?}, expected {}", TYPES.join(" or "))));
        }
        let subjects =
            object.get("subject").and_then(Value::as_array).ok_or_else(|| error("`subject` is not an array"))?;
        if subjects.is_empty() || subjects.len() > MAX_SUBJECTS {
            return Err(StatementError(format!(
                "the statement has {} subjects, expected 1 to {MAX_SUBJECTS}",
                subjects.len()
            )));
        }
        let predicate = object.get("predicate").cloned().unwrap_or(Value::Null);
        Ok(Self {
            subjects: subjects.iter().map(Subject::read).collect::<Result<_, _>>()?,
            predicate_type: string(object, "predicateType")?.to_owned(),
            predicate,
        })
    }

    /// Returns the type of the predicate, which is a URI.
    #[must_use]
    pub fn predicate_type(&self) -> &str {
        &self.predicate_type
    }

    /// Returns the predicate.
    #[must_use]
    pub fn predicate(&self) -> &Value {
        &self.predicate
    }

    /// Returns the digest algorithms for which at least one subject has the digest of the artifact.
    pub(crate) fn algorithms_of(&self, artifact: &Artifact) -> BTreeSet<Algorithm> {
        self.subjects.iter().flat_map(|subject| subject.algorithms_of(artifact)).collect()
    }

    /// Checks that the statement is about the artifact. At least one subject must have a digest that the metadata lists
    /// for the artifact. No subject may have both a digest that matches the metadata and a digest that differs from it.
    ///
    /// # Errors
    /// [`StatementError`] if the statement is not about the artifact.
    pub fn check_subject(&self, artifact: &Artifact) -> Result<(), StatementError> {
        let mut is_subject = false;
        for subject in &self.subjects {
            let mut equal = 0_usize;
            let mut different = 0_usize;
            for (algorithm, digest) in &subject.digests {
                match artifact.digest(*algorithm) {
                    Some(listed) if listed == digest => equal += 1,
                    Some(_) => different += 1,
                    None => {}
                }
            }
            if equal > 0 && different > 0 {
                return Err(error("a subject has a digest that matches the file, and another digest that does not"));
            }
            is_subject |= equal > 0;
        }
        if is_subject {
            return Ok(());
        }
        let listed: Vec<&str> = artifact.digests().map(|(algorithm, _)| algorithm.name()).collect();
        Err(StatementError(format!("no subject has the {} of the file", listed.join(" or "))))
    }
}

impl Subject {
    fn algorithms_of<'a>(&'a self, artifact: &'a Artifact) -> impl Iterator<Item = Algorithm> {
        let equal =
            |(algorithm, digest): &&(Algorithm, Vec<u8>)| artifact.digest(*algorithm) == Some(digest.as_slice());
        self.digests.iter().filter(equal).map(|(algorithm, _)| *algorithm)
    }

    fn read(value: &Value) -> Result<Self, StatementError> {
        let object = value.as_object().ok_or_else(|| error("a subject is not an object"))?;
        let set = object.get("digest").and_then(Value::as_object).ok_or_else(|| error("a subject has no digests"))?;
        let mut digests = Vec::new();
        for (name, value) in set.members() {
            let digits = value.as_str().ok_or_else(|| error("a digest is not a string"))?;
            // Ignore digests of other algorithms, such as `sha1` and `gitCommit`.
            let Some(algorithm) = Algorithm::named(name) else { continue };
            let is_hexadecimal = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if !is_hexadecimal || digits.len() != 2 * algorithm.length() {
                return Err(StatementError(format!(
                    "the {name} of a subject is not lower-case hexadecimal of the right length"
                )));
            }
            digests.push((algorithm, hex::decode(digits).map_err(|_| error("a digest is not hexadecimal"))?));
        }
        Ok(Self { digests })
    }
}

fn error(text: &str) -> StatementError {
    StatementError(text.to_owned())
}

fn string<'a>(object: &'a Object, name: &str) -> Result<&'a str, StatementError> {
    object.get(name).and_then(Value::as_str).ok_or_else(|| StatementError(format!("`{name}` is not a string")))
}
