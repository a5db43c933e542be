//! Attacks on the paths and the order of delegations, and on the files of delegated roles.

use lastmile_testkit::{Delegation, METADATA, Repository, TestKey, sign};
use serde_json::json;

use crate::forgery::before;
use crate::{Case, EVIL, GOOD, Scenario, release};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "GHSA-qp9x-wp8f-qgjj",
        &["GHSA-qp9x-wp8f-qgjj"],
        "a role whose paths are `Team/*` or `team\\*` lists a package in `team/`",
        "GHSA-qp9x-wp8f-qgjj",
        patterns_that_fold_case,
    ),
    Scenario::new(
        "CVE-2024-47534",
        &["CVE-2024-47534"],
        "harmless: many roles list the same package, and the first delegation wins",
        "CVE-2024-47534, GHSA-4f8r-qqr9-fq8j",
        the_first_role_decides,
    ),
    Scenario::new(
        "2.2-not-in-snapshot",
        &["2.2-not-in-snapshot", "S-2.3-5", "S-2.4-2"],
        "the snapshot omits a delegated role, and a role with lower priority lists the requested package",
        "a bug in another implementation, 2024",
        not_in_snapshot,
    ),
    Scenario::new(
        "CVE-2025-2886",
        &["CVE-2025-2886", "4.6-terminating-at-depth"],
        "a role that comes after a terminating delegation lists the requested package",
        "CVE-2025-2886, GHSA-v4wr-j3w6-mxqc",
        behind_a_terminating_role,
    ),
    Scenario::new(
        "CVE-2026-6967",
        &["CVE-2026-6967", "3.7-M3"],
        "a delegated role has expired, is longer than the snapshot says, or has a different hash",
        "CVE-2026-6967, GHSA-4v58-8p28-2rq3",
        delegated_role_unchecked,
    ),
    Scenario::new(
        "2.4-neither-paths-nor-prefixes",
        &["2.4-neither-paths-nor-prefixes", "4.6-paths-and-prefixes"],
        "a delegation has both paths and hash prefixes, neither of them, an empty list, or an invalid prefix",
        "a bug in another implementation",
        neither_paths_nor_prefixes,
    ),
    Scenario::new(
        "2.4-custom",
        &["2.4-custom"],
        "harmless: two roles list the same package with different custom data, and the first entry wins",
        "a bug in another implementation",
        first_entry_counts,
    ),
    Scenario::new(
        "2.4-unsigned-delegated",
        &["2.4-unsigned-delegated"],
        "a delegated role is unsigned, or signed with the key of its delegator or of the snapshot",
        "bugs in another implementation",
        unsigned_delegated,
    ),
];

fn patterns_that_fold_case() -> Vec<Case> {
    let honest = release(3);
    let samples =
        [("Team/*", "team/other"), ("TEAM/*", "team/other"), ("team\\*", "team/other"), ("team/*", "team\\other")];
    let cases = samples.map(|(pattern, path)| {
        let mut attacker = honest.fork();
        attacker.signed("targets")["delegations"]["roles"] = json!([]);
        attacker.delegate("targets", &Delegation::paths("thief", &[pattern]));
        attacker.delegate("targets", &Delegation::paths("team", &["team/*"]));
        attacker.add_target("thief", path, EVIL);
        attacker.publish(&["thief", "targets"]);
        // The delegation to `thief` is legal, but its pattern must not match `path`.
        Case::against(&attacker).sample(format!("`{pattern}` and `{path}`")).get(path).refused(path, "NoSuchTarget")
    });
    cases.into()
}

