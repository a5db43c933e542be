//! The search for a target (TUF specification 5.6.7): a pre-order, depth-first traversal of the delegations in order of
//! priority.
//!
//! The search ends when a role lists the target, when a role is missing or invalid, or when the limit on visited roles
//! is reached. It also ends after a terminating delegation that covers the path. Each role is visited at most once. If
//! several visited roles delegate to the same role, the search uses the keys that the first of these delegators lists.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::targets::{missing_targets, request_targets};
use super::{Request, Stage};
use crate::limits::Budget;
use crate::role::router::Router;
use crate::trusted::Edge;
use crate::{
    Accepted, Error, ErrorKind, FileContent, Floors, KeyRing, Limit, Limits, RoleName, TargetFile, TargetPath,
    TrustedMetadata, VerifiedTargets,
};

/// A target and the delegation chain that leads to it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The delegation chain, from the top-level targets role to the role that lists the target.
    pub chain: Vec<(RoleName, VerifiedTargets)>,
    /// The target.
    pub target: TargetFile,
}

/// A [`Stage`] that searches for one target. It requests the delegated roles that the search visits.
#[derive(Debug)]
pub struct TargetSearch<'t> {
    trusted: &'t mut TrustedMetadata,
    walk: Walk,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Needs(Edge),
    Ended(Result<Option<Box<Found>>, Error>),
}

impl TrustedMetadata {
    /// Starts a search for a target (TUF specification 5.6.7). Returns a stage that requests the delegated roles that
    /// the search visits.
    #[must_use]
    pub fn search(&mut self, path: TargetPath) -> TargetSearch<'_> {
        TargetSearch::start(self, path)
    }
}

impl<'t> TargetSearch<'t> {
    fn start(trusted: &'t mut TrustedMetadata, path: TargetPath) -> Self {
        Self::start_within(Budget::new(Limit::ListSteps, u64::MAX), trusted, path)
    }

    fn start_within(steps: Budget, trusted: &'t mut TrustedMetadata, path: TargetPath) -> Self {
        let mut walk = Walk::start(path, steps, &trusted.update.limits);
        let end = walk.visit(&RoleName::TARGETS, 0, &trusted.targets, trusted.top_level_router());
        let state = end.unwrap_or_else(|| walk.advance(trusted));
        Self { trusted, walk, state }
    }

    /// Searches for a target in the loaded roles only, and subtracts the steps of the search from `steps`.
    pub(crate) fn find_loaded(
        trusted: &'t mut TrustedMetadata,
        path: TargetPath,
        steps: &mut Budget,
    ) -> Result<Option<Found>, Error> {
        let search = Self::start_within(steps.clone(), trusted, path);
        *steps = search.walk.steps.clone();
        search.finish()
    }

    /// Returns the role of the terminating delegation that the search has reached, if any. The search visits this role
    /// and the roles below it, and then ends.
    #[must_use]
    pub fn terminated_by(&self) -> Option<&RoleName> {
        self.walk.terminated_by.as_ref()
    }

    fn accept(&mut self, edge: Edge, file: FileContent) -> Result<Accepted, Error> {
        let role = self.trusted.verify(&edge, file)?;
        let kept = role.to_store();
        self.trusted.insert(&edge, role);
        self.walk.to_visit.push(edge);
        self.state = self.walk.advance(self.trusted);
        Ok(kept)
    }
}

impl Stage for TargetSearch<'_> {
    type Next = Option<Found>;

    fn request(&self) -> Option<Request> {
        match &self.state {
            State::Needs(edge) => request_targets(&self.trusted.update, &self.trusted.snapshot, edge.role()),
            State::Ended(_) => None,
        }
    }

    fn recall(&mut self, stored: FileContent) -> bool {
        match self.state.clone() {
            State::Needs(edge) => self.accept(edge, stored).is_ok(),
            State::Ended(_) => false,
        }
    }

    fn apply(&mut self, fetched: Option<FileContent>) -> Result<Option<Accepted>, Error> {
        let State::Needs(edge) = self.state.clone() else { return Ok(None) };
        let file = fetched.ok_or_else(|| ErrorKind::Absent.of(edge.role()))?;
        self.accept(edge, file).map(Some)
    }

    fn floors(&self) -> Option<&Floors> {
        None
    }

    fn finish(self) -> Result<Option<Found>, Error> {
        match self.state {
            State::Ended(result) => result.map(|found| found.map(|found| *found)),
            // Spec 5.6.7, POUF A10: a required role is missing or invalid. The search ends with an error. It does not
            // continue with the next role.
            State::Needs(edge) => Err(missing_targets(&self.trusted.update, &self.trusted.snapshot, edge.role())),
        }
    }
}

