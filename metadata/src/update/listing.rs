//! Lists all targets that a client can find. The listing reads each delegated role and then searches for each listed
//! target.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::search::TargetSearch;
use super::targets::{missing_targets, request_targets};
use super::{Request, Stage};
use crate::limits::Budget;
use crate::trusted::Edge;
use crate::{
    Accepted, Error, ErrorKind, FileContent, Floors, Limit, RoleName, TargetFile, TargetPath, TrustedMetadata,
    VerifiedTargets,
};

/// Verifying this number of bytes of a role counts as one of the steps that
/// [`Limits::list_steps`](crate::Limits::list_steps) limits.
const BYTES_PER_STEP: u64 = 256;

/// A [`Stage`] that lists all targets that a search would find.
///
/// Once all roles are loaded, the stage searches for every target. The running time is proportional to the length of
/// the metadata, and bounded by [`Limits::list_steps`](crate::Limits::list_steps). A caller that needs to be able to
/// cancel the listing can call [`Listing::search_some`] repeatedly, and stop between two calls.
#[derive(Debug)]
pub struct Listing<'t> {
    trusted: &'t mut TrustedMetadata,
    to_visit: Vec<Edge>,
    /// The delegator and the role of each visited delegation. The keys are left out: otherwise, a role that delegates
    /// to itself with many different keys would be visited once for each set of keys.
    visited: BTreeSet<(RoleName, RoleName)>,
    visits: Budget,
    steps: Budget,
    /// The listed paths that have not been searched for yet.
    paths: BTreeSet<TargetPath>,
    found: Vec<TargetFile>,
    failed: Option<Error>,
}

impl TrustedMetadata {
    /// Starts to list all targets that a search would find. Returns a stage that requests every delegated role.
    #[must_use]
    pub fn listing(&mut self) -> Listing<'_> {
        Listing::start(self)
    }
}

impl<'t> Listing<'t> {
    fn start(trusted: &'t mut TrustedMetadata) -> Self {
        let visits = Budget::new(Limit::RolesListed, trusted.update.limits.roles_listed.into());
        let steps = Budget::new(Limit::ListSteps, trusted.update.limits.list_steps);
        trusted.expect_many_searches();
        let mut listing = Self {
            trusted,
            to_visit: Vec::new(),
            visited: BTreeSet::new(),
            visits,
            steps,
            paths: BTreeSet::new(),
            found: Vec::new(),
            failed: None,
        };
        let targets = listing.trusted.targets.clone();
        listing.failed = listing.visit(&RoleName::TARGETS, 0, &targets).err();
        listing
    }

    /// Searches for at most `most` of the remaining targets, and returns whether targets still remain after that. Does
    /// nothing and returns `false` if not all roles are loaded yet, or if the listing has failed.
    pub fn search_some(&mut self, most: usize) -> bool {
        for _ in 0..most {
            if self.failed.is_some() || !self.to_visit.is_empty() {
                return false;
            }
            let Some(path) = self.paths.pop_first() else { return false };
            match TargetSearch::find_loaded(self.trusted, path, &mut self.steps) {
                Ok(found) => self.found.extend(found.map(|found| found.target)),
                Err(error) if matches!(error.kind, ErrorKind::LimitReached { limit: Limit::ListSteps, .. }) => {
                    self.failed = Some(error);
                }
                // Omit this target, because a search for it fails.
                Err(_) => {}
            }
        }
        !self.paths.is_empty()
    }

    fn visit(&mut self, name: &RoleName, depth: u32, role: &VerifiedTargets) -> Result<(), Error> {
        self.steps.spend_many(role.len()).map_err(|kind| kind.of(name))?;
        for path in role.paths() {
            self.paths.insert(path.map_err(|kind| kind.of(name))?);
        }
        let Some(delegations) = role.delegations() else { return Ok(()) };
        // There may be 2³² bins. The listing ends at the first bin that is missing from the snapshot. Even if every
        // role in the snapshot is a bin, that bin is found after one more delegation than the snapshot has roles.
        let rings = delegations.rings().take(self.trusted.snapshot.len().saturating_add(1));
        let below = depth.saturating_add(1);
        let edges: Vec<Edge> = rings.map(|(role, ring)| Edge::new(name, role, ring, below)).collect();
        self.steps.spend_many(edges.len()).map_err(|kind| kind.of(name))?;
        self.to_visit.extend(edges.into_iter().rev());
        self.skip_visited();
        self.check_next()
    }

