//! Reads attestations from the Python Package Index: attestation objects (version 1), and provenance objects, which
//! contain several attestation objects.
//!
//! Source: PEP 740, and <https://docs.pypi.org/attestations/>.

use crate::bundle::Bundle;
use crate::fields::{Fields, FormatError};
use crate::json::Value;
use crate::statement::PAYLOAD_TYPE;

/// The maximum number of publishers in a provenance object, and the maximum number of attestations per publisher.
const MAX_PARTS: usize = 64;

/// Reads an attestation object, which has the same parts as a Sigstore bundle, under other names.
pub(crate) fn read_attestation(value: &Value) -> Result<Bundle, FormatError> {
    let fields = Fields::read(value, "attestation", &["version", "verification_material", "envelope"])?;
    check_version(fields)?;
    let known = ["certificate", "transparency_entries"];
    let material = Fields::read(fields.required("verification_material")?, "verification_material", &known)?;
    let envelope = Fields::read(fields.required("envelope")?, "envelope", &["statement", "signature"])?;
    let certificate = material.required("certificate")?;
    let entries = material.required("transparency_entries")?;
    let statement = envelope.required("statement")?;
    let signature = envelope.required("signature")?;
    let bundle = format!(
        r#"{{
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {{"certificate": {{"rawBytes": {certificate}}}, "tlogEntries": {entries}}},
            "dsseEnvelope": {{
                "payloadType": "{PAYLOAD_TYPE}", "payload": {statement}, "signatures": [{{"sig": {signature}}}]
            }}
        }}"#
    );
    Bundle::read(&Value::parse(bundle.as_bytes()).map_err(|error| FormatError::new(error.to_string()))?)
}

/// Reads a provenance object. Ignores what the object says about publishers, because this part is not signed.
pub(crate) fn read_provenance(value: &Value) -> Result<Vec<Bundle>, FormatError> {
    let fields = Fields::read(value, "provenance", &["version", "attestation_bundles"])?;
    check_version(fields)?;
    let mut bundles = Vec::new();
    for value in fields.array("attestation_bundles", MAX_PARTS)? {
        let fields = Fields::read(value, "attestation_bundles", &["publisher", "attestations"])?;
        for attestation in fields.array("attestations", MAX_PARTS)? {
            bundles.push(read_attestation(attestation)?);
        }
    }
    Ok(bundles)
}

fn check_version(fields: Fields<'_>) -> Result<(), FormatError> {
    match fields.required("version")? {
        Value::Integer(1) => Ok(()),
        other => Err(fields.error("version", &format!("is {other}, expected 1"))),
    }
}