/// The roles that the search has visited, and the delegations that it will visit next.
#[derive(Debug)]
struct Walk {
    path: TargetPath,
    /// The delegation chain from the top-level targets role to the role that was visited last.
    chain: Vec<(RoleName, VerifiedTargets)>,
    to_visit: Vec<Edge>,
    visited: BTreeSet<RoleName>,
    visits: Budget,
    terminated_by: Option<RoleName>,
    /// The number of steps that the search may still take. A search in a listing uses the remaining steps of the
    /// listing. For any other search, the number of steps is not limited.
    steps: Budget,
    most_depth: u32,
}

impl Walk {
    fn start(path: TargetPath, steps: Budget, limits: &Limits) -> Self {
        let visits = Budget::new(Limit::RolesVisited, limits.roles_visited.into());
        let visited = BTreeSet::from([RoleName::TARGETS]);
        let most_depth = limits.delegation_depth;
        let chain = Vec::new();
        let to_visit = Vec::new();
        Self { path, chain, to_visit, visited, visits, terminated_by: None, steps, most_depth }
    }

    /// Visits roles until a role must be loaded or the search ends.
    fn advance(&mut self, trusted: &TrustedMetadata) -> State {
        while let Some(edge) = self.to_visit.pop() {
            // Spec 5.6.7.1, POUF A8: visit no role twice, even if a second delegation lists other keys for it.
            if self.visited.contains(edge.role()) {
                continue;
            }
            if let Err(kind) = edge.check_depth(self.most_depth) {
                return State::Ended(Err(kind.of(edge.role())));
            }
            let Some(role) = trusted.role(&edge) else {
                // Spec 5.6.7.1, POUF A9: limit the number of visited roles. The error for this limit differs from the
                // error for a target that does not exist.
                return match self.visits.check() {
                    Ok(()) => State::Needs(edge),
                    Err(kind) => State::Ended(Err(kind.of(edge.role()))),
                };
            };
            if let Err(kind) = self.visits.spend() {
                return State::Ended(Err(kind.of(edge.role())));
            }
            self.visited.insert(edge.role().clone());
            if let Some(end) = self.visit(edge.role(), edge.depth, role, trusted.router(&edge)) {
                return end;
            }
        }
        State::Ended(Ok(None))
    }

    /// Looks up the target in one role. If the role does not list the target, adds to `to_visit` those of its
    /// delegations that cover the path.
    fn visit(&mut self, name: &RoleName, depth: u32, role: &VerifiedTargets, router: Option<&Router>) -> Option<State> {
        if let Err(kind) = self.steps.spend() {
            return Some(State::Ended(Err(kind.of(name))));
        }
        // The search is depth-first, so the first `depth` roles of the chain lead to this role. The last of them is its
        // delegator.
        self.chain.truncate(depth as usize);
        self.chain.push((name.clone(), role.clone()));
        // Spec 5.6.7.1: the first role that lists the target ends the search.
        match role.target(&self.path) {
            Ok(None) => {}
            Ok(Some(target)) if target.hashes.is_usable() => {
                let chain = core::mem::take(&mut self.chain);
                return Some(State::Ended(Ok(Some(Box::new(Found { chain, target })))));
            }
            Ok(Some(_)) => {
                let refused = ErrorKind::NoSupportedHash(alloc::format!("{}", self.path));
                return Some(State::Ended(Err(refused.of(name))));
            }
            Err(kind) => return Some(State::Ended(Err(kind.of(name)))),
        }
        let delegations = role.delegations()?;
        let most = self.most_delegations();
        // Spec 4.5: follow only delegations that cover the path, so that each delegation in the chain covers the
        // target.
        let covering = match router {
            Some(router) => delegations.rings_by(router, &self.path, most, &mut self.steps),
            None => Ok(delegations.rings_covering(&self.path).take(most).collect()),
        };
        match covering {
            Ok(covering) => self.push_delegations(name, depth, covering),
            Err(kind) => return Some(State::Ended(Err(kind.of(name)))),
        }
        None
    }

