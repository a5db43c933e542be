//! Decides whether an attack has harmed a client. The module compares the client's files after the attack with the
//! files that honest repositories offer.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lastmile_testkit::{FakeNetwork, METADATA, hash};
use serde_json::Value;

use crate::case_server::changed;
use crate::{Action, Case, EVIL};

/// The contents of files, by file name.
type Files = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Success,
    Failure,
}

#[derive(Clone, Copy)]
pub(super) struct Holdings<'a> {
    pub(super) trusted: &'a Files,
    pub(super) output: &'a Files,
}

/// Returns a description of the harm to the client, or `None` if it was not harmed. A client that reports success must
/// also have the requested package. Its trusted roles must belong to one release and must not have expired.
pub(super) fn harm(case: &Case, before: Holdings<'_>, after: Holdings<'_>, ending: Ending) -> Option<String> {
    let known = Known::of(case);
    known.untrusted(case, before.trusted, after.trusted).or_else(|| {
        if ending == Ending::Success {
            known.wrong_output(case, before.output, after.output).or_else(|| inconsistent(after.trusted))
        } else {
            let output = changed(before.output, after.output);
            (!output.is_empty()).then(|| format!("downloaded files changed: {output:?}"))
        }
    })
}

/// The files that a client may have without being harmed.
struct Known {
    networks: Vec<FakeNetwork>,
    honest: FakeNetwork,
}

impl Known {
    fn of(case: &Case) -> Known {
        let mut networks: Vec<FakeNetwork> = case.before.iter().chain(&case.may_trust).cloned().collect();
        if case.is_form_only || !case.is_attack() {
            networks.push(case.attacker.clone());
        }
        Known { networks, honest: case.honest.clone() }
    }

    /// Returns a description of the first harmful change to a trusted file: the file is missing, no honest repository
    /// offers its content, or its version is lower than before. Ignores the files of the roles in `case.advances`.
    fn untrusted(&self, case: &Case, before: &Files, after: &Files) -> Option<String> {
        let steps: Vec<String> = case.advances.iter().map(|role| lastmile_testkit::file_name(role, None)).collect();
        changed(before, after).into_iter().filter(|name| !steps.contains(name)).find_map(|name| {
            let Some(bytes) = after.get(&name) else { return Some(format!("`{name}` is no longer trusted")) };
            if !self.metadata(&name).iter().any(|known| is_same(known, bytes)) {
                return Some(format!("the content of `{name}` is trusted, but no honest repository offers it"));
            }
            let then = before.get(&name).and_then(|old| version(old))?;
            let now = version(bytes)?;
            (now < then).then(|| format!("`{name}` was rolled back from version {then} to {now}"))
        })
    }

    /// Returns all versions of the metadata file `name` that a client may trust.
    fn metadata(&self, name: &str) -> Vec<Vec<u8>> {
        let is_of_the_role = |path: &str| {
            let file = path.strip_prefix(METADATA).unwrap_or_default();
            let unversioned = file.trim_start_matches(|c: char| c.is_ascii_digit());
            file == name || (unversioned.len() < file.len() && unversioned.strip_prefix('.') == Some(name))
        };
        let files = self.networks.iter().flat_map(|network| network.files());
        files.filter(|(path, _)| is_of_the_role(path)).map(|(_, bytes)| bytes).collect()
    }

    /// Returns a description of the harm if a downloaded file is not the requested package, or if the package is
    /// missing.
    fn wrong_output(&self, case: &Case, before: &Files, after: &Files) -> Option<String> {
        let Action::Get(path) = &case.action else {
            let output = changed(before, after);
            return (!output.is_empty()).then(|| format!("downloaded files changed: {output:?}"));
        };
        let right = self.hashes_of(path);
        let is_right = |bytes: &Vec<u8>| bytes != EVIL && right.contains(&hash(bytes));
        let changed = changed(before, after);
        if let Some(name) = changed.iter().find(|name| !after.get(*name).is_some_and(is_right)) {
            return Some(format!("no honest repository offers the content of `{name}` as `{path}`"));
        }
        let is_missing = !right.is_empty() && !after.values().any(is_right);
        is_missing.then(|| format!("exit code 0, but `{path}` is missing"))
    }

    /// Returns the SHA-256 hashes that honest repositories list for `path`.
    fn hashes_of(&self, path: &str) -> Vec<String> {
        let networks = self.networks.iter().chain([&self.honest]);
        let files = networks.flat_map(|network| network.files()).filter(|(name, _)| name.starts_with(METADATA));
        let listed = files
            .filter_map(|(_, bytes)| Some(signed(&bytes)?["targets"][path]["hashes"]["sha256"].as_str()?.to_owned()));
        listed.filter(|listed| *listed != hash(EVIL)).collect()
    }
}

