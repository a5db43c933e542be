//! Advisories and notable defects of other implementations, part one.

use lastmile_testkit::{Delegation, FakeNetwork, METADATA, NetworkFault, TestKey, hash, sign};
use serde_json::{Value, json};

use crate::forgery::{before, negated, newer, republish, two_of_two, with_signatures};
use crate::{Case, EVIL, GOOD, Scenario, release, stranger};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "CVE-2020-15163",
        &["CVE-2020-15163"],
        "a chain of new roots ends in one that a stranger signed; new roots signed by old or by new keys alone",
        "CVE-2020-15163, GHSA-f8mr-jv2c-v8mg",
        roots_that_do_not_verify,
    ),
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
        "a new root with a threshold of two of its own is signed twice by one of its keys",
        "bulletin SB2022090678",
        new_root_key_signs_twice,
    ),
    Scenario::new(
        "CVE-2020-6173",
        &["CVE-2020-6173"],
        "a root full of junk signatures, by unknown key ids and by known ones",
        "CVE-2020-6173, GHSA-2828-9vh6-9m6j",
        junk_signatures,
    ),
    Scenario::new(
        "GHSA-77hh-43cm-v8j6",
        &["GHSA-77hh-43cm-v8j6"],
        "a role that no bin is called takes the place of a bin",
        "GHSA-77hh-43cm-v8j6",
        role_beside_the_bins,
    ),
    Scenario::new(
        "GHSA-qp9x-wp8f-qgjj",
        &["GHSA-qp9x-wp8f-qgjj"],
        "a delegation for `Team/*` or `team\\*` offers what belongs to `team/*`",
        "GHSA-qp9x-wp8f-qgjj",
        patterns_that_fold_case,
    ),
    Scenario::new(
        "2.1-diamond",
        &["2.1-diamond", "2.2-diamond"],
        "a role verified for one delegator is offered to another, who trusts other keys",
        "issues 2977 and 759 of two implementations",
        diamond,
    ),
    Scenario::new(
        "2.1-broken-snapshot",
        &["2.1-broken-snapshot"],
        "a snapshot is broken once, after its timestamp was accepted",
        "issue 736 of an implementation",
        broken_snapshot,
    ),
    Scenario::new(
        "2.1-expired-floor",
        &["2.1-expired-floor", "3.2-R7", "2.4-expired-floor"],
        "an older timestamp that is still fresh, when the stored one has expired",
        "issue 1498 of an implementation; specification 5.4.3",
        floor_survives_expiry,
    ),
    Scenario::new(
        "2.1-hash-prefix",
        &["2.1-hash-prefix"],
        "none: the hash stands before the last part of a path, not before the first",
        "issue 1576 of an implementation; specification 6.2",
        hash_prefix,
    ),
    Scenario::new(
        "2.1-duplicate-members",
        &["2.1-duplicate-members"],
        "a member stands twice: the version signed, and the version read",
        "issue 372 of an implementation",
        duplicate_members,
    ),
    Scenario::new(
        "2.1-long-integer",
        &["2.1-long-integer"],
        "a version of 15,000 digits",
        "CVE-2020-10735; audit finding TUF-CR-22-03",
        long_integer,
    ),
];

fn roots_that_do_not_verify() -> Vec<Case> {
    let honest = release(3);
    let chain = {
        let mut thief = honest.fork();
        thief.publish(&["root"]);
        thief.publish(&["root"]);
        thief.set_signers("root", &[stranger()]);
        thief.publish(&["root"]);
        thief
    };
    // The honest repository went the same way and signs the fourth root itself.
    let mut after = honest.fork();
    for _ in 0..3 {
        after.publish(&["root"]);
    }
    after.publish(&["team", "targets"]);
    let chained = Case::against(&honest).attacker(chain.network()).honest(after.network());
    let mut cases =
        vec![chained.sample("the third of three by a stranger").refused("root", "ThresholdNotMet").advances(&["root"])];
    let new_keys = ["new-1", "new-2", "new-3"].map(TestKey::new);
    let old_keys = ["root-1", "root-2", "root-3"].map(TestKey::new);
    for (sample, keys) in [("by the old keys alone", &old_keys), ("by the new keys alone", &new_keys)] {
        let mut thief = honest.fork();
        thief.set_keys("root", &new_keys, 2);
        thief.bump("root");
        let signed = thief.signed("root").clone();
        thief.put_metadata("root", sign(&signed, keys));
        cases.push(Case::against(&honest).attacker(thief.network()).sample(sample).refused("root", "ThresholdNotMet"));
    }
    cases
}

