//! Retries of temporary network failures, with back-off, jitter, and one deadline for each file. Refused files are
//! never retried.
//!
//! If an attempt to download a target fails after it has received bytes, the number of retries and the pause are reset
//! to their initial values, but the deadline does not change. The crate `backon` has no such reset.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::net::fetch::FetchError;

/// How many times to retry, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The number of retries after a temporary failure.
    pub retries: u32,
    /// The pause before the first retry. The pause doubles with each further retry.
    pub first_pause: Duration,
    /// The maximum pause, even if the server asks for a longer one.
    pub longest_pause: Duration,
    /// The maximum time for one file from one mirror, including pauses. Targets get additional time in proportion to
    /// their length; see [`slowest`](RetryPolicy::slowest).
    pub deadline: Duration,
    /// The lowest acceptable download rate for a target, in bytes per second.
    pub slowest: u32,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            retries: 3,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(20),
            deadline: Duration::from_secs(120),
            slowest: 4096,
        }
    }
}

impl RetryPolicy {
    /// Starts the deadline for one file of at most `length` bytes.
    #[must_use]
    pub(crate) fn start(&self, length: u64) -> Retries {
        let transfer = Duration::from_secs(length / u64::from(self.slowest.max(1)));
        // Cap the limit at about 34 years, because an absurd listed length would otherwise overflow `Instant`.
        let limit = self.deadline.saturating_add(transfer).min(Duration::from_secs(1 << 30));
        Retries { policy: *self, left: self.retries, next: self.first_pause, limit, deadline: Instant::now() + limit }
    }
}

#[derive(Debug)]
pub(crate) struct Retries {
    policy: RetryPolicy,
    left: u32,
    next: Duration,
    limit: Duration,
    deadline: Instant,
}

impl Retries {
    /// Awaits `work`, but not beyond the deadline.
    ///
    /// # Errors
    ///
    /// [`FetchError::Timeout`] at the deadline; otherwise the error from `work`.
    pub(crate) async fn within<T>(&self, work: impl Future<Output = Result<T, FetchError>>) -> Result<T, FetchError> {
        timeout_at(self.deadline, work).await.unwrap_or_else(|_| Err(self.too_late()))
    }

    /// Pauses after the failed attempt that returned `error`.
    ///
    /// # Errors
    ///
    /// Returns `error` if the failure is not temporary, no retries are left, or the pause would not end before the
    /// deadline.
    pub(crate) async fn pause_after(&mut self, error: FetchError) -> Result<(), FetchError> {
        if !error.may_pass() || self.left == 0 {
            return Err(error);
        }
        let pause = match error {
            FetchError::RetryLater { after, .. } => after.min(self.policy.longest_pause),
            _ => jittered(self.next),
        };
        let resume = Instant::now() + pause;
        if resume >= self.deadline {
            return Err(error);
        }
        self.left -= 1;
        self.next = self.next.saturating_mul(2).min(self.policy.longest_pause);
        sleep_until(resume).await;
        Ok(())
    }

    /// Resets the number of retries and the pause to their initial values, but keeps the deadline. Call this method
    /// when an attempt has received bytes.
    pub(crate) fn progressed(&mut self) {
        self.left = self.policy.retries;
        self.next = self.policy.first_pause;
    }

    fn too_late(&self) -> FetchError {
        FetchError::Timeout(format!("not completed within {} s (limit `deadline`)", self.limit.as_secs()))
    }
}

/// Returns a random duration between half of `pause` and `pause`, so that many clients do not retry at the same moment.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 1000;
    pause / 2 + pause.mul_f64(random as f64 / 2000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAKY: FetchError = FetchError::Status(503);

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_retries_end() {
        let mut retries = RetryPolicy::default().start(0);
        let mut pauses = Vec::new();
        loop {
            let before = Instant::now();
            if retries.pause_after(FLAKY).await.is_err() {
                break;
            }
            pauses.push(before.elapsed().as_millis());
        }
        assert_eq!(pauses.len(), 3);
        assert!((125..=252).contains(&pauses[0]), "{pauses:?}");
        assert!((500..=1002).contains(&pauses[2]), "{pauses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn permanent_failures_are_not_retried() {
        let mut retries = RetryPolicy::default().start(0);
        assert_eq!(retries.pause_after(FetchError::NotFound).await, Err(FetchError::NotFound));
        let long = FetchError::TooLong { max_length: 3 };
        assert_eq!(retries.pause_after(long.clone()).await, Err(long));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_may_ask_for_a_pause_but_not_for_a_day() {
        let mut retries = RetryPolicy::default().start(0);
        let before = Instant::now();
        let day = FetchError::RetryLater { status: 429, after: Duration::from_secs(86_400) };
        retries.pause_after(day).await.unwrap();
        assert_eq!(before.elapsed().as_secs(), 20);
        let second = FetchError::RetryLater { status: 503, after: Duration::from_secs(1) };
        retries.pause_after(second).await.unwrap();
        assert_eq!(before.elapsed().as_secs(), 21);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_drip_of_bytes_ends_at_the_deadline() {
        let retries = RetryPolicy::default().start(0);
        let drip = retries.within(std::future::pending::<Result<(), _>>()).await;
        assert_eq!(drip, Err(FetchError::Timeout("not completed within 120 s (limit `deadline`)".to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_begins_after_the_deadline() {
        let policy = RetryPolicy { deadline: Duration::from_millis(10), ..RetryPolicy::default() };
        assert_eq!(policy.start(0).pause_after(FLAKY).await, Err(FLAKY));
        assert!(policy.start(u64::MAX).pause_after(FLAKY).await.is_ok());
    }
}
