//! Revokes a lost or stolen key (spec 6.1, 5.3.11) in every role, at any depth of delegation.

pub(crate) mod proof;

use std::collections::{BTreeMap, BTreeSet};

use lastmile_keys::{KeyMaterial, PrivateKey, PublicKey, Scheme};
use lastmile_metadata::{DelegatedRoles, KeyRing, RoleName};

use crate::config::{Config, KeyUri};
use crate::draft::Draft;
use crate::edit::Edit;
use crate::edit::keys::{short, short_material};
use crate::init::key_uri;
use crate::key_store::{self, Protection};
use crate::publish::snapshot;
use crate::{Error, LackingKeys, NotFound, Repository, RevokeError};

/// The changes that a revocation makes.
#[derive(Debug)]
pub struct Revocation {
    /// The draft to publish.
    pub draft: Draft,
    /// Each role that trusted the key before the revocation, with its delegator. A top-level role has no delegator.
    pub roles: Vec<(RoleName, Option<RoleName>)>,
    /// The URIs of generated keys, each with the role that gets the key. If several roles, such as bins, get the key
    /// because they share an entry in `repo.toml`, only the first role is listed.
    pub made: Vec<(RoleName, KeyUri)>,
    /// For each role that loses a key, the number of keys after the revocation.
    pub counts: Vec<KeyCount>,
    /// Whether timestamp and snapshot get new keys. New keys make clients delete their stored files of these roles.
    pub recovers_fast_forward: bool,
}

/// The replacements for a revoked key.
#[derive(Clone, Default)]
pub struct Replacements {
    /// Public keys that the key holders generated and sent.
    pub given: Vec<Replacement>,
    /// How to protect generated snapshot and timestamp keys on disk, or `None` if no such keys may be generated.
    pub online: Option<Protection>,
    /// How to protect generated keys of other roles on disk, or `None` if no such keys may be generated. Keys of
    /// different holders should not be generated on the same machine.
    pub offline: Option<Protection>,
}

impl Replacements {
    /// Returns these replacements with one change, for a dry run: generated keys are not written to disk.
    #[must_use]
    pub fn not_written(self) -> Self {
        let [online, offline] = [self.online, self.offline].map(|found| found.map(|_| Protection::NotWritten));
        Self { online, offline, ..self }
    }
}

/// A replacement key that the key holder generated.
#[derive(Clone)]
pub struct Replacement {
    /// The role that gets the key, or a prefix of role names followed by `*`. If it is `None`, the key is for each role
    /// that needs a replacement.
    pub role: Option<String>,
    /// The key.
    pub key: PublicKey,
    /// The URI of the private key, if the private key is on this machine.
    pub uri: Option<KeyUri>,
}

/// The number of keys of a role after a revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCount {
    /// The role.
    pub role: RoleName,
    /// The number of the role's keys.
    pub keys: usize,
    /// The number of the role's keys on this machine.
    pub here: usize,
    /// The number of keys that must sign.
    pub threshold: u32,
    /// Whether the role has fewer keys than before.
    pub is_fewer: bool,
}

