//! Describes the changes to the delegations of a role (TUF specification 4.5).

use std::collections::{BTreeMap, BTreeSet};

use lastmile_metadata::{DelegatedRoles, Delegation, Delegations, Paths, RoleName};

use super::explanation::Explanation;
use super::keys::{KeysBefore, RoleKeyList, ring_lines};
use super::role_diff::Sign;
use crate::edit::bins::Bins;

/// `keys` contains the IDs of the changed keys.
pub(super) fn explain(
    explanation: &mut Explanation,
    before: Option<&Delegations>,
    after: Option<&Delegations>,
    keys: &BTreeSet<&str>,
) {
    let none = Delegations::new();
    let before = before.unwrap_or(&none);
    let after = after.unwrap_or(&none);
    let old = described(before);
    let new = described(after);
    let by_name = |all: &[(String, String)]| all.iter().cloned().collect::<BTreeMap<String, String>>();
    let old_by_name = by_name(&old);
    let new_by_name = by_name(&new);
    for (name, _) in old.iter().filter(|(name, _)| !new_by_name.contains_key(name)) {
        explanation.lines.push(Sign::Removed, &format!("delegation to {name}"));
    }
    for (name, description) in &new {
        explanation.lines.compare(old_by_name.get(name).cloned(), Some(description.clone()));
    }
    // TUF specification 4.5: the order of delegations is their priority. A delegation that is added at the end does not
    // change the priority of the other delegations.
    let names = |all: &[(String, String)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let kept: Vec<String> = names(&old).into_iter().filter(|name| new_by_name.contains_key(name)).collect();
    let added = names(&new).into_iter().filter(|name| !old_by_name.contains_key(name));
    if names(&new) != kept.iter().cloned().chain(added).collect::<Vec<_>>() {
        let order = |names: &[String]| Some(format!("delegations in the order {}", names.join(", ")));
        explanation.lines.compare(order(&kept), order(&names(&new)));
    }
    let old = RoleKeyList::of_delegations(before);
    let new = RoleKeyList::of_delegations(after);
    // The keys of a removed delegation are not described, because they are removed together with the delegation.
    let names: BTreeSet<&str> = new.iter().map(RoleKeyList::name).collect();
    let kept = RoleKeyList::of_delegations(before).into_iter().filter(|old| names.contains(old.name()));
    let kept: Vec<RoleKeyList<'_>> = kept.collect();
    ring_lines(&mut explanation.lines, &kept, &new, &|_| true);
    explanation.keys(&["delegations"], KeysBefore { keys: Some(&before.keys), rings: &old }, &after.keys, &new, keys);
}

/// Returns the name and a description of each delegation. A set of bins is described as one delegation, whose name is
/// the bins' name prefix followed by `-*`.
fn described(delegations: &Delegations) -> Vec<(String, String)> {
    let bins = Bins::of(delegations);
    let mut all: Vec<(String, String)> = match &delegations.roles {
        DelegatedRoles::Succinct(_) => Vec::new(),
        DelegatedRoles::Listed(roles) => {
            let is_other = |name: &RoleName| bins.as_ref().is_none_or(|bins| !bins.contains(name));
            roles.iter().filter(|delegation| is_other(&delegation.name)).map(described_delegation).collect()
        }
    };
    if let Some(bins) = bins {
        let name = format!("{}-*", bins.name_prefix);
        let kind = if bins.succinct { "succinct" } else { "prefix" };
        let description = format!("delegation to 2^{} {kind} bins {name}", bins.bit_length);
        all.push((name, description));
    }
    all
}

fn described_delegation(delegation: &Delegation) -> (String, String) {
    let paths = match &delegation.paths {
        Paths::Patterns(patterns) => patterns.iter().map(|pattern| shown(pattern.as_str())).collect::<Vec<_>>(),
        Paths::HashPrefixes(prefixes) => prefixes.iter().map(|prefix| format!("#{prefix}")).collect(),
    };
    let terminating = if delegation.terminating { ", terminating" } else { "" };
    let name = delegation.name.as_str().to_string();
    let description = format!("delegation to {name}: {}{terminating}", paths.join(" "));
    (name, description)
}

/// Formats a pattern. Adds quotes if the pattern could be mistaken for several patterns or for a hash prefix.
fn shown(pattern: &str) -> String {
    let is_plain = !pattern.is_empty() && !pattern.starts_with('#') && !pattern.contains([' ', '"', ',']);
    if is_plain { pattern.to_string() } else { format!("{pattern:?}") }
}
