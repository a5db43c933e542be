//! Bad input: signatures and keys, and the structure of delegations.

use lastmile_testkit::{Delegation, METADATA, NetworkFault, TestKey};
use serde_json::{Value, json};

use crate::forgery::{before, newer, republish, with_signatures};
use crate::{Case, EVIL, GOOD, Scenario, release};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "4.4-signatures",
        &["4.4-signatures"],
        "signatures that are empty, no hexadecimal, too long, numbers, under an upper-case key id, or not there",
        "classes of bad input: signatures",
        bad_signatures,
    ),
    Scenario::new(
        "4.4-ed25519",
        &["4.4-ed25519"],
        "an ed25519 signature of 63 or 65 bytes, with S increased by the order of the group, or of a point of small order",
        "classes of bad input: signatures; RUSTSEC-2022-0093",
        bad_ed25519,
    ),
    Scenario::new(
        "4.4-ecdsa",
        &["4.4-ecdsa"],
        "an ECDSA signature with r or s of 0, trailing bytes, or in the fixed-width form",
        "classes of bad input: signatures",
        bad_ecdsa,
    ),
    Scenario::new(
        "4.4-harmless",
        &["4.4-harmless"],
        "none: unknown key ids, unknown keys, and upper-case signatures beside enough good ones",
        "classes of bad input: signatures",
        harmless_signatures,
    ),
    Scenario::new(
        "4.4-not-in-role",
        &["4.4-not-in-role"],
        "a key that the root lists and does not give to the role signs",
        "classes of bad input: keys",
        key_of_another_role,
    ),
    Scenario::new(
        "4.4-opaque-keyids",
        &["4.4-opaque-keyids"],
        "none: key ids that are not the digests of their keys",
        "deployed repositories, 2025",
        opaque_keyids,
    ),
    Scenario::new(
        "4.6-many-roles",
        &["4.6-many-roles"],
        "a chain of 100 roles, and 1,000 roles side by side",
        "specification 5.6.7.1",
        many_roles,
    ),
    Scenario::new(
        "4.6-duplicate-roles",
        &["4.6-duplicate-roles", "4.6-terminating", "4.6-succinct-and-list"],
        "a role twice in one list; `terminating` that is no boolean; bins beside a list",
        "classes of bad input: delegations",
        bad_delegations,
    ),
    Scenario::new(
        "4.6-missing-role",
        &["4.6-missing-role", "4.6-invalid-role"],
        "a role is not on the server, or not signed; a later role offers the package",
        "specification 5.6.7",
        first_role_fails,
    ),
    Scenario::new(
        "4.6-every-edge",
        &["4.6-every-edge"],
        "a role two levels down lists what only its own delegation covers",
        "specification 5.6.7",
        every_edge,
    ),
    Scenario::new(
        "4.6-same-keyid",
        &["4.6-same-keyid"],
        "a delegated role lists another key under the id that its delegator uses",
        "classes of bad input: delegations",
        same_keyid,
    ),
    Scenario::new(
        "4.6-top-level-first",
        &["4.6-top-level-first"],
        "none: what the top level lists is preferred to what a delegated role lists",
        "specification 5.6.7",
        top_level_first,
    ),
    Scenario::new("4.6-bins", &["4.6-bins"], "none: bins of 1 to 9 bits, found at their own names", "TAP 15", bins),
];

/// What is done to the bytes of a signature.
type Bend = fn(Vec<u8>) -> Vec<u8>;
/// What is done to a member.
type Edit = fn(&mut Value);

/// A new timestamp whose only signature has been changed.
fn forged(sample: &str, edit: impl FnOnce(&mut Vec<Value>)) -> Case {
    let honest = release(2);
    let mut thief = newer(&honest);
    let bytes = with_signatures(&thief.written("timestamp"), edit);
    thief.put_metadata("timestamp", bytes);
    Case::against(&honest).attacker(thief.network()).sample(sample).refused("timestamp", "ThresholdNotMet")
}

