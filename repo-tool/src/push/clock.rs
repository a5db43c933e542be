//! A clock that also counts the time during which the machine is suspended. [`std::time::Instant`]
//! does not count this time on Linux and macOS.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The boot-time clock, which keeps running while the machine is suspended. The monotonic clock of Linux and Android
/// does not.
#[cfg(any(target_os = "linux", target_os = "android"))]
const ID: ClockId = ClockId::Boottime;
/// The monotonic clock, which keeps running on macOS while the machine is suspended. Other Unix systems use this clock,
/// too.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const ID: ClockId = ClockId::Monotonic;

/// A clock whose times are durations since an arbitrary moment.
#[derive(Clone)]
pub(super) struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    pub(super) fn of_system() -> Self {
        Self::new(|| clock_gettime(ID).try_into().unwrap_or_default())
    }

    pub(super) fn new(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(super) fn now(&self) -> Duration {
        (self.0)()
    }

    /// Returns the time that has passed since [`Self::now`] returned `earlier`.
    pub(super) fn elapsed(&self, earlier: Duration) -> Duration {
        self.now().saturating_sub(earlier)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_the_system_advances() {
        let clock = Clock::of_system();
        let before = clock.now();
        assert!(before > Duration::ZERO);
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.elapsed(before) >= Duration::from_millis(2));
    }
}
