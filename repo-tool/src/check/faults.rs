//! Format faults, which make other clients refuse metadata permanently. Every format that at least one of python-tuf 7,
//! go-tuf 2, tuf-js 4 and tough 0.24 refuses is a fault.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use lastmile_client::text::printable;
use lastmile_metadata::changes::{elements, member, members, string};
use lastmile_metadata::{ErrorKind, Json, Key, Location, RoleName};
use sha2::{Digest as _, Sha256};

use crate::check::finding::{Finding, Rule};

/// The pairs of keytype and scheme that python-tuf supports. python-tuf refuses any file that contains a key with
/// another pair.
const KEYS: [(&str, &str); 16] = [
    ("ecdsa", "ecdsa-sha2-nistp256"),
    ("ecdsa", "ecdsa-sha2-nistp384"),
    ("ecdsa", "ecdsa-sha2-nistp521"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("ed25519", "ed25519"),
    ("ml-dsa", "ml-dsa-44/1"),
    ("ml-dsa", "ml-dsa-65/1"),
    ("ml-dsa", "ml-dsa-87/1"),
    ("rsa", "rsassa-pss-sha256"),
    ("rsa", "rsassa-pss-sha384"),
    ("rsa", "rsassa-pss-sha512"),
    ("rsa", "rsa-pkcs1v15-sha256"),
    ("rsa", "rsa-pkcs1v15-sha384"),
    ("rsa", "rsa-pkcs1v15-sha512"),
];

/// Returns the format faults in `signed`, the signed part of a role's metadata. Most findings name the clients that
/// refuse the format.
pub(crate) fn faults(role: &RoleName, signed: &str) -> BTreeSet<Finding> {
    let mut faults = Faults::default();
    if let Err(error) = faults.find(role, signed) {
        faults.add(Rule::UnreadableForOthers, format!("the metadata cannot be read: {error}"));
    }
    faults.0
}

/// Returns the format faults in the parts of a metadata file that the signatures do not cover. `is_listed` returns
/// whether the delegating role lists the given key ID for this role.
pub(super) fn file_faults(file: &[u8], is_listed: &dyn Fn(&str) -> bool) -> BTreeSet<Finding> {
    let mut faults = Faults::default();
    let found = match std::str::from_utf8(file) {
        // In a file on disk, unprintable characters may be written as JSON escapes. Canonical JSON has no such escapes,
        // so convert the file to canonical JSON first.
        Ok(file) if members(file).is_ok() => faults.file(file, is_listed),
        Ok(file) => Json::parse(file).and_then(|file| faults.file(file.canonical(), is_listed)),
        Err(_) => Err(ErrorKind::Malformed { at: Location::Document, expected: "UTF-8 text", found: None }),
    };
    if let Err(error) = found {
        faults.add(Rule::UnreadableForOthers, format!("the metadata cannot be read: {error}"));
    }
    faults.0
}

#[derive(Default)]
struct Faults(BTreeSet<Finding>);

impl Faults {
    fn add(&mut self, rule: Rule, fault: impl AsRef<str>) {
        self.0.insert(Finding::new(rule, printable(fault.as_ref())));
    }

    fn file(&mut self, file: &str, is_listed: &dyn Fn(&str) -> bool) -> Result<(), ErrorKind> {
        let found = members(file)?;
        if !found.keys().map(|name| &**name).eq(["signatures", "signed"]) {
            self.add(Rule::UnreadableForOthers, "the members of the file must be exactly `signatures` and `signed`");
        }
        let mut seen = BTreeSet::new();
        for signature in elements(found.get("signatures").copied().unwrap_or_default())? {
            let found = members(signature)?;
            let id = text(found.get("keyid").copied());
            let sig = text(found.get("sig").copied());
            if !found.keys().map(|name| &**name).eq(["keyid", "sig"]) {
                self.add(
                    Rule::SignatureForm,
                    format!("the members of the signature with key ID `{id}` must be exactly `keyid` and `sig`"),
                );
            }
            if !(is_listed(&id) || (id.len() == 64 && is_hex(&id))) {
                self.add(
                    Rule::SignatureForm,
                    format!("the key ID `{id}` of a signature is not 64 hexadecimal digits: tough refuses it"),
                );
            }
            if sig.is_empty() || !sig.len().is_multiple_of(2) || !is_hex(&sig) {
                self.add(Rule::SignatureForm, format!("the signature with key ID `{id}` is not hexadecimal"));
            }
            if !seen.insert(id.clone()) {
                self.add(
                    Rule::SignatureForm,
                    format!("the key ID `{id}` has two signatures: python-tuf and tough refuse the file"),
                );
            }
        }
        Ok(())
    }

    fn find(&mut self, role: &RoleName, signed: &str) -> Result<(), ErrorKind> {
        let found = members(signed)?;
        let spec_version = text(found.get("spec_version").copied());
        if !matches!(spec_version.split('.').count(), 2 | 3) {
            self.add(Rule::SpecVersionForm, format!(
                "spec_version `{spec_version}` must be two or three numbers: python-tuf and tuf-js refuse anything else"
            ));
        }
        let expires = text(found.get("expires").copied());
        if expires.len() != "2030-01-31T00:00:00Z".len() || !expires.ends_with('Z') {
            self.add(
                Rule::ExpiryForm,
                format!("expires `{expires}` is not in whole seconds and UTC: python-tuf refuses it"),
            );
        }
        match role.as_str() {
            "root" => self.root(signed),
            "snapshot" | "timestamp" => Ok(()),
            _ => found.get("delegations").map_or(Ok(()), |delegations| self.delegations(delegations)),
        }
    }

    fn root(&mut self, signed: &str) -> Result<(), ErrorKind> {
        if member(signed, "consistent_snapshot")?.is_none() {
            self.add(Rule::NoConsistentSnapshot, "the root has no `consistent_snapshot`: tough and tuf-js refuse it");
        }
        let keys = self.keys(member(signed, "keys")?.unwrap_or("{}"))?;
        for (name, role) in members(member(signed, "roles")?.unwrap_or("{}"))? {
            if !RoleName::TOP_LEVEL.iter().any(|known| known.as_str() == name) {
                self.add(
                    Rule::UnknownRootRole,
                    format!(
                        "the root has the role `{name}`, which is not a top-level role: python-tuf and tough refuse it"
                    ),
                );
            }
            self.ring(&name, role, &keys)?;
        }
        Ok(())
    }

    fn delegations(&mut self, delegations: &str) -> Result<(), ErrorKind> {
        let keys = self.keys(member(delegations, "keys")?.unwrap_or("{}"))?;
        if let Some(bins) = member(delegations, "succinct_roles")? {
            self.ring(&text(member(bins, "name_prefix")?), bins, &keys)?;
        }
        for delegation in elements(member(delegations, "roles")?.unwrap_or("[]"))? {
            let found = members(delegation)?;
            let name = text(found.get("name").copied());
            if !found.contains_key("terminating") {
                self.add(
                    Rule::DelegationForm,
                    format!("the delegation to {name} has no `terminating`: python-tuf, tough and tuf-js refuse it"),
                );
            }
            if found.contains_key("paths") == found.contains_key("path_hash_prefixes") {
                self.add(Rule::DelegationForm, format!(
                    "the delegation to {name} must have exactly one of `paths` and `path_hash_prefixes`: python-tuf and tough refuse anything else"
                ));
            }
            self.ring(&name, delegation, &keys)?;
        }
        Ok(())
    }

    /// Checks the keys of a role and returns them by key ID. If lastmile cannot use a key, the map contains an error
    /// instead of the key.
    fn keys<'t>(&mut self, keys: &'t str) -> Result<BTreeMap<Cow<'t, str>, Result<Key, ErrorKind>>, ErrorKind> {
        let mut found = BTreeMap::new();
        for (id, key) in members(keys)? {
            let computed = hex::encode(Sha256::digest(key.as_bytes()));
            if !id.eq_ignore_ascii_case(&computed) {
                self.add(
                    Rule::KeyIdNotHash,
                    format!("the key ID {id} is not the hash of its key, {computed}: tough refuses it"),
                );
            }
            let keytype = text(member(key, "keytype")?);
            let scheme = text(member(key, "scheme")?);
            if !KEYS.contains(&(&*keytype, &*scheme)) {
                self.add(
                    Rule::UnknownKeyType,
                    format!("the key {id} has keytype `{keytype}` and scheme `{scheme}`: python-tuf refuses it"),
                );
            }
            let keyval = members(member(key, "keyval")?.unwrap_or("{}")).unwrap_or_default();
            if keyval.get("public").is_none_or(|public| string(public).is_none()) {
                self.add(Rule::KeyForm, format!("the key {id} has no `public` string: python-tuf refuses it"));
            } else if keyval.values().any(|value| string(value).is_none()) {
                self.add(
                    Rule::KeyForm,
                    format!("the keyval of the key {id} contains a value that is not a string: tuf-js refuses it"),
                );
            }
            found.insert(id, Key::parse(key));
        }
        Ok(found)
    }

    fn ring(
        &mut self,
        name: &str,
        role: &str,
        keys: &BTreeMap<Cow<'_, str>, Result<Key, ErrorKind>>,
    ) -> Result<(), ErrorKind> {
        let mut seen = BTreeSet::new();
        let mut usable = BTreeSet::new();
        for id in elements(member(role, "keyids")?.unwrap_or("[]"))? {
            let id = text(Some(id));
            if !seen.insert(id.clone()) {
                self.add(
                    Rule::KeyIdList,
                    format!("{name} lists the key ID {id} twice: python-tuf and tuf-js refuse this"),
                );
            }
            match keys.get(&id) {
                None => self.add(
                    Rule::KeyIdList,
                    format!("{name} lists the key ID {id}, but no key has this ID: go-tuf refuses it"),
                ),
                Some(Ok(key)) => match key.public_key() {
                    Ok(public) => drop(usable.insert(public)),
                    Err(error) => self.broken(name, &id, key, error),
                },
                Some(Err(_)) => {}
            }
        }
        let threshold = member(role, "threshold")?.unwrap_or_default();
        let count = usable.len();
        let keys = if count == 1 { "key" } else { "keys" };
        if !threshold.parse().is_ok_and(|threshold: usize| threshold <= count) {
            self.add(
                Rule::UnreachableThreshold,
                format!("{name} has a threshold of {threshold} but only {count} usable {keys}: nobody can sign for it"),
            );
        }
        Ok(())
    }

    /// Reports a key whose keytype and scheme are supported but whose value is invalid.
    fn broken(&mut self, name: &str, id: &str, key: &Key, error: &lastmile_keys::KeyError) {
        if matches!(error, lastmile_keys::KeyError::Invalid(_)) {
            let keytype = key.keytype();
            self.add(
                Rule::KeyForm,
                format!("the key {id} of {name} is not a valid {keytype} key ({error}): go-tuf refuses {name}"),
            );
        }
    }
}

