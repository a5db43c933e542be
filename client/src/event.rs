//! Notifications for the application: the progress of downloads, and events that are not errors but that the user
//! should know about.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use lastmile_metadata::{TargetFile, TargetPath, format_time};

use crate::text::printable_path;

/// Receives the progress of downloads. Implementations should return quickly, because the download calls them often and
/// waits for them.
pub trait Progress: Send + Sync {
    /// Handles a progress `event` of the download of `target`.
    fn report(&self, target: &TargetFile, event: Transfer);
}

/// Passes each event to a closure such as `|target: &TargetFile, event: Transfer| …`.
impl<F: Fn(&TargetFile, Transfer) + Send + Sync> Progress for F {
    fn report(&self, target: &TargetFile, event: Transfer) {
        self(target, event);
    }
}

/// Ignores all progress events.
impl Progress for () {
    fn report(&self, _target: &TargetFile, _event: Transfer) {}
}

/// A progress event of one download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transfer {
    /// The download has started.
    Started,
    /// The total number of bytes received so far. The number decreases if the download restarts.
    Advanced(u64),
    /// Every check has passed, and the file has its final name.
    Finished,
    /// The download has failed.
    Failed,
}

/// An event that the user should know about, although it is not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Another process holds the lock on the store, and the client waits for the lock.
    Waiting {
        /// A description of the store, for messages.
        store: String,
    },
    /// This machine's clock shows an earlier time than at the last refresh (decision D4 in docs/pouf.md).
    ClockSteppedBack {
        /// The current time of this machine's clock.
        now: DateTime<Utc>,
        /// The time of this machine's clock at the last refresh.
        before: DateTime<Utc>,
    },
    /// Metadata has expired according to this machine's clock, or the server's clock differs from this machine's clock
    /// by more than a day. The server's time is not authenticated and does not affect verification.
    ClockInDoubt {
        /// The current time of this machine's clock.
        now: DateTime<Utc>,
        /// The time that the server reported, if any.
        server: Option<DateTime<Utc>>,
        /// The time of this machine's clock at the last refresh, if there was one.
        before: Option<DateTime<Utc>>,
    },
    /// A stored file is unusable. The client ignores the file, and fetches it again unless it works offline. If the
    /// record of trusted versions is also damaged or missing, the update may fail, because the client then does not
    /// know which versions were trusted and cannot detect a rollback.
    UnusableFile {
        /// The reason why the file is unusable.
        reason: String,
    },
    /// A mirror failed, and the client tries the next mirror.
    MirrorFailed {
        /// The requested URL, without its user name and password.
        url: String,
        /// The reason why the mirror failed.
        reason: String,
    },
    /// No mirror could be reached, and the client uses the stored metadata, because the application chose
    /// [`Unreachable::UseStored`](crate::Unreachable).
    UsingStored {
        /// The reason why the refresh failed.
        reason: String,
        /// The time at which the first role of the stored metadata expires. From then on, the client refuses to use the
        /// stored metadata.
        until: DateTime<Utc>,
    },
    /// A target was not downloaded, because the correct file already exists at `path`.
    AlreadyThere {
        /// The path of the target.
        target: TargetPath,
        /// The path of the existing file.
        path: PathBuf,
    },
    /// A target does not satisfy a policy, but an exception in the local policy allows the target.
    #[cfg(feature = "attest")]
    PolicyException {
        /// The path of the target.
        target: TargetPath,
        /// The reason that the local policy gives for the exception.
        reason: String,
    },
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Event::Waiting { store } => {
                write!(f, "another process is using {store}; waiting until it is done")
            }
            Event::ClockSteppedBack { now, before } => write!(
                f,
                "this machine's clock reads {}, but read {} at the last refresh; if the clock is wrong, expired metadata may \
                 be accepted or valid metadata refused",
                format_time(now),
                format_time(before)
            ),
            Event::ClockInDoubt { now, server, before } => {
                write!(f, "this machine's clock reads {}", format_time(now))?;
                if let Some(server) = server {
                    write!(f, ", the server's reads {}", format_time(server))?;
                }
                if let Some(before) = before {
                    write!(f, "; at the last refresh, this machine's clock read {}", format_time(before))?;
                }
                f.write_str(
                    ". If this machine's clock is wrong, correct it: a fast clock makes valid metadata look expired, and \
                     a slow clock lets expired metadata pass",
                )
            }
            Event::UnusableFile { reason } => {
                write!(f, "ignoring an unusable stored file: {reason}")
            }
            Event::MirrorFailed { url, reason } => {
                write!(f, "{url}: {reason}; trying the next mirror")
            }
            Event::UsingStored { reason, until } => {
                write!(f, "using the stored metadata, which is valid until {}: {reason}", format_time(until))
            }
            Event::AlreadyThere { target, path } => {
                write!(f, "`{target}` is already at {}", printable_path(path))
            }
            #[cfg(feature = "attest")]
            Event::PolicyException { target, reason } => {
                write!(
                    f,
                    "`{target}` does not satisfy a policy, but an exception in the local policy allows it; \
                     reason: {reason}"
                )
            }
        }
    }
}

/// Receives the events of an updater.
pub trait EventSink: Send + Sync + 'static {
    /// Handles one event.
    fn handle(&self, event: &Event);
}

/// An event sink that sends events to `tracing` as warnings.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TracingSink;

impl EventSink for TracingSink {
    fn handle(&self, event: &Event) {
        tracing::warn!("{event}");
    }
}
