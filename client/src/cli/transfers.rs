//! `lastmile refresh`, `get` and `list`: what asks the repository.

use std::collections::BTreeSet;
use std::path::PathBuf;

use lastmile_metadata::{PathPattern, TargetFile, TargetPath, TrustedMetadata};
use serde_json::{Value, json};

use super::args::Get;
use super::judged::roles;
use super::terminal::Bars;
use super::{App, ExitStatus, Failure};
use crate::error::Error;
use crate::session::Session;

impl App<'_> {
    pub(super) async fn refresh(&self) -> Result<ExitStatus, Failure> {
        let repository = self.repository()?;
        let session = self.updater(&repository)?.refresh_at(self.now).await?;
        let (lines, documents) = refreshed(session.trusted());
        let document = json!({ "repository": repository.name.as_str(), "roles": documents });
        self.output.data(&document, &lines)?;
        Ok(ExitStatus::Done)
    }

    pub(super) async fn get(&self, get: Get) -> Result<ExitStatus, Failure> {
        if get.output_file.is_some() && get.targets.len() > 1 {
            return Err(Failure::usage("`--output-file` is for a single target")
                .with_hint("`--output DIR` gives each target its own path below a folder"));
        }
        let mut session = self.session(get.offline).await?;
        let mut paths: Vec<TargetPath> = Vec::new();
        let mut known = BTreeSet::new();
        for path in get.targets {
            let path = target_path(path)?;
            if known.insert(path.clone()) {
                paths.push(path);
            }
        }
        let found = session.find_all(&paths).await?;
        let found = paths.into_iter().zip(found).map(|(path, found)| found.ok_or(Error::NoSuchTarget(path)));
        let targets: Vec<TargetFile> = found.collect::<Result<_, _>>()?;
        let bars = Bars::new(self.output);
        let results = match (&get.output_file, targets.as_slice()) {
            (Some(file), [target]) => vec![session.download_with_progress(target, file, &bars).await],
            _ => session.download_all_with_progress(&targets, &get.output, get.jobs.into(), &bars).await,
        };
        self.report(&targets, results)
    }

    /// The paths of what arrived, and why the rest did not.
    fn report(&self, targets: &[TargetFile], results: Vec<Result<PathBuf, Error>>) -> Result<ExitStatus, Failure> {
        let (mut lines, mut documents, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        for (target, result) in targets.iter().zip(results) {
            let mut document = described(target);
            match result {
                Ok(path) => {
                    let path = path.display().to_string();
                    merge(&mut document, &json!({ "file": path }));
                    lines.push(path);
                }
                Err(error) => {
                    let failure = Failure::from(error);
                    merge(&mut document, &failure.json());
                    failures.push(failure);
                }
            }
            documents.push(document);
        }
        self.output.data(&json!({ "targets": documents }), &lines)?;
        let last = failures.pop();
        for failure in failures {
            self.output.failure(&failure);
        }
        last.map_or(Ok(ExitStatus::Done), Err)
    }

    pub(super) async fn list(&self, pattern: Option<String>, offline: bool) -> Result<ExitStatus, Failure> {
        let pattern = pattern.map(PathPattern::new);
        let mut targets = self.session(offline).await?.list().await?;
        if let Some(pattern) = &pattern {
            targets.retain(|target| pattern.matches(&target.path));
        }
        let lines: Vec<_> = targets.iter().map(|target| target.path.as_str().to_owned()).collect();
        let documents: Vec<_> = targets.iter().map(described).collect();
        self.output.data(&json!({ "targets": documents }), &lines)?;
        Ok(ExitStatus::Done)
    }

    async fn session(&self, offline: bool) -> Result<Session, Failure> {
        let repository = self.repository()?;
        if offline {
            return Ok(self.reader(&repository)?.offline_at(self.now).await?);
        }
        Ok(self.updater(&repository)?.refresh_at(self.now).await?)
    }
}

pub(super) fn target_path(path: String) -> Result<TargetPath, Failure> {
    TargetPath::new(path).map_err(|error| Failure::usage(error.to_string()))
}

pub(super) async fn find(session: &mut Session, path: TargetPath) -> Result<TargetFile, Error> {
    let found = session.find(&path).await?;
    found.ok_or(Error::NoSuchTarget(path))
}

/// What is listed about a target.
pub(super) fn described(target: &TargetFile) -> Value {
    let hashes = target.hashes.known().map(|(algorithm, digest)| {
        let digest = Value::from(hex::encode(digest));
        (algorithm.name().to_owned(), digest)
    });
    let hashes: serde_json::Map<_, _> = hashes.collect();
    let custom = target.custom.as_ref().and_then(|custom| serde_json::from_str::<Value>(&custom.to_text()).ok());
    json!({ "target": target.path.as_str(), "length": target.length, "hashes": hashes, "custom": custom })
}

fn merge(document: &mut Value, more: &Value) {
    if let (Some(document), Some(more)) = (document.as_object_mut(), more.as_object()) {
        document.extend(more.clone());
    }
}

fn refreshed(trusted: &TrustedMetadata) -> (Vec<String>, Vec<Value>) {
    let rows = roles(trusted);
    let line = |role: &super::judged::TrustedRole| {
        format!("{} version {}, expires {}", role.name, role.version, lastmile_metadata::format_time(&role.expires))
    };
    (rows.iter().map(line).collect(), rows.iter().map(super::judged::TrustedRole::document).collect())
}
