use super::*;

/// A policy with one entry of each kind. The tests replace parts of it.
const COMPLETE: &str = r#"{
  "version": 1,
  "upgrade": ["lastmile-*"],
  "trust": {"public": {"root": "trust/public.json", "log": "required", "logs": 1, "times": 1, "sct": true}},
  "signer": {
    "release": {
      "trust": "public", "issuer": "https://issuer.example", "subject": ["https://github.com/acme/app/*"],
      "claims": {"source-repository-id": ["1"]}, "not-before": "2026-01-01T00:00:00Z", "not-after": "2027-01-01T00:00:00Z"
    },
    "person": {"key": {"keytype": "ed25519", "scheme": "ed25519",
      "keyval": {"public": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"}}}
  },
  "builder": {"generic": {"id": ["https://builder.example"], "by": ["release"], "level": 3, "build-type": ["x"]}},
  "require": [
    {"name": "signed", "kind": "signature", "paths": ["app-*"], "except": ["app-old"], "by": ["release", "@person"],
      "threshold": 2, "statement": ["https://sigstore.dev/cosign/sign/v1"]},
    {"name": "tested", "kind": "attestation", "paths": ["*"], "by": ["person"], "type": ["https://example.com/test/v1"],
      "where": {"/result": ["passed", 1, true]}},
    {"name": "built", "kind": "provenance", "paths": ["app-*"], "builder": ["generic"], "level": 3,
      "source": ["git+https://github.com/acme/app"], "ref": ["refs/tags/v*"], "parameters": "listed",
      "parameter": {"mode": ["release"]}}
  ]
}"#;

fn parse(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse(text.as_bytes())
}

/// Returns [`COMPLETE`] after replacing `part` with `replacement`. `part` must occur exactly once.
fn with(part: &str, replacement: &str) -> String {
    assert_eq!(COMPLETE.matches(part).count(), 1, "{part}");
    COMPLETE.replace(part, replacement)
}

#[test]
fn a_complete_policy_is_read() {
    let policy = parse(COMPLETE).unwrap();
    assert_eq!(policy.unsupported(), Vec::<String>::new());
    let kinds: Vec<_> = policy.rules().iter().map(|rule| (rule.name().as_str(), rule.kind())).collect();
    assert_eq!(kinds, [("signed", "signature"), ("tested", "attestation"), ("built", "provenance")]);
    let applies = |path: &str| {
        let path = TargetPath::new(path).unwrap();
        policy.rules().iter().filter(|rule| rule.applies_to(&path)).map(|rule| rule.name().as_str()).collect::<Vec<_>>()
    };
    assert_eq!(applies("app-1.0"), ["signed", "tested", "built"]);
    assert_eq!(applies("app-old"), ["tested", "built"]);
    assert_eq!(applies("dir/app-1.0"), Vec::<&str>::new());
}

#[test]
fn c_15_a_malformed_policy_is_refused_with_the_place() {
    for (part, replacement, error) in [
        (r#""version": 1,"#, "", "policy.version is missing"),
        (r#""version": 1,"#, r#""version": 1, "version": 1,"#, "two members are named"),
        (r#"["https://github.com/acme/app/*"]"#, "[]", "signer.release.subject must have 1 to 64 elements"),
        (r#""subject": ["https://github.com/acme/app/*"],"#, "", "signer.release.subject is missing"),
        (r#"["https://github.com/acme/app/*"]"#, r#"["a**b"]"#, "two stars in a row"),
        (r#"["https://github.com/acme/app/*"]"#, r#"["x", "x"]"#, "contains \"x\" twice"),
        (r#""issuer": "https://issuer.example", "#, "", "signer.release.issuer is missing"),
        ("https://issuer.example", "https://*.example", "must be the exact URL"),
        (r#""trust": "public""#, r#""trust": "private""#, "there is no [trust.private]"),
        ("2027-01-01", "2025-01-01", "is later than `not-after`"),
        ("2027-01-01T00:00:00Z", "2027-01-01", "is not a date-time"),
        (r#""by": ["release"]"#, r#""by": ["nobody"]"#, "there is no [signer.nobody]"),
        (r#""by": ["person"]"#, r#""by": ["Person"]"#, "which is not a valid name"),
        (r#""builder": ["generic"]"#, r#""builder": ["other"]"#, "there is no [builder.other]"),
        (r#""level": 3, "build-type""#, r#""level": 2, "build-type""#, "no builder that it names has this level"),
        (r#""level": 3, "build-type""#, r#""level": 5, "build-type""#, "is not an integer from 1 to 4"),
        (r#""threshold": 2"#, r#""threshold": 0"#, "is not an integer from 1 to 64"),
        (r#""threshold": 2"#, r#""threshold": 1.5"#, "is not an integer from 1 to 64"),
        (r#"["passed", 1, true]"#, "[]", "must map JSON pointers"),
        ("\"/result\"", "\"result\"", "must map JSON pointers"),
        (r#""name": "tested""#, r#""name": "signed""#, "two rules are named signed"),
        (r#""root": "trust/public.json""#, r#""root": """#, "trust.public.root must have 1 to 4096 bytes"),
        (r#""log": "required", "logs": 1"#, r#""log": "none", "logs": 1"#, "contradicts"),
        (r#""parameters": "listed""#, r#""parameters": "none""#, "contradicts"),
        ("d75a980182b1", "d75a", "is not usable"),
        (r#""paths": ["*"], "#, "", "require[1].paths is missing"),
        (r#""sct": true"#, r#""sct": 1"#, "is not true or false"),
        (r#"["app-old"]"#, r#"["app/**"]"#, "never matches a slash"),
        (r#""threshold": 2"#, r#""threshold": 3"#, "requires 3 signatures, but names 2 signers"),
    ] {
        let found = parse(&with(part, replacement)).map(|policy| policy.unsupported()).expect_err(replacement);
        assert!(found.0.contains(error), "{replacement}: {found}");
    }
}

#[test]
fn c_44_what_this_version_does_not_know_is_kept_and_named() {
    for (part, replacement, unknown) in [
        (r#""version": 1,"#, r#""version": 2,"#, "version 2"),
        (r#""version": 1,"#, r#""version": 1, "quorum": 2,"#, "unknown member \"quorum\" in policy"),
        (r#""version": 1,"#, r#""version": 1, "break-glass": [],"#, "unknown member \"break-glass\" in policy"),
        (r#""sct": true"#, r#""sct": true, "witness": 1"#, "unknown member \"witness\" in trust.public"),
        (r#""log": "required""#, r#""log": "witnessed""#, "unknown value \"witnessed\" of trust.public.log"),
        (
            r#""issuer": "https://issuer.example","#,
            r#""issuer": "x", "spiffe": 1,"#,
            "unknown member \"spiffe\" in signer.release",
        ),
        ("source-repository-id", "new-claim", "unknown claim \"new-claim\" in signer.release"),
        (r#""scheme": "ed25519""#, r#""scheme": "ml-dsa""#, "keys of type ed25519 with scheme ml-dsa in signer.person"),
        (
            r#""id": ["https://builder.example"]"#,
            r#""id": ["x"], "new": 1"#,
            "unknown member \"new\" in builder.generic",
        ),
        (r#""kind": "attestation""#, r#""kind": "sbom""#, "rule tested: unknown kind \"sbom\""),
        (r#""threshold": 2"#, r#""threshold": 2, "new": 1"#, "rule signed: unknown member \"new\""),
        (r#""parameters": "listed""#, r#""parameters": "hashed""#, "unknown value \"hashed\" of `parameters`"),
    ] {
        let policy = parse(&with(part, replacement)).expect(replacement);
        let [found] = &policy.unsupported()[..] else { panic!("{replacement}: {:?}", policy.unsupported()) };
        assert!(found.contains(unknown), "{replacement}: {found}");
        assert!(policy.is_upgrade(&TargetPath::new("lastmile-2.0").unwrap()), "{replacement}");
    }
}

#[test]
fn c_45_a_policy_has_limits() {
    let many = |count: usize| {
        let rule = |number| format!(r#"{{"name":"r{number}","kind":"new","paths":["x"]}}"#);
        let rules: Vec<String> = (0..count).map(rule).collect();
        format!(r#"{{"version":1,"require":[{}]}}"#, rules.join(","))
    };
    assert_eq!(parse(&many(64)).unwrap().rules().len(), 64);
    assert!(parse(&many(65)).unwrap_err().0.contains("expected 1 to 64"));
    let signers = |count: usize| {
        let signers: Vec<String> =
            (0..count).map(|number| format!(r#""s{number}":{{"trust":"t","issuer":"i","subject":["x"]}}"#)).collect();
        format!(
            r#"{{"version":1,"trust":{{"t":{{"root":"t"}}}},"signer":{{{}}},"require":[{{"name":"r","kind":"signature","paths":["x"],"by":["s0"]}}]}}"#,
            signers.join(",")
        )
    };
    assert!(parse(&signers(64)).is_ok());
    assert!(parse(&signers(65)).unwrap_err().0.contains("more than 64 entries"));
    let long = |length: usize| format!("{}{COMPLETE}", " ".repeat(length - COMPLETE.len()));
    assert!(parse(&long(256 * 1024)).is_ok());
    assert!(parse(&long(256 * 1024 + 1)).unwrap_err().0.contains("has 262145 bytes, expected at most 262144"));
}

#[test]
fn c_45_strings_and_lists_have_limits() {
    let paths = |list: &str| parse(&with(r#"["app-*"], "builder""#, &format!(r#"[{list}], "builder""#)));
    let text = |length: usize| "x".repeat(length);
    assert!(paths(&format!("\"{}\"", text(4096))).is_ok());
    for length in [0, 4097, 5000] {
        let error = paths(&format!("\"{}\"", text(length))).unwrap_err().0;
        assert!(error.contains("contains an empty element or an element longer than 4096 bytes"), "{length}: {error}");
    }
    let long_issuer = |length: usize| parse(&with("https://issuer.example", &text(length)));
    assert!(long_issuer(4096).is_ok());
    for length in [0, 4097, 5000] {
        let error = long_issuer(length).unwrap_err().0;
        assert!(error.contains("signer.release.issuer must have 1 to 4096 bytes"), "{length}: {error}");
    }
    let list = |count: usize| (0..count).map(|number| format!("\"p{number}\"")).collect::<Vec<_>>().join(",");
    assert!(paths(&list(64)).is_ok());
    for count in [0, 65, 66] {
        let error = paths(&list(count)).unwrap_err().0;
        assert!(error.contains("must have 1 to 64 elements"), "{count}: {error}");
    }
}

#[test]
fn c_11_the_digest_of_a_trust_root_is_64_lower_case_digits() {
    let sha256 =
        |digits: &str| parse(&with(r#""log": "required""#, &format!(r#""log": "required", "sha256": "{digits}""#)));
    let policy = sha256(&"0a".repeat(32)).unwrap();
    assert_eq!(policy.trust_sources().next().unwrap().1.sha256(), Some(&[10; 32]));
    for digits in ["0A".repeat(32), "0a".repeat(31), "0a".repeat(33), "0g".repeat(32)] {
        let error = sha256(&digits).unwrap_err().0;
        assert!(error.contains("trust.public.sha256 is not 64 lower-case hexadecimal digits"), "{digits}: {error}");
    }
}

#[test]
fn a_signer_may_be_valid_for_one_moment() {
    assert!(parse(&with("2027-01-01", "2026-01-01")).is_ok());
    let error = parse(&with("2027-01-01T00:00:00Z", "2025-12-31T23:59:59Z")).unwrap_err().0;
    assert!(error.contains("is later than `not-after`"), "{error}");
}
