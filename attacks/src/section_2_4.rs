//! Advisories and notable defects of other implementations, part four.

use std::fs;

use lastmile_testkit::{Delegation, METADATA, NetworkFault, Repository, TestKey, sign};
use serde_json::{Value, json};

use crate::forgery::{before, newer, with_signatures};
use crate::{Case, EVIL, GOOD, Scenario, release};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "CVE-2026-24137",
        &["CVE-2026-24137", "CVE-2021-41149", "CVE-2026-6968"],
        "a package, signed in earnest, whose name leads out of the folder",
        "CVE-2026-24137, CVE-2021-41149, CVE-2026-6968",
        names_that_lead_out,
    ),
    Scenario::new(
        "2.4-stored-root",
        &["2.4-stored-root"],
        "the stored root is replaced by an attacker's, and everything else taken away",
        "an audit of an implementation; pull requests 171 and 180",
        stored_root_replaced,
    ),
    Scenario::new(
        "CVE-2015-9258",
        &["CVE-2015-9258", "4.4-method"],
        "a signature says how it is to be verified; a key's scheme does not fit its type",
        "CVE-2015-9258, GHSA-785h-hrf7-gqxc",
        method_in_the_signature,
    ),
    Scenario::new(
        "CVE-2015-9259",
        &["CVE-2015-9259", "HSEC-2023-0015", "3.3-F4"],
        "root, timestamp, snapshot, targets or a delegated role has expired, each alone",
        "CVE-2015-9259, HSEC-2023-0015; specification 5.3.10, 5.4.4, 5.5.6, 5.6.5",
        expired_alone,
    ),
    Scenario::new(
        "2.4-greatest-version",
        &["2.4-greatest-version"],
        "a timestamp of version 2^31, 2^53 or 2^63-1 is followed; above that it is refused",
        "audit findings of 2015 and 2018",
        greatest_versions,
    ),
    Scenario::new(
        "2.4-envelope-member",
        &["2.4-envelope-member"],
        "none: somebody on the network adds a member beside the signed ones",
        "audit finding TUF-01-001 of 2018",
        member_in_the_envelope,
    ),
    Scenario::new(
        "2.4-fallback",
        &["2.4-fallback"],
        "an invalid timestamp while a valid one is stored",
        "issue 884 of an implementation",
        no_fallback_to_the_stored_copy,
    ),
    Scenario::new(
        "2.4-neither-paths-nor-prefixes",
        &["2.4-neither-paths-nor-prefixes", "4.6-paths-and-prefixes"],
        "a delegation with neither paths nor prefixes, with both, with an odd prefix, or with empty lists",
        "issue 344 of an implementation",
        neither_paths_nor_prefixes,
    ),
    Scenario::new(
        "2.4-custom",
        &["2.4-custom"],
        "none: two roles list a package, and the first one's entry counts",
        "issue 562 of an implementation",
        first_entry_counts,
    ),
    Scenario::new(
        "S-2.4-3",
        &["S-2.4-3", "4.10-joined-urls"],
        "a package, signed in earnest, whose name looks like a URL, a query or a fragment",
        "our own reading of sources",
        names_that_look_like_urls,
    ),
    Scenario::new(
        "2.4-same-version",
        &["2.4-same-version", "3.2-R6"],
        "a file of each role of the same version, with other content and signed by the right keys",
        "a paper of 2024; specification 5.3.5, 5.4.3.1, 5.5.2, 5.6.2",
        same_version_other_content,
    ),
    Scenario::new(
        "2.4-same-version-bins",
        &["2.4-same-version-bins"],
        "a bin of the same version, by hash prefix and succinct, with other content and signed by the right key",
        "a paper of 2024; specification 5.6.2; TAP 15",
        same_version_other_bins,
    ),
    Scenario::new(
        "2.4-unsigned-delegated",
        &["2.4-unsigned-delegated"],
        "a delegated role without signatures, or signed by the keys of another delegator",
        "issues 275 and 279 of an implementation",
        unsigned_delegated,
    ),
];

fn names_that_lead_out() -> Vec<Case> {
    let refused = ["../x", "../../../x", "a/../../x", "/tmp/x", "a/..", "..", "a/./x", "."];
    let cases = refused.into_iter().map(|name| {
        let mut thief = release(2);
        thief.add_target("targets", name, EVIL);
        thief.publish(&["targets"]);
        // Other clients may rightly keep such a package under an encoded name: see the names of section 4.3.
        Case::against(&thief).get(name).sample(format!("`{name}`")).refused("name", "Name").in_process_only()
    });
    cases.collect()
}

