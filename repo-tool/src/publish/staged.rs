//! The pending change, which still lacks signatures. The folder `staged/` contains its partly signed documents and its
//! target files.
//!
//! The folder is neither served to clients nor trusted. `publish` verifies its files like the files of any other draft.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use lastmile_fs::disk;
use lastmile_metadata::{Envelope, Role, RoleName, Root, TargetFile, TargetNames, Targets, Version};

use crate::document::{Document, Prior};
use crate::draft::{Draft, NewTargetFile};
use crate::edit::Edit;
use crate::edit::intake;
use crate::files::digest::FileDigest;
use crate::files::folder::Folder;
use crate::files::layout::{self, Layout, STAGED};
use crate::published::Published;
use crate::role_content::RoleContent;
use crate::{Error, NotFound, PendingError, names};

const TARGETS: &str = "targets";
/// The maximum depth of folders with target files. This also limits the number of open folders, because one folder is
/// open for each level while the folders are read.
const DEEPEST: usize = 200;
/// The maximum length of a document, in bytes.
const MAX_LENGTH: u64 = 1 << 32;

#[must_use]
pub(crate) fn is_staged(layout: &Layout) -> bool {
    match layout.open_staged() {
        Ok(Some(folder)) => folder.names().map_or(true, |names| !names.is_empty()),
        Ok(None) => false,
        // If the folder cannot be opened, assume that there is a pending change. The function that reads the change
        // will report why the folder cannot be opened.
        Err(_) => true,
    }
}

/// Reads the pending change. Returns an empty draft if there is no pending change.
///
/// # Errors
/// Returns an error if the pending change is outdated, or if a file is not metadata.
pub(crate) fn read(layout: &Layout, published: &mut Published) -> Result<Draft, Error> {
    let Some(folder) = layout.open_staged()? else { return Ok(Draft::default()) };
    let draft = read_from(&folder, published)?;
    Ok(Draft { from_staged: is_staged(layout), ..draft })
}

/// Reads the change in `folder`, which is `staged/` or a copy of `staged/` from another machine.
pub(crate) fn read_from(folder: &Folder, published: &mut Published) -> Result<Draft, Error> {
    let mut draft = Draft::default();
    for (role, path) in documents_in(folder)? {
        let bytes = folder.read(names::of_file(&path)?, MAX_LENGTH)?;
        let bytes = bytes.ok_or_else(|| Error::file("read", &path, io::ErrorKind::NotFound.into()))?;
        let (version, prior) = match role.as_str() {
            "root" => {
                let (root, version, prior) = parse::<Root>(&role, bytes)?;
                draft.root = Some(root);
                (version, prior)
            }
            // A pending change has no snapshot and timestamp, because they are created at publication.
            "snapshot" | "timestamp" => continue,
            _ => {
                let (targets, version, prior) = parse::<Targets>(&role, bytes)?;
                draft.targets.insert(role.clone(), RoleContent::Held(targets));
                (version, prior)
            }
        };
        let before = published.version(&role);
        let is_next = if role == RoleName::ROOT {
            published.root.version.next() == Some(version)
        } else {
            before.is_none_or(|before| version > before) && !published.is_taken(&role, version)
        };
        if !is_next {
            return Err(PendingError::Outdated { role, version }.into());
        }
        draft.prior.insert(role, prior);
    }
    draft.files = files_in(folder)?;
    complete_delegators(published, draft)
}

/// Returns the pending target files for which the draft still contains a target entry, after comparing the content of
/// each file with its entry. Other users may have changed the files, or removed targets from the pending change.
pub(crate) fn listed_files(layout: &Layout, draft: &Draft, names: TargetNames) -> Result<Vec<NewTargetFile>, Error> {
    let mut listed = Vec::new();
    let folder = layout.open_staged()?;
    for (target, mut file) in listed_places(draft, names)? {
        // A file outside `staged/` is new and was hashed while it was copied.
        if let Some(folder) = folder.as_ref().filter(|_| file.from.starts_with(layout.staged())) {
            file.content = Some(check_content(folder, &target, &file.to, |_| Ok(()))?);
        }
        listed.push(file);
    }
    Ok(listed)
}

