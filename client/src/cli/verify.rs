//! `lastmile verify`: checks a local file against the trusted metadata, without network requests.

use std::io::Read;
use std::path::Path;

use lastmile_metadata::{FileError, TargetFile};
use serde_json::Value;

use super::targets::{described, target_path};
use super::{App, ExitStatus, Failure};
use crate::error::{Error, LocalError, Refusal, RefusedError};
use crate::text::printable_path;

impl App<'_> {
    pub(super) async fn verify(&self, file: &Path, target: String) -> Result<ExitStatus, Failure> {
        let path = target_path(target)?;
        let repository = self.repository()?;
        let mut session = self.reader(&repository)?.offline_at(self.now).await?;
        let target = session.find(&path).await?.ok_or(Error::NoSuchTarget(path))?;
        if let Err(error) = check(file, &target).await? {
            let refusal = Refusal::Target { path: target.path, error };
            let failure = Failure::from(Error::from(RefusedError::from(refusal)));
            return Err(failure.with_hint(format!("`{}` is not this target or has been changed", printable_path(file))));
        }
        let line = format!("{}: verified as {}", printable_path(file), target.path);
        let mut document = described(&target);
        if let Some(document) = document.as_object_mut() {
            document.insert("file".to_owned(), Value::from(file.to_string_lossy()));
            document.insert("verified".to_owned(), Value::from(true));
        }
        self.output.data(&document, [line])?;
        Ok(ExitStatus::Done)
    }
}

/// Checks the length and the hashes of a file, which it opens only once.
async fn check(path: &Path, target: &TargetFile) -> Result<Result<(), FileError>, LocalError> {
    let failed = |error| LocalError::new("read", path, error);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut verifier = target.verifier();
    let mut part = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut part).map_err(failed)?;
        match part.get(..read) {
            Some([]) | None => return Ok(verifier.finish()),
            Some(bytes) => {
                if let Err(error) = verifier.update(bytes) {
                    return Ok(Err(error));
                }
                // Yield, so that a signal can interrupt the command.
                tokio::task::yield_now().await;
            }
        }
    }
}
