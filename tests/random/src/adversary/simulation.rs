//! Runs one history with the real client, and compares the client with the model.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use lastmile_client::metadata::TargetPath;
use lastmile_client::{Error, Session};
use tokio::runtime::{Builder, Runtime};

use super::attacks::{Attacker, Overlay};
use super::history::{Action, History, Step};
use super::honest::Honest;
use super::ledger::{Body, Document, Key, ROLES, Ring, Role, day};
use super::model::{ClientState, Served, Trusted, Update};
use super::policy::{SIGNERS, Target};
use super::stage::{Client, trusted};

const PATHS: [&str; 4] = ["x", "a/1", "a/2", "b/1"];

pub(crate) struct Simulation {
    honest: Honest,
    attacker: Attacker,
    /// The files that each mirror serves instead of the honest files.
    overlays: Vec<Overlay>,
    /// All documents that were published or forged so far, by the content of their files.
    known: BTreeMap<Bytes, Arc<Document>>,
    client: Client,
    /// The state that the client must have, according to the model.
    state: ClientState,
    /// What the client trusted after its last successful update: the version of the root, and the versions of the other
    /// roles.
    seen: Option<(u64, Versions)>,
    day: i32,
    skew: i32,
    /// The number of changes to the store after which the next run crashes.
    crash_after: Option<u32>,
    verdicts: Verdicts,
}

/// How many packages the client has checked against policies, by verdict.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verdicts {
    /// The number of packages that the client may install.
    pub accepted: usize,
    /// The number of packages that a policy refuses.
    pub refused: usize,
}

impl Verdicts {
    fn count(&mut self, may_be_installed: bool) {
        if may_be_installed { self.accepted += 1 } else { self.refused += 1 }
    }
}

/// The versions of the timestamp, of the snapshot, and of the roles that the snapshot lists.
type Versions = BTreeMap<Role, u64>;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().unwrap();
    /// A cache of initial repositories, by the number that selects their features. The random histories use only 512
    /// different numbers, so that many histories share a repository.
    static REPOSITORIES: RefCell<BTreeMap<u32, Honest>> = RefCell::default();
}

/// Runs a history.
///
/// # Errors
/// Returns a description of the first difference between the client and the model, or of the first violation of a rule
/// that does not depend on the model.
pub(crate) fn simulate(history: &History) -> Result<Verdicts, String> {
    let honest = REPOSITORIES.with_borrow_mut(|known| {
        if known.len() > 2_000 {
            known.clear();
        }
        known.entry(history.kind & 0x0fff_ffff).or_insert_with_key(|kind| Honest::new(*kind)).clone()
    });
    let mirrors = if history.kind >> 28 & 3 == 0 { 2 } else { 1 };
    let shipped = Arc::clone(&honest.now[&Role::Root]);
    let mut simulation = Simulation {
        attacker: Attacker::default(),
        overlays: vec![Overlay::new(); mirrors],
        known: BTreeMap::new(),
        client: Client::new(&shipped.bytes, mirrors, history.kind >> 30 & 1 == 0),
        state: ClientState::new(shipped),
        seen: None,
        day: 0,
        skew: 0,
        crash_after: None,
        verdicts: Verdicts::default(),
        honest,
    };
    simulation.record_documents();
    for (number, step) in history.steps.iter().enumerate() {
        simulation.step(*step).map_err(|problem| format!("step {number}, {step}: {problem}"))?;
    }
    simulation.recover().map_err(|problem| format!("at the end: {problem}"))?;
    Ok(simulation.verdicts)
}

