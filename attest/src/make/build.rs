//! Creates build provenance (SLSA v1) for build systems that do not create it themselves.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{MakeError, NewStatement, PROVENANCE};
use crate::artifact::Artifact;
use crate::slsa::{self, Provenance, WORKFLOW_TYPES};
use crate::statement::Statement;

/// The build type for builds outside GitHub Actions. Its parameters are the source and the inputs of the build.
pub const BUILD_TYPE: &str = slsa::BUILD_TYPE;

/// A description of a build, as stated in its provenance.
#[derive(Clone, Debug, Default)]
pub struct Build {
    /// The URI by which policies name the builder.
    pub builder: String,
    /// The URI of the build type: [`BUILD_TYPE`], or the build type of a GitHub Actions workflow.
    pub build_type: String,
    /// The repository of the source, such as `git+https://github.com/acme/app`.
    pub source: String,
    /// The Git ref of the source, such as `refs/tags/v1.0`.
    pub reference: Option<String>,
    /// The commit of the source.
    pub commit: Option<String>,
    /// The parameters with which the build was started.
    pub parameters: BTreeMap<String, String>,
    /// The URI of the build run.
    pub invocation: Option<String>,
}

impl Build {
    /// Creates a provenance statement.
    ///
    /// # Errors
    /// [`MakeError`] if verifiers would not accept the provenance, or would read values from it that differ from this
    /// build.
    pub fn statement(&self, artifact: &Artifact) -> Result<NewStatement, MakeError> {
        let mut definition = Map::new();
        definition.insert("buildType".into(), self.build_type.clone().into());
        definition.insert("externalParameters".into(), self.external_parameters());
        if let Some(commit) = &self.commit {
            let at = self.reference.as_ref().map(|reference| format!("@{reference}")).unwrap_or_default();
            let dependency = json!({ "uri": format!("{}{at}", self.source), "digest": { "gitCommit": commit } });
            definition.insert("resolvedDependencies".into(), json!([dependency]));
        }
        let mut details = Map::new();
        details.insert("builder".into(), json!({ "id": self.builder }));
        if let Some(invocation) = &self.invocation {
            details.insert("metadata".into(), json!({ "invocationId": invocation }));
        }
        let predicate = json!({ "buildDefinition": definition, "runDetails": details }).to_string();
        let statement = NewStatement::new(artifact, PROVENANCE, &predicate)?;
        self.check(&statement)?;
        Ok(statement)
    }

    fn external_parameters(&self) -> Value {
        let mut parameters = Map::new();
        if WORKFLOW_TYPES.contains(&self.build_type.as_str()) {
            let repository = self.source.strip_prefix("git+").unwrap_or(&self.source);
            parameters.insert("workflow".into(), json!({ "repository": repository, "ref": self.reference }));
        } else {
            let mut source = Map::new();
            source.insert("uri".into(), self.source.clone().into());
            if let Some(reference) = &self.reference {
                source.insert("ref".into(), reference.clone().into());
            }
            parameters.insert("source".into(), source.into());
        }
        if !self.parameters.is_empty() {
            parameters.insert("inputs".into(), json!(self.parameters));
        }
        parameters.into()
    }

    /// Checks that verifiers who read the statement find the same values as in this build.
    fn check(&self, statement: &NewStatement) -> Result<(), MakeError> {
        let parsed =
            Statement::parse(statement.text().as_bytes()).map_err(|error| MakeError::Statement(error.to_string()))?;
        let read = Provenance::read(&parsed).map_err(MakeError::Statement)?;
        let expected = Provenance {
            builder: self.builder.clone(),
            build_type: self.build_type.clone(),
            source: self.source.clone(),
            reference: self.reference.clone(),
            commit: self.commit.clone(),
            parameters: Some(self.parameters.iter().map(|(name, value)| (name.clone(), value.clone())).collect()),
        };
        for (what, text) in [("builder", &self.builder), ("source", &self.source)] {
            if !text.contains("://") {
                return Err(MakeError::Statement(format!("the {what} must be a URI, found {text:?}")));
            }
        }
        if read != expected {
            return Err(MakeError::Statement(format!(
                "provenance of the build type {} cannot express this build; verifiers would read {read:?}",
                self.build_type
            )));
        }
        Ok(())
    }
}
