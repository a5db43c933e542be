//! Tests of `add --evidence`, and of `remove` for packages with evidence.

use lastmile_cli_support::ExitStatus;
use serde_json::Value;

use super::{Maintainer, policy, signature, targets};

#[test]
fn evidence_is_published_beside_its_package() {
    let maintainer = Maintainer::new();
    let file = maintainer.file("app-1", "1");
    let evidence = [maintainer.file("a.json", &signature(1, "1")), maintainer.file("b.json", &signature(2, "1"))];
    let custom = "channel=stable";
    maintainer.done(&["add", &file, "--custom", custom, "--evidence", &evidence[0], &evidence[1]]);
    assert_eq!(maintainer.listed_evidence("app-1"), ["app-1.intoto.jsonl"]);
    let signed = maintainer.signed("targets");
    let targets_of = signed.get("targets").unwrap();
    assert_eq!(targets_of.pointer("/app-1/custom/channel"), Some(&Value::from("stable")));
    assert!(targets_of.pointer("/app-1.intoto.jsonl/custom").is_none());
    let published = walkdir::WalkDir::new(maintainer.path("repository/targets")).into_iter().map(Result::unwrap);
    let published =
        published.into_iter().find(|entry| entry.file_name().to_str().unwrap().ends_with(".jsonl")).unwrap();
    let text = std::fs::read_to_string(published.path()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    for (line, seed) in lines.iter().zip([1, 2]) {
        let expected: Value = serde_json::from_str(&signature(seed, "1")).unwrap();
        assert_eq!(serde_json::from_str::<Value>(line).unwrap(), expected);
    }
}

#[test]
fn evidence_that_is_added_later_keeps_the_package_and_the_earlier_evidence() {
    let maintainer = Maintainer::new();
    maintainer.add("app-1", "1", &[]).text(ExitStatus::Done);
    assert!(maintainer.listed_evidence("app-1").is_empty());
    maintainer.add("app-1", "1", &[&signature(1, "1")]).text(ExitStatus::Done);
    // All target names are immutable, so evidence that is added later is stored under a new name.
    maintainer.add("app-1", "1", &[&signature(2, "1")]).text(ExitStatus::Done);
    let both = ["app-1.intoto.jsonl", "app-1.2.intoto.jsonl"];
    assert_eq!(maintainer.listed_evidence("app-1"), both);
    // Adding the same evidence again changes nothing.
    maintainer.add("app-1", "1", &[&signature(1, "1")]).text(ExitStatus::Done);
    assert_eq!(maintainer.listed_evidence("app-1"), both);
    maintainer.set("targets", &policy("signed", "app-*", &[1, 2], 2)).text(ExitStatus::Done);
    assert_eq!(targets(&maintainer.path("repository")), ["app-1", "app-1.2.intoto.jsonl", "app-1.intoto.jsonl"]);
}

#[test]
fn a_signature_that_is_not_json_keeps_its_own_file() {
    let maintainer = Maintainer::new();
    let signature_file =
        "MEUCIQDRvT3a6SYlTEBZ8m3fTc7mXh6ZJdGuk5JRgM6F9yfVfQIgQp3hQ4cZ0Zx1h3v8sH0x5mJ6Wq3n2nq9oW1xwq1rXlU=\n";
    maintainer.add("app-1", "1", &[&signature(1, "1"), signature_file]).text(ExitStatus::Done);
    assert_eq!(maintainer.listed_evidence("app-1"), ["app-1.intoto.jsonl", "app-1.sig"]);
}

#[test]
fn c_23_a_file_that_is_not_evidence_is_refused() {
    let maintainer = Maintainer::new();
    for (content, error) in
        [("hello world", "the evidence is neither JSON nor a signature"), ("{\"a\":1}", "line 1: "), ("", "no items")]
    {
        let refused = maintainer.add("app-1", "1", &[content]);
        assert_ne!(refused.status, ExitStatus::Done);
        assert!(refused.stderr.contains("evidence-0"), "{error}: {refused:?}");
    }
    let folder = maintainer.path("dist");
    std::fs::create_dir(&folder).unwrap();
    maintainer.file("dist/a", "1");
    maintainer.file("dist/b", "2");
    let evidence = maintainer.file("evidence.json", &signature(1, "1"));
    let refused = maintainer.run(&["add", folder.to_str().unwrap(), "--evidence", &evidence]).text(ExitStatus::Usage);
    assert!(refused.contains("--evidence requires exactly one package, but 2 files were found"), "{refused}");
    let many: Vec<String> = (1..18).map(|seed| signature(seed, "1")).collect();
    for evidence in many.iter().take(16) {
        maintainer.add("app-1", "1", &[evidence]).text(ExitStatus::Done);
    }
    let refused = maintainer.add("app-1", "1", &[&many[16]]).text(ExitStatus::Failed);
    assert!(refused.contains("`app-1` would have 17 evidence files, expected at most 16"), "{refused}");
}

#[test]
fn a_package_is_removed_with_the_evidence_beside_it() {
    let maintainer = Maintainer::new();
    maintainer.add("app-1", "1", &[&signature(1, "1")]).text(ExitStatus::Done);
    maintainer.add("app-2", "2", &[&signature(1, "2")]).text(ExitStatus::Done);
    let removed = maintainer.done(&["remove", "app-1"]);
    assert!(removed.contains("- app-1\n") && removed.contains("- app-1.intoto.jsonl\n"), "{removed}");
    let signed = maintainer.signed("targets");
    let listed: Vec<&String> = signed.get("targets").unwrap().as_object().unwrap().keys().collect();
    assert_eq!(listed, ["app-2", "app-2.intoto.jsonl"]);
    maintainer.done(&["remove", "app-2", "app-2.intoto.jsonl"]);
}

#[test]
fn a_package_with_other_content_does_not_keep_its_evidence() {
    let maintainer = Maintainer::new();
    let custom = |name: &str| maintainer.signed("targets").pointer(&format!("/targets/{name}/custom")).cloned();
    let listed = || -> Vec<String> {
        maintainer.signed("targets").get("targets").unwrap().as_object().unwrap().keys().cloned().collect()
    };
    maintainer.add("app-1", "1", &[&signature(1, "1")]).text(ExitStatus::Done);
    maintainer.add("app-1", "1", &[]).text(ExitStatus::Done);
    assert_eq!(maintainer.listed_evidence("app-1"), ["app-1.intoto.jsonl"]);
    let other = maintainer.file("other", "2");
    maintainer.done(&["add", &other, "--name", "app-1", "--replace"]);
    assert_eq!(custom("app-1"), None);
    assert_eq!(listed(), ["app-1"]);

    let file = maintainer.file("first", "1");
    let evidence = maintainer.file("evidence.json", &signature(1, "1"));
    let members = ["--custom=channel=stable", "--custom=build:=18446744073709551615", "--custom=lastmile:={\"a\":1}"];
    maintainer.done(&[&["add", &file, "--name", "app-2", "--evidence", &evidence], &members[..]].concat());
    assert_eq!(maintainer.listed_evidence("app-2"), ["app-2.intoto.jsonl"]);
    let list = format!("{{\"path\": \"app-2\", \"length\": 1, \"hashes\": {{\"sha256\": \"{}\"}}}}\n", "ab".repeat(32));
    maintainer.done(&["add", "--from-list", &maintainer.file("list", &list), "--replace"]);
    let kept = serde_json::json!({"channel": "stable", "build": u64::MAX, "lastmile": {"a": 1}});
    assert_eq!(custom("app-2"), Some(kept));
    assert_eq!(listed(), ["app-1", "app-2"]);
}

#[test]
fn a_dry_run_of_an_addition_with_evidence_judges_the_package() {
    let maintainer = Maintainer::new();
    maintainer.set("targets", &policy("signed", "app-*", &[1], 1)).text(ExitStatus::Done);
    let file = maintainer.file("app-1", "1");
    let good = maintainer.file("good.json", &signature(1, "1"));
    let bad = maintainer.file("bad.json", &signature(1, "2"));
    maintainer.done(&["add", &file, "--evidence", &good, "--dry-run"]);
    let refused = maintainer.run(&["add", &file, "--evidence", &bad, "--dry-run"]).text(ExitStatus::Refused);
    assert!(refused.contains("no subject has the sha256 of the file"), "{refused}");
    assert!(targets(&maintainer.path("repository")).is_empty());
}
