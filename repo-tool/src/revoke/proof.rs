//! The proof of a revocation: a client of every root version that was ever published arrives at the new state, and
//! refuses what the revoked key signs. Of very many roots that differ in version and date only, one is played.
//!
//! The forgeries are the strongest there can be: everything around a forged file is signed by the right keys, and the
//! file itself by the revoked key together with all but one of the keys that the threshold asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use lastmile_client::{Error as ClientError, MemoryStore, Refusal};
use lastmile_keys::{PublicKey, Signer};
use lastmile_metadata::{
    Algorithm, Envelope, ErrorKind, Hashes, Key, KeyRing, Limits, MetaFile, Role, RoleName, Root, TargetPath, Version,
};

use crate::check::overlay::Overlay;
use crate::check::{MANY_ROOTS, chain, client, is_alike, refresh};
use crate::document::{Document, Rings};
use crate::draft::Draft;
use crate::files::layout;
use crate::published::Published;
use crate::sign::review::{Accepted, Reviewed};
use crate::{Error, NotFound, Repository, VersionError};

/// So many roles that are alike are looked into for one that lists something.
const SEEN_OF_FAMILY: usize = 64;
/// How far an attacker drives versions up.
const DRIVEN_UP: u64 = 1_000_000;

/// What one simulated client did in one scene.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What it must do.
    Good(String),
    /// Something else: the revocation is not proven.
    Bad(String),
    /// The scene could not be played, and why.
    NotTried(String),
}

/// A client that was shipped with one root version.
#[derive(Clone, Debug)]
pub struct ProofRow {
    /// The version of the root it starts from.
    pub root: Version,
    /// The last of the roots with the same keys that follow that one: clients shipped with these take the same steps,
    /// and are not played where there are very many.
    pub until: Version,
    /// Each scene by its name.
    pub scenes: Vec<(String, Verdict)>,
}

/// What was published before the revocation, for the clients that had seen it.
pub struct Before {
    published: Published,
    roles: Vec<(RoleName, Option<RoleName>)>,
    /// Under which ids the key stood, and in which ring, by role.
    rings: BTreeMap<RoleName, KeyRing>,
    files: BTreeMap<String, Vec<u8>>,
}

impl Before {
    /// Remembers what is published now. `roles` are those that trust the key.
    ///
    /// # Errors
    /// When published metadata cannot be read.
    pub fn remember(repository: &mut Repository, roles: &[(RoleName, Option<RoleName>)]) -> Result<Self, Error> {
        let published = repository.published.clone();
        let rings = rings_of(&published, roles)?;
        let timestamp = (RoleName::TIMESTAMP.file_name(None), published.timestamp.bytes().to_vec());
        let mut files = BTreeMap::from([timestamp]);
        if !published.root.consistent_snapshot {
            files.insert("snapshot.json".into(), published.snapshot.bytes().to_vec());
            files.insert("targets.json".into(), published.targets()?.bytes().to_vec());
        }
        Ok(Self { published, roles: roles.to_vec(), rings, files })
    }
}

/// Plays all scenes against what is published now.
///
/// # Errors
/// When published metadata cannot be read. A revoked key that cannot be opened is a [`Verdict::NotTried`].
pub fn prove(repository: &mut Repository, key: &PublicKey, before: &Before) -> Result<Vec<ProofRow>, Error> {
    let (signer, not_tried) = match repository.keys.file_signer(key) {
        Ok(Some(signer)) => (Some(signer), String::new()),
        Ok(None) => (None, "the revoked private key is not here".to_string()),
        Err(error) => (None, format!("the revoked private key cannot be opened: {error}")),
    };
    let forgeries = match &signer {
        Some(signer) => forge_all(repository, signer, before)?,
        None => Vec::new(),
    };
    let mut rows = Vec::new();
    for (root, until, shipped) in shipped_roots(repository)? {
        let stage = Stage { repository, shipped, before, now: repository.now() };
        let mut scenes = vec![("arrives".to_string(), stage.arrives(&MemoryStore::default())?)];
        match &signer {
            Some(signer) => {
                scenes.extend(stage.recovers(signer)?.map(|verdict| ("after a fast-forward attack".into(), verdict)));
                for forgery in &forgeries {
                    scenes.push((format!("forged {}", forgery.role), stage.refuses(forgery)?));
                }
            }
            None => scenes.push(("forged files".into(), Verdict::NotTried(not_tried.clone()))),
        }
        rows.push(ProofRow { root, until, scenes });
    }
    Ok(rows)
}

