//! Decides whether packages will satisfy the policies once the pending change is published.
//!
//! A client cannot search the pending change, because some signatures are still missing. Therefore, this module follows
//! the delegations without verifying signatures. Before the change is published, a simulated client checks it again.

use std::borrow::Cow;
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use lastmile_attest::{ChainRole, Demands, ListTarget, LocalPolicy};
use lastmile_metadata::{Delegations, RoleName, TargetFile, TargetPath, Targets};

use crate::draft::Draft;
use crate::policy::contents::TargetContents;
use crate::policy::judge::{Judged, Policies, judge_demands};
use crate::published::Published;
use crate::{Error, NotFound};

pub(crate) struct PendingJudge<'a> {
    roles: PendingRoles<'a>,
    contents: &'a TargetContents,
    now: DateTime<Utc>,
    policies: Policies,
}

/// The roles of the pending change, and the published roles that the change does not contain.
struct PendingRoles<'a> {
    published: Published,
    draft: &'a Draft,
}

impl<'a> PendingJudge<'a> {
    pub(crate) fn new(
        published: &Published,
        draft: &'a Draft,
        contents: &'a TargetContents,
        now: DateTime<Utc>,
    ) -> Self {
        let roles = PendingRoles { published: published.clone(), draft };
        Self { roles, contents, now, policies: Policies::default() }
    }

    pub(crate) fn judge(&mut self, path: &TargetPath) -> Result<Judged, Error> {
        let Some((names, target)) = self.roles.search(path)? else { return Ok(Judged::NotFound) };
        let mut roles = Vec::new();
        for name in &names {
            roles.push((name, self.roles.visited(name)?));
        }
        let mut chain = Vec::new();
        let mut delegations: Option<&Delegations> = None;
        for (name, targets) in &roles {
            let is_bin = delegations.is_some_and(|delegations| delegations.is_bin(name));
            delegations = targets.delegations.as_ref();
            let list: Box<ListTarget<'_>> = Box::new(|path| Ok(targets.target(path)));
            chain.push(ChainRole { name: (*name).clone(), header: &targets.header, is_bin, list });
        }
        let mut applies = false;
        for role in &chain {
            applies |= self.policies.may_apply(&role.name, role.header, role.is_bin, path);
        }
        if !applies {
            return Ok(Judged::Free);
        }
        let demands = Demands::of_chain(&chain, target, &LocalPolicy::default());
        drop(chain);
        drop(roles);
        let find = &mut |path: &TargetPath| Ok(self.roles.search(path)?.map(|(_, target)| target));
        judge_demands(demands, self.contents, self.now, find)
    }
}

impl PendingRoles<'_> {
    /// Searches for a target in the same order as a client (TUF specification 5.6.7). Returns the names of the roles on
    /// the delegation chain, and the target.
    fn search(&mut self, path: &TargetPath) -> Result<Option<(Vec<RoleName>, TargetFile)>, Error> {
        let mut to_visit = vec![vec![RoleName::TARGETS]];
        let mut visited = BTreeSet::new();
        while let Some(chain) = to_visit.pop() {
            let Some(role) = chain.last().filter(|role| visited.insert((*role).clone())) else { continue };
            // A client's search fails when it reaches a role that does not exist, so the client never finds the
            // package.
            let Some(targets) = self.read(role)? else { return Ok(None) };
            if let Some(target) = targets.target(path) {
                return Ok(Some((chain, target)));
            }
            let covering = targets.delegations.as_ref().map(|delegations| delegations.covering(path));
            let mut below = Vec::new();
            for (name, is_terminating) in covering.unwrap_or_default() {
                below.push([chain.as_slice(), &[name]].concat());
                if is_terminating {
                    to_visit.clear();
                    break;
                }
            }
            to_visit.extend(below.into_iter().rev());
        }
        Ok(None)
    }

    /// Returns a role of the pending change, or else the published role. Returns `None` if neither exists.
    fn read(&mut self, role: &RoleName) -> Result<Option<Cow<'_, Targets>>, Error> {
        if let Some(content) = self.draft.targets.get(role) {
            return content.read().map(Some);
        }
        match self.published.role(role) {
            Ok(targets) => Ok(Some(Cow::Borrowed(targets))),
            Err(Error::NotFound(NotFound::Role { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns a role that [`Self::search`] has already read.
    fn visited(&self, role: &RoleName) -> Result<Cow<'_, Targets>, Error> {
        if let Some(content) = self.draft.targets.get(role) {
            return content.read();
        }
        let published = self.published.known(role).map(Cow::Borrowed);
        published.ok_or_else(|| NotFound::Role { role: role.clone() }.into())
    }
}
