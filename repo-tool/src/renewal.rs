//! The urgency of renewing a role.

/// The urgency of renewing a role. [`RoleConfig::renewal_period`](crate::RoleConfig::renewal_period) determines how
/// long before expiry the renewal period starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Renewal {
    /// The renewal period has not started yet.
    Later,
    /// The renewal period has started, so the next `renew` command signs the role again.
    Due,
    /// Half of the renewal period has passed without a renewal.
    Overdue,
    /// Three quarters of the renewal period have passed without a renewal.
    Urgent,
    /// The role has expired, so clients refuse it.
    Expired,
}

impl Renewal {
    /// Returns the name that stands for this urgency in JSON output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Later => "later",
            Self::Due => "due",
            Self::Overdue => "overdue",
            Self::Urgent => "urgent",
            Self::Expired => "expired",
        }
    }
}
