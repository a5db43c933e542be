//! Attacks on signatures and keys: keys that count twice, junk signatures, and invalid encodings.

use lastmile_testkit::{TestKey, hash, sign};
use serde_json::{Value, json};

use crate::forgery::{before, forged, negated, newer, republish, two_of_two, with_keys, with_signatures};
use crate::{Case, Scenario, release, stranger};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "CVE-2020-6174",
        &["CVE-2020-6174", "CVE-2020-15093"],
        "one key signs twice to reach a threshold of two",
        "CVE-2020-6174, CVE-2020-15093, GHSA-pwqf-9h7j-7mv8, GHSA-5q2r-92f9-4m49",
        one_key_signs_twice,
    ),
    Scenario::new(
        "SB2022090678",
        &["SB2022090678"],
        "a new root requires two of its new keys, but one of them has signed twice and the other not at all",
        "bulletin SB2022090678",
        new_root_key_signs_twice,
    ),
    Scenario::new(
        "CVE-2020-6173",
        &["CVE-2020-6173"],
        "a root has many invalid signatures, under unknown or known key IDs",
        "CVE-2020-6173, GHSA-2828-9vh6-9m6j",
        junk_signatures,
    ),
    Scenario::new(
        "GHSA-3633-5h82-39pq",
        &["GHSA-3633-5h82-39pq", "S-2.3-9", "S-2.4-1"],
        "one public key is listed under two key IDs and signs under both",
        "GHSA-3633-5h82-39pq",
        one_key_under_two_ids,
    ),
    Scenario::new(
        "2.2-two-spellings",
        &["2.2-two-spellings"],
        "one public key is listed in two notations (other key type, line breaks or case) and signs under both key IDs",
        "a bug in another implementation",
        one_key_in_two_spellings,
    ),
    Scenario::new(
        "2.2-key-length",
        &["2.2-key-length", "4.4-ed25519-length"],
        "the only key of a role has a wrong length: 0, 31, 31.5, 33 or 64 bytes",
        "a bug in another implementation, 2026",
        keys_of_wrong_length,
    ),
    Scenario::new(
        "CVE-2015-9258",
        &["CVE-2015-9258", "4.4-method"],
        "a signature names its own algorithm, or the scheme of a key does not match its type",
        "CVE-2015-9258, GHSA-785h-hrf7-gqxc",
        method_in_the_signature,
    ),
    Scenario::new(
        "2.4-envelope-member",
        &["2.4-envelope-member"],
        "harmless: a network attacker adds a member outside the signed part of a file",
        "audit finding TUF-01-001 from 2018",
        member_in_the_envelope,
    ),
    Scenario::new(
        "4.4-signatures",
        &["4.4-signatures"],
        "a signature is missing, empty, not hexadecimal, too long or a number, or its key ID is in upper case",
        "bad input: signatures",
        bad_signatures,
    ),
    Scenario::new(
        "4.4-ed25519",
        &["4.4-ed25519"],
        "an Ed25519 signature has 63 or 65 bytes, an S that is not reduced, or an R of small order",
        "bad input: signatures; RUSTSEC-2022-0093",
        bad_ed25519,
    ),
    Scenario::new(
        "4.4-ecdsa",
        &["4.4-ecdsa"],
        "an ECDSA signature has an r or s of 0, has trailing bytes, or uses the fixed-width encoding",
        "bad input: signatures",
        bad_ecdsa,
    ),
    Scenario::new(
        "4.4-harmless",
        &["4.4-harmless"],
        "harmless: a file has enough valid signatures, and also unknown key IDs, unknown keys or upper-case hexadecimal",
        "bad input: signatures",
        harmless_signatures,
    ),
    Scenario::new(
        "4.4-not-in-role",
        &["4.4-not-in-role"],
        "a file is signed with a key that the root lists, but not for this role",
        "bad input: keys",
        key_of_another_role,
    ),
    Scenario::new(
        "4.4-opaque-keyids",
        &["4.4-opaque-keyids"],
        "harmless: key IDs are not the digests of their keys",
        "found in deployed repositories, 2025",
        opaque_keyids,
    ),
];

