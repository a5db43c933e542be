//! `lastmile verify` and `status`: what is trusted already, judged again without a request.

use std::io::Read;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_metadata::{ErrorKind, FileError, RoleName, TargetFile, TrustedMetadata, Version, format_time};
use serde_json::{Value, json};

use super::transfers::{described, find, target_path};
use super::{App, ExitStatus, Failure};
use crate::error::{Error, LocalError, Refusal, RefusedError};

impl App<'_> {
    pub(super) async fn verify(&self, file: &Path, target: String) -> Result<ExitStatus, Failure> {
        let path = target_path(target)?;
        let repository = self.repository()?;
        let mut session = self.reader(&repository)?.offline_at(self.now).await?;
        let target = find(&mut session, path).await?;
        if let Err(error) = judge(file, &target)? {
            let refusal = Refusal::Target { path: target.path, error };
            let failure = Failure::from(Error::from(RefusedError::from(refusal)));
            return Err(failure.with_hint(format!("`{}` is another file, or it was changed", file.display())));
        }
        let line = format!("{}: verified as {}", file.display(), target.path);
        let mut document = described(&target);
        if let Some(document) = document.as_object_mut() {
            document.insert("file".to_owned(), Value::from(file.display().to_string()));
            document.insert("verified".to_owned(), Value::from(true));
        }
        self.output.data(&document, [line])?;
        Ok(ExitStatus::Done)
    }

    pub(super) async fn status(&self, within: u32) -> Result<ExitStatus, Failure> {
        let repository = self.repository()?;
        let store = repository.read_only_store()?;
        let reader = self.reader(&repository)?;
        // What has expired is shown, too: at the beginning of time it had not.
        let session = match reader.offline_at(self.now).await {
            Err(error) if is_expired(&error) => reader.offline_at(DateTime::UNIX_EPOCH).await?,
            other => other?,
        };
        let limit = self.now.checked_add_signed(TimeDelta::days(within.into())).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let (mut lines, mut documents) = (Vec::new(), Vec::new());
        let mut status = ExitStatus::Done;
        for role in roles(session.trusted()) {
            let state = role.state(self.now, limit);
            status = match (state, status) {
                ("expired", _) => ExitStatus::Refused,
                ("expires soon", ExitStatus::Done) => ExitStatus::Failed,
                _ => status,
            };
            let age = store.replaced_at(&role.name).map(|at| self.now - DateTime::<Utc>::from(at));
            let mut document = role.document();
            if let Some(document) = document.as_object_mut() {
                document.insert("state".to_owned(), Value::from(state));
                document.insert("age_seconds".to_owned(), json!(age.map(|age| age.num_seconds().max(0))));
            }
            documents.push(document);
            lines.push(format!(
                "{} version {}, {state}: expires {} ({}), replaced {}",
                role.name,
                role.version,
                format_time(&role.expires),
                relative(role.expires - self.now),
                age.map_or_else(|| "never".to_owned(), |age| relative(-age)),
            ));
        }
        let state = if status == ExitStatus::Done { "good" } else { "attention" };
        let document = json!({ "repository": repository.name.as_str(), "state": state, "roles": documents });
        self.output.data(&document, &lines)?;
        Ok(status)
    }
}

/// A role that is trusted.
pub(super) struct TrustedRole {
    pub(super) name: RoleName,
    pub(super) version: Version,
    pub(super) expires: DateTime<Utc>,
}

impl TrustedRole {
    pub(super) fn document(&self) -> Value {
        json!({
            "role": self.name.as_str(),
            "version": self.version.get(),
            "expires": format_time(&self.expires),
        })
    }

    fn state(&self, now: DateTime<Utc>, limit: DateTime<Utc>) -> &'static str {
        if self.expires <= now {
            "expired"
        } else if self.expires <= limit {
            "expires soon"
        } else {
            "good"
        }
    }
}

/// The four top-level roles.
pub(super) fn roles(trusted: &TrustedMetadata) -> Vec<TrustedRole> {
    let (root, timestamp) = (trusted.root(), trusted.timestamp());
    let (snapshot, targets) = (trusted.snapshot(), trusted.targets());
    let [a, b, c, d] = RoleName::TOP_LEVEL;
    vec![
        TrustedRole { name: a, version: root.version, expires: root.expires },
        TrustedRole { name: b, version: timestamp.version, expires: timestamp.expires },
        TrustedRole { name: c, version: snapshot.version, expires: snapshot.expires },
        TrustedRole { name: d, version: targets.version(), expires: targets.expires() },
    ]
}

fn is_expired(error: &Error) -> bool {
    error.verdict().is_some_and(|verdict| matches!(verdict.kind, ErrorKind::Expired { .. }))
}

/// The verdict about a file, read through one open descriptor.
fn judge(path: &Path, target: &TargetFile) -> Result<Result<(), FileError>, LocalError> {
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
            }
        }
    }
}

/// A span of time as a person says it, from now.
fn relative(span: TimeDelta) -> String {
    let seconds = span.num_seconds().unsigned_abs();
    let text = match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    };
    if span < TimeDelta::zero() { format!("{text} ago") } else { format!("in {text}") }
}