impl Simulation {
    fn step(&mut self, Step { act, by }: Step) -> Result<(), String> {
        self.honest.at(self.day);
        let pick = |roles: &[Role]| roles[by as usize % roles.len()];
        match act {
            Action::Publish => self.honest.publish(&[pick(&ROLES)], &BTreeSet::new()),
            Action::Renew => self.honest.renew(),
            Action::Rotate => self.honest.rotate(&[pick(&ROLES)], &BTreeSet::new(), None),
            Action::Revoke => self.honest.rotate(&[pick(&ROLES)], self.attacker.keys(), None),
            Action::Threshold => {
                self.honest.rotate(&[pick(&ROLES)], &BTreeSet::new(), Some(by as usize / 8 % 3 + 1));
            }
            Action::Redelegate => self.honest.redelegate(by),
            Action::Steal => {
                let ring = &self.honest.rings[pick(&ROLES) as usize];
                let most = if by >> 8 & 3 == 0 { 1 } else { ring.keys.len() };
                self.attacker.steal(ring.keys.iter().take(most).copied());
                if by >> 10 & 3 == 0 {
                    self.attacker.steal([SIGNERS[by as usize >> 12 & 1]].into_iter());
                }
            }
            Action::Attack => self.attacker.attack(&self.honest, &mut self.overlays, self.day, by),
            Action::Forge => self.attacker.forge_one(&self.honest, &mut self.overlays, self.day, by),
            Action::Replay => {
                let old: Vec<_> = self.known.values().collect();
                Attacker::replay(&self.honest, &mut self.overlays, &old, by);
            }
            Action::Withhold => Attacker::withhold(&self.honest, &mut self.overlays, by),
            Action::Garble => Attacker::garble(&self.honest, &mut self.overlays, by),
            Action::Heal => self.overlays.iter_mut().for_each(Overlay::clear),
            Action::Wait => self.day += by as i32 % 12,
            Action::Skew => self.skew = by as i32 % 120 - 60,
            Action::Policy => self.honest.change_policies(by),
            Action::Die => self.crash_after = Some(by % 10),
            Action::Run => {
                self.run(&[PATHS[by as usize % PATHS.len()]])?;
            }
        }
        self.record_documents();
        Ok(())
    }

    /// Adds the current documents of the repository and the attacker to `known`. From now on, the network also serves
    /// the evidence files that these documents list.
    fn record_documents(&mut self) {
        let made = self.honest.now.values().cloned();
        let forged = self.overlays.iter().flat_map(|overlay| overlay.values().flatten().cloned());
        for document in made.chain(forged) {
            if let Body::Targets(targets, ..) = &document.body {
                for target in targets.values() {
                    if let Target::Evidence(evidence) = target {
                        self.client.network.offer(evidence);
                    }
                }
            }
            self.known.entry(document.bytes.clone()).or_insert(document);
        }
    }

    fn served(&self) -> Served {
        let served = |overlay: &Overlay| {
            let mut files = self.honest.files.clone();
            for (name, shown) in overlay {
                match shown {
                    Some(document) => files.insert(name.clone(), Arc::clone(document)),
                    None => files.remove(name),
                };
            }
            files
        };
        self.overlays.iter().map(served).collect()
    }

    /// Runs a refresh and searches for `paths`, with the client and with the model. Returns `true` if the refresh and
    /// all searches succeeded.
    fn run(&mut self, paths: &[&str]) -> Result<bool, String> {
        let served = self.served();
        let now = self.day + self.skew;
        let before = self.state.clone();
        let mut update = Update::new(&served, now);
        let mut expected = update.run(&mut self.state);
        let expected_found: Vec<_> = match &mut expected {
            Ok(trusted) => paths.iter().map(|path| update.find(&mut self.state, trusted, path)).collect(),
            Err(_) => Vec::new(),
        };

        self.client.network.serve(served.clone());
        self.client.store.crash_after(self.crash_after.take());
        let updater = &self.client.updater;
        let (session, found) = RUNTIME.with(|runtime| {
            runtime.block_on(async {
                let mut session = updater.refresh_at(day(now)).await;
                let mut found = Vec::new();
                if let Ok(session) = &mut session {
                    for path in paths {
                        found.push(find_and_judge(session, path).await);
                    }
                }
                (session.as_ref().map(trusted).map_err(|error| format!("{error:?}")), found)
            })
        });
        let crashed = self.client.store.has_crashed();
        self.client.store.crash_after(None);
        let shipped = Arc::clone(&self.state.roots[0]);
        let actual = self.client.store.state(&shipped, &self.known);

        if let Ok(documents) = &session {
            self.check_trusted(documents, &actual)?;
        }
        if crashed {
            check_after_crash(&before, &actual, &self.state)?;
            self.state = actual;
            return Ok(false);
        }
        check_state(&self.state, &actual)?;
        match (&expected, &session) {
            (Ok(expected), Ok(session)) => check_session(expected, session)?,
            (Err(_), Err(_)) => {}
            (expected, session) => {
                let names = session.as_ref().map(|_| "everything");
                return Err(format!("expected {expected:?}, but the client trusts {names:?}"));
            }
        }
        for ((path, expected), found) in paths.iter().zip(&expected_found).zip(&found) {
            if found.as_ref().ok() != expected.as_ref().ok() {
                return Err(format!("for {path}: expected {expected:?}, but the client found {found:?}"));
            }
            if let Ok(Some((_, may_be_installed))) = expected {
                self.verdicts.count(*may_be_installed);
            }
        }
        Ok(expected.is_ok() && expected_found.iter().all(Result::is_ok))
    }

