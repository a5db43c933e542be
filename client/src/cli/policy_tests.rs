//! Tests of policies on the command line: which targets are refused, and how the result for each rule is explained and
//! reported.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::ExitStatus;
use super::tests::{Home, Ran, json};
use crate::test_repository::{key_object, keyid, signature};

/// Returns a home directory that trusts a repository. A policy of the repository requires a signature by the key
/// `release` for the package `x`. The evidence for `x` is signed with the key named `signer`.
fn home(signer: &str) -> Home {
    home_with(&evidence(signer))
}

/// Like [`home`], but `evidence` is the whole content of the evidence file.
fn home_with(evidence: &str) -> Home {
    let home = Home::new();
    let entry = |content: &str| json!({ "length": content.len(), "hashes": { "sha256": digest(content) } });
    let mut package = entry("1");
    package["custom"] = json!({ "lastmile": { "evidence": ["x.intoto.jsonl"] } });
    home.repository.set_member("targets", "targets", &json!({ "x": package, "x.intoto.jsonl": entry(evidence) }));
    home.repository.set_member("targets", "x-lastmile-policy", &policy("release", "signed"));
    home.publish();
    let name = format!("repository/targets/{}.x.intoto.jsonl", digest(evidence));
    std::fs::write(home.path(&name), evidence).unwrap();
    assert_eq!(home.trust("example").status, ExitStatus::Done);
    home
}

fn policy(signer: &str, rule: &str) -> serde_json::Value {
    json!({
        "version": 1, "signer": { signer: { "key": key_object(signer) } },
        "require": [{ "name": rule, "kind": "signature", "paths": ["x"], "by": [signer] }],
    })
}

fn evidence(signer: &str) -> String {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {}, "subject": [{ "name": "x", "digest": { "sha256": digest("1") } }],
    });
    let (kind, statement) = ("application/vnd.in-toto+json", statement.to_string());
    let message = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
    let signature = STANDARD.encode(signature(signer, message.as_bytes()));
    json!({ "payloadType": kind, "payload": STANDARD.encode(&statement), "signatures": [{ "sig": signature }] })
        .to_string()
}

fn digest(content: &str) -> String {
    hex::encode(Sha256::digest(content))
}

fn get(home: &Home, more: &[&str]) -> Ran {
    home.run(&[&["get", "x", "--output", &home.path("out")], more].concat())
}

fn local(home: &Home, name: &str, text: &str) -> String {
    std::fs::write(home.path(name), text).unwrap();
    home.path(name)
}

const BREAK_GLASS: &str =
    "version = 1\n[[break-glass]]\npaths = [\"x\"]\nreason = \"the key is lost\"\nuntil = 2030-02-01T00:00:00Z\n";

#[test]
fn get_reports_the_rules_that_hold_and_explain_shows_the_proofs() {
    let home = home("release");
    let ran = get(&home, &["--verbose"]);
    assert_eq!(ran.status, ExitStatus::Done, "{}", ran.stderr);
    assert_eq!(ran.stdout, format!("{}/x\n", home.path("out")));
    assert!(ran.stderr.contains("\n`x` satisfies signed (targets)\n"), "{}", ran.stderr);
    // The commands from here on use only stored files.
    std::fs::remove_dir_all(home.path("repository")).unwrap();
    let id = &keyid("release")[..8];
    let ran = home.run(&["verify", "--explain", "x"]);
    let expected = format!(
        "x: all rules are satisfied\nrule `signed` of role `targets` (signature): satisfied\n  expected: a signature by release\n  \
         proof: signed by release, key {id}; signing time: unknown; log: none; evidence: item 1 of x.intoto.jsonl\n"
    );
    assert_eq!((ran.status, ran.stdout, ran.stderr.as_str()), (ExitStatus::Done, expected, ""));
    let file = home.path("out/x");
    let ran = home.run(&["verify", &file, "--explain", "x"]);
    assert!(ran.stdout.starts_with(&format!("{file}: verified as x\nx: all rules are satisfied\n")), "{}", ran.stdout);
    assert_eq!(home.run(&["verify", &file, "--as", "x"]).stdout, format!("{file}: verified as x\n"));
}

#[test]
fn a_target_that_is_allowed_as_an_upgrade_does_not_count_as_satisfying_all_rules() {
    let home = Home::new();
    let mut newer = policy("release", "scanned");
    newer["upgrade"] = json!(["x"]);
    newer["require"][0]["kind"] = json!("new-kind");
    home.repository.set_member("targets", "x-lastmile-policy", &newer);
    home.publish();
    assert_eq!(home.trust("example").status, ExitStatus::Done);
    assert_eq!(get(&home, &[]).status, ExitStatus::Done);
    let ran = home.run(&["verify", "--explain", "x"]);
    let head = "x: allowed as an upgrade, although some rules need a newer lastmile\n";
    assert!(ran.stdout.starts_with(head), "{}", ran.stdout);
}

