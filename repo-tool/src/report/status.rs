//! The status of a repository: versions, expiry dates, keys, roles that are due for renewal, and the pending change.

use chrono::{DateTime, Utc};
use lastmile_attest::Policy;
use lastmile_attest::policy::MEMBER;
use lastmile_client::text::printable;
use lastmile_metadata::{DelegatedRoles, Header, KeyRing, RoleName, Version};
use serde_json::{Value, json};

use crate::check::finding::Finding;
use crate::check::lint::lint;
use crate::config::Config;
use crate::document::Missing;
use crate::publish::staged;
use crate::publish::transaction;
use crate::trusting::{Odd, odd_ids, odd_in_root};
use crate::{Error, NotFound, Renewal, Repository};

/// The status of a role.
#[derive(Clone, Debug)]
pub struct RoleStatus {
    /// The name of the role, or `PREFIX-*` for bins that share their keys.
    pub name: String,
    /// The version of the role, or the highest version of the bins.
    pub version: Version,
    /// The expiry date of the role, or the earliest expiry date of the bins.
    pub expires: DateTime<Utc>,
    /// The number of keys that must sign.
    pub threshold: u32,
    /// Its keys.
    pub keys: Vec<KeyStatus>,
    /// Listed key IDs that do not identify exactly one usable key.
    pub odd: Vec<Odd>,
    /// The urgency of the role's renewal, or of the most urgent renewal among the bins.
    pub renewal: Renewal,
}

/// The status of a key of a role.
#[derive(Clone, Debug)]
pub struct KeyStatus {
    /// Its id.
    pub id: String,
    /// Its key type.
    pub keytype: &'static str,
    /// The URI of the private key file or the name of the signer, if the private key is on this machine.
    pub uri: Option<String>,
}

/// A document of the pending change.
#[derive(Clone, Debug)]
pub struct PendingDocument {
    /// Its role.
    pub role: RoleName,
    /// Its version.
    pub version: Version,
    /// The missing signatures. The list is empty if the document has all signatures.
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
    /// Whether a publication was interrupted. The next change finishes it.
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
    /// The names of the policy's rules, or `None` if the policy is malformed. In this case, clients refuse all packages
    /// of the role.
    pub rules: Option<Vec<String>>,
}

impl RolePolicy {
    /// Returns the policies of these roles.
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
            Some(1) => format!("{role} demands evidence (1 rule)"),
            Some(rules) => format!("{role} demands evidence ({rules} rules)"),
            None => format!("{role} has a malformed policy: clients refuse all its packages"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "role": self.role.as_str(), "rules": self.rules })
    }
}

impl Status {
    /// Reads every role and determines its status.
    ///
    /// # Errors
    /// Fails if published metadata does not verify.
    pub fn of(repository: &mut Repository) -> Result<Self, Error> {
        let mut roles = Vec::new();
        for name in RoleName::TOP_LEVEL {
            roles.push(top_level(repository, &name)?);
        }
        let mut bins: Option<(RoleName, RoleStatus)> = None;
        for (name, delegator) in repository.published.read_all()? {
            let Some(delegator) = delegator else { continue };
            let status = delegated(repository, &name, &delegator)?;
            match &mut bins {
                Some((of, all)) if *of == delegator && all.name == status.name => {
                    all.version = all.version.max(status.version);
                    all.expires = all.expires.min(status.expires);
                    all.renewal = all.renewal.max(status.renewal);
                }
                _ => roles.extend(bins.replace((delegator, status)).map(|(_, status)| status)),
            }
        }
        roles.extend(bins.map(|(_, status)| status));
        let findings = lint(&repository.published, &repository.config, &repository.keys, repository.now());
        let interrupted = transaction::is_interrupted(&repository.layout);
        let pinned = repository.authority().is_pinned();
        let policies = RolePolicy::of(repository.published.read_roles().map(|(role, targets)| (role, &targets.header)));
        Ok(Self { roles, pending: pending(repository)?, findings, interrupted, pinned, policies })
    }

