//! The reference: what a client may trust, said a second time in terms of who made which document. No bytes are read
//! here, no signature is verified, and nothing is shared with the client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::paper::{Delegation, Listed, Paper, Part, Ring, Says};

/// What the servers would answer in one update: by mirror, then by name.
pub(crate) type Served = Vec<BTreeMap<String, Arc<Paper>>>;

/// The lowest that may still be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// The root under which the rest was accepted.
    pub(crate) root: u64,
    pub(crate) timestamp: Option<(u64, u64)>,
    pub(crate) snapshot: Option<(u64, BTreeMap<Part, u64>)>,
}

/// All that a client keeps.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// From the shipped root on.
    pub(crate) roots: Vec<Arc<Paper>>,
    pub(crate) files: BTreeMap<Part, Arc<Paper>>,
    pub(crate) marks: Marks,
}

/// What one update comes to trust.
#[derive(Debug)]
pub(crate) struct Trusted {
    pub(crate) root: Arc<Paper>,
    pub(crate) timestamp: Arc<Paper>,
    pub(crate) snapshot: Arc<Paper>,
    pub(crate) targets: Arc<Paper>,
    /// Delegated roles: who trusts whom with which keys.
    pub(crate) delegated: BTreeMap<(Part, Part, Ring), Arc<Paper>>,
}

/// The role whose file is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) Part);

/// One update: who asks whom on which day.
pub(crate) struct Update<'s> {
    served: &'s Served,
    day: i32,
    /// Mirrors that sent something wrong are asked last.
    failed: BTreeSet<usize>,
}

impl Kept {
    /// A client that was just installed.
    pub(crate) fn new(shipped: Arc<Paper>) -> Self {
        let marks = Marks { root: shipped.version, timestamp: None, snapshot: None };
        Self { roots: vec![shipped], files: BTreeMap::new(), marks }
    }

    pub(crate) fn root(&self) -> &Arc<Paper> {
        &self.roots[self.roots.len() - 1]
    }

    fn ring(&self, part: Part) -> &Ring {
        let Says::Root(rings) = &self.root().says else { panic!("a root is a root") };
        &rings[part as usize]
    }

    /// Whether timestamp or snapshot got other keys at any step after the root of version `since`.
    pub(crate) fn rotated_since(&self, since: u64) -> bool {
        let online = |root: &Arc<Paper>| match &root.says {
            Says::Root([_, timestamp, snapshot, _]) => (timestamp.clone(), snapshot.clone()),
            _ => panic!("a root is a root"),
        };
        self.roots.windows(2).any(|step| step[1].version > since && online(&step[0]) != online(&step[1]))
    }
}

impl<'s> Update<'s> {
    pub(crate) fn new(served: &'s Served, day: i32) -> Self {
        Self { served, day, failed: BTreeSet::new() }
    }

    /// 5.3 to 5.6.6, and what is kept in any case.
    pub(crate) fn run(&mut self, kept: &mut Kept) -> Result<Trusted, Refused> {
        self.root(kept)?;
        let timestamp = self.timestamp(kept)?;
        let snapshot = self.snapshot(kept, &timestamp)?;
        let ring = kept.ring(Part::Targets).clone();
        let targets = self.targets(kept, &snapshot, Part::Targets, &ring)?;
        Ok(Trusted { root: Arc::clone(kept.root()), timestamp, snapshot, targets, delegated: BTreeMap::new() })
    }

    /// Those that have failed come last.
    fn in_order(&self) -> impl Iterator<Item = usize> + use<> {
        let (bad, good): (Vec<_>, Vec<_>) = (0..self.served.len()).partition(|mirror| self.failed.contains(mirror));
        good.into_iter().chain(bad)
    }

    /// Asks the mirrors in turn for a file until `judge` accepts it.
    fn ask<T>(&mut self, name: &str, mut judge: impl FnMut(&Arc<Paper>) -> Option<T>) -> Option<T> {
        for mirror in self.in_order() {
            if let Some(answer) = self.served[mirror].get(name).and_then(&mut judge) {
                return Some(answer);
            }
            self.failed.insert(mirror);
        }
        None
    }

