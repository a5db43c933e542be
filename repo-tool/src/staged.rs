//! Changes that lack signatures: `staged/` holds the documents with the signatures they have, and the target files.
//!
//! Nothing in here is served, and nothing in here is trusted: what `publish` takes from it is verified like any draft.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use lastmile_client::disk;
use lastmile_metadata::{Envelope, Role, RoleName, Root, TargetFile, Targets};
use walkdir::WalkDir;

use crate::draft::{Completed, Draft, NewFile, Prior};
use crate::edit::Edit;
use crate::layout::{self, Layout};
use crate::published::Published;
use crate::{Error, ingest, names};

/// Whether a change waits.
#[must_use]
pub fn is_staged(layout: &Layout) -> bool {
    fs::read_dir(layout.staged()).is_ok_and(|mut entries| entries.next().is_some())
}

/// Reads the change that waits; an empty draft when there is none.
///
/// # Errors
/// When it was made from another state than the published one, or is no metadata.
pub fn read(layout: &Layout, published: &mut Published) -> Result<Draft, Error> {
    let mut draft = Draft::default();
    for (role, path) in documents(layout)? {
        let bytes = layout::read_if_there(&path)?.unwrap_or_default();
        let (version, prior) = match role.as_str() {
            "root" => {
                let (root, version, prior) = parse::<Root>(&role, bytes)?;
                draft.root = Some(root);
                (version, prior)
            }
            // Made anew when it is published.
            "snapshot" | "timestamp" => continue,
            _ => {
                let (targets, version, prior) = parse::<Targets>(&role, bytes)?;
                draft.targets.insert(role.clone(), targets);
                (version, prior)
            }
        };
        let before = published.version(&role);
        let is_next = match role == RoleName::ROOT {
            true => published.root.version.next() == Some(version),
            false => before.is_none_or(|before| version > before) && !published.is_taken(&role, version),
        };
        if !is_next {
            return Err(Error::Refused(format!(
                "the change that waits has {role} version {version}, which was published meanwhile: `lastmile-repo discard` \
                 drops it, then make it again"
            )));
        }
        draft.prior.insert(role, prior);
    }
    draft.from_staged = is_staged(layout);
    draft.files = files(layout)?;
    complete_delegators(published, draft)
}

/// Of the draft's files those that it lists, each with the content that it lists: they may have lain there for long,
/// and some may have been removed from the change again.
pub(crate) fn listed_files(layout: &Layout, draft: &Draft, hash_prefixed: bool) -> Result<Vec<NewFile>, Error> {
    let waiting: BTreeMap<&Path, &NewFile> = draft.files.iter().map(|file| (file.to.as_path(), file)).collect();
    let mut listed = Vec::new();
    let targets = draft.targets.iter().flat_map(|(role, targets)| targets.targets().map(move |target| (role, target)));
    for (role, target) in targets {
        if !draft.touched.contains(&target.path) && !draft.filled.contains(role) {
            continue;
        }
        for place in ingest::places(&target, hash_prefixed) {
            let Some(file) = waiting.get(place.as_path()) else { continue };
            // What was just taken in was hashed while it was copied.
            if file.from.starts_with(layout.staged()) {
                check_content(&target, &file.from)?;
            }
            listed.push((*file).clone());
        }
    }
    Ok(listed)
}

fn check_content(target: &TargetFile, path: &Path) -> Result<(), Error> {
    let mut verifier = target.verifier();
    ingest::read_parts(path, |part| verifier.update(part).is_ok())?;
    verifier.finish().map_err(|error| {
        Error::Refused(format!(
            "{} is not the file that the waiting change lists as `{}`: {error}; put the right one there, or \
             `lastmile-repo discard` the change",
            path.display(),
            target.path
        ))
    })
}