/// The roots with which clients are played: all, or of very many the first of those that follow each other with the same
/// keys. With each the last one that it stands for.
fn shipped_roots(repository: &Repository) -> Result<Vec<(Version, Version, Vec<u8>)>, Error> {
    let versions = repository.published.root_versions();
    let many = versions.len() as u64 > MANY_ROOTS;
    let mut roots: Vec<(Version, Version, Vec<u8>)> = Vec::new();
    let mut before: Option<Root> = None;
    for version in versions {
        let path = repository.layout.metadata().join(format!("{version}.root.json"));
        let shipped = layout::read_if_there(&path)?.ok_or_else(|| NotFound::RemovedFile { path: path.clone() })?;
        let root = Envelope::<Root>::parse(&RoleName::ROOT, shipped.clone())?.unverified(&RoleName::ROOT)?;
        let alike = before.as_ref().is_some_and(|before| is_alike(before, &root));
        before = Some(root);
        match roots.last_mut().filter(|_| many && alike) {
            Some((_, until, _)) => *until = version,
            None => roots.push((version, version, shipped)),
        }
    }
    Ok(roots)
}

/// Whether a client did something else than it must.
#[must_use]
pub fn is_refuted(rows: &[ProofRow]) -> bool {
    rows.iter().flat_map(|row| &row.scenes).any(|(_, verdict)| matches!(verdict, Verdict::Bad(_)))
}

/// For a person: every client, and below it every scene.
#[must_use]
pub fn table(rows: &[ProofRow]) -> String {
    let mut text = String::from("Proof: a client of every root that was ever published\n");
    for row in rows {
        for (number, (scene, verdict)) in row.scenes.iter().enumerate() {
            let client = match (number, row.until > row.root) {
                (0, false) => format!("root {}", row.root),
                (0, true) => format!("root {}-{}", row.root, row.until),
                _ => String::new(),
            };
            let (mark, said) = match verdict {
                Verdict::Good(said) => ("ok", said.as_str()),
                Verdict::Bad(said) => ("NO", said.as_str()),
                Verdict::NotTried(why) => ("--", why.as_str()),
            };
            text += &format!("  {client:<8} {mark}  {scene:<28} {said}\n");
        }
    }
    text
}

/// Files that put a forged one before a client.
struct Forgery {
    role: RoleName,
    /// A target that the forged role lists.
    lists: Option<TargetPath>,
    files: BTreeMap<String, Vec<u8>>,
}

type Refreshed = Result<lastmile_client::blocking::Session, ClientError>;

/// One client's stage.
struct Stage<'a> {
    repository: &'a Repository,
    shipped: Vec<u8>,
    before: &'a Before,
    now: DateTime<Utc>,
}

impl Stage<'_> {
    fn refresh(&self, overlay: Overlay, store: &MemoryStore) -> Result<Refreshed, Error> {
        let client = client(self.shipped.clone(), overlay, store.clone(), Limits::default(), None)?;
        Ok(refresh(&client, self.now))
    }

    /// With the files of now, the client must come to exactly what is published.
    fn arrives(&self, store: &MemoryStore) -> Result<Verdict, Error> {
        Ok(match self.refresh(Overlay::published(&self.repository.layout), store)? {
            Ok(session) => {
                let (trusted, published) = (session.trusted(), &self.repository.published);
                let found = (trusted.root().version, trusted.timestamp().version, trusted.snapshot().version);
                let expected = (published.root.version, published.timestamp.version, published.snapshot.version);
                let text = format!("root {}, timestamp {}, snapshot {}", found.0, found.1, found.2);
                if found == expected { Verdict::Good(text) } else { Verdict::Bad(text) }
            }
            Err(error) => Verdict::Bad(chain(&error)),
        })
    }

    /// A client that believed a timestamp of the stolen key, far ahead of ours, must come back. None when the key did
    /// not sign timestamps alone.
    fn recovers(&self, signer: &Arc<dyn Signer>) -> Result<Option<Verdict>, Error> {
        let role = RoleName::TIMESTAMP;
        let Some(ring) = self.before.rings.get(&role).filter(|ring| ring.threshold().get() == 1) else {
            return Ok(None);
        };
        let mut driven = (*self.before.published.timestamp).clone();
        let version = driven.version.get().saturating_add(DRIVEN_UP);
        driven.version = Version::new(version).unwrap_or(driven.version);
        driven.expires = self.now + chrono::TimeDelta::days(3650);
        let forged = sign_forged(&role, &driven, signer, ring, None)?;
        let mut files = self.before.files.clone();
        files.insert(role.file_name(None), forged);
        // The attacker hides the new root.
        let newer = (self.before.published.root.version.get() + 1..=self.repository.published.root.version.get())
            .filter_map(|version| Some(RoleName::ROOT.file_name(Some(Version::new(version)?))));
        let attacked = Overlay::new(&self.repository.layout, files).without(newer);
        let store = MemoryStore::default();
        let believed = match self.refresh(attacked, &store)? {
            Ok(session) => session.trusted().timestamp().version == driven.version,
            // Shipped with the new root, it never believed the stolen key.
            Err(_) => false,
        };
        let verdict = match self.arrives(&store)? {
            Verdict::Good(text) if believed => Verdict::Good(format!("came back from timestamp {version} to {text}")),
            Verdict::Good(text) => Verdict::Good(format!("was never misled, {text}")),
            other => other,
        };
        Ok(Some(verdict))
    }

    /// The client has come to what is published now, and is then offered the forgery.
    fn refuses(&self, forgery: &Forgery) -> Result<Verdict, Error> {
        let store = MemoryStore::default();
        if let Verdict::Bad(reason) = self.arrives(&store)? {
            return Ok(Verdict::Bad(reason));
        }
        let overlay = Overlay::new(&self.repository.layout, forgery.files.clone());
        let answer = self.refresh(overlay, &store)?.and_then(|mut session| match &forgery.lists {
            _ if forgery.role.is_top_level() => Ok(()),
            // Another role may be asked before this one.
            Some(path) => session.find(path).and_then(|_| session.list().map(drop)),
            None => session.list().map(drop),
        });
        Ok(match answer {
            Ok(()) => Verdict::Bad("believed it".into()),
            Err(ClientError::Refused(error)) => match &error.refusal {
                Refusal::Metadata(verdict)
                    if verdict.role == forgery.role && matches!(verdict.kind, ErrorKind::ThresholdNotMet { .. }) =>
                {
                    Verdict::Good(format!("refused: {}", verdict.kind))
                }
                other => Verdict::Bad(format!("refused for another reason: {other}")),
            },
            Err(error) => Verdict::Bad(chain(&error)),
        })
    }
}

