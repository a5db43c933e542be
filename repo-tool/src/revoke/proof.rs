//! The proof of a revocation. For each published root, a client that was shipped with this root must reach the new
//! state, and must refuse files that are signed with the revoked key. If there are many roots, consecutive roots with
//! the same keys and roles are tested only once, with the first of these roots.
//!
//! Each forged file is signed with the revoked key. If the threshold requires more signatures, other available keys
//! sign it too. All other files that the client reads are signed with the correct keys. A client that accepts the
//! revoked key would therefore accept the forged file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use lastmile_client::{Error as ClientError, MemoryStore, Refusal};
use lastmile_keys::{PublicKey, Signer};
use lastmile_metadata::{
    Algorithm, Envelope, ErrorKind, Hashes, Key, KeyRing, Limits, MetaFile, Role, RoleName, Root, TargetPath, Version,
};

use crate::check::overlay::Overlay;
use crate::check::simulated_client::{client, refresh};
use crate::check::{MANY_ROOTS, is_alike};
use crate::document::{Document, Rings};
use crate::draft::Draft;
use crate::edit::bins::Bins;
use crate::error::chain;
use crate::files::access;
use crate::published::Published;
use crate::sign::review::{Accepted, Reviewed};
use crate::{Error, NotFound, Repository, VersionError};

/// The maximum number of bins that are read to find a bin that lists targets.
const SEARCHED_OF_BINS: usize = 64;
const INFLATED_BY: u64 = 1_000_000;

/// The result of one simulated client in one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The client behaved as required.
    Good(String),
    /// The client did not behave as required, so the proof failed.
    Bad(String),
    /// The case could not be tested. The text gives the reason.
    NotTried(String),
}

/// The results for a client that was shipped with a certain root.
#[derive(Clone, Debug)]
pub struct ProofRow {
    /// The version of the root that the client starts from.
    pub root: Version,
    /// The last root version that this row covers. If there are many roots, the row also covers the following roots
    /// with the same keys and roles, because clients that were shipped with these roots perform the same update.
    /// Otherwise, `until` equals `root`.
    pub until: Version,
    /// The cases, each with its name and its result.
    pub cases: Vec<(String, Verdict)>,
}

/// A role and the role that delegates to it. A top-level role has no delegator.
type Edge = (RoleName, Option<RoleName>);

/// The published state before the revocation, which existing clients may have stored.
pub struct Before {
    published: Published,
    roles: Vec<Edge>,
    rings: BTreeMap<Edge, KeyRing>,
    files: BTreeMap<String, Vec<u8>>,
}

