//! Checks a [`Draft`], a change that has not been published, with simulated clients. If the clients refuse the new
//! metadata, the change is not published.

mod bulk;
pub(crate) mod damage;
pub(crate) mod faults;
pub(crate) mod finding;
pub(crate) mod folder_state;
pub(crate) mod gate;
pub(crate) mod lint;
pub(crate) mod overlay;
pub(crate) mod policies;
pub(crate) mod practice;
pub(crate) mod simulated_client;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_attest::Refused;
use lastmile_client::{Error as ClientError, MemoryStore, blocking};
use lastmile_metadata::{
    Limits, RoleName, Root, Stage as _, TargetFile, TargetNames, TargetPath, TrustedMetadata, Version,
};

use crate::check::overlay::Overlay;
use crate::check::policies::FailingPackages;
use crate::check::simulated_client::{client, reading_limits, refresh};
use crate::document::{Document, DocumentFile, Rings};
use crate::draft::Draft;
use crate::files::layout::Layout;
use crate::files::roots;
use crate::publish::completed::Completed;
use crate::publish::plan::Plan;
use crate::published::Published;
use crate::{DraftError, Error, NotFoundReason, parallel};

/// The maximum number of searches by one simulated client. If more targets than this have changed, listing all targets
/// is faster than searching for each one.
const MANY: usize = 1000;

/// In a repository with more roots than this, no client is simulated for a root that is like the root before it
/// ([`is_alike`]).
pub(crate) const MANY_ROOTS: u64 = 64;

/// Returns whether both roots have the same keys, roles and `consistent_snapshot`. If so, clients shipped with either
/// root take the same steps, so testing clients shipped with `before` is enough.
pub(crate) fn is_alike(before: &Root, next: &Root) -> bool {
    (&before.keys, &before.roles, before.consistent_snapshot) == (&next.keys, &next.roles, next.consistent_snapshot)
}

pub(crate) struct Check<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) published: Option<&'a Published>,
    pub(crate) draft: &'a Draft,
    pub(crate) completed: &'a Completed,
    pub(crate) now: DateTime<Utc>,
    /// How target files are named if the root enables consistent snapshots. Without consistent snapshots, the names of
    /// target files never contain a hash.
    pub(crate) names: TargetNames,
    /// Whether the draft may make clients refuse packages that are already published.
    pub(crate) failing: FailingPackages,
}

/// Proof that simulated clients accept a draft. Publishing a draft requires this value (R-x-1 in tests/spec-rows.txt).
pub(crate) struct Checked {
    /// The state of the repository after publication, with the new files in memory.
    pub(crate) published: Published,
    /// The published packages that clients will refuse after publication.
    pub(crate) refused: Vec<Refused>,
}

