//! Bad input in the names of roles and targets, and in path patterns.

use lastmile_testkit::Delegation;
use serde_json::json;

use crate::forgery::{before, claimed, newer, republish};
use crate::{Case, EVIL, GOOD, Scenario, release};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "2.2-odd-role-names",
        &["2.2-odd-role-names"],
        "harmless: role names contain spaces, plus signs or percent signs",
        "a bug in another implementation",
        legal_role_names,
    ),
    Scenario::new(
        "S-2.3-8",
        &["S-2.3-8"],
        "a package is requested or listed under another Unicode normalization form of its signed name",
        "review of the source code of other implementations",
        unicode_forms,
    ),
    Scenario::new(
        "CVE-2026-24137",
        &["CVE-2026-24137", "CVE-2021-41149", "CVE-2026-6968"],
        "the name of a validly signed package leads outside the output folder",
        "CVE-2026-24137, CVE-2021-41149, CVE-2026-6968",
        names_that_lead_out,
    ),
    Scenario::new(
        "S-2.4-3",
        &["S-2.4-3", "4.10-joined-urls"],
        "harmless: the name of a package looks like a URL, a query or a fragment",
        "review of the source code of other implementations",
        names_that_look_like_urls,
    ),
    Scenario::new(
        "4.3-role-names",
        &["4.3-role-names", "CVE-2021-41131", "CVE-2021-41150", "2.4-359", "4.3-case"],
        "harmless: names of delegated roles are unsafe in paths and URLs, so clients must encode them",
        "CVE-2021-41131, GHSA-wjw6-2cqr-j4qr, CVE-2021-41150",
        odd_role_names,
    ),
    Scenario::new(
        "4.3-taken-names",
        &["4.3-taken-names"],
        "a delegated role has the name of a top-level role, or an empty name",
        "bad input: names",
        taken_names,
    ),
    Scenario::new(
        "4.3-target-names",
        &["4.3-target-names"],
        "the name of a package is unsafe as a file name: empty segments, device names, trailing dots",
        "bad input: names",
        odd_target_names,
    ),
    Scenario::new(
        "4.3-long-names",
        &["4.3-long-names"],
        "harmless: the name of a role has 255 to 4,096 bytes",
        "bad input: names",
        long_names,
    ),
    Scenario::new(
        "4.7-slash",
        &["4.7-slash", "GHSA-qr6c-8mjc-hpp5", "S-2.3-4", "2.4-174"],
        "a role lists a package that its path pattern does not match, for example a package in a deeper folder",
        "GHSA-qr6c-8mjc-hpp5; specification 4.5",
        patterns_that_match_less,
    ),
    Scenario::new(
        "4.7-matching",
        &["4.7-matching"],
        "harmless: path patterns match as the specification says",
        "specification 4.5",
        patterns_that_match,
    ),
    Scenario::new(
        "4.7-linear",
        &["4.7-linear", "S-2.4-4"],
        "a path pattern with thousands of wildcards is matched against a very long name",
        "CVE-2026-26996, GHSA-7r86-cg39-jmmj",
        many_stars,
    ),
];

fn legal_role_names() -> Vec<Case> {
    let cases = ["a b", "a+b", "a%b", "a%2Fb", "ä", "a&b=c#d?e"].map(|name| {
        let mut honest = release(1);
        honest.delegate("targets", &Delegation::paths(name, &["odd/*"]));
        honest.add_target(name, "odd/package", GOOD);
        honest.publish(&[name, "targets"]);
        Case::against(&honest).get("odd/package").sample(format!("`{name}`"))
    });
    cases.into()
}

fn unicode_forms() -> Vec<Case> {
    let composed = "caf\u{e9}";
    let decomposed = "cafe\u{301}";
    let mut honest = release(1);
    honest.add_target("targets", composed, GOOD);
    honest.publish(&["targets"]);
    // The file contains the name in one normalization form, but the signature covers the other form.
    let mut attacker = newer(&honest);
    let text = String::from_utf8(attacker.written("targets")).unwrap().replace(composed, decomposed);
    republish(&mut attacker, "targets", text.into_bytes());
    vec![
        Case::against(&honest).get(composed).sample("requested as listed"),
        Case::against(&honest)
            .get(decomposed)
            .sample("requested in the other form")
            .refused(decomposed, "NoSuchTarget"),
        Case::against(&honest)
            .attacker(attacker.network())
            .sample("listed in a Unicode form that differs from the signed one")
            .refused("targets", "ThresholdNotMet")
            .advances(before("targets")),
    ]
}

fn names_that_lead_out() -> Vec<Case> {
    let refused = ["../x", "../../../x", "a/../../x", "/tmp/x", "a/..", "..", "a/./x", "."];
    let cases = refused.into_iter().map(|name| {
        let mut attacker = release(2);
        attacker.add_target("targets", name, EVIL);
        attacker.publish(&["targets"]);
        // Other clients may store the package under an encoded name instead of refusing it, so run in process only.
        Case::against(&attacker).get(name).sample(format!("`{name}`")).refused("name", "Name").in_process_only()
    });
    cases.collect()
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
        let mut attacker = honest.fork();
        attacker.delegate("targets", &Delegation::paths("thief", &["odd/*"]));
        attacker.signed("targets")["delegations"]["roles"][1]["name"] = json!(name);
        attacker.publish(&["targets"]);
        let case = Case::against(&honest).attacker(attacker.network()).get("odd/package").sample(format!("`{name}`"));
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
        // Other clients may store the package under an encoded name instead of refusing it, so run in process only.
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
    // Some clients give brackets, braces and double stars a special meaning, so they find the packages under these
    // patterns. The packages have the good content, so that the client is not harmed.
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