impl Before {
    /// Saves the current published state. `roles` are the roles for which the key to be revoked is trusted.
    ///
    /// # Errors
    /// Returns an error if published metadata cannot be read.
    pub fn remember(repository: &mut Repository, roles: &[Edge]) -> Result<Self, Error> {
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

/// Tests all scenarios against the current published state.
///
/// # Errors
/// Returns an error if published metadata cannot be read. If the revoked private key cannot be opened, this is not an
/// error, but the result contains [`Verdict::NotTried`].
pub fn prove(repository: &mut Repository, key: &PublicKey, before: &Before) -> Result<Vec<ProofRow>, Error> {
    let (signer, not_tried) = match repository.keys.file_signer(key) {
        Ok(Some(signer)) => (Some(signer), String::new()),
        Ok(None) => (None, "the revoked private key is not on this machine".to_string()),
        Err(error) => (None, format!("the revoked private key cannot be opened: {error}")),
    };
    let (forgeries, removed) = match &signer {
        Some(signer) => forge_all(repository, signer, before)?,
        None => (Vec::new(), Vec::new()),
    };
    let mut rows = Vec::new();
    for (root, until, shipped) in shipped_roots(repository)? {
        let client_of_root = ProofClient { repository, shipped, before, now: repository.now() };
        let mut cases = vec![("new state".to_string(), client_of_root.reaches_published(&MemoryStore::default())?)];
        match &signer {
            Some(signer) => {
                cases.extend(
                    client_of_root.recovers(signer)?.map(|verdict| ("after a fast-forward attack".into(), verdict)),
                );
                for forgery in &forgeries {
                    cases.push((format!("forged {}", forgery.role), client_of_root.refuses(forgery)?));
                }
                // A role to which no role delegates anymore needs no test, because no client reads it.
                cases.extend(removed.iter().map(|role| {
                    (format!("forged {role}"), Verdict::Good("no role delegates to it anymore".to_string()))
                }));
            }
            None => cases.push(("forged files".into(), Verdict::NotTried(not_tried.clone()))),
        }
        rows.push(ProofRow { root, until, cases });
    }
    Ok(rows)
}

/// Returns the roots that the tested clients are shipped with. Each element has a first root version, a last root
/// version, and the content of the root file with the first version. If there are many roots, one element stands for
/// consecutive roots with the same keys and roles. Otherwise, each root has its own element, in which the first and the
/// last version are equal.
fn shipped_roots(repository: &Repository) -> Result<Vec<(Version, Version, Vec<u8>)>, Error> {
    let versions = repository.published.root_versions();
    let many = versions.len() as u64 > MANY_ROOTS;
    let mut roots: Vec<(Version, Version, Vec<u8>)> = Vec::new();
    let mut before: Option<Root> = None;
    for version in versions {
        let path = repository.layout.metadata().join(format!("{version}.root.json"));
        let shipped =
            repository.published.files().metadata(&RoleName::ROOT, Some(version), access::MAX_METADATA_LENGTH)?;
        let shipped = shipped.ok_or(NotFound::RemovedFile { path })?;
        let root = Envelope::<Root>::parse(&RoleName::ROOT, shipped.clone())?.unverified(&RoleName::ROOT)?;
        let alike = before.as_ref().is_some_and(|before| is_alike(before, &root));
        before = Some(root);
        match roots.last_mut() {
            Some((_, until, _)) if many && alike => *until = version,
            _ => roots.push((version, version, shipped)),
        }
    }
    Ok(roots)
}

/// Returns whether at least one client failed a scenario.
#[must_use]
pub fn is_refuted(rows: &[ProofRow]) -> bool {
    rows.iter().flat_map(|row| &row.cases).any(|(_, verdict)| matches!(verdict, Verdict::Bad(_)))
}

/// Returns a line for each scenario that failed.
#[must_use]
pub fn refutations(rows: &[ProofRow]) -> Vec<String> {
    let failed = rows.iter().flat_map(|row| row.cases.iter().map(move |(case, verdict)| (row.root, case, verdict)));
    let line = |(root, case, verdict): (Version, &String, &Verdict)| match verdict {
        Verdict::Bad(outcome) => Some(format!("  client with root {root}, {case}: {outcome}")),
        Verdict::Good(_) | Verdict::NotTried(_) => None,
    };
    failed.filter_map(line).collect()
}

/// Formats the proof as a table for people, with one line for each combination of client and scenario.
#[must_use]
pub fn table(rows: &[ProofRow]) -> String {
    let mut text = String::from("Proof: one client for each published root\n");
    for row in rows {
        for (number, (case, verdict)) in row.cases.iter().enumerate() {
            let client = match (number, row.until > row.root) {
                (0, false) => format!("root {}", row.root),
                (0, true) => format!("root {}-{}", row.root, row.until),
                _ => String::new(),
            };
            let (mark, outcome) = match verdict {
                Verdict::Good(outcome) => ("ok", outcome.as_str()),
                Verdict::Bad(outcome) => ("NO", outcome.as_str()),
                Verdict::NotTried(why) => ("--", why.as_str()),
            };
            text += &format!("  {client:<8} {mark}  {case:<28} {outcome}\n");
        }
    }
    text
}

/// A forged file, and the other files that make a client read it.
struct Forgery {
    role: RoleName,
    /// A target in the forged role. The client searches for this target.
    lists: Option<TargetPath>,
    files: BTreeMap<String, Vec<u8>>,
}

type Refreshed = Result<lastmile_client::blocking::Session, ClientError>;

struct ProofClient<'a> {
    repository: &'a Repository,
    shipped: Vec<u8>,
    before: &'a Before,
    now: DateTime<Utc>,
}

impl ProofClient<'_> {
    fn refresh(&self, overlay: Overlay, store: &MemoryStore) -> Result<Refreshed, Error> {
        let client = client(self.shipped.clone(), overlay, store.clone(), Limits::default(), None)?;
        Ok(refresh(&client, self.now))
    }

    fn reaches_published(&self, store: &MemoryStore) -> Result<Verdict, Error> {
        Ok(match self.refresh(self.repository.published.files().clone(), store)? {
            Ok(session) => {
                let trusted = session.trusted();
                let published = &self.repository.published;
                let found = (trusted.root().version, trusted.timestamp().version, trusted.snapshot().version);
                let expected = (published.root.version, published.timestamp.version, published.snapshot.version);
                let text = format!("root {}, timestamp {}, snapshot {}", found.0, found.1, found.2);
                if found == expected { Verdict::Good(text) } else { Verdict::Bad(text) }
            }
            Err(error) => Verdict::Bad(chain(&error)),
        })
    }

