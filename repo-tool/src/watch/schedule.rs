//! The times at which `renew --watch` renews roles.

use std::hash::{BuildHasher as _, RandomState};

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_metadata::{RoleName, Version};

use crate::config::RoleConfig;

/// The number of equal parts into which the renewal period of a role is divided. The role is renewed at a random time
/// in the first part. `status` reports a role as overdue only after half of the period, so a successful renewal
/// prevents this report.
const QUARTERS: i32 = 4;

/// Chooses random times, so that several hosts that run `renew --watch` for the same repository rarely renew it at the
/// same time. One `Jitter` value always chooses the same time for the same version of a role.
#[derive(Clone, Default)]
pub(crate) struct Jitter(RandomState);

impl Jitter {
    pub(crate) fn renewal_time(
        &self,
        role: &RoleName,
        (version, expires): (Version, DateTime<Utc>),
        config: &RoleConfig,
    ) -> DateTime<Utc> {
        let period = config.renewal_period();
        let seconds = u64::try_from((period / QUARTERS).num_seconds()).unwrap_or(0);
        let random = self.0.hash_one((role, version.get())) % (seconds + 1);
        expires - period + TimeDelta::seconds(i64::try_from(random).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Renewal;

    #[test]
    fn a_role_is_renewed_after_it_is_due_and_before_it_is_overdue() {
        let expires = "2030-01-08T12:00:00Z".parse().unwrap();
        let mut distinct = std::collections::BTreeSet::new();
        for days in [1, 2, 7, 365] {
            let config = RoleConfig { threshold: 1, expires_days: days, renew_days: days * 5 / 7, keys: Vec::new() };
            for version in 1..100 {
                let version = Version::new(version).unwrap();
                let jitter = Jitter::default();
                let time = jitter.renewal_time(&RoleName::TIMESTAMP, (version, expires), &config);
                assert_eq!(config.renewal(expires, time), Renewal::Due, "{days} {time}");
                assert_eq!(jitter.renewal_time(&RoleName::TIMESTAMP, (version, expires), &config), time);
                distinct.insert(time);
            }
        }
        assert!(distinct.len() > 300, "the times must differ: {}", distinct.len());
    }
}