fn one_key_signs_twice() -> Vec<Case> {
    let mut cases = Vec::new();
    for role in ["timestamp", "snapshot", "targets", "team"] {
        let honest = two_of_two(role);
        for (sample, again) in [("a copy", false), ("another signature", true)] {
            let mut attacker = honest.fork();
            attacker.set_signers(role, &[TestKey::p256(&format!("{role}-1"))]);
            attacker.publish(&[role]);
            let twice = with_signatures(&attacker.written(role), |signatures| {
                let mut second = signatures[0].clone();
                if again {
                    // An ECDSA signature with n − s in place of s is also valid.
                    second["sig"] = json!(negated(second["sig"].as_str().unwrap()));
                }
                signatures.push(second);
            });
            republish(&mut attacker, role, twice);
            let case = Case::against(&honest).attacker(attacker.network()).sample(format!("{role}, {sample}"));
            let case = if role == "team" { case.get("team/package") } else { case };
            cases.push(case.refused(role, "DuplicateSignature").advances(before(role)));
        }
    }
    cases
}

fn new_root_key_signs_twice() -> Vec<Case> {
    let honest = release(3);
    let new_keys = ["new-1", "new-2"].map(TestKey::p256);
    let mut attacker = honest.fork();
    attacker.set_keys("root", &new_keys, 2);
    attacker.bump("root");
    let signed = attacker.signed("root").clone();
    let old = ["root-1", "root-2"].map(TestKey::new);
    let file = sign(&signed, &[&old[..], &new_keys[..1]].concat());
    let twice = with_signatures(&file, |signatures| {
        let mut second = signatures[2].clone();
        second["sig"] = json!(negated(second["sig"].as_str().unwrap()));
        signatures.push(second);
    });
    attacker.put_metadata("root", twice);
    vec![Case::against(&honest).attacker(attacker.network()).refused("root", "DuplicateSignature")]
}

fn junk_signatures() -> Vec<Case> {
    let honest = release(3);
    let junk = |keyid: String| json!({"keyid": keyid, "sig": "00".repeat(64)});
    let known = TestKey::new("root-1").keyid().to_owned();
    let samples: [(&str, Vec<Value>, &'static str); 3] = [
        ("unknown key IDs", (0..1_000_u32).map(|n| junk(hash(&n.to_be_bytes()))).collect(), "ThresholdNotMet"),
        ("one known key ID, repeated", vec![junk(known.clone()); 2_000], "DuplicateSignature"),
        (
            "each known key ID once",
            ["root-1", "root-2"].map(|name| junk(TestKey::new(name).keyid().into())).into(),
            "ThresholdNotMet",
        ),
    ];
    let cases = samples.into_iter().map(|(sample, signatures, why)| {
        let mut attacker = honest.fork();
        attacker.set_signers("root", &[stranger()]);
        attacker.publish(&["root"]);
        let file = with_signatures(&attacker.written("root"), |list| *list = signatures);
        attacker.put_metadata("root", file);
        Case::against(&honest).attacker(attacker.network()).sample(sample).refused("root", why)
    });
    cases.collect()
}

/// Creates a case in which an attacker has a single key, which is listed both as `one` and as `other`. The attacker
/// signs `role` once as `one` and once as `other`.
///
/// `role` lists `one`, `other` and a third key, with a threshold of two.
fn counted_twice(sample: &str, role: &str, one: &TestKey, other: &TestKey) -> Case {
    let third = TestKey::new("third");
    let mut honest = release(2);
    with_keys(&mut honest, role, &[one.clone(), other.clone(), third.clone()], 2);
    honest.set_signers(role, &[one.clone(), third]);
    honest.publish(&[role]);
    let mut attacker = honest.fork();
    attacker.set_signers(role, &[one.clone(), other.clone()]);
    attacker.publish(&[role]);
    let case = Case::against(&honest).attacker(attacker.network()).sample(format!("{role}: {sample}"));
    let case = if role == "team" { case.get("team/package") } else { case };
    case.refused(role, "ThresholdNotMet").advances(before(role))
}

fn one_key_under_two_ids() -> Vec<Case> {
    let key = TestKey::new("the key");
    let extra = key.with_object(|object| object["keyid_hash_algorithms"] = json!(["sha256", "sha512"]));
    let opaque = key.with_keyid("another id");
    let mut cases = Vec::new();
    for role in ["timestamp", "snapshot", "targets", "team"] {
        cases.push(counted_twice("an additional member", role, &key, &extra));
        cases.push(counted_twice("another key ID", role, &key, &opaque));
    }
    cases
}

fn one_key_in_two_spellings() -> Vec<Case> {
    let spelled = |key: &TestKey, edit: fn(&str) -> String| {
        key.with_object(|object| object["keyval"]["public"] = json!(edit(object["keyval"]["public"].as_str().unwrap())))
    };
    let p256 = TestKey::p256("the key");
    let ed25519 = TestKey::new("the key");
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
        counted_twice("PEM with and without a final line break", "team", &blank, &tight),
    ]
}

