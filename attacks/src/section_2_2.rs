//! Advisories and notable defects of other implementations, part two.

use lastmile_testkit::{Delegation, METADATA, NetworkFault, Repository, TestKey, hash};
use serde_json::{Value, json};

use crate::forgery::{before, newer, republish, signed_so, with_keys};
use crate::{Case, EVIL, GOOD, Scenario, release};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "CVE-2022-29173",
        &["CVE-2022-29173"],
        "an older file of each role in turn, signed long ago",
        "CVE-2022-29173, GHSA-66x3-6cw3-v5gj",
        older_files,
    ),
    Scenario::new(
        "CVE-2022-29173-poisoned",
        &["CVE-2022-29173"],
        "a new timestamp is served while the snapshot that it lists is held back",
        "CVE-2022-29173, GHSA-66x3-6cw3-v5gj",
        held_back_snapshot,
    ),
    Scenario::new(
        "GHSA-3633-5h82-39pq",
        &["GHSA-3633-5h82-39pq", "S-2.3-9", "S-2.4-1"],
        "one public key stands under two key ids and signs for both",
        "GHSA-3633-5h82-39pq",
        one_key_under_two_ids,
    ),
    Scenario::new(
        "2.2-two-spellings",
        &["2.2-two-spellings"],
        "one public key in two spellings: key type, PEM, case of hexadecimal",
        "issue 733 of an implementation",
        one_key_in_two_spellings,
    ),
    Scenario::new(
        "CVE-2024-47534",
        &["CVE-2024-47534"],
        "none: of many roles that claim a package, the first in the list decides",
        "CVE-2024-47534, GHSA-4f8r-qqr9-fq8j",
        the_first_role_decides,
    ),
    Scenario::new(
        "CVE-2026-23991",
        &["CVE-2026-23991"],
        "JSON that is valid and no metadata, as each role",
        "CVE-2026-23991, GHSA-846p-jg2w-w324",
        json_that_is_no_metadata,
    ),
    Scenario::new(
        "CVE-2026-23991-stored",
        &["CVE-2026-23991"],
        "none: a stored file is JSON that is no metadata",
        "CVE-2026-23991, GHSA-846p-jg2w-w324",
        stored_json_that_is_no_metadata,
    ),
    Scenario::new(
        "CVE-2026-23992",
        &["CVE-2026-23992"],
        "a root with a threshold of 0, -1, null, none, text or 2^63 for each role, and files without signatures",
        "CVE-2026-23992, GHSA-fphv-w9fq-2525",
        thresholds_of_nothing,
    ),
    Scenario::new(
        "CVE-2026-23992-delegated",
        &["CVE-2026-23992"],
        "a delegation with such a threshold",
        "CVE-2026-23992, GHSA-fphv-w9fq-2525",
        delegated_thresholds_of_nothing,
    ),
    Scenario::new(
        "2.2-threshold-above-keys",
        &["CVE-2026-23992", "4.4-threshold-above-keys"],
        "a root in which a role needs more keys than it has",
        "CVE-2026-23992, GHSA-fphv-w9fq-2525",
        threshold_above_keys,
    ),
    Scenario::new(
        "2.2-key-length",
        &["2.2-key-length", "4.4-ed25519-length"],
        "the only key of a role has 0, 31, 33 or 64 bytes, or half a byte more",
        "a defect of an implementation, 2026",
        keys_of_wrong_length,
    ),
    Scenario::new(
        "2.2-empty-hashes",
        &["2.2-empty-hashes", "4.9-unknown-hashes", "4.9-hash-of-wrong-length"],
        "a package with no hashes, with unknown ones only, with an empty or a wrong one",
        "a defect of an implementation, 2026",
        hashes_of_nothing,
    ),
    Scenario::new(
        "2.2-bit-length",
        &["2.2-bit-length"],
        "bins with a bit length of 0, -1, 33, 64 or 2^31",
        "a defect of an implementation",
        bit_lengths,
    ),
    Scenario::new(
        "2.2-not-in-snapshot",
        &["2.2-not-in-snapshot", "S-2.3-5", "S-2.4-2"],
        "a delegated role is missing in the snapshot; a later role offers the package",
        "a defect of an implementation, 2024",
        not_in_snapshot,
    ),
    Scenario::new(
        "2.2-hidden-root",
        &["2.2-hidden-root", "3.3-F7", "S-2.3-2"],
        "the next root is answered with 403, 401, 429, 500, a reset or silence",
        "a defect of an implementation, 2025; specification 5.3.3",
        hidden_root,
    ),
    Scenario::new(
        "2.2-odd-role-names",
        &["2.2-odd-role-names"],
        "none: role names with a space, a plus sign, a percent sign",
        "a defect of an implementation",
        odd_role_names,
    ),
    Scenario::new(
        "S-2.2-1",
        &["S-2.2-1", "4.9-empty-file"],
        "an empty package is served with ten bytes; prefixes of path hashes are hexadecimal",
        "our own reading of sources",
        prefixes_and_empty_files,
    ),
];

