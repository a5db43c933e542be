//! The status of a repository: versions, expiry dates, keys, roles that are due for renewal, and the pending change.

use lastmile_attest::Policy;
use lastmile_attest::policy::MEMBER;
use lastmile_client::text::printable;
use lastmile_metadata::{Header, RoleName, Version};
use serde_json::{Value, json};

use crate::check::finding::Finding;
use crate::check::lint::lint;
use crate::document::Missing;
use crate::publish::staged;
use crate::publish::transaction;
pub use crate::report::roles::{KeyStatus, RoleStatus};
use crate::report::roles::{RoleContext, Schedule};
use crate::{Error, Renewal, Repository};

/// A document of the pending change.
#[derive(Clone, Debug)]
pub struct PendingDocument {
    /// The role of the document.
    pub role: RoleName,
    /// The version of the document.
    pub version: Version,
    /// The missing signatures, or an empty list if the document has all signatures.
    pub missing: Vec<Missing>,
}

/// The status of a repository.
#[derive(Clone, Debug)]
pub struct Status {
    /// All roles, with the top-level roles first.
    pub roles: Vec<RoleStatus>,
    /// The documents of the pending change.
    pub pending: Vec<PendingDocument>,
    /// Findings about the repository, for the maintainer.
    pub findings: Vec<Finding>,
    /// Whether a publication was interrupted. The next command that changes the repository finishes the publication.
    pub interrupted: bool,
    /// Whether the metadata was verified from a root that the user has pinned.
    pub pinned: bool,
    /// The roles that have a policy.
    pub policies: Vec<RolePolicy>,
}

/// A role that has a policy.
#[derive(Clone, Debug)]
pub struct RolePolicy {
    /// The role.
    pub role: RoleName,
    /// The names of the policy's rules, or `None` if the policy is malformed. Clients refuse all packages of a role
    /// with a malformed policy.
    pub rules: Option<Vec<String>>,
}

impl RolePolicy {
    /// Omits the roles that have no policy.
    pub(crate) fn of<'a>(roles: impl Iterator<Item = (&'a RoleName, &'a Header)>) -> Vec<Self> {
        let policies = roles.filter_map(|(role, header)| {
            let policy = header.unknown.get(MEMBER)?;
            let policy = Policy::parse(policy.to_text().as_bytes()).ok();
            let rules = policy.map(|policy| policy.rules().iter().map(|rule| rule.name().to_string()).collect());
            Some(Self { role: role.clone(), rules })
        });
        policies.collect()
    }

    /// Describes the policy in one line.
    #[must_use]
    pub fn text(&self) -> String {
        let role = printable(self.role.as_str());
        match self.rules.as_ref().map(Vec::len) {
            Some(1) => format!("{role} requires evidence (1 rule)"),
            Some(rules) => format!("{role} requires evidence ({rules} rules)"),
            None => format!("{role} has a malformed policy: clients refuse all its packages"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "role": self.role.as_str(), "rules": self.rules })
    }
}

impl Status {
    /// Reads every role, and returns the status of the repository.
    ///
    /// # Errors
    /// Fails if published metadata does not verify.
    pub fn of(repository: &mut Repository) -> Result<Self, Error> {
        let context = RoleContext {
            keys: Some(&repository.keys),
            schedule: Schedule::Config(&repository.config),
            now: repository.now(),
        };
        let mut roles = context.top_level(&repository.published)?;
        roles.extend(context.delegated(&mut repository.published)?);
        let findings = lint(&repository.published, &repository.config, &repository.keys, repository.now());
        let interrupted = transaction::is_interrupted(&repository.layout);
        let pinned = repository.authority().is_pinned();
        let policies = RolePolicy::of(repository.published.read_roles().map(|(role, targets)| (role, &targets.header)));
        Ok(Self { roles, pending: pending(repository)?, findings, interrupted, pinned, policies })
    }

    /// Returns whether the maintainer must act: whether a publication was interrupted, a change is pending, a role is
    /// overdue, or a role has too few usable keys to be signed again. A role that is due but not overdue needs no
    /// attention yet.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        self.interrupted
            || !self.pending.is_empty()
            || self.most_urgent() >= Some(Renewal::Overdue)
            || !self.roles.iter().all(RoleStatus::can_be_signed)
    }

    /// Returns the urgency of the most urgent renewal.
    #[must_use]
    pub fn most_urgent(&self) -> Option<Renewal> {
        self.roles.iter().map(|role| role.renewal).max()
    }

    /// Returns the status as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let pending = |document: &PendingDocument| {
            let missing = document.missing.iter().map(|missing| {
                let candidates: Vec<_> = missing.candidates.iter().map(lastmile_metadata::KeyId::as_str).collect();
                json!({ "count": missing.count, "candidates": candidates })
            });
            json!({
                "role": document.role.as_str(), "version": document.version.get(), "missing": missing.collect::<Vec<_>>(),
            })
        };
        let mut status = json!({
            "roles": self.roles.iter().map(RoleStatus::json).collect::<Vec<_>>(),
            "waiting": self.pending.iter().map(pending).collect::<Vec<_>>(),
            "findings": self.findings.iter().map(Finding::json).collect::<Vec<_>>(), "interrupted": self.interrupted, "pinned": self.pinned, "needs_attention": self.needs_attention(),
        });
        if let (false, Some(members)) = (self.policies.is_empty(), status.as_object_mut()) {
            members.insert("policies".to_string(), self.policies.iter().map(RolePolicy::json).collect());
        }
        status
    }
}

/// Returns the documents of the pending change with their missing signatures.
pub fn pending(repository: &mut Repository) -> Result<Vec<PendingDocument>, Error> {
    if !staged::is_staged(&repository.layout) {
        return Ok(Vec::new());
    }
    let draft = repository.staged()?;
    let documents = repository.staged_documents(&draft)?.into_iter().map(|document| {
        let missing = document.missing();
        PendingDocument { role: document.role, version: document.version, missing }
    });
    Ok(documents.collect())
}