/// Returns the content of a JSON string, or an empty string for any other value. No fault is added for a value that is
/// not a string, because the role's parser refuses it anyway.
fn text(value: Option<&str>) -> Cow<'_, str> {
    value.and_then(string).unwrap_or_default()
}

/// Returns whether all characters of `text` are lower-case hexadecimal digits.
fn is_hex(text: &str) -> bool {
    text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(signatures: &str) -> Vec<String> {
        let file = format!(r#"{{"signatures":{signatures},"signed":{{}}}}"#);
        file_faults(file.as_bytes(), &|id| id == "listed").into_iter().map(|fault| fault.text).collect()
    }

    #[test]
    fn a_threshold_that_the_usable_keys_cannot_reach_is_a_fault() {
        let root = |threshold: &str| {
            let role = format!(r#"{{"keyids":[],"threshold":{threshold}}}"#);
            format!(
                r#"{{"consistent_snapshot":true,"expires":"2030-01-31T00:00:00Z","keys":{{}},"roles":{{"root":{role}}},"spec_version":"1.0.31"}}"#
            )
        };
        assert!(faults(&RoleName::ROOT, &root("0")).is_empty());
        for threshold in ["1", "-1", "\"1\""] {
            let found = faults(&RoleName::ROOT, &root(threshold));
            assert!(found.iter().any(|fault| fault.rule == Rule::UnreachableThreshold), "{threshold}: {found:?}");
        }
    }

    #[test]
    fn signatures_that_others_cannot_read_are_faults() {
        let id = "ab".repeat(32);
        assert_eq!(faults_of(&format!(r#"[{{"keyid":"{id}","sig":"00"}},{{"keyid":"listed","sig":"ab"}}]"#)), [""; 0]);
        let cases = [
            (r#"[{"keyid":"not hex","sig":"ab"}]"#.to_string(), "64 hexadecimal digits"),
            (r#"[{"keyid":"","sig":"ab"}]"#.into(), "64 hexadecimal digits"),
            (format!(r#"[{{"keyid":"{}","sig":"ab"}}]"#, id.to_uppercase()), "64 hexadecimal digits"),
            (format!(r#"[{{"keyid":"{id}","sig":"AB"}}]"#), "is not hexadecimal"),
            (format!(r#"[{{"keyid":"{id}","sig":""}}]"#), "is not hexadecimal"),
            (format!(r#"[{{"keyid":"{id}","sig":"ab","x":1}}]"#), "must be exactly `keyid` and `sig`"),
            (format!(r#"[{{"keyid":"{id}","sig":"ab"}},{{"keyid":"{id}","sig":"cd"}}]"#), "two signatures"),
            (r#"{}"#.into(), "cannot be read"),
        ];
        for (signatures, expected) in cases {
            let found = faults_of(&signatures);
            assert!(found.iter().any(|fault| fault.contains(expected)), "{signatures}: {found:?}");
        }
    }
}