/// A forgery for each role that trusted the key.
fn forge_all(repository: &mut Repository, signer: &Arc<dyn Signer>, before: &Before) -> Result<Vec<Forgery>, Error> {
    // One of many bins stands for all: they have one ring.
    let mut families: Vec<Vec<&RoleName>> = Vec::new();
    let mut places = BTreeMap::new();
    for (role, delegator) in &before.roles {
        let family = delegator.as_ref().map_or_else(|| role.to_string(), |_| role_family(role));
        let place = *places.entry((delegator, family)).or_insert(families.len());
        match families.get_mut(place) {
            Some(family) => family.push(role),
            None => families.push(vec![role]),
        }
    }
    let mut forgeries = Vec::new();
    for roles in families {
        let mut chosen = None;
        // Better one that lists something: who looks for that comes to it at once.
        for role in roles.into_iter().take(SEEN_OF_FAMILY) {
            let is_full = !role.is_top_level() && !repository.published.role(role)?.is_empty();
            if chosen.is_none() || is_full {
                chosen = Some(role);
            }
            if is_full {
                break;
            }
        }
        let Some((role, ring)) = chosen.and_then(|role| Some((role, before.rings.get(role)?))) else { continue };
        forgeries.push(forge(repository, role, ring, signer)?);
    }
    Ok(forgeries)
}

fn role_family(role: &RoleName) -> String {
    let name = role.as_str();
    name.trim_end_matches(|character: char| character.is_ascii_hexdigit()).to_string()
}

fn forge(
    repository: &mut Repository,
    role: &RoleName,
    ring: &KeyRing,
    signer: &Arc<dyn Signer>,
) -> Result<Forgery, Error> {
    let later = repository.now() + chrono::TimeDelta::days(3650);
    let consistent = repository.published.root.consistent_snapshot;
    let mut files = BTreeMap::new();
    let mut lists = None;
    let repository: &mut Repository = repository;
    match role.as_str() {
        "root" => {
            let mut root = (*repository.published.root).clone();
            (root.version, root.expires) = (next(root.version)?, later);
            let forged = sign_forged(role, &root, signer, ring, Some(repository))?;
            files.insert(role.file_name(Some(root.version)), forged);
        }
        "timestamp" => {
            let mut timestamp = (*repository.published.timestamp).clone();
            (timestamp.version, timestamp.expires) = (next(timestamp.version)?, later);
            files.insert(role.file_name(None), sign_forged(role, &timestamp, signer, ring, Some(repository))?);
        }
        "snapshot" => {
            let mut snapshot = (*repository.published.snapshot).clone();
            (snapshot.version, snapshot.expires) = (next(snapshot.version)?, later);
            let forged = sign_forged(role, &snapshot, signer, ring, Some(repository))?;
            files.insert(role.file_name(consistent.then_some(snapshot.version)), forged.clone());
            list_in_timestamp(repository, &mut files, snapshot.version, &forged)?;
        }
        _ => {
            let mut targets = (**repository.published.role(role)?).clone();
            let version = repository.published.version(role).map_or(Ok(Version::ONE), next)?;
            (targets.version, targets.expires) = (version, later);
            lists = targets.paths().next();
            let forged = sign_forged(role, &targets, signer, ring, Some(repository))?;
            files.insert(role.file_name(consistent.then_some(version)), forged);
            let mut snapshot = (*repository.published.snapshot).clone();
            snapshot.version = next(snapshot.version)?;
            snapshot.insert(role, MetaFile::new(version));
            let file = sign_right(&RoleName::SNAPSHOT, &snapshot, repository)?;
            files.insert(RoleName::SNAPSHOT.file_name(consistent.then_some(snapshot.version)), file.clone());
            list_in_timestamp(repository, &mut files, snapshot.version, &file)?;
        }
    }
    Ok(Forgery { role: role.clone(), lists, files })
}

