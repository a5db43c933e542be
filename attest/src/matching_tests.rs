use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::policy::{Credential, Policy, Rule};
use crate::signed::{Certificate, Claim};
use crate::statement::Statement;

const ISSUER: &str = "https://token.actions.githubusercontent.com";
const GENERATOR: &str =
    "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_generic_slsa3.yml";
const RUNNER: &str = "https://github.com/actions/runner/github-hosted";

/// Returns a policy with the signers, builders and rules that the tests use.
fn policy() -> Policy {
    let text = r#"{
      "version": 1,
      "trust": {"public": {"root": "trust/public.json"}},
      "signer": {
        "release": {"trust": "public", "issuer": "ISSUER",
          "subject": ["https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v*"],
          "claims": {"source-repository-id": ["1"], "build-trigger": ["push", "release"], "runner-environment": ["github-hosted"]}},
        "generator": {"trust": "public", "issuer": "ISSUER", "subject": ["GENERATOR@refs/tags/v2.1.*"]},
        "person": {"trust": "public", "issuer": "https://accounts.example.com", "subject": ["release@example.com"]}
      },
      "builder": {
        "generator": {"id": ["GENERATOR@refs/tags/v2.1.*"], "by": ["generator"], "level": 3},
        "runner": {"id": ["RUNNER"], "by": ["release"], "level": 3}
      },
      "require": [
        {"name": "by-generator", "kind": "provenance", "paths": ["*"], "builder": ["generator"], "level": 3,
          "source": ["git+https://github.com/acme/app"], "ref": ["refs/tags/v13.0"], "parameters": "none"},
        {"name": "by-runner", "kind": "provenance", "paths": ["*"], "builder": ["runner"], "level": 2,
          "source": ["git+https://github.com/acme/app"]}
      ]
    }"#;
    let text = text.replace("ISSUER", ISSUER).replace("GENERATOR", GENERATOR).replace("RUNNER", RUNNER);
    Policy::parse(text.as_bytes()).unwrap()
}

struct Claims {
    issuer: String,
    subject: Subject,
    values: BTreeMap<Claim, String>,
}

impl Claims {
    /// Returns the claims of a run of the workflow `release.yml`. A pushed tag started the run.
    fn of_release() -> Self {
        let workflow = "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v13.0";
        let values = [
            (Claim::BuildSignerUri, workflow),
            (Claim::BuildTrigger, "push"),
            (Claim::RunnerEnvironment, "github-hosted"),
            (Claim::SourceRepositoryUri, "https://github.com/acme/app"),
            (Claim::SourceRepositoryRef, "refs/tags/v13.0"),
            (Claim::SourceRepositoryDigest, "c0ffee"),
            (Claim::SourceRepositoryId, "1"),
        ];
        let values = values.into_iter().map(|(claim, value)| (claim, value.to_owned())).collect();
        Self { issuer: ISSUER.to_owned(), subject: Subject::Uri(workflow.to_owned()), values }
    }

    /// Returns the claims of the SLSA generator's reusable workflow, called by `release.yml`.
    fn of_generator() -> Self {
        let signer = format!("{GENERATOR}@refs/tags/v2.1.0");
        let mut claims = Self::of_release();
        claims.subject = Subject::Uri(signer.clone());
        claims.values.insert(Claim::BuildSignerUri, signer);
        claims
    }

    fn with(mut self, claim: Claim, value: &str) -> Self {
        self.values.insert(claim, value.to_owned());
        self
    }

    fn without(mut self, claim: Claim) -> Self {
        self.values.remove(&claim);
        self
    }

    fn signed_by(self) -> SignedBy {
        SignedBy::Identity(Certificate { issuer: self.issuer, subject: self.subject, claims: self.values })
    }
}

fn check_signer(name: &str, claims: Claims) -> Result<(), String> {
    let policy = policy();
    let signer = policy.signers.iter().find(|(own, _)| own.as_str() == name).unwrap().1;
    signer.check_claims(&claims.signed_by())
}

/// Provenance v0.2 of the SLSA generator.
const V0_2: &str = r#"{"builder":{"id":"GENERATOR@refs/tags/v2.1.0"},"buildType":"https://github.com/slsa-framework/slsa-github-generator/generic@v1","invocation":{"configSource":{"uri":"git+https://github.com/acme/app@refs/tags/v13.0","digest":{"sha1":"c0ffee"},"entryPoint":"release.yml"},"parameters":{},"environment":{"github_event_payload":{"inputs":null}}}}"#;

/// Provenance v1, as a workflow on a GitHub-hosted runner writes it.
const V1: &str = r#"{"buildDefinition":{"buildType":"https://actions.github.io/buildtypes/workflow/v1","externalParameters":{"workflow":{"ref":"refs/tags/v13.0","repository":"https://github.com/acme/app","path":".github/workflows/release.yml"}},"resolvedDependencies":[{"uri":"git+https://github.com/acme/app@refs/tags/v13.0","digest":{"gitCommit":"c0ffee"}}]},"runDetails":{"builder":{"id":"RUNNER"}}}"#;

