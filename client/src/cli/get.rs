//! `lastmile get`: downloads targets.

use std::collections::BTreeSet;
use std::path::PathBuf;

use lastmile_metadata::TargetPath;
use serde_json::{Value, json};

use super::args::Get;
use super::targets::{described, target_path};
use super::terminal::Bars;
use super::{App, ExitStatus, Failure};
use crate::error::Error;
use crate::target::Target;

impl App<'_> {
    pub(super) async fn get(&self, get: Get) -> Result<ExitStatus, Failure> {
        if get.output_file.is_some() && get.targets.len() > 1 {
            return Err(Failure::usage("`--output-file` takes a single target")
                .with_hint("save several targets below a folder with `--output DIR`"));
        }
        let mut session = self.session_with_policy(&get.source, &get.policy).await?;
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
        let targets: Vec<Target> = found.collect::<Result<_, _>>()?;
        let bars = Bars::new(self.output);
        let results = match (&get.output_file, targets.as_slice()) {
            (Some(file), [target]) => vec![session.download_with_progress(target, file, &bars).await],
            _ => session.download_all_with_progress(&targets, &get.output, get.jobs.into(), &bars).await,
        };
        let mut documents = Vec::new();
        for (target, result) in targets.iter().zip(&results) {
            let document = described(target);
            #[cfg(feature = "attest")]
            let document = match result {
                Ok(_) => self.with_verdict(document, &session.judge(target).await?),
                Err(_) => document,
            };
            #[cfg(not(feature = "attest"))]
            let _ = result;
            documents.push(document);
        }
        self.report(documents, results)
    }

    /// With `--verbose`, also reports the rules that the target satisfies.
    #[cfg(feature = "attest")]
    fn with_verdict(&self, mut document: Value, verdict: &lastmile_attest::Verdict) -> Value {
        if let Some(policy) = super::policy::document(verdict) {
            merge(&mut document, &json!({ "policy": policy }));
        }
        if let Some(summary) = super::policy::summary(verdict).filter(|_| self.common.verbose) {
            self.output.note(&summary);
        }
        document
    }

    fn report(&self, mut documents: Vec<Value>, results: Vec<Result<PathBuf, Error>>) -> Result<ExitStatus, Failure> {
        let mut lines = Vec::new();
        let mut failures = Vec::new();
        for (document, result) in documents.iter_mut().zip(results) {
            match result {
                Ok(path) => {
                    let path = path.to_string_lossy().into_owned();
                    merge(document, &json!({ "file": path }));
                    lines.push(path);
                }
                Err(error) => {
                    let failure = Failure::from(error);
                    merge(document, &failure.json());
                    failures.push(failure);
                }
            }
        }
        self.output.report(&json!({ "targets": documents }), &lines)?;
        let last = failures.pop();
        for failure in failures {
            self.output.failure(&failure);
        }
        last.map_or(Ok(ExitStatus::Done), Err)
    }
}

pub(super) fn merge(document: &mut Value, more: &Value) {
    if let (Some(document), Some(more)) = (document.as_object_mut(), more.as_object()) {
        document.extend(more.clone());
    }
}
