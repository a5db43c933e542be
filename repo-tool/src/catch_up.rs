//! Bringing a folder that was set back, or a second copy of it, in line with what the server has.
//!
//! Everything from the server is verified from the pinned root. What the folder knows already is adopted or passed over
//! at once; what it does not know was published elsewhere with this repository's keys, and is adopted only when the user
//! says that it is theirs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use lastmile_client::{MemoryStore, StoredFile, disk};
use lastmile_metadata::{Limits, Role, RoleName, TargetFile, Verified, Version};

use crate::check::{self, Checked, from_client};
use crate::diff::{self, RoleDiff};
use crate::digest::FileDigest;
use crate::document::{Document, Rings};
use crate::draft::{Draft, NewFile, Prior};
use crate::journal::{Existing, Rank};
use crate::layout::{self, Layout, Lock};
use crate::overlay::Overlay;
use crate::policy::Policy;
use crate::publication::{self, Content, Observer, Publication, Unobserved};
use crate::published::Published;
use crate::served::Served;
use crate::setting::ServedState;
use crate::snapshot::is_complete;
use crate::user::{PinnedRoot, RootDigest};
use crate::versions::LARGEST_JUMP;
use crate::{Error, Repository, Setting, Signing, ingest, names};

/// Where files of the folder go that the server has in another form.
const SUPERSEDED: &str = "superseded";

/// What to do with content that this folder does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Refuse it.
    Refuse,
    /// Take it over: the user recognizes it.
    Adopt,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The folder has everything that the server has.
    Nothing,
    /// The server's files were taken over.
    Adopted,
    /// The folder's content was published again, above every version that the server has.
    MovedPast,
}

/// The result of catching up.
#[derive(Debug)]
pub struct CaughtUp {
    /// What was done, or in a dry run would be.
    pub resolution: Resolution,
    /// How the server differs from the folder.
    pub diff: Vec<RoleDiff>,
    /// Targets that were listed in this folder and are not any more.
    pub dropped: Vec<String>,
    /// Targets whose files could not be fetched, with the reason.
    pub missing: Vec<String>,
}

/// How the server relates to the folder.
struct Comparison {
    /// Roles whose served file this folder never had.
    foreign: Vec<RoleName>,
    /// Whether the folder has published something that the server lacks.
    is_ahead: bool,
}

/// Compares the folder in `dir` with what is served at `metadata_url`, and brings it in line.
///
/// # Errors
/// [`Error::NotPinned`] without a pinned root; [`Error::Refused`] when the server has content that this folder does not
/// know and `foreign` refuses it, or versions that no publication reached.
pub fn catch_up(
    dir: &Path,
    setting: &Setting,
    metadata_url: &str,
    foreign: Foreign,
    dry_run: bool,
) -> Result<CaughtUp, Error> {
    let layout = setting.layout(dir);
    Policy::read(&layout)?;
    let lock = layout.lock_within(setting.patience.at_most, setting.patience.told.as_ref())?;
    if !dry_run {
        publication::recover(&layout, &lock)?;
    }
    let oldest = check::oldest_root(&layout)?;
    let digest = RootDigest::of(&oldest);
    let mut served = Served::fetch(metadata_url, oldest.clone())?;
    check_pin(&layout, setting, digest, &oldest, &served)?;
    let ours = check::open(&layout, oldest)?;
    check_lead(&ours, &served)?;
    let comparison = compare(&layout, &ours, &served)?;
    if !comparison.foreign.is_empty() {
        // Reads every role, so that each can be shown and adopted.
        served.session.list().map_err(|error| from_client(&error))?;
    }
    let diff = difference(&ours, &served, &comparison.foreign)?;
    if !comparison.foreign.is_empty() && foreign == Foreign::Refuse {
        return Err(Error::Refused(format!(
            "the server has content that was not published from this folder:\n{}If these releases are yours, from another \
             copy or from before a restore, repeat the command with `--adopt`. If not, a key was stolen: \
             `lastmile-repo revoke` it",
            diff::text(&diff)
        )));
    }
    let is_behind = is_behind(&ours, &served);
    if is_behind && served.trusted().root().version < ours.root.version {
        return Err(Error::Refused(format!(
            "the server still has root version {}, and this folder has version {}: upload this folder first. If somebody \
             publishes there with keys that the new root no longer trusts, clients refuse it once they have that root",
            served.trusted().root().version,
            ours.root.version
        )));
    }
    let resolution = match (comparison.foreign.is_empty(), is_behind, comparison.is_ahead) {
        (true, false, _) => Resolution::Nothing,
        (true, true, true) => Resolution::MovedPast,
        _ => Resolution::Adopted,
    };
    let mut caught_up = CaughtUp { resolution, diff, dropped: Vec::new(), missing: Vec::new() };
    if dry_run || resolution == Resolution::Nothing {
        return Ok(caught_up);
    }
    match resolution {
        Resolution::MovedPast => {
            adopt_roots(&layout, &lock, &ours, &served)?;
            move_past(layout, setting, lock, &served)?;
        }
        _ => {
            let mut adoption = Adoption { layout: &layout, lock: &lock, ours: &ours, served: &mut served };
            adoption.run(&comparison.foreign, &mut caught_up)?;
            let repository = Repository::open_layout(layout, setting, Some(lock))?;
            repository.move_pin()?;
        }
    }
    Ok(caught_up)
}