/// Returns a description of the harm if the trusted roles belong to different releases or have expired. In both cases,
/// the attack kept the client on an older release.
fn inconsistent(trusted: &Files) -> Option<String> {
    let read = |role: &str| trusted.get(&format!("{role}.json")).and_then(|bytes| signed(bytes));
    for (role, below) in [("timestamp", "snapshot"), ("snapshot", "targets")] {
        let listed = read(role).and_then(|signed| signed["meta"][format!("{below}.json")]["version"].as_u64());
        let there = read(below).and_then(|signed| signed["version"].as_u64());
        if let (Some(listed), Some(there)) = (listed, there)
            && listed != there
        {
            return Some(format!("{role} lists version {listed} of {below}, but version {there} is trusted"));
        }
    }
    ["root", "timestamp", "snapshot", "targets"].into_iter().find_map(|role| {
        let expires: DateTime<Utc> = read(role)?["expires"].as_str()?.parse().ok()?;
        (expires <= Utc::now()).then(|| format!("{role} has expired"))
    })
}

/// Compares two JSON documents, and ignores differences in formatting.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one == other || document(one).is_some_and(|one| document(other) == Some(one))
}

/// Returns the first JSON document in `bytes`. Like a lenient parser, ignores a byte order mark and everything after
/// the document.
fn document(bytes: &[u8]) -> Option<Value> {
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    serde_json::Deserializer::from_slice(text).into_iter().next()?.ok()
}

fn signed(bytes: &[u8]) -> Option<Value> {
    Some(document(bytes)?["signed"].take())
}

fn version(bytes: &[u8]) -> Option<u64> {
    signed(bytes)?["version"].as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GOOD, release};
    use lastmile_testkit::Repository;
    use serde_json::json;

    const ROLES: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

    fn trusted(repository: &Repository) -> Files {
        ROLES.iter().map(|role| (format!("{role}.json"), repository.written(role))).collect()
    }

    fn good() -> Files {
        [("package".to_owned(), GOOD.to_vec())].into()
    }

    /// Returns the harm to a client that trusted the files of `honest` before the attack. `after` contains the client's
    /// trusted metadata and its downloaded files after the attack.
    fn of(case: &Case, honest: &Repository, after: (&Files, &Files)) -> Option<String> {
        let before = trusted(honest);
        let output = good();
        let before = Holdings { trusted: &before, output: &output };
        harm(case, before, Holdings { trusted: after.0, output: after.1 }, Ending::Success)
    }

    #[test]
    fn a_client_whose_files_are_unchanged_was_not_harmed() {
        let honest = release(2);
        let case = Case::against(&honest).get("package");
        assert_eq!(of(&case, &honest, (&trusted(&honest), &good())), None);
    }

    #[test]
    fn an_unusual_file_is_harmless_unless_it_is_an_attack() {
        let honest = release(2);
        let mut odd = honest.fork();
        odd.publish(&["targets"]);
        odd.put_metadata("timestamp", [odd.written("timestamp"), b"{}".to_vec()].concat());
        let case = Case::against(&honest).attacker(odd.network()).refused("timestamp", "Malformed");
        assert_eq!(of(&case.clone().form_only(), &honest, (&trusted(&odd), &good())), None);
        assert!(of(&case, &honest, (&trusted(&odd), &good())).unwrap().contains("no honest repository offers it"));
    }

    #[test]
    fn an_older_honest_file_does_harm() {
        let old = release(2);
        let mut honest = old.fork();
        honest.publish(&["targets"]);
        let case = Case::against(&honest).attacker(old.network()).refused("timestamp", "Rollback").form_only();
        let harm = of(&case, &honest, (&trusted(&old), &good())).unwrap();
        assert!(harm.contains("from version"), "{harm}");
    }

    #[test]
    fn other_bytes_and_no_bytes_do_harm() {
        let honest = release(2);
        let case = Case::against(&honest).get("package").form_only();
        let all = trusted(&honest);
        let evil: Files = [("package".to_owned(), EVIL.to_vec())].into();
        assert!(of(&case, &honest, (&all, &evil)).unwrap().contains("no honest repository offers"));
        let other: Files = good().into_iter().chain([("more".to_owned(), b"more".to_vec())]).collect();
        assert!(of(&case, &honest, (&all, &other)).unwrap().contains("no honest repository offers"));
        let before = Holdings { trusted: &all, output: &Files::new() };
        assert!(harm(&case, before, before, Ending::Success).unwrap().contains("is missing"));
    }

    #[test]
    fn an_incomplete_release_does_harm() {
        let honest = release(2);
        let mut next = honest.fork();
        next.publish(&["targets"]);
        let case = Case::against(&honest).refused("targets", "NotFound").advances(&["snapshot", "timestamp"]);
        let mut mixed = trusted(&next);
        mixed.insert("targets.json".into(), honest.written("targets"));
        let harm = of(&case, &honest, (&mixed, &good())).unwrap();
        assert!(harm.contains("snapshot lists version"), "{harm}");
    }

    #[test]
    fn expired_metadata_does_harm() {
        let honest = release(2);
        let mut stale = honest.fork();
        stale.signed("snapshot")["expires"] = json!("2020-01-01T00:00:00Z");
        stale.publish(&["snapshot"]);
        let case = Case::against(&honest).attacker(stale.network()).form_only();
        assert_eq!(of(&case, &honest, (&trusted(&stale), &good())).unwrap(), "snapshot has expired");
    }
}