    /// Checks that a client recovers from a forged timestamp. The timestamp has an inflated version and is signed with
    /// the revoked key. Returns `None` if the revoked key alone could not sign timestamps.
    fn recovers(&self, signer: &Arc<dyn Signer>) -> Result<Option<Verdict>, Error> {
        let role = RoleName::TIMESTAMP;
        let Some(ring) = self.before.rings.get(&(role.clone(), None)).filter(|ring| ring.threshold().get() == 1) else {
            return Ok(None);
        };
        let mut inflated = (*self.before.published.timestamp).clone();
        let version = inflated.version.get().saturating_add(INFLATED_BY);
        inflated.version = Version::new(version).unwrap_or(inflated.version);
        inflated.expires = self.now + chrono::TimeDelta::days(3650);
        let forged = sign_forged(&role, &inflated, signer, ring, None)?;
        let mut files = self.before.files.clone();
        files.insert(role.file_name(None), forged);
        // The attacker hides the new root from the client.
        let newer = (self.before.published.root.version.get() + 1..=self.repository.published.root.version.get())
            .filter_map(|version| Some(RoleName::ROOT.file_name(Some(Version::new(version)?))));
        let attacked = self.repository.published.files().clone().with(files).without(newer);
        let store = MemoryStore::default();
        let accepted = match self.refresh(attacked, &store)? {
            Ok(session) => session.trusted().timestamp().version == inflated.version,
            // A client that was shipped with the new root never accepts the revoked key.
            Err(_) => false,
        };
        let verdict = match self.reaches_published(&store)? {
            Verdict::Good(text) if accepted => {
                Verdict::Good(format!("recovers from timestamp {version}, reaches {text}"))
            }
            Verdict::Good(text) => Verdict::Good(format!("refuses the inflated versions, reaches {text}")),
            other => other,
        };
        Ok(Some(verdict))
    }

