//! Tests of the check that prevents the publication of packages that clients would refuse.

use lastmile_cli_support::ExitStatus;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Maintainer, envelope, policy, signature, toml_key};

#[test]
fn c_24_a_package_without_evidence_is_not_published() {
    let maintainer = Maintainer::new();
    maintainer.set("targets", &policy("signed", "app-*", &[1], 1)).text(ExitStatus::Done);
    let refused = maintainer.add("app-1", "1", &[]).text(ExitStatus::Refused);
    assert!(
        refused
            .contains("not published: clients would refuse 1 package:\n  `app-1` does not satisfy the rule `signed`")
    );
    assert!(refused.contains("expected a signature by key-1, found no evidence"), "{refused}");
    assert!(
        refused.contains("hint: publish each package with its evidence: `lastmile-repo add FILE --evidence"),
        "{refused}"
    );
    let json = maintainer.run(&["add", &maintainer.file("app-1", "1"), "--json"]).json();
    assert_eq!(json.pointer("/error/kind").or_else(|| json.pointer("/kind")), Some(&Value::from("draft")), "{json}");
    // Packages with other paths still need no evidence.
    maintainer.add("lib-1", "1", &[]).text(ExitStatus::Done);
    maintainer.add("app-1", "1", &[&signature(1, "1")]).text(ExitStatus::Done);
}

#[test]
fn evidence_of_another_key_or_package_does_not_count() {
    let maintainer = Maintainer::new();
    maintainer.set("targets", &policy("signed", "app-*", &[1], 1)).text(ExitStatus::Done);
    let refused = maintainer.add("app-1", "1", &[&signature(2, "1")]).text(ExitStatus::Refused);
    assert!(refused.contains("item 1 of app-1.intoto.jsonl"), "{refused}");
    let refused = maintainer.add("app-1", "1", &[&signature(1, "2")]).text(ExitStatus::Refused);
    assert!(refused.contains("no subject has the sha256 of the file"), "{refused}");
    assert!(maintainer.signed("targets").get("targets").unwrap().as_object().unwrap().is_empty());
}

#[test]
fn c_20_an_attestation_of_another_type_is_no_signature() {
    let maintainer = Maintainer::new();
    maintainer.set("targets", &policy("signed", "app-*", &[1], 1)).text(ExitStatus::Done);
    let scan = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "app", "digest": { "sha256": hex::encode(Sha256::digest("1")) } }],
        "predicateType": "https://in-toto.io/attestation/vulns/v0.2",
        "predicate": { "result": "failed" },
    });
    maintainer.add("app-1", "1", &[&envelope(1, &scan)]).text(ExitStatus::Refused);
    // A rule of the kind `attestation` accepts an envelope with this type of attestation, but only if the attestation
    // contains the required result.
    let demand = policy("scanned", "app-*", &[1], 1).replace(
        "kind = \"signature\"",
        "kind = \"attestation\"\ntype = [\"https://in-toto.io/attestation/vulns/v0.2\"]",
    ) + "where = { \"/result\" = [\"passed\"] }\n";
    maintainer.set("targets", &demand).text(ExitStatus::Done);
    let refused = maintainer.add("app-1", "1", &[&envelope(1, &scan)]).text(ExitStatus::Refused);
    assert!(refused.contains("at /result"), "{refused}");
    let mut passed = scan;
    *passed.pointer_mut("/predicate/result").unwrap() = "passed".into();
    maintainer.add("app-1", "1", &[&envelope(1, &passed)]).text(ExitStatus::Done);
}

#[test]
fn c_25_one_key_counts_once_for_a_threshold() {
    let maintainer = Maintainer::new();
    maintainer.set("targets", &policy("two", "app-*", &[1, 2], 2)).text(ExitStatus::Done);
    let twice = [signature(1, "1"), signature(1, "1") + &signature(1, "1")];
    let refused = maintainer.add("app-1", "1", &[&twice[0], &signature(1, "1").replace("  ", "   ")]);
    assert!(refused.stderr.contains("1 of the 2 required signers"), "{refused:?}");
    maintainer.add("app-1", "1", &[&signature(1, "1"), &signature(2, "1")]).text(ExitStatus::Done);
}