    /// Returns the maximum number of delegations of one role to consider. This is the sum of three numbers: the roles
    /// already visited, because the search skips delegations to them; the visits that the limit still allows; and one,
    /// so that the search notices if it would exceed the limit.
    fn most_delegations(&self) -> usize {
        self.visited.len().saturating_add(self.visits.left()).saturating_add(1)
    }

    fn push_delegations(&mut self, name: &RoleName, depth: u32, covering: Vec<(RoleName, KeyRing, bool)>) {
        // Spec 5.6.7.2: visit the delegations in order, so push them onto the stack in reverse.
        let mut next = Vec::new();
        for (role, ring, terminating) in covering {
            next.push(Edge::new(name, role, ring, depth.saturating_add(1)));
            // Spec 5.6.7.2.1, POUF A7: after a terminating delegation, visit only its role and the roles below it.
            // Spec 5.6.7.2.2: after any other delegation, continue with the next one.
            if terminating {
                self.to_visit.clear();
                self.terminated_by = next.last().map(|edge| edge.role().clone());
                break;
            }
        }
        self.to_visit.extend(next.into_iter().rev());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DelegatedRoles, Delegation, Delegations, PathPattern, Paths, Threshold, Unknown};

    fn delegating(count: usize) -> Delegations {
        let delegation = |number| Delegation {
            name: RoleName::delegated(&alloc::format!("role{number}")).unwrap(),
            keyids: Vec::new(),
            threshold: Threshold::ONE,
            terminating: false,
            paths: Paths::Patterns(alloc::vec![PathPattern::new("*")]),
            unknown: Unknown::new(),
        };
        let roles = DelegatedRoles::Listed((0..count).map(delegation).collect());
        Delegations { roles, ..Delegations::new() }
    }

    #[test]
    fn w_5_6_7_1_b_a_search_keeps_no_more_delegations_than_it_can_visit() {
        let limits = Limits { roles_visited: 4, ..Limits::default() };
        let steps = Budget::new(Limit::ListSteps, u64::MAX);
        let mut walk = Walk::start(TargetPath::new("x").unwrap(), steps, &limits);
        let covering = delegating(10_000).rings_covering(&walk.path).take(walk.most_delegations()).collect();
        walk.push_delegations(&RoleName::TARGETS, 0, covering);
        // Six delegations are considered: one that could lead to the role that was already visited, four that the limit
        // allows, and one with which the search would notice that it exceeds the limit.
        let next: Vec<_> = walk.to_visit.iter().rev().map(|edge| edge.role().as_str()).collect();
        assert_eq!(next, ["role0", "role1", "role2", "role3", "role4", "role5"]);
    }

    #[test]
    fn w_5_6_7_2_1_a_search_reports_the_terminating_role() {
        let limits = Limits::default();
        let steps = Budget::new(Limit::ListSteps, u64::MAX);
        let mut walk = Walk::start(TargetPath::new("x").unwrap(), steps, &limits);
        let covering = |terminating: usize| {
            let all = delegating(4);
            let rings: Vec<_> = all.rings_covering(&TargetPath::new("x").unwrap()).collect();
            rings.into_iter().enumerate().map(|(at, (role, ring, _))| (role, ring, at == terminating)).collect()
        };
        walk.push_delegations(&RoleName::TARGETS, 0, covering(9));
        assert_eq!(walk.terminated_by, None);
        walk.push_delegations(&RoleName::TARGETS, 0, covering(2));
        assert_eq!(walk.terminated_by.as_ref().map(RoleName::as_str), Some("role2"));
        assert_eq!(
            walk.to_visit.iter().rev().map(|edge| edge.role().as_str()).collect::<Vec<_>>(),
            ["role0", "role1", "role2"]
        );
    }
}