fn older_files() -> Vec<Case> {
    let old = release(3);
    let mut honest = old.fork();
    for _ in 0..4 {
        honest.publish(&["team", "targets"]);
    }
    let mut cases =
        vec![Case::against(&honest).attacker(old.network()).sample("timestamp").refused("timestamp", "Rollback")];
    // A thief of the timestamp key brings back the snapshot, one of both online keys what is below.
    let mut thief = honest.fork();
    thief.signed("timestamp")["meta"]["snapshot.json"] =
        old.fork().signed("timestamp")["meta"]["snapshot.json"].clone();
    thief.publish(&["timestamp"]);
    cases.push(
        Case::against(&honest).attacker(thief.network()).sample("snapshot").refused("timestamp", "ListedRollback"),
    );
    for role in ["targets", "team"] {
        let mut thief = honest.fork();
        let name = format!("{role}.json");
        thief.signed("snapshot")["meta"][&name] = old.fork().signed("snapshot")["meta"][&name].clone();
        thief.publish(&["snapshot"]);
        let case = Case::against(&honest).attacker(thief.network()).sample(role).refused("snapshot", "ListedRollback");
        cases.push(case.advances(&["timestamp"]));
    }
    cases
}

fn held_back_snapshot() -> Vec<Case> {
    let honest = release(3);
    let next = newer(&honest);
    let file = format!("{}.snapshot.json", next.version("snapshot"));
    let network = next.network().fork();
    network.remove(&format!("{METADATA}{file}"));
    vec![
        Case::against(&honest)
            .attacker(&network)
            .honest(next.network())
            .refused(file, "NotFound")
            .advances(&["timestamp"]),
    ]
}

/// `one` and `other` are the same key; with `third` two of three must sign `role`, and the thief has one key.
fn counted_twice(sample: &str, role: &str, one: &TestKey, other: &TestKey) -> Case {
    let third = TestKey::new("third");
    let mut honest = release(2);
    with_keys(&mut honest, role, &[one.clone(), other.clone(), third.clone()], 2);
    honest.set_signers(role, &[one.clone(), third]);
    honest.publish(&[role]);
    let mut thief = honest.fork();
    thief.set_signers(role, &[one.clone(), other.clone()]);
    thief.publish(&[role]);
    let case = Case::against(&honest).attacker(thief.network()).sample(format!("{role}: {sample}"));
    let case = if role == "team" { case.get("team/package") } else { case };
    case.refused(role, "ThresholdNotMet").advances(before(role))
}

fn one_key_under_two_ids() -> Vec<Case> {
    let key = TestKey::new("the key");
    let extra = key.with_object(|object| object["keyid_hash_algorithms"] = json!(["sha256", "sha512"]));
    let opaque = key.with_keyid("another id");
    let mut cases = Vec::new();
    for role in ["timestamp", "snapshot", "targets", "team"] {
        cases.push(counted_twice("a further member", role, &key, &extra));
        cases.push(counted_twice("an id of its own", role, &key, &opaque));
    }
    cases
}

