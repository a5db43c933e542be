//! Build provenance (SLSA v0.2 and v1), which states who built an artifact from which source, and with which
//! parameters.
//!
//! Sources: <https://slsa.dev/spec/v0.2/provenance>, <https://slsa.dev/spec/v1.0/provenance>, and the specifications
//! of the build types. A signer can write anything into a provenance statement. Therefore, a statement that is signed
//! with a certificate must agree with the claims of the certificate. The SLSA build level of a builder comes only from
//! the policy, not from the statement.

use crate::json::{Object, Value};
use crate::signed::{Certificate, Claim};
use crate::statement::Statement;

/// The predicate types of the two supported versions of provenance.
const V0_2: &str = "https://slsa.dev/provenance/v0.2";
const V1: &str = "https://slsa.dev/provenance/v1";

/// The build type of the provenance that `lastmile-repo attest` writes. Its `externalParameters` have three values: the
/// source repository (`source.uri`), the Git ref of the source (`source.ref`), and the build parameters (`inputs`).
pub(crate) const BUILD_TYPE: &str = "https://github.com/lastmile-update/lastmile/buildtypes/source/v1";

/// The build types of SLSA v1 that describe GitHub Actions workflows.
pub(crate) const WORKFLOW_TYPES: [&str; 2] = [
    "https://actions.github.io/buildtypes/workflow/v1",
    "https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1",
];

/// The builder IDs of GitHub Actions runners, each with the corresponding value of the claim `runner-environment`. The
/// workflow that runs the build writes the builder ID itself. Therefore, provenance with one of these IDs proves at
/// most the level [`RUNNER_LEVEL`].
const RUNNERS: [(&str, &str); 2] = [
    ("https://github.com/actions/runner/github-hosted", "github-hosted"),
    ("https://github.com/actions/runner/self-hosted", "self-hosted"),
];

/// The highest SLSA build level that provenance can prove if the workflow that ran the build also wrote the provenance.
const RUNNER_LEVEL: u8 = 2;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Provenance {
    pub(crate) builder: String,
    pub(crate) build_type: String,
    /// The repository of the source, such as `git+https://github.com/acme/app`.
    pub(crate) source: String,
    /// The Git ref of the source, such as `refs/tags/v1.0`.
    pub(crate) reference: Option<String>,
    pub(crate) commit: Option<String>,
    /// The names of the parameters with which the build was started, and their values as text. `None` if the provenance
    /// does not record the parameters.
    pub(crate) parameters: Option<Vec<(String, String)>>,
}

impl Provenance {
    pub(crate) fn is_type(predicate_type: &str) -> bool {
        [V0_2, V1].contains(&predicate_type)
    }

    pub(crate) fn read(statement: &Statement) -> Result<Self, String> {
        let predicate = statement.predicate();
        match statement.predicate_type() {
            V0_2 => read_v0_2(predicate),
            V1 => read_v1(predicate),
            other => Err(format!("{other} is not a supported type of provenance")),
        }
    }

    /// Returns the SLSA build level that this provenance proves. `level` is the level of the builder according to the
    /// policy. If the builder is a GitHub Actions runner, the result is at most [`RUNNER_LEVEL`].
    pub(crate) fn most_level(&self, level: u8) -> u8 {
        let is_runner = RUNNERS.iter().any(|(id, _)| *id == self.builder);
        if is_runner { level.min(RUNNER_LEVEL) } else { level }
    }

    /// Checks that the provenance agrees with the claims of the certificate with which it was signed.
    pub(crate) fn check_certificate(&self, certificate: &Certificate) -> Result<(), String> {
        let claim = |claim: Claim| {
            let value = certificate.claims.get(&claim).map(String::as_str);
            value.ok_or_else(|| {
                format!("the certificate has no claim {}, so the provenance cannot be confirmed", claim.name())
            })
        };
        let repository = claim(Claim::SourceRepositoryUri)?;
        let source = self.source.strip_prefix("git+").unwrap_or(&self.source);
        equal("source", source, "source-repository-uri", repository)?;
        if let Some(reference) = &self.reference {
            equal("ref", reference, "source-repository-ref", claim(Claim::SourceRepositoryRef)?)?;
        }
        let commit = self.commit.as_deref().ok_or("the provenance names no commit")?;
        equal("commit", commit, "source-repository-digest", claim(Claim::SourceRepositoryDigest)?)?;
        match RUNNERS.iter().find(|(id, _)| *id == self.builder) {
            Some((_, environment)) => {
                equal("builder", environment, "runner-environment", claim(Claim::RunnerEnvironment)?)
            }
            None => equal("builder", &self.builder, "build-signer-uri", claim(Claim::BuildSignerUri)?),
        }
    }
}