#[test]
fn provenance_of_the_demanded_builder_and_source_is_accepted() {
    let maintainer = Maintainer::new();
    let policy = format!(
        "version = 1\n[signer.builder]\nkey = {}\n[builder.ci]\nid = [\"https://ci.example.com/builder@v1\"]\nby = [\"builder\"]\n\
         level = 2\n[[require]]\nname = \"built\"\nkind = \"provenance\"\npaths = [\"app-*\"]\nbuilder = [\"ci\"]\nlevel = 2\n\
         source = [\"git+https://example.com/acme/app\"]\n",
        toml_key(1)
    );
    maintainer.set("targets", &policy).text(ExitStatus::Done);
    let provenance = |builder: &str, source: &str| {
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": "app", "digest": { "sha256": hex::encode(Sha256::digest("1")) } }],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": "https://actions.github.io/buildtypes/workflow/v1",
                    "externalParameters": { "workflow": { "ref": "refs/tags/v1", "repository": source, "path": "ci.yml" } },
                    "resolvedDependencies": [{ "uri": format!("git+{source}@refs/tags/v1"), "digest": { "gitCommit": "a".repeat(40) } }],
                },
                "runDetails": { "builder": { "id": builder } },
            },
        })
    };
    let ours = "https://example.com/acme/app";
    for (builder, source) in [
        ("https://ci.example.com/builder@v10", ours),
        ("https://ci.example.com/builder@v1", "https://example.com/acme/app-evil"),
    ] {
        let refused = maintainer.add("app-1", "1", &[&envelope(1, &provenance(builder, source))]);
        assert_eq!(refused.status, ExitStatus::Refused, "{refused:?}");
    }
    let good = envelope(1, &provenance("https://ci.example.com/builder@v1", ours));
    maintainer.add("app-1", "1", &[&good]).text(ExitStatus::Done);
}

#[test]
fn a_tighter_policy_lists_the_packages_that_would_fail() {
    let maintainer = Maintainer::new();
    maintainer.add("app-1", "1", &[&signature(1, "1")]).text(ExitStatus::Done);
    maintainer.add("app-2", "2", &[]).text(ExitStatus::Done);
    let file = maintainer.file("policy.toml", &policy("signed", "app-*", &[1], 1));
    let refused = maintainer.run(&["policy", "set", &file]).text(ExitStatus::Refused);
    assert!(
        refused.contains("would refuse 1 package that can be installed now:\n  `app-2` does not satisfy"),
        "{refused}"
    );
    assert!(refused.contains("with `--even-so`") && !refused.contains("`app-1`"), "{refused}");
    assert!(maintainer.signed("targets").get("x-lastmile-policy").is_none());
    let published = maintainer.run(&["policy", "set", &file, "--even-so", "--json"]);
    assert_eq!(published.status, ExitStatus::Done, "{published:?}");
    assert_eq!(published.json().pointer("/refused_from_now_on/0/path"), Some(&Value::from("app-2")));
    // Later publications do not check the unchanged package `app-2` again, so another package can be added.
    maintainer.add("lib-1", "1", &[]).text(ExitStatus::Done);
    let tested = maintainer.run(&["policy", "test"]).text(ExitStatus::Findings);
    assert!(
        tested.starts_with("BAD `app-2`: the rule `signed` of role `targets`: expected a signature by key-1"),
        "{tested}"
    );
    maintainer.done(&["policy", "test", "app-1"]);
    maintainer.run(&["policy", "test", "app-3"]).text(ExitStatus::NoSuchName);
    maintainer.add("app-2", "2", &[&signature(1, "2")]).text(ExitStatus::Done);
    let tested = maintainer.done(&["policy", "test"]);
    assert!(tested.contains("ok  clients accept 3 packages"), "{tested}");
}

#[test]
fn c_43_a_delegated_role_adds_demands_and_cannot_drop_those_above_it() {
    let maintainer = Maintainer::new();
    maintainer.delegate("team", &["--paths", "team/*"]);
    maintainer.set("targets", &policy("release", "team/*", &[1], 1)).text(ExitStatus::Done);
    // The policy of the delegated role has a rule and a signer with the same names as in the policy of `targets`. They
    // do not replace the rule and the signer of `targets`.
    let own = policy("release", "team/*", &[2], 1).replace("key-2", "key-1");
    maintainer.set("team", &own).text(ExitStatus::Done);
    for evidence in [signature(1, "1"), signature(2, "1")] {
        let refused = maintainer.add_to("team", "team/app", "1", &[&evidence]);
        assert_eq!(refused.status, ExitStatus::Refused, "{refused:?}");
    }
    maintainer.add_to("team", "team/app", "1", &[&signature(1, "1"), &signature(2, "1")]).text(ExitStatus::Done);
    let explained = maintainer.done(&["policy", "explain", "team/app"]);
    assert!(explained.contains("ok  rule `release` of role `targets` requires a signature by key-1\n"), "{explained}");
    assert!(explained.contains("ok  rule `release` of role `team` requires a signature by key-1\n"), "{explained}");
    let json = maintainer.run(&["policy", "explain", "team/app", "--json"]).json();
    assert_eq!(json.pointer("/rules/1/outcome"), Some(&Value::from("satisfied")));
    assert_eq!(json.pointer("/rules/1/proofs/0/evidence"), Some(&Value::from("team/app.intoto.jsonl")));
}