/// Checks provenance against a rule, after replacing the first `replaced` in the provenance with `replacement`. The
/// provenance must contain `replaced`.
fn check_build(rule: &str, claims: Claims, replaced: &str, replacement: &str) -> Result<u8, String> {
    let policy = policy();
    let rule: &Rule = policy.rules().iter().find(|own| own.name().as_str() == rule).unwrap();
    let crate::policy::Demand::Provenance(demand) = &rule.demand else { panic!("no provenance") };
    let builder = &policy.builders[&demand.builders[0]];
    let (predicate_type, predicate) = match rule.name().as_str() {
        "by-generator" => ("https://slsa.dev/provenance/v0.2", V0_2),
        _ => ("https://slsa.dev/provenance/v1", V1),
    };
    let predicate = predicate.replace("GENERATOR", GENERATOR).replace("RUNNER", RUNNER);
    assert!(predicate.contains(replaced), "{replaced}");
    let predicate = predicate.replacen(replaced, replacement, 1);
    let statement = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v0.1","subject":[{{"digest":{{"sha1":"0"}}}}],"predicateType":"{predicate_type}","predicate":{predicate}}}"#
    );
    let statement = Statement::parse(statement.as_bytes()).unwrap();
    let signer = claims.signed_by();
    let signed = Signed { signer, content: Content::Statement(statement), times: Vec::new(), logs: BTreeSet::new() };
    check_provenance(&signed, builder, demand)
}

#[test]
fn c_13_an_identity_must_match_as_a_whole() {
    assert_eq!(check_signer("release", Claims::of_release()), Ok(()));
    for subject in [
        "https://github.com/acme/app-evil/.github/workflows/release.yml@refs/tags/v13.0",
        "https://github.com/evil/acme/app/.github/workflows/release.yml@refs/tags/v13.0",
        "https://github.com/acme/app/.github/workflows/release.yml@evil.yml@refs/tags/v13.0",
        "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/v13.0",
        "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v13.0/x",
        "https://github.com/acme/app/.github/workflows/Release.yml@refs/tags/v13.0",
    ] {
        let claims = Claims { subject: Subject::Uri(subject.to_owned()), ..Claims::of_release() };
        let refusal = check_signer("release", claims).unwrap_err();
        assert!(refusal.contains("is signed by") || refusal.contains(subject), "{refusal}");
    }
}

#[test]
fn c_14_the_same_subject_from_another_issuer_is_refused() {
    for issuer in
        ["https://token.actions.githubusercontent.com/hammer-time", "https://token.actions.githubusercontent.com/", ""]
    {
        let claims = Claims { issuer: issuer.to_owned(), ..Claims::of_release() };
        assert!(check_signer("release", claims).unwrap_err().contains("the issuer is"), "{issuer}");
    }
}

#[test]
fn c_16_an_email_address_never_matches_a_pattern_for_uris() {
    let email = |subject| Claims { issuer: "https://accounts.example.com".to_owned(), subject, ..Claims::of_release() };
    assert_eq!(check_signer("person", email(Subject::Email("release@example.com".to_owned()))), Ok(()));
    assert!(check_signer("person", email(Subject::Uri("release@example.com".to_owned()))).is_err());
    assert!(check_signer("person", email(Subject::Email("release@example.com.evil".to_owned()))).is_err());
    let workflow = Claims::of_release().subject.as_str().to_owned();
    let claims = Claims { subject: Subject::Email(workflow), ..Claims::of_release() };
    assert!(check_signer("release", claims).is_err());
}

#[test]
fn c_17_a_repository_that_was_registered_again_a_trigger_and_a_self_hosted_runner_are_refused() {
    for (claim, value) in [
        (Claim::SourceRepositoryId, "2"),
        (Claim::BuildTrigger, "pull_request_target"),
        (Claim::RunnerEnvironment, "self-hosted"),
    ] {
        let refusal = check_signer("release", Claims::of_release().with(claim, value)).unwrap_err();
        assert!(refusal.contains(claim.name()) && refusal.contains(value), "{refusal}");
        let refusal = check_signer("release", Claims::of_release().without(claim)).unwrap_err();
        assert!(refusal.contains(&format!("no claim {}", claim.name())), "{refusal}");
    }
}

#[test]
fn c_15_a_key_is_not_an_identity() {
    let policy = policy();
    let signer = policy.signers.values().find(|signer| matches!(signer.credential, Credential::Identity(_))).unwrap();
    let key = lastmile_keys::PublicKey::from_tuf(
        "ed25519",
        "ed25519",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    );
    assert!(signer.check_claims(&SignedBy::Key(key.unwrap())).is_err());
}

