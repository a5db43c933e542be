//! Findings about shared keys, low thresholds, long lifetimes and dangerous target names in the metadata of a
//! repository. The repository may have been made with another tool.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_keys::PublicKey;
use lastmile_metadata::{
    DelegatedRoles, Delegations, KeyId, Paths, RoleName, Root, TargetPath, Threshold, TrustedMetadata,
};

use crate::check::finding::{Finding, Rule};
use crate::edit::keys::short;
use crate::edit::path_patterns::is_useless;
use crate::names;
use crate::published::Published;
use crate::trusting::{odd_in_delegations, odd_in_root};

/// The maximum number of roles or keys that a finding names.
pub(crate) const MAX_NAMED: usize = 8;

/// The verified metadata of a repository, read from a folder or a URL.
pub(crate) struct Subject<'a> {
    root: &'a Root,
    expiries: Vec<(&'a RoleName, DateTime<Utc>)>,
    delegations: Vec<(&'a RoleName, &'a Delegations)>,
}

impl<'a> Subject<'a> {
    /// Collects the metadata of the top-level roles and of the delegated roles that have been read.
    pub(crate) fn published(published: &'a Published) -> Self {
        let mut expiries = top_level(&published.root, published.timestamp.expires, published.snapshot.expires);
        expiries.extend(published.read_roles().map(|(role, targets)| (role, targets.expires)));
        let delegations =
            published.read_roles().filter_map(|(role, targets)| Some((role, targets.delegations.as_ref()?)));
        Self { root: &published.root, expiries, delegations: delegations.collect() }
    }

    pub(crate) fn trusted(trusted: &'a TrustedMetadata) -> Self {
        let roles: Vec<_> = [(&RoleName::TARGETS, trusted.targets())].into_iter().chain(trusted.delegated()).collect();
        let mut expiries = top_level(trusted.root(), trusted.timestamp().expires, trusted.snapshot().expires);
        expiries.extend(roles.iter().map(|(role, targets)| (*role, targets.expires())));
        let delegations = roles.into_iter().filter_map(|(role, targets)| Some((role, targets.delegations()?)));
        Self { root: trusted.root(), expiries, delegations: delegations.collect() }
    }

    pub(crate) fn findings(&self, now: DateTime<Utc>) -> Vec<Finding> {
        let mut found = Vec::new();
        self.unusable_ids(&mut found);
        self.thresholds(&mut found);
        self.shared_keys(&mut found);
        self.patterns(&mut found);
        self.long_expiry(now, &mut found);
        found
    }

    /// Reports key IDs that have no usable key or are listed twice. Lastmile ignores an ID without a usable key (A14 in
    /// docs/pouf.md), but other clients may fail.
    fn unusable_ids(&self, found: &mut Vec<Finding>) {
        let delegated = self.delegations.iter().flat_map(|(_, delegations)| odd_in_delegations(delegations));
        for (role, odd) in odd_in_root(self.root).into_iter().chain(delegated) {
            let text = format!("{role} lists the key ID {odd}; `rotate {role} --remove {}` removes it", odd.id);
            found.push(Finding::about(Rule::UnusableKeyId, &role, text));
        }
    }

    fn thresholds(&self, found: &mut Vec<Finding>) {
        let threshold_of = |role: &RoleName| self.root.key_ring(role).map(|ring| ring.threshold());
        if threshold_of(&RoleName::ROOT) == Ok(Threshold::ONE) {
            let text = "one key is enough to sign a new root: whoever steals it can replace every other key";
            found.push(Finding::about(Rule::RootThresholdOfOne, &RoleName::ROOT, text));
        }
        let mut roles = SomeRoles::default();
        if threshold_of(&RoleName::TARGETS) == Ok(Threshold::ONE) {
            roles.add(&RoleName::TARGETS);
        }
        for (_, delegations) in &self.delegations {
            match &delegations.roles {
                DelegatedRoles::Succinct(bins) if bins.threshold == Threshold::ONE => {
                    roles.add(format_args!("{}-*", bins.name_prefix()));
                }
                DelegatedRoles::Succinct(_) => {}
                DelegatedRoles::Listed(listed) => {
                    listed
                        .iter()
                        .filter(|role| role.threshold == Threshold::ONE)
                        .for_each(|role| roles.add(&role.name));
                }
            }
        }
        if roles.count > 0 {
            let text = format!("one key is enough to sign for {roles}");
            found.push(Finding::new(Rule::ThresholdOfOne, text));
        }
    }

    fn shared_keys(&self, found: &mut Vec<Finding>) {
        let mut roles_of: BTreeMap<PublicKey, BTreeSet<RoleName>> = BTreeMap::new();
        for role in RoleName::TOP_LEVEL {
            let Ok(ring) = self.root.key_ring(&role) else { continue };
            for (_, key) in ring.keys() {
                roles_of.entry(key.clone()).or_default().insert(role.clone());
            }
        }
        for (_, delegations) in &self.delegations {
            for (id, names) in delegated_roles_by_key(delegations) {
                if let Some(key) = delegations.keys.get(id).and_then(|key| key.public_key().ok()) {
                    roles_of.entry(key.clone()).or_default().extend(names);
                }
            }
        }
        found.extend(roles_of.iter().filter_map(|(key, roles)| shared_key(key, roles)));
    }