/// The chain of the server must lead through the root that the user trusts.
fn check_pin(
    layout: &Layout,
    setting: &Setting,
    repository: RootDigest,
    oldest: &[u8],
    served: &Served,
) -> Result<(), Error> {
    let given = setting.given_root.as_ref().map(|given| given.digest);
    let pinned = setting.user.pinned_root(repository)?;
    if given.is_none() && pinned.is_none() {
        return Err(Error::NotPinned { folder: layout.dir().to_path_buf(), digest: repository.to_string() });
    }
    if let Some(PinnedRoot { version, digest }) = pinned {
        let here = layout::read_if_there(&layout.metadata().join(format!("{version}.root.json")))?;
        let there = match served.file(&StoredFile::Root(version))? {
            Some(root) => Some(root),
            None => here,
        };
        if there.is_none_or(|root| RootDigest::of(&root) != digest) {
            return Err(Error::Refused(format!(
                "neither the server nor this folder has root version {version} as you pinned it (SHA-256 {digest}): one of \
                 them was set back or changed, and nothing was adopted"
            )));
        }
    }
    if let Some(given) = given {
        let mut version = Some(Version::ONE);
        let mut is_there = RootDigest::of(oldest) == given;
        while let Some(next) = version.filter(|version| !is_there && *version <= served.trusted().root().version) {
            is_there = served.file(&StoredFile::Root(next))?.is_some_and(|root| RootDigest::of(&root) == given);
            version = next.next();
        }
        if !is_there {
            return Err(Error::Refused(format!("no root of the server has the SHA-256 {given} that was given")));
        }
    }
    Ok(())
}

/// A role that is far ahead was driven up by somebody.
fn check_lead(ours: &Published, served: &Served) -> Result<(), Error> {
    for (role, theirs) in served.versions() {
        let here = ours.version(&role).map_or(0, Version::get);
        let lead = theirs.get().saturating_sub(here);
        if lead > LARGEST_JUMP {
            return Err(Error::Refused(format!(
                "the server has {role} version {theirs}, {lead} above this folder: no publication of yours made that jump, \
                 so a key was stolen. `lastmile-repo revoke` it"
            )));
        }
    }
    Ok(())
}

/// Whether the server has a version that this folder lacks, or another file under the same version.
fn is_behind(ours: &Published, served: &Served) -> bool {
    served.beside(ours).iter().any(|(_, theirs, ours, is_same)| theirs > ours || (theirs == ours && !is_same))
}

fn compare(layout: &Layout, ours: &Published, served: &Served) -> Result<Comparison, Error> {
    let consistent = ours.root.consistent_snapshot;
    let (mut foreign, mut unlisted, mut is_ahead) = (Vec::new(), Vec::new(), false);
    for (role, theirs) in served.trusted().snapshot().roles() {
        let here = ours.snapshot.meta(&role);
        if here.as_ref() == Some(&theirs) && is_complete(&theirs) {
            continue;
        }
        is_ahead |= here.is_some_and(|here| here.version > theirs.version);
        // A version that this folder published before is still there.
        let version = Some(theirs.version).filter(|_| consistent);
        let file = layout.metadata().join(names::metadata_file(&role, version));
        match layout::read_if_there(&file)? {
            Some(bytes) if is_complete(&theirs) && theirs.check(&bytes).is_ok() => {}
            Some(bytes) if !is_complete(&theirs) => {
                unlisted.push((role, crate::snapshot::list_with_hash(theirs.version, &bytes)));
            }
            _ => foreign.push(role),
        }
    }
    foreign.extend(served.differing(unlisted)?);
    is_ahead |= ours.snapshot.roles().any(|(role, _)| served.trusted().snapshot().meta(&role).is_none());
    Ok(Comparison { foreign, is_ahead })
}

