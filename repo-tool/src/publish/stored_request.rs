//! The change that a request in the queue describes, and the form in which the request is stored.

use std::io;

use lastmile_metadata::{Envelope, Role as _, RoleName, TargetPath, Targets, Version, assemble};
use serde::{Deserialize, Serialize};

use crate::edit::add::{AddOptions, Custom, DelegatedPaths, PublishedTargets};
use crate::edit::evidence::PackageEvidence;
use crate::edit::intake::{self, Incoming};
use crate::files::folder::Folder;
use crate::{EditError, Error, InvalidInput, names};

/// The maximum length of a request or an answer, in bytes. This is enough for about a million files.
pub(super) const MAX_LENGTH: u64 = 256 << 20;

pub(super) const REQUEST: &str = "request.json";
pub(super) const TAKEN: &str = "taken.json";

/// The change that a request asks the publishing process to make.
#[derive(Clone, Debug)]
pub struct Change {
    /// The role to change. If this is `None`, files are added to the role `targets`, and each target is removed from
    /// the role that lists it.
    pub role: Option<RoleName>,
    /// The files to add, which are in the folder of the request.
    pub added: Vec<Incoming>,
    /// The options for adding the files.
    pub options: AddOptions,
    /// The paths of the targets to remove.
    pub removed: Vec<TargetPath>,
}

/// The content of `request.json`. The added targets are stored as unsigned targets metadata.
#[derive(Serialize, Deserialize)]
struct StoredRequest {
    role: Option<String>,
    added: String,
    removed: Vec<String>,
    /// Whether targets lose their existing custom data when they are added again. New custom data is part of the target
    /// entries in `added`.
    #[serde(default)]
    removes_custom: bool,
    /// Whether added targets may hide targets of delegated roles.
    #[serde(default)]
    hides_delegated: bool,
    /// Whether added targets may replace immutable targets that are already published.
    #[serde(default)]
    replaces_published: bool,
    #[serde(default)]
    evidence: Option<StoredEvidence>,
}

#[derive(Serialize, Deserialize)]
struct StoredEvidence {
    package: String,
    files: Vec<String>,
}

impl StoredEvidence {
    fn of(evidence: &PackageEvidence) -> Self {
        let files = evidence.files.iter().map(|file| file.as_str().to_string()).collect();
        Self { package: evidence.package.as_str().to_string(), files }
    }

    fn read(self) -> Result<PackageEvidence, InvalidInput> {
        let path = |text: &String| TargetPath::new(text.as_str()).map_err(InvalidInput::from);
        let files = self.files.iter().map(path).collect::<Result<_, _>>()?;
        Ok(PackageEvidence { package: path(&self.package)?, files })
    }
}

pub(super) fn write_request(folder: &Folder, change: &Change) -> Result<(), Error> {
    let mut added = Targets::new(Version::ONE, chrono::DateTime::UNIX_EPOCH);
    for incoming in &change.added {
        added.insert(incoming.target.clone());
    }
    let added = String::from_utf8_lossy(&assemble(&added.write(), &[])).into_owned();
    let role = change.role.as_ref().map(|role| role.as_str().to_string());
    let removed = change.removed.iter().map(|path| path.as_str().to_string()).collect();
    let path = folder.path_of(REQUEST);
    let removes_custom = change.options.custom == Custom::Remove;
    let hides_delegated = change.options.delegated == DelegatedPaths::Hide;
    let replaces_published = change.options.published == PublishedTargets::Replace;
    let evidence = change.options.evidence.as_ref().map(StoredEvidence::of);
    let stored = StoredRequest { role, added, removed, removes_custom, hides_delegated, replaces_published, evidence };
    let text = serde_json::to_vec(&stored).map_err(|error| Error::file("write", &path, error.into()))?;
    if text.len() as u64 > MAX_LENGTH {
        return Err(EditError::TooManyFiles.into());
    }
    folder.write_new(REQUEST, &text, 0o600)
}

/// Reads a claimed request from its folder.
pub(super) fn read_request(folder: &Folder) -> Result<Change, Error> {
    let path = folder.path_of(TAKEN);
    let failed = |error: io::Error| Error::file("read", &path, error);
    let bytes = folder.read(TAKEN, MAX_LENGTH)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let stored: StoredRequest = serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
    let added = Envelope::<Targets>::parse(&RoleName::TARGETS, stored.added.into_bytes())?;
    let added = added.unverified(&RoleName::TARGETS)?;
    // The copied files are numbered in the order of their target paths.
    let incoming = |(number, target)| Incoming { target, file: folder.path_of(intake::file_name(number)) };
    let removed = stored.removed.iter().map(|path| Ok(TargetPath::new(path.as_str()).map_err(InvalidInput::from)?));
    let mut options = AddOptions::default();
    if stored.removes_custom {
        options.custom = Custom::Remove;
    }
    if stored.hides_delegated {
        options.delegated = DelegatedPaths::Hide;
    }
    if stored.replaces_published {
        options.published = PublishedTargets::Replace;
    }
    options.evidence = stored.evidence.map(StoredEvidence::read).transpose()?;
    Ok(Change {
        role: stored.role.as_deref().map(names::role).transpose()?,
        added: added.targets().enumerate().map(incoming).collect(),
        options,
        removed: removed.collect::<Result<_, Error>>()?,
    })
}
