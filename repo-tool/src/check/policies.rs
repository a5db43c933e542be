//! Checks whether clients will accept the packages of a draft, before the draft is published. Evaluates the policies
//! for each package that the draft adds or changes. If the draft changes a policy, a trust root or a delegation, also
//! evaluates the policies for the unchanged packages that this change affects.
//!
//! Evidence files and trust roots are not packages. They need no evidence, even if a policy rule matches their paths.

use std::collections::BTreeSet;

use lastmile_attest::policy::MEMBER;
use lastmile_attest::{Policy, Refused, evidence_paths};
use lastmile_client::blocking;
use lastmile_metadata::{DelegatedRoles, Delegations, Json, Paths, RoleName, TargetFile, TargetPath, Targets};

use crate::check::Check;
use crate::check::simulated_client::from_client;
use crate::edit::policy::read_policy;
use crate::policy::contents::TargetContents;
use crate::policy::judge::{PackageJudge, has_policy};
use crate::published::Published;
use crate::role_content::RoleContent;
use crate::{DraftError, Error, PolicyError};

/// Whether to publish a change that makes clients refuse packages that are already published, for example because a
/// policy becomes stricter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailingPackages {
    /// The change is not published.
    #[default]
    Refuse,
    /// The change is published, and the outcome lists the refused packages.
    Allow,
}

/// The changes in a draft that determine which packages are evaluated.
#[derive(Default)]
struct Scope {
    /// Targets that the draft adds, changes or removes.
    changed: BTreeSet<TargetPath>,
    /// The targets in `changed` that are already published.
    replaced: BTreeSet<TargetPath>,
    /// Roles whose policy, trust roots or delegations change. All packages of these roles, and of the roles that they
    /// delegate to, are evaluated.
    roles: BTreeSet<RoleName>,
}