/// Returns each new target file for which the draft still contains a target entry, together with that entry.
pub(crate) fn listed_places(draft: &Draft, names: TargetNames) -> Result<Vec<(TargetFile, NewTargetFile)>, Error> {
    let waiting: BTreeMap<&Path, &NewTargetFile> = draft.files.iter().map(|file| (file.to.as_path(), file)).collect();
    let mut listed = Vec::new();
    for (role, content) in &draft.targets {
        for target in content.read()?.targets() {
            if !draft.touched.contains(&target.path) && !draft.bulk_filled.contains(role) {
                continue;
            }
            for place in intake::published_paths(&target, names) {
                let Some(file) = waiting.get(place.as_path()) else { continue };
                listed.push((target.clone(), (*file).clone()));
            }
        }
    }
    Ok(listed)
}

/// Checks that a pending target file in `folder` matches its target entry, and passes the bytes of the file to `each`.
/// During publication, the file is checked again in a folder where no other user can change it.
pub(crate) fn check_content(
    folder: &Folder,
    target: &TargetFile,
    place: &Path,
    mut each: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<FileDigest, Error> {
    let relative = Path::new(TARGETS).join(place.parent().unwrap_or(Path::new("")));
    let missing = || NotFound::StagedTarget { path: place.to_path_buf() };
    let folder = folder.find(&relative)?.ok_or_else(missing)?;
    let name = names::of_file(place)?;
    let mut verifier = target.verifier();
    let mut verified = Ok(());
    let mut passed = Ok(());
    let digest = folder.digest(name, |part| {
        if verified.is_ok() && passed.is_ok() {
            verified = verifier.update(part);
            passed = each(part);
        }
    })?;
    passed?;
    verified.and_then(|()| verifier.finish()).map_err(|error| PendingError::WrongFile {
        path: folder.path_of(name),
        target: target.path.clone(),
        error,
    })?;
    Ok(digest.ok_or_else(missing)?)
}

/// Writes the documents and the draft's target files to `staged/`, and removes earlier pending documents that are not
/// written again.
pub(crate) fn write<'d>(
    layout: &Layout,
    draft: &Draft,
    documents_to_stage: impl Iterator<Item = &'d Document>,
) -> Result<(), Error> {
    let folder = layout.make_staged()?;
    // Write target files first, so that there is no pending document whose target files are missing.
    let targets = layout.staged().join(TARGETS);
    let working = layout.make_publishing()?;
    for file in &draft.files {
        let to = targets.join(&file.to);
        if to == file.from {
            continue;
        }
        let all = folder.enter_or_make(TARGETS, 0o700, layout.sharing())?;
        let destination = all.descend(file.to.parent().unwrap_or(Path::new("")), 0o700, layout.sharing())?;
        let from = names::of_file(&file.from)?;
        let name = names::of_file(&file.to)?;
        disk::rename(working.place(from), destination.place(name)).map_err(|error| Error::file("stage", &to, error))?;
        destination
            .open_file(name)
            .and_then(|file| disk::sync(&file, &to))
            .map_err(|error| Error::file("sync", &to, error))?;
    }
    let offline = |role: &RoleName| !matches!(role.as_str(), "snapshot" | "timestamp");
    let mut kept = BTreeSet::new();
    for document in documents_to_stage.filter(|document| offline(&document.role)) {
        let path = layout.staged().join(names::metadata_file(&document.role, None));
        layout.replace(&path, &document.file()?, 0o644)?;
        kept.insert(path);
    }
    for (_, path) in documents(layout)?.into_iter().filter(|(_, path)| !kept.contains(path)) {
        let removed = disk::remove(folder.place(names::of_file(&path)?));
        removed.map_err(|error| Error::file("remove", &path, error))?;
    }
    folder.sync()
}

/// Replaces the file of a pending document with `file`, which contains additional signatures. Changes no other files in
/// the repository, except that temporary files of an earlier signing process are removed.
pub(crate) fn write_document(layout: &Layout, role: &RoleName, file: &[u8]) -> Result<(), Error> {
    let folder = layout.make_staged()?;
    // Remove temporary files of a signing process that died.
    for name in folder.names()? {
        if name.to_str().is_some_and(|name| name.starts_with(layout::REPLACES)) {
            disk::remove(folder.place(&name)).map_err(|error| Error::file("remove", &folder.path_of(&name), error))?;
        }
    }
    layout.replace_from(&folder, &layout.staged().join(names::metadata_file(role, None)), file, 0o644)
}

pub(crate) fn clear(layout: &Layout) -> Result<(), Error> {
    if layout.open_staged()?.is_none() {
        return Ok(());
    }
    let dir = layout.open()?;
    match disk::remove_all(dir.place(STAGED)) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::file("remove", &layout.staged(), error)),
    }
}