fn the_first_role_decides() -> Vec<Case> {
    let samples =
        [("names in ascending order", false), ("names in descending order", true)].map(|(sample, falling)| {
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

fn not_in_snapshot() -> Vec<Case> {
    // No earlier snapshot listed the first role, so the client accepts a snapshot without it. The client notices that
    // the role is missing only when it visits the role.
    let mut honest = release(1);
    honest.signed("targets")["delegations"]["roles"] = json!([]);
    honest.delegate("targets", &Delegation::paths("first", &["claimed"]));
    honest.delegate("targets", &Delegation::paths("second", &["claimed"]));
    honest.delegate("targets", &Delegation::paths("team", &["team/*"]));
    honest.add_target("second", "claimed", EVIL);
    honest.publish(&["second", "team", "targets"]);
    vec![Case::against(&honest).get("claimed").refused("first", "NotListed")]
}

fn behind_a_terminating_role() -> Vec<Case> {
    let mut flat = release(1);
    flat.delegate("targets", &Delegation::paths("owner", &["claimed"]).terminating());
    flat.delegate("targets", &Delegation::paths("thief", &["claimed"]));
    flat.add_target("thief", "claimed", EVIL);
    flat.publish(&["owner", "thief", "targets"]);
    let mut deep = release(1);
    deep.delegate("targets", &Delegation::paths("middle", &["claimed"]));
    deep.delegate("targets", &Delegation::paths("thief", &["claimed"]));
    deep.delegate("middle", &Delegation::paths("owner", &["claimed"]).terminating());
    deep.add_target("thief", "claimed", EVIL);
    deep.publish(&["owner", "middle", "thief", "targets"]);
    let case = |honest, sample, advances: &[&str]| {
        Case::against(honest).get("claimed").sample(sample).refused("claimed", "NoSuchTarget").advances(advances)
    };
    vec![case(&flat, "on the first level", &["owner"]), case(&deep, "on the second level", &["middle", "owner"])]
}

fn delegated_role_unchecked() -> Vec<Case> {
    let honest = release(3);
    let mut expired = honest.fork();
    expired.signed("team")["expires"] = json!("2020-01-01T00:00:00Z");
    expired.publish(&["team"]);
    // The following files are signed with the right key, but the snapshot lists a different length or hash.
    let mut other = honest.fork();
    other.publish(&["team"]);
    let mut unlisted = other.fork();
    unlisted.add_target("team", "team/other", EVIL);
    let signed = unlisted.signed("team").clone();
    let bytes = sign(&signed, &[TestKey::new("team")]);
    let listed = other.written("team").len();
    let path = format!("{METADATA}{}.team.json", other.version("team"));
    unlisted.network().put(&path, bytes);
    let mut same_length = other.fork();
    same_length.signed("team")["expires"] = json!("2041-01-01T00:00:00Z");
    let signed = same_length.signed("team").clone();
    let bent = sign(&signed, &[TestKey::new("team")]);
    assert_eq!(bent.len(), listed);
    same_length.network().put(&path, bent);
    let case = |attacker: &Repository, sample| {
        let case = Case::against(&honest).attacker(attacker.network()).get("team/package").sample(sample);
        case.advances(before("team"))
    };
    let file = path.trim_start_matches(METADATA).to_owned();
    vec![
        case(&expired, "expired").refused("team", "Expired"),
        case(&unlisted, "longer than listed").refused(file, "TooLong"),
        case(&same_length, "with another hash").refused("team", "HashMismatch"),
    ]
}

fn neither_paths_nor_prefixes() -> Vec<Case> {
    let honest = release(2);
    let samples = [
        ("both", json!({"paths": ["*"], "path_hash_prefixes": ["0"]})),
        ("not hexadecimal", json!({"path_hash_prefixes": ["xy"]})),
        ("an empty prefix", json!({"path_hash_prefixes": [""]})),
        ("65 digits", json!({"path_hash_prefixes": ["0".repeat(65)]})),
        ("upper case", json!({"path_hash_prefixes": ["AB"]})),
    ];
    let refused = samples.map(|(sample, members)| {
        let mut attacker = honest.fork();
        attacker.delegate("targets", &Delegation::with_members("thief", members));
        // A lenient client accepts the empty prefix, which matches every hash, and installs the package. Such
        // a client is not at fault, so the package has harmless content.
        let content = if sample == "an empty prefix" { GOOD } else { EVIL };
        attacker.add_target("thief", "claimed", content);
        attacker.publish(&["thief", "targets"]);
        let mut fixed = attacker.fork();
        fixed.signed("targets")["delegations"]["roles"].as_array_mut().unwrap().pop();
        fixed.publish(&["team", "targets"]);
        let case =
            Case::against(&honest).attacker(attacker.network()).honest(fixed.network()).get("claimed").sample(sample);
        case.form_only().refused("targets", "Malformed").advances(&["snapshot", "timestamp"])
    });
    let empty = [
        ("neither", json!({})),
        ("no paths", json!({"paths": []})),
        ("no prefixes", json!({"path_hash_prefixes": []})),
    ];
    let empty = empty.map(|(sample, members)| {
        let mut attacker = honest.fork();
        attacker.delegate("targets", &Delegation::with_members("thief", members));
        attacker.add_target("thief", "claimed", EVIL);
        attacker.publish(&["thief", "targets"]);
        Case::against(&attacker)
            .get("claimed")
            .sample(sample)
            .honest_may_be_refused()
            .refused("claimed", "NoSuchTarget")
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

fn unsigned_delegated() -> Vec<Case> {
    let honest = release(3);
    let samples = [
        ("no key", vec![]),
        ("the delegator's key", vec![TestKey::new("targets")]),
        ("the snapshot's key", vec![TestKey::new("snapshot")]),
    ];
    let cases = samples.map(|(sample, signers)| {
        let mut attacker = honest.fork();
        attacker.set_signers("team", &signers);
        attacker.add_target("team", "team/package", EVIL);
        attacker.publish(&["team"]);
        let case = Case::against(&honest)
            .attacker(attacker.network())
            .get("team/package")
            .sample(format!("signed with {sample}"));
        case.refused("team", "ThresholdNotMet").advances(&["snapshot", "timestamp"])
    });
    cases.into()
}
