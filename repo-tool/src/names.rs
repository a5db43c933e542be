//! Rules for names that this tool writes. They are stricter than those for reading: every server and file system must accept
//! the names.

use std::path::Path;

use lastmile_metadata::{RoleName, TargetPath, Version};

use crate::{EditError, Error, InvalidInput, PathError, RoleNameError};

/// Returns the name of a metadata file on disk. A web server decodes the path of a request, so names are not
/// percent-encoded on disk, except for those that would otherwise be paths.
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

/// Checks the name of a new delegated role, which must be a valid file name on every platform.
///
/// # Errors
/// [`Error::Edit`] for reserved names, `/`, and names that some platform does not allow.
pub fn new_role(name: &str) -> Result<RoleName, Error> {
    checked_role(name).map_err(|error| EditError::from(error).into())
}

fn checked_role(name: &str) -> Result<RoleName, RoleNameError> {
    let role = RoleName::delegated(name)?;
    TargetPath::new(name)?.file_path()?;
    if name.contains(['/', '%']) || name.starts_with('.') || name.len() > 200 {
        return Err(RoleNameError::NoFileName { role });
    }
    // Without consistent snapshots, the file of the role `7.root` would have the name of root version 7.
    if name.split_once('.').is_some_and(|(start, _)| start.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(RoleNameError::LooksVersioned { role });
    }
    Ok(role)
}

/// Parses the name of an existing role.
///
/// # Errors
/// [`Error::InvalidInput`] for the empty name.
pub fn role(name: &str) -> Result<RoleName, Error> {
    Ok(RoleName::listed(name).map_err(InvalidInput::from)?)
}

/// Returns the file name of `path`.
///
/// # Errors
/// [`Error::Path`] for a path without a file name, or with one that is not UTF-8. This tool makes neither.
pub(crate) fn of_file(path: &Path) -> Result<&str, Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| PathError::ForeignName { path: path.to_path_buf() }.into())
}