#[test]
fn a_signer_with_a_key_matches_only_this_key() {
    let key = |digits: &str| lastmile_keys::PublicKey::from_tuf("ed25519", "ed25519", digits).unwrap();
    let own = key("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    let other = key("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    let signer =
        Signer { credential: Credential::Key { key: own.clone(), trust: None }, not_before: None, not_after: None };
    assert_eq!(signer.check_claims(&SignedBy::Key(own)), Ok(()));
    assert!(signer.check_claims(&SignedBy::Key(other)).is_err());
    assert!(signer.check_claims(&Claims::of_release().signed_by()).is_err());
}

#[test]
fn c_26_another_builder_is_refused() {
    assert_eq!(check_build("by-generator", Claims::of_generator(), "", ""), Ok(3));
    let id = format!("{GENERATOR}@refs/tags/v2.1.0");
    for builder in [
        format!("{GENERATOR}.evil@refs/tags/v2.1.0"),
        format!("{GENERATOR}@refs/heads/main"),
        format!("{GENERATOR}@refs/tags/v2"),
        format!("{GENERATOR}@refs/tags/v3.1.0"),
    ] {
        // The certificate names the same wrong builder as the provenance. Only the pattern for builders in the policy
        // reveals that the builder is wrong.
        let claims = Claims::of_generator().with(Claim::BuildSignerUri, &builder);
        let refusal = check_build("by-generator", claims, &id, &builder).unwrap_err();
        assert!(refusal.contains("the builder is"), "{builder}: {refusal}");
    }
}

#[test]
fn c_27_another_source_or_ref_is_refused() {
    for (source, reference) in [
        ("https://github.com/acme/app-evil", "refs/tags/v13.0"),
        ("https://github.com/acme/ap", "refs/tags/v13.0"),
        ("https://github.com/evil/acme/app", "refs/tags/v13.0"),
        ("https://github.com/acme/app", "refs/tags/v13.0.30"),
        ("https://github.com/acme/app", "refs/heads/v13.0"),
    ] {
        let claims =
            Claims::of_generator().with(Claim::SourceRepositoryUri, source).with(Claim::SourceRepositoryRef, reference);
        let uri = "git+https://github.com/acme/app@refs/tags/v13.0";
        let refusal = check_build("by-generator", claims, uri, &format!("git+{source}@{reference}")).unwrap_err();
        assert!(refusal.contains("the source is") || refusal.contains("the ref is"), "{refusal}");
    }
}

#[test]
fn c_28_a_builder_that_another_identity_signs_for_is_refused() {
    // A user's own workflow claims to be the generator.
    let refusal = check_build("by-generator", Claims::of_release(), "", "").unwrap_err();
    assert!(refusal.contains("build-signer-uri"), "{refusal}");
    // Any workflow can write the ID of the runner into its provenance, so this ID proves at most level 2, although the
    // policy gives the builder level 3.
    assert_eq!(check_build("by-runner", Claims::of_release(), "", ""), Ok(2));
    let self_hosted = Claims::of_release().with(Claim::RunnerEnvironment, "self-hosted");
    assert!(check_build("by-runner", self_hosted, "", "").unwrap_err().contains("runner-environment"));
}

#[test]
fn c_29_provenance_that_differs_from_the_claims_of_the_certificate_is_refused() {
    for (claim, value) in [
        (Claim::SourceRepositoryUri, "https://github.com/acme/other"),
        (Claim::SourceRepositoryRef, "refs/heads/main"),
        (Claim::SourceRepositoryDigest, "decaf"),
        (Claim::BuildSignerUri, "https://github.com/acme/app/.github/workflows/other.yml@refs/tags/v13.0"),
    ] {
        let refusal = check_build("by-generator", Claims::of_generator().with(claim, value), "", "").unwrap_err();
        assert!(refusal.contains(claim.name()) && refusal.contains(value), "{refusal}");
        let refusal = check_build("by-generator", Claims::of_generator().without(claim), "", "").unwrap_err();
        assert!(refusal.contains(&format!("no claim {}", claim.name())), "{refusal}");
    }
    // Without a commit, nothing connects the provenance to the workflow run.
    let refusal = check_build("by-generator", Claims::of_generator(), r#""sha1""#, r#""md5""#).unwrap_err();
    assert!(refusal.contains("names no commit"), "{refusal}");
}

#[test]
fn c_30_inputs_of_a_person_who_started_the_build_are_parameters() {
    let inputs = r#""inputs":{"debug":"true"}"#;
    let refusal = check_build("by-generator", Claims::of_generator(), r#""inputs":null"#, inputs).unwrap_err();
    assert!(refusal.contains("the parameter debug, which is not allowed"), "{refusal}");
}

#[test]
fn c_31_a_statement_that_is_not_provenance_is_refused() {
    let policy = policy();
    let crate::policy::Demand::Provenance(demand) = &policy.rules()[0].demand else { panic!("no provenance") };
    let publish = "https://github.com/npm/attestation/tree/main/specs/publish/v0.1";
    let statement = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v0.1","subject":[{{"digest":{{}}}}],"predicateType":"{publish}","predicate":{{"name":"x","version":"1"}}}}"#
    );
    let content = Content::Statement(Statement::parse(statement.as_bytes()).unwrap());
    let signer = Claims::of_generator().signed_by();
    let signed = Signed { signer, content, times: Vec::new(), logs: BTreeSet::new() };
    let refusal = check_provenance(&signed, &policy.builders[&demand.builders[0]], demand).unwrap_err();
    assert!(refusal.contains(publish), "{refusal}");
}
