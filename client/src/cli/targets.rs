//! Parses target paths from the command line, and formats targets for JSON output.

use lastmile_metadata::{TargetFile, TargetPath};
use serde_json::{Value, json};

use super::Failure;

pub(super) fn target_path(path: String) -> Result<TargetPath, Failure> {
    TargetPath::new(path).map_err(|error| Failure::usage(error.to_string()))
}

pub(super) fn described(target: &TargetFile) -> Value {
    let hashes = target.hashes.known().map(|(algorithm, digest)| {
        let digest = Value::from(hex::encode(digest));
        (algorithm.name().to_owned(), digest)
    });
    let hashes: serde_json::Map<_, _> = hashes.collect();
    let custom = target.custom.as_ref().and_then(|custom| serde_json::from_str::<Value>(&custom.to_text()).ok());
    json!({ "target": target.path.as_str(), "length": target.length, "hashes": hashes, "custom": custom })
}