/// Creates the draft that revokes `key` in the published state. The draft includes the pending change if that change
/// concerns the roles for which the key is trusted, or their delegators. Generated keys are written immediately, but
/// they are not trusted before the publication.
///
/// # Errors
/// [`Error::NotPinned`] if the root is not pinned, [`Error::NotFound`] if the key is not trusted for any role, and
/// [`Error::Revoke`] if a role would have fewer keys than its threshold. In these cases, no key is written. Also
/// returns [`Error::Revoke`] if the key would still be trusted for a role.
pub fn revoke(
    repository: &mut Repository,
    key: impl Into<KeyMaterial>,
    replacements: &Replacements,
) -> Result<Revocation, Error> {
    let key = &key.into();
    // Check that the root is pinned before writing a key.
    repository.authority().require_pin()?;
    repository.is_emergency = true;
    let draft = base(repository, key)?;
    let mut edit = Edit::new(&mut repository.published, draft);
    let roles = edit.roles_trusting(key.clone())?;
    if roles.is_empty() {
        return Err(not_trusted(repository, key));
    }
    let draft_before = edit.into_draft();
    let entries = snapshot::entries_to_complete(&mut repository.published, &draft_before)?;
    repository.compare_with_served(&draft_before, &entries)?;
    let mut edit = Edit::new(&mut repository.published, draft_before);
    repository.keys.avoid(key);
    let recovers_fast_forward = roles.iter().any(|(role, _)| role.is_online());
    let mut losses = losses(&mut edit, key, &roles)?;
    if recovers_fast_forward {
        // TUF specification 6.1: recover from a fast-forward attack. An attacker who stole one online key may have
        // inflated the versions of both timestamp and snapshot. If both roles get new keys, every client deletes its
        // stored files of both roles, even a client that checks only the signatures of stored files.
        for role in RoleName::ONLINE {
            let (all, threshold) = edit.trust(&role)?;
            let needed = u32::try_from(all.len()).map_err(|_| RevokeError::TooManyKeys { role: role.clone() })?;
            // The role may also list the revoked key in an encoding that lastmile cannot use.
            let revoked = losses.remove(&role).map(|loss| loss.removed).unwrap_or_default();
            let loss = KeyLoss {
                left: BTreeSet::new(),
                removed: all.iter().map(KeyMaterial::from).chain(revoked).collect(),
                threshold,
                needed,
                added: Vec::new(),
            };
            losses.insert(role, loss);
        }
    }
    give(&mut losses, key, replacements)?;
    let to_make = count_to_make(&losses, replacements)?;
    let draft = edit.into_draft();
    let mut config = repository.config.clone();
    let mut made = Vec::new();
    let mut rotations = Vec::new();
    let mut new_keys: BTreeMap<String, Vec<PublicKey>> = BTreeMap::new();
    for (role, loss) in &losses {
        let entry = config.entry_name(role).unwrap_or(role.as_str()).to_string();
        for uri in loss.added.iter().filter_map(|given| given.uri.as_ref()) {
            repository.keys.add(repository.layout.dir(), uri);
            repository.allow_later(uri);
            list_key(&mut config, role, &entry, uri);
        }
        let mut added: Vec<PublicKey> = loss.added.iter().map(|given| given.key.clone()).collect();
        if let Some((count, protection)) = to_make.get(role) {
            // Roles that share an entry in the configuration, such as bins, share their keys.
            let shared = new_keys.entry(entry).or_default();
            while shared.len() < *count {
                let (public, uri) = new_key(repository, &mut config, role, protection)?;
                made.push((role.clone(), uri));
                shared.push(public);
            }
            added.extend(shared.iter().take(*count).cloned());
        }
        rotations.push((role.clone(), added, loss.removed.iter().cloned().collect::<Vec<_>>()));
    }
    let counts = counts(repository, &losses, &rotations);
    forget(repository, &mut config, &rotations);
    let mut edit = repository.edit(draft);
    // If several roles get the same change, make it in one call: one call for each of thousands of bins would be slow.
    let mut alike: BTreeMap<(Vec<PublicKey>, Vec<KeyMaterial>), Vec<RoleName>> = BTreeMap::new();
    for (role, added, removed) in rotations {
        alike.entry((added, removed)).or_default().push(role);
    }
    for ((added, removed), roles) in alike {
        edit.rotate_material(&roles, &added, &removed)?;
    }
    if let Some((role, delegator)) = edit.roles_trusting(key.clone())?.first() {
        let delegator = delegator.clone().unwrap_or(RoleName::ROOT);
        return Err(RevokeError::StillTrusted { role: role.clone(), delegator }.into());
    }
    let mut draft = edit.finish()?;
    draft.set_config(config);
    Ok(Revocation { draft, roles, made, counts, recovers_fast_forward })
}

/// Returns the draft on which the revocation is based. The revocation is based on the pending change in two cases:
///
/// - A role gains or loses the key in the pending change.
/// - The pending change contains a role for which the key is trusted, or the delegator of such a role.
///
/// In all other cases, the revocation is based on an empty draft. If it were based on an unrelated pending change, it
/// could not be published before that change has all its signatures.
fn base(repository: &mut Repository, key: &KeyMaterial) -> Result<Draft, Error> {
    let pending = repository.staged()?;
    let published = repository.published.roles_trusting(key.clone())?;
    if Edit::new(&mut repository.published, pending.clone()).roles_trusting(key.clone())? != published {
        return Ok(pending);
    }
    let is_pending = |role: &RoleName| pending.roles().any(|changed| changed == role);
    let changes = published
        .iter()
        .any(|(role, delegator)| is_pending(role) || is_pending(delegator.as_ref().unwrap_or(&RoleName::ROOT)));
    Ok(if changes { pending } else { Draft::default() })
}

