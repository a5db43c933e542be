//! Reads the attestations that an npm registry returns for a version of a package. Each attestation is a Sigstore
//! bundle.
//!
//! Source: <https://github.com/npm/attestation>.

use crate::bundle::{Bundle, BundleContent};
use crate::fields::{Fields, FormatError};
use crate::json::Value;

/// The maximum number of attestations.
const MAX_ATTESTATIONS: usize = 64;

/// Reads the bundles. The statement in each bundle must have the predicate type that the list gives for the bundle.
pub(crate) fn read_attestations(value: &Value) -> Result<Vec<Bundle>, FormatError> {
    let fields = Fields::read(value, "npm", &["attestations"])?;
    fields.array("attestations", MAX_ATTESTATIONS)?.iter().map(read_attestation).collect()
}

fn read_attestation(value: &Value) -> Result<Bundle, FormatError> {
    let fields = Fields::read(value, "attestations", &["predicateType", "bundle"])?;
    let bundle = Bundle::read(fields.required("bundle")?)?;
    let listed = fields.string("predicateType")?;
    let found = match bundle.content() {
        BundleContent::File(_) => return Err(fields.error("bundle", "contains no statement")),
        BundleContent::Statement(envelope) => envelope.statement().predicate_type(),
    };
    if found != listed {
        return Err(fields.error("predicateType", &format!("is {listed:?}, but the statement has {found:?}")));
    }
    Ok(bundle)
}
