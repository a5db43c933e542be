//! Refuses to sign or publish a metadata file ([`Document`]) with a format fault ([`crate::check::faults`]) that its
//! published version does not have.
//!
//! A root that python-tuf cannot read stops every python-tuf client permanently, because clients must read that root
//! before the next one. Lastmile accepts more formats than other clients, so its simulated clients ([`crate::check`])
//! do not detect such a fault. A fault in metadata that has already been published causes only a warning, so that the
//! repository can be repaired. A file that exceeds the default limits of other clients also causes only a warning,
//! because users of those clients can raise the limits.

use std::collections::BTreeSet;

use lastmile_metadata::{DelegatedRoles, Delegations, PathPattern, Paths, RoleName, TargetPath, assemble};

use crate::check::faults::{faults, file_faults};
use crate::check::finding::{Finding, Rule};
use crate::document::Document;
use crate::published::Published;
use crate::{DraftError, Error};

/// Clients whose default limits are equal. The limits of tough are different.
const PYTHON_AND_OTHERS: &str = "python-tuf, go-tuf and tuf-js";

/// The number of delegated roles that python-tuf, go-tuf and tuf-js visit in one search by default.
const VISITED: usize = 32;

/// Refuses new metadata of a role if it has a format fault that the published metadata of the role does not have.
///
/// # Errors
/// Returns [`Error::Draft`], which lists all new faults.
pub(crate) fn admit(published: Option<&Published>, document: &Document) -> Result<(), Error> {
    let role = &document.role;
    let after = document.faults()?;
    if after.is_empty() {
        return Ok(());
    }
    let before = published.and_then(|published| published.signed_text(role)).map(|text| faults(role, text));
    let new: Vec<Finding> = after.difference(&before.unwrap_or_default()).cloned().collect();
    if new.is_empty() {
        return Ok(());
    }
    Err(DraftError::Faults { role: role.clone(), version: document.version, faults: new }.into())
}

/// Like [`admit`], but also checks the signatures and the other unsigned parts of the file.
///
/// # Errors
/// Returns [`Error::Draft`]. If the signed part has new faults, the error lists only those. Otherwise, it lists all
/// faults in the rest of the file.
pub(crate) fn admit_file(published: Option<&Published>, document: &Document) -> Result<(), Error> {
    admit(published, document)?;
    // A malformed key ID that the delegating role lists is not reported here, because it is a fault in the delegating
    // role.
    let rings = document.rings();
    let listed: BTreeSet<&str> =
        rings.required.iter().chain(&rings.wanted).flat_map(|ring| ring.keys().map(|(id, _)| id.as_str())).collect();
    // Use `{}` in place of the signed text, which `admit` has checked and which may be long.
    let faults = file_faults(&assemble("{}", document.signatures()), &|id| listed.contains(id));
    if faults.is_empty() {
        return Ok(());
    }
    let faults = faults.into_iter().collect();
    Err(DraftError::FileFaults { role: document.role.clone(), version: document.version, faults }.into())
}

/// Returns a finding for each part of the published metadata that other clients refuse, or that exceeds their default
/// limits. Covers root, timestamp, snapshot and every targets role that has been read.
pub(crate) fn findings(published: &Published) -> Vec<Finding> {
    let mut found = Vec::new();
    for (role, text) in published.signed_texts() {
        let faults = faults(role, text).into_iter();
        found.extend(
            faults.map(|fault| Finding::about(fault.rule, role, format!("{role} as published: {}", fault.text))),
        );
        found.extend(length_finding(published, role));
    }
    for (role, targets) in published.read_roles() {
        let most = targets.delegations.as_ref().map_or(0, most_visited);
        if most > VISITED {
            let text = format!(
                "a search may visit {most} roles that {role} delegates to, but {PYTHON_AND_OTHERS} visit only {VISITED} by default: \
                 let fewer delegations cover the same paths, or make some delegations terminating"
            );
            found.push(Finding::about(Rule::ManyRolesForOthers, role, text));
        }
    }
    found
}

/// Returns a finding if the metadata file of a role is longer than other clients accept by default. Those clients apply
/// their default limit only if no other metadata lists the length of the file.
fn length_finding(published: &Published, role: &RoleName) -> Option<Finding> {
    let (length, limits): (_, [(u64, &str); 2]) = match role.as_str() {
        "root" => (published.root.bytes().len(), [(512_000, PYTHON_AND_OTHERS), (1 << 20, "tough")]),
        "timestamp" => (published.timestamp.bytes().len(), [(16_384, PYTHON_AND_OTHERS), (1 << 20, "tough")]),
        "snapshot" if published.timestamp.snapshot.length.is_none() => {
            (published.snapshot.bytes().len(), [(1 << 20, "tough"), (2_000_000, PYTHON_AND_OTHERS)])
        }
        "snapshot" => return None,
        _ if published.snapshot.meta(role).is_some_and(|meta| meta.length.is_some()) => return None,
        _ => (published.length(role)?, [(5_000_000, PYTHON_AND_OTHERS), (10 << 20, "tough")]),
    };
    let exceeded = limits.iter().filter(|(limit, _)| length as u64 > *limit);
    let exceeded: Vec<String> = exceeded.map(|(limit, who)| format!("{who} read at most {limit}")).collect();
    if exceeded.is_empty() {
        return None;
    }
    let text = format!("{role} is {length} bytes long; by default, {}", exceeded.join(", "));
    Some(Finding::about(Rule::LongForOthers, role, text))
}

/// Estimates from the path patterns how many delegated roles a search for one path can visit. Returns 0
/// without an estimate if there are at most [`VISITED`] delegations.
fn most_visited(delegations: &Delegations) -> usize {
    let patterns: Vec<&str> = match &delegations.roles {
        DelegatedRoles::Listed(roles) if roles.len() > VISITED => {
            let patterns = roles.iter().filter_map(|role| match &role.paths {
                Paths::Patterns(patterns) => Some(patterns.iter().map(PathPattern::as_str)),
                Paths::HashPrefixes(_) => None,
            });
            patterns.flatten().collect()
        }
        _ => Vec::new(),
    };
    let samples: BTreeSet<String> = patterns.iter().map(|pattern| pattern.replace(['*', '?'], "x")).collect();
    let visited = samples.into_iter().filter_map(|sample| TargetPath::new(sample).ok()).map(|path| {
        let covering = delegations.covering(&path);
        let until = covering.iter().position(|(_, terminating)| *terminating);
        until.map_or(covering.len(), |at| at + 1)
    });
    visited.max().unwrap_or(0)
}
