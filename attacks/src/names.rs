//! Bad input: names of roles and targets, path patterns, files of targets.

use lastmile_testkit::{Delegation, TARGETS, hash};
use serde_json::json;

use crate::forgery::before;
use crate::{Case, EVIL, GOOD, Scenario, release};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "4.3-role-names",
        &["4.3-role-names", "CVE-2021-41131", "CVE-2021-41150", "2.4-359", "4.3-case"],
        "none: delegated roles with names that lead elsewhere on disks and in URLs are kept under encoded names",
        "CVE-2021-41131, GHSA-wjw6-2cqr-j4qr, CVE-2021-41150",
        odd_role_names,
    ),
    Scenario::new(
        "4.3-taken-names",
        &["4.3-taken-names"],
        "a delegated role is called like a role of the top level, or like nothing",
        "classes of bad input: names",
        taken_names,
    ),
    Scenario::new(
        "4.3-target-names",
        &["4.3-target-names"],
        "names of targets that no system should write as they are: empty parts, devices, trailing dots",
        "classes of bad input: names",
        odd_target_names,
    ),
    Scenario::new(
        "4.3-long-names",
        &["4.3-long-names"],
        "a role whose name has 255 to 4,096 bytes",
        "classes of bad input: names",
        long_names,
    ),
    Scenario::new(
        "4.7-slash",
        &["4.7-slash", "GHSA-qr6c-8mjc-hpp5", "S-2.3-4", "2.4-174"],
        "a pattern offers what lies a folder deeper, or what it would match as another kind of pattern",
        "GHSA-qr6c-8mjc-hpp5; pull request 174; specification 4.5",
        patterns_that_match_less,
    ),
    Scenario::new(
        "4.7-matching",
        &["4.7-matching"],
        "none: what patterns do match",
        "specification 4.5",
        patterns_that_match,
    ),
    Scenario::new(
        "4.7-linear",
        &["4.7-linear", "S-2.4-4"],
        "many stars against a long name",
        "CVE-2026-26996, GHSA-7r86-cg39-jmmj",
        many_stars,
    ),
    Scenario::new(
        "4.9-hashes",
        &["4.9-hashes"],
        "one of two known hashes of a package is wrong",
        "classes of bad input: files of targets",
        one_hash_of_two,
    ),
    Scenario::new(
        "4.9-sha512",
        &["4.9-sha512"],
        "none: sha512 alone, and unknown hashes beside a known one",
        "classes of bad input: files of targets",
        other_hashes,
    ),
];

fn odd_role_names() -> Vec<Case> {
    let names = [
        "../../../x",
        "..",
        ".",
        "/abs",
        "//host/x",
        "a/b",
        "\\\\host\\share",
        "C:\\x",
        "%2e%2e/x",
        "..%2f",
        "a%00b",
        "~root",
        "-rf",
        "$(x)",
        "http://evil/x",
        "?x",
        "#x",
        ";x",
        "CON",
        "NUL",
        "a:b",
        "Team",
        "TEAM",
        "x.",
        "1.root",
        "root.json",
        "\u{202e}x",
        "\u{1b}[31m",
    ];
    let cases = names.map(|name| {
        let mut honest = release(1);
        honest.delegate("targets", &Delegation::paths(name, &["odd/*"]));
        honest.add_target(name, "odd/package", GOOD);
        honest.publish(&[name, "targets"]);
        Case::against(&honest).packages(&["package"]).get("odd/package").sample(name.escape_debug().to_string())
    });
    cases.into()
}

fn taken_names() -> Vec<Case> {
    let honest = release(2);
    let cases = ["root", "timestamp", "snapshot", "targets", ""].map(|name| {
        let mut thief = honest.fork();
        thief.delegate("targets", &Delegation::paths("thief", &["odd/*"]));
        thief.signed("targets")["delegations"]["roles"][1]["name"] = json!(name);
        thief.publish(&["targets"]);
        let case = Case::against(&honest).attacker(thief.network()).get("odd/package").sample(format!("`{name}`"));
        case.form_only().refused("targets", "Malformed").advances(before("targets"))
    });
    cases.into()
}

fn odd_target_names() -> Vec<Case> {
    let names = ["a//b", "a/", "CON", "con.txt", "a/NUL", "AUX.json", "x.", "x ", "C:\\x", "a\\b", "a:b", "a\u{7}b"];
    let cases = names.map(|name| {
        let mut honest = release(1);
        honest.add_target("targets", name, EVIL);
        honest.publish(&["targets"]);
        // Others may keep it under an encoded name.
        Case::against(&honest)
            .get(name)
            .sample(name.escape_debug().to_string())
            .refused("name", "Name")
            .in_process_only()
    });
    cases.into()
}