fn one_key_signs_twice() -> Vec<Case> {
    let mut cases = Vec::new();
    for role in ["timestamp", "snapshot", "targets", "team"] {
        let honest = two_of_two(role);
        for (sample, again) in [("a copy", false), ("another signature", true)] {
            let mut thief = honest.fork();
            thief.set_signers(role, &[TestKey::p256(&format!("{role}-1"))]);
            thief.publish(&[role]);
            let twice = with_signatures(&thief.written(role), |signatures| {
                let mut second = signatures[0].clone();
                if again {
                    // The other signature of a pair: the same r, and s negated, is as valid.
                    second["sig"] = json!(negated(second["sig"].as_str().unwrap()));
                }
                signatures.push(second);
            });
            republish(&mut thief, role, twice);
            let case = Case::against(&honest).attacker(thief.network()).sample(format!("{role}, {sample}"));
            let case = if role == "team" { case.get("team/package") } else { case };
            cases.push(case.refused(role, "DuplicateSignature").advances(before(role)));
        }
    }
    cases
}

fn new_root_key_signs_twice() -> Vec<Case> {
    let honest = release(3);
    let new_keys = ["new-1", "new-2"].map(TestKey::p256);
    let mut thief = honest.fork();
    thief.set_keys("root", &new_keys, 2);
    thief.bump("root");
    let signed = thief.signed("root").clone();
    let old = ["root-1", "root-2"].map(TestKey::new);
    let file = sign(&signed, &[&old[..], &new_keys[..1]].concat());
    let twice = with_signatures(&file, |signatures| {
        let mut second = signatures[2].clone();
        second["sig"] = json!(negated(second["sig"].as_str().unwrap()));
        signatures.push(second);
    });
    thief.put_metadata("root", twice);
    vec![Case::against(&honest).attacker(thief.network()).refused("root", "DuplicateSignature")]
}