fn stored_root_replaced() -> Vec<Case> {
    let honest = release(3);
    let mut thief = Repository::new();
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let keys = ["thief-1", "thief-2"].map(TestKey::new);
        thief.set_keys(role, &keys, 2);
    }
    thief.bump("root");
    let signed = thief.signed("root").clone();
    thief.put_metadata("root", sign(&signed, &["thief-1", "thief-2"].map(TestKey::new)));
    thief.add_target("targets", "package", EVIL);
    for _ in 0..9 {
        thief.publish(&["targets"]);
    }
    let root = thief.written("root");
    let replace = move |folder: &std::path::Path| {
        for name in ["timestamp", "snapshot", "targets", "team"] {
            drop(fs::remove_file(folder.join(format!("{name}.json"))));
        }
        fs::write(folder.join("root.json"), &root).unwrap();
    };
    // What the attacker serves is refused by the shipped root; the stored one is mended from the chain.
    let case = Case::against(&honest).tamper(replace).attacker(thief.network()).get("package");
    vec![case.refused("root", "ThresholdNotMet")]
}

fn method_in_the_signature() -> Vec<Case> {
    let honest = release(3);
    let mut cases = Vec::new();
    for (name, value) in [("method", "rsapss"), ("scheme", "ed25519"), ("keytype", "rsa")] {
        let mut thief = newer(&honest);
        let bytes = with_signatures(&thief.written("timestamp"), |signatures| {
            signatures[0][name] = json!(value);
            signatures[0]["sig"] = json!("00".repeat(64));
        });
        thief.put_metadata("timestamp", bytes);
        let case = Case::against(&honest).attacker(thief.network()).sample(format!("`{name}` in a signature"));
        cases.push(case.refused("timestamp", "ThresholdNotMet"));
    }
    for (keytype, scheme) in [("ed25519", "rsassa-pss-sha256"), ("rsa", "ed25519"), ("ecdsa", "ed25519")] {
        let key = TestKey::new("snapshot").with_object(|object| {
            object["keytype"] = json!(keytype);
            object["scheme"] = json!(scheme);
        });
        let mut thief = honest.fork();
        thief.set_keys("snapshot", &[key], 1);
        thief.publish(&["root", "snapshot"]);
        let mut mended = thief.fork();
        mended.set_keys("snapshot", &[TestKey::new("snapshot")], 1);
        mended.publish(&["root", "team", "targets"]);
        let case = Case::against(&honest).attacker(thief.network()).honest(mended.network());
        let case = case.sample(format!("a key of type {keytype} with the scheme {scheme}"));
        let case = case.honest_may_be_refused().refused("snapshot", "ThresholdNotMet");
        cases.push(case.advances(&["root", "snapshot", "timestamp"]));
    }
    cases
}

fn expired_alone() -> Vec<Case> {
    let honest = release(3);
    let cases = ["root", "timestamp", "snapshot", "targets", "team"].map(|role| {
        let mut stale = honest.fork();
        stale.signed(role)["expires"] = json!("2020-01-01T00:00:00Z");
        stale.publish(&[role]);
        let mut renewed = stale.fork();
        renewed.signed(role)["expires"] = json!("2040-01-01T00:00:00Z");
        renewed.publish(&["root", "team", "targets"]);
        let case =
            Case::against(&honest).attacker(stale.network()).honest(renewed.network()).get("team/package").sample(role);
        let advances: &[&str] = match role {
            "root" => &["root"],
            "timestamp" => &[],
            "snapshot" => &["timestamp"],
            _ => &["snapshot", "timestamp"],
        };
        case.refused(role, "Expired").advances(advances)
    });
    cases.into()
}

fn greatest_versions() -> Vec<Case> {
    let honest = release(2);
    let versions =
        [(1_u64 << 31, true), ((1 << 53) + 1, true), ((1 << 63) - 1, true), (1 << 63, false), (u64::MAX, false)];
    let cases = versions.map(|(version, is_fine)| {
        let mut thief = honest.fork();
        thief.signed("timestamp")["version"] = json!(version);
        thief.write("timestamp");
        // Driven up or not: a rotation brings it down again.
        let mut mended = honest.fork();
        mended.set_keys("timestamp", &[TestKey::new("fresh timestamp")], 1);
        mended.publish(&["root", "team", "targets"]);
        let case =
            Case::against(&honest).attacker(thief.network()).honest(mended.network()).sample(version.to_string());
        if is_fine { case } else { case.form_only().refused("timestamp", "Malformed") }
    });
    cases.into()
}