/// What the server has instead of what this folder has, for a person.
fn difference(ours: &Published, served: &Served, foreign: &[RoleName]) -> Result<Vec<RoleDiff>, Error> {
    let theirs = served.trusted();
    let mut draft = Draft::default();
    let mut documents = Vec::new();
    if theirs.root().bytes() != ours.root.bytes() {
        draft.root = Some((**theirs.root()).clone());
        documents.push(document(&RoleName::ROOT, theirs.root())?);
    }
    for role in foreign {
        let held = match *role == RoleName::TARGETS {
            true => theirs.targets().held(),
            false => theirs.delegated().find(|(_, name, _)| *name == role).and_then(|(_, _, targets)| targets.held()),
        };
        if let Some(held) = held {
            draft.targets.insert(role.clone(), (***held).clone());
            documents.push(document(role, held)?);
        }
    }
    documents.push(document(&RoleName::SNAPSHOT, theirs.snapshot())?);
    documents.push(document(&RoleName::TIMESTAMP, theirs.timestamp())?);
    let told = documents.iter().map(|document| {
        let version = document.version;
        let title = match ours.version(&document.role) {
            Some(ours) => format!("version {ours} here, {version} on the server"),
            None => format!("version {version} on the server, not here"),
        };
        RoleDiff { title, ..diff::of_document(Some(ours), &draft, document) }
    });
    Ok(told.collect())
}

fn document<R: Role>(role: &RoleName, verified: &Verified<R>) -> Result<Document, Error> {
    let signed = String::from_utf8_lossy(verified.signed()).into_owned();
    let prior = Prior { signed, signatures: verified.signatures().to_vec() };
    Document::prior(role, &prior, Rings::default())
}

/// Publishes the folder's content again, above what the server has.
fn move_past(layout: Layout, setting: &Setting, lock: Lock, served: &Served) -> Result<(), Error> {
    let setting = Setting { served: ServedState::Ignore, ..setting.clone() };
    let mut repository = Repository::open_layout(layout, &setting, Some(lock))?;
    repository.seen = served.versions().collect();
    let draft = Draft { again: [RoleName::SNAPSHOT, RoleName::TIMESTAMP].into(), ..Draft::default() };
    let plan = repository.plan(draft, Signing::Now)?;
    repository.conclude(&plan, &mut Unobserved).map(drop)
}

fn adopt_roots(layout: &Layout, lock: &Lock, ours: &Published, served: &Served) -> Result<(), Error> {
    let roots = newer_roots(ours, served)?;
    if roots.is_empty() {
        return Ok(());
    }
    let mut observer = Unobserved;
    let files = roots.iter().map(|(name, bytes)| (name.clone(), Bytes::from(bytes.clone()))).collect();
    let checked = check_files(layout, files)?;
    let mut publication = Publication::begin(layout, lock, &mut observer)?;
    for (name, bytes) in roots {
        let to = Path::new("metadata").join(name);
        publication.add(Rank::Root, to, Content::Bytes(bytes), Existing::Same);
    }
    publication.prepare()?.commit(&checked)
}

/// The roots that the server has and this folder lacks, by name.
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

/// A client of the folder with these files over it must come to the end.
fn check_files(layout: &Layout, files: BTreeMap<String, Bytes>) -> Result<Checked, Error> {
    let mut limits = Limits::default();
    (limits.snapshot_length, limits.targets_length, limits.root_updates) = (1 << 30, 1 << 32, u32::MAX);
    let memory = MemoryStore::default();
    let overlay = Overlay::new(layout, files);
    let oldest = check::oldest_root(layout)?;
    let client = check::client(oldest.clone(), overlay, memory.clone(), limits, None)?;
    let session = client.refresh(DateTime::<Utc>::UNIX_EPOCH).map_err(|error| from_client(&error))?;
    Ok(Checked { published: Published::new(layout, session.trusted(), oldest, memory)? })
}

/// Takes the server's files over.
struct Adoption<'a> {
    layout: &'a Layout,
    lock: &'a Lock,
    ours: &'a Published,
    served: &'a mut Served,
}

