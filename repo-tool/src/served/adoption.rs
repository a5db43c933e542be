//! Adopts files from the server: verifies the files, and publishes them in this folder in one atomic step. Adopted
//! files replace local files with the same names.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use lastmile_client::{Error as ClientError, MemoryStore, StoredFile, Target};
use lastmile_fs::disk;
use lastmile_metadata::{Limits, RoleName, TargetFile, TargetNames, TargetPath};

use crate::check::Checked;
use crate::check::overlay::Overlay;
use crate::check::simulated_client::{self, from_client};
use crate::config::Config;
use crate::draft::NewTargetFile;
use crate::edit::intake;
use crate::error::chain;
use crate::files::digest::FileDigest;
use crate::files::folder::Folder;
use crate::files::layout::{Layout, Lock};
use crate::files::roots;
use crate::publish::journal::{Existing, FileKind};
use crate::publish::observer::{Observer, Unobserved};
use crate::publish::superseded;
use crate::publish::transaction::{Content, Transaction};
use crate::published::Published;
use crate::served::Served;
use crate::served::caught_up::CaughtUp;
use crate::served::download::download_each;
use crate::{Error, PublicationError, ServedError, names};

/// Adopts the server's newer roots, and no other files. If `lock` is `None`, checks the newer roots without adopting
/// them. Returns `false` if there are newer roots and they were not adopted.
pub(crate) fn adopt_roots(
    layout: &Layout,
    lock: Option<&Lock>,
    ours: &Published,
    served: &Served,
) -> Result<bool, Error> {
    let roots = newer_roots(ours, served)?;
    if roots.is_empty() {
        return Ok(true);
    }
    let mut observer = Unobserved;
    let files = roots.iter().map(|(name, bytes)| (name.clone(), Bytes::from(bytes.clone()))).collect();
    let checked = check_files(layout, files)?;
    let Some(lock) = lock else { return Ok(false) };
    let mut publication = Transaction::begin(layout, lock, &mut observer)?;
    for (name, bytes) in roots {
        let to = Path::new("metadata").join(name);
        publication.add(FileKind::Root, to, Content::Bytes(bytes), Existing::Same);
    }
    publication.prepare()?.commit(&checked)?;
    Ok(true)
}

fn newer_roots(ours: &Published, served: &Served) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut roots = Vec::new();
    let mut next = ours.root.version.next();
    while let Some(version) = next.filter(|version| *version <= served.trusted().root().version) {
        let bytes = served.file(&StoredFile::Root(version))?;
        roots.extend(bytes.map(|bytes| (RoleName::ROOT.file_name(Some(version)), bytes)));
        next = version.next();
    }
    Ok(roots)
}

/// Checks that a client accepts the folder after these files are added.
fn check_files(layout: &Layout, files: BTreeMap<String, Bytes>) -> Result<Checked, Error> {
    let limits = simulated_client::reading_limits();
    let memory = MemoryStore::default();
    let overlay = Overlay::new(layout, files);
    let oldest = roots::oldest_root(layout)?;
    let client = simulated_client::client(oldest.clone(), overlay.clone(), memory.clone(), limits, None)?;
    let session = client.refresh_at(DateTime::<Utc>::UNIX_EPOCH).map_err(from_client)?;
    // The server already publishes these files, so do not check their packages against the policies again.
    let refused = Vec::new();
    Ok(Checked { published: Published::new(overlay, session.trusted(), oldest, memory)?, refused })
}

pub(crate) struct Adoption<'a> {
    pub(crate) layout: &'a Layout,
    /// The lock, or `None` to check the files without changing anything.
    pub(crate) lock: Option<&'a Lock>,
    pub(crate) ours: &'a Published,
    pub(crate) served: &'a mut Served,
}

