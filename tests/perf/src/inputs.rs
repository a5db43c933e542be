//! The inputs of the measured loops. They are written with simple format strings, so changes to other code do not
//! affect the inputs.

use std::fmt::Write as _;

use lastmile_keys::{PrivateKey, Scheme, Signer as _};
use lastmile_metadata::{Envelope, KeyRing, RoleName, Root};

pub(crate) type Failed = Box<dyn std::error::Error>;

const TARGETS: usize = 10_000;
const BINS: usize = 16_384;

/// A signed metadata file, and the keys that must sign it.
pub(crate) struct Signed {
    pub(crate) file: Vec<u8>,
    pub(crate) ring: KeyRing,
}

impl Signed {
    /// Signs canonical JSON.
    pub(crate) fn new(signed: &str) -> Result<Signed, Failed> {
        let key = PrivateKey::from_seed(Scheme::Ed25519, &[7; 32])?;
        let ring = root(&key.public_key().public())?.unverified(&RoleName::ROOT)?.key_ring(&RoleName::TARGETS)?;
        let signature: String = key.sign(signed.as_bytes())?.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let file = format!(r#"{{"signatures":[{{"keyid":"one","sig":"{signature}"}}],"signed":{signed}}}"#);
        Ok(Signed { file: file.into_bytes(), ring })
    }
}

/// Returns a root with one key for all roles. The root has no signatures, because it is only parsed and not verified.
fn root(public: &str) -> Result<Envelope<Root>, Failed> {
    let role = r#"{"keyids":["one"],"threshold":1}"#;
    let text = format!(
        r#"{{"signatures":[],"signed":{{"_type":"root","consistent_snapshot":true,"expires":"2040-01-01T00:00:00Z","keys":{{"one":{{"keytype":"ed25519","keyval":{{"public":"{public}"}},"scheme":"ed25519"}}}},"roles":{{"root":{role},"snapshot":{role},"targets":{role},"timestamp":{role}}},"spec_version":"1.0.34","version":1}}}}"#
    );
    Ok(Envelope::parse(&RoleName::ROOT, text.into_bytes())?)
}

/// Returns a role with 10,000 targets, in canonical form.
pub(crate) fn targets() -> String {
    let listed = (0..TARGETS).map(|number| {
        // The hashes are arbitrary but different.
        let digits = format!("{:016x}", (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(4);
        format!(r#""{}":{{"hashes":{{"sha256":"{digits}"}},"length":{number}}}"#, target_name(number))
    });
    let listed = listed.collect::<Vec<_>>().join(",");
    format!(
        r#"{{"_type":"targets","expires":"2040-01-01T00:00:00Z","spec_version":"1.0.34","targets":{{{listed}}},"version":1}}"#
    )
}

pub(crate) fn target_name(number: usize) -> String {
    format!("project-{number:06}/1.0.0.tar.gz")
}

/// Returns a snapshot that lists 16,384 bins, in canonical form.
pub(crate) fn snapshot() -> String {
    let bins = (0..BINS).map(|bin| format!(r#""bin-{bin:04x}.json":{{"version":1}},"#)).collect::<String>();
    format!(
        r#"{{"_type":"snapshot","expires":"2040-01-01T00:00:00Z","meta":{{{bins}"targets.json":{{"version":1}}}},"spec_version":"1.0.34","version":1}}"#
    )
}

/// Adds spaces and line breaks, as in indented JSON.
pub(crate) fn indented(text: &str) -> String {
    text.replace("\":", "\": ").replace(",\"", ",\n  \"")
}