    /// Checks that a client refuses the forgery after it has reached the published state.
    fn refuses(&self, forgery: &Forgery) -> Result<Verdict, Error> {
        let store = MemoryStore::default();
        if let Verdict::Bad(reason) = self.reaches_published(&store)? {
            return Ok(Verdict::Bad(reason));
        }
        let overlay = self.repository.published.files().clone().with(forgery.files.clone());
        let answer = self.refresh(overlay, &store)?.and_then(|mut session| match &forgery.lists {
            _ if forgery.role.is_top_level() => Ok(()),
            // Also list all targets, because the search may find the target in another role and never read the forged
            // file.
            Some(path) => session.find(path).and_then(|_| session.list().map(drop)),
            None => session.list().map(drop),
        });
        Ok(match answer {
            Ok(()) => Verdict::Bad("accepted it".into()),
            Err(ClientError::Refused(error) | ClientError::Limit(error)) => match &error.refusal {
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

/// Creates a forgery for each role that trusted the key. One bin of a set represents all bins, because the bins share a
/// key ring. Also returns the roles that trusted the key, but to which no role delegates anymore.
fn forge_all(
    repository: &mut Repository,
    signer: &Arc<dyn Signer>,
    before: &Before,
) -> Result<(Vec<Forgery>, Vec<RoleName>), Error> {
    let mut bins: BTreeMap<&RoleName, Option<Bins>> = BTreeMap::new();
    let mut alone: Vec<Vec<&Edge>> = Vec::new();
    let mut sets: BTreeMap<&RoleName, Vec<&Edge>> = BTreeMap::new();
    for edge in &before.roles {
        let (role, delegator) = edge;
        let Some(delegator) = delegator else {
            alone.push(vec![edge]);
            continue;
        };
        let set = bins.entry(delegator).or_insert_with(|| {
            let view = before.published.known(delegator)?;
            view.delegations.as_ref().and_then(Bins::of)
        });
        match set {
            Some(bins) if bins.contains(role) => sets.entry(delegator).or_default().push(edge),
            _ => alone.push(vec![edge]),
        }
    }
    let mut forgeries = Vec::new();
    let mut removed = Vec::new();
    for edges in alone.into_iter().chain(sets.into_values()) {
        let mut chosen = None;
        // Prefer a role that lists targets, because a client that searches for one of these targets usually reads the
        // role.
        for edge in edges.into_iter().take(SEARCHED_OF_BINS) {
            let role = &edge.0;
            let targets = if role.is_top_level() { None } else { Some(repository.published.role(role)) };
            let is_full = match targets {
                None => false,
                Some(Ok(targets)) => !targets.is_empty(),
                Some(Err(Error::NotFound(_))) => {
                    // Bins are removed only as a set, so it is enough to check one of them.
                    removed.push(role.clone());
                    break;
                }
                Some(Err(error)) => return Err(error),
            };
            if chosen.is_none() || is_full {
                chosen = Some(edge);
            }
            if is_full {
                break;
            }
        }
        let Some((edge, ring)) = chosen.and_then(|edge| Some((edge, before.rings.get(edge)?))) else { continue };
        forgeries.push(forge(repository, &edge.0, ring, signer)?);
    }
    Ok((forgeries, removed))
}

fn forge(
    repository: &mut Repository,
    role: &RoleName,
    ring: &KeyRing,
    signer: &Arc<dyn Signer>,
) -> Result<Forgery, Error> {
    let later = repository.now() + chrono::TimeDelta::days(3650);
    let name = |root: &Root, role: &RoleName, version| role.file_name(root.version_in_name(role, version));
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
            files.insert(name(&repository.published.root, role, snapshot.version), forged.clone());
            list_in_timestamp(repository, &mut files, snapshot.version, &forged)?;
        }
        _ => {
            let mut targets = (**repository.published.role(role)?).clone();
            let version = repository.published.version(role).map_or(Ok(Version::ONE), next)?;
            (targets.version, targets.expires) = (version, later);
            lists = targets.paths().next();
            let forged = sign_forged(role, &targets, signer, ring, Some(repository))?;
            files.insert(name(&repository.published.root, role, version), forged);
            let mut snapshot = (*repository.published.snapshot).clone();
            snapshot.version = next(snapshot.version)?;
            snapshot.insert(role, MetaFile::new(version));
            let file = sign_right(&RoleName::SNAPSHOT, &snapshot, repository)?;
            files.insert(name(&repository.published.root, &RoleName::SNAPSHOT, snapshot.version), file.clone());
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

/// Signs a file with the keys that the published root lists.
fn sign_right<R: Role>(role: &RoleName, content: &R, repository: &Repository) -> Result<Vec<u8>, Error> {
    let required = vec![repository.published.root.key_ring(role)?];
    let mut document = Document::new(role, content, Rings { required, wanted: None });
    let published = Some(&repository.published);
    let draft = Draft::default();
    let reviewed = Reviewed::of(published, &draft, &document, &Accepted::default())?;
    document.sign(&repository.keys, repository.authority(), &reviewed)?;
    Ok(document.file()?.into())
}

/// Signs a file with the revoked key. If the threshold requires more signatures, other available keys of the key ring
/// sign it too.
fn sign_forged<R: Role>(
    role: &RoleName,
    content: &R,
    signer: &Arc<dyn Signer>,
    ring: &KeyRing,
    other_keys: Option<&Repository>,
) -> Result<Vec<u8>, Error> {
    let mut document = Document::new(role, content, Rings::default());
    let revoked = signer.public_key();
    let mut left = ring.threshold().get();
    let mut add = |id: lastmile_metadata::KeyId, signer: &dyn Signer| {
        let sig = signer.sign(document.signed()?.as_bytes()).map_err(|error| Error::key(&id, error))?;
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
        if let Some(other) = other_keys.map(|repository| repository.keys.file_signer(key)).transpose()?.flatten() {
            add(id.clone(), other.as_ref())?;
            left -= 1;
        }
    }
    Ok(document.file()?.into())
}

/// Looks at each delegator only once, because thousands of bins may have the same delegator.
fn rings_of(published: &Published, roles: &[Edge]) -> Result<BTreeMap<Edge, KeyRing>, Error> {
    let mut rings = BTreeMap::new();
    let mut delegated: BTreeMap<&RoleName, BTreeSet<&RoleName>> = BTreeMap::new();
    for (role, delegator) in roles {
        match delegator {
            None => drop(rings.insert((role.clone(), None), published.root.key_ring(role)?)),
            Some(delegator) => drop(delegated.entry(delegator).or_default().insert(role)),
        }
    }
    for (delegator, roles) in delegated {
        let view = published.known(delegator).and_then(|view| view.delegations.as_ref());
        let listed = view.iter().flat_map(|view| view.rings()).filter(|(role, _)| roles.contains(role));
        rings.extend(listed.map(|(role, ring)| ((role, Some(delegator.clone())), ring)));
    }
    match roles.iter().find(|edge| !rings.contains_key(*edge)) {
        Some((role, _)) => Err(NotFound::Delegation { role: role.clone() }.into()),
        None => Ok(rings),
    }
}

fn next(version: Version) -> Result<Version, Error> {
    version.next().ok_or_else(|| VersionError::ExhaustedForProof.into())
}
