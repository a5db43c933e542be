//! Warnings for the maintainer about a valid repository, each with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lastmile_client::text::printable;
use lastmile_keys::PublicKey;
use lastmile_metadata::{DelegatedRoles, KeyId, KeyRing, Paths, RoleName, Root, Targets};

use crate::check::gate;
use crate::config::{Config, KeyUri};
use crate::draft::Draft;
use crate::edit::bins::Bins;
use crate::edit::keys::short;
use crate::edit::path_patterns::is_useless;
use crate::files::layout::Layout;
use crate::key_store::KeyStore;
use crate::publish::snapshot::{MOST_BITS_WITH_HASHES, VersionOnly, VersionOnlyBins};
use crate::published::Published;
use crate::trusting::{odd_in_delegations, odd_in_root};

/// The maximum number of items that a warning names.
const NAMED: usize = 8;

/// Returns warnings about the root and every role that was read.
#[must_use]
pub fn lint(published: &Published, config: &Config, keys: &KeyStore) -> Vec<String> {
    let mut advice = Vec::new();
    let mut roles_of: BTreeMap<PublicKey, Vec<RoleName>> = BTreeMap::new();
    for role in RoleName::TOP_LEVEL {
        let Ok(ring) = published.root.key_ring(&role) else { continue };
        lint_ring(&mut advice, &role, &ring, config, keys);
        for (_, key) in ring.keys() {
            roles_of.entry(key.clone()).or_default().push(role.clone());
        }
    }
    // A14: lastmile ignores an id without a usable key.
    let delegations = published.read_roles().filter_map(|(_, targets)| targets.delegations.as_ref());
    let odd = odd_in_root(&published.root).into_iter().chain(delegations.flat_map(odd_in_delegations));
    for (role, odd) in odd.take(NAMED) {
        advice.push(format!("{role} lists the key id {odd}; `rotate {role} --remove {}` removes it", odd.id));
    }
    advice.extend(long_chain(published));
    advice.extend(root_keys_together(&published.root, published.layout(), keys));
    for (_, targets) in published.read_roles() {
        lint_delegations(&mut advice, targets, &mut roles_of);
    }
    for (bins, why) in VersionOnlyBins::of(Some(published), &Draft::default()).sets() {
        if why == VersionOnly::TooMany {
            advice.push(version_only_bins(bins));
        }
    }
    for uri in config.key_uris().iter().filter(|uri| !keys.contains(uri)) {
        advice.push(format!(
            "repo.toml names the key {} outside the repository's folder, and you have not allowed its use: \
             if you trust the person who added it, run `lastmile-repo key allow`, or use `--allow-key` for one command",
            printable(&uri.to_string())
        ));
    }
    for (key, roles) in roles_of {
        lint_reuse(&mut advice, &key, &roles);
    }
    advice.extend(gate::advice(published));
    advice
}

/// The number of roots that most clients follow in one refresh: lastmile, python-tuf, go-tuf and tuf-js.
const ROOTS_AT_ONCE: u64 = 256;
/// The number of roots after the shipped one that tough follows; it refuses more.
const ROOTS_OF_TOUGH: u64 = 1024;

/// Returns a warning if clients that were shipped with the oldest root must follow too many roots.
fn long_chain(published: &Published) -> Option<String> {
    let oldest = published.oldest_root();
    let count = published.root.version.get().saturating_sub(oldest.get());
    let newest = published.root.version;
    if count > ROOTS_OF_TOUGH {
        return Some(format!(
            "a client shipped with root {oldest} must follow {count} roots: tough refuses more than {ROOTS_OF_TOUGH} and never \
             reaches the newest, others need {} refreshes; ship metadata/{newest}.root.json with your clients",
            count.div_ceil(ROOTS_AT_ONCE)
        ));
    }
    (count > ROOTS_AT_ONCE).then(|| {
        format!(
            "a client shipped with root {oldest} must follow {count} roots and needs {} refreshes to reach the newest, as \
             most clients (lastmile, python-tuf, go-tuf, tuf-js) follow {ROOTS_AT_ONCE} in one; ship \
             metadata/{newest}.root.json with new clients",
            count.div_ceil(ROOTS_AT_ONCE)
        )
    })
}

