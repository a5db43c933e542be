//! `lastmile verify`: checks a local file against the trusted metadata and the policies, without network requests.

use std::io::Read;
use std::path::Path;

use lastmile_metadata::{FileError, TargetFile};
use serde_json::Value;

use super::args::Verify;
use super::targets::{described, target_path};
use super::{App, ExitStatus, Failure};
use crate::error::{Error, LocalError, Refusal, RefusedError};
use crate::text::printable_path;

impl App<'_> {
    pub(super) async fn verify(&self, verify: Verify) -> Result<ExitStatus, Failure> {
        let Some(name) = verify.named() else { return Err(Failure::usage("no target is named")) };
        let path = target_path(name.to_owned())?;
        let mut session = self.offline_session(&self.repository()?, &verify.policy).await?;
        let target = session.find(&path).await?.ok_or(Error::NoSuchTarget(path))?;
        let mut document = described(&target);
        let mut lines = Vec::new();
        if let Some(file) = &verify.file {
            check_file(file, &target).await?;
            lines.push(format!("{}: verified as {}", printable_path(file), target.path));
            if let Some(document) = document.as_object_mut() {
                document.insert("file".to_owned(), Value::from(file.to_string_lossy()));
                document.insert("verified".to_owned(), Value::from(true));
            }
        }
        #[cfg(feature = "attest")]
        {
            let verdict = session.judge_stored(&target).await?;
            if let (Some(document), Some(policy)) = (document.as_object_mut(), super::policy::document(&verdict)) {
                document.insert("policy".to_owned(), policy);
            }
            if verify.explain.is_some() {
                lines.extend(super::policy::lines(&verdict));
                self.output.data(&document, lines)?;
                return Ok(if verdict.check().is_ok() { ExitStatus::Done } else { ExitStatus::Refused });
            }
            session.enforce(&verdict)?;
        }
        self.output.data(&document, lines)?;
        Ok(ExitStatus::Done)
    }
}

impl Verify {
    fn named(&self) -> Option<&str> {
        #[cfg(feature = "attest")]
        let explained = self.explain.as_deref();
        #[cfg(not(feature = "attest"))]
        let explained = None;
        self.target.as_deref().or(explained)
    }
}

/// Refuses a file that is not this target.
async fn check_file(file: &Path, target: &TargetFile) -> Result<(), Failure> {
    let Err(error) = check(file, target).await? else { return Ok(()) };
    let refusal = Refusal::Target { path: target.path.clone(), error };
    let failure = Failure::from(Error::from(RefusedError::from(refusal)));
    Err(failure.with_hint(format!("`{}` is not this target or has been changed", printable_path(file))))
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
                // Yield, so that a signal can interrupt the check of a long file.
                tokio::task::yield_now().await;
            }
        }
    }
}
