//! Throwing out a key that is lost or stolen (spec 6.1, 5.3.11): everywhere, at any depth of delegation.

use std::collections::{BTreeMap, BTreeSet};

use lastmile_keys::{PrivateKey, PublicKey, Scheme};
use lastmile_metadata::{DelegatedRoles, KeyRing, RoleName};

use crate::draft::Draft;
use crate::edit::Edit;
use crate::edit::keys::short;
use crate::init::key_uri;
use crate::key_store::{self, Protection};
use crate::policy::{KeyUri, Policy};
use crate::{Error, Repository};

/// What a revocation changes.
#[derive(Debug)]
pub struct Revocation {
    /// The draft to be published.
    pub draft: Draft,
    /// Each role that trusted the key, a waiting change included, with its delegator; none for the top-level ones.
    pub roles: Vec<(RoleName, Option<RoleName>)>,
    /// New keys, by the role (for bins: the first of them) that got them.
    pub replacements: Vec<(RoleName, KeyUri)>,
    /// Whether timestamp and snapshot got new keys, so that clients drop what they stored of them.
    pub recovers_fast_forward: bool,
}

/// Makes the draft that revokes `key`, in what is published and in what waits for signatures. New keys are written at once; they can do nothing until it is published.
///
/// # Errors
/// [`Error::NotFound`] when no role trusts the key; [`Error::Refused`] when one would go on trusting it.
pub fn revoke(
    repository: &mut Repository,
    key: &PublicKey,
    offline: &Protection,
    online: &Protection,
) -> Result<Revocation, Error> {
    let draft = repository.staged()?;
    let mut edit = Edit::new(&mut repository.published, draft);
    let roles = edit.roles_trusting(key)?;
    if roles.is_empty() {
        return Err(not_trusted(repository, key));
    }
    repository.keys.avoid(key);
    let is_online = |role: &RoleName| matches!(role.as_str(), "snapshot" | "timestamp");
    let recovers_fast_forward = roles.iter().any(|(role, _)| is_online(role));
    let mut changes = plan_changes(&mut edit, key, &roles)?;
    if recovers_fast_forward {
        // Whoever took one online key may have driven the versions of both files up. With other keys for both, every
        // client drops what it stored of them, those too that only look at signatures.
        for role in [RoleName::SNAPSHOT, RoleName::TIMESTAMP] {
            let (all, _) = edit.trust(&role)?;
            let change = changes.entry(role).or_default();
            change.add = u32::try_from(all.len()).unwrap_or(1);
            change.remove = all.into_iter().collect();
        }
    }
    let draft = edit.into_draft();
    let mut policy = repository.policy.clone();
    let mut replacements = Vec::new();
    let mut rotations = Vec::new();
    let mut new_keys: BTreeMap<String, Vec<PublicKey>> = BTreeMap::new();
    for (role, change) in changes {
        let protection = if is_online(&role) { online } else { offline };
        let mut added = Vec::new();
        // Roles with one entry in the policy, such as bins, share their keys.
        let entry = policy.entry_name(&role).unwrap_or(role.as_str()).to_string();
        let shared: &mut Vec<PublicKey> = new_keys.entry(entry).or_default();
        while (shared.len() as u64) < u64::from(change.add) {
            let (public, uri) = new_key(repository, &mut policy, &role, protection)?;
            replacements.push((role.clone(), uri));
            shared.push(public);
        }
        added.extend(shared.iter().take(change.add as usize).cloned());
        rotations.push((role, added, change.remove.into_iter().collect::<Vec<_>>()));
    }
    forget(repository, &mut policy, &rotations);
    let mut edit = repository.edit(draft);
    // Bins are many, and have the same change.
    let mut alike: BTreeMap<(Vec<PublicKey>, Vec<PublicKey>), Vec<RoleName>> = BTreeMap::new();
    for (role, added, removed) in rotations {
        alike.entry((added, removed)).or_default().push(role);
    }
    for ((added, removed), roles) in alike {
        edit.rotate_all(&roles, &added, &removed)?;
    }
    if let Some((role, delegator)) = edit.roles_trusting(key)?.first() {
        let delegator = delegator.as_ref().map_or("root", RoleName::as_str);
        return Err(Error::Refused(format!(
            "{role} would still trust the key, because {delegator} delegates to it as well: take one of the delegations back \
             with `lastmile-repo undelegate {role} --from {delegator}`, then revoke again"
        )));
    }
    let mut draft = edit.finish()?;
    draft.policy = Some(policy);
    Ok(Revocation { draft, roles, replacements, recovers_fast_forward })
}