/// Returns a warning if the root keys on this machine reach the root threshold: a thief of this machine could then sign a
/// new root. Keys in `keys/` that no role lists yet count too.
#[must_use]
pub fn root_keys_together(root: &Root, layout: &Layout, keys: &KeyStore) -> Option<String> {
    let ring = root.key_ring(&RoleName::ROOT).ok()?;
    let mut keys = keys.clone();
    for path in std::fs::read_dir(layout.keys()).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())) {
        // Without a `.pub` file, identifying the key might ask for its pass-phrase.
        let is_private = path.extension().is_some_and(|end| end == "pem") && path.with_extension("pub").exists();
        if is_private && let Some(name) = path.file_name() {
            keys.add(layout.dir(), &KeyUri::File(Path::new("keys").join(name)));
        }
    }
    let all: BTreeSet<&PublicKey> = ring.keys().map(|(_, key)| key).collect();
    let mut here: Vec<&str> = all.iter().filter_map(|key| keys.uri_of(key)).collect();
    here.sort_unstable();
    let threshold = ring.threshold().get() as usize;
    if here.len() < threshold {
        return None;
    }
    let verb = if here.len() == 1 { "key is" } else { "keys are" };
    let named = here.iter().take(NAMED).map(|uri| uri.trim_start_matches("file:")).collect::<Vec<_>>().join(", ");
    let left = match threshold {
        1 => "move it off this machine".to_string(),
        _ => format!("move all but {} of them to other machines or media, each to its own", threshold - 1),
    };
    let left = if threshold == 1 && here.len() > 1 { "move them off this machine".to_string() } else { left };
    Some(format!(
        "{} of {} root {verb} on this machine, and {threshold} can sign a new root: {left} ({named})",
        here.len(),
        all.len()
    ))
}

fn lint_ring(advice: &mut Vec<String>, role: &RoleName, ring: &KeyRing, config: &Config, keys: &KeyStore) {
    let (count, threshold) = (ring.keys().count(), ring.threshold().get());
    if *role == RoleName::ROOT && count == 1 {
        advice.push("root has only 1 key: if it is lost, no new root can ever be signed. Add a second key".to_string());
    } else if *role == RoleName::ROOT && count <= threshold as usize {
        advice.push(format!(
            "root needs signatures from all of its {count} keys: if one is lost, no new root can ever be signed. Add a key, or \
            lower the threshold"
        ));
    }
    let wanted = config.role(role).threshold;
    if wanted != threshold {
        advice.push(format!(
            "repo.toml has threshold {wanted} for {role}, but the signed threshold is {threshold}: run `set-threshold {role} \
             {wanted}` to sign it"
        ));
    }
    if matches!(role.as_str(), "root" | "targets") {
        for (_, key) in ring.keys().filter(|(_, key)| keys.is_encrypted(key) == Some(false)) {
            advice.push(format!(
                "the {role} key {} is on this machine and unencrypted: anyone who reads the file can sign packages; keep it offline",
                short(key)
            ));
        }
    }
}

/// Returns the warning about bins that the snapshot lists without their hash.
fn version_only_bins(bins: &Bins) -> String {
    let (prefix, bits, most) = (printable(&bins.name_prefix), bins.bit_length, MOST_BITS_WITH_HASHES);
    format!(
        "the snapshot lists the 2^{bits} bins {prefix}-* by version only: a thief of a key of the bins can replace \
         their content without a new snapshot. `lastmile-repo bins --bit-length {most}` makes bins that are listed with \
         their hash"
    )
}

fn lint_delegations(advice: &mut Vec<String>, targets: &Targets, roles_of: &mut BTreeMap<PublicKey, Vec<RoleName>>) {
    let Some(delegations) = &targets.delegations else { return };
    // There may be many bins, and they share their keys.
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
        for pattern in patterns.iter().filter(|pattern| is_useless(pattern)) {
            advice.push(format!(
                "the delegation to {} has the pattern `{pattern}`, which matches nothing",
                delegation.name
            ));
        }
    }
}

fn lint_reuse(advice: &mut Vec<String>, key: &PublicKey, roles: &[RoleName]) {
    let online = roles.iter().find(|role| role.is_online());
    let (key, names) = (short(key), roles.iter().map(RoleName::as_str).collect::<Vec<_>>());
    if let (Some(online), Some(other)) = (online, roles.iter().find(|role| !role.is_online())) {
        advice.push(format!(
            "the key {key} signs for {online}, so it is on a server, and for {other}, which lists targets: give each role its own \
             key"
        ));
    } else if roles.contains(&RoleName::ROOT) && roles.len() > 1 {
        advice.push(format!("the key {key} signs for {}: a root key should sign for root only", names.join(" and ")));
    }
}