impl Adoption<'_> {
    /// Adopts the server's newer roots, the metadata files of the roles in `foreign`, and the server's snapshot and
    /// timestamp. The client of `served` has verified all these files. If `foreign` is not empty, also adopts target
    /// files. `foreign` must contain all roles whose files on the server were not published from this folder.
    pub(crate) fn run(&mut self, foreign: &[RoleName], caught_up: &mut CaughtUp) -> Result<(), Error> {
        let target_names = self.served.trusted().root().target_names(Config::read(self.layout)?.target_names());
        let replaced = if target_names == TargetNames::HashPrefixed { Existing::Same } else { Existing::Replaced };
        let mut files: Vec<(FileKind, String, Vec<u8>)> = Vec::new();
        for (name, bytes) in newer_roots(self.ours, self.served)? {
            files.push((FileKind::Root, name, bytes));
        }
        let theirs = self.served.trusted();
        let listed = |role: &RoleName| theirs.snapshot().meta(role).map(|listed| listed.version);
        let roles = foreign.iter().map(|role| (role.clone(), listed(role)));
        let roles = roles.chain([(RoleName::SNAPSHOT, Some(theirs.snapshot().version)), (RoleName::TIMESTAMP, None)]);
        for (role, version) in roles {
            let Some(bytes) = self.served.file(&StoredFile::Role(role.clone()))? else {
                return Err(ServedError::NotDelegated { role }.into());
            };
            let rank = match role.as_str() {
                "targets" => FileKind::Targets,
                "snapshot" => FileKind::Snapshot,
                "timestamp" => FileKind::Timestamp,
                _ => FileKind::Delegated,
            };
            let version_in_name = version.and_then(|version| theirs.root().version_in_name(&role, version));
            files.push((rank, names::metadata_file(&role, version_in_name), bytes));
        }
        let overlay = files.iter().map(|(_, name, bytes)| (name.clone(), Bytes::from(bytes.clone())));
        let checked = check_files(self.layout, overlay.collect())?;
        let targets = if foreign.is_empty() { Vec::new() } else { self.fetch_targets(target_names, caught_up)? };
        let Some(lock) = self.lock else { return Ok(()) };
        self.set_aside(&files, if replaced == Existing::Same { &[] } else { &targets })?;
        let mut observer = Unobserved;
        let mut publication = Transaction::begin(self.layout, lock, &mut observer as &mut dyn Observer)?;
        for file in &targets {
            publication.add_target(file, replaced)?;
        }
        files.sort_by_key(|(rank, ..)| *rank);
        for (rank, name, bytes) in files {
            let existing = match rank {
                FileKind::Root => Existing::Same,
                FileKind::Timestamp => Existing::Replaced,
                _ => Existing::SetAside,
            };
            publication.add(rank, Path::new("metadata").join(name), Content::Bytes(bytes), existing);
        }
        publication.prepare()?.commit(&checked)
    }

    /// Fetches the target files that this folder lacks. An existing file is not fetched again if its name contains a
    /// hash, or if it has a plain name and matches its target entry. A target is skipped if its entry in this folder's
    /// metadata equals the server's entry, and the folder has none of its files.
    ///
    /// Also records the targets of this folder that the server does not list, or lists with different content.
    fn fetch_targets(
        &mut self,
        target_names: TargetNames,
        caught_up: &mut CaughtUp,
    ) -> Result<Vec<NewTargetFile>, Error> {
        let listed = self.served.session.list().map_err(from_client)?;
        let overlay = Overlay::published(self.layout);
        let client = simulated_client::client(
            roots::oldest_root(self.layout)?,
            overlay,
            MemoryStore::default(),
            Limits::default(),
            None,
        )?;
        let before = client.refresh_at(DateTime::<Utc>::UNIX_EPOCH).and_then(|mut session| session.list());
        let before = before.map_err(from_client)?;
        let still: BTreeMap<&str, &TargetFile> = listed.iter().map(|target| (target.path.as_str(), target)).collect();
        let gone = before.iter().filter(|target| still.get(target.path.as_str()).is_none_or(|now| *now != *target));
        caught_up.dropped = gone.map(|target| target.path.to_string()).collect();
        let before: BTreeMap<&str, &TargetFile> = before.iter().map(|target| (target.path.as_str(), target)).collect();
        let here = self.layout.open()?.enter("targets")?;
        let is_here = |target: &TargetFile, place: &Path| match (&here, target_names) {
            (None, _) => Ok(false),
            (Some(here), TargetNames::HashPrefixed) => Ok(here.look(place)?.is_some()),
            (Some(here), TargetNames::Plain) => is_target(here, place, target),
        };
        let mut wanted = Vec::new();
        for target in &listed {
            let places = intake::published_paths(target, target_names);
            let places_here =
                places.iter().map(|place| is_here(target, place)).collect::<Result<Vec<bool>, Error>>()?;
            // If the folder and the server have the same entry for a target, but the folder has no file of the target,
            // the folder was pulled without targets, or the target files are on another server.
            let is_elsewhere = before.get(target.path.as_str()) == Some(&target) && !places_here.contains(&true);
            if !is_elsewhere && places_here.contains(&false) {
                wanted.push(target);
            }
        }
        let (fetched, missing) = self.download(&wanted, target_names)?;
        caught_up.missing = missing;
        Ok(fetched)
    }

    /// Also returns a line for each target that could not be downloaded. If there is no lock, checks that the server
    /// has the files, but does not store them.
    fn download(
        &mut self,
        targets: &[&TargetFile],
        target_names: TargetNames,
    ) -> Result<(Vec<NewTargetFile>, Vec<String>), Error> {
        let folder = self.lock.map(|_| self.layout.make_publishing()).transpose()?;
        let missing = Mutex::new(Vec::new());
        let note_missing = |path: &TargetPath, error| match error {
            // Stop after a local failure, such as a full disk, for which the server is not responsible.
            ClientError::Local(failed) => Err(Error::file(failed.operation, &failed.path, failed.error)),
            error => {
                let line = format!("{path}: {}", chain(&error));
                missing.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                Ok(())
            }
        };
        let looked_up = |target: &TargetFile, found: Result<Target, ClientError>| match found {
            Ok(found) => Ok(Some(found)),
            Err(error) => note_missing(&target.path, error).map(|()| None),
        };
        let next = AtomicUsize::new(0);
        let fetched = download_each(&mut self.served.session, targets, looked_up, |session, target| {
            let downloaded = match &folder {
                Some(folder) => {
                    let name = intake::file_name(next.fetch_add(1, Ordering::Relaxed));
                    session.download(target, folder.path_of(name)).map(Some)
                }
                None => session.read(target).map(|_| None),
            };
            match (downloaded, &folder) {
                (Ok(Some(file)), Some(folder)) => {
                    let incoming = intake::Incoming { target: target.file().clone(), file };
                    let content = FileDigest::listed(target.file());
                    let copies = intake::link_copies(&incoming, folder, target_names)?.into_iter();
                    return Ok(copies.map(|(from, to)| NewTargetFile { from, to, content: content.clone() }).collect());
                }
                (Ok(_), _) => {}
                // A dry run does not read files that are too large for memory.
                (Err(ClientError::TooLarge { .. }), None) => {}
                (Err(error), _) => note_missing(&target.file().path, error)?,
            }
            Ok(Vec::new())
        })?;
        let mut missing = missing.into_inner().unwrap_or_else(PoisonError::into_inner);
        missing.sort();
        Ok((fetched.into_iter().flatten().collect(), missing))
    }

    /// Copies to `superseded/` the local files that will be replaced, except the timestamp. The originals are not moved
    /// before the journal is written, so no file is lost if the command is interrupted.
    fn set_aside(&self, files: &[(FileKind, String, Vec<u8>)], targets: &[NewTargetFile]) -> Result<(), Error> {
        let dir = self.layout.open()?;
        if let Some(metadata) = dir.enter("metadata")? {
            for (_, name, bytes) in
                files.iter().filter(|(rank, ..)| !matches!(rank, FileKind::Root | FileKind::Timestamp))
            {
                if metadata.read(name, u64::MAX)?.is_some_and(|there| there != *bytes) {
                    keep(self.layout, &metadata, name, Path::new(""))?;
                }
            }
        }
        for file in targets {
            let to = Path::new("targets").join(&file.to);
            let (Some(parent), Some(name)) = (to.parent(), to.file_name().and_then(|name| name.to_str())) else {
                continue;
            };
            if let Some(folder) = dir.find(parent)? {
                keep(self.layout, &folder, name, parent)?;
            }
        }
        Ok(())
    }
}