    /// Checks rules that do not depend on the model. Every trusted root must be signed with enough of its own keys and
    /// of the keys of the previous root. The other trusted top-level roles must be signed with enough of the keys that
    /// the newest root lists. No trusted top-level role may have expired. No trusted version may have decreased, unless
    /// the timestamp or snapshot keys were replaced.
    fn check_trusted(&mut self, documents: &[Vec<u8>; 4], state: &ClientState) -> Result<(), String> {
        for pair in state.roots.windows(2) {
            let [before, after] = [&pair[0], &pair[1]];
            if !ring(before, Role::Root).has_signed(after) || !ring(after, Role::Root).has_signed(after) {
                return Err(format!("root version {} does not have enough signatures", after.version));
            }
        }
        let root = state.root();
        let mut versions = Versions::new();
        for (role, bytes) in [Role::Root, Role::Timestamp, Role::Snapshot, Role::Targets].into_iter().zip(documents) {
            let document = self.known.get(&bytes[..]).ok_or("the client trusts an unknown document")?;
            if document.role != role || !ring(root, role).has_signed(document) {
                return Err(format!("the client trusts {document:?} as {}, without enough signatures", role.name()));
            }
            if document.expires <= self.day + self.skew {
                return Err(format!("the client trusts {}, which has expired", role.name()));
            }
            if let Body::Snapshot(listed) = &document.body {
                versions.extend(listed.iter().map(|(role, listed)| (*role, listed.version)));
            }
            if role != Role::Root {
                versions.insert(role, document.version);
            }
        }
        if let Some((since, before)) = &self.seen
            && !state.rotated_since(*since)
            && let Some((role, before)) =
                before.iter().find(|(role, before)| versions.get(role).is_none_or(|now| now < before))
        {
            return Err(format!(
                "version {before} of {} was trusted before, but the trusted versions are now {versions:?}",
                role.name()
            ));
        }
        self.seen = Some((root.version, versions));
        Ok(())
    }

    /// Makes the network honest again, replaces the stolen keys of the repository and corrects the clock. Then checks
    /// that one run brings the client up to date, unless the client trusts a root from the attacker.
    fn recover(&mut self) -> Result<(), String> {
        self.overlays.iter_mut().for_each(Overlay::clear);
        self.skew = 0;
        self.crash_after = None;
        let lost: BTreeSet<Key> = self.attacker.keys().intersection(&self.honest.keys()).copied().collect();
        self.honest.at(self.day);
        if !lost.is_empty() {
            let is_lost = |role: &Role| !self.honest.rings[*role as usize].keys.is_disjoint(&lost);
            let roles: Vec<_> = ROLES.into_iter().filter(is_lost).collect();
            self.honest.rotate(&roles, &lost, None);
        }
        self.record_documents();
        self.honest.renew();
        self.record_documents();
        // A client that trusts a root from the attacker cannot recover. The attacker needs enough stolen root keys to
        // create such a root.
        let is_lost = self.state.roots.iter().any(|root| {
            self.honest.files.get(&Role::Root.file(root.version)).is_none_or(|honest| honest.bytes != root.bytes)
        });
        let all_well = self.run(&PATHS)?;
        if is_lost {
            return Ok(());
        }
        let latest = |role: &Role| self.state.files.get(role).map(|document| &document.bytes);
        let behind = ROLES.into_iter().filter(|role| *role != Role::Root && *role != Role::B);
        let behind: Vec<_> = behind.filter(|role| latest(role) != Some(&self.honest.now[role].bytes)).collect();
        if !all_well || !behind.is_empty() {
            return Err(format!("one honest run did not bring the client up to date; outdated roles: {behind:?}"));
        }
        Ok(())
    }
}

