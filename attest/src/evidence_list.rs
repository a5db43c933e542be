//! The list of the evidence of a package: `custom.lastmile.evidence`, an array of target paths.

use lastmile_metadata::{NameError, TargetFile, TargetPath};

use crate::json::Value;

/// The maximum number of evidence files of a package.
pub const MAX_EVIDENCE_FILES: usize = 16;

/// Why a list of evidence cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceListError {
    /// The list is not an array of strings.
    #[error("`custom.lastmile.evidence` of `{0}` is not a list of target paths")]
    Malformed(TargetPath),
    /// The list is too long.
    #[error("`{path}` has {count} evidence files, expected at most {MAX_EVIDENCE_FILES}")]
    TooLong {
        /// The package.
        path: TargetPath,
        /// The length of the list.
        count: usize,
    },
    /// The list contains something that is not a target path.
    #[error("the evidence of `{path}`: {error}")]
    Path {
        /// The package.
        path: TargetPath,
        /// What is wrong.
        error: NameError,
    },
}

/// Returns the target paths of the evidence of a package, in the order of the list. A package without a list has no
/// evidence.
///
/// # Errors
/// [`EvidenceListError`] if the list is malformed.
pub fn evidence_paths(target: &TargetFile) -> Result<Vec<TargetPath>, EvidenceListError> {
    let malformed = || EvidenceListError::Malformed(target.path.clone());
    let Some(custom) = &target.custom else { return Ok(Vec::new()) };
    let custom = Value::parse(custom.canonical().as_bytes()).map_err(|_| malformed())?;
    let Some(list) = custom.pointer("/lastmile/evidence") else { return Ok(Vec::new()) };
    let list = list.as_array().ok_or_else(malformed)?;
    if list.len() > MAX_EVIDENCE_FILES {
        return Err(EvidenceListError::TooLong { path: target.path.clone(), count: list.len() });
    }
    let path = |value: &Value| {
        let text = value.as_str().ok_or_else(malformed)?;
        TargetPath::new(text).map_err(|error| EvidenceListError::Path { path: target.path.clone(), error })
    };
    list.iter().map(path).collect()
}