fn equal(what: &str, stated: &str, claim: &str, certified: &str) -> Result<(), String> {
    if stated == certified {
        return Ok(());
    }
    Err(format!("the {what} of the provenance is {stated}, but the certificate's claim {claim} is {certified}"))
}

fn read_v1(predicate: &Value) -> Result<Provenance, String> {
    let build_type = text(predicate, "/buildDefinition/buildType")?;
    let builder = text(predicate, "/runDetails/builder/id")?;
    let external = object(predicate, "/buildDefinition/externalParameters")?;
    let (source, reference, commit, parameters) = match build_type {
        _ if WORKFLOW_TYPES.contains(&build_type) => {
            let repository = text(predicate, "/buildDefinition/externalParameters/workflow/repository")?;
            let reference = text(predicate, "/buildDefinition/externalParameters/workflow/ref")?;
            let commit = optional_text(predicate, "/buildDefinition/resolvedDependencies/0/digest/gitCommit");
            // Some provenance does not record the inputs with which the workflow was started.
            let parameters = external.get("inputs").map(|_| parameters_without(external, &["workflow"]));
            (format!("git+{repository}"), Some(reference), commit, parameters)
        }
        BUILD_TYPE => {
            let source = text(predicate, "/buildDefinition/externalParameters/source/uri")?;
            let reference = optional_text(predicate, "/buildDefinition/externalParameters/source/ref");
            let commit = optional_text(predicate, "/buildDefinition/resolvedDependencies/0/digest/gitCommit");
            (source.to_owned(), reference, commit, Some(parameters_without(external, &["source"])))
        }
        "https://slsa-framework.github.io/slsa-github-generator/delegator-generic@v0"
        | "https://github.com/slsa-framework/slsa-github-generator/delegator-generic@v0" => {
            let uri = text(predicate, "/buildDefinition/resolvedDependencies/0/uri")?;
            let commit = optional_text(predicate, "/buildDefinition/resolvedDependencies/0/digest/gitCommit")
                .or_else(|| optional_text(predicate, "/buildDefinition/resolvedDependencies/0/digest/sha1"));
            let (source, reference) = split_uri(uri);
            let inputs = predicate.pointer("/buildDefinition/externalParameters/inputs").and_then(Value::as_object);
            (source, reference, commit, inputs.map(parameters_of))
        }
        _ if build_type.ends_with("/container-based-build/v0.1?draft") => {
            let uri = text(predicate, "/buildDefinition/externalParameters/source/uri")?;
            let commit = optional_text(predicate, "/buildDefinition/externalParameters/source/digest/sha1");
            let (source, reference) = split_uri(uri);
            (source, reference, commit, Some(parameters_without(external, &["source"])))
        }
        _ => return Err(format!("the build type {build_type} is not supported")),
    };
    Ok(Provenance {
        builder: builder.to_owned(),
        build_type: build_type.to_owned(),
        source,
        reference: reference.map(str::to_owned),
        commit: commit.map(str::to_owned),
        parameters,
    })
}

fn read_v0_2(predicate: &Value) -> Result<Provenance, String> {
    let (source, reference) = split_uri(text(predicate, "/invocation/configSource/uri")?);
    // If a person started the workflow, the event payload contains the workflow's inputs. All other parameters of a
    // build are in `invocation.parameters`.
    let parameters = predicate.pointer("/invocation/parameters").and_then(Value::as_object);
    let inputs = predicate.pointer("/invocation/environment/github_event_payload/inputs").and_then(Value::as_object);
    let parameters = parameters.map(|parameters| {
        let inputs = inputs.map(parameters_of).unwrap_or_default();
        [parameters_without(parameters, &[]), inputs].concat()
    });
    Ok(Provenance {
        builder: text(predicate, "/builder/id")?.to_owned(),
        build_type: text(predicate, "/buildType")?.to_owned(),
        source,
        reference: reference.map(str::to_owned),
        commit: optional_text(predicate, "/invocation/configSource/digest/sha1").map(str::to_owned),
        parameters,
    })
}

/// Splits `git+https://host/path@ref` at the last `@` if a complete Git ref follows. Otherwise, returns the whole URI
/// as the source.
fn split_uri(uri: &str) -> (String, Option<&str>) {
    match uri.rsplit_once('@') {
        Some((source, reference)) if reference.starts_with("refs/") => (source.to_owned(), Some(reference)),
        _ => (uri.to_owned(), None),
    }
}