#[test]
fn a_verdict_has_a_json_document() {
    let home = home("release");
    let document = json(&get(&home, &["--json"]));
    let proof = json!({
        "evidence": "x.intoto.jsonl", "number": 1, "signer": "release", "signed_by": { "keyid": keyid("release") },
        "statement": "https://sigstore.dev/cosign/sign/v1", "builder": null, "logs": [], "times": [],
    });
    let rule = json!({
        "role": "targets", "rule": "signed", "kind": "signature", "wanted": "a signature by release",
        "outcome": "satisfied", "found": [], "proofs": [proof],
    });
    let expected = json!({ "satisfied": true, "exception": null, "rules": [rule] });
    assert_eq!(document["targets"][0]["policy"], expected);
    assert_eq!(json(&home.run(&["verify", "--explain", "x", "--json"]))["policy"], expected);
    let file = home.path("out/x");
    let document = json(&home.run(&["verify", &file, "--as", "x", "--json"]));
    assert_eq!((&document["policy"], &document["verified"]), (&expected, &json!(true)));
}

#[test]
fn c_24_a_refused_package_has_exit_status_5_and_one_hint() {
    let home = home("somebody");
    let ran = get(&home, &[]);
    assert_eq!((ran.status, ran.stdout.as_str()), (ExitStatus::Refused, ""));
    assert!(
        ran.stderr.contains(
            "caused by: `x` does not satisfy the rule `signed` of role `targets`: expected a signature by release"
        ),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.ends_with("hint: run `lastmile verify --explain x` to see which rules are not satisfied, and why\n")
    );
    assert!(!std::path::Path::new(&home.path("out")).exists());
    let document = json(&get(&home, &["--json"]));
    let error = &document["targets"][0]["error"];
    assert_eq!((&error["kind"], &error["exit_code"]), (&json!("policy"), &json!(5)), "{document}");
    std::fs::remove_dir_all(home.path("repository")).unwrap();
    let ran = home.run(&["verify", "--explain", "x"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (ExitStatus::Refused, ""));
    let start = "x: refused\nrule `signed` of role `targets` (signature): not satisfied\n  expected: a signature by release\n  found: item 1 of x.intoto.jsonl: ";
    assert!(ran.stdout.starts_with(start), "{}", ran.stdout);
    let document = json(&home.run(&["verify", "--explain", "x", "--json"]));
    assert_eq!(document["policy"]["satisfied"], json!(false));
    assert_eq!(document["policy"]["rules"][0]["outcome"], json!("refused"));
    // `verify --as` refuses a file that matches the metadata of `x`, because the policy is not satisfied.
    let file = home.path("file");
    std::fs::write(&file, "1").unwrap();
    let ran = home.run(&["verify", &file, "--as", "x"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (ExitStatus::Refused, ""));
}

#[test]
fn c_8_evidence_that_is_too_long_has_exit_status_5() {
    let home = home_with(&" ".repeat((4 << 20) + 1));
    let ran = get(&home, &[]);
    assert_eq!(ran.status, ExitStatus::Refused, "{}", ran.stderr);
    assert!(ran.stderr.contains("the evidence has 4194305 bytes, expected at most 4194304"), "{}", ran.stderr);
    let policy = local(&home, "local.toml", BREAK_GLASS);
    assert_eq!(get(&home, &["--policy", &policy]).status, ExitStatus::Done);
}

#[test]
fn without_stored_evidence_verify_names_the_command_that_fetches_it() {
    let home = home("release");
    assert_eq!(home.run(&["refresh"]).status, ExitStatus::Done);
    let ran = home.run(&["verify", "--explain", "x"]);
    assert_eq!(ran.status, ExitStatus::Failed);
    let problem = "`x.intoto.jsonl` is needed to evaluate the policies for a target, but is not stored";
    assert!(ran.stderr.contains(problem), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: run `lastmile get TARGET`"), "{}", ran.stderr);
}

#[test]
fn an_exception_of_a_local_policy_is_a_warning() {
    let home = home("somebody");
    let file = local(&home, "local.toml", BREAK_GLASS);
    let ran = get(&home, &["--policy", &file]);
    assert_eq!(ran.status, ExitStatus::Done, "{}", ran.stderr);
    let warning = "warning: `x` does not satisfy a policy, but an exception in the local policy allows it; \
                   reason: the key is lost\n";
    assert_eq!(ran.stderr, warning);
    let document = json(&get(&home, &["--policy", &file, "--json"]));
    let policy = &document["targets"][0]["policy"];
    assert_eq!((&policy["satisfied"], &policy["exception"]), (&json!(false), &json!("the key is lost")));
    let ran = home.run(&["verify", "--explain", "x", "--policy", &file]);
    assert_eq!(ran.status, ExitStatus::Done);
    let start = "x: allowed only by an exception in the local policy; reason: the key is lost\n";
    assert!(ran.stdout.starts_with(start), "{}", ran.stdout);
    assert_eq!(get(&home, &[]).status, ExitStatus::Refused);
}

#[test]
fn a_local_policy_can_be_set_for_a_repository() {
    let home = home("release");
    let file = local(&home, "local.json", &policy("security", "audited").to_string());
    assert_eq!(home.run(&["trust", "set", "example", "--policy", &file]).status, ExitStatus::Done);
    let listed = json(&home.run(&["trust", "list", "--json"]));
    assert_eq!(listed["repositories"][0]["policy"], json!(file));
    let ran = get(&home, &[]);
    assert_eq!(ran.status, ExitStatus::Refused);
    assert!(ran.stderr.contains("the rule `audited` of the local policy"), "{}", ran.stderr);
    // A policy given with `--policy` replaces the policy in the settings for one run.
    let other = local(&home, "other.toml", "version = 1\n");
    assert_eq!(get(&home, &["--policy", &other]).status, ExitStatus::Done);
    // If the policy file is missing or unusable, the command fails; the policy is never ignored.
    for text in [Some("version = 7"), Some("version = "), None] {
        match text {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        assert_eq!(get(&home, &[]).status, ExitStatus::Failed, "{text:?}");
    }
    assert_eq!(home.run(&["trust", "set", "example", "--no-policy"]).status, ExitStatus::Done);
    assert_eq!(get(&home, &[]).status, ExitStatus::Done);
    assert_eq!(home.run(&["trust", "set", "example", "--policy", &file]).status, ExitStatus::Failed);
}

#[test]
fn verify_checks_several_files_below_a_folder() {
    let home = home("release");
    get(&home, &[]);
    let out = home.path("out");
    let good = home.path("out/x");
    let evidence = home.path("out/x.intoto.jsonl");
    std::fs::write(&evidence, "changed").unwrap();
    let unknown = home.path("out/none");
    let ran = home.run(&["verify", &good, &good, "--below", &out]);
    assert_eq!((ran.status, ran.stdout), (ExitStatus::Done, format!("{good}: verified as x\n").repeat(2)));
    // Each file is verified separately, and the error for the last file that failed determines the exit status.
    let all = ["verify", &unknown, &good, &evidence, "--below", &out];
    let ran = home.run(&all);
    assert_eq!((ran.status, ran.stdout), (ExitStatus::Refused, format!("{good}: verified as x\n")));
    assert!(ran.stderr.contains("no trusted role lists the target `none`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("target `x.intoto.jsonl`"), "{}", ran.stderr);
    let document = json(&home.run(&[&all[..], &["--json"]].concat()));
    let verified: Vec<_> = document["targets"].as_array().unwrap().iter().map(|target| &target["verified"]).collect();
    assert_eq!(verified, [&json!(false), &json!(true), &json!(false)], "{document}");
    assert_eq!(document["targets"][0]["error"]["kind"], json!("no-such-target"));
    assert_eq!(document["targets"][1]["policy"]["satisfied"], json!(true));
    assert_eq!(document["targets"][2]["error"]["exit_code"], json!(5));
    // `verify --below` also enforces the policy.
    let policy = local(&home, "local.json", &policy("somebody", "audited").to_string());
    let ran = home.run(&["verify", &good, "--below", &out, "--policy", &policy]);
    assert_eq!(ran.status, ExitStatus::Refused, "{}", ran.stderr);
}

#[test]
fn verify_needs_a_file_or_explains_a_target() {
    let home = home("release");
    for args in [
        &["verify"][..],
        &["verify", "file"],
        &["verify", "--as", "x"],
        &["verify", "f", "--as", "x", "--explain", "x"],
        &["verify", "--below", "."],
        &["verify", "f", "g", "--as", "x"],
        &["verify", "elsewhere/x", "--below", "out"],
    ] {
        assert_eq!(home.run(args).status, ExitStatus::Usage, "{args:?}");
    }
    get(&home, &[]);
    assert_eq!(home.run(&["verify", "--explain", "none"]).status, ExitStatus::NoSuchName);
    let ran = home.run(&["verify", "--explain", "x.intoto.jsonl"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (ExitStatus::Done, "x.intoto.jsonl: no rule applies\n"));
}