fn long_names() -> Vec<Case> {
    let cases = [255, 256, 4_096].map(|length| {
        let name = "n".repeat(length);
        let mut honest = release(1);
        honest.delegate("targets", &Delegation::paths(&name, &["odd/*"]));
        honest.add_target(&name, "odd/package", GOOD);
        honest.publish(&[&name, "targets"]);
        Case::against(&honest)
            .packages(&["package"])
            .get("odd/package")
            .sample(format!("{length} bytes"))
            .in_process_only()
    });
    cases.into()
}

fn claimed(pattern: &str, path: &str, content: &[u8]) -> Case {
    let mut honest = release(1);
    honest.delegate("targets", &Delegation::paths("role", &[pattern]));
    honest.add_target("role", path, content);
    honest.publish(&["role", "targets"]);
    Case::against(&honest).packages(&["package"]).get(path).sample(format!("`{pattern}` and `{path}`"))
}

fn patterns_that_match_less() -> Vec<Case> {
    let samples = [
        ("foo/*", "foo/a/b"),
        ("*", "a/b"),
        ("**", "a/b"),
        ("foo?a", "foo/a"),
        ("[abc]", "a"),
        ("[!a]", "b"),
        ("{a,b}", "a"),
        ("\\*", "x"),
        ("!x", "y"),
        ("#x", "x"),
        ("/x", "x"),
        ("x/", "x"),
        ("", "x"),
        ("x?", "x"),
    ];
    // Other readers of the specification take brackets, braces and double stars for more than themselves.
    let is_open = |pattern: &str| pattern.starts_with(['[', '{']) || pattern == "**";
    let cases = samples.map(|(pattern, path)| {
        let content = if is_open(pattern) { GOOD } else { EVIL };
        claimed(pattern, path, content).refused(path, "NoSuchTarget")
    });
    cases.into()
}

fn patterns_that_match() -> Vec<Case> {
    let samples =
        [("*", ".hidden"), ("foo/*", "foo/"), ("?", "é"), ("a*b*c", "aXbYc"), ("[a]", "[a]"), ("{a,b}", "{a,b}")];
    let kept = samples.into_iter().filter(|(_, path)| !path.ends_with('/'));
    kept.map(|(pattern, path)| claimed(pattern, path, GOOD)).collect()
}

fn many_stars() -> Vec<Case> {
    let pattern = format!("{}b", "*a".repeat(2_000));
    let path = "a".repeat(10_000);
    let mut honest = release(1);
    honest.delegate("targets", &Delegation::paths("role", &[&pattern]));
    honest.publish(&["role", "targets"]);
    vec![Case::against(&honest).get(path.clone()).refused(path, "NoSuchTarget")]
}

fn one_hash_of_two() -> Vec<Case> {
    let cases = ["sha256", "sha512"].map(|wrong| {
        let mut honest = release(1);
        honest.add_target("targets", "claimed", EVIL);
        let hashes = &mut honest.signed("targets")["targets"]["claimed"]["hashes"];
        hashes["sha512"] = json!(sha512(EVIL));
        let other = if wrong == "sha256" { hash(GOOD) } else { sha512(GOOD) };
        hashes[wrong] = json!(other);
        honest.publish(&["targets"]);
        for name in [hash(EVIL), hash(GOOD), sha512(EVIL), sha512(GOOD)] {
            honest.network().put(&format!("{TARGETS}{name}.claimed"), EVIL.to_vec());
        }
        Case::against(&honest).get("claimed").sample(format!("{wrong} is wrong")).refused("claimed", "Hash")
    });
    cases.into()
}

fn other_hashes() -> Vec<Case> {
    let samples = [
        ("sha512 alone", json!({"sha512": sha512(GOOD)})),
        ("an unknown one beside", json!({"sha256": hash(GOOD), "sha3-256": "00", "blake2b-256": ""})),
    ];
    let cases = samples.map(|(sample, hashes)| {
        let mut honest = release(1);
        honest.add_target("targets", "claimed", GOOD);
        honest.signed("targets")["targets"]["claimed"]["hashes"] = hashes;
        honest.publish(&["targets"]);
        for name in [hash(GOOD), sha512(GOOD)] {
            honest.network().put(&format!("{TARGETS}{name}.claimed"), GOOD.to_vec());
        }
        Case::against(&honest).packages(&["package"]).get("claimed").sample(sample).in_process_only()
    });
    cases.into()
}

fn sha512(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha512};
    hex::encode(Sha512::digest(bytes))
}