/// Returns the names of an object's members, and their values as text. Omits the members in `known` and members with
/// empty values. Replaces the objects `inputs`, `vars` and `event_inputs` with their members, and keeps these members
/// even if their values are empty.
fn parameters_without(object: &Object, known: &[&str]) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    for (name, value) in object.members().filter(|(name, _)| !known.contains(name)) {
        match value {
            Value::Null => {}
            Value::Object(members) if ["inputs", "vars", "event_inputs"].contains(&name) || members.is_empty() => {
                parameters.extend(parameters_of(members));
            }
            Value::String(text) if text.is_empty() => {}
            Value::Array(elements) if elements.is_empty() => {}
            value => parameters.push((name.to_owned(), parameter_text(value))),
        }
    }
    parameters
}

fn parameters_of(inputs: &Object) -> Vec<(String, String)> {
    inputs.members().map(|(name, value)| (name.to_owned(), parameter_text(value))).collect()
}

fn parameter_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn text<'a>(predicate: &'a Value, pointer: &str) -> Result<&'a str, String> {
    optional_text(predicate, pointer).ok_or_else(|| format!("the provenance has no string at {pointer}"))
}

fn optional_text<'a>(predicate: &'a Value, pointer: &str) -> Option<&'a str> {
    predicate.pointer(pointer).and_then(Value::as_str)
}

fn object<'a>(predicate: &'a Value, pointer: &str) -> Result<&'a Object, String> {
    let found = predicate.pointer(pointer).and_then(Value::as_object);
    found.ok_or_else(|| format!("the provenance has no object at {pointer}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(build_type: &str, external: &str, dependencies: &str) -> Result<Provenance, String> {
        let statement = format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha1":"0"}}}}],"predicateType":"{V1}","predicate":{{
                "buildDefinition":{{"buildType":"{build_type}","externalParameters":{external},"resolvedDependencies":{dependencies}}},
                "runDetails":{{"builder":{{"id":"https://ci.example.com"}}}}}}}}"#
        );
        Provenance::read(&Statement::parse(statement.as_bytes()).unwrap())
    }

    fn parameters(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn provenance_of_delegated_builds_names_the_source_in_the_first_dependency() {
        let uri = r#""uri":"git+https://github.com/acme/app@refs/tags/v1""#;
        for host in ["https://slsa-framework.github.io", "https://github.com/slsa-framework"] {
            for digest in ["gitCommit", "sha1"] {
                let build_type = format!("{host}/slsa-github-generator/delegator-generic@v0");
                let dependencies = format!(r#"[{{{uri},"digest":{{"{digest}":"c0ffee"}}}}]"#);
                let found = read(&build_type, r#"{"inputs":{"level":"3"},"vars":{}}"#, &dependencies).unwrap();
                assert_eq!(found.source, "git+https://github.com/acme/app");
                assert_eq!(
                    (found.reference.as_deref(), found.commit.as_deref()),
                    (Some("refs/tags/v1"), Some("c0ffee"))
                );
                assert_eq!(found.parameters, parameters(&[("level", "3")]));
            }
        }
    }

    #[test]
    fn provenance_of_container_builds_names_the_source_in_the_parameters() {
        let external =
            |uri: &str| format!(r#"{{"source":{{"uri":"{uri}","digest":{{"sha1":"c0ffee"}}}},"image":"x"}}"#);
        let build_type = "https://slsa-framework.github.io/container-based-build/v0.1?draft";
        let found = read(build_type, &external("git+https://github.com/acme/app@refs/heads/main"), "[]").unwrap();
        assert_eq!(found.source, "git+https://github.com/acme/app");
        assert_eq!((found.reference.as_deref(), found.commit.as_deref()), (Some("refs/heads/main"), Some("c0ffee")));
        assert_eq!(found.parameters, parameters(&[("image", "x")]));
        // `main` is not a complete ref, so it remains part of the source.
        let found = read(build_type, &external("git+https://github.com/acme/app@main"), "[]").unwrap();
        assert_eq!((found.source.as_str(), found.reference), ("git+https://github.com/acme/app@main", None));
        assert!(read("https://example.com/build", &external("x"), "[]").unwrap_err().contains("is not supported"));
    }

    #[test]
    fn empty_values_are_no_parameters() {
        let external = r#"{"source":{"uri":"git+https://github.com/acme/app"},"a":"","b":[],"c":null,"d":{},"e":"x","f":["y"],
            "g":{"h":1},"inputs":{"i":""},"j":true}"#;
        let found = read(BUILD_TYPE, external, "[]").unwrap();
        let expected = [("e", "x"), ("f", r#"["y"]"#), ("g", r#"{"h":1}"#), ("i", ""), ("j", "true")];
        assert_eq!(found.parameters, parameters(&expected));
    }
}
