//! Attacks on versions and expiry dates. The server sends older, expired or inconsistent files, or withholds files.

use lastmile_testkit::{Delegation, FakeNetwork, METADATA, NetworkFault, Repository, TestKey};
use serde_json::json;

use crate::forgery::{before, newer};
use crate::{Case, EVIL, GOOD, Scenario, release};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "2.1-broken-snapshot",
        &["2.1-broken-snapshot"],
        "after a new timestamp was accepted, its snapshot is invalid, truncated or missing",
        "a bug in another implementation",
        broken_snapshot,
    ),
    Scenario::new(
        "2.1-expired-floor",
        &["2.1-expired-floor", "3.2-R7", "2.4-expired-floor"],
        "the stored timestamp has expired, and the server sends an older timestamp that has not expired",
        "a bug in another implementation; specification 5.4.3",
        floor_survives_expiry,
    ),
    Scenario::new(
        "CVE-2022-29173",
        &["CVE-2022-29173"],
        "one role is rolled back to an older file with valid signatures",
        "CVE-2022-29173, GHSA-66x3-6cw3-v5gj",
        older_files,
    ),
    Scenario::new(
        "CVE-2022-29173-poisoned",
        &["CVE-2022-29173"],
        "the server sends a new timestamp but withholds the snapshot that it lists",
        "CVE-2022-29173, GHSA-66x3-6cw3-v5gj",
        held_back_snapshot,
    ),
    Scenario::new(
        "CVE-2025-2887",
        &["CVE-2025-2887", "3.2-R5"],
        "new snapshots omit a delegated role, list a lower version of it, or omit it and then list a lower version",
        "CVE-2025-2887, GHSA-q6r9-r9pw-4cf7",
        delegated_role_falls,
    ),
    Scenario::new(
        "CVE-2025-2888",
        &["CVE-2025-2888", "3.2-R4", "2.4-listed-rollback"],
        "a timestamp lists an older snapshot, and the honest repository then publishes a timestamp of the same version",
        "CVE-2025-2888, GHSA-76g3-38jv-wxh4",
        timestamp_lists_less,
    ),
    Scenario::new(
        "CVE-2015-9259",
        &["CVE-2015-9259", "HSEC-2023-0015", "3.3-F4"],
        "exactly one role has expired: root, timestamp, snapshot, targets or a delegated role",
        "CVE-2015-9259, HSEC-2023-0015; specification 5.3.10, 5.4.4, 5.5.6, 5.6.5",
        expired_alone,
    ),
    Scenario::new(
        "2.4-greatest-version",
        &["2.4-greatest-version"],
        "a timestamp has version 2^31, 2^53+1 or 2^63-1, which are legal, or a greater version, which is not legal",
        "audit findings from 2015 and 2018",
        greatest_versions,
    ),
    Scenario::new(
        "2.4-fallback",
        &["2.4-fallback"],
        "the server's timestamp is invalid or missing, and the client has stored a valid timestamp",
        "a bug in another implementation",
        no_fallback_to_the_stored_copy,
    ),
    Scenario::new(
        "2.4-same-version",
        &["2.4-same-version", "3.2-R6"],
        "a file has the same version as the honest file and valid signatures, but different content",
        "academic research, 2024; specification 5.3.5, 5.4.3.1, 5.5.2, 5.6.2",
        same_version_other_content,
    ),
    Scenario::new(
        "2.4-same-version-bins",
        &["2.4-same-version-bins"],
        "a bin's file has the same version as the honest file and a valid signature, but different content",
        "academic research, 2024; specification 5.6.2; TAP 15",
        same_version_other_bins,
    ),
];

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

fn older_files() -> Vec<Case> {
    let old = release(3);
    let mut honest = old.fork();
    for _ in 0..4 {
        honest.publish(&["team", "targets"]);
    }
    let mut cases =
        vec![Case::against(&honest).attacker(old.network()).sample("timestamp").refused("timestamp", "Rollback")];
    // An attacker with the timestamp key can replay an older snapshot. An attacker with both online keys can replay
    // older files of the other roles.
    let mut attacker = honest.fork();
    attacker.signed("timestamp")["meta"]["snapshot.json"] =
        old.fork().signed("timestamp")["meta"]["snapshot.json"].clone();
    attacker.publish(&["timestamp"]);
    cases.push(
        Case::against(&honest).attacker(attacker.network()).sample("snapshot").refused("timestamp", "ListedRollback"),
    );
    for role in ["targets", "team"] {
        let mut attacker = honest.fork();
        let name = format!("{role}.json");
        attacker.signed("snapshot")["meta"][&name] = old.fork().signed("snapshot")["meta"][&name].clone();
        attacker.publish(&["snapshot"]);
        let case =
            Case::against(&honest).attacker(attacker.network()).sample(role).refused("snapshot", "ListedRollback");
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

fn delegated_role_falls() -> Vec<Case> {
    let honest = release(5);
    let mut fallen = honest.fork();
    fallen.signed("team")["version"] = json!(4);
    fallen.write("team");
    fallen.list_in_snapshot("team");
    fallen.publish(&["snapshot"]);
    let mut removed = honest.fork();
    removed.signed("snapshot")["meta"].as_object_mut().unwrap().remove("team.json");
    removed.publish(&["snapshot"]);
    let mut returned = removed.fork();
    returned.signed("team")["version"] = json!(4);
    returned.write("team");
    returned.list_in_snapshot("team");
    returned.publish(&["snapshot"]);
    let case = |attacker: &Repository, sample, why| {
        Case::against(&honest)
            .attacker(attacker.network())
            .sample(sample)
            .refused("snapshot", why)
            .advances(&["timestamp"])
    };
    vec![
        case(&fallen, "from 5 to 4", "ListedRollback"),
        case(&removed, "removed", "Removed"),
        // This snapshot is one version newer than the snapshot in `fallen`, but still lists version 4 of `team`.
        case(&newer(&fallen), "from 5 to 4, in a newer snapshot", "ListedRollback"),
        // After the client has refused the snapshot without `team`, it must still know which version of `team` it
        // trusted before.
        case(&returned, "removed, then listed again with version 4", "ListedRollback").failed_update(removed.network()),
    ]
}

fn timestamp_lists_less() -> Vec<Case> {
    let honest = release(5);
    let mut attacker = honest.fork();
    attacker.signed("timestamp")["meta"]["snapshot.json"]["version"] = json!(3);
    attacker.publish(&["timestamp"]);
    let case = Case::against(&honest).attacker(attacker.network()).honest(newer(&honest).network());
    vec![case.refused("timestamp", "ListedRollback")]
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
        let mut attacker = honest.fork();
        attacker.signed("timestamp")["version"] = json!(version);
        attacker.write("timestamp");
        // New timestamp keys make the client accept lower versions again.
        let mut fixed = honest.fork();
        fixed.set_keys("timestamp", &[TestKey::new("fresh timestamp")], 1);
        fixed.publish(&["root", "team", "targets"]);
        let case =
            Case::against(&honest).attacker(attacker.network()).honest(fixed.network()).sample(version.to_string());
        if is_fine { case } else { case.form_only().refused("timestamp", "Malformed") }
    });
    cases.into()
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
        case(&bent, "another document").refused("timestamp.json", "NotMetadata"),
        case(&silent, "404").refused("timestamp.json", "NotFound"),
        case(&down, "503").refused("timestamp.json", "Status"),
    ]
}