/// Searches for a package and checks it against the policies that apply to it. Returns the length of the package, and
/// `true` if the package may be installed.
async fn find_and_judge(session: &mut Session, path: &str) -> Result<Option<(u64, bool)>, Error> {
    let Some(target) = session.find(&TargetPath::new(path).unwrap()).await? else { return Ok(None) };
    let verdict = session.judge(&target).await?;
    Ok(Some((target.length, verdict.check().is_ok())))
}

fn ring(root: &Document, role: Role) -> Ring {
    match &root.body {
        Body::Root(rings) => rings[role as usize].clone(),
        _ => panic!("a document in the chain of roots must be a root"),
    }
}

fn check_session(expected: &Trusted, session: &[Vec<u8>; 4]) -> Result<(), String> {
    let Trusted { root, timestamp, snapshot, targets, .. } = expected;
    for (expected, bytes) in [root, timestamp, snapshot, targets].into_iter().zip(session) {
        if expected.bytes != *bytes {
            return Err(format!("the client does not trust the expected {}: {expected:?}", expected.role.name()));
        }
    }
    Ok(())
}

fn check_state(expected: &ClientState, found: &ClientState) -> Result<(), String> {
    let versions = |state: &ClientState| state.roots.iter().map(|root| root.bytes.clone()).collect::<Vec<_>>();
    if versions(expected) != versions(found) {
        return Err(format!(
            "the client has roots up to version {}, expected {}",
            found.root().version,
            expected.root().version
        ));
    }
    for role in ROLES {
        let bytes = |state: &ClientState| state.files.get(&role).map(|document| document.bytes.clone());
        if bytes(expected) != bytes(found) {
            let [expected, found] = [expected, found].map(|state| state.files.get(&role));
            return Err(format!("the client has {found:?}, expected {expected:?}"));
        }
    }
    if expected.floors != found.floors {
        return Err(format!("the client has recorded the versions {:?}, expected {:?}", found.floors, expected.floors));
    }
    Ok(())
}

/// Checks the stored state after a crash. The file of each top-level role and the recorded versions must be those from
/// before the update or those from after the update. If the keys of timestamp or snapshot were rotated, the files and
/// the recorded versions of both roles may also be missing.
fn check_after_crash(before: &ClientState, found: &ClientState, after: &ClientState) -> Result<(), String> {
    let bytes = |state: &ClientState| state.roots.iter().map(|root| root.bytes.clone()).collect::<Vec<_>>();
    let before_roots = bytes(before);
    let found_roots = bytes(found);
    let after_roots = bytes(after);
    if !found_roots.starts_with(&before_roots) || !after_roots.starts_with(&found_roots) {
        return Err(format!("after a crash the client has roots up to version {}", found.root().version));
    }
    let forgets = found.rotated_since(before.floors.root);
    for role in [Role::Timestamp, Role::Snapshot, Role::Targets] {
        let [before, found, after] =
            [before, found, after].map(|state| state.files.get(&role).map(|document| &document.bytes));
        let gone = found.is_none() && forgets && role != Role::Targets;
        if found != before && found != after && !gone {
            return Err(format!("after a crash the client has an unexpected {}", role.name()));
        }
    }
    let old = &before.floors;
    let now = &found.floors;
    let new = &after.floors;
    let timestamp = now.timestamp == old.timestamp || now.timestamp == new.timestamp;
    let snapshot = now.snapshot == old.snapshot || now.snapshot == new.snapshot;
    let gone = forgets && (timestamp || now.timestamp.is_none()) && (snapshot || now.snapshot.is_none());
    if !(timestamp && snapshot || gone) {
        return Err(format!("after a crash the recorded versions are {now:?}, expected {old:?} or {new:?}"));
    }
    Ok(())
}