fn bad_signatures() -> Vec<Case> {
    let with = |sample: &str, value: Value| forged(sample, |signatures| signatures[0]["sig"] = value);
    vec![
        forged("none", Vec::clear),
        with("empty", json!("")),
        with("half a byte", json!("abc")),
        with("blanks", json!("  ")),
        with("no hexadecimal", json!("zz".repeat(64))),
        with("10,000 digits", json!("ab".repeat(5_000))),
        forged("upper-case key id", |signatures| {
            let id = signatures[0]["keyid"].as_str().unwrap().to_uppercase();
            signatures[0]["keyid"] = json!(id);
        })
        .form_only(),
        with("a number", json!(5)).refused("timestamp", "Malformed"),
        forged("no key id", |signatures| drop(signatures[0].as_object_mut().unwrap().remove("keyid")))
            .form_only()
            .refused("timestamp", "Malformed"),
    ]
}

fn bytes_of(signature: &Value) -> Vec<u8> {
    hex::decode(signature["sig"].as_str().unwrap()).unwrap()
}

fn bad_ed25519() -> Vec<Case> {
    let with = |sample: &str, edit: Bend| {
        forged(sample, |signatures| signatures[0]["sig"] = json!(hex::encode(edit(bytes_of(&signatures[0])))))
    };
    vec![
        with("63 bytes", |mut bytes| {
            bytes.pop();
            bytes
        }),
        with("65 bytes", |bytes| [bytes, vec![0]].concat()).form_only(),
        with("S and the order of the group", |bytes| {
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
    let samples: [(&str, Bend); 4] = [
        ("r of 0", |_| vec![0x30, 6, 2, 1, 0, 2, 1, 1]),
        ("s of 0", |_| vec![0x30, 6, 2, 1, 1, 2, 1, 0]),
        ("trailing bytes", |der| [der, vec![0]].concat()),
        ("fixed width", |_| vec![1; 64]),
    ];
    let mut honest = release(2);
    honest.set_keys("timestamp", &[key], 1);
    honest.publish(&["root", "timestamp"]);
    let cases = samples.map(|(sample, edit)| {
        let mut thief = newer(&honest);
        let bytes = with_signatures(&thief.written("timestamp"), |signatures| {
            signatures[0]["sig"] = json!(hex::encode(edit(bytes_of(&signatures[0]))));
        });
        thief.put_metadata("timestamp", bytes);
        let case = Case::against(&honest).attacker(thief.network()).sample(sample);
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
            .sample("a key in the root")
            .honest_may_be_refused(),
    ]
}

fn key_of_another_role() -> Vec<Case> {
    let honest = release(2);
    let cases = ["snapshot", "targets", "root-1"].map(|key| {
        let mut thief = honest.fork();
        thief.set_signers("timestamp", &[TestKey::new(key)]);
        thief.publish(&["timestamp"]);
        Case::against(&honest).attacker(thief.network()).sample(key).refused("timestamp", "ThresholdNotMet")
    });
    cases.into()
}

fn opaque_keyids() -> Vec<Case> {
    let honest = release(2);
    let mut next = honest.fork();
    next.set_keys("timestamp", &[TestKey::new("fresh").with_keyid("a name of its own")], 1);
    next.publish(&["root", "team", "targets"]);
    vec![Case::against(&honest).attacker(next.network()).honest(newer(&next).network()).in_process_only()]
}

fn many_roles() -> Vec<Case> {
    let mut chain = release(1);
    let names: Vec<String> = (0..100).map(|number| format!("link-{number:03}")).collect();
    let above = ["targets".to_owned()].into_iter().chain(names.clone());
    for (delegator, role) in above.zip(&names) {
        chain.delegate(&delegator, &Delegation::paths(role, &["claimed"]));
    }
    chain.add_target("link-099", "claimed", EVIL);
    let mut wide = release(1);
    for number in 0..1_000 {
        wide.delegate(
            "targets",
            &Delegation::paths(&format!("link-{number:03}"), &["claimed"]).keys(&[TestKey::new("one")], 1),
        );
    }
    wide.add_target("link-099", "claimed", EVIL);
    let roles: Vec<&str> = names.iter().map(String::as_str).chain(["targets"]).collect();
    chain.publish(&roles);
    wide.publish(&roles);
    // The search ends at its limit; the roles that were visited were in order.
    let visited: Vec<&str> = names.iter().map(String::as_str).take(32).collect();
    let case = |honest, sample| Case::against(honest).get("claimed").sample(sample).advances(&visited);
    vec![
        case(&chain, "a chain").refused("link-032", "LimitReached").in_process_only(),
        case(&wide, "side by side").refused("link-032", "LimitReached").in_process_only(),
    ]
}

fn bad_delegations() -> Vec<Case> {
    let honest = release(2);
    let samples: [(&str, Edit); 3] = [
        ("a role twice", |delegations| {
            let first = delegations["roles"][0].clone();
            delegations["roles"].as_array_mut().unwrap().push(first);
        }),
        ("terminating is text", |delegations| delegations["roles"][0]["terminating"] = json!("false")),
        ("bins beside a list", |delegations| {
            delegations["succinct_roles"] =
                json!({"keyids": [], "threshold": 1, "bit_length": 4, "name_prefix": "bin"});
        }),
    ];
    let cases = samples.map(|(sample, edit)| {
        let mut thief = honest.fork();
        edit(&mut thief.signed("targets")["delegations"]);
        thief.publish(&["targets"]);
        let case = Case::against(&honest).attacker(thief.network()).get("team/package").sample(sample);
        case.form_only().refused("targets", "Malformed").advances(before("targets"))
    });
    cases.into()
}

fn first_role_fails() -> Vec<Case> {
    let mut honest = release(1);
    honest.delegate("targets", &Delegation::paths("first", &["claimed"]));
    honest.delegate("targets", &Delegation::paths("second", &["claimed"]));
    honest.add_target("second", "claimed", EVIL);
    honest.publish(&["first", "second", "targets"]);
    let gone = honest.network().fork();
    gone.remove(&format!("{METADATA}1.first.json"));
    let down = honest.network().fork();
    down.fault(&format!("{METADATA}1.first.json"), NetworkFault::Status(500));
    let mut unsigned = honest.fork();
    let bytes = with_signatures(&unsigned.written("first"), Vec::clear);
    republish(&mut unsigned, "first", bytes);
    let case = |network, sample| Case::against(&honest).attacker(network).get("claimed").sample(sample);
    vec![
        case(&gone, "404").refused("1.first.json", "NotFound"),
        case(&down, "500").refused("1.first.json", "Status"),
        Case::against(&unsigned).get("claimed").sample("unsigned").refused("first", "ThresholdNotMet"),
    ]
}

fn every_edge() -> Vec<Case> {
    let mut honest = release(1);
    honest.delegate("targets", &Delegation::paths("outer", &["outer/*"]));
    honest.delegate("outer", &Delegation::paths("inner", &["*", "*/*"]));
    honest.add_target("inner", "elsewhere/x", EVIL);
    honest.publish(&["inner", "outer", "targets"]);
    vec![Case::against(&honest).get("elsewhere/x").refused("elsewhere/x", "NoSuchTarget")]
}

fn same_keyid() -> Vec<Case> {
    let honest = release(2);
    let mut thief = honest.fork();
    // `team` delegates to a role of its own, and lists a stranger's key under the id of its own key.
    let own = TestKey::new("team").keyid().to_owned();
    let stranger = TestKey::new("a stranger").with_keyid(&own);
    thief.delegate("team", &Delegation::paths("below", &["team/*"]).keys(std::slice::from_ref(&stranger), 1));
    thief.publish(&["below", "team"]);
    let mut forged = thief.fork();
    forged.set_signers("team", &[stranger]);
    forged.publish(&["team"]);
    let case = Case::against(&thief).attacker(forged.network()).get("team/package");
    vec![case.refused("team", "ThresholdNotMet").advances(before("team"))]
}

fn top_level_first() -> Vec<Case> {
    let mut honest = release(1);
    honest.delegate("targets", &Delegation::paths("role", &["claimed"]));
    honest.add_target("role", "claimed", EVIL);
    honest.add_target("targets", "claimed", GOOD);
    honest.publish(&["role", "targets"]);
    vec![Case::against(&honest).packages(&["package"]).get("claimed")]
}

fn bins() -> Vec<Case> {
    let cases = [1, 4, 5, 9].map(|bits| {
        let mut honest = release(1);
        honest.signed("targets")["delegations"] = json!({"keys": {}});
        let bins = honest.delegate_to_bins("targets", bits, "bin");
        let bin = lastmile_testkit::bin_of("bin", bits, "binned");
        honest.add_target(&bin, "binned", GOOD);
        let roles: Vec<&str> = bins.iter().map(String::as_str).chain(["targets"]).collect();
        honest.publish(&roles);
        Case::against(&honest)
            .packages(&["package"])
            .get("binned")
            .sample(format!("{bits} bits"))
            .honest_may_be_refused()
    });
    cases.into()
}
