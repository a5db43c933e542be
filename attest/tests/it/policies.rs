//! Tests of policies on a delegation chain: which rules apply to a package, and which evidence satisfies them.

use lastmile_attest::{LocalPolicy, Outcome, Proof, Verdict};
use lastmile_metadata::parse_time;

use crate::packages::{PROVENANCE, Packages, SIGN, envelope, envelope_of, file, policy, signature_rule};

fn signed_by(keys: &[u8]) -> String {
    envelope(keys, SIGN, "{}")
}

fn proofs(verdict: &Verdict) -> &[Proof] {
    match &verdict.rules()[0].outcome {
        Outcome::Satisfied(proofs) => proofs,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_signature_of_a_listed_key_satisfies_a_rule() {
    let packages = Packages::of_top(policy("", &signature_rule("signed", r#""a","b""#)));
    let verdict = packages.judge(&[signed_by(&[3]), signed_by(&[2])]);
    assert_eq!(verdict.check(), Ok(()));
    let [proof] = proofs(&verdict) else { panic!("{verdict:?}") };
    let found = (proof.evidence.as_str(), proof.number, proof.signer.as_str(), proof.statement.as_deref());
    assert_eq!(found, ("app/1.tar.intoto.jsonl", 2, "b", Some(SIGN)));
}

#[test]
fn c_24_a_package_without_evidence_is_refused() {
    let packages = Packages::of_top(policy("", &signature_rule("signed", r#""a""#)));
    let expected = "`app/1.tar` does not satisfy the rule `signed` of role `targets`: expected a signature by a, found no evidence";
    let refusal = packages.refusal(&[]);
    assert!(refusal.ends_with("found app/1.tar.intoto.jsonl: the evidence has no items"), "{refusal}");
    assert_eq!(packages.judge_files(&[]).check().unwrap_err().to_string(), expected);
    assert!(!packages.demands().unwrap().is_empty());
}

#[test]
fn a_path_that_no_rule_covers_has_no_demands() {
    let rule = r#"{"name":"r","kind":"signature","paths":["other/*"],"by":["a"]}"#;
    let packages = Packages::of_top(policy("", rule));
    assert!(packages.demands().unwrap().is_empty());
    assert_eq!(packages.judge(&[]).check(), Ok(()));
    let excepted = signature_rule("r", r#""a""#).replace(r#""by""#, r#""except":["app/1.*"],"by""#);
    assert!(Packages::of_top(policy("", &excepted)).demands().unwrap().is_empty());
    assert!(Packages::of_top(String::new()).demands().unwrap().is_empty());
}

#[test]
fn c_25_a_key_that_signs_twice_counts_once() {
    let rule = signature_rule("signed", r#""a","b""#).replace(r#""by""#, r#""threshold":2,"by""#);
    let packages = Packages::of_top(policy("", &rule));
    for evidence in [vec![signed_by(&[1, 1])], vec![signed_by(&[1]), signed_by(&[1])]] {
        let refusal = packages.refusal(&evidence);
        assert!(
            refusal.contains("expected signatures by 2 of a and b, found 1 of the 2 required signers"),
            "{refusal}"
        );
    }
    for evidence in [vec![signed_by(&[1, 2])], vec![signed_by(&[2]), signed_by(&[1])]] {
        assert_eq!(packages.judge(&evidence).check(), Ok(()));
    }
    // A key counts once even if two signers have it.
    let same = policy("", &rule).replace(&crate::packages::signer(2), &crate::packages::signer(1));
    assert!(lastmile_attest::Policy::parse(same.as_bytes()).unwrap_err().to_string().contains("names 1 signers"));
    // The key counts once even if one signer is in the delegator's policy, and the other is in the policy of the role
    // that lists the package.
    let top = policy("", &rule.replace(r#""b""#, r#""@a""#));
    let packages = Packages::of_team(top, policy("", &signature_rule("own", r#""a""#)));
    let refusal = packages.refusal(&[signed_by(&[1])]);
    assert!(refusal.ends_with("expected signatures by 2 of a and @a, found 1 of the 2 required signers"), "{refusal}");
}

#[test]
fn c_20_an_attestation_is_not_a_signature() {
    let packages = Packages::of_top(policy("", &signature_rule("signed", r#""a""#)));
    let scan = envelope(&[1], "https://cosign.sigstore.dev/attestation/vuln/v1", r#"{"result":"failed"}"#);
    let refusal = packages.refusal(&[scan]);
    assert!(refusal.contains("the statement type is https://cosign.sigstore.dev/attestation/vuln/v1"), "{refusal}");
}

#[test]
fn c_19_a_statement_of_another_type_or_about_another_file_does_not_count() {
    let packages = Packages::of_top(policy("", &signature_rule("signed", r#""a""#)));
    let good = r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"DIGEST"}}],"predicateType":"SIGN"}"#;
    let good = good.replace("SIGN", SIGN);
    let digest = "47c2f1e9";
    let refusal = packages.refusal(&[envelope_of(&[1], &good.replace("DIGEST", &digest.repeat(8)))]);
    assert!(refusal.contains("no subject has the sha256 of the file"), "{refusal}");
    let link = r#"{"_type":"link","name":"build","products":{}}"#;
    let refusal = packages.refusal(&[envelope_of(&[1], link)]);
    assert!(refusal.contains("`_type` is \"link\""), "{refusal}");
}

#[test]
fn c_21_evidence_that_cannot_be_read_is_reported_and_does_not_count() {
    let packages = Packages::of_top(policy("", &signature_rule("signed", r#""a""#)));
    let refusal = packages.refusal(&[signed_by(&[1]), "{}".into()]);
    assert!(refusal.contains("app/1.tar.intoto.jsonl: line 2"), "{refusal}");
    // An unreadable evidence file does not affect the evidence in other files.
    let verdict = packages.judge_files(&[file("bad", Some("{")), file("good", Some(&signed_by(&[1])))]);
    assert_eq!(verdict.check(), Ok(()));
}

#[test]
fn c_45_the_reasons_in_a_verdict_are_short() {
    let long = "x".repeat(1 << 19);
    let rule = r#"{"name":"tested","kind":"attestation","paths":["app/*"],"by":["a"],"type":["https://example.com/test"],"where":{"/result":["passed"]}}"#;
    let packages = Packages::of_top(policy("", rule));
    let statement = envelope(&[1], "https://example.com/test", &format!(r#"{{"result":"{long}"}}"#));
    let refusal = packages.refusal(&[statement]);
    assert!(refusal.contains("the predicate has \"xxx") && refusal.len() < 2000, "{} bytes", refusal.len());
    let refusal = packages.refusal(&[format!(r#"{{"{long}":1,"mediaType":2}}"#)]);
    assert!(refusal.contains("unknown member \"xxx") && refusal.len() < 2000, "{} bytes", refusal.len());
}

#[test]
fn c_44_evidence_that_is_withheld_does_not_count() {
    let packages = Packages::of_top(policy("", &signature_rule("signed", r#""a""#)));
    let refusal = packages.judge_files(&[file("app/1.tar.intoto.jsonl", None)]).check().unwrap_err().to_string();
    assert!(refusal.contains("the package names this evidence, but no trusted role lists it"), "{refusal}");
}

#[test]
fn c_43_a_delegated_role_can_add_demands_but_not_weaken_any() {
    let top = policy("", &signature_rule("signed", r#""a""#));
    let own = signature_rule("signed", r#""b""#);
    // The delegated role tries to weaken the rule in three ways: it has no policy, its policy gives the name of the
    // delegator's signer to another key, or its rule excludes the package.
    let renamed = policy("", &signature_rule("signed", r#""a""#))
        .replace(&crate::packages::signer(1), &crate::packages::signer(2));
    let excepted = policy("", &own.replace(r#""by""#, r#""except":["app/*"],"by""#));
    for team in [String::new(), renamed.clone(), excepted] {
        let packages = Packages::of_team(top.clone(), team.clone());
        let refusal = packages.refusal(&[signed_by(&[2])]);
        assert!(refusal.contains("rule `signed` of role `targets`"), "{team}: {refusal}");
        assert_eq!(packages.judge(&[signed_by(&[1, 2])]).check(), Ok(()), "{team}");
    }
    // The rules in the policy of the delegated role apply too.
    let refusal = Packages::of_team(top, renamed).refusal(&[signed_by(&[1])]);
    assert!(refusal.contains("rule `signed` of role `team`"), "{refusal}");
}

#[test]
fn c_43_a_policy_in_a_bin_is_refused() {
    let mut packages = Packages::of_team(String::new(), policy("", &signature_rule("signed", r#""a""#)));
    packages.paths = r#""path_hash_prefixes":["0","1","2","3","4","5","6","7","8","9","a","b","c","d","e","f"]"#;
    let refusal = packages.refusal(&[signed_by(&[1])]);
    assert!(
        refusal
            .contains("does not satisfy the policy of role `team`: expected a usable policy, found a policy in a bin"),
        "{refusal}"
    );
    packages.team = Some(String::new());
    assert!(packages.demands().unwrap().is_empty());
}

#[test]
fn a_parent_can_leave_the_choice_of_signers_to_the_role_that_lists_the_package() {
    let top = policy("", &signature_rule("signed", r#""@b""#));
    let team = policy("", &signature_rule("other", r#""a","b","c""#));
    let packages = Packages::of_team(top.clone(), team);
    assert_eq!(packages.judge(&[signed_by(&[2])]).check(), Ok(()));
    let refusal = packages.refusal(&[signed_by(&[1])]);
    assert!(refusal.contains("rule `signed` of role `targets`"), "{refusal}");
    for team in [String::new(), policy("", &signature_rule("other", r#""a""#)).replace(r#""b":"#, r#""d":"#)] {
        let refusal = Packages::of_team(top.clone(), team).refusal(&[signed_by(&[2])]);
        assert!(refusal.contains("found no signer @b in the policy of the role that lists the package"), "{refusal}");
    }
}

#[test]
fn c_44_a_rule_that_is_not_understood_blocks_its_paths_only() {
    let unknown = |paths: &str| format!(r#"{{"name":"new","kind":"sbom","paths":["{paths}"],"format":["x"]}}"#);
    let known = signature_rule("signed", r#""a""#);
    let packages = Packages::of_top(policy("", &format!("{known},{}", unknown("app/*"))));
    let refusal = packages.refusal(&[signed_by(&[1])]);
    assert!(refusal.contains("unknown kind \"sbom\", which needs a newer lastmile"), "{refusal}");
    let packages = Packages::of_top(policy("", &format!("{known},{}", unknown("other/*"))));
    assert_eq!(packages.judge(&[signed_by(&[1])]).check(), Ok(()));
    let packages = Packages::of_top(r#"{"version":2,"anything":[]}"#.into());
    let refusal = packages.refusal(&[signed_by(&[1])]);
    assert!(refusal.contains("found version 2, which needs a newer lastmile"), "{refusal}");
}

#[test]
fn c_44_an_upgrade_of_lastmile_is_allowed_although_the_policy_is_not_understood() {
    let unknown = r#"{"name":"new","kind":"sbom","paths":["app/*"]}"#;
    let known = signature_rule("signed", r#""a""#);
    let packages = Packages::of_top(policy(r#""upgrade":["app/*"],"#, &format!("{known},{unknown}")));
    assert_eq!(packages.judge(&[signed_by(&[1])]).check(), Ok(()));
    // `upgrade` exempts a package only from the rules that this version of lastmile does not understand.
    assert!(packages.refusal(&[]).contains("rule `signed`"));
    let packages = Packages::of_top(r#"{"version":2,"upgrade":["app/*"]}"#.into());
    assert_eq!(packages.judge(&[]).check(), Ok(()));
    // If lastmile does not understand one part of a policy, the rules that do not refer to this part still apply.
    let newer = policy(r#""upgrade":["app/*"],"quorum":1,"#, &known);
    let packages = Packages::of_top(newer.clone());
    assert_eq!(packages.judge(&[signed_by(&[1])]).check(), Ok(()));
    assert!(packages.refusal(&[]).contains("rule `signed`"));
    let packages = Packages::of_top(newer.replace(r#""a":{"key""#, r#""a":{"new":1,"key""#));
    assert_eq!(packages.judge(&[]).check(), Ok(()));
    // This version of lastmile does not understand the builder that the rule names. The package is allowed without
    // evidence, because `upgrade` lists the package.
    let builder = r#""upgrade":["app/*"],"builder":{"x":{"new":1,"id":["y"],"by":["a"],"level":3}},"#;
    let built = r#"{"name":"built","kind":"provenance","paths":["app/*"],"builder":["x"],"level":3,"source":["z"]}"#;
    assert_eq!(Packages::of_top(policy(builder, built)).judge(&[]).check(), Ok(()));
    let understood = policy(&builder.replace(r#""new":1,"#, ""), built);
    assert!(Packages::of_top(understood).refusal(&[]).contains("rule `built`"));
    let not_listed = policy(&builder.replace(r#""upgrade":["app/*"],"#, ""), built);
    assert!(Packages::of_top(not_listed).refusal(&[]).contains("needs a newer lastmile"));
    // A delegated role cannot use `upgrade` to allow a package that the policy of its delegator blocks.
    let top = policy("", unknown);
    let packages = Packages::of_team(top, policy(r#""upgrade":["app/*"],"#, &known));
    assert!(packages.refusal(&[signed_by(&[1])]).contains("rule `new` of role `targets`"));
}

#[test]
fn c_6_a_key_counts_only_within_its_validity() {
    let valid =
        crate::packages::signer(1) + r#","not-before":"2026-01-01T00:00:00Z","not-after":"2026-12-31T00:00:00Z""#;
    let policy = policy("", &signature_rule("signed", r#""a""#)).replace(&crate::packages::signer(1), &valid);
    let mut packages = Packages::of_top(policy);
    for (now, refusal) in [
        ("2025-12-31T23:59:59Z", Some("before the signer's `not-before`")),
        ("2026-01-01T00:00:00Z", None),
        ("2026-12-31T00:00:00Z", None),
        ("2026-12-31T00:00:01Z", Some("after the signer's `not-after`")),
    ] {
        packages.now = parse_time(now).unwrap();
        let verdict = packages.judge(&[signed_by(&[1])]).check();
        match (refusal, verdict) {
            (None, Ok(())) => {}
            (Some(reason), Err(refused)) => assert!(refused.found.contains(reason), "{now}: {refused}"),
            (_, verdict) => panic!("{now}: {verdict:?}"),
        }
    }
}

#[test]
fn an_attestation_must_have_the_demanded_type_and_values() {
    let rule = r#"{"name":"tested","kind":"attestation","paths":["app/*"],"by":["a"],"type":["https://example.com/test/v1"],
        "where":{"/result":["passed"],"/suites/0/failed":[0]}}"#;
    let packages = Packages::of_top(policy("", rule));
    let tested = |keys: &[u8], predicate| envelope(keys, "https://example.com/test/v1", predicate);
    assert_eq!(packages.judge(&[tested(&[1], r#"{"result":"passed","suites":[{"failed":0}]}"#)]).check(), Ok(()));
    for (evidence, reason) in [
        (
            tested(&[1], r#"{"result":"failed","suites":[{"failed":0}]}"#),
            "has \"failed\" at /result, expected \"passed\"",
        ),
        (tested(&[1], r#"{"result":"passed","suites":[{"failed":1}]}"#), "has 1 at /suites/0/failed, expected 0"),
        (tested(&[1], r#"{"result":"passed","suites":[]}"#), "has nothing at /suites/0/failed"),
        (tested(&[1], r#"{"result":"passed","suites":[{"failed":"0"}]}"#), "has \"0\" at"),
        (tested(&[2], r#"{"result":"passed","suites":[{"failed":0}]}"#), "not valid for this key"),
        (signed_by(&[1]), "the statement type is"),
    ] {
        let refusal = packages.refusal(&[evidence]);
        assert!(refusal.contains(reason), "{reason}: {refusal}");
    }
}

const WORKFLOW: &str = "https://actions.github.io/buildtypes/workflow/v1";

/// Returns an envelope with a provenance statement that key 1 signed. Replaces `replaced` in the predicate with
/// `replacement`.
fn provenance(replaced: &str, replacement: &str) -> String {
    let predicate = r#"{"buildDefinition":{"buildType":"WORKFLOW","externalParameters":{"inputs":{},"workflow":{"path":"x",
        "ref":"refs/tags/v1","repository":"https://github.com/acme/app"}},"resolvedDependencies":[{"digest":{"gitCommit":"1"}}]},
        "runDetails":{"builder":{"id":"https://builder.example/v1"}}}"#;
    let predicate = predicate.replace("WORKFLOW", WORKFLOW);
    assert!(replaced.is_empty() || predicate.matches(replaced).count() == 1, "{replaced}");
    envelope(&[1], PROVENANCE, &predicate.replace(replaced, replacement))
}

fn built_packages(rule: &str) -> Packages {
    let builder = r#""builder":{"x":{"id":["https://builder.example/v*"],"by":["a"],"level":3}},"#;
    let base = r#""name":"built","kind":"provenance","paths":["app/*"],"builder":["x"]"#;
    Packages::of_top(policy(builder, &format!("{{{base},{rule}}}")))
}

#[test]
fn provenance_must_name_the_demanded_builder_source_and_ref() {
    let rule = r#""level":3,"source":["git+https://github.com/acme/app"],"ref":["refs/tags/v*"],"parameters":"none""#;
    let packages = built_packages(rule);
    let verdict = packages.judge(&[provenance("x\",", "x\",")]);
    assert_eq!(verdict.check(), Ok(()));
    assert_eq!(proofs(&verdict)[0].builder, Some(("x".to_owned(), 3)));
    for (replaced, replacement, reason) in [
        ("builder.example/v1", "builder.example/v1/evil", "the builder is https://builder.example/v1/evil"),
        ("builder.example/v1", "builder.example", "the builder is"),
        ("github.com/acme/app", "github.com/acme/app-evil", "the source is git+https://github.com/acme/app-evil"),
        ("github.com/acme/app", "github.com/evil/acme/app", "the source is"),
        ("refs/tags/v1", "refs/heads/v1", "the ref is refs/heads/v1"),
        ("refs/tags/v1", "v1", "the ref is v1"),
        (r#""inputs":{}"#, r#""inputs":{"debug":true}"#, "has the parameter debug, which is not allowed"),
        (r#""inputs":{}"#, r#""inputs":{"debug":""}"#, "has the parameter debug, which is not allowed"),
        (r#""inputs":{},"#, "", "does not record the parameters"),
        (WORKFLOW, "https://example.com/other", "the build type https://example.com/other is not supported"),
        (r#""id":"#, r#""ID":"#, "the provenance has no string at /runDetails/builder/id"),
    ] {
        let refusal = packages.refusal(&[provenance(replaced, replacement)]);
        assert!(refusal.contains(reason), "{replacement}: {refusal}");
    }
    let refusal = packages.refusal(&[signed_by(&[1])]);
    assert!(refusal.contains(&format!("the statement type is {SIGN}, expected a type of provenance")), "{refusal}");
}

#[test]
fn c_30_parameters_must_be_listed_and_the_level_comes_from_the_policy() {
    let listed = r#""level":3,"source":["git+https://github.com/acme/app"],"parameter":{"mode":["release"]}"#;
    let packages = built_packages(listed);
    let with = |inputs: &str| provenance(r#""inputs":{}"#, &format!(r#""inputs":{inputs}"#));
    assert_eq!(packages.judge(&[with(r#"{"mode":"release"}"#)]).check(), Ok(()));
    assert_eq!(packages.judge(&[with("{}")]).check(), Ok(()));
    assert!(packages.refusal(&[with(r#"{"mode":"debug"}"#)]).contains("the parameter mode is debug, expected release"));
    assert!(packages.refusal(&[with(r#"{"mode":"release","x":1}"#)]).contains("the parameter x, which is not allowed"));
    // The workflow that runs the build can write this builder ID itself. Therefore, the level is at most 2, even if the
    // policy gives a higher level.
    let runner = "https://github.com/actions/runner/github-hosted";
    let builder = format!(r#""builder":{{"x":{{"id":["{runner}"],"by":["a"],"level":3}}}},"#);
    for (level, accepted) in [(2, true), (3, false)] {
        let rule = format!(
            r#"{{"name":"built","kind":"provenance","paths":["app/*"],"builder":["x"],"level":{level},"source":["git+https://github.com/acme/app"]}}"#
        );
        let packages = Packages::of_top(policy(&builder, &rule));
        let verdict = packages.judge(&[provenance("https://builder.example/v1", runner)]).check();
        assert_eq!(verdict.is_ok(), accepted, "{verdict:?}");
    }
}

#[test]
fn a_local_policy_adds_demands() {
    let mut packages = Packages::of_top(policy("", &signature_rule("signed", r#""a""#)));
    packages.local = LocalPolicy::parse(policy("", &signature_rule("mine", r#""c""#)).as_bytes()).unwrap();
    assert!(packages.refusal(&[signed_by(&[1])]).contains("rule `mine` of the local policy"));
    assert!(packages.refusal(&[signed_by(&[3])]).contains("rule `signed` of role `targets`"));
    assert_eq!(packages.judge(&[signed_by(&[1, 3])]).check(), Ok(()));
    // Without a policy in the repository, the local policy alone decides.
    packages.top = String::new();
    assert!(packages.refusal(&[signed_by(&[1])]).contains("rule `mine`"));
}

#[test]
fn an_exception_of_the_local_policy_is_marked_and_ends() {
    let mut packages = Packages::of_top(policy("", &signature_rule("signed", r#""a""#)));
    let exception =
        r#"{"version":1,"break-glass":[{"paths":["app/*"],"reason":"key lost","until":"2026-06-02T00:00:00Z"}]}"#;
    packages.local = LocalPolicy::parse(exception.as_bytes()).unwrap();
    let verdict = packages.judge(&[]);
    assert_eq!((verdict.check(), verdict.exception()), (Ok(()), Some("key lost")));
    // With this evidence, the package needs no exception, so the verdict reports none.
    let verdict = packages.judge(&[signed_by(&[1])]);
    assert_eq!((verdict.check(), verdict.exception()), (Ok(()), None));
    packages.now = parse_time("2026-06-02T00:00:01Z").unwrap();
    assert!(packages.judge(&[]).check().is_err());
}

#[test]
fn c_15_a_local_policy_that_is_malformed_is_refused() {
    for (text, error) in [
        ("{}", "version is missing"),
        ("[]", "is not an object"),
        (r#"{"version":2}"#, "version 2, which needs a newer lastmile"),
        (r#"{"version":1,"break-glass":{}}"#, "break-glass is not a list"),
        (r#"{"version":1,"break-glass":[{"paths":["x"],"until":"2026-06-02T00:00:00Z"}]}"#, "has no `reason`"),
        (r#"{"version":1,"break-glass":[{"paths":["x"],"reason":"y"}]}"#, "has no valid `until`"),
        (
            r#"{"version":1,"break-glass":[{"paths":[],"reason":"y","until":"2026-06-02T00:00:00Z"}]}"#,
            "no list of `paths`",
        ),
        (r#"{"version":1,"break-glass":[{"paths":["x"],"rules":["z"],"reason":"y"}]}"#, "unknown member \"rules\""),
        (r#"{"version":1,"require":[{"name":"x","kind":"new","paths":["x"]}]}"#, "needs a newer lastmile"),
        (r#"{"version":1,"new":1}"#, "unknown member \"new\""),
        (
            r#"{"version":1,"trust":{"t":{"root":"x"}},"require":[{"name":"x","kind":"signature","paths":["x"],"by":["@y"]}]}"#,
            "trust.t needs `sha256`",
        ),
    ] {
        let found = LocalPolicy::parse(text.as_bytes()).expect_err(text).to_string();
        assert!(found.contains(error), "{text}: {found}");
    }
}

#[test]
fn c_11_a_trust_root_must_be_listed_by_the_role_or_named_with_its_digest() {
    let trust = |members: &str| format!(r#""trust":{{"t":{{"root":"trust/root.json"{members}}}}},"#);
    let rule = signature_rule("signed", r#""keyless""#);
    let keyless = r#""signer":{"keyless":{"trust":"t","issuer":"https://i.example","subject":["x@example.com"]},"#;
    let with = |members: &str| policy(&trust(members), &rule).replace(r#""signer":{"#, keyless);
    let mut packages = Packages::of_top(with(""));
    let mut roots = lastmile_attest::TrustRoots::default();
    let [request] = &packages.demands().unwrap().trust_roots()[..] else { panic!("expected one trust root") };
    let error = request.listed().unwrap_err().to_string();
    assert!(error.contains("the role that signs the policy does not list the file"), "{error}");
    assert!(request.load(b"{}", &mut roots).is_err());
    packages.others.insert("trust/root.json", b"{}".to_vec());
    let [request] = &packages.demands().unwrap().trust_roots()[..] else { panic!("expected one trust root") };
    assert_eq!(request.listed().unwrap().unwrap().path.as_str(), "trust/root.json");
    // `load` checks the content of the trust root, because the caller may have read it from an untrusted source.
    for (content, reason) in [(&b"[]"[..], "sha256"), (b"{} ", "has 3 bytes"), (b"{}", "trust root")] {
        let error = request.load(content, &mut roots).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    // If the policy contains the digest of the trust root, the role that signs the policy need not list the trust root.
    let digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let packages = Packages::of_top(with(&format!(r#","sha256":"{digest}""#)));
    let [request] = &packages.demands().unwrap().trust_roots()[..] else { panic!("expected one trust root") };
    assert_eq!(request.listed(), Ok(None));
    assert!(request.load(b"[]", &mut roots).unwrap_err().to_string().contains("differs from `sha256`"));
    // Evidence from a signer does not count if the trust root of this signer was not loaded.
    assert!(packages.refusal(&[signed_by(&[1])]).contains("the trust root t is missing"));
}
