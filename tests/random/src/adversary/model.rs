//! A model of the client. It applies the workflow of the TUF specification to documents whose content and signers are
//! recorded in [`Document`]. The model does not read bytes or verify signatures, and shares no code with the client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ledger::{Body, Delegation, Document, Listed, Ring, Role};
use super::policy::{self, Target};

/// The files that each mirror serves during one update. The index is the number of the mirror; the key of the map is
/// the file name.
pub(crate) type Served = Vec<BTreeMap<String, Arc<Document>>>;

/// The versions that the client has recorded. The client refuses a timestamp or snapshot that is older or that lists a
/// lower version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Floors {
    /// The version of the root that was trusted when `timestamp` and `snapshot` were recorded.
    pub(crate) root: u64,
    /// The version of the timestamp, and the version of the snapshot that it lists.
    pub(crate) timestamp: Option<(u64, u64)>,
    /// The version of the snapshot, and the versions of the roles that it lists.
    pub(crate) snapshot: Option<(u64, BTreeMap<Role, u64>)>,
}

#[derive(Clone, Debug)]
pub(crate) struct ClientState {
    /// All trusted roots, starting with the shipped root.
    pub(crate) roots: Vec<Arc<Document>>,
    pub(crate) files: BTreeMap<Role, Arc<Document>>,
    pub(crate) floors: Floors,
}

/// The documents that the client trusts after a successful update.
#[derive(Debug)]
pub(crate) struct Trusted {
    pub(crate) root: Arc<Document>,
    pub(crate) timestamp: Arc<Document>,
    pub(crate) snapshot: Arc<Document>,
    pub(crate) targets: Arc<Document>,
    /// The delegated roles that were loaded. The key of the map identifies the delegation: the delegating role, the
    /// delegated role and the keys that the delegation lists.
    pub(crate) delegated: BTreeMap<(Role, Role, Ring), Arc<Document>>,
}

/// A target, and the documents of the roles on its delegation chain.
type Found = (Vec<Arc<Document>>, Target);

/// The role at which the update or the search failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) Role);

pub(crate) struct Update<'s> {
    served: &'s Served,
    day: i32,
    /// The mirrors that lacked a required file, sent a file that was refused, or had an older root or timestamp than
    /// another mirror. The client asks these mirrors last.
    failed: BTreeSet<usize>,
}

impl ClientState {
    pub(crate) fn new(shipped: Arc<Document>) -> Self {
        let floors = Floors { root: shipped.version, timestamp: None, snapshot: None };
        Self { roots: vec![shipped], files: BTreeMap::new(), floors }
    }

    pub(crate) fn root(&self) -> &Arc<Document> {
        &self.roots[self.roots.len() - 1]
    }

    fn ring(&self, role: Role) -> &Ring {
        let Body::Root(rings) = &self.root().body else { panic!("a document in the chain of roots must be a root") };
        &rings[role as usize]
    }

    /// Returns `true` if any root after version `since` changed the keys of timestamp or snapshot.
    pub(crate) fn rotated_since(&self, since: u64) -> bool {
        let online = |root: &Arc<Document>| match &root.body {
            Body::Root([_, timestamp, snapshot, _]) => (timestamp.clone(), snapshot.clone()),
            _ => panic!("a document in the chain of roots must be a root"),
        };
        self.roots.windows(2).any(|step| step[1].version > since && online(&step[0]) != online(&step[1]))
    }
}

impl<'s> Update<'s> {
    pub(crate) fn new(served: &'s Served, day: i32) -> Self {
        Self { served, day, failed: BTreeSet::new() }
    }

    /// Runs steps 5.3 to 5.6.6 of the TUF specification. Files that pass their checks stay in `state` even if a later
    /// file is refused.
    pub(crate) fn run(&mut self, state: &mut ClientState) -> Result<Trusted, Refused> {
        self.root(state)?;
        let timestamp = self.timestamp(state)?;
        let snapshot = self.snapshot(state, &timestamp)?;
        let ring = state.ring(Role::Targets).clone();
        let targets = self.targets(state, &snapshot, Role::Targets, &ring)?;
        Ok(Trusted { root: Arc::clone(state.root()), timestamp, snapshot, targets, delegated: BTreeMap::new() })
    }

