//! What thieves do with the keys that they have.

use lastmile_testkit::{Delegation, Repository, TestKey, canonical};
use serde_json::{Value, json};

use crate::release;

/// The roles whose new files have passed when a new file of `role` is judged.
pub(super) fn before(role: &str) -> &'static [&'static str] {
    match role {
        "root" | "timestamp" => &[],
        "snapshot" => &["timestamp"],
        _ => &["snapshot", "timestamp"],
    }
}

/// The file of `role` as it was written last, with the text `old` replaced where it stands last.
pub(super) fn respelled(repository: &Repository, role: &str, old: &str, new: &str) -> Vec<u8> {
    let text = String::from_utf8(repository.written(role)).unwrap();
    let at = text.rfind(old).unwrap_or_else(|| panic!("no {old} in {role}"));
    [&text[..at], new, &text[at + old.len()..]].concat().into_bytes()
}

/// The file of `role` with the text `old` of what it says replaced where it stands last, signed as it then is.
pub(super) fn signed_so(repository: &Repository, role: &str, old: &str, new: &str) -> Vec<u8> {
    let written: Value = serde_json::from_slice(&repository.written(role)).unwrap();
    let text = String::from_utf8(canonical::write(&written["signed"])).unwrap();
    let at = text.rfind(old).unwrap_or_else(|| panic!("no {old} in {role}"));
    let signed = [&text[..at], new, &text[at + old.len()..]].concat();
    let signatures: Vec<Value> =
        repository.signers(role).iter().map(|key| key.signature_of(signed.as_bytes())).collect();
    format!(r#"{{"signatures":{},"signed":{signed}}}"#, Value::from(signatures)).into_bytes()
}

/// Gives `team` or a top-level role these keys and this threshold, and publishes that.
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

/// The file of `role` after `edit` of its list of signatures.
pub(super) fn with_signatures(file: &[u8], edit: impl FnOnce(&mut Vec<Value>)) -> Vec<u8> {
    let mut envelope: Value = serde_json::from_slice(file).unwrap();
    edit(envelope["signatures"].as_array_mut().unwrap());
    serde_json::to_vec(&envelope).unwrap()
}

/// A release in which two keys of two must sign `role`: `ROLE-1` and `ROLE-2`.
pub(super) fn two_of_two(role: &str) -> Repository {
    let keys = [1, 2].map(|number| TestKey::p256(&format!("{role}-{number}")));
    let mut honest = release(3);
    with_keys(&mut honest, role, &keys, 2);
    honest
}

/// Puts `bytes` in the place of `role`, with everything above it in step.
pub(super) fn republish(thief: &mut Repository, role: &str, bytes: Vec<u8>) {
    thief.put_metadata(role, bytes);
    if !["root", "snapshot", "timestamp"].contains(&role) {
        thief.list_in_snapshot(role);
        thief.write("snapshot");
    }
    if !["root", "timestamp"].contains(&role) {
        thief.list_in_timestamp();
        thief.write("timestamp");
    }
}

/// The other valid ECDSA signature of the same message: s is replaced by n − s. DER in, DER out, in hexadecimal.
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

/// One honest release more.
pub(super) fn newer(repository: &Repository) -> Repository {
    let mut newer = repository.fork();
    newer.publish(&["targets"]);
    newer
}