impl Check<'_> {
    /// Returns the time at which the simulated clients update. This is normally the current time. However, an expired
    /// role must not prevent the renewal of the timestamp. If the draft only renews online roles, and top-level roles
    /// that it does not renew have expired, the clients update one second before the earliest expiry of these roles.
    pub(crate) fn time(now: DateTime<Utc>, published: Option<&Published>, plan: &Plan) -> Result<DateTime<Utc>, Error> {
        let (Some(published), true) = (published, plan.draft.renews_only_online_roles()) else { return Ok(now) };
        let expiries = [
            (RoleName::ROOT, published.root.expires),
            (RoleName::SNAPSHOT, published.snapshot.expires),
            (RoleName::TARGETS, published.targets()?.expires),
        ];
        let is_renewed = |role: &RoleName| plan.completed.all().any(|document| document.role == *role);
        let others = expiries.into_iter().filter(|(role, _)| !is_renewed(role));
        Ok(others.fold(now, |time, (_, expires)| time.min(expires - TimeDelta::seconds(1))))
    }

    /// Runs a new client and, if a state is published, a client that trusts that state. Both clients must update to the
    /// draft, and the new client must find the added targets. The clients run on other threads. At the same time,
    /// `meanwhile` runs on the current thread.
    pub(crate) fn run<T>(&self, meanwhile: impl FnOnce() -> T) -> (Result<Checked, Error>, T) {
        thread::scope(|scope| {
            let checking = scope.spawn(|| self.run_both());
            let done = meanwhile();
            let checked = checking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (checked, done)
        })
    }

    fn run_both(&self) -> Result<Checked, Error> {
        let documents: Vec<&Document> = self.completed.all().collect();
        parallel::try_for_each(&documents, |document| gate::admit_file(self.published, document))?;
        let files = files(self.completed, self.draft.root_after(self.published)?);
        let shipped = match files.get("1.root.json") {
            Some(first) => first.read()?.into(),
            None => roots::oldest_root(self.layout)?,
        };
        let overlay = Overlay::new(self.layout, files);
        let known = self.published.and_then(Published::reusable_targets);
        let make_from =
            |root: &[u8], memory| client(root.to_vec(), overlay.clone(), memory, Limits::default(), known.clone());
        let make = |memory| make_from(&shipped, memory);
        thread::scope(|scope| {
            let warm = self.published.map(|published| {
                // This client trusts the published metadata even if the metadata has expired, like a client that
                // fetched it earlier.
                scope.spawn(|| {
                    self.refresh_to_new_state(&make_from(published.shipped(), published.memory().fork())?).map(drop)
                })
            });
            let memory = MemoryStore::default();
            let fresh =
                make(memory.clone()).and_then(|client| self.refresh_to_new_state(&client)).and_then(|mut session| {
                    self.find_touched(&mut session)?;
                    let new_session =
                        || make(MemoryStore::default()).and_then(|client| self.refresh_to_new_state(&client));
                    let reached = VisitedRoles::default();
                    reached.note(&session);
                    self.find_filled(&new_session, &reached)?;
                    self.reach_others(&new_session, &reached)?;
                    self.verify_others(&reached)?;
                    let refused = self.judge_packages(&mut session, &|| {
                        let limits = reading_limits();
                        let known = known.clone();
                        self.refresh_to_new_state(&client(
                            shipped.clone(),
                            overlay.clone(),
                            MemoryStore::default(),
                            limits,
                            known,
                        )?)
                    })?;
                    let published = Published::new(overlay.clone(), session.trusted(), shipped.clone(), memory)?;
                    Ok(Checked { published, refused })
                });
            let warm = warm.map(|warm| warm.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            let checked = fresh?;
            warm.transpose()?;
            Ok(checked)
        })
    }

    fn refresh_to_new_state(&self, client: &blocking::Updater) -> Result<blocking::Session, Error> {
        let session = refresh(client, self.now).map_err(refused)?;
        for document in self.completed.all().filter(|document| document.role.is_top_level()) {
            let found = version_of(&session, &document.role);
            if found != document.version {
                let role = document.role.clone();
                let expected = document.version;
                return Err(DraftError::OtherVersion { role, found, expected }.into());
            }
        }
        Ok(session)
    }

    /// Checks that clients find every added or changed target. Does not check removed targets, because another role may
    /// still list them.
    fn find_touched(&self, session: &mut blocking::Session) -> Result<(), Error> {
        let touched = &self.draft.touched;
        if touched.is_empty() {
            return Ok(());
        }
        let mut listed: BTreeMap<TargetPath, Vec<(&RoleName, TargetFile)>> = BTreeMap::new();
        for (role, content) in &self.draft.targets {
            let targets = content.read()?;
            let paths = targets.paths().filter(|path| touched.contains(path));
            for target in paths.filter_map(|path| targets.target(&path)) {
                listed.entry(target.path.clone()).or_default().push((role, target));
            }
        }
        if listed.len() > MANY {
            let all = session.list().map_err(refused)?;
            let all: BTreeMap<&TargetPath, &TargetFile> = all.iter().map(|target| (&target.path, target)).collect();
            let trusted = session.trusted();
            return listed
                .iter()
                .try_for_each(|(path, listed)| check_found(path, listed, all.get(path).copied(), trusted));
        }
        for (path, listed) in &listed {
            let found = session.find(path).map_err(refused)?;
            check_found(path, listed, found.as_deref(), session.trusted())?;
        }
        Ok(())
    }

    /// Searches for one target in each changed role that has not been visited yet, so that a client verifies the role.
    fn reach_others(&self, new_session: &NewSession<'_>, reached: &VisitedRoles) -> Result<(), Error> {
        let Draft { targets, touched, bulk_filled, .. } = self.draft;
        let mut paths = Vec::new();
        let others = targets.iter().filter(|(role, _)| !role.is_top_level() && !bulk_filled.contains(*role));
        for (_, content) in others {
            let targets = content.read()?;
            if touched.is_empty() || !targets.paths().any(|path| touched.contains(&path)) {
                paths.extend(targets.paths().next());
            }
        }
        let parts: Vec<&[TargetPath]> = paths.chunks(MANY).collect();
        parallel::try_for_each(&parts, |paths| {
            let mut session = new_session()?;
            session.expect_many_searches();
            let mut found = paths.iter().map(|path| session.find(path).map(drop).map_err(refused));
            found.try_for_each(|found| found)?;
            reached.note(&session);
            Ok(())
        })
    }

    /// Verifies the changed roles that no search has visited. These roles list no targets, or only targets that roles
    /// with a higher priority also list. Also verifies each changed role that must be signed with a threshold of keys
    /// from each of several key rings, for example because several roles delegate to it: a search verifies a role with
    /// only one key ring.
    fn verify_others(&self, reached: &VisitedRoles) -> Result<(), Error> {
        let reached = reached.roles();
        let is_other = |document: &&Document| {
            let Rings { required, wanted } = document.rings();
            let is_verified = reached.contains(&document.role) && required.len() == 1 && wanted.is_none();
            !document.role.is_top_level() && !is_verified
        };
        let others: Vec<&Document> = self.completed.all().filter(is_other).collect();
        parallel::try_for_each(&others, |document| document.verify())
    }
}