impl Adoption<'_> {
    fn run(&mut self, foreign: &[RoleName], caught_up: &mut CaughtUp) -> Result<(), Error> {
        let consistent = self.served.trusted().root().consistent_snapshot;
        let prefixed = consistent && Policy::read(self.layout)?.hash_prefixed_targets;
        let mut files: Vec<(Rank, PathBuf, Vec<u8>)> = Vec::new();
        for (name, bytes) in newer_roots(self.ours, self.served)? {
            files.push((Rank::Root, PathBuf::from(name), bytes));
        }
        let theirs = self.served.trusted();
        let listed = |role: &RoleName| theirs.snapshot().meta(role).map(|listed| listed.version);
        let roles = foreign.iter().map(|role| (role.clone(), listed(role)));
        let roles = roles.chain([(RoleName::SNAPSHOT, Some(theirs.snapshot().version)), (RoleName::TIMESTAMP, None)]);
        for (role, version) in roles {
            let Some(bytes) = self.served.file(&StoredFile::Role(role.clone()))? else {
                return Err(Error::Refused(format!("nobody delegates to {role} on the server: it cannot be verified")));
            };
            let rank = match role.as_str() {
                "targets" => Rank::Targets,
                "snapshot" => Rank::Snapshot,
                "timestamp" => Rank::Timestamp,
                _ => Rank::Delegated,
            };
            files.push((rank, PathBuf::from(names::metadata_file(&role, version.filter(|_| consistent))), bytes));
        }
        let overlay = files.iter().map(|(_, name, bytes)| (name.display().to_string(), Bytes::from(bytes.clone())));
        let checked = check_files(self.layout, overlay.collect())?;
        let targets = if foreign.is_empty() { Vec::new() } else { self.fetch_targets(prefixed, caught_up)? };
        self.set_aside(&files)?;
        let mut observer = Unobserved;
        let mut publication = Publication::begin(self.layout, self.lock, &mut observer as &mut dyn Observer)?;
        for file in &targets {
            publication.add_target(file, Existing::Same)?;
        }
        files.sort_by_key(|(rank, ..)| *rank);
        for (rank, name, bytes) in files {
            let existing = if rank == Rank::Timestamp || !consistent { Existing::Replaced } else { Existing::Same };
            publication.add(rank, Path::new("metadata").join(name), Content::Bytes(bytes), existing);
        }
        publication.prepare()?.commit(&checked)
    }

    /// Fetches the target files that are not here, and notes which targets are listed no more.
    fn fetch_targets(&mut self, prefixed: bool, caught_up: &mut CaughtUp) -> Result<Vec<NewFile>, Error> {
        let listed = self.served.session.list().map_err(|error| from_client(&error))?;
        let overlay = Overlay::published(self.layout);
        let client =
            check::client(check::oldest_root(self.layout)?, overlay, MemoryStore::default(), Limits::default(), None)?;
        let before = client.refresh(DateTime::<Utc>::UNIX_EPOCH).and_then(|mut session| session.list());
        let before = before.map_err(|error| from_client(&error))?;
        let still: BTreeMap<&str, &TargetFile> = listed.iter().map(|target| (target.path.as_str(), target)).collect();
        let gone = before.iter().filter(|target| still.get(target.path.as_str()).is_none_or(|now| *now != *target));
        caught_up.dropped = gone.map(|target| target.path.to_string()).collect();
        let folder = self.layout.open_publishing()?;
        let mut fetched = Vec::new();
        for (number, target) in listed.iter().enumerate() {
            let places = ingest::places(target, prefixed);
            if places.iter().all(|place| self.layout.targets().join(place).symlink_metadata().is_ok()) {
                continue;
            }
            let file = folder.path_of(ingest::name(number));
            match self.served.session.download(target, &file, &()) {
                Ok(_) => {
                    let incoming = ingest::Incoming { target: target.clone(), file };
                    let content = FileDigest::listed(target);
                    let spread = ingest::spread(&incoming, &folder, prefixed)?.into_iter();
                    fetched.extend(spread.map(|(from, to)| NewFile { from, to, content: content.clone() }));
                }
                Err(error) => caught_up.missing.push(format!("{}: {}", target.path, check::chain(&error))),
            }
        }
        Ok(fetched)
    }

    /// Moves files of this folder away that the server has in another form under the same name: nothing is lost.
    fn set_aside(&self, files: &[(Rank, PathBuf, Vec<u8>)]) -> Result<(), Error> {
        let dir = self.layout.open()?;
        let Some(metadata) = dir.enter("metadata")? else { return Ok(()) };
        for (_, name, bytes) in files.iter().filter(|(rank, ..)| *rank != Rank::Timestamp) {
            let is_other = metadata.read(name, u64::MAX)?.is_some_and(|there| there != *bytes);
            if !is_other {
                continue;
            }
            let folder = dir.enter_or_make(SUPERSEDED, 0o700, self.layout.sharing())?;
            let mut to = name.clone();
            while folder.look(&to)?.is_some() {
                to.as_mut_os_string().push("~");
            }
            disk::rename(metadata.place(name), folder.place(&to))
                .map_err(|error| Error::file("move", &metadata.path_of(name), error))?;
        }
        Ok(())
    }
}