fn keys_of_wrong_length() -> Vec<Case> {
    let honest = release(3);
    let samples = [("0", 0), ("31", 62), ("33", 66), ("64", 128), ("31.5", 63)];
    let cases = samples.map(|(sample, digits)| {
        let key = TestKey::new("snapshot").with_object(|object| {
            object["keyval"]["public"] = json!("ab".repeat(64)[..digits]);
        });
        let mut attacker = honest.fork();
        attacker.set_keys("snapshot", &[key], 1);
        attacker.publish(&["root"]);
        attacker.publish(&["snapshot"]);
        let mut fixed = attacker.fork();
        fixed.set_keys("snapshot", &[TestKey::new("snapshot")], 1);
        fixed.publish(&["root", "team", "targets"]);
        let case = Case::against(&honest)
            .attacker(attacker.network())
            .honest(fixed.network())
            .sample(format!("{sample} bytes"));
        case.honest_may_be_refused().refused("snapshot", "ThresholdNotMet").advances(&["root", "snapshot", "timestamp"])
    });
    cases.into()
}

fn method_in_the_signature() -> Vec<Case> {
    let honest = release(3);
    let mut cases = Vec::new();
    for (name, value) in [("method", "rsapss"), ("scheme", "ed25519"), ("keytype", "rsa")] {
        let mut attacker = newer(&honest);
        let bytes = with_signatures(&attacker.written("timestamp"), |signatures| {
            signatures[0][name] = json!(value);
            signatures[0]["sig"] = json!("00".repeat(64));
        });
        attacker.put_metadata("timestamp", bytes);
        let case = Case::against(&honest).attacker(attacker.network()).sample(format!("`{name}` in a signature"));
        cases.push(case.refused("timestamp", "ThresholdNotMet"));
    }
    for (keytype, scheme) in [("ed25519", "rsassa-pss-sha256"), ("rsa", "ed25519"), ("ecdsa", "ed25519")] {
        let key = TestKey::new("snapshot").with_object(|object| {
            object["keytype"] = json!(keytype);
            object["scheme"] = json!(scheme);
        });
        let mut attacker = honest.fork();
        attacker.set_keys("snapshot", &[key], 1);
        attacker.publish(&["root", "snapshot"]);
        let mut fixed = attacker.fork();
        fixed.set_keys("snapshot", &[TestKey::new("snapshot")], 1);
        fixed.publish(&["root", "team", "targets"]);
        let case = Case::against(&honest).attacker(attacker.network()).honest(fixed.network());
        let case = case.sample(format!("a key of type {keytype} with the scheme {scheme}"));
        let case = case.honest_may_be_refused().refused("snapshot", "ThresholdNotMet");
        cases.push(case.advances(&["root", "snapshot", "timestamp"]));
    }
    cases
}

fn member_in_the_envelope() -> Vec<Case> {
    let honest = release(3);
    let mut next = newer(&honest);
    let mut envelope: Value = serde_json::from_slice(&next.written("timestamp")).unwrap();
    envelope["abc"] = json!("xyz");
    next.put_metadata("timestamp", serde_json::to_vec(&envelope).unwrap());
    vec![Case::against(&honest).attacker(next.network())]
}

/// A function that changes the bytes of a signature.
type Change = fn(Vec<u8>) -> Vec<u8>;

fn bad_signatures() -> Vec<Case> {
    let with = |sample: &str, value: Value| forged(sample, |signatures| signatures[0]["sig"] = value);
    vec![
        forged("none", Vec::clear),
        with("empty", json!("")),
        with("half a byte", json!("abc")),
        with("blanks", json!("  ")),
        with("not hexadecimal", json!("zz".repeat(64))),
        with("10,000 digits", json!("ab".repeat(5_000))),
        forged("upper-case key ID", |signatures| {
            let id = signatures[0]["keyid"].as_str().unwrap().to_uppercase();
            signatures[0]["keyid"] = json!(id);
        })
        .form_only(),
        with("a number", json!(5)).refused("timestamp", "Malformed"),
        forged("no key ID", |signatures| drop(signatures[0].as_object_mut().unwrap().remove("keyid")))
            .form_only()
            .refused("timestamp", "Malformed"),
    ]
}