fn member_in_the_envelope() -> Vec<Case> {
    let honest = release(3);
    let mut next = newer(&honest);
    let mut envelope: Value = serde_json::from_slice(&next.written("timestamp")).unwrap();
    envelope["abc"] = json!("xyz");
    next.put_metadata("timestamp", serde_json::to_vec(&envelope).unwrap());
    vec![Case::against(&honest).attacker(next.network())]
}

fn no_fallback_to_the_stored_copy() -> Vec<Case> {
    let honest = release(3);
    let bent = honest.network().fork();
    bent.put(&format!("{METADATA}timestamp.json"), b"<html>busy</html>".to_vec());
    let silent = honest.network().fork();
    silent.remove(&format!("{METADATA}timestamp.json"));
    let down = honest.network().fork();
    down.fault(&format!("{METADATA}timestamp.json"), NetworkFault::Status(503));
    let case = |network, sample| Case::against(&honest).attacker(network).get("package").sample(sample);
    vec![
        case(&bent, "another document").refused("timestamp", "Malformed"),
        case(&silent, "404").refused("timestamp.json", "NotFound"),
        case(&down, "503").refused("timestamp.json", "Status"),
    ]
}

fn neither_paths_nor_prefixes() -> Vec<Case> {
    let honest = release(2);
    let samples = [
        ("both", json!({"paths": ["*"], "path_hash_prefixes": ["0"]})),
        ("no hexadecimal", json!({"path_hash_prefixes": ["xy"]})),
        ("an empty prefix", json!({"path_hash_prefixes": [""]})),
        ("65 digits", json!({"path_hash_prefixes": ["0".repeat(65)]})),
        ("upper case", json!({"path_hash_prefixes": ["AB"]})),
    ];
    let refused = samples.map(|(sample, members)| {
        let mut thief = honest.fork();
        thief.delegate("targets", &Delegation::with_members("thief", members));
        // The empty prefix can be read as the beginning of all hashes; nothing else here covers the package.
        let content = if sample == "an empty prefix" { GOOD } else { EVIL };
        thief.add_target("thief", "claimed", content);
        thief.publish(&["thief", "targets"]);
        let mut mended = thief.fork();
        mended.signed("targets")["delegations"]["roles"].as_array_mut().unwrap().pop();
        mended.publish(&["team", "targets"]);
        let case =
            Case::against(&honest).attacker(thief.network()).honest(mended.network()).get("claimed").sample(sample);
        case.form_only().refused("targets", "Malformed").advances(&["snapshot", "timestamp"])
    });
    let empty = [
        ("neither", json!({})),
        ("no paths", json!({"paths": []})),
        ("no prefixes", json!({"path_hash_prefixes": []})),
    ];
    let empty = empty.map(|(sample, members)| {
        let mut thief = honest.fork();
        thief.delegate("targets", &Delegation::with_members("thief", members));
        thief.add_target("thief", "claimed", EVIL);
        thief.publish(&["thief", "targets"]);
        Case::against(&thief).get("claimed").sample(sample).honest_may_be_refused().refused("claimed", "NoSuchTarget")
    });
    refused.into_iter().chain(empty).collect()
}

fn first_entry_counts() -> Vec<Case> {
    let mut honest = release(1);
    for (name, content) in [("first", GOOD), ("second", EVIL)] {
        honest.delegate("targets", &Delegation::paths(name, &["claimed"]));
        honest.add_target(name, "claimed", content);
        honest.signed(name)["targets"]["claimed"]["custom"] = json!({"from": name});
    }
    honest.publish(&["first", "second", "targets"]);
    vec![Case::against(&honest).get("claimed").packages(&["package"])]
}

fn names_that_look_like_urls() -> Vec<Case> {
    let names = ["http/evil.example/x", "x#f", "x;y", "x&y=z", "a b", "a+b", "a%2Fb", "%2e%2e", "~root", "é/ü"];
    let cases = names.map(|name| {
        let mut honest = release(1);
        honest.add_target("targets", name, GOOD);
        honest.publish(&["targets"]);
        Case::against(&honest).packages(&["package"]).get(name).sample(format!("`{name}`"))
    });
    cases.into()
}

