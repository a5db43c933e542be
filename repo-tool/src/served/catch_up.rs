//! Synchronizes a restored folder, or a second copy of a repository, with the server.
//!
//! All files from the server are verified from the pinned root. To adopt a file means to copy it from the server to
//! this folder and to publish it there. If a file on the server was published from this folder, the user is not asked:
//! the file is adopted, or replaced by a newer version. Foreign files were published from another copy of the
//! repository, with the repository's keys. Foreign files are adopted only if the user says that they are genuine.

use std::collections::BTreeSet;
use std::path::Path;

use lastmile_client::{BaseUrl, StoredFile};
use lastmile_metadata::{Role, RoleName, Verified, Version};

use crate::check::simulated_client::from_client;
use crate::config::Config;
use crate::document::{Document, Prior, Rings};
use crate::draft::Draft;
use crate::files::access::{self, MAX_METADATA_LENGTH};
use crate::files::layout::{Layout, Lock};
use crate::files::roots;
use crate::invocation::ServedState;
use crate::publish::observer::Unobserved;
use crate::publish::snapshot::is_complete;
use crate::publish::staged;
use crate::publish::transaction;
use crate::publish::versions::LARGEST_JUMP;
use crate::published::Published;
use crate::report::diff::{self, RoleDiff};
use crate::role_content::RoleContent;
use crate::root_digest::RootDigest;
use crate::served::Served;
use crate::served::adoption::{self, Adoption};
pub use crate::served::caught_up::{CaughtUp, Resolution};
use crate::served::transport::Transport;
use crate::user::PinnedRoot;
use crate::{Error, Invocation, Repository, ServedError, Signing, names};

/// What to do with foreign content, which was not published from this folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Refuse to adopt foreign content.
    Refuse,
    /// Adopt foreign content, because the user recognizes it.
    Adopt,
}

/// Whether [`catch_up`] changes the folder or only reports what it would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Resolve the difference.
    Apply,
    /// Report how the difference would be resolved, and change nothing.
    Preview,
}

struct Comparison {
    /// Targets roles whose file on the server was not published from this folder.
    foreign: Vec<RoleName>,
    /// Whether the server's root is newer than both the folder's root and the newest root that the user trusts.
    is_root_foreign: bool,
    /// Whether the folder has a newer version of a targets role than the server, or a role that the server lacks.
    is_ahead: bool,
}

/// Compares the folder `dir` with the metadata at `metadata_url`, and resolves the difference.
///
/// # Errors
/// [`Error::NotPinned`] if no root is pinned; [`Error::Served`] if the server has foreign content and `foreign` is
/// [`Foreign::Refuse`], if the roots on the server and in the folder conflict, or if versions on the server are too
/// high to be the result of ordinary publications.
pub fn catch_up(
    dir: &Path,
    invocation: &Invocation,
    metadata_url: &BaseUrl,
    foreign: Foreign,
    mode: Mode,
) -> Result<CaughtUp, Error> {
    catch_up_through(&Transport::by_scheme()?, dir, invocation, metadata_url, foreign, mode)
}

/// Like [`catch_up`], but reads the served files through `transport`.
pub(crate) fn catch_up_through(
    transport: &Transport,
    dir: &Path,
    invocation: &Invocation,
    metadata_url: &BaseUrl,
    foreign: Foreign,
    mode: Mode,
) -> Result<CaughtUp, Error> {
    let layout = invocation.layout(dir);
    let config = Config::read(&layout)?;
    // Release the lock while the server is read. Otherwise, a slow server would keep other processes from publishing
    // and from revoking keys.
    drop(lock(&layout, invocation, mode)?);
    let oldest = roots::oldest_root(&layout)?;
    let digest = RootDigest::of(&oldest);
    let mut served = Served::fetch_with(transport, metadata_url, oldest.clone(), config.target_names())?;
    let lock = lock(&layout, invocation, mode)?;
    let trusted_root = check_pin(&layout, invocation, digest, &oldest, &served)?;
    let ours = Published::open(&layout, oldest)?;
    check_root(&ours, &served)?;
    check_lead(&ours, &served)?;
    let comparison = compare(&layout, &ours, &mut served, trusted_root)?;
    let diff = difference(&ours, &served, &comparison.foreign)?;
    if (comparison.is_root_foreign || !comparison.foreign.is_empty()) && foreign == Foreign::Refuse {
        return Err(ServedError::Foreign { changes: diff::text(&diff) }.into());
    }
    let is_behind = is_behind(&ours, &served);
    if is_behind && served.trusted().root().version < ours.root.version {
        let served = served.trusted().root().version;
        let published = ours.root.version;
        return Err(ServedError::OldRoot { served, published }.into());
    }
    let resolution = match (comparison.foreign.is_empty(), is_behind, comparison.is_ahead) {
        (true, false, _) => Resolution::Nothing,
        (true, true, true) => Resolution::MovedPast,
        _ => Resolution::Adopted,
    };
    let mut caught_up = CaughtUp { resolution, diff, dropped: Vec::new(), missing: Vec::new() };
    match resolution {
        Resolution::Nothing => {
            if lock.is_some() {
                staged::clear_if_published(&layout, &ours)?;
            }
        }
        Resolution::MovedPast => {
            if adoption::adopt_roots(&layout, lock.as_ref(), &ours, &served)? {
                move_past(layout, invocation, lock, &served)?;
            }
        }
        Resolution::Adopted => {
            #[cfg(feature = "cli")]
            if lock.is_some() {
                invocation.user.record_adoption(digest, served.trusted().snapshot())?;
            }
            let mut adoption = Adoption { layout: &layout, lock: lock.as_ref(), ours: &ours, served: &mut served };
            adoption.run(&comparison.foreign, &mut caught_up)?;
            if let Some(lock) = lock {
                #[cfg(feature = "cli")]
                invocation.user.record_adopted(digest, metadata_url, served.trusted().snapshot())?;
                let repository = Repository::open_layout(layout, invocation, Some(lock))?;
                repository.move_pin()?;
                staged::clear_if_published(&repository.layout, &repository.published)?;
            }
        }
    }
    Ok(caught_up)
}