fn one_key_in_two_spellings() -> Vec<Case> {
    let spelled = |key: &TestKey, edit: fn(&str) -> String| {
        key.with_object(|object| object["keyval"]["public"] = json!(edit(object["keyval"]["public"].as_str().unwrap())))
    };
    let (p256, ed25519) = (TestKey::p256("the key"), TestKey::new("the key"));
    let old_type = p256.with_object(|object| {
        let other = if object["keytype"] == json!("ecdsa") { "ecdsa-sha2-nistp256" } else { "ecdsa" };
        object["keytype"] = json!(other);
    });
    let upper = spelled(&ed25519, str::to_uppercase);
    let crlf = spelled(&p256, |pem| pem.replace('\n', "\r\n"));
    let blank = spelled(&p256, |pem| format!("{}\n", pem.trim_end()));
    let tight = spelled(&p256, |pem| pem.trim_end().to_owned());
    vec![
        counted_twice("the older key type", "targets", &p256, &old_type),
        counted_twice("upper-case hexadecimal", "targets", &ed25519, &upper),
        counted_twice("PEM with CRLF", "targets", &p256, &crlf),
        counted_twice("PEM with and without a last line end", "team", &blank, &tight),
    ]
}

fn the_first_role_decides() -> Vec<Case> {
    let samples = [("names that rise", false), ("names that fall", true)].map(|(sample, falling)| {
        let mut honest = release(1);
        let number = |place: u32| if falling { 50 - place } else { place };
        let names: Vec<String> = (1..=16).map(|place| format!("role-{:02}", number(place))).collect();
        for (place, name) in names.iter().enumerate() {
            honest.delegate("targets", &Delegation::paths(name, &["claimed"]));
            honest.add_target(name, "claimed", if place == 0 { GOOD } else { EVIL });
        }
        let roles: Vec<&str> = names.iter().map(String::as_str).chain(["targets"]).collect();
        honest.publish(&roles);
        Case::against(&honest).packages(&["package"]).get("claimed").sample(sample)
    });
    samples.into()
}

