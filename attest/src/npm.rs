//! Reads the attestations that an npm registry returns for a version of a package. Each attestation is a Sigstore
//! bundle.
//!
//! Source: <https://github.com/npm/attestation>.

use crate::bundle::{Bundle, BundleContent};
use crate::fields::{Fields, FormatError};
use crate::json::Value;

const MAX_ATTESTATIONS: usize = 64;

/// Reads the bundles. The registry lists each bundle with a predicate type. The statement in the bundle must have the
/// same predicate type.
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
