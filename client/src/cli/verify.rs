//! `lastmile verify`: checks local files against the trusted metadata and the policies, without network requests.

use std::io::Read;
use std::path::Path;

use lastmile_metadata::{FileError, TargetFile, TargetPath};
use serde_json::{Value, json};

use super::args::Verify;
use super::get::merge;
use super::targets::{described, target_path};
use super::{App, ExitStatus, Failure};
use crate::error::{Error, LocalError, Refusal, RefusedError};
use crate::session::Session;
use crate::target::Target;
use crate::text::printable_path;

/// The result of verifying one target: its JSON document, and lines of text for people.
type Verified = (Value, Vec<String>);

impl App<'_> {
    pub(super) async fn verify(&self, verify: Verify) -> Result<ExitStatus, Failure> {
        if let Some(folder) = &verify.below {
            return self.verify_below(folder, &verify).await;
        }
        let Some(name) = verify.named() else { return Err(Failure::usage("no target is named")) };
        let path = target_path(name.to_owned())?;
        let file = match verify.files.as_slice() {
            [] => None,
            [file] => Some(file.as_path()),
            _ => return Err(Failure::usage("several files can be verified only with `--below`")),
        };
        let mut session = self.offline_session(&self.repository()?, &verify.policy).await?;
        let target = session.find(&path).await?.ok_or(Error::NoSuchTarget(path))?;
        #[cfg(feature = "attest")]
        if verify.explain.is_some() {
            return self.explain(&session, &target, file).await;
        }
        let (document, lines) = verified(&session, &target, file).await?;
        self.output.data(&document, lines)?;
        Ok(ExitStatus::Done)
    }

    /// Each file's path relative to `folder` is its target path.
    async fn verify_below(&self, folder: &Path, verify: &Verify) -> Result<ExitStatus, Failure> {
        let paths: Vec<_> = verify.files.iter().map(|file| path_below(folder, file)).collect::<Result<_, _>>()?;
        let mut session = self.offline_session(&self.repository()?, &verify.policy).await?;
        let mut documents = Vec::new();
        let mut lines = Vec::new();
        let mut failures = Vec::new();
        for (file, path) in verify.files.iter().zip(paths) {
            let target = session.find(&path).await?;
            let result = match &target {
                Some(target) => verified(&session, target, Some(file)).await,
                None => Err(Error::NoSuchTarget(path.clone()).into()),
            };
            match result {
                Ok((document, verified)) => {
                    documents.push(document);
                    lines.extend(verified);
                }
                Err(failure) => {
                    let mut document = json!({ "target": path.as_str(), "file": file.to_string_lossy() });
                    merge(&mut document, &json!({ "verified": false }));
                    merge(&mut document, &failure.json());
                    documents.push(document);
                    failures.push(failure);
                }
            }
        }
        self.output.data(&json!({ "targets": documents }), lines)?;
        let last = failures.pop();
        for failure in failures {
            self.output.failure(&failure);
        }
        last.map_or(Ok(ExitStatus::Done), Err)
    }

    #[cfg(feature = "attest")]
    async fn explain(&self, session: &Session, target: &Target, file: Option<&Path>) -> Result<ExitStatus, Failure> {
        let (mut document, mut lines) = checked(target, file).await?;
        let verdict = session.judge_stored(target).await?;
        add_policy(&mut document, &verdict);
        lines.extend(super::policy::lines(&verdict));
        self.output.data(&document, lines)?;
        Ok(if verdict.check().is_ok() { ExitStatus::Done } else { ExitStatus::Refused })
    }
}

/// Verifies the file, if one is given, and enforces the policies.
async fn verified(session: &Session, target: &Target, file: Option<&Path>) -> Result<Verified, Failure> {
    let checked = checked(target, file).await?;
    #[cfg(feature = "attest")]
    let checked = {
        let (mut document, lines) = checked;
        let verdict = session.judge_stored(target).await?;
        add_policy(&mut document, &verdict);
        session.enforce(&verdict)?;
        (document, lines)
    };
    #[cfg(not(feature = "attest"))]
    let _ = session;
    Ok(checked)
}

/// Compares the file, if one is given, with the listed length and hashes of a target.
async fn checked(target: &Target, file: Option<&Path>) -> Result<Verified, Failure> {
    let mut document = described(target);
    let Some(file) = file else { return Ok((document, Vec::new())) };
    check_file(file, target).await?;
    merge(&mut document, &json!({ "file": file.to_string_lossy(), "verified": true }));
    Ok((document, vec![format!("{}: verified as {}", printable_path(file), target.path)]))
}

#[cfg(feature = "attest")]
fn add_policy(document: &mut Value, verdict: &lastmile_attest::Verdict) {
    if let Some(policy) = super::policy::document(verdict) {
        merge(document, &json!({ "policy": policy }));
    }
}

/// Returns the target path of a file that `get --output` saved below `folder`.
fn path_below(folder: &Path, file: &Path) -> Result<TargetPath, Failure> {
    let outside = || Failure::usage(format!("`{}` is not below `{}`", printable_path(file), printable_path(folder)));
    let path = file.strip_prefix(folder).ok().and_then(Path::to_str).ok_or_else(outside)?;
    target_path(path.to_owned())
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

async fn check_file(file: &Path, target: &TargetFile) -> Result<(), Failure> {
    let Err(error) = check(file, target).await? else { return Ok(()) };
    let refusal = Refusal::Target { path: target.path.clone(), error };
    let failure = Failure::from(Error::from(RefusedError::from(refusal)));
    Err(failure.with_hint(format!(
        "`{}` is not the target `{}`, or has been changed",
        printable_path(file),
        target.path
    )))
}

/// Reads a file once, and checks its length and its hashes.
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
