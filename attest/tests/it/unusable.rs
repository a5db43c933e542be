//! Tests of policies, evidence files and trust roots that cannot be used. An unusable file causes a verdict that
//! refuses the package, not an error. Therefore, an exception in the local policy can still allow the package.

use lastmile_attest::{EvidenceContent, EvidenceFile, LocalPolicy, Outcome, TrustRoots};

use crate::packages::{PACKAGE, Packages, SIGN, envelope, file, policy, signature_rule};

/// A local policy with an exception for the package.
const BREAK_GLASS: &str =
    r#"{"version":1,"break-glass":[{"paths":["app/*"],"reason":"incident 17","until":"2030-01-01T00:00:00Z"}]}"#;

fn signed() -> String {
    policy("", &signature_rule("signed", r#""a""#))
}

#[test]
fn c_15_a_malformed_policy_refuses_all_packages_below_its_role() {
    for malformed in ["1", "{}", r#"{"version":1}"#, r#"{"version":1,"require":[]}"#] {
        for mut packages in [
            Packages::of_top(malformed.into()),
            Packages::of_team(malformed.into(), signed()),
            Packages::of_team(signed(), malformed.into()),
        ] {
            let evidence = [envelope(&[1], SIGN, "{}")];
            assert!(!packages.demands().unwrap().is_empty());
            let verdict = packages.judge(&evidence);
            let refused = verdict.check().unwrap_err();
            assert_eq!((refused.rule.as_deref(), refused.wanted.as_str()), (None, "a usable policy"), "{malformed}");
            assert_eq!(refused.path.as_str(), PACKAGE);
            let is_unusable = |outcome: &Outcome| matches!(outcome, Outcome::Refused(found) if found.len() == 1);
            assert_eq!(verdict.rules().iter().filter(|rule| is_unusable(&rule.outcome)).count(), 1, "{verdict:?}");
            // The verdict reports the exception, because the policy would refuse the package without it.
            packages.local = LocalPolicy::parse(BREAK_GLASS.as_bytes()).unwrap();
            let verdict = packages.judge(&evidence);
            assert_eq!((verdict.check(), verdict.exception()), (Ok(()), Some("incident 17")));
        }
    }
}

#[test]
fn c_8_an_evidence_file_that_is_too_long_does_not_count() {
    let packages = Packages::of_top(signed());
    let long = EvidenceFile { content: EvidenceContent::TooLong(5_000_000), ..file("long", None) };
    let refusal = packages.judge_files(std::slice::from_ref(&long)).check().unwrap_err();
    assert_eq!(refusal.found, "long: the evidence has 5000000 bytes, expected at most 4194304");
    let good = file("good", Some(&envelope(&[1], SIGN, "{}")));
    assert_eq!(packages.judge_files(&[long, good]).check(), Ok(()));
}

#[test]
fn the_verdict_says_why_a_trust_root_was_not_loaded() {
    let keyless = r#""signer":{"keyless":{"trust":"t","issuer":"https://i.example","subject":["x@example.com"]},"#;
    let rule = signature_rule("signed", r#""keyless""#);
    let text = policy(r#""trust":{"t":{"root":"trust/root.json"}},"#, &rule).replace(r#""signer":{"#, keyless);
    let packages = Packages::of_top(text);
    let demands = packages.demands().unwrap();
    let requests = demands.trust_roots();
    let evidence = [file("evidence", Some(&envelope(&[1], SIGN, "{}")))];
    let found = |roots: &TrustRoots| demands.judge(&evidence, roots, packages.now).check().unwrap_err().found;
    let mut roots = TrustRoots::default();
    requests[0].missing(&mut roots);
    assert!(found(&roots).contains("the role that signs the policy does not list the file"), "{}", found(&roots));
    requests[0].too_long(2_000_000, &mut roots);
    assert!(
        found(&roots).contains("the trusted root has 2000000 bytes, expected at most 1048576"),
        "{}",
        found(&roots)
    );
}

#[test]
fn a_verdict_has_at_most_16_reasons() {
    let packages = Packages::of_top(signed());
    let files: Vec<_> =
        (0..20).map(|number| file(&format!("file-{number}"), Some(&envelope(&[2], SIGN, "{}")))).collect();
    let verdict = packages.judge_files(&files);
    let Outcome::Refused(reasons) = &verdict.rules()[0].outcome else { panic!("{verdict:?}") };
    assert_eq!(reasons.len(), 16);
    assert!(reasons[15].starts_with("item 1 of file-15: "), "{reasons:?}");
}

#[test]
fn a_package_has_at_most_64_pieces_of_evidence() {
    let packages = Packages::of_top(signed());
    let lines = |key: u8, count: usize| vec![envelope(&[key], SIGN, "{}"); count].join("\n");
    let many = [file("first", Some(&lines(2, 63))), file("second", Some(&lines(1, 1)))];
    assert_eq!(packages.judge_files(&many).check(), Ok(()));
    let more = [file("first", Some(&lines(2, 64))), file("second", Some(&lines(1, 1)))];
    let refusal = packages.judge_files(&more).check().unwrap_err().found;
    assert!(refusal.contains("second: with this file, the package has more than 64 pieces of evidence"), "{refusal}");
}

#[test]
fn demands_name_the_rules_the_listing_role_and_the_evidence() {
    let packages = Packages::of_team(signed(), policy("", &signature_rule("own", r#""a""#)));
    let demands = packages.demands().unwrap();
    assert_eq!(demands.listing().unwrap().as_str(), "team");
    let rules: Vec<_> = demands.rules().map(|(origin, rule)| format!("{} of {origin}", rule.name())).collect();
    assert_eq!(rules, ["signed of targets", "own of team"]);
    let mut target = demands.target().clone();
    let custom = r#"{"lastmile":{"evidence":["app/1.sig"]}}"#;
    target.custom = Some(lastmile_metadata::Json::parse(custom).unwrap());
    let demands = lastmile_attest::Demands::of_chain(&[], target, &LocalPolicy::default()).unwrap();
    assert_eq!(demands.evidence().iter().map(|path| path.as_str()).collect::<Vec<_>>(), ["app/1.sig"]);
    assert_eq!(demands.listing(), None);
}