/// Returns the error for a key that will not be trusted for any role. The error says whether the pending change already
/// removes the key.
fn not_trusted(repository: &mut Repository, key: &KeyMaterial) -> Error {
    match repository.published.roles_trusting(key.clone()) {
        Ok(roles) if !roles.is_empty() => RevokeError::Pending { key: short_material(key) }.into(),
        _ => NotFound::TrustedKey { key: short_material(key) }.into(),
    }
}

struct KeyLoss<'r> {
    left: BTreeSet<PublicKey>,
    removed: BTreeSet<KeyMaterial>,
    threshold: u32,
    /// The number of keys that the role should have, or 0 if the role needs no replacement key.
    needed: u32,
    added: Vec<&'r Replacement>,
}

impl KeyLoss<'_> {
    fn key_count(&self) -> usize {
        self.left.len() + self.added.len()
    }

    fn is_below_threshold(&self) -> bool {
        self.key_count() < self.threshold as usize
    }
}

/// Succinct bins share their keys, so only one bin of a set is returned.
fn losses<'r>(
    edit: &mut Edit<'_>,
    key: &KeyMaterial,
    roles: &[(RoleName, Option<RoleName>)],
) -> Result<BTreeMap<RoleName, KeyLoss<'r>>, Error> {
    let mut losses = BTreeMap::new();
    let mut succinct = BTreeSet::new();
    let rings: BTreeMap<(RoleName, RoleName), KeyRing> =
        edit.delegated_rings()?.into_iter().map(|(role, delegator, ring)| ((role, delegator), ring)).collect();
    for (role, delegator) in roles {
        if let Some(delegator) = delegator {
            let delegations = edit.view(delegator)?.delegations.as_ref();
            let shared = delegations.is_some_and(|found| matches!(found.roles, DelegatedRoles::Succinct(_)));
            if shared && !succinct.insert(delegator.clone()) {
                continue;
            }
        }
        let ring = delegator.as_ref().and_then(|delegator| rings.get(&(role.clone(), delegator.clone())));
        let (mut left, threshold) = match ring {
            Some(ring) => {
                (ring.keys().map(|(_, key)| key.clone()).collect::<BTreeSet<PublicKey>>(), ring.threshold().get())
            }
            None => edit.trust(role).map(|(keys, threshold)| (keys.into_iter().collect(), threshold))?,
        };
        let all = left.len();
        left.retain(|other| KeyMaterial::from(other) != *key);
        // Root should keep a spare key, in case another root key is lost.
        let needed = threshold + u32::from(*role == RoleName::ROOT);
        // A role that lists the revoked key only in an unusable encoding does not lose a usable key, so it needs no
        // replacement.
        let needed = if left.len() < all { needed } else { 0 };
        let loss = KeyLoss { left, removed: [key.clone()].into(), threshold, needed, added: Vec::new() };
        losses.entry(role.clone()).or_insert(loss);
    }
    Ok(losses)
}

fn give<'r>(
    losses: &mut BTreeMap<RoleName, KeyLoss<'r>>,
    revoked: &KeyMaterial,
    replacements: &'r Replacements,
) -> Result<(), Error> {
    // If the user gave a replacement key without a role, assign the key to each role that needs a replacement. If no
    // role needs one, assign the key to each role that loses a key. Never assign the key to both offline and online
    // roles.
    let loses = |role: &RoleName, loss: &KeyLoss<'_>| loss.removed.contains(revoked) && !role.is_online();
    let is_needed = |role: &RoleName, loss: &KeyLoss<'_>| loses(role, loss) && loss.left.len() < loss.needed as usize;
    let offline = losses.iter().any(|(role, loss)| loses(role, loss));
    let needed = losses.iter().any(|(role, loss)| is_needed(role, loss));
    let takers: BTreeSet<RoleName> = losses
        .iter()
        .filter(|(role, loss)| match (offline, needed) {
            (true, true) => is_needed(role, loss),
            (true, false) => loses(role, loss),
            (false, _) => loss.removed.contains(revoked),
        })
        .map(|(role, _)| role.clone())
        .collect();
    for given in &replacements.given {
        let key = short(&given.key);
        if KeyMaterial::from(&given.key) == *revoked {
            return Err(RevokeError::ReplacementIsRevoked { key }.into());
        }
        let is_meant = |role: &RoleName| match given.role.as_deref() {
            None => takers.contains(role),
            Some(named) => match named.strip_suffix('*') {
                Some(start) => role.as_str().starts_with(start),
                None => role.as_str() == named,
            },
        };
        let mut meant = losses.iter_mut().filter(|(role, _)| is_meant(role)).peekable();
        if let (None, Some(named)) = (meant.peek(), &given.role) {
            return Err(RevokeError::LosesNoKey { role: named.clone() }.into());
        }
        let mut is_taken = false;
        for (_, loss) in meant {
            let is_known = loss.left.contains(&given.key) || loss.added.iter().any(|added| added.key == given.key);
            if !is_known {
                loss.added.push(given);
                is_taken = true;
            }
        }
        if !is_taken {
            return Err(RevokeError::ReplacementIsTrusted { key }.into());
        }
    }
    Ok(())
}

