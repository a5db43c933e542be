//! Findings for the maintainer of a repository, about the published metadata, the keys on this machine and `repo.toml`.

use std::collections::BTreeSet;
use std::path::Path;

use chrono::{DateTime, Utc};
use lastmile_client::text::printable;
use lastmile_keys::PublicKey;
use lastmile_metadata::{KeyRing, RoleName, Root};

use crate::check::finding::{Finding, Rule};
use crate::check::gate;
use crate::check::practice::{MAX_NAMED, Subject};
use crate::config::{Config, KeyUri};
use crate::draft::Draft;
use crate::edit::bins::Bins;
use crate::edit::keys::short;
use crate::files::layout::Layout;
use crate::key_store::KeyStore;
use crate::publish::snapshot::{MAX_BITS_WITH_HASHES, VersionOnly, VersionOnlyBins};
use crate::published::Published;

/// Returns findings about the published roles that were read, about the keys on this machine, and about `repo.toml`.
#[must_use]
pub fn lint(published: &Published, config: &Config, keys: &KeyStore, now: DateTime<Utc>) -> Vec<Finding> {
    let mut found = of_published(published, now);
    for role in RoleName::TOP_LEVEL {
        if let Ok(ring) = published.root.key_ring(&role) {
            threshold_differs(&mut found, &role, &ring, config);
            unencrypted_keys(&mut found, &role, &ring, keys);
        }
    }
    found.extend(root_keys_together(&published.root, published.layout(), keys));
    for uri in config.key_uris().iter().filter(|uri| !keys.contains(uri)) {
        let text = format!(
            "repo.toml names the key {} outside the repository's folder, and you have not allowed its use: \
             if you trust the person who added it, run `lastmile-repo key allow`, or use `--allow-key` for one command",
            printable(&uri.to_string())
        );
        found.push(Finding::new(Rule::KeyNotAllowed, text));
    }
    found
}

/// Returns the findings that depend only on the published metadata.
pub(crate) fn of_published(published: &Published, now: DateTime<Utc>) -> Vec<Finding> {
    let mut found = Subject::published(published).findings(now);
    found.extend(no_spare_root_key(&published.root));
    found.extend(long_chain(published));
    for (bins, why) in VersionOnlyBins::of(Some(published), &Draft::default()).sets() {
        if why == VersionOnly::TooMany {
            found.push(version_only_bins(bins));
        }
    }
    found.extend(gate::findings(published));
    found
}

/// The number of root updates that lastmile, python-tuf, go-tuf and tuf-js follow in one refresh.
const ROOTS_AT_ONCE: u64 = 256;
/// The maximum number of root updates that tough follows. If it would have to follow more, tough fails.
const ROOTS_OF_TOUGH: u64 = 1024;

fn long_chain(published: &Published) -> Option<Finding> {
    let oldest = published.oldest_root();
    let newest = published.root.version;
    let count = newest.get().saturating_sub(oldest.get());
    let refreshes = count.div_ceil(ROOTS_AT_ONCE);
    let text = if count > ROOTS_OF_TOUGH {
        format!(
            "a client shipped with root {oldest} must follow {count} roots: tough refuses more than {ROOTS_OF_TOUGH} and never \
             reaches the newest root, and other clients need {refreshes} refreshes; ship metadata/{newest}.root.json with \
             your clients"
        )
    } else if count > ROOTS_AT_ONCE {
        format!(
            "a client shipped with root {oldest} must follow {count} roots and needs {refreshes} refreshes to reach the newest \
             root, because most clients (lastmile, python-tuf, go-tuf, tuf-js) follow {ROOTS_AT_ONCE} in one refresh; ship \
             metadata/{newest}.root.json with new clients"
        )
    } else {
        return None;
    };
    Some(Finding::about(Rule::LongRootChain, &RoleName::ROOT, text))
}

/// Returns a finding if this machine has enough root keys to sign a new root, because then anyone who steals the
/// machine can sign one (TUF specification 2.1.1). Root keys in `keys/` count even if `repo.toml` does not name them.
#[must_use]
pub fn root_keys_together(root: &Root, layout: &Layout, keys: &KeyStore) -> Option<Finding> {
    let ring = root.key_ring(&RoleName::ROOT).ok()?;
    let mut keys = keys.clone();
    for path in std::fs::read_dir(layout.keys()).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())) {
        // Skip keys without a `.pub` file: reading the public key from the private key file might ask for a
        // pass-phrase.
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
    let verb = if here.len() == 1 { "is" } else { "are" };
    let named = here.iter().take(MAX_NAMED).map(|uri| uri.trim_start_matches("file:")).collect::<Vec<_>>().join(", ");
    let left = match threshold {
        1 => "move it off this machine".to_string(),
        _ => format!("move all but {} of them to separate machines or media", threshold - 1),
    };
    let left = if threshold == 1 && here.len() > 1 { "move them off this machine".to_string() } else { left };
    let text = format!(
        "{} of {} root keys {verb} on this machine, and {threshold} can sign a new root: {left} ({named})",
        here.len(),
        all.len()
    );
    Some(Finding::about(Rule::RootKeysTogether, &RoleName::ROOT, text))
}

/// Returns a finding if losing one root key would make it impossible to sign a new root (R-x-4 in
/// tests/spec-rows.txt).
fn no_spare_root_key(root: &Root) -> Option<Finding> {
    let ring = root.key_ring(&RoleName::ROOT).ok()?;
    let count = ring.keys().count();
    let text = if count == 1 {
        "root has only 1 key: if it is lost, no new root can ever be signed. Add a second key".to_string()
    } else if count <= ring.threshold().get() as usize {
        format!(
            "root needs signatures from all of its {count} keys: if one is lost, no new root can ever be signed. Add a key, or \
            lower the threshold"
        )
    } else {
        return None;
    };
    Some(Finding::about(Rule::NoSpareRootKey, &RoleName::ROOT, text))
}

fn threshold_differs(found: &mut Vec<Finding>, role: &RoleName, ring: &KeyRing, config: &Config) {
    let wanted = config.role(role).threshold;
    let threshold = ring.threshold().get();
    if wanted != threshold {
        let text = format!(
            "repo.toml has threshold {wanted} for {role}, but the signed threshold is {threshold}: run `set-threshold {role} \
             {wanted}` to sign it"
        );
        found.push(Finding::about(Rule::ThresholdNotConfigured, role, text));
    }
}

fn unencrypted_keys(found: &mut Vec<Finding>, role: &RoleName, ring: &KeyRing, keys: &KeyStore) {
    if role.is_online() {
        return;
    }
    // TUF specification 6.1: The keys of all roles except timestamp and snapshot can be kept offline.
    for (_, key) in ring.keys().filter(|(_, key)| keys.is_encrypted(key) == Some(false)) {
        let text = format!(
            "the {role} key {} is on this machine and unencrypted: anyone who reads the file can sign for {role}; keep the key offline",
            short(key)
        );
        found.push(Finding::about(Rule::UnencryptedKey, role, text));
    }
}

fn version_only_bins(bins: &Bins) -> Finding {
    let prefix = printable(&bins.name_prefix);
    let bits = bins.bit_length;
    let most = MAX_BITS_WITH_HASHES;
    let text = format!(
        "the snapshot lists the 2^{bits} bins {prefix}-* by version only: whoever steals a key of the bins can replace \
         their content without a new snapshot. `lastmile-repo bins --bit-length {most}` makes bins that are listed with \
         their hash"
    );
    Finding::new(Rule::BinsByVersionOnly, text)
}