    /// Returns the mirrors in the order in which the client asks them.
    fn in_order(&self) -> impl Iterator<Item = usize> + use<> {
        let (bad, good): (Vec<_>, Vec<_>) = (0..self.served.len()).partition(|mirror| self.failed.contains(mirror));
        good.into_iter().chain(bad)
    }

    /// Requests a file from the mirrors in order, until `judge` accepts a response.
    fn ask<T>(&mut self, name: &str, mut judge: impl FnMut(&Arc<Document>) -> Option<T>) -> Option<T> {
        for mirror in self.in_order() {
            if let Some(answer) = self.served[mirror].get(name).and_then(&mut judge) {
                return Some(answer);
            }
            self.failed.insert(mirror);
        }
        None
    }

    fn root(&mut self, state: &mut ClientState) -> Result<(), Refused> {
        loop {
            let version = state.root().version + 1;
            let ring = state.ring(Role::Root).clone();
            let is_next = |document: &&Arc<Document>| {
                let Body::Root([own, ..]) = &document.body else { return false };
                document.version == version && ring.has_signed(document) && own.has_signed(document)
            };
            match self.next_root(&Role::Root.file(version), is_next).ok_or(Refused(Role::Root))? {
                None => break,
                Some(next) => state.roots.push(next),
            }
        }
        if state.root().expires <= self.day {
            return Err(Refused(Role::Root));
        }
        // TUF specification 5.3.11
        if state.rotated_since(state.floors.root) {
            state.files.remove(&Role::Timestamp);
            state.files.remove(&Role::Snapshot);
            (state.floors.timestamp, state.floors.snapshot) = (None, None);
        }
        state.floors.root = state.root().version;
        Ok(())
    }

    /// Returns `Some(Some(root))` if a mirror sends the next root, `Some(None)` if there is no next root, and `None` if
    /// all mirrors send wrong files. If a mirror answers that there is no next root, the client does not rely on this
    /// answer, and also asks all other mirrors that have not failed.
    fn next_root(&mut self, name: &str, is_next: impl Fn(&&Arc<Document>) -> bool) -> Option<Option<Arc<Document>>> {
        let served = self.served;
        let printed = |document: Option<&Arc<Document>>| match document {
            None => Some(None),
            Some(document) => Some(document).filter(&is_next).map(|document| Some(Arc::clone(document))),
        };
        let mut first = None;
        for mirror in self.in_order() {
            match printed(served[mirror].get(name)) {
                Some(None) => {
                    first = Some(mirror);
                    break;
                }
                Some(found) => return Some(found),
                None => self.failed.insert(mirror),
            };
        }
        let first = first?;
        let others: Vec<_> =
            self.in_order().filter(|mirror| *mirror != first && !self.failed.contains(mirror)).collect();
        for mirror in others {
            match printed(served[mirror].get(name)) {
                Some(Some(found)) => {
                    self.failed.insert(first);
                    return Some(Some(found));
                }
                Some(None) => {}
                None => drop(self.failed.insert(mirror)),
            }
        }
        Some(None)
    }