/// Fails with [`Error::Revoke`] if a role has too few keys, and no keys may be generated for the role.
fn count_to_make<'p>(
    losses: &BTreeMap<RoleName, KeyLoss<'_>>,
    replacements: &'p Replacements,
) -> Result<BTreeMap<RoleName, (usize, &'p Protection)>, Error> {
    let mut to_make = BTreeMap::new();
    let mut lacking = Vec::new();
    for (role, loss) in losses {
        let protection = if role.is_online() { &replacements.online } else { &replacements.offline };
        // If the user gave keys for an online role, generate only the additional keys that the threshold requires.
        let needed = if role.is_online() && !loss.added.is_empty() { loss.threshold } else { loss.needed };
        match protection {
            Some(protection) => {
                let count = (needed as usize).saturating_sub(loss.key_count());
                to_make.extend((count > 0).then(|| (role.clone(), (count, protection))));
            }
            None if loss.is_below_threshold() => {
                lacking.push(LackingKeys { role: role.clone(), keys: loss.key_count(), threshold: loss.threshold });
            }
            None => {}
        }
    }
    if lacking.is_empty() {
        return Ok(to_make);
    }
    Err(RevokeError::TooFewKeys { roles: lacking }.into())
}

fn counts(
    repository: &Repository,
    losses: &BTreeMap<RoleName, KeyLoss<'_>>,
    rotations: &[(RoleName, Vec<PublicKey>, Vec<KeyMaterial>)],
) -> Vec<KeyCount> {
    let count = |(role, added, removed): &(RoleName, Vec<PublicKey>, Vec<KeyMaterial>)| {
        let loss = losses.get(role)?;
        let keys: BTreeSet<&PublicKey> = loss.left.iter().chain(added).collect();
        let here = keys.iter().filter(|key| repository.keys.has(key)).count();
        let is_fewer = added.len() < removed.len();
        Some(KeyCount { role: role.clone(), keys: keys.len(), here, threshold: loss.threshold, is_fewer })
    };
    rotations.iter().filter_map(count).collect()
}

fn new_key(
    repository: &mut Repository,
    config: &mut Config,
    role: &RoleName,
    protection: &Protection,
) -> Result<(PublicKey, KeyUri), Error> {
    let folder = repository.layout.keys();
    let entry = config.entry_name(role).unwrap_or(role.as_str()).to_string();
    let name = key_store::free_name(&folder, entry.trim_end_matches('*').trim_end_matches('-'), config);
    let key = PrivateKey::generate(Scheme::Ed25519).map_err(|error| Error::key(&name, error))?;
    let public = key_store::write(&folder, &name, &key, protection)?;
    let uri = key_uri(&repository.layout, &folder, &name)?;
    repository.keys.add_open(repository.layout.dir(), &uri, key);
    list_key(config, role, &entry, &uri);
    Ok((public, uri))
}

fn list_key(config: &mut Config, role: &RoleName, entry: &str, uri: &KeyUri) {
    let mut role_config = config.role(role);
    if !role_config.keys.contains(uri) {
        role_config.keys.push(uri.clone());
        config.set_role(entry, role_config);
    }
}

/// Removes the URIs of revoked keys from the configuration.
fn forget(repository: &Repository, config: &mut Config, rotations: &[(RoleName, Vec<PublicKey>, Vec<KeyMaterial>)]) {
    let publics = repository.keys.publics();
    for (role, _, removed) in rotations {
        let is_gone = |public: &PublicKey| removed.contains(&KeyMaterial::from(public));
        let gone: Vec<&PublicKey> = publics.keys().filter(|public| is_gone(public)).collect();
        let gone: BTreeSet<String> = gone
            .into_iter()
            .flat_map(|public| repository.keys.confirmed_uris_of(public).into_iter().map(ToString::to_string))
            .collect();
        let entry = config.entry_name(role).map(ToString::to_string);
        config.edit_roles(|name, role_config| {
            if entry.as_deref() == Some(name) {
                role_config.keys.retain(|uri| !gone.contains(&uri.to_string()));
            }
        });
    }
}
