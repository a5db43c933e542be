//! What a repository may do and should not: advice for the maintainer, each with the reason.

use std::collections::BTreeMap;

use lastmile_keys::PublicKey;
use lastmile_metadata::{DelegatedRoles, KeyId, KeyRing, Paths, RoleName, Targets};

use crate::edit::keys::short;
use crate::gate;
use crate::key_store::KeyStore;
use crate::policy::Policy;
use crate::published::Published;
use crate::trusting::{odd_in_delegations, odd_in_root};

/// Of very many delegated roles with one key no more are named.
const NAMED: usize = 8;

/// Looks at the root and at every role that was read.
#[must_use]
pub fn lint(published: &Published, policy: &Policy, keys: &KeyStore) -> Vec<String> {
    let mut advice = Vec::new();
    let mut roles_of: BTreeMap<PublicKey, Vec<RoleName>> = BTreeMap::new();
    for role in RoleName::TOP_LEVEL {
        let Ok(ring) = published.root.key_ring(&role) else { continue };
        lint_ring(&mut advice, &role, &ring, policy, keys);
        for (_, key) in ring.keys() {
            roles_of.entry(key.clone()).or_default().push(role.clone());
        }
    }
    // A14: an id that names no usable key counts for nothing here.
    let delegations = published.read_roles().filter_map(|(_, targets)| targets.delegations.as_ref());
    let odd = odd_in_root(&published.root).into_iter().chain(delegations.flat_map(odd_in_delegations));
    for (role, odd) in odd.take(NAMED) {
        advice.push(format!("{role} lists the key id {odd}; `rotate {role} --remove {}` removes it", odd.id));
    }
    for (_, targets) in published.read_roles() {
        lint_delegations(&mut advice, targets, &mut roles_of);
    }
    for (key, roles) in roles_of {
        lint_reuse(&mut advice, &key, &roles);
    }
    advice.extend(gate::advice(published));
    advice
}

fn lint_ring(advice: &mut Vec<String>, role: &RoleName, ring: &KeyRing, policy: &Policy, keys: &KeyStore) {
    let (count, threshold) = (ring.keys().count(), ring.threshold().get());
    if *role == RoleName::ROOT && count <= threshold as usize {
        advice.push(format!(
            "root needs all of its {count} keys: if one is lost, no root can ever be signed again; add a key, or lower \
             the threshold"
        ));
    }
    let wanted = policy.role(role).threshold;
    if wanted != threshold {
        advice.push(format!(
            "repo.toml says threshold {wanted} for {role}, signed is {threshold}: `set-threshold {role} {wanted}` signs it"
        ));
    }
    if matches!(role.as_str(), "root" | "targets") {
        for (_, key) in ring.keys().filter(|(_, key)| keys.is_encrypted(key) == Some(false)) {
            advice.push(format!(
                "the {role} key {} lies here unencrypted: whoever reads that file can sign packages; keep it offline",
                short(key)
            ));
        }
    }
}

fn lint_delegations(advice: &mut Vec<String>, targets: &Targets, roles_of: &mut BTreeMap<PublicKey, Vec<RoleName>>) {
    let Some(delegations) = &targets.delegations else { return };
    // Bins are many, and have their keys in common.
    let mut by_id: BTreeMap<&KeyId, Vec<RoleName>> = BTreeMap::new();
    match &delegations.roles {
        DelegatedRoles::Succinct(bins) => {
            by_id.extend(bins.keyids.iter().map(|id| (id, bins.names().take(1).collect())));
        }
        DelegatedRoles::Listed(listed) => {
            for (id, name) in listed.iter().flat_map(|role| role.keyids.iter().map(move |id| (id, &role.name))) {
                let names = by_id.entry(id).or_default();
                if names.len() < NAMED {
                    names.push(name.clone());
                }
            }
        }
    }
    for (id, names) in by_id {
        if let Some(key) = delegations.keys.get(id).and_then(|key| key.public_key().ok()) {
            roles_of.entry(key.clone()).or_default().extend(names);
        }
    }
    let DelegatedRoles::Listed(listed) = &delegations.roles else { return };
    for delegation in listed {
        let Paths::Patterns(patterns) = &delegation.paths else { continue };
        for pattern in patterns.iter().filter(|pattern| pattern.as_str().starts_with('/')) {
            advice.push(format!(
                "the delegation to {} has the pattern `{pattern}`, which matches nothing",
                delegation.name
            ));
        }
    }
}

fn lint_reuse(advice: &mut Vec<String>, key: &PublicKey, roles: &[RoleName]) {
    let is_online = |role: &&RoleName| matches!(role.as_str(), "timestamp" | "snapshot");
    let online = roles.iter().find(is_online);
    let (key, names) = (short(key), roles.iter().map(RoleName::as_str).collect::<Vec<_>>());
    if let (Some(online), Some(other)) = (online, roles.iter().find(|role| !is_online(role))) {
        advice.push(format!(
            "the key {key} signs for {online}, so it lies on a server, and for {other}, whom clients trust with contents: \
             give them keys of their own"
        ));
    } else if roles.contains(&RoleName::ROOT) && roles.len() > 1 {
        advice.push(format!("the key {key} serves {}: a root key should serve root alone", names.join(" and ")));
    }
}
