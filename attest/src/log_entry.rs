//! Checks the structure of transparency log entries in a Sigstore bundle.
//!
//! Source: `sigstore_rekor.proto` in <https://github.com/sigstore/protobuf-specs>.

use crate::fields::{Fields, FormatError};
use crate::json::Value;

/// The kinds and versions of entries that can be verified. Rekor v2 supports only `hashedrekord` 0.0.2, even for
/// envelopes; `dsse` 0.0.2 must be refused (<https://github.com/sigstore/rekor-tiles/blob/main/CLIENTS.md>).
const KINDS: [(&str, &str); 4] = [REKOR_V2, ("hashedrekord", "0.0.1"), ("dsse", "0.0.1"), ("intoto", "0.0.2")];

const REKOR_V2: (&str, &str) = ("hashedrekord", "0.0.2");

pub(crate) const MAX_ENTRIES: usize = 8;

/// The maximum number of hashes in an inclusion proof. A proof has at most one hash per bit of the 64-bit index.
const MAX_HASHES: usize = 64;

/// The maximum length of the canonicalized body of an entry, in bytes. Bodies are short, because they contain
/// signatures and certificates, but no payload, not even in entries of the kind `intoto`.
const MAX_BODY: usize = 128 << 10;

/// The maximum length of a checkpoint, in bytes. Several witnesses may sign a checkpoint.
const MAX_CHECKPOINT: usize = 16 << 10;

/// The length of a SHA-256 digest.
const DIGEST: usize = 32;

/// The parts of an entry that distinguish it from the other entries of a bundle.
#[derive(Clone, PartialEq)]
struct Entry {
    log: Vec<u8>,
    index: u64,
    body: Vec<u8>,
}

/// Checks the structure of all log entries of a bundle, and that no entry occurs twice.
pub(crate) fn check_all(entries: &[Value]) -> Result<(), FormatError> {
    let mut known: Vec<Entry> = Vec::new();
    for value in entries {
        let entry = Entry::read(value)?;
        if known.iter().any(|other| other.is_same(&entry)) {
            return Err(FormatError::new("the bundle contains a log entry twice"));
        }
        known.push(entry);
    }
    Ok(())
}

impl Entry {
    fn read(value: &Value) -> Result<Self, FormatError> {
        let known = [
            "logIndex",
            "logId",
            "kindVersion",
            "integratedTime",
            "inclusionPromise",
            "inclusionProof",
            "canonicalizedBody",
        ];
        let fields = Fields::read(value, "tlogEntries", &known)?;
        let log = Fields::read(fields.required("logId")?, "tlogEntries.logId", &["keyId"])?;
        let body = fields.base64("canonicalizedBody", MAX_BODY)?;
        let entry = Self { log: log.base64("keyId", DIGEST)?, index: fields.integer("logIndex")?, body };
        if entry.log.len() != DIGEST {
            return Err(log.error("keyId", "is not 32 bytes long"));
        }
        let kind = read_kind(fields)?;
        check_body(&entry.body, kind)?;
        check_times(fields, kind)?;
        let proof = read_proof(fields)?;
        if kind == REKOR_V2 && proof != entry.index {
            return Err(fields.error("logIndex", "differs from the index of its inclusion proof"));
        }
        Ok(entry)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.log == other.log && (self.index == other.index || self.body == other.body)
    }
}

fn read_kind(fields: Fields<'_>) -> Result<(&'static str, &'static str), FormatError> {
    let place = "tlogEntries.kindVersion";
    let kind_version = Fields::read(fields.required("kindVersion")?, place, &["kind", "version"])?;
    let kind = kind_version.string("kind")?;
    let version = kind_version.string("version")?;
    let found = KINDS.into_iter().find(|known| *known == (kind, version));
    found.ok_or_else(|| FormatError::new(format!("log entries of the kind {kind} {version} are not supported")))
}