    fn root(&mut self, kept: &mut Kept) -> Result<(), Refused> {
        loop {
            let version = kept.root().version + 1;
            let ring = kept.ring(Part::Root).clone();
            let is_next = |paper: &&Arc<Paper>| {
                let Says::Root([own, ..]) = &paper.says else { return false };
                paper.version == version && ring.vouches_for(paper) && own.vouches_for(paper)
            };
            match self.next_root(&Part::Root.file(version), is_next).ok_or(Refused(Part::Root))? {
                None => break,
                Some(next) => kept.roots.push(next),
            }
        }
        if kept.root().expires <= self.day {
            return Err(Refused(Part::Root));
        }
        // 5.3.11
        if kept.rotated_since(kept.marks.root) {
            kept.files.remove(&Part::Timestamp);
            kept.files.remove(&Part::Snapshot);
            (kept.marks.timestamp, kept.marks.snapshot) = (None, None);
        }
        kept.marks.root = kept.root().version;
        Ok(())
    }

    /// The next root, if there is one; that it is absent is an answer, about which the other mirrors are asked as well.
    fn next_root(&mut self, name: &str, is_next: impl Fn(&&Arc<Paper>) -> bool) -> Option<Option<Arc<Paper>>> {
        let served = self.served;
        let said = |paper: Option<&Arc<Paper>>| match paper {
            None => Some(None),
            Some(paper) => Some(paper).filter(&is_next).map(|paper| Some(Arc::clone(paper))),
        };
        let mut first = None;
        for mirror in self.in_order() {
            match said(served[mirror].get(name)) {
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
            match said(served[mirror].get(name)) {
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

    fn timestamp(&mut self, kept: &mut Kept) -> Result<Arc<Paper>, Refused> {
        let ring = kept.ring(Part::Timestamp).clone();
        let listed = |paper: &Paper| match &paper.says {
            Says::Timestamp(listed) if paper.part == Part::Timestamp && ring.vouches_for(paper) => Some(listed.version),
            _ => None,
        };
        // A crash may have left a file that is newer than the marks.
        let stored = kept.files.get(&Part::Timestamp).cloned();
        if let Some((stored, snapshot)) = stored.as_ref().and_then(|stored| Some((stored, listed(stored)?))) {
            kept.marks.timestamp = Some((stored.version, snapshot));
        }
        let (marks, day) = (kept.marks.timestamp, self.day);
        let judge = |paper: &Arc<Paper>| {
            let snapshot = listed(paper)?;
            if let Some((version, _)) = marks
                && paper.version == version
                && let Some(stored) = &stored
            {
                return Some(Arc::clone(stored));
            }
            let is_old = marks.is_some_and(|(version, listed)| paper.version < version || snapshot < listed);
            (!is_old && paper.expires > day).then(|| Arc::clone(paper))
        };
        let new = self.ask("timestamp.json", judge).ok_or(Refused(Part::Timestamp))?;
        kept.marks.timestamp = listed(&new).map(|snapshot| (new.version, snapshot));
        kept.files.insert(Part::Timestamp, Arc::clone(&new));
        if new.expires <= day { Err(Refused(Part::Timestamp)) } else { Ok(new) }
    }

    fn snapshot(&mut self, kept: &mut Kept, timestamp: &Paper) -> Result<Arc<Paper>, Refused> {
        let Says::Timestamp(listed) = &timestamp.says else { return Err(Refused(Part::Snapshot)) };
        let ring = kept.ring(Part::Snapshot).clone();
        let versions = |paper: &Paper| match &paper.says {
            Says::Snapshot(roles) if ring.vouches_for(paper) => {
                Some(roles.iter().map(|(part, listed)| (*part, listed.version)).collect::<BTreeMap<_, _>>())
            }
            _ => None,
        };
        let is_listed = |paper: &Paper| paper.version == listed.version && listed.matches(paper);
        let stored = kept.files.get(&Part::Snapshot).cloned();
        if let Some((stored, roles)) = stored.as_ref().and_then(|stored| Some((stored, versions(stored)?))) {
            kept.marks.snapshot = Some((stored.version, roles));
        }
        let (marks, day) = (kept.marks.snapshot.clone(), self.day);
        let new = match stored.filter(|stored| versions(stored).is_some() && is_listed(stored)) {
            Some(stored) => stored,
            None => {
                let judge = |paper: &Arc<Paper>| {
                    let roles = versions(paper).filter(|_| is_listed(paper) && paper.expires > day)?;
                    let sinks = |(version, before): &(u64, BTreeMap<Part, u64>)| {
                        let role_sinks = |(part, before): (&Part, &u64)| roles.get(part).is_none_or(|now| now < before);
                        paper.version < *version || before.iter().any(role_sinks)
                    };
                    (!marks.as_ref().is_some_and(sinks)).then(|| Arc::clone(paper))
                };
                self.ask(&Part::Snapshot.file(listed.version), judge).ok_or(Refused(Part::Snapshot))?
            }
        };
        kept.marks.snapshot = versions(&new).map(|roles| (new.version, roles));
        kept.files.insert(Part::Snapshot, Arc::clone(&new));
        if new.expires <= day { Err(Refused(Part::Snapshot)) } else { Ok(new) }
    }

    fn targets(&mut self, kept: &mut Kept, snapshot: &Paper, part: Part, ring: &Ring) -> Result<Arc<Paper>, Refused> {
        let Says::Snapshot(roles) = &snapshot.says else { return Err(Refused(part)) };
        let listed: &Listed = roles.get(&part).ok_or(Refused(part))?;
        let day = self.day;
        let is_good = |paper: &Arc<Paper>| {
            let is_targets = matches!(paper.says, Says::Targets(..));
            is_targets
                && paper.version == listed.version
                && listed.matches(paper)
                && ring.vouches_for(paper)
                && paper.expires > day
        };
        if let Some(stored) = kept.files.get(&part).filter(|stored| is_good(stored)) {
            return Ok(Arc::clone(stored));
        }
        let judge = |paper: &Arc<Paper>| is_good(paper).then(|| Arc::clone(paper));
        let new = self.ask(&part.file(listed.version), judge).ok_or(Refused(part))?;
        kept.files.insert(part, Arc::clone(&new));
        Ok(new)
    }

    /// 5.6.7: the length of the target at `path`, which stands for its content.
    pub(crate) fn find(&mut self, kept: &mut Kept, trusted: &mut Trusted, path: &str) -> Result<Option<u64>, Refused> {
        let targets = Arc::clone(&trusted.targets);
        self.search(kept, trusted, path, &targets, &mut BTreeSet::new()).map(|(found, _)| found)
    }

    /// What is found from `role` on, and whether the search is over in any case.
    fn search(
        &mut self,
        kept: &mut Kept,
        trusted: &mut Trusted,
        path: &str,
        role: &Paper,
        visited: &mut BTreeSet<Part>,
    ) -> Result<(Option<u64>, bool), Refused> {
        let Says::Targets(targets, delegations) = &role.says else { return Err(Refused(role.part)) };
        visited.insert(role.part);
        if let Some(length) = targets.get(path) {
            return Ok((Some(*length), true));
        }
        for Delegation { to, ring, terminating, .. } in delegations.iter().filter(|delegation| delegation.covers(path))
        {
            if !visited.contains(to) {
                let edge = (role.part, *to, ring.clone());
                let next = match trusted.delegated.get(&edge) {
                    Some(next) => Arc::clone(next),
                    None => self.targets(kept, &trusted.snapshot, *to, ring)?,
                };
                trusted.delegated.insert(edge, Arc::clone(&next));
                let (found, over) = self.search(kept, trusted, path, &next, visited)?;
                if over {
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