    /// Returns whether the maintainer must act. A role that is due needs no attention yet, because there is time left
    /// to renew it.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        self.interrupted || !self.pending.is_empty() || self.most_urgent() >= Some(Renewal::Overdue)
    }

    /// Returns the urgency of the most urgent renewal.
    #[must_use]
    pub fn most_urgent(&self) -> Option<Renewal> {
        self.roles.iter().map(|role| role.renewal).max()
    }

    /// Returns the status as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let key = |key: &KeyStatus| json!({ "keyid": key.id, "keytype": key.keytype, "uri": key.uri });
        let role = |role: &RoleStatus| {
            json!({
                "role": role.name, "version": role.version.get(), "expires": lastmile_metadata::format_time(&role.expires),
                "threshold": role.threshold, "keys": role.keys.iter().map(key).collect::<Vec<_>>(),
                "due": role.renewal >= Renewal::Due, "expired": role.renewal == Renewal::Expired, "renewal": role.renewal.name(),
                "unusable": role.odd.iter().map(Odd::to_string).collect::<Vec<_>>(),
            })
        };
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
            "roles": self.roles.iter().map(role).collect::<Vec<_>>(),
            "waiting": self.pending.iter().map(pending).collect::<Vec<_>>(),
            "findings": self.findings.iter().map(Finding::json).collect::<Vec<_>>(), "interrupted": self.interrupted, "pinned": self.pinned, "needs_attention": self.needs_attention(),
        });
        if let (false, Some(members)) = (self.policies.is_empty(), status.as_object_mut()) {
            members.insert("policies".to_string(), self.policies.iter().map(RolePolicy::json).collect());
        }
        status
    }
}

fn top_level(repository: &Repository, name: &RoleName) -> Result<RoleStatus, Error> {
    let published = &repository.published;
    let (version, expires) = match name.as_str() {
        "root" => (published.root.version, published.root.expires),
        "timestamp" => (published.timestamp.version, published.timestamp.expires),
        "snapshot" => (published.snapshot.version, published.snapshot.expires),
        _ => (published.targets()?.version, published.targets()?.expires),
    };
    let ring = published.root.key_ring(name)?;
    let odd = odd_in_root(&published.root).into_iter().filter(|(role, _)| role == name).map(|(_, odd)| odd).collect();
    Ok(RoleStatus { odd, ..role_status(repository, name.to_string(), name, version, expires, &ring) })
}

fn delegated(repository: &Repository, name: &RoleName, delegator: &RoleName) -> Result<RoleStatus, Error> {
    let published = &repository.published;
    let missing = || NotFound::Role { role: name.clone() };
    let delegations = published.known(delegator).and_then(|view| view.delegations.as_ref()).ok_or_else(missing)?;
    let ring = delegations.key_ring(delegator, name)?;
    let role = published.known(name).ok_or_else(missing)?;
    let (shown, keyids) = match &delegations.roles {
        DelegatedRoles::Succinct(bins) => (format!("{}-*", bins.name_prefix()), Some(&bins.keyids)),
        DelegatedRoles::Listed(roles) => {
            let listed = roles.iter().find(|delegation| delegation.name == *name);
            (name.to_string(), listed.map(|delegation| &delegation.keyids))
        }
    };
    let odd = keyids.map(|keyids| odd_ids(&delegations.keys, keyids)).unwrap_or_default();
    Ok(RoleStatus { odd, ..role_status(repository, shown, name, role.version, role.expires, &ring) })
}

fn role_status(
    repository: &Repository,
    shown: String,
    name: &RoleName,
    version: Version,
    expires: DateTime<Utc>,
    ring: &KeyRing,
) -> RoleStatus {
    let config: &Config = &repository.config;
    let keys = ring.keys().map(|(id, key)| KeyStatus {
        id: id.as_str().to_string(),
        keytype: key.keytype(),
        uri: repository.keys.name_of(key).map(ToString::to_string),
    });
    let now = repository.now();
    RoleStatus {
        name: shown,
        version,
        expires,
        threshold: ring.threshold().get(),
        keys: keys.collect(),
        odd: Vec::new(),
        renewal: config.role(name).renewal(expires, now),
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