fn junk_signatures() -> Vec<Case> {
    let honest = release(3);
    let junk = |keyid: String| json!({"keyid": keyid, "sig": "00".repeat(64)});
    let known = TestKey::new("root-1").keyid().to_owned();
    let samples: [(&str, Vec<Value>, &'static str); 3] = [
        ("unknown", (0..1_000_u32).map(|n| junk(hash(&n.to_be_bytes()))).collect(), "ThresholdNotMet"),
        ("one known, repeated", vec![junk(known.clone()); 2_000], "DuplicateSignature"),
        (
            "each known once",
            ["root-1", "root-2"].map(|name| junk(TestKey::new(name).keyid().into())).into(),
            "ThresholdNotMet",
        ),
    ];
    let cases = samples.into_iter().map(|(sample, signatures, why)| {
        let mut thief = honest.fork();
        thief.set_signers("root", &[stranger()]);
        thief.publish(&["root"]);
        let file = with_signatures(&thief.written("root"), |list| *list = signatures);
        thief.put_metadata("root", file);
        Case::against(&honest).attacker(thief.network()).sample(sample).refused("root", why)
    });
    cases.collect()
}

fn role_beside_the_bins() -> Vec<Case> {
    let mut honest = release(1);
    let bins = honest.delegate_to_bins("targets", 1, "bins");
    // Succinct roles stand alone in their delegations.
    honest.signed("targets")["delegations"].as_object_mut().unwrap().remove("roles");
    let bin = lastmile_testkit::bin_of("bins", 1, "team/package");
    honest.add_target(&bin, "team/package", GOOD);
    let roles: Vec<&str> = bins.iter().map(String::as_str).chain(["targets"]).collect();
    honest.publish(&roles);
    let case = Case::against(&honest).honest_may_be_refused();
    ["other-0", "bins-2", "bins-00", "bins"]
        .map(|name| {
            let mut thief = honest.fork();
            thief.delegate("targets", &Delegation::paths(name, &["*"]).keys(&[TestKey::new("bins")], 1));
            thief.signed("targets")["delegations"].as_object_mut().unwrap().remove("roles");
            thief.add_target(name, "team/other", EVIL);
            thief.publish(&[name]);
            case.clone()
                .attacker(thief.network())
                .honest(newer(&thief).network())
                .sample(name)
                .get("team/other")
                .refused("team/other", "NoSuchTarget")
                .advances(&["snapshot", "timestamp"])
        })
        .into()
}

fn patterns_that_fold_case() -> Vec<Case> {
    let honest = release(3);
    let samples =
        [("Team/*", "team/other"), ("TEAM/*", "team/other"), ("team\\*", "team/other"), ("team/*", "team\\other")];
    let cases = samples.map(|(pattern, path)| {
        let mut thief = honest.fork();
        thief.signed("targets")["delegations"]["roles"] = json!([]);
        thief.delegate("targets", &Delegation::paths("thief", &[pattern]));
        thief.delegate("targets", &Delegation::paths("team", &["team/*"]));
        thief.add_target("thief", path, EVIL);
        thief.publish(&["thief", "targets"]);
        // The delegations are the repository's own; only the thief's targets are not.
        Case::against(&thief).sample(format!("`{pattern}` and `{path}`")).get(path).refused(path, "NoSuchTarget")
    });
    cases.into()
}

fn diamond() -> Vec<Case> {
    let mut honest = release(1);
    for side in ["left", "right"] {
        honest.delegate("targets", &Delegation::paths(side, &[&format!("{side}/*")]));
        let key = TestKey::new(&format!("shared by {side}"));
        honest.delegate(side, &Delegation::paths("shared", &[&format!("{side}/*")]).keys(&[key], 1));
    }
    let both = ["left", "right"].map(|side| TestKey::new(&format!("shared by {side}")));
    honest.set_signers("shared", &both);
    honest.add_target("shared", "left/package", GOOD);
    honest.add_target("shared", "right/package", GOOD);
    honest.publish(&["left", "right", "shared", "targets"]);
    let mut thief = honest.fork();
    thief.set_signers("shared", &both[..1]);
    thief.add_target("shared", "right/other", EVIL);
    thief.publish(&["shared"]);
    let mut restored = thief.fork();
    restored.set_signers("shared", &both);
    restored.publish(&["shared"]);
    let case = Case::against(&honest).packages(&["left/package", "package"]).get("right/other");
    vec![
        case.clone()
            .attacker(thief.network())
            .honest(restored.network())
            .sample("not seen")
            .refused("shared", "ThresholdNotMet")
            .advances(&["right", "snapshot", "timestamp"]),
        // Seen and kept as the left one's, before the right one is asked.
        case.followed(thief.network())
            .attacker(thief.network())
            .honest(restored.network())
            .sample("seen")
            .refused("shared", "ThresholdNotMet")
            .advances(&["right"]),
    ]
}

fn broken_snapshot() -> Vec<Case> {
    let honest = release(3);
    let next = newer(&honest);
    let path = format!("{METADATA}{}.snapshot.json", next.version("snapshot"));
    let broken = |change: fn(&FakeNetwork, &str)| {
        let network = next.network().fork();
        change(&network, &path);
        Case::against(&honest).attacker(&network).honest(next.network()).advances(&["timestamp"])
    };
    vec![
        broken(|network, path| network.put(path, b"{}".to_vec()))
            .sample("other bytes")
            .refused("snapshot", "LengthMismatch"),
        broken(|network, path| network.remove(path))
            .sample("missing")
            .refused(path.trim_start_matches(METADATA), "NotFound"),
        broken(|network, path| network.fault(path, NetworkFault::Truncated(100)))
            .sample("cut off")
            .refused(path.trim_start_matches(METADATA), "Cut"),
    ]
}

fn floor_survives_expiry() -> Vec<Case> {
    let mut honest = release(3);
    let old = honest.fork();
    honest.signed("timestamp")["expires"] = json!("2030-01-08T00:00:00Z");
    honest.publish(&["timestamp"]);
    let mut after = honest.fork();
    after.signed("timestamp")["expires"] = json!("2040-01-01T00:00:00Z");
    after.publish(&["timestamp"]);
    let clock = ["2030-01-01T00:00:00Z", "2030-02-01T00:00:00Z", "2030-02-01T00:00:00Z"];
    vec![
        Case::against(&honest)
            .attacker(old.network())
            .honest(after.network())
            .clock(clock)
            .refused("timestamp", "Rollback"),
    ]
}

fn hash_prefix() -> Vec<Case> {
    let mut honest = release(1);
    honest.add_target("targets", "a/b/package", GOOD);
    honest.publish(&["targets"]);
    assert!(honest.network().file(&format!("targets/a/b/{}.package", hash(GOOD))).is_some());
    // The honest runs ask for no path with a folder: a client that is wrong about those is to get as far as this one.
    vec![Case::against(&honest).packages(&["package"]).get("a/b/package")]
}

fn duplicate_members() -> Vec<Case> {
    let honest = release(3);
    let old = "\"version\": 4";
    let roles = ["timestamp", "snapshot", "targets"];
    let samples =
        [r#""version": 9, "version": 4"#, r#""version": 4, "version": 9"#, r#""version": 4, "v\u0065rsion": 9"#];
    let mut cases = Vec::new();
    for (role, sample) in roles.into_iter().zip(samples) {
        let mut thief = honest.fork();
        thief.publish(&["targets"]);
        let text = String::from_utf8(thief.written(role)).unwrap();
        let current = format!("\"version\": {}", thief.version(role));
        let at = text.rfind(&current).unwrap();
        let spelled = sample.replace(old, &current);
        let bytes = [&text[..at], &spelled, &text[at + current.len()..]].concat().into_bytes();
        republish(&mut thief, role, bytes);
        cases.push(
            Case::against(&honest)
                .attacker(thief.network())
                .sample(role)
                .form_only()
                .refused(role, "Malformed")
                .advances(before(role)),
        );
    }
    cases
}

fn long_integer() -> Vec<Case> {
    let honest = release(3);
    let mut thief = honest.fork();
    thief.publish(&["timestamp"]);
    let text = String::from_utf8(thief.written("timestamp")).unwrap();
    let current = format!("\"version\": {}", thief.version("timestamp"));
    let at = text.rfind(&current).unwrap();
    let long = format!("\"version\": 1{}", "0".repeat(15_000));
    thief.put_metadata("timestamp", [&text[..at], &long, &text[at + current.len()..]].concat().into_bytes());
    vec![Case::against(&honest).attacker(thief.network()).refused("timestamp", "Malformed")]
}