fn bytes_of(signature: &Value) -> Vec<u8> {
    hex::decode(signature["sig"].as_str().unwrap()).unwrap()
}

fn bad_ed25519() -> Vec<Case> {
    let with = |sample: &str, edit: Change| {
        forged(sample, |signatures| signatures[0]["sig"] = json!(hex::encode(edit(bytes_of(&signatures[0])))))
    };
    vec![
        with("63 bytes", |mut bytes| {
            bytes.pop();
            bytes
        }),
        with("65 bytes", |bytes| [bytes, vec![0]].concat()).form_only(),
        with("S plus the group order", |bytes| {
            let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
            let mut sum = bytes[..32].to_vec();
            let mut carry = 0_u16;
            for (digit, more) in bytes[32..].iter().zip(order) {
                carry += u16::from(*digit) + u16::from(more);
                sum.push(u8::try_from(carry & 0xff).unwrap());
                carry >>= 8;
            }
            sum
        })
        .form_only(),
        with("R of small order, S of 0", |_| [vec![1], vec![0; 63]].concat()),
    ]
}

fn bad_ecdsa() -> Vec<Case> {
    let key = TestKey::p256("timestamp");
    let samples: [(&str, Change); 4] = [
        ("r of 0", |_| vec![0x30, 6, 2, 1, 0, 2, 1, 1]),
        ("s of 0", |_| vec![0x30, 6, 2, 1, 1, 2, 1, 0]),
        ("trailing bytes", |der| [der, vec![0]].concat()),
        ("fixed width", |_| vec![1; 64]),
    ];
    let mut honest = release(2);
    honest.set_keys("timestamp", &[key], 1);
    honest.publish(&["root", "timestamp"]);
    let cases = samples.map(|(sample, edit)| {
        let mut attacker = newer(&honest);
        let bytes = with_signatures(&attacker.written("timestamp"), |signatures| {
            signatures[0]["sig"] = json!(hex::encode(edit(bytes_of(&signatures[0]))));
        });
        attacker.put_metadata("timestamp", bytes);
        let case = Case::against(&honest).attacker(attacker.network()).sample(sample);
        let case = if sample == "trailing bytes" { case.form_only() } else { case };
        case.refused("timestamp", "ThresholdNotMet")
    });
    cases.into()
}

fn harmless_signatures() -> Vec<Case> {
    let honest = release(2);
    let mut next = newer(&honest);
    let bytes = with_signatures(&next.written("timestamp"), |signatures| {
        let upper = signatures[0]["sig"].as_str().unwrap().to_uppercase();
        signatures[0]["sig"] = json!(upper);
        signatures.push(json!({"keyid": "unknown", "sig": "zz"}));
        signatures.push(json!({"keyid": "another", "sig": ""}));
    });
    next.put_metadata("timestamp", bytes);
    let mut rooted = honest.fork();
    rooted.signed("root")["keys"]["odd"] = json!({"keytype": "unheard", "scheme": "of", "keyval": {"public": "x"}});
    rooted.publish(&["root", "team", "targets"]);
    vec![
        Case::against(&honest).attacker(next.network()).sample("signatures"),
        Case::against(&honest)
            .attacker(rooted.network())
            .honest(newer(&rooted).network())
            .sample("an unknown key in the root")
            .honest_may_be_refused(),
    ]
}

fn key_of_another_role() -> Vec<Case> {
    let honest = release(2);
    let cases = ["snapshot", "targets", "root-1"].map(|key| {
        let mut attacker = honest.fork();
        attacker.set_signers("timestamp", &[TestKey::new(key)]);
        attacker.publish(&["timestamp"]);
        Case::against(&honest).attacker(attacker.network()).sample(key).refused("timestamp", "ThresholdNotMet")
    });
    cases.into()
}

fn opaque_keyids() -> Vec<Case> {
    let honest = release(2);
    let mut next = honest.fork();
    next.set_keys("timestamp", &[TestKey::new("fresh").with_keyid("not a digest")], 1);
    next.publish(&["root", "team", "targets"]);
    vec![Case::against(&honest).attacker(next.network()).honest(newer(&next).network()).in_process_only()]
}