fn list_in_timestamp(
    repository: &Repository,
    files: &mut BTreeMap<String, Vec<u8>>,
    version: Version,
    snapshot: &[u8],
) -> Result<(), Error> {
    let mut timestamp = (*repository.published.timestamp).clone();
    timestamp.version = next(timestamp.version)?;
    timestamp.snapshot = MetaFile::new(version);
    timestamp.snapshot.length = Some(snapshot.len() as u64);
    timestamp.snapshot.hashes = Hashes::of(snapshot, &[Algorithm::Sha256]);
    let file = sign_right(&RoleName::TIMESTAMP, &timestamp, repository)?;
    files.insert(RoleName::TIMESTAMP.file_name(None), file);
    Ok(())
}

/// Signed by the keys that the published root names.
fn sign_right<R: Role>(role: &RoleName, content: &R, repository: &Repository) -> Result<Vec<u8>, Error> {
    let required = vec![repository.published.root.key_ring(role)?];
    let mut document = Document::new(role, content, Rings { required, wanted: None });
    let (published, draft) = (Some(&repository.published), Draft::default());
    let reviewed = Reviewed::of(published, &draft, &document, &Accepted::default())?;
    document.sign(&repository.keys, repository.authority(), &reviewed)?;
    Ok(document.file().into())
}

/// Signed by the revoked key and, where the threshold asks for more, by others of its ring that are here, but one.
fn sign_forged<R: Role>(
    role: &RoleName,
    content: &R,
    signer: &Arc<dyn Signer>,
    ring: &KeyRing,
    accomplices: Option<&Repository>,
) -> Result<Vec<u8>, Error> {
    let mut document = Document::new(role, content, Rings::default());
    let revoked = signer.public_key();
    let mut left = ring.threshold().get();
    let mut add = |id: lastmile_metadata::KeyId, signer: &dyn Signer| {
        let sig = signer.sign(document.signed().as_bytes()).map_err(|error| Error::key(&id, error))?;
        document.put(&id, sig);
        Ok::<_, Error>(())
    };
    let listed = ring.keys().find(|(_, key)| *key == revoked).map(|(id, _)| id.clone());
    add(listed.unwrap_or_else(|| Key::from_public(revoked).keyid()), signer.as_ref())?;
    left = left.saturating_sub(1);
    for (id, key) in ring.keys().filter(|(_, key)| *key != revoked) {
        if left == 0 {
            break;
        }
        if let Some(other) = accomplices.map(|repository| repository.keys.file_signer(key)).transpose()?.flatten() {
            add(id.clone(), other.as_ref())?;
            left -= 1;
        }
    }
    Ok(document.file().into())
}

/// The ring of each of these roles. Bins are many, so that each delegator is gone through once.
fn rings_of(
    published: &Published,
    roles: &[(RoleName, Option<RoleName>)],
) -> Result<BTreeMap<RoleName, KeyRing>, Error> {
    let mut rings = BTreeMap::new();
    let mut delegated: BTreeMap<&RoleName, BTreeSet<&RoleName>> = BTreeMap::new();
    for (role, delegator) in roles {
        match delegator {
            None => drop(rings.insert(role.clone(), published.root.key_ring(role)?)),
            Some(delegator) => drop(delegated.entry(delegator).or_default().insert(role)),
        }
    }
    for (delegator, roles) in delegated {
        let view = published.known(delegator).and_then(|view| view.delegations.as_ref());
        rings.extend(view.iter().flat_map(|view| view.rings()).filter(|(role, _)| roles.contains(role)));
    }
    match roles.iter().find(|(role, _)| !rings.contains_key(role)) {
        Some((role, _)) => Err(NotFound::Delegation { role: role.clone() }.into()),
        None => Ok(rings),
    }
}

fn next(version: Version) -> Result<Version, Error> {
    version.next().ok_or_else(|| VersionError::ExhaustedForProof.into())
}