/// A function that creates a simulated client, updates the client to the draft and returns its session.
pub(crate) type NewSession<'a> = dyn Fn() -> Result<blocking::Session, Error> + Sync + 'a;

#[derive(Default)]
pub(crate) struct VisitedRoles(Mutex<BTreeSet<RoleName>>);

impl VisitedRoles {
    pub(crate) fn note(&self, session: &blocking::Session) {
        self.roles().extend(session.trusted().delegated().map(|(role, _)| role.clone()));
    }

    fn roles(&self) -> MutexGuard<'_, BTreeSet<RoleName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn refused(error: ClientError) -> Error {
    DraftError::Client(error.into()).into()
}

/// Checks that a search for `path` returned one of the target entries in `listed`. Each entry comes with the role that
/// lists it.
pub(crate) fn check_found(
    path: &TargetPath,
    listed: &[(&RoleName, TargetFile)],
    found: Option<&TargetFile>,
    trusted: &TrustedMetadata,
) -> Result<(), Error> {
    if listed.iter().any(|(_, target)| found == Some(target)) {
        return Ok(());
    }
    let Some((role, _)) = listed.first() else { return Ok(()) };
    let reason = hidden_by(path, trusted)?;
    Err(DraftError::TargetNotFound { path: path.clone(), role: (*role).clone(), reason }.into())
}

/// Explains why a client does not find a listed target, by repeating the search in the roles that the client has
/// visited.
pub(crate) fn hidden_by(path: &TargetPath, trusted: &TrustedMetadata) -> Result<NotFoundReason, Error> {
    let mut trusted = trusted.clone();
    let search = trusted.search(path.clone());
    let terminated_by = search.terminated_by().cloned();
    let holder = search.finish()?.and_then(|found| found.chain.into_iter().next_back());
    Ok(match (holder, terminated_by) {
        (Some((by, _)), _) => NotFoundReason::Shadowed { by },
        (None, Some(by)) => NotFoundReason::Terminated { by },
        (None, None) => NotFoundReason::NotCovered,
    })
}

/// Returns the files of all documents, each with the name under which clients request it.
pub(crate) fn files(completed: &Completed, root: &Root) -> BTreeMap<String, DocumentFile> {
    let named = completed.all().map(|document| {
        let version = root.version_in_name(&document.role, document.version);
        (document.role.file_name(version), document.document_file())
    });
    named.collect()
}

fn version_of(session: &blocking::Session, role: &RoleName) -> Version {
    let trusted = session.trusted();
    match role.as_str() {
        "root" => trusted.root().version,
        "timestamp" => trusted.timestamp().version,
        "snapshot" => trusted.snapshot().version,
        _ => trusted.targets().version(),
    }
}