impl Check<'_> {
    /// Evaluates the packages that the draft affects. Returns the published packages that clients will refuse after
    /// publication.
    ///
    /// `reached` is the session of a client that has updated to the draft. This client has already searched for the
    /// added and changed targets. `new_session` updates a new client to the draft and returns its session. The limits of
    /// the new client are higher than the default limits of clients.
    pub(super) fn judge_packages(
        &self,
        reached: &mut blocking::Session,
        new_session: &dyn Fn() -> Result<blocking::Session, Error>,
    ) -> Result<Vec<Refused>, Error> {
        if !self.has_policies(reached)? {
            return Ok(Vec::new());
        }
        let mut scope = Scope::default();
        for (role, content) in &self.draft.targets {
            let before = self.published.and_then(|published| published.known(role));
            scope.add(role, before, &*content.read()?);
        }
        let names = self.draft.root_after(self.published)?.target_names(self.names);
        let contents = TargetContents::new(self.layout, names, &self.draft.files);
        self.check_policies(&mut scope, &contents)?;
        let mut judge = PackageJudge::new(new_session()?, &contents, self.now);
        let mut packages = scope.changed.clone();
        packages.extend(self.packages_with_evidence_among(&scope.replaced)?);
        self.check_all(&mut judge, &packages)?;
        self.judge_below(&mut judge, &scope.roles, &packages)
    }

    /// Returns whether any role that the draft affects has a policy, in the published state or in the draft. Reads only
    /// the roles that a search for the changed targets visits. If delegations change, reads all published roles except
    /// bins.
    fn has_policies(&self, reached: &mut blocking::Session) -> Result<bool, Error> {
        if self.draft.targets.values().any(RoleContent::has_policy) {
            return Ok(true);
        }
        let Some(published) = self.published else { return Ok(false) };
        if published.read_roles().any(|(_, targets)| has_policy(&targets.header)) {
            return Ok(true);
        }
        // Another role may also list a removed target. Clients then find the target through that role, which may have a
        // policy. This search reads the role, so that the check below finds its policy.
        for path in self.removed_targets(published)? {
            reached.find(&path).map_err(from_client)?;
        }
        if reached.trusted().delegated().any(|(_, targets)| has_policy(targets.header())) {
            return Ok(true);
        }
        for (role, content) in &self.draft.targets {
            let before = published.known(role).and_then(|before| before.delegations.as_ref());
            if has_changed(before, content.delegations()) && self.has_any_policy(published)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn removed_targets(&self, published: &Published) -> Result<Vec<TargetPath>, Error> {
        let mut removed = Vec::new();
        for (role, content) in &self.draft.targets {
            let Some(before) = published.known(role) else { continue };
            let after = content.read()?;
            if self.draft.from_staged || self.draft.prior.contains_key(role) {
                removed.extend(before.paths().filter(|path| after.target(path).is_none()));
            } else {
                let touched = self.draft.touched.iter();
                removed.extend(touched.filter(|path| after.target(path).is_none()).cloned());
            }
        }
        Ok(removed)
    }

    /// Returns whether any published role has a policy. Bins cannot have a policy, so they are not read.
    fn has_any_policy(&self, published: &Published) -> Result<bool, Error> {
        let mut published = published.clone();
        let mut waiting = vec![RoleName::TARGETS];
        let mut seen = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            let role = published.role(&name)?;
            if has_policy(&role.header) {
                return Ok(true);
            }
            if let Some(DelegatedRoles::Listed(roles)) = role.delegations.as_ref().map(|delegations| &delegations.roles)
            {
                let others = roles.iter().filter(|role| matches!(role.paths, Paths::Patterns(_)));
                waiting.extend(others.map(|role| role.name.clone()).filter(|name| seen.insert(name.clone())));
            }
        }
        Ok(false)
    }

    /// Checks the policies that the draft changes, and the trust roots that these policies name. If a trust root
    /// changes, adds the roles whose policies name it to the scope.
    fn check_policies(&self, scope: &mut Scope, contents: &TargetContents) -> Result<(), Error> {
        for (role, content) in &self.draft.targets {
            let targets = content.read()?;
            let Some(policy) = targets.header.unknown.get(MEMBER) else { continue };
            let is_changed = scope.roles.contains(role);
            let parsed = match read_policy(role, policy) {
                Ok(parsed) => parsed,
                Err(error) if is_changed => return Err(DraftError::Policy(error).into()),
                Err(_) => continue,
            };
            if is_changed {
                self.refuse_bin(role)?;
            }
            for (name, source) in parsed.trust_sources() {
                let is_root_changed = scope.changed.contains(source.path());
                if !is_changed && !is_root_changed {
                    continue;
                }
                scope.roles.insert(role.clone());
                let path = source.path().clone();
                let Some(listed) = targets.target(&path) else {
                    if source.sha256().is_some() {
                        continue;
                    }
                    let name = name.to_string();
                    let error = PolicyError::TrustRootNotListed { role: role.clone(), name, path };
                    return Err(DraftError::Policy(error).into());
                };
                let problem = match contents.read(&listed)? {
                    None => "the file is not in this folder".to_string(),
                    Some(content) => match source.read_root(&content) {
                        Ok(_) => continue,
                        Err(problem) => problem,
                    },
                };
                return Err(DraftError::Policy(PolicyError::TrustRoot { path, problem }).into());
            }
        }
        self.add_roles_of_changed_roots(scope);
        Ok(())
    }

    /// Adds published roles to the scope if their policy names a trust root that the draft replaces or removes.
    fn add_roles_of_changed_roots(&self, scope: &mut Scope) {
        for (role, targets) in self.published.into_iter().flat_map(|published| published.read_roles()) {
            if trust_roots_of(targets).iter().any(|path| scope.replaced.contains(path)) {
                scope.roles.insert(role.clone());
            }
        }
    }

    fn refuse_bin(&self, role: &RoleName) -> Result<(), Error> {
        let delegators = self.draft.delegators.get(role).into_iter().flatten();
        for delegator in delegators {
            let delegations = match self.draft.targets.get(delegator) {
                Some(content) => content.delegations(),
                None => self.published.and_then(|published| published.known(delegator)?.delegations.as_ref()),
            };
            if delegations.is_some_and(|delegations| delegations.is_bin(role)) {
                return Err(DraftError::Policy(PolicyError::Bin { role: role.clone() }).into());
            }
        }
        Ok(())
    }

    /// Returns the packages whose evidence includes a target in `evidence`. Searches the draft, and the published
    /// roles that have been read. Packages in other roles may also have this evidence. Therefore, the result also
    /// contains the packages whose names match the path of a target in `evidence` ([`possible_packages`]).
    fn packages_with_evidence_among(&self, evidence: &BTreeSet<TargetPath>) -> Result<BTreeSet<TargetPath>, Error> {
        let mut packages = BTreeSet::new();
        if evidence.is_empty() {
            return Ok(packages);
        }
        packages.extend(evidence.iter().flat_map(possible_packages));
        let read = self.published.into_iter().flat_map(|published| published.read_roles());
        for (_, targets) in read.filter(|(role, _)| !self.draft.targets.contains_key(*role)) {
            packages.extend(packages_with(targets, evidence));
        }
        for content in self.draft.targets.values() {
            packages.extend(packages_with(&*content.read()?, evidence));
        }
        Ok(packages)
    }

    /// Checks that clients accept the packages at these paths. Some of the paths may belong to evidence or trust roots,
    /// which clients may refuse.
    fn check_all(&self, judge: &mut PackageJudge<'_>, packages: &BTreeSet<TargetPath>) -> Result<(), Error> {
        let mut refused = Vec::new();
        for path in packages {
            if let Some(refusal) = judge.judge(path)?.refusal()
                && !self.is_auxiliary(judge, path, packages)?
            {
                refused.push(refusal);
            }
        }
        if refused.is_empty() { Ok(()) } else { Err(DraftError::RefusedPackages { packages: refused }.into()) }
    }

    /// Returns whether the target at `path` is a trust root or an evidence file rather than a package. Looks for it in
    /// the evidence of `packages`, and of the packages that [`possible_packages`] returns for `path`.
    fn is_auxiliary(
        &self,
        judge: &mut PackageJudge<'_>,
        path: &TargetPath,
        packages: &BTreeSet<TargetPath>,
    ) -> Result<bool, Error> {
        if self.trust_roots()?.contains(path) {
            return Ok(true);
        }
        for package in possible_packages(path).iter().chain(packages) {
            let found = judge.find(package)?;
            if found.is_some_and(|found| evidence_paths(&found.target).is_ok_and(|files| files.contains(path))) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the paths of the trust roots that policies name, both in the draft and in the published roles that have
    /// been read.
    fn trust_roots(&self) -> Result<BTreeSet<TargetPath>, Error> {
        let mut roots = BTreeSet::new();
        for (_, targets) in self.published.into_iter().flat_map(|published| published.read_roles()) {
            roots.extend(trust_roots_of(targets));
        }
        for content in self.draft.targets.values().filter(|content| content.has_policy()) {
            roots.extend(trust_roots_of(&*content.read()?));
        }
        Ok(roots)
    }

    /// Evaluates the published packages of `roles`, and of the roles to which `roles` delegate. Skips the packages in
    /// `judged`, which have already been evaluated.
    fn judge_below(
        &self,
        judge: &mut PackageJudge<'_>,
        roles: &BTreeSet<RoleName>,
        judged: &BTreeSet<TargetPath>,
    ) -> Result<Vec<Refused>, Error> {
        if roles.is_empty() {
            return Ok(Vec::new());
        }
        let listed = judge.session().list().map_err(from_client)?;
        let mut auxiliary = self.trust_roots()?;
        auxiliary.extend(all_evidence(&listed));
        let mut refused = Vec::new();
        for target in listed {
            if judged.contains(&target.path) || auxiliary.contains(&target.path) {
                continue;
            }
            let found = judge.find(&target.path)?;
            let is_below = found.is_some_and(|found| found.chain.iter().any(|(role, _)| roles.contains(role)));
            if is_below {
                refused.extend(judge.judge(&target.path)?.refusal());
            }
        }
        self.retain_new(&mut refused)?;
        if refused.is_empty() || self.failing == FailingPackages::Allow {
            Ok(refused)
        } else {
            Err(DraftError::FailingPackages { packages: refused }.into())
        }
    }
}

impl Check<'_> {
    /// Keeps in `refused` only the packages that clients accept in the currently published state.
    fn retain_new(&self, refused: &mut Vec<Refused>) -> Result<(), Error> {
        let Some(published) = self.published.filter(|_| !refused.is_empty()) else { return Ok(()) };
        let names = published.root.target_names(self.names);
        let contents = TargetContents::new(self.layout, names, &[]);
        let mut judge = PackageJudge::of_published(published, &contents, self.now)?;
        let mut new = Vec::new();
        for refusal in refused.drain(..) {
            if judge.judge(&refusal.path)?.refusal().is_none() {
                new.push(refusal);
            }
        }
        *refused = new;
        Ok(())
    }
}

impl Scope {
    fn add(&mut self, role: &RoleName, before: Option<&Targets>, after: &Targets) {
        let policy = |of: Option<&Targets>| of.and_then(|of| of.header.unknown.get(MEMBER).cloned());
        let delegations = before.and_then(|before| before.delegations.as_ref());
        if policy(before) != policy(Some(after)) || has_changed(delegations, after.delegations.as_ref()) {
            self.roles.insert(role.clone());
        }
        if before.is_some_and(|before| before.is_clone_of(after)) {
            return;
        }
        for target in after.targets() {
            match before.and_then(|before| before.target(&target.path)) {
                Some(listed) if listed == target => continue,
                Some(_) => drop(self.replaced.insert(target.path.clone())),
                None => {}
            }
            self.changed.insert(target.path);
        }
        for path in before.into_iter().flat_map(Targets::paths).filter(|path| after.target(path).is_none()) {
            self.replaced.insert(path.clone());
            self.changed.insert(path);
        }
    }
}

/// Returns whether the new delegations of a role may lead the search for a published target to a different role. Roles
/// that are appended to the list of delegations are searched last, so they hide no published target.
fn has_changed(before: Option<&Delegations>, after: Option<&Delegations>) -> bool {
    let none = Delegations::new();
    let old = before.unwrap_or(&none);
    let new = after.unwrap_or(&none);
    match (&old.roles, &new.roles) {
        (DelegatedRoles::Listed(old), DelegatedRoles::Listed(new)) => {
            old.len() > new.len()
                || old.iter().zip(new).any(|(old, new)| {
                    (&old.name, &old.paths, old.terminating) != (&new.name, &new.paths, new.terminating)
                })
        }
        (DelegatedRoles::Succinct(old), DelegatedRoles::Succinct(new)) => {
            (old.bit_length(), old.name_prefix()) != (new.bit_length(), new.name_prefix())
        }
        (DelegatedRoles::Listed(old), DelegatedRoles::Succinct(_)) => !old.is_empty(),
        (DelegatedRoles::Succinct(_), DelegatedRoles::Listed(_)) => true,
    }
}

/// Returns the paths of the packages to which an evidence file at `path` may belong, according to its name. These paths
/// are all prefixes of `path` that end before a dot, such as `app` and `app.tar` for `app.tar.sig`.
fn possible_packages(path: &TargetPath) -> Vec<TargetPath> {
    let text = path.as_str();
    let ends = text.char_indices().filter(|(_, character)| *character == '.').map(|(end, _)| end);
    ends.filter_map(|end| TargetPath::new(text.get(..end)?).ok()).collect()
}

/// Returns the paths of the evidence of all `targets`. A target whose list of evidence is malformed counts as a target
/// without evidence.
pub(crate) fn all_evidence(targets: &[TargetFile]) -> BTreeSet<TargetPath> {
    targets.iter().flat_map(|target| evidence_paths(target).unwrap_or_default()).collect()
}

/// Returns the paths of the trust roots that the policy of a role names. Returns an empty list if the role has no
/// policy or its policy is malformed.
pub(crate) fn trust_roots_of(targets: &Targets) -> Vec<TargetPath> {
    let policy = targets.header.unknown.get(MEMBER);
    let policy = policy.and_then(|policy: &Json| Policy::parse(policy.to_text().as_bytes()).ok());
    policy.iter().flat_map(Policy::trust_sources).map(|(_, source)| source.path().clone()).collect()
}

/// Returns those packages of a role that have a target in `evidence` as evidence.
fn packages_with(targets: &Targets, evidence: &BTreeSet<TargetPath>) -> Vec<TargetPath> {
    let has_custom = targets.targets().filter(|target| target.custom.is_some());
    let names = has_custom
        .filter(|target| evidence_paths(target).is_ok_and(|paths| paths.iter().any(|path| evidence.contains(path))));
    names.map(|target| target.path).collect()
}