/// Locks the folder and finishes an interrupted publication. In a preview, does neither, but checks that an interrupted
/// publication could be finished.
fn lock(layout: &Layout, invocation: &Invocation, mode: Mode) -> Result<Option<Lock>, Error> {
    if mode == Mode::Preview {
        transaction::check_recoverable(layout)?;
        return Ok(None);
    }
    let lock = layout.lock_within(invocation.lock_wait.at_most, invocation.lock_wait.on_wait.as_ref())?;
    transaction::recover(layout, &lock)?;
    Ok(Some(lock))
}

/// Checks that the pinned root is in the server's chain of roots or, if the server lacks that version, in the folder. A
/// root that the user gave must be in the server's chain. Returns the newest root version that the user trusts. Roots
/// up to this version do not count as foreign content.
pub(crate) fn check_pin(
    layout: &Layout,
    invocation: &Invocation,
    repository: RootDigest,
    oldest: &[u8],
    served: &Served,
) -> Result<Version, Error> {
    let mut trusted = Version::ONE;
    let given = invocation.given_root.as_ref().map(|given| given.digest);
    let pinned = invocation.user.pinned_root(repository)?;
    if given.is_none() && pinned.is_none() {
        return Err(Error::NotPinned { folder: layout.dir().to_path_buf(), digest: repository.to_string() });
    }
    if let Some(PinnedRoot { version, digest }) = pinned {
        trusted = version;
        let here = access::read_if_there(&layout.metadata().join(format!("{version}.root.json")))?;
        let there = match served.file(&StoredFile::Root(version))? {
            Some(root) => Some(root),
            None => here,
        };
        // The client does not store the oldest root, with which it was shipped. Therefore compare that root here.
        let is_oldest = RootDigest::of(oldest) == digest;
        if !is_oldest && there.is_none_or(|root| RootDigest::of(&root) != digest) {
            return Err(ServedError::PinnedRootMissing { version, digest }.into());
        }
    }
    if let Some(given) = given {
        let mut version = Some(Version::ONE);
        let mut is_there = RootDigest::of(oldest) == given;
        while let Some(next) = version.filter(|version| !is_there && *version <= served.trusted().root().version) {
            is_there = served.file(&StoredFile::Root(next))?.is_some_and(|root| RootDigest::of(&root) == given);
            if is_there {
                trusted = trusted.max(next);
            }
            version = next.next();
        }
        if !is_there {
            return Err(ServedError::GivenRootMissing { digest: given }.into());
        }
    }
    Ok(trusted)
}

/// Refuses a root on the server that has the same version as the root in the folder, but different content. Clients
/// that have one of the two roots would never replace it with the other.
pub(crate) fn check_root(ours: &Published, served: &Served) -> Result<(), Error> {
    let here = &ours.root;
    let there = served.trusted().root();
    if here.version == there.version && here.bytes() != there.bytes() {
        Err(ServedError::OtherRoot { version: there.version }.into())
    } else {
        Ok(())
    }
}

/// Refuses a version on the server that is too high to be the result of ordinary publications.
pub(crate) fn check_lead(ours: &Published, served: &Served) -> Result<(), Error> {
    for (role, theirs) in served.versions() {
        let here = ours.version(&role).map_or(0, Version::get);
        let lead = theirs.get().saturating_sub(here);
        if lead > LARGEST_JUMP {
            return Err(ServedError::Jump { role, served: theirs, lead }.into());
        }
    }
    Ok(())
}

/// Returns whether the server has a newer version of root, timestamp or snapshot, or a different file with the same
/// version.
fn is_behind(ours: &Published, served: &Served) -> bool {
    served.versions_of_both(ours).iter().any(|(_, theirs, ours, is_same)| theirs > ours || (theirs == ours && !is_same))
}