/// Removes the pending change if all its documents are published, for example because another machine has published
/// them.
pub(crate) fn clear_if_published(layout: &Layout, published: &Published) -> Result<(), Error> {
    let (Some(staged), Some(metadata)) = (layout.open_staged()?, layout.open()?.enter("metadata")?) else {
        return Ok(());
    };
    let documents = documents_in(&staged)?;
    for (role, path) in &documents {
        let Some(bytes) = staged.read(names::of_file(path)?, MAX_LENGTH)? else { return Ok(()) };
        let Ok((version, pending)) = signed_text(role, bytes) else { return Ok(()) };
        let name = names::metadata_file(role, published.root.version_in_name(role, version));
        let Some(bytes) = metadata.read(&name, MAX_LENGTH)? else { return Ok(()) };
        if !signed_text(role, bytes).is_ok_and(|(_, text)| text == pending) {
            return Ok(());
        }
    }
    if documents.is_empty() { Ok(()) } else { clear(layout) }
}

fn signed_text(role: &RoleName, bytes: Vec<u8>) -> Result<(Version, String), Error> {
    if *role == RoleName::ROOT {
        parse::<Root>(role, bytes).map(|(_, version, prior)| (version, prior.signed))
    } else {
        parse::<Targets>(role, bytes).map(|(_, version, prior)| (version, prior.signed))
    }
}

pub(crate) fn documents(layout: &Layout) -> Result<Vec<(RoleName, PathBuf)>, Error> {
    layout.open_staged()?.map_or(Ok(Vec::new()), |folder| documents_in(&folder))
}

fn documents_in(folder: &Folder) -> Result<Vec<(RoleName, PathBuf)>, Error> {
    let named = folder.names()?.into_iter().filter_map(|name| {
        let role = RoleName::listed(name.to_str()?.strip_suffix(".json")?).ok()?;
        Some((role, folder.path_of(name)))
    });
    let mut documents: Vec<_> = named.collect();
    documents.sort();
    Ok(documents)
}

fn parse<R: Role>(role: &RoleName, bytes: Vec<u8>) -> Result<(R, Version, Prior), Error> {
    let envelope = Envelope::<R>::parse(role, bytes)?;
    let prior = Prior { signed: envelope.signed().to_string(), signatures: envelope.signatures().to_vec() };
    let content = envelope.unverified(role)?;
    let version = content.version;
    Ok((content, version, prior))
}

/// Returns the number of pending target files.
pub(crate) fn file_count(layout: &Layout) -> Result<usize, Error> {
    layout.open_staged()?.map_or(Ok(0), |folder| files_in(&folder).map(|files| files.len()))
}

fn files_in(folder: &Folder) -> Result<Vec<NewTargetFile>, Error> {
    let mut files = Vec::new();
    if let Some(folder) = folder.enter(TARGETS)? {
        find_files(&folder, Path::new(""), &mut files)?;
    }
    Ok(files)
}

/// Finds the regular files below `folder`. `relative` is the path of the folder in `staged/targets/`.
fn find_files(folder: &Folder, relative: &Path, files: &mut Vec<NewTargetFile>) -> Result<(), Error> {
    for name in folder.names()? {
        let Some(found) = folder.look(&name)? else { continue };
        let to = relative.join(&name);
        if found.is_file() {
            files.push(NewTargetFile { from: folder.path_of(&name), to, content: None });
        } else if found.is_folder() && to.components().count() < DEEPEST {
            folder.enter(&name)?.map_or(Ok(()), |below| find_files(&below, &to, files))?;
        }
    }
    Ok(())
}

/// Adds to a draft what its files in `staged/` do not say: which role delegates to each of its roles, and which targets
/// are new, changed or removed.
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
        // A role that is not published is new, so all its targets count as changed.
        let before = match edit.published().role(&role) {
            Ok(before) => Some((**before).clone()),
            Err(Error::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        let changed = after
            .targets()
            .filter(|target| before.as_ref().and_then(|before| before.target(&target.path)).as_ref() != Some(target));
        let changed: Vec<_> = changed.map(|target| target.path).collect();
        let removed = before.iter().flat_map(|before| before.paths()).filter(|path| after.target(path).is_none());
        let removed: Vec<_> = removed.collect();
        edit.draft().touched.extend(changed.into_iter().chain(removed));
    }
    edit.record_delegators();
    // A pending root may invalidate the published snapshot and timestamp. Mark them to be signed again, because
    // `staged/` does not contain new ones.
    edit.settle_top_level()?;
    Ok(edit.into_draft())
}