fn json_that_is_no_metadata() -> Vec<Case> {
    let samples = ["[]", "{}", "null", "5", r#"{"signed":1}"#, UNSIGNED];
    let mut cases = Vec::new();
    for role in ["root", "timestamp", "snapshot", "targets", "team"] {
        for sample in samples {
            let honest = release(3);
            let mut thief = honest.fork();
            thief.publish(&[role]);
            republish(&mut thief, role, sample.into());
            let case = Case::against(&honest).attacker(thief.network()).sample(format!("{role}: {sample}"));
            let case = if role == "team" { case.get("team/package") } else { case };
            let reason = if sample == UNSIGNED { "ThresholdNotMet" } else { "Malformed" };
            cases.push(case.refused(role, reason).advances(before(role)));
        }
        let honest = release(3);
        let mut thief = honest.fork();
        thief.publish(&[role]);
        let text = format!("\"_type\":\"{}\"", if role == "team" { "targets" } else { role });
        let bytes = signed_so(&thief, role, &text, "\"_type\":5");
        republish(&mut thief, role, bytes);
        let case = Case::against(&honest).attacker(thief.network()).sample(format!("{role}: signed, of type 5"));
        let case = if role == "team" { case.get("team/package") } else { case };
        cases.push(case.refused(role, "Malformed").advances(before(role)));
    }
    cases
}

const UNSIGNED: &str = r#"{"signed":{"_type":5},"signatures":[]}"#;

fn stored_json_that_is_no_metadata() -> Vec<Case> {
    let honest = release(3);
    let cases = ["timestamp", "snapshot", "targets", "team"].into_iter().flat_map(|role| {
        ["{}", UNSIGNED].map(|sample| {
            let spoil = move |folder: &std::path::Path| {
                std::fs::write(folder.join(format!("{role}.json")), sample).unwrap();
            };
            Case::against(&honest).tamper(spoil).get("team/package").sample(format!("{role}: {sample}"))
        })
    });
    cases.collect()
}

const THRESHOLDS: [&str; 7] = ["0", "-1", "null", "\"1\"", "9223372036854775808", "1.0", "true"];

fn thresholds_of_nothing() -> Vec<Case> {
    let honest = release(3);
    let mut cases = Vec::new();
    for role in ["root", "timestamp", "snapshot", "targets"] {
        // The reader is one and the same for all roles.
        let thresholds = if role == "timestamp" { &THRESHOLDS[..] } else { &THRESHOLDS[..1] };
        for threshold in thresholds {
            let mut thief = honest.fork();
            // The root keys sign it: stolen, or their owners deceived. What is below goes without signatures.
            thief.signed("root")["roles"][role]["threshold"] = json!("here");
            thief.publish(&["root"]);
            let bytes = signed_so(&thief, "root", "\"here\"", threshold);
            thief.put_metadata("root", bytes);
            if role != "root" {
                thief.set_signers(role, &[]);
                thief.publish(&[role]);
            }
            let case = Case::against(&honest).attacker(thief.network()).sample(format!("{role}: {threshold}"));
            cases.push(case.refused("root", "Malformed"));
        }
    }
    cases
}

fn delegated_thresholds_of_nothing() -> Vec<Case> {
    let honest = release(3);
    let cases = THRESHOLDS.map(|threshold| {
        let mut thief = honest.fork();
        thief.set_signers("team", &[]);
        thief.publish(&["team"]);
        thief.signed("targets")["delegations"]["roles"][0]["threshold"] = json!("here");
        thief.publish(&["targets"]);
        let bytes = signed_so(&thief, "targets", "\"here\"", threshold);
        republish(&mut thief, "targets", bytes);
        let case = Case::against(&honest).attacker(thief.network()).get("team/package").sample(threshold);
        case.refused("targets", "Malformed").advances(before("targets"))
    });
    cases.into()
}

fn threshold_above_keys() -> Vec<Case> {
    let honest = release(3);
    let cases = ["timestamp", "snapshot", "targets"].map(|role| {
        let mut thief = honest.fork();
        thief.signed("root")["roles"][role]["threshold"] = json!(2);
        thief.publish(&["root"]);
        thief.publish(&[role]);
        let mut mended = thief.fork();
        mended.signed("root")["roles"][role]["threshold"] = json!(1);
        mended.publish(&["root", "team", "targets"]);
        // Another threshold for timestamp or snapshot is a rotation: the stored ones are forgotten.
        let advances = ["root", "snapshot", "timestamp"];
        let case = Case::against(&honest).attacker(thief.network()).honest(mended.network()).sample(role);
        case.honest_may_be_refused().refused(role, "ThresholdNotMet").advances(&advances)
    });
    cases.into()
}

fn keys_of_wrong_length() -> Vec<Case> {
    let honest = release(3);
    let samples = [("0", 0), ("31", 62), ("33", 66), ("64", 128), ("31.5", 63)];
    let cases = samples.map(|(sample, digits)| {
        let key = TestKey::new("snapshot").with_object(|object| {
            object["keyval"]["public"] = json!("ab".repeat(64)[..digits]);
        });
        let mut thief = honest.fork();
        thief.set_keys("snapshot", &[key], 1);
        thief.publish(&["root"]);
        thief.publish(&["snapshot"]);
        let mut mended = thief.fork();
        mended.set_keys("snapshot", &[TestKey::new("snapshot")], 1);
        mended.publish(&["root", "team", "targets"]);
        let case =
            Case::against(&honest).attacker(thief.network()).honest(mended.network()).sample(format!("{sample} bytes"));
        case.honest_may_be_refused().refused("snapshot", "ThresholdNotMet").advances(&["root", "snapshot", "timestamp"])
    });
    cases.into()
}

fn hashes_of_nothing() -> Vec<Case> {
    let honest = release(3);
    let samples: [(&str, Value, &'static str); 5] = [
        ("none", json!({}), "Malformed"),
        ("unknown alone", json!({"md5": "00", "blake2b-256": hash(EVIL)}), "NoSupportedHash"),
        ("empty", json!({"sha256": ""}), "Malformed"),
        ("too short", json!({"sha256": "ab"}), "Malformed"),
        ("no hexadecimal", json!({"sha256": "z".repeat(64)}), "Malformed"),
    ];
    let cases = samples.map(|(sample, hashes, why)| {
        let mut thief = honest.fork();
        thief.signed("targets")["targets"]["package"] = json!({"length": EVIL.len(), "hashes": hashes});
        thief.publish(&["targets"]);
        thief.put_target("package", EVIL);
        let case = Case::against(&honest).attacker(thief.network()).get("package").sample(sample);
        // The file itself is in order where its hashes are unknown; the package is not.
        let kept: &[&str] = if why == "Malformed" { &[] } else { &["targets"] };
        case.form_only().refused("targets", why).advances(&[before("targets"), kept].concat())
    });
    cases.into()
}

fn bit_lengths() -> Vec<Case> {
    let honest = release(3);
    let cases = ["0", "-1", "33", "64", "2147483648"].map(|bits| {
        let mut thief = honest.fork();
        thief.signed("targets")["delegations"] = json!({"keys": {}});
        thief.delegate_to_bins("targets", 1, "bin");
        thief.signed("targets")["delegations"]["succinct_roles"]["bit_length"] = json!("here");
        thief.publish(&["targets"]);
        let bytes = signed_so(&thief, "targets", "\"here\"", bits);
        republish(&mut thief, "targets", bytes);
        let case = Case::against(&honest).attacker(thief.network()).get("team/package").sample(bits);
        case.refused("targets", "Malformed").advances(before("targets"))
    });
    cases.into()
}

fn not_in_snapshot() -> Vec<Case> {
    // The first role never was in a snapshot, so that nothing disappears.
    let mut honest = release(1);
    honest.signed("targets")["delegations"]["roles"] = json!([]);
    honest.delegate("targets", &Delegation::paths("first", &["claimed"]));
    honest.delegate("targets", &Delegation::paths("second", &["claimed"]));
    honest.delegate("targets", &Delegation::paths("team", &["team/*"]));
    honest.add_target("second", "claimed", EVIL);
    honest.publish(&["second", "team", "targets"]);
    vec![Case::against(&honest).get("claimed").refused("first", "NotListed")]
}

fn hidden_root() -> Vec<Case> {
    let honest = release(3);
    let mut next = honest.fork();
    next.publish(&["root", "targets"]);
    let faults = [403, 401, 429, 500].map(|status| (status.to_string(), NetworkFault::Status(status), "Status"));
    let other = [("reset".to_owned(), NetworkFault::Reset, "Cut")];
    let cases = faults.into_iter().chain(other).map(|(sample, fault, why)| {
        let network = next.network().fork();
        network.fault(&format!("{METADATA}2.root.json"), fault);
        let case = Case::against(&honest).attacker(&network).honest(next.network()).sample(sample);
        // Who takes this for the end of the chain has what a 404 would have led to, which nobody can tell from the truth.
        case.may_trust(next.network()).refused("2.root.json", why)
    });
    cases.collect()
}

fn odd_role_names() -> Vec<Case> {
    let cases = ["a b", "a+b", "a%b", "a%2Fb", "ä", "a&b=c#d?e"].map(|name| {
        let mut honest = release(1);
        honest.delegate("targets", &Delegation::paths(name, &["odd/*"]));
        honest.add_target(name, "odd/package", GOOD);
        honest.publish(&[name, "targets"]);
        Case::against(&honest).get("odd/package").sample(format!("`{name}`"))
    });
    cases.into()
}

fn prefixes_and_empty_files() -> Vec<Case> {
    let mut honest = release(1);
    honest.delegate("targets", &Delegation::hash_prefixes("hashed", &[&hash(b"claimed")[..3]]));
    honest.add_target("hashed", "claimed", GOOD);
    honest.add_target("targets", "empty", b"");
    honest.publish(&["hashed", "targets"]);
    let longer: Repository = honest.fork();
    longer.network().put(&format!("targets/{}.empty", hash(b"")), b"ten bytes.".to_vec());
    vec![
        Case::against(&honest).get("claimed").sample("a prefix of three digits"),
        Case::against(&honest).attacker(longer.network()).get("empty").sample("ten bytes").refused("empty", "Length"),
    ]
}
