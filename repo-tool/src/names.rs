//! Names that this tool writes: stricter than those it reads, since every server and file system must bear them.

use std::path::Path;

use lastmile_metadata::{RoleName, TargetPath, Version};

use crate::{EditError, Error, InvalidInput, PathError, RoleNameError};

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
/// [`Error::Edit`] for reserved names, `/`, and whatever some platform does not bear.
pub fn new_role(name: &str) -> Result<RoleName, Error> {
    checked_role(name).map_err(|error| EditError::from(error).into())
}

fn checked_role(name: &str) -> Result<RoleName, RoleNameError> {
    let role = RoleName::delegated(name)?;
    TargetPath::new(name)?.file_path()?;
    if name.contains(['/', '%']) || name.starts_with('.') || name.len() > 200 {
        return Err(RoleNameError::NoFileName { role });
    }
    // Without consistent snapshots, `7.root` would lie where root version 7 is to lie.
    if name.split_once('.').is_some_and(|(start, _)| start.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(RoleNameError::LooksVersioned { role });
    }
    Ok(role)
}

/// The name of a role that is there.
///
/// # Errors
/// [`Error::InvalidInput`] for the empty name.
pub fn role(name: &str) -> Result<RoleName, Error> {
    Ok(RoleName::listed(name).map_err(InvalidInput::from)?)
}

/// The name of the file at `path`, in its folder.
///
/// # Errors
/// [`Error::Path`] for a path that ends in no name, or in one that is not UTF-8: this tool makes neither.
pub(crate) fn of_file(path: &Path) -> Result<&str, Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| PathError::ForeignName { path: path.to_path_buf() }.into())
}
