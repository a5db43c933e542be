//! `lastmile status`: reports the trusted version, the expiry and the age of each role, without network requests.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_metadata::{ErrorKind, format_time};
use serde_json::{Value, json};

use super::roles::roles;
use super::{App, ExitStatus, Failure};
use crate::error::Error;

impl App<'_> {
    pub(super) async fn status(&self, within: u32) -> Result<ExitStatus, Failure> {
        let repository = self.repository()?;
        let store = repository.read_only_store()?;
        let reader = self.reader(&repository)?;
        // If a role has expired, verify as of the Unix epoch. No role had expired then, so `status` can still show the
        // roles.
        let session = match reader.offline_at(self.now).await {
            Err(error) if is_expired(&error) => reader.offline_at(DateTime::UNIX_EPOCH).await?,
            other => other?,
        };
        let limit = self.now.checked_add_signed(TimeDelta::days(within.into())).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let mut lines = Vec::new();
        let mut documents = Vec::new();
        let mut status = ExitStatus::Done;
        let all = roles(session.trusted());
        // Without the network, the stored metadata can be used until the first of its roles expires.
        let offline_until = all.iter().map(|role| role.expires).min().unwrap_or(self.now);
        for role in all {
            let state = role.state(self.now, limit);
            status = match (state, status) {
                ("expired", _) => ExitStatus::Refused,
                ("expires soon", ExitStatus::Done) => ExitStatus::Findings,
                _ => status,
            };
            let age = store.replaced_at(&role.name).and_then(time_of).map(|at| self.now - at);
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
        let usable = if offline_until <= self.now { "was usable" } else { "usable" };
        let distance = relative(offline_until - self.now);
        lines.push(format!("{usable} without the network until {} ({distance})", format_time(&offline_until)));
        let state = if status == ExitStatus::Done { "good" } else { "attention" };
        let document = json!({ "repository": repository.name.as_str(), "state": state, "roles": documents, "offline_until": format_time(&offline_until) });
        self.output.data(&document, &lines)?;
        Ok(status)
    }
}

/// Returns `None` if the time is out of range, which can happen on a damaged file system.
fn time_of(file_time: SystemTime) -> Option<DateTime<Utc>> {
    let (since, is_before) = match file_time.duration_since(UNIX_EPOCH) {
        Ok(since) => (since, false),
        Err(error) => (error.duration(), true),
    };
    let seconds = i64::try_from(since.as_secs()).ok()?;
    DateTime::from_timestamp(if is_before { -seconds } else { seconds }, 0)
}

fn is_expired(error: &Error) -> bool {
    error.verdict().is_some_and(|verdict| matches!(verdict.kind, ErrorKind::Expired { .. }))
}

/// Formats a time span relative to now, such as `in 5 days` or `2 h ago`.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_time_out_of_range_is_none() {
        assert_eq!(time_of(UNIX_EPOCH + Duration::from_millis(1500)), DateTime::from_timestamp(1, 0));
        assert_eq!(time_of(UNIX_EPOCH - Duration::from_secs(5)), DateTime::from_timestamp(-5, 0));
        assert_eq!(time_of(UNIX_EPOCH + Duration::from_secs(1 << 60)), None);
        assert_eq!(time_of(UNIX_EPOCH - Duration::from_secs(1 << 60)), None);
    }
}
