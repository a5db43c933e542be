//! Rules for the names of files that this tool writes. They are stricter than the rules for reading, because every
//! server and file system must accept the names.

use std::path::Path;

use lastmile_metadata::{RoleName, TargetPath, Version};

use crate::{EditError, Error, InvalidInput, PathError, RoleNameError};

/// Returns the name of a metadata file on disk. A role name that contains `/`, `\` or NUL is percent-encoded, because
/// not every file system allows these characters in a file name. Other role names are used unchanged. A client may
/// percent-encode them in HTTP requests, but a web server decodes the path of a request before it looks for the file.
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

/// Checks the name of a new delegated role. It must be usable as a file name on every platform.
///
/// # Errors
/// [`Error::Edit`] if the name is reserved or too long, contains `/` or `%`, begins with `.` or with a number followed
/// by `.`, or is not a valid file name on every platform.
pub fn new_role(name: &str) -> Result<RoleName, Error> {
    checked_role(name).map_err(|error| EditError::from(error).into())
}

fn checked_role(name: &str) -> Result<RoleName, RoleNameError> {
    let role = RoleName::delegated(name)?;
    TargetPath::new(name)?.file_path()?;
    if name.contains(['/', '%']) || name.starts_with('.') || name.len() > 200 {
        return Err(RoleNameError::NoFileName { role });
    }
    // Without consistent snapshots, the file of a role `7.root` would be `7.root.json`, which is also the name of
    // version 7 of the root.
    if has_version(&format!("{name}.json")) {
        return Err(RoleNameError::LooksVersioned { role });
    }
    Ok(role)
}

/// Returns whether the name of a metadata file has the form `VERSION.ROLE.json`, as in `7.root.json`.
pub(crate) fn has_version(file: &str) -> bool {
    let role = file.strip_suffix(".json").and_then(|name| name.split_once('.'));
    role.is_some_and(|(version, _)| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Parses the name of an existing role.
///
/// # Errors
/// [`Error::InvalidInput`] if the name is empty.
pub fn role(name: &str) -> Result<RoleName, Error> {
    Ok(RoleName::listed(name).map_err(InvalidInput::from)?)
}

/// Returns the file name of `path`, or [`Error::Path`] if there is none or it is not UTF-8. The names of all
/// files that this tool creates are UTF-8.
pub(crate) fn of_file(path: &Path) -> Result<&str, Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| PathError::ForeignName { path: path.to_path_buf() }.into())
}

/// Parses a target path. Refuses a path that is not safe on every platform and in URLs.
pub fn target_path(name: &str) -> Result<TargetPath, EditError> {
    let path = TargetPath::new(name).map_err(EditError::UnsafeName)?;
    path.file_path().map_err(EditError::UnsafeName)?;
    path.url_path(None).map_err(EditError::UnsafeName)?;
    Ok(path)
}
