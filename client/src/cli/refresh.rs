//! `lastmile refresh`: fetches and verifies the metadata of the top-level roles.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_metadata::{TrustedMetadata, format_time};
use serde_json::{Value, json};

use super::roles::{TrustedRole, roles};
use super::{App, ExitStatus, Failure};

impl App<'_> {
    pub(super) async fn refresh(&self, jitter: Option<Duration>) -> Result<ExitStatus, Failure> {
        let repository = self.repository()?;
        let updater = self.updater(&repository)?;
        let waited = wait_at_most(jitter.unwrap_or_default()).await;
        let session = updater.refresh_at(time_after(self.now, waited, (self.world.now)())).await?;
        let (lines, documents) = refreshed(session.trusted());
        let document = json!({ "repository": repository.name.as_str(), "roles": documents });
        self.output.report(&document, &lines)?;
        Ok(ExitStatus::Done)
    }
}

/// Returns the time to use for verification after a wait that began at `start`. `now` is the time of this machine's
/// clock after the wait. Metadata that expired during the wait must be refused, even if the machine was suspended or
/// its clock was changed during the wait.
fn time_after(start: DateTime<Utc>, waited: Duration, now: DateTime<Utc>) -> DateTime<Utc> {
    let expected = start + TimeDelta::from_std(waited).unwrap_or_default();
    expected.max(now)
}

/// Waits for a random time, and returns how long it waited.
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

    #[test]
    fn the_time_after_a_wait_includes_a_suspension_of_the_machine() {
        let start = DateTime::UNIX_EPOCH;
        let minute = Duration::from_secs(60);
        let after = |seconds| time_after(start, minute, start + TimeDelta::seconds(seconds)) - start;
        assert_eq!(after(43_200), TimeDelta::hours(12));
        // A clock that was set back, or that stands still in a test, does not extend the validity of metadata.
        assert_eq!([after(0), after(-100)], [TimeDelta::minutes(1); 2]);
    }

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