fn same_version_other_content() -> Vec<Case> {
    let honest = release(3);
    let mut next = honest.fork();
    next.publish(&["team", "targets"]);
    let mut cases = Vec::new();
    for (role, package) in [("targets", "package"), ("team", "team/package")] {
        cases.extend(other_content(&honest, &next, role, package, |thief| thief.add_target(role, package, EVIL)));
    }
    let later = |role: &'static str| {
        move |thief: &mut Repository| thief.signed(role)["expires"] = json!("2041-01-01T00:00:00Z")
    };
    cases.extend(other_content(&honest, &next, "snapshot", "package", later("snapshot")));
    let mut thief = honest.fork();
    later("timestamp")(&mut thief);
    thief.write("timestamp");
    cases.push(Case::against(&honest).attacker(thief.network()).sample("timestamp, seen").changes_nothing());
    // A root is asked for by its version: the same version can only come under the next name.
    let mut followed = honest.fork();
    followed.publish(&["root"]);
    let mut thief = followed.fork();
    later("root")(&mut thief);
    let other = thief.write("root");
    cases.push(Case::against(&followed).attacker(thief.network()).sample("root, seen").changes_nothing());
    let network = followed.network().fork();
    network.put(&format!("{METADATA}3.root.json"), other);
    let case = Case::against(&followed).attacker(&network).sample("root, under the next name");
    cases.push(case.refused("root", "Rollback"));
    cases
}

fn same_version_other_bins() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in ["succinct", "by prefix"] {
        let mut honest = release(1);
        honest.signed("targets")["delegations"] = json!({"keys": {}});
        let bins = match kind {
            "succinct" => honest.delegate_to_bins("targets", 1, "bin"),
            _ => ["01234567", "89abcdef"].map(|digits| prefix_bin(&mut honest, digits)).into(),
        };
        let bin = lastmile_testkit::bin_of("bin", 1, "binned");
        honest.add_target(&bin, "binned", GOOD);
        let roles: Vec<&str> = bins.iter().map(String::as_str).chain(["targets"]).collect();
        honest.publish(&roles);
        let mut next = honest.fork();
        next.publish(&roles);
        let evil = |thief: &mut Repository| thief.add_target(&bin, "binned", EVIL);
        let all = other_content(&honest, &next, &bin, "binned", evil);
        cases.extend(all.into_iter().map(|case| {
            let sample = format!("{kind}: {}", case.sample);
            let case = case.packages(&["package", "binned"]).sample(sample);
            if kind == "succinct" { case.honest_may_be_refused() } else { case }
        }));
    }
    cases
}

/// The bin of all paths whose hash begins with one of these digits.
fn prefix_bin(honest: &mut Repository, digits: &str) -> String {
    let name = if digits.starts_with('0') { "bin-0" } else { "bin-1" };
    let prefixes: Vec<String> = digits.chars().map(String::from).collect();
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    honest.delegate("targets", &Delegation::hash_prefixes(name, &prefixes));
    name.to_owned()
}

/// The file of `role` after `forge`, under the listed version and name: for new clients, for those who have the honest file,
/// and in the next release.
fn other_content(
    honest: &Repository,
    next: &Repository,
    role: &str,
    package: &str,
    forge: impl Fn(&mut Repository),
) -> Vec<Case> {
    let forged = |honest: &Repository| {
        let mut thief = honest.fork();
        forge(&mut thief);
        thief.write(role);
        thief
    };
    let below: &[&str] = if ["snapshot", "targets"].contains(&role) { &[] } else { &["targets"] };
    let advances = [before(role), below].concat();
    let refused = |case: Case, sample: &str, advances: &[&str]| {
        case.get(package).sample(format!("{role}, {sample}")).refused(role, "HashMismatch").advances(advances)
    };
    let (now, later) = (forged(honest), forged(next));
    vec![
        refused(Case::new_client(honest).attacker(now.network()), "new client", &[&["root"], &advances[..]].concat()),
        refused(Case::against(honest).attacker(later.network()), "next release", &advances)
            .honest(newer(next).network()),
        Case::against(honest).attacker(now.network()).get(package).sample(format!("{role}, seen")).changes_nothing(),
    ]
}

fn unsigned_delegated() -> Vec<Case> {
    let honest = release(3);
    let samples = [
        ("nobody", vec![]),
        ("the delegator", vec![TestKey::new("targets")]),
        ("the snapshot's key", vec![TestKey::new("snapshot")]),
    ];
    let cases = samples.map(|(sample, signers)| {
        let mut thief = honest.fork();
        thief.set_signers("team", &signers);
        thief.add_target("team", "team/package", EVIL);
        thief.publish(&["team"]);
        let case =
            Case::against(&honest).attacker(thief.network()).get("team/package").sample(format!("signed by {sample}"));
        case.refused("team", "ThresholdNotMet").advances(&["snapshot", "timestamp"])
    });
    cases.into()
}
