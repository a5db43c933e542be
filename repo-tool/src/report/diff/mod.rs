//! Describes every change that a [`Draft`] makes to the signed text of metadata, for review before signing.

mod delegations;
pub(crate) mod explain;
mod explanation;
mod keys;
mod lines;
mod policy;
mod role_diff;
mod unusual;

use std::collections::BTreeMap;

use lastmile_client::text::printable;
use lastmile_metadata::{Hashes, MetaFile, RoleName};

use crate::Error;
use crate::draft::Draft;
use crate::publish::completed::Completed;
use crate::published::Published;
use explain::{TargetChanges, explained};
use role_diff::family_of;
pub use role_diff::{Many, RoleDiff, Sign, full_text, json, text};
pub use unusual::Unusual;

/// Compares the draft with the published state. If the draft adds very many targets, counts the changes to targets
/// instead of describing them.
///
/// # Errors
/// [`Error::File`] if a signed text is stored on disk and cannot be read.
pub(crate) fn diff(
    published: Option<&Published>,
    draft: &Draft,
    completed: &mut Completed,
) -> Result<Vec<RoleDiff>, Error> {
    let of_targets = TargetChanges::of(draft);
    let mut families: BTreeMap<String, RoleDiff> = BTreeMap::new();
    let mut single = Vec::new();
    let mut changes = std::mem::take(&mut completed.changes);
    for document in completed.all() {
        let known = changes.remove(&document.role);
        let mut found = known.map_or_else(|| explained(published, draft, document, of_targets), Ok)?;
        if of_targets == TargetChanges::Counted
            && let Some(after) = draft.targets.get(&document.role)
        {
            let before = published.and_then(|published| published.known(&document.role));
            found.many.get_or_insert_default().count(before, after)?;
        }
        if document.role == RoleName::SNAPSHOT {
            found.lines.extend(completed.entries.iter().map(completed_entry));
        }
        if found.many.is_none() || document.role.is_top_level() {
            single.push(found);
            continue;
        }
        // The lines of several roles are shown together, so each line begins with the name of its role.
        let name = |(sign, line): (Sign, String)| (sign, format!("{}: {line}", printable(document.role.as_str())));
        found.lines = found.lines.into_iter().map(name).collect();
        let family = family_of(&document.role.to_string());
        let all = families.entry(family.clone()).or_insert_with(|| RoleDiff::new(family, String::new()));
        all.add(found);
    }
    let families = families.into_values().map(|family| {
        let title = format!("{} roles", family.many.unwrap_or_default().roles);
        RoleDiff { title, ..family }
    });
    Ok(families.chain(single).collect())
}

/// Describes a snapshot entry that gets a length and a hash although its role does not change.
fn completed_entry((role, listed): (&RoleName, &MetaFile)) -> (Sign, String) {
    let length = listed.length.unwrap_or_default();
    let hashes: Vec<String> = listed.hashes.iter().flat_map(Hashes::prefixes).collect();
    let role = printable(role.as_str());
    (Sign::Changed, format!("lists the published {role} with {length} bytes and the hash {}", hashes.join(", ")))
}
