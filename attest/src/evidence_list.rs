//! The list of a package's evidence files: an array of target paths at `custom.lastmile.evidence` in the package's
//! entry.

use lastmile_metadata::{NameError, TargetFile, TargetPath};
use serde_json::Value;

/// The maximum number of evidence files of a package.
pub const MAX_EVIDENCE_FILES: usize = 16;

/// The reason why a list of evidence files cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceListError {
    /// The list is not an array of strings.
    #[error("`custom.lastmile.evidence` of `{0}` is not a list of target paths")]
    Malformed(TargetPath),
    /// The list is too long.
    #[error("`{path}` has {count} evidence files, expected at most {MAX_EVIDENCE_FILES}")]
    TooLong {
        /// The path of the package.
        path: TargetPath,
        /// The length of the list.
        count: usize,
    },
    /// The list contains something that is not a target path.
    #[error("`custom.lastmile.evidence` of `{path}`: {error}")]
    Path {
        /// The path of the package.
        path: TargetPath,
        /// A description of the problem.
        error: NameError,
    },
}

/// Returns the target paths of a package's evidence files, in the order of the list. The result is empty if the package
/// has no such list.
///
/// # Errors
/// [`EvidenceListError`] if the list is malformed.
pub fn evidence_paths(target: &TargetFile) -> Result<Vec<TargetPath>, EvidenceListError> {
    let malformed = || EvidenceListError::Malformed(target.path.clone());
    let Some(custom) = &target.custom else { return Ok(Vec::new()) };
    let custom: Value = serde_json::from_str(&custom.to_text()).map_err(|_| malformed())?;
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

#[cfg(test)]
mod tests {
    use lastmile_metadata::{Algorithm, Hashes, Json};

    use super::*;

    #[test]
    fn the_list_is_read_beside_other_custom_data() {
        let hashes = Hashes::of(b"1", &[Algorithm::Sha256]).unwrap();
        let mut target = TargetFile::new(TargetPath::new("app").unwrap(), 1, hashes);
        assert_eq!(evidence_paths(&target), Ok(Vec::new()));
        let custom = r#"{"notes":"one\ntwo","build":18446744073709551615,"lastmile":{"evidence":["app.sig"]}}"#;
        target.custom = Some(Json::parse(custom).unwrap());
        assert_eq!(evidence_paths(&target), Ok(vec![TargetPath::new("app.sig").unwrap()]));
        let listed = |count: usize| {
            let paths: Vec<String> = (0..count).map(|number| format!("\"app.{number}\"")).collect();
            Json::parse(&format!("{{\"lastmile\":{{\"evidence\":[{}]}}}}", paths.join(","))).unwrap()
        };
        for custom in [
            "{\"lastmile\":{\"evidence\":1}}",
            "{\"lastmile\":{\"evidence\":[1]}}",
            "{\"lastmile\":{\"evidence\":[\"\"]}}",
        ] {
            target.custom = Some(Json::parse(custom).unwrap());
            assert!(evidence_paths(&target).is_err(), "{custom}");
        }
        target.custom = Some(listed(16));
        assert_eq!(evidence_paths(&target).unwrap().len(), 16);
        target.custom = Some(listed(17));
        assert!(matches!(evidence_paths(&target), Err(EvidenceListError::TooLong { count: 17, .. })));
    }
}