fn is_target(folder: &Folder, name: &Path, target: &TargetFile) -> Result<bool, Error> {
    let Some(parent) = folder.find(name.parent().unwrap_or(Path::new("")))? else { return Ok(false) };
    let mut verifier = target.verifier();
    let mut is_listed = true;
    let found = parent.digest(names::of_file(name)?, |bytes| {
        is_listed = is_listed && verifier.update(bytes).is_ok();
    })?;
    Ok(found.is_some() && is_listed && verifier.finish().is_ok())
}

/// Copies the file `name` in the folder `from` to the subfolder `under` of `superseded/`, and calls `fsync` on the
/// copy. Reuses a copy that an interrupted run has made.
fn keep(layout: &Layout, from: &Folder, name: &str, under: &Path) -> Result<(), Error> {
    let Some(content) = from.digest(name, |_| {})? else { return Ok(()) };
    let superseded = layout.make_superseded()?;
    let folder = superseded.descend(under, 0o700, layout.sharing())?;
    let (copy, is_there) = superseded::find(&folder, name, &content)?;
    if !is_there {
        let copied = disk::link_or_copy(from.place(name), folder.place(&copy));
        copied.map_err(|error| Error::file("copy", &from.path_of(name), error))?;
    }
    let path = folder.path_of(&copy);
    let synced = folder.open_file(&copy).and_then(|file| disk::sync(&file, &path));
    synced.map_err(|error| Error::file("sync", &path, error))?;
    if folder.digest(&copy, |_| {})? != Some(content) {
        return Err(PublicationError::ChangedWhileCopied { from: from.path_of(name), to: path }.into());
    }
    // Call `fsync` on every folder in the path of the copy.
    let mut folder = layout.open()?;
    folder.sync()?;
    for part in Path::new("superseded").join(under).components() {
        let Some(next) = folder.enter(part)? else { break };
        next.sync()?;
        folder = next;
    }
    Ok(())
}