    fn timestamp(&mut self, state: &mut ClientState) -> Result<Arc<Document>, Refused> {
        let ring = state.ring(Role::Timestamp).clone();
        let listed = |document: &Document| match &document.body {
            Body::Timestamp(listed) if document.role == Role::Timestamp && ring.has_signed(document) => {
                Some(listed.version)
            }
            _ => None,
        };
        // After a crash, the version of the stored timestamp can be higher than the recorded version.
        let stored = state.files.get(&Role::Timestamp).cloned();
        if let Some((stored, snapshot)) = stored.as_ref().and_then(|stored| Some((stored, listed(stored)?))) {
            state.floors.timestamp = Some((stored.version, snapshot));
        }
        let floors = state.floors.timestamp;
        let day = self.day;
        let judge = |floors: Option<(u64, u64)>, stored: Option<&Arc<Document>>, document: &Arc<Document>| {
            let snapshot = listed(document)?;
            if let Some((version, _)) = floors
                && document.version == version
                && let Some(stored) = stored
            {
                return Some(Arc::clone(stored));
            }
            let is_old = floors.is_some_and(|(version, listed)| document.version < version || snapshot < listed);
            (!is_old && document.expires > day).then(|| Arc::clone(document))
        };
        let first = self.ask("timestamp.json", |document| judge(floors, stored.as_ref(), document));
        let mut new = first.ok_or(Refused(Role::Timestamp))?;
        // The client also asks the other mirrors, in case one has a newer timestamp. Mirrors that have failed are asked
        // last. So if the mirror that sent `new` has never failed, `mirrors` starts with that mirror. If it has failed
        // before, all mirrors have failed, and `mirrors` is empty.
        let mirrors: Vec<_> = self.in_order().filter(|mirror| !self.failed.contains(mirror)).collect();
        let mut its_mirror = mirrors.first().copied();
        let others = mirrors.get(1..).unwrap_or_default();
        for mirror in others {
            let floors = listed(&new).map(|snapshot| (new.version, snapshot));
            let Some(offered) = self.served[*mirror].get("timestamp.json") else { continue };
            match judge(floors, Some(&new), offered) {
                Some(newer) if newer.version > new.version => {
                    self.failed.extend(its_mirror);
                    (new, its_mirror) = (newer, Some(*mirror));
                }
                Some(_) => {}
                None => drop(self.failed.insert(*mirror)),
            }
        }
        state.floors.timestamp = listed(&new).map(|snapshot| (new.version, snapshot));
        state.files.insert(Role::Timestamp, Arc::clone(&new));
        if new.expires <= day { Err(Refused(Role::Timestamp)) } else { Ok(new) }
    }

    fn snapshot(&mut self, state: &mut ClientState, timestamp: &Document) -> Result<Arc<Document>, Refused> {
        let Body::Timestamp(listed) = &timestamp.body else { return Err(Refused(Role::Snapshot)) };
        let ring = state.ring(Role::Snapshot).clone();
        let versions = |document: &Document| match &document.body {
            Body::Snapshot(roles) if ring.has_signed(document) => {
                Some(roles.iter().map(|(role, listed)| (*role, listed.version)).collect::<BTreeMap<_, _>>())
            }
            _ => None,
        };
        let is_listed = |document: &Document| document.version == listed.version && listed.matches(document);
        let stored = state.files.get(&Role::Snapshot).cloned();
        if let Some((stored, roles)) = stored.as_ref().and_then(|stored| Some((stored, versions(stored)?))) {
            state.floors.snapshot = Some((stored.version, roles));
        }
        let floors = state.floors.snapshot.clone();
        let day = self.day;
        let new = match stored.filter(|stored| versions(stored).is_some() && is_listed(stored)) {
            Some(stored) => stored,
            None => {
                let judge = |document: &Arc<Document>| {
                    let roles = versions(document).filter(|_| is_listed(document) && document.expires > day)?;
                    let sinks = |(version, before): &(u64, BTreeMap<Role, u64>)| {
                        let role_sinks = |(role, before): (&Role, &u64)| roles.get(role).is_none_or(|now| now < before);
                        document.version < *version || before.iter().any(role_sinks)
                    };
                    (!floors.as_ref().is_some_and(sinks)).then(|| Arc::clone(document))
                };
                self.ask(&Role::Snapshot.file(listed.version), judge).ok_or(Refused(Role::Snapshot))?
            }
        };
        state.floors.snapshot = versions(&new).map(|roles| (new.version, roles));
        state.files.insert(Role::Snapshot, Arc::clone(&new));
        if new.expires <= day { Err(Refused(Role::Snapshot)) } else { Ok(new) }
    }