/// Writes the draft's documents, replacing what waited before.
pub(crate) fn write(layout: &Layout, draft: &Draft, completed: &Completed) -> Result<(), Error> {
    let folder = layout.staged();
    layout::create_private_folder(&folder)?;
    // Files first: a document that waits is never without them.
    let targets = folder.join("targets");
    for file in &draft.files {
        let to = targets.join(&file.to);
        if to == file.from {
            continue;
        }
        layout::create_private_folder(&targets)?;
        layout::create_folders(&targets, file.to.parent().unwrap_or(Path::new("")))?;
        disk::rename(&file.from, &to).map_err(|error| Error::file("stage", &to, error))?;
        layout::open_regular(&to)
            .and_then(|file| disk::sync(&file, &to))
            .map_err(|error| Error::file("sync", &to, error))?;
    }
    let offline = |role: &RoleName| !matches!(role.as_str(), "snapshot" | "timestamp");
    let mut kept = BTreeSet::new();
    for document in completed.all().filter(|document| offline(&document.role)) {
        let path = folder.join(names::metadata_file(&document.role, None));
        layout.replace(&path, &document.file(), 0o644)?;
        kept.insert(path);
    }
    for (_, path) in documents(layout)?.into_iter().filter(|(_, path)| !kept.contains(path)) {
        disk::remove(&path).map_err(|error| Error::file("remove", &path, error))?;
    }
    layout::sync_folder(&folder)
}

/// Replaces one document that waits by itself with one more signature.
pub(crate) fn write_document(layout: &Layout, role: &RoleName, file: &[u8]) -> Result<(), Error> {
    layout.replace(&layout.staged().join(names::metadata_file(role, None)), file, 0o644)
}

/// Drops the change that waits.
pub(crate) fn clear(layout: &Layout) -> Result<(), Error> {
    let folder = layout.staged();
    match disk::remove_all(&folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::file("remove", &folder, error)),
    }
}

/// The documents that wait, by role.
pub(crate) fn documents(layout: &Layout) -> Result<Vec<(RoleName, PathBuf)>, Error> {
    let folder = layout.staged();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("list", &folder, error)),
    };
    let named = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        let role = RoleName::listed(name.strip_suffix(".json")?).ok()?;
        Some((role, entry.path()))
    });
    let mut documents: Vec<_> = named.collect();
    documents.sort();
    Ok(documents)
}

fn parse<R: Role + Clone>(role: &RoleName, bytes: Vec<u8>) -> Result<(R, lastmile_metadata::Version, Prior), Error> {
    let envelope = Envelope::<R>::parse(role, bytes)?;
    let signed = String::from_utf8_lossy(envelope.signed()).into_owned();
    let prior = Prior { signed, signatures: envelope.signatures().to_vec() };
    Ok((envelope.unverified().clone(), envelope.unverified().version(), prior))
}

fn files(layout: &Layout) -> Result<Vec<NewFile>, Error> {
    let folder = layout.staged().join("targets");
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in WalkDir::new(&folder).sort_by_file_name() {
        let entry = entry.map_err(|error| Error::file("read", &folder, error.into()))?;
        if let (true, Ok(to)) = (entry.file_type().is_file(), entry.path().strip_prefix(&folder)) {
            files.push(NewFile { from: entry.path().to_path_buf(), to: to.to_path_buf() });
        }
    }
    Ok(files)
}

/// Who delegates to what waits, and which targets change.
fn complete_delegators(published: &mut Published, draft: Draft) -> Result<Draft, Error> {
    let roles: Vec<RoleName> = draft.targets.keys().filter(|role| !role.is_top_level()).cloned().collect();
    let mut edit = Edit::new(published, draft);
    for role in &roles {
        let delegator = edit.delegator(role)?;
        edit.draft().delegators.entry(role.clone()).or_default().insert(delegator);
    }
    let all: Vec<RoleName> = edit.draft().targets.keys().cloned().collect();
    for role in all {
        let after = edit.view(&role)?.clone();
        // A role that is new has nothing published.
        let before = edit.published().role(&role).ok().map(|before| (**before).clone());
        let changed = after
            .targets()
            .filter(|target| before.as_ref().and_then(|before| before.target(&target.path)).as_ref() != Some(target));
        let changed: Vec<_> = changed.map(|target| target.path).collect();
        edit.draft().touched.extend(changed);
    }
    // Snapshot and timestamp are not staged: a root that waits may leave those that are published without trust.
    edit.settle_top_level()?;
    Ok(edit.into_draft())
}