    /// Counts the visit to the next role, and checks that the limits allow it.
    fn check_next(&mut self) -> Result<(), Error> {
        let Some(edge) = self.to_visit.last() else { return Ok(()) };
        let most_depth = self.trusted.update.limits.delegation_depth;
        self.visits.spend().and_then(|()| edge.check_depth(most_depth)).map_err(|kind| kind.of(edge.role()))
    }

    fn skip_visited(&mut self) {
        while self.to_visit.last().is_some_and(|edge| self.visited.contains(&edge.names())) {
            self.to_visit.pop();
        }
    }

    fn accept(&mut self, file: FileContent) -> Result<Option<Accepted>, Error> {
        let Some(edge) = self.to_visit.last().cloned() else { return Ok(None) };
        let steps = usize::try_from(file.length() / BYTES_PER_STEP).unwrap_or(usize::MAX);
        let role = self.trusted.verify(&edge, file)?;
        let kept = role.to_store();
        self.to_visit.pop();
        self.visited.insert(edge.names());
        // If several roles delegate to the same large role, the role is verified once for each delegator, so the steps
        // of every verification must be counted. A refused file must not use up steps, because another mirror may have
        // the correct file.
        let spent = self.steps.spend_many(steps).map_err(|kind| kind.of(edge.role()));
        self.failed = spent.and_then(|()| self.visit(edge.role(), edge.depth, &role)).err();
        self.trusted.insert(&edge, role);
        Ok(Some(kept))
    }
}

impl Stage for Listing<'_> {
    type Next = Vec<TargetFile>;

    fn request(&self) -> Option<Request> {
        if self.failed.is_some() {
            return None;
        }
        let edge = self.to_visit.last()?;
        request_targets(&self.trusted.update, &self.trusted.snapshot, edge.role())
    }

    fn upcoming(&self, most: usize) -> Vec<Request> {
        // Skip the next role: `request` returns the request for this role, and `check_next` has counted its visit.
        let not_visited = self.to_visit.iter().rev().skip(1).filter(|edge| !self.visited.contains(&edge.names()));
        not_visited
            .take(most.min(self.visits.left()))
            .filter_map(|edge| request_targets(&self.trusted.update, &self.trusted.snapshot, edge.role()))
            .collect()
    }

    fn would_recall(&self, request: &Request, stored: FileContent) -> bool {
        let edge = self.to_visit.iter().rev().find(|edge| *edge.role() == request.role);
        edge.is_some_and(|edge| self.trusted.verify(edge, stored).is_ok())
    }

    fn recall(&mut self, stored: FileContent) -> bool {
        self.accept(stored).is_ok()
    }

    fn apply(&mut self, fetched: Option<FileContent>) -> Result<Option<Accepted>, Error> {
        match (self.to_visit.last(), fetched) {
            (None, _) => Ok(None),
            (Some(edge), None) => Err(ErrorKind::Absent.of(edge.role())),
            (Some(_), Some(file)) => self.accept(file),
        }
    }

    fn floors(&self) -> Option<&Floors> {
        None
    }

    /// Returns all targets that a search would find, in the order of their paths. Omits targets for which a search
    /// would fail.
    fn finish(mut self) -> Result<Vec<TargetFile>, Error> {
        while self.search_some(usize::MAX) {}
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        if let Some(edge) = self.to_visit.last() {
            return Err(missing_targets(&self.trusted.update, &self.trusted.snapshot, edge.role()));
        }
        Ok(self.found)
    }
}