    fn targets(
        &mut self,
        state: &mut ClientState,
        snapshot: &Document,
        role: Role,
        ring: &Ring,
    ) -> Result<Arc<Document>, Refused> {
        let Body::Snapshot(roles) = &snapshot.body else { return Err(Refused(role)) };
        let listed: &Listed = roles.get(&role).ok_or(Refused(role))?;
        let day = self.day;
        let is_good = |document: &Arc<Document>| {
            let is_targets = matches!(document.body, Body::Targets(..));
            is_targets
                && document.version == listed.version
                && listed.matches(document)
                && ring.has_signed(document)
                && document.expires > day
        };
        if let Some(stored) = state.files.get(&role).filter(|stored| is_good(stored)) {
            return Ok(Arc::clone(stored));
        }
        let judge = |document: &Arc<Document>| is_good(document).then(|| Arc::clone(document));
        let new = self.ask(&role.file(listed.version), judge).ok_or(Refused(role))?;
        state.files.insert(role, Arc::clone(&new));
        Ok(new)
    }

    /// Searches for a package (TUF specification 5.6.7). If a policy applies to the package, searches for its evidence
    /// as well. Returns the length of the package, and `true` if the package may be installed.
    pub(crate) fn find(
        &mut self,
        state: &mut ClientState,
        trusted: &mut Trusted,
        path: &str,
    ) -> Result<Option<(u64, bool)>, Refused> {
        let Some((chain, Target::Package { length, has_evidence })) = self.target(state, trusted, path)? else {
            return Ok(None);
        };
        let mut evidence = None;
        let documents: Vec<&Document> = chain.iter().map(|document| &**document).collect();
        if has_evidence && policy::is_demanded(&documents, path) {
            evidence = match self.target(state, trusted, policy::evidence_path(path))? {
                Some((_, Target::Evidence(evidence))) => Some(evidence),
                _ => None,
            };
        }
        Ok(Some((length, policy::may_be_installed(&documents, path, length, evidence.as_ref()))))
    }

    fn target(&mut self, state: &mut ClientState, trusted: &mut Trusted, path: &str) -> Result<Option<Found>, Refused> {
        let targets = Arc::clone(&trusted.targets);
        self.search(state, trusted, path, &targets, &mut BTreeSet::new()).map(|(found, _)| found)
    }

    /// Searches `document` and the roles to which it delegates. Returns the target, if it was found, and `true` if the
    /// search is over. The search is over if the target was found or a terminating delegation was followed.
    fn search(
        &mut self,
        state: &mut ClientState,
        trusted: &mut Trusted,
        path: &str,
        document: &Arc<Document>,
        visited: &mut BTreeSet<Role>,
    ) -> Result<(Option<Found>, bool), Refused> {
        let Body::Targets(targets, delegations, _) = &document.body else { return Err(Refused(document.role)) };
        visited.insert(document.role);
        if let Some(target) = targets.get(path) {
            return Ok((Some((vec![Arc::clone(document)], target.clone())), true));
        }
        for Delegation { to, ring, terminating, .. } in delegations.iter().filter(|delegation| delegation.covers(path))
        {
            if !visited.contains(to) {
                let edge = (document.role, *to, ring.clone());
                let next = match trusted.delegated.get(&edge) {
                    Some(next) => Arc::clone(next),
                    None => self.targets(state, &trusted.snapshot, *to, ring)?,
                };
                trusted.delegated.insert(edge, Arc::clone(&next));
                let (mut found, over) = self.search(state, trusted, path, &next, visited)?;
                if over {
                    if let Some((chain, _)) = &mut found {
                        chain.insert(0, Arc::clone(document));
                    }
                    return Ok((found, true));
                }
            }
            if *terminating {
                return Ok((None, true));
            }
        }
        Ok((None, false))
    }
}
