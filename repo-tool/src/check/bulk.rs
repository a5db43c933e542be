//! Checks that clients find the targets of a change that adds many targets at once. A simulated client fetches and
//! verifies every role with new targets, and searches for one target in each of these roles. Searching for every target
//! would be slow, so the check looks up the other targets directly in the metadata that the client trusts. In the
//! top-level role, a lookup gives the same result as a search, because every search starts there. In a bin, it gives
//! the same result only if the top-level role delegates to nothing but bins, and does not list the path itself. The
//! search for the path then always ends in the bin for that path. If a lookup cannot be used, or does not find the
//! target, the client searches for the target.

use lastmile_client::blocking;
use lastmile_metadata::{DelegatedRoles, Paths, RoleName, Router, TargetFile, VerifiedTargets, hash_start};

use crate::check::{Check, NewSession, VisitedRoles, check_found, refused};
use crate::{Error, parallel};

/// The maximum number of roles that one simulated client reads. A client holds in memory every role that it has read,
/// so another client reads the next roles.
const ROLES: usize = 256;

impl Check<'_> {
    /// Checks that clients find the new targets in the roles that `Draft::bulk_filled` lists. The change adds many
    /// targets at once to each of these roles.
    pub(crate) fn find_filled(&self, new_session: &NewSession<'_>, reached: &VisitedRoles) -> Result<(), Error> {
        let bulk_filled: Vec<&RoleName> = self.draft.bulk_filled.iter().collect();
        let parts: Vec<&[&RoleName]> = bulk_filled.chunks(ROLES).collect();
        parallel::try_for_each(&parts, |roles| {
            let mut session = new_session()?;
            session.expect_many_searches();
            let bins = bins_alone(session.trusted().targets());
            roles.iter().try_for_each(|role| self.find_new_in(role, &mut session, bins.as_ref()))?;
            reached.note(&session);
            Ok(())
        })
    }

    fn find_new_in(
        &self,
        role: &RoleName,
        session: &mut blocking::Session,
        bins: Option<&Router>,
    ) -> Result<(), Error> {
        let Some(content) = self.draft.targets.get(role) else { return Ok(()) };
        let targets = content.read()?;
        let before = self.published.and_then(|published| published.known(role));
        let mut new = targets
            .targets()
            .filter(|target| before.and_then(|before| before.target(&target.path)).as_ref() != Some(target));
        let Some(first) = new.next() else { return Ok(()) };
        find(role, &first, session)?;
        let to_search: Vec<TargetFile> = match RoleView::of(session, role, bins, &first) {
            Some(seen) => new.filter(|target| !seen.finds(target)).collect(),
            None => new.collect(),
        };
        to_search.iter().try_for_each(|target| find(role, target, session))
    }
}

fn find(role: &RoleName, target: &TargetFile, session: &mut blocking::Session) -> Result<(), Error> {
    let found = session.find(&target.path).map_err(refused)?;
    check_found(&target.path, &[(role, target.clone())], found.as_deref(), session.trusted())
}

/// A role that a client trusts, and how the client reached it.
struct RoleView<'s> {
    top: &'s VerifiedTargets,
    role: &'s VerifiedTargets,
    /// The set of bins that contains this role, and the number of the role in the set. `None` for the top-level role,
    /// where every search starts.
    bin: Option<(&'s Router, usize)>,
}

impl<'s> RoleView<'s> {
    /// `first` is a target that `role` lists. Returns `None` if `role` is neither the top-level role nor one of `bins`,
    /// because lookups in any other role may give different results from searches.
    fn of(
        session: &'s blocking::Session,
        role: &RoleName,
        bins: Option<&'s Router>,
        first: &TargetFile,
    ) -> Option<Self> {
        let trusted = session.trusted();
        let top = trusted.targets();
        if *role == RoleName::TARGETS {
            return Some(Self { top, role: top, bin: None });
        }
        let bins = bins?;
        let bin = bins.bin(hash_start(first.path.as_str())).filter(|bin| bins.name(*bin).as_ref() == Some(role))?;
        let role = trusted.delegated_by_targets(role)?;
        Some(Self { top, role, bin: Some((bins, bin)) })
    }

    fn finds(&self, target: &TargetFile) -> bool {
        let leads_here = self.bin.is_none_or(|(bins, bin)| {
            let is_above = !self.top.is_empty() && self.top.target(&target.path) != Ok(None);
            !is_above && bins.bin(hash_start(target.path.as_str())) == Some(bin)
        });
        leads_here && self.role.target(&target.path).is_ok_and(|found| found.as_ref() == Some(target))
    }
}

/// Returns the bins of the top-level role. Returns `None` if the role has no bins, or also has other delegations.
fn bins_alone(top: &VerifiedTargets) -> Option<Router> {
    let delegations = top.delegations()?;
    let alone = match &delegations.roles {
        DelegatedRoles::Succinct(_) => true,
        DelegatedRoles::Listed(roles) => roles.iter().all(|role| matches!(role.paths, Paths::HashPrefixes(_))),
    };
    alone.then(|| Router::of(delegations)).filter(Router::has_bins)
}
