//! Functions that forge files, keys and releases for the attacks.

use lastmile_testkit::{Delegation, Repository, TestKey, canonical};
use serde_json::{Value, json};

use crate::{Case, release};

/// Returns the roles that a client updates before it verifies the new file of `role`.
pub(super) fn before(role: &str) -> &'static [&'static str] {
    match role {
        "root" | "timestamp" => &[],
        "snapshot" => &["timestamp"],
        _ => &["snapshot", "timestamp"],
    }
}

/// Returns the newest file of `role`, with the last occurrence of `old` replaced with `new`. The signatures are not
/// changed.
pub(super) fn respelled(repository: &Repository, role: &str, old: &str, new: &str) -> Vec<u8> {
    let text = String::from_utf8(repository.written(role)).unwrap();
    let at = text.rfind(old).unwrap_or_else(|| panic!("no {old} in {role}"));
    [&text[..at], new, &text[at + old.len()..]].concat().into_bytes()
}

/// Returns the newest file of `role`, with the last occurrence of `old` in the signed part replaced with `new`. The
/// changed part is signed again, so the signatures are valid.
pub(super) fn signed_so(repository: &Repository, role: &str, old: &str, new: &str) -> Vec<u8> {
    let written: Value = serde_json::from_slice(&repository.written(role)).unwrap();
    let text = String::from_utf8(canonical::write(&written["signed"])).unwrap();
    let at = text.rfind(old).unwrap_or_else(|| panic!("no {old} in {role}"));
    let signed = [&text[..at], new, &text[at + old.len()..]].concat();
    let signatures: Vec<Value> =
        repository.signers(role).iter().map(|key| key.signature_of(signed.as_bytes())).collect();
    format!(r#"{{"signatures":{},"signed":{signed}}}"#, Value::from(signatures)).into_bytes()
}

/// Sets the keys and the threshold of `team` or of a top-level role, and publishes the change.
pub(super) fn with_keys(honest: &mut Repository, role: &str, keys: &[TestKey], threshold: u32) {
    if role == "team" {
        let delegation = Delegation::paths("team", &["team/*"]).keys(keys, threshold);
        honest.signed("targets")["delegations"]["roles"] = json!([]);
        honest.delegate("targets", &delegation);
        honest.publish(&["team", "targets"]);
    } else {
        honest.set_keys(role, keys, threshold);
        honest.publish(&["root", role]);
    }
}

pub(super) fn with_signatures(file: &[u8], edit: impl FnOnce(&mut Vec<Value>)) -> Vec<u8> {
    let mut envelope: Value = serde_json::from_slice(file).unwrap();
    edit(envelope["signatures"].as_array_mut().unwrap());
    serde_json::to_vec(&envelope).unwrap()
}

/// Returns a repository in which the keys `ROLE-1` and `ROLE-2` must both sign `role`.
pub(super) fn two_of_two(role: &str) -> Repository {
    let keys = [1, 2].map(|number| TestKey::p256(&format!("{role}-{number}")));
    let mut honest = release(3);
    with_keys(&mut honest, role, &keys, 2);
    honest
}

/// Publishes `bytes` as the file of `role`, and updates the snapshot and the timestamp to match.
pub(super) fn republish(attacker: &mut Repository, role: &str, bytes: Vec<u8>) {
    attacker.put_metadata(role, bytes);
    if !["root", "snapshot", "timestamp"].contains(&role) {
        attacker.list_in_snapshot(role);
        attacker.write("snapshot");
    }
    if !["root", "timestamp"].contains(&role) {
        attacker.list_in_timestamp();
        attacker.write("timestamp");
    }
}

/// Returns the second valid form of an ECDSA signature, which has n − s instead of s. The argument and the result are
/// DER, written as hexadecimal digits.
pub(super) fn negated(signature: &str) -> String {
    let der = hex::decode(signature).unwrap();
    let (r_length, integer) = (usize::from(der[3]), |value: &[u8]| {
        let value: Vec<u8> = value.iter().copied().skip_while(|byte| *byte == 0).collect();
        let padding = if value.first().is_some_and(|byte| byte & 0x80 != 0) { vec![0] } else { vec![] };
        [&[2, u8::try_from(padding.len() + value.len()).unwrap()][..], &padding, &value].concat()
    });
    let s = &der[6 + r_length..];
    let mut padded = vec![0; 32_usize.saturating_sub(s.len())];
    padded.extend(s.iter().skip(s.len().saturating_sub(32)));
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let mut difference = vec![0_u8; 32];
    let mut borrow = 0_i16;
    for index in (0..32).rev() {
        let digit = i16::from(order[index]) - i16::from(padded[index]) - borrow;
        borrow = i16::from(digit < 0);
        difference[index] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    let body = [der[2..4 + r_length].to_vec(), integer(&difference)].concat();
    hex::encode([&[0x30, u8::try_from(body.len()).unwrap()][..], &body].concat())
}

/// Returns a copy of the repository with one more release.
pub(super) fn newer(repository: &Repository) -> Repository {
    let mut newer = repository.fork();
    newer.publish(&["targets"]);
    newer
}

/// Creates a case in which `edit` has changed the signatures of a new timestamp.
pub(super) fn forged(sample: &str, edit: impl FnOnce(&mut Vec<Value>)) -> Case {
    let honest = release(2);
    let mut attacker = newer(&honest);
    let bytes = with_signatures(&attacker.written("timestamp"), edit);
    attacker.put_metadata("timestamp", bytes);
    Case::against(&honest).attacker(attacker.network()).sample(sample).refused("timestamp", "ThresholdNotMet")
}

/// Creates a case in which a delegated role with the path pattern `pattern` lists the target `path`.
pub(super) fn claimed(pattern: &str, path: &str, content: &[u8]) -> Case {
    let mut honest = release(1);
    honest.delegate("targets", &Delegation::paths("role", &[pattern]));
    honest.add_target("role", path, content);
    honest.publish(&["role", "targets"]);
    Case::against(&honest).packages(&["package"]).get(path).sample(format!("`{pattern}` and `{path}`"))
}
