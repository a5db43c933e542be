//! `lastmile refresh`: fetches and verifies the metadata of the top-level roles.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use chrono::TimeDelta;
use lastmile_metadata::{TrustedMetadata, format_time};
use serde_json::{Value, json};

use super::roles::{TrustedRole, roles};
use super::{App, ExitStatus, Failure};

impl App<'_> {
    pub(super) async fn refresh(&self, jitter: Option<Duration>) -> Result<ExitStatus, Failure> {
        let repository = self.repository()?;
        let updater = self.updater(&repository)?;
        let waited = wait_at_most(jitter.unwrap_or_default()).await;
        // Metadata that expires during the wait must be refused.
        let now = self.now + TimeDelta::from_std(waited).unwrap_or_default();
        let session = updater.refresh_at(now).await?;
        let (lines, documents) = refreshed(session.trusted());
        let document = json!({ "repository": repository.name.as_str(), "roles": documents });
        self.output.report(&document, &lines)?;
        Ok(ExitStatus::Done)
    }
}

/// Waits for a random time. Returns the time that was waited.
async fn wait_at_most(longest: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 1_000_000;
    let wait = longest.mul_f64(random as f64 / 1_000_000.0);
    tokio::time::sleep(wait).await;
    wait
}

fn refreshed(trusted: &TrustedMetadata) -> (Vec<String>, Vec<Value>) {
    let rows = roles(trusted);
    let line =
        |role: &TrustedRole| format!("{} version {}, expires {}", role.name, role.version, format_time(&role.expires));
    (rows.iter().map(line).collect(), rows.iter().map(TrustedRole::document).collect())
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_wait_is_random_and_never_longer_than_allowed() {
        let longest = Duration::from_secs(3600);
        let mut waits = Vec::new();
        for _ in 0..20 {
            let before = Instant::now();
            let waited = wait_at_most(longest).await;
            let elapsed = before.elapsed();
            assert!(elapsed >= waited && elapsed <= waited + Duration::from_millis(2), "{elapsed:?} {waited:?}");
            assert!(waited <= longest, "{waited:?}");
            waits.push(waited);
        }
        waits.sort();
        waits.dedup();
        assert!(waits.len() > 10, "{waits:?}");
        let before = Instant::now();
        assert_eq!((wait_at_most(Duration::ZERO).await, before.elapsed()), (Duration::ZERO, Duration::ZERO));
    }
}