    fn patterns(&self, found: &mut Vec<Finding>) {
        for (_, delegations) in &self.delegations {
            let DelegatedRoles::Listed(listed) = &delegations.roles else { continue };
            for delegation in listed {
                let Paths::Patterns(patterns) = &delegation.paths else { continue };
                for pattern in patterns.iter().filter(|pattern| is_useless(pattern)) {
                    let text = format!(
                        "the delegation to {} has the pattern `{pattern}`, which matches nothing",
                        delegation.name
                    );
                    found.push(Finding::about(Rule::PatternWithoutMatch, &delegation.name, text));
                }
            }
        }
    }

    fn long_expiry(&self, now: DateTime<Utc>, found: &mut Vec<Finding>) {
        for (role, expires) in &self.expiries {
            let most = longest_expiry(role);
            let left = *expires - now;
            if left > most {
                let text = format!(
                    "{role} expires in {} days, but at most {} days are usual: until {role} expires, an attacker can \
                     show clients this version and hide newer ones",
                    left.num_days(),
                    most.num_days()
                );
                found.push(Finding::about(Rule::LongExpiry, role, text));
            }
        }
    }
}

/// Returns the expiry dates of root, timestamp and snapshot. The callers handle the targets role together with the
/// delegated roles.
fn top_level(root: &Root, timestamp: DateTime<Utc>, snapshot: DateTime<Utc>) -> Vec<(&RoleName, DateTime<Utc>)> {
    vec![(&RoleName::ROOT, root.expires), (&RoleName::TIMESTAMP, timestamp), (&RoleName::SNAPSHOT, snapshot)]
}

/// Returns the longest lifetime that is usual for a role. Servers sign online roles automatically, so these roles can
/// have short lifetimes.
fn longest_expiry(role: &RoleName) -> TimeDelta {
    TimeDelta::days(match role.as_str() {
        "timestamp" => 31,
        "snapshot" => 92,
        _ => 731,
    })
}

/// Returns, for each key ID, up to eight of the roles that the key signs for. Succinct bins share their keys, so only
/// the first bin is included.
fn delegated_roles_by_key(delegations: &Delegations) -> BTreeMap<&KeyId, Vec<RoleName>> {
    let mut by_id: BTreeMap<&KeyId, Vec<RoleName>> = BTreeMap::new();
    match &delegations.roles {
        DelegatedRoles::Succinct(bins) => {
            by_id.extend(bins.keyids.iter().map(|id| (id, vec![bins.bin(0)])));
        }
        DelegatedRoles::Listed(listed) => {
            for role in listed {
                for id in &role.keyids {
                    let names = by_id.entry(id).or_default();
                    if names.len() < MAX_NAMED {
                        names.push(role.name.clone());
                    }
                }
            }
        }
    }
    by_id
}

fn shared_key(key: &PublicKey, roles: &BTreeSet<RoleName>) -> Option<Finding> {
    if roles.len() < 2 {
        return None;
    }
    let key = short(key);
    if roles.contains(&RoleName::ROOT) {
        let names: Vec<String> = roles.iter().map(ToString::to_string).collect();
        let text = format!("the key {key} signs for {}: a root key should sign for root only", names.join(" and "));
        return Some(Finding::about(Rule::SharedRootKey, &RoleName::ROOT, text));
    }
    let online = roles.iter().find(|role| role.is_online());
    let offline = roles.iter().find(|role| !role.is_online());
    // TUF specification 1.5: An online key alone should not decide what clients install.
    if let (Some(online), Some(offline)) = (online, offline) {
        let text = format!(
            "the key {key} signs for {online}, so it is on a server, and for {offline}, which lists targets: give each role its \
             own key"
        );
        return Some(Finding::about(Rule::OnlineKeyForTargets, offline, text));
    }
    let mut shown = SomeRoles::default();
    roles.iter().for_each(|role| shown.add(role));
    Some(Finding::new(Rule::SharedKey, format!("the key {key} signs for {shown}")))
}

/// Returns findings about the names of targets.
#[must_use]
pub fn target_names<'a>(paths: impl IntoIterator<Item = &'a TargetPath>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut by_lower_case: HashMap<String, &TargetPath> = HashMap::new();
    for path in paths {
        if let Err(reason) = names::target_path(path.as_str()) {
            found.push(Finding::new(Rule::DangerousTargetName, format!("dangerous target name: {reason}")));
        }
        match by_lower_case.insert(path.as_str().to_lowercase(), path) {
            Some(other) if other != path => {
                let text = format!("{other} and {path} are the same file on case-insensitive file systems");
                found.push(Finding::new(Rule::NamesDifferByCase, text));
            }
            _ => {}
        }
    }
    found
}

/// A list of roles for a message: the names of up to eight roles, and the total number of roles.
#[derive(Default)]
struct SomeRoles {
    names: Vec<String>,
    count: usize,
}

impl SomeRoles {
    fn add(&mut self, name: impl fmt::Display) {
        self.count += 1;
        if self.names.len() < MAX_NAMED {
            self.names.push(name.to_string());
        }
    }
}

impl fmt::Display for SomeRoles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names.join(", "))?;
        match self.count - self.names.len() {
            0 => Ok(()),
            1 => f.write_str(" and 1 more role"),
            more => write!(f, " and {more} more roles"),
        }
    }
}
