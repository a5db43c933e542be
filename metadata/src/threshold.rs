//! The number of keys that must sign for a role (TUF specification 4.3, 4.5).

use core::fmt;
use core::num::NonZeroU32;

/// The number of distinct keys that must sign, which is at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Threshold(NonZeroU32);

impl Threshold {
    /// The threshold of one key.
    pub const ONE: Self = Self(NonZeroU32::MIN);

    /// Creates a threshold. Returns `None` for zero (TUF specification 4.3, 4.5).
    #[must_use]
    pub fn new(threshold: u32) -> Option<Self> {
        NonZeroU32::new(threshold).map(Self)
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
