//! Policy files that people write, in TOML or JSON.

use std::path::Path;

use lastmile_attest::policy::{to_json, to_toml};
use lastmile_metadata::Json;

use crate::files::links::{Links, read_through};
use crate::{Error, NotFound, PolicyError};

/// The maximum length of a policy file, in bytes. This limit is higher than the limit for the JSON text of a policy,
/// because the same policy may be longer in TOML.
const MAX_LENGTH: u64 = 1 << 20;

/// Reads a policy from a file. Checks only that the policy can be written as canonical JSON.
///
/// # Errors
/// [`PolicyError::Malformed`] if the file is not TOML or JSON, and [`Error::File`] if the file cannot be read.
pub(crate) fn read(file: &Path) -> Result<Json, Error> {
    let malformed = |problem: String| PolicyError::Malformed { file: file.to_path_buf(), problem };
    let bytes = read_through(file, Links::Follow, MAX_LENGTH)?;
    let bytes = bytes.ok_or_else(|| NotFound::File { path: file.to_path_buf() })?;
    let json = to_json(&bytes).map_err(|error| malformed(error.to_string()))?;
    Json::parse(&json).map_err(|error| malformed(error.to_string()).into())
}

/// Returns a policy as TOML, or as JSON if TOML cannot express it.
pub(crate) fn toml(policy: &Json) -> String {
    to_toml(policy.to_text().as_bytes()).unwrap_or_else(|_| format!("{}\n", policy.to_text()))
}