/// Adopts all files of the server, including foreign files, without asking the user. Before a file in the folder is
/// replaced, it is copied to `superseded/`.
pub(crate) fn adopt(layout: &Layout, lock: &Lock, ours: &Published, served: &mut Served) -> Result<CaughtUp, Error> {
    let foreign = compare(layout, ours, served, ours.root.version)?.foreign;
    let mut caught_up =
        CaughtUp { resolution: Resolution::Adopted, diff: Vec::new(), dropped: Vec::new(), missing: Vec::new() };
    let mut adoption = Adoption { layout, lock: Some(lock), ours, served };
    adoption.run(&foreign, &mut caught_up)?;
    Ok(caught_up)
}

pub(crate) fn foreign_roles(layout: &Layout, ours: &Published, served: &Served) -> Result<Vec<RoleName>, Error> {
    let mut foreign = Vec::new();
    let mut unlisted = Vec::new();
    for (role, theirs) in served.trusted().snapshot().roles() {
        let here = ours.snapshot.meta(&role);
        if here.as_ref() == Some(&theirs) && is_complete(&theirs) {
            continue;
        }
        // If the server's version of the role was published from this folder, the folder still contains the file.
        let version = ours.root.version_in_name(&role, theirs.version);
        let file = layout.metadata().join(names::metadata_file(&role, version));
        match access::read_small(&file, MAX_METADATA_LENGTH)? {
            Some(bytes) if is_complete(&theirs) && theirs.check(&bytes).is_ok() => {}
            Some(bytes) if !is_complete(&theirs) => {
                unlisted.push((role, crate::publish::snapshot::list_with_hash(theirs.version, &bytes)));
            }
            _ => foreign.push(role),
        }
    }
    foreign.extend(served.differing(unlisted)?);
    Ok(foreign)
}

fn compare(layout: &Layout, ours: &Published, served: &mut Served, trusted_root: Version) -> Result<Comparison, Error> {
    let is_root_foreign = served.trusted().root().version > ours.root.version.max(trusted_root);
    let mut foreign = foreign_roles(layout, ours, served)?;
    let theirs = served.trusted().snapshot();
    let is_newer = |role: &RoleName, version| theirs.meta(role).is_none_or(|theirs| version > theirs.version);
    let is_ahead = ours.snapshot.roles().any(|(role, here)| is_newer(&role, here.version));
    if !foreign.is_empty() {
        // Read every role that a client can reach, so that all roles can be shown and adopted.
        served.session.list().map_err(from_client)?;
        // The snapshot also lists roles to which no role delegates anymore, because clients would treat a missing entry
        // as a rollback. No client reads these roles, and no delegation says which keys verify them.
        let reached: BTreeSet<&RoleName> = served.trusted().delegated().map(|(role, _)| role).collect();
        foreign.retain(|role| *role == RoleName::TARGETS || reached.contains(role));
    }
    Ok(Comparison { foreign, is_root_foreign, is_ahead })
}

fn difference(ours: &Published, served: &Served, foreign: &[RoleName]) -> Result<Vec<RoleDiff>, Error> {
    let theirs = served.trusted();
    let mut draft = Draft::default();
    let mut documents = Vec::new();
    if theirs.root().bytes() != ours.root.bytes() {
        draft.root = Some((**theirs.root()).clone());
        documents.push(document(&RoleName::ROOT, theirs.root())?);
    }
    for role in foreign {
        let held = if *role == RoleName::TARGETS {
            theirs.targets().held()
        } else {
            theirs.delegated().find(|(name, _)| *name == role).and_then(|(_, targets)| targets.held())
        };
        if let Some(held) = held {
            draft.targets.insert(role.clone(), RoleContent::Held((***held).clone()));
            documents.push(document(role, held)?);
        }
    }
    documents.push(document(&RoleName::SNAPSHOT, theirs.snapshot())?);
    documents.push(document(&RoleName::TIMESTAMP, theirs.timestamp())?);
    let diffs = documents.iter().map(|document| {
        let version = document.version;
        let title = match ours.version(&document.role) {
            Some(ours) => format!("version {ours} in this folder, {version} on the server"),
            None => format!("version {version} on the server, not in this folder"),
        };
        Ok(RoleDiff { title, ..diff::explain::of_document(Some(ours), &draft, document)? })
    });
    diffs.collect()
}

fn document<R: Role>(role: &RoleName, verified: &Verified<R>) -> Result<Document, Error> {
    let signed = verified.signed().to_string();
    let prior = Prior { signed, signatures: verified.signatures().to_vec() };
    Document::prior(role, &prior, Rings::default())
}

/// Publishes the folder's content again, with versions above those on the server. If `lock` is `None`, previews the
/// publication without publishing.
fn move_past(layout: Layout, invocation: &Invocation, lock: Option<Lock>, served: &Served) -> Result<(), Error> {
    let invocation = Invocation { served: ServedState::Ignore, ..invocation.clone() };
    let is_preview = lock.is_none();
    let mut repository = Repository::open_layout(layout, &invocation, lock)?;
    repository.seen = served.versions().collect();
    let draft = Draft::renew_online_roles();
    let plan = repository.plan(draft, Signing::Now)?;
    if is_preview { repository.preview(&plan).map(drop) } else { repository.conclude(&plan, &mut Unobserved).map(drop) }
}
