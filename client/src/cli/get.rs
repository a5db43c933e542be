//! `lastmile get`: downloads targets.

use std::collections::BTreeSet;
use std::path::PathBuf;

use lastmile_metadata::{TargetFile, TargetPath};
use serde_json::{Value, json};

use super::args::Get;
use super::targets::{described, target_path};
use super::terminal::Bars;
use super::{App, ExitStatus, Failure};
use crate::error::Error;

impl App<'_> {
    pub(super) async fn get(&self, get: Get) -> Result<ExitStatus, Failure> {
        if get.output_file.is_some() && get.targets.len() > 1 {
            return Err(Failure::usage("`--output-file` takes a single target")
                .with_hint("save several targets below a folder with `--output DIR`"));
        }
        let mut session = self.session(&get.source).await?;
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

    /// Prints the path of each downloaded target and the error of each failed download.
    fn report(&self, targets: &[TargetFile], results: Vec<Result<PathBuf, Error>>) -> Result<ExitStatus, Failure> {
        let mut lines = Vec::new();
        let mut documents = Vec::new();
        let mut failures = Vec::new();
        for (target, result) in targets.iter().zip(results) {
            let mut document = described(target);
            match result {
                Ok(path) => {
                    let path = path.to_string_lossy().into_owned();
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
        self.output.report(&json!({ "targets": documents }), &lines)?;
        let last = failures.pop();
        for failure in failures {
            self.output.failure(&failure);
        }
        last.map_or(Ok(ExitStatus::Done), Err)
    }
}

fn merge(document: &mut Value, more: &Value) {
    if let (Some(document), Some(more)) = (document.as_object_mut(), more.as_object()) {
        document.extend(more.clone());
    }
}