/// Why there is nothing to revoke.
fn not_trusted(repository: &mut Repository, key: &PublicKey) -> Error {
    match repository.published.roles_trusting(key) {
        Ok(roles) if !roles.is_empty() => Error::Refused(format!(
            "the change that waits for signatures throws the key {} out already: sign and publish it",
            short(key)
        )),
        _ => Error::NotFound(format!("no role trusts the key {}", short(key))),
    }
}

#[derive(Default)]
struct Change {
    add: u32,
    remove: BTreeSet<PublicKey>,
}

/// For each role — bins that share their keys once — what goes, and how many keys must come.
fn plan_changes(
    edit: &mut Edit<'_>,
    key: &PublicKey,
    roles: &[(RoleName, Option<RoleName>)],
) -> Result<BTreeMap<RoleName, Change>, Error> {
    let mut changes = BTreeMap::new();
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
        let (keys, threshold) = match ring {
            Some(ring) => (ring.keys().map(|(_, key)| key).collect::<BTreeSet<_>>().len(), ring.threshold().get()),
            None => edit.trust(role).map(|(keys, threshold)| (keys.len(), threshold))?,
        };
        let left = u32::try_from(keys).unwrap_or(u32::MAX).saturating_sub(1);
        // Root keeps one key more than must sign: the next one may get lost.
        let wanted = threshold + u32::from(*role == RoleName::ROOT);
        let change = Change { add: wanted.saturating_sub(left), remove: [key.clone()].into() };
        changes.entry(role.clone()).or_insert(change);
    }
    Ok(changes)
}

fn new_key(
    repository: &mut Repository,
    policy: &mut Policy,
    role: &RoleName,
    protection: &Protection,
) -> Result<(PublicKey, KeyUri), Error> {
    let folder = repository.layout.keys();
    let entry = policy.entry_name(role).unwrap_or(role.as_str()).to_string();
    let name = key_store::free_name(&folder, entry.trim_end_matches('*').trim_end_matches('-'), policy);
    let key = PrivateKey::generate(Scheme::Ed25519).map_err(|error| Error::key(&name, error))?;
    let public = key_store::write(&folder, &name, &key, protection)?;
    let uri = key_uri(&repository.layout, &folder, &name)?;
    repository.keys.add_open(repository.layout.dir(), &uri, key);
    let mut role_policy = policy.role(role);
    role_policy.keys.push(uri.clone());
    policy.set_role(&entry, role_policy);
    Ok((public, uri))
}

/// Takes the keys that go out of the policy.
fn forget(repository: &Repository, policy: &mut Policy, rotations: &[(RoleName, Vec<PublicKey>, Vec<PublicKey>)]) {
    let uris_of = |key: &PublicKey| repository.keys.confirmed_uris_of(key).into_iter().map(ToString::to_string);
    for (role, _, removed) in rotations {
        let gone: BTreeSet<String> = removed.iter().flat_map(uris_of).collect();
        let entry = policy.entry_name(role).map(ToString::to_string);
        policy.edit_roles(|name, role_policy| {
            if entry.as_deref() == Some(name) {
                role_policy.keys.retain(|uri| !gone.contains(&uri.to_string()));
            }
        });
    }
}