/// Checks that the body has the same kind and version as the member `kindVersion` of the entry.
fn check_body(body: &[u8], (kind, version): (&str, &str)) -> Result<(), FormatError> {
    let value = Value::parse(body)
        .map_err(|error| FormatError::new(format!("the body of a log entry is not strict JSON: {error}")))?;
    let fields = Fields::read(&value, "canonicalizedBody", &["apiVersion", "kind", "spec"])?;
    if fields.string("kind")? != kind || fields.string("apiVersion")? != version {
        return Err(FormatError::new("`kindVersion` differs from the kind and version in the body of the log entry"));
    }
    Ok(())
}

/// Checks the structure of the integrated time and of the inclusion promise. The promise is a signature that covers the
/// integrated time. Entries of Rekor v2 have no inclusion promise.
fn check_times(fields: Fields<'_>, kind: (&str, &str)) -> Result<(), FormatError> {
    let time = fields.integer("integratedTime")?;
    let Some(promise) = fields.optional("inclusionPromise") else { return Ok(()) };
    if kind == REKOR_V2 {
        return Err(fields.error("inclusionPromise", "is set, but entries of Rekor v2 have none"));
    }
    if time == 0 {
        return Err(fields.error("integratedTime", "is absent, but `inclusionPromise` signs it"));
    }
    let promise = Fields::read(promise, "tlogEntries.inclusionPromise", &["signedEntryTimestamp"])?;
    promise.base64("signedEntryTimestamp", crate::dsse::MAX_SIGNATURE)?;
    Ok(())
}

/// Checks the structure of the inclusion proof, and returns the log index in the proof.
fn read_proof(fields: Fields<'_>) -> Result<u64, FormatError> {
    let known = ["logIndex", "rootHash", "treeSize", "hashes", "checkpoint"];
    let proof = Fields::read(fields.required("inclusionProof")?, "inclusionProof", &known)?;
    let index = proof.integer("logIndex")?;
    let size = proof.integer("treeSize")?;
    if index >= size {
        return Err(proof.error("logIndex", &format!("is {index}, but the tree has {size} entries")));
    }
    if proof.base64("rootHash", DIGEST)?.len() != DIGEST {
        return Err(proof.error("rootHash", "is not 32 bytes long"));
    }
    for hash in proof.array("hashes", MAX_HASHES)? {
        check_hash(hash)?;
    }
    let checkpoint = Fields::read(proof.required("checkpoint")?, "inclusionProof.checkpoint", &["envelope"])?;
    check_checkpoint(checkpoint.string("envelope")?, size, proof.string("rootHash")?)?;
    Ok(index)
}

fn check_hash(value: &Value) -> Result<(), FormatError> {
    let text = value.as_str().ok_or_else(|| FormatError::new("a hash of an inclusion proof is not a string"))?;
    let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text);
    if decoded.is_ok_and(|hash| hash.len() == DIGEST) {
        return Ok(());
    }
    Err(FormatError::new("a hash of an inclusion proof is not 32 bytes in base64"))
}

/// Checks that the checkpoint is a single signed note (<https://github.com/C2SP/C2SP/blob/main/signed-note.md>), and
/// that it has the size and root hash of the inclusion proof.
fn check_checkpoint(text: &str, size: u64, root: &str) -> Result<(), FormatError> {
    if text.len() > MAX_CHECKPOINT {
        let error = format!("a checkpoint has {} bytes, expected at most {MAX_CHECKPOINT}", text.len());
        return Err(FormatError::new(error));
    }
    // `sigstore-verify` ignores everything after a second empty line, so refuse text with a second empty line.
    let parts: Vec<&str> = text.split("\n\n").collect();
    let [note, _] = parts.as_slice() else {
        return Err(FormatError::new("a checkpoint must consist of a text, an empty line and signatures"));
    };
    if note.lines().nth(1) != Some(size.to_string().as_str()) {
        return Err(FormatError::new("`inclusionProof.treeSize` differs from the size in the checkpoint"));
    }
    // `sigstore-verify` compares the root hashes only for Rekor v1, so compare them here for v2 too.
    if note.lines().nth(2) != Some(root) {
        return Err(FormatError::new("`inclusionProof.rootHash` differs from the hash in the checkpoint"));
    }
    Ok(())
}