#[test]
fn c_43_the_listing_role_must_define_the_signers_that_a_parent_demands() {
    let maintainer = Maintainer::new();
    maintainer.delegate("team", &["--paths", "team/*"]);
    let hole = policy("project", "team/*", &[1], 1).replace("by = [\"key-1\"]", "by = [\"@release\"]");
    maintainer.set("targets", &hole).text(ExitStatus::Done);
    let refused = maintainer.add_to("team", "team/app", "1", &[&signature(2, "1")]).text(ExitStatus::Refused);
    assert!(refused.contains("no signer @release in the policy of the role that lists the package"), "{refused}");
    let own = policy("own", "none/*", &[2], 1).replace("key-2", "release");
    maintainer.set("team", &own).text(ExitStatus::Done);
    maintainer.add_to("team", "team/app", "1", &[&signature(2, "1")]).text(ExitStatus::Done);
    // Without the policy of `team`, which defines the signer, the package no longer satisfies the rule of `targets`.
    let refused = maintainer.run(&["policy", "remove", "--role", "team"]).text(ExitStatus::Refused);
    assert!(refused.contains("`team/app` does not satisfy the rule `project` of role `targets`"), "{refused}");
}

#[test]
fn c_43_a_bin_of_a_role_with_a_policy_is_covered_by_it() {
    let maintainer = Maintainer::new();
    maintainer.done(&["bins", "--bit-length", "2"]);
    maintainer.set("targets", &policy("signed", "app-*", &[1], 1)).text(ExitStatus::Done);
    maintainer.add("app-1", "1", &[]).text(ExitStatus::Refused);
    maintainer.add("app-1", "1", &[&signature(1, "1")]).text(ExitStatus::Done);
}

#[test]
fn evidence_of_a_published_package_cannot_be_removed_or_replaced_alone() {
    let maintainer = Maintainer::new();
    maintainer.set("targets", &policy("signed", "app-*", &[1], 1)).text(ExitStatus::Done);
    maintainer.add("app-1", "1", &[&signature(1, "1")]).text(ExitStatus::Done);
    let refused = maintainer.run(&["remove", "app-1.intoto.jsonl"]).text(ExitStatus::Refused);
    assert!(refused.contains("the package names this evidence, but no trusted role lists it"), "{refused}");
    let other = maintainer.file("other", &signature(2, "1"));
    let refused = maintainer.run(&["add", &other, "--name", "app-1.intoto.jsonl", "--replace"]);
    assert_eq!(refused.status, ExitStatus::Refused, "{refused:?}");
    let refused = maintainer.run(&["add", &maintainer.file("app-1", "1"), "--no-custom"]);
    assert_eq!(refused.status, ExitStatus::Refused, "{refused:?}");
    maintainer.done(&["remove", "app-1"]);
}

#[test]
fn a_changed_delegation_cannot_lead_to_a_package_that_a_policy_refuses() {
    let maintainer = Maintainer::new();
    maintainer.delegate("old", &["--paths", "app-*"]);
    maintainer.add_to("old", "app-1", "1", &[]).text(ExitStatus::Done);
    let strict = maintainer.file("policy.toml", &policy("signed", "app-*", &[1], 1));
    maintainer.done(&["policy", "set", &strict, "--role", "old", "--even-so"]);
    maintainer.delegate("new", &["--paths", "app-*"]);
    maintainer.done(&["set-delegation", "new", "--before", "old"]);
    maintainer.add_to("new", "app-1", "1", &[]).text(ExitStatus::Done);
    // Without the delegation to `new`, clients would find the package in `old`, which lacks evidence.
    let refused = maintainer.run(&["undelegate", "new"]).text(ExitStatus::Refused);
    assert!(refused.contains("`app-1` does not satisfy the rule `signed` of role `old`"), "{refused}");
    let refused = maintainer.run(&["set-delegation", "new", "--after", "old"]).text(ExitStatus::Refused);
    assert!(refused.contains("`app-1` does not satisfy the rule `signed` of role `old`"), "{refused}");
    maintainer.run(&["remove", "app-1", "--role", "new"]).text(ExitStatus::Refused);
    let published = maintainer.done(&["undelegate", "new", "--even-so"]);
    assert!(published.contains("warning: clients refuse `app-1` from now on"), "{published}");
}

#[test]
fn missing_and_wrong_files_of_evidence_are_refused() {
    let maintainer = Maintainer::new();
    maintainer.add("app-1", "1", &[&signature(1, "1")]).text(ExitStatus::Done);
    let files = walkdir::WalkDir::new(maintainer.path("repository/targets")).into_iter().map(Result::unwrap);
    let file = files.into_iter().find(|entry| entry.file_name().to_str().unwrap().ends_with(".jsonl")).unwrap();
    let good = std::fs::read_to_string(file.path()).unwrap();
    std::fs::write(file.path(), good.replace("payload", "pAyload")).unwrap();
    let wrong = maintainer.set("targets", &policy("signed", "app-*", &[1], 1)).text(ExitStatus::Refused);
    assert!(wrong.contains("the file differs from its entry in the metadata"), "{wrong}");
    std::fs::remove_file(file.path()).unwrap();
    let missing = maintainer.set("targets", &policy("signed", "app-*", &[1], 1)).text(ExitStatus::Refused);
    assert!(missing.contains("the file of `app-1.intoto.jsonl` is not in this folder"), "{missing}");
    std::fs::write(file.path(), good).unwrap();
    maintainer.set("targets", &policy("signed", "app-*", &[1], 1)).text(ExitStatus::Done);
}