fn same_version_other_content() -> Vec<Case> {
    let honest = release(3);
    let mut next = honest.fork();
    next.publish(&["team", "targets"]);
    let mut cases = Vec::new();
    for (role, package) in [("targets", "package"), ("team", "team/package")] {
        cases.extend(other_content(&honest, &next, role, package, |attacker| attacker.add_target(role, package, EVIL)));
    }
    let later = |role: &'static str| {
        move |attacker: &mut Repository| attacker.signed(role)["expires"] = json!("2041-01-01T00:00:00Z")
    };
    cases.extend(other_content(&honest, &next, "snapshot", "package", later("snapshot")));
    let mut attacker = honest.fork();
    later("timestamp")(&mut attacker);
    attacker.write("timestamp");
    cases.push(
        Case::against(&honest).attacker(attacker.network()).sample("timestamp, already stored").changes_nothing(),
    );
    // A client never requests its current root again; it requests only the next version. An attacker must therefore
    // serve the changed copy of the current root under the file name of the next version.
    let mut followed = honest.fork();
    followed.publish(&["root"]);
    let mut attacker = followed.fork();
    later("root")(&mut attacker);
    let other = attacker.write("root");
    cases.push(Case::against(&followed).attacker(attacker.network()).sample("root, already stored").changes_nothing());
    let network = followed.network().fork();
    network.put(&format!("{METADATA}3.root.json"), other);
    let case = Case::against(&followed).attacker(&network).sample("root, under the next file name");
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
        let evil = |attacker: &mut Repository| attacker.add_target(&bin, "binned", EVIL);
        let all = other_content(&honest, &next, &bin, "binned", evil);
        cases.extend(all.into_iter().map(|case| {
            let sample = format!("{kind}: {}", case.sample);
            let case = case.packages(&["package", "binned"]).sample(sample);
            if kind == "succinct" { case.honest_may_be_refused() } else { case }
        }));
    }
    cases
}

/// Creates a bin for all paths whose hashes start with one of the `digits`, and returns the name of the bin.
fn prefix_bin(honest: &mut Repository, digits: &str) -> String {
    let name = if digits.starts_with('0') { "bin-0" } else { "bin-1" };
    let prefixes: Vec<String> = digits.chars().map(String::from).collect();
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    honest.delegate("targets", &Delegation::hash_prefixes(name, &prefixes));
    name.to_owned()
}

/// Creates cases in which `forge` has changed the file of `role` without changing its version. The cases are for a new
/// client, for a client that has the honest file, and for a client that updates to the next release.
fn other_content(
    honest: &Repository,
    next: &Repository,
    role: &str,
    package: &str,
    forge: impl Fn(&mut Repository),
) -> Vec<Case> {
    let forged = |honest: &Repository| {
        let mut attacker = honest.fork();
        forge(&mut attacker);
        attacker.write(role);
        attacker
    };
    let below: &[&str] = if ["snapshot", "targets"].contains(&role) { &[] } else { &["targets"] };
    let advances = [before(role), below].concat();
    let refused = |case: Case, sample: &str, advances: &[&str]| {
        case.get(package).sample(format!("{role}, {sample}")).refused(role, "HashMismatch").advances(advances)
    };
    let now = forged(honest);
    let later = forged(next);
    vec![
        refused(Case::new_client(honest).attacker(now.network()), "new client", &[&["root"], &advances[..]].concat()),
        refused(Case::against(honest).attacker(later.network()), "next release", &advances)
            .honest(newer(next).network()),
        Case::against(honest)
            .attacker(now.network())
            .get(package)
            .sample(format!("{role}, already stored"))
            .changes_nothing(),
    ]
}
