//! Names that this tool writes: stricter than those it reads, since every server and file system must bear them.

use std::path::Path;

use lastmile_metadata::{RoleName, TargetPath, Version};

use crate::Error;

/// The name of a metadata file on disk. A web server decodes what a client asks for, so that names stand there as they
/// are, but for those which would then be paths.
#[must_use]
pub fn metadata_file(role: &RoleName, version: Option<Version>) -> String {
    let name = role.as_str();
    if name.contains(['/', '\\', '\0']) {
        return role.file_name(version);
    }
    match version {
        Some(version) => format!("{version}.{name}.json"),
        None => format!("{name}.json"),
    }
}

/// The name of a role to be delegated to: a file name on every platform.
///
/// # Errors
/// [`Error::Refused`] for reserved names, `/`, and whatever some platform does not bear.
pub fn new_role(name: &str) -> Result<RoleName, Error> {
    let refused = |reason: String| Error::Refused(format!("the role name {reason}"));
    let role = RoleName::delegated(name).map_err(|error| refused(error.to_string()))?;
    let as_path = TargetPath::new(name).map_err(|error| refused(error.to_string()))?;
    as_path.file_path().map_err(|error| refused(error.to_string()))?;
    if name.contains(['/', '%']) || name.starts_with('.') || name.len() > 200 {
        return Err(refused(format!(
            "`{role}` must have no `/` or `%`, not start with a dot, and be 200 bytes at most"
        )));
    }
    // Without consistent snapshots, `7.root` would lie where root version 7 is to lie.
    if name.split_once('.').is_some_and(|(start, _)| start.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(refused(format!("`{role}` looks like a file name with a version in front")));
    }
    Ok(role)
}

/// The name of a role that is there.
///
/// # Errors
/// [`Error::Usage`] for the empty name.
pub fn role(name: &str) -> Result<RoleName, Error> {
    RoleName::listed(name).map_err(|error| Error::Usage(error.to_string()))
}

/// The name of the file at `path`, in its folder.
///
/// # Errors
/// [`Error::Refused`] for a path that ends in no name, or in one that is not UTF-8: this tool makes neither.
pub(crate) fn of_file(path: &Path) -> Result<&str, Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| Error::Refused(format!("{} does not name a file of this tool", path.display())))
}
