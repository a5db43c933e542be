//! What an application can observe: the progress of downloads, and events that are not errors.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use lastmile_metadata::{TargetFile, TargetPath, format_time};

use crate::text::printable_path;

/// Observes downloads. It is called often, by the download itself, so it should return quickly.
pub trait Progress: Send + Sync {
    /// Reports that `event` happened to the download of `target`.
    fn report(&self, target: &TargetFile, event: Transfer);
}

/// A closure, such as `|target: &TargetFile, event: Transfer| …`.
impl<F: Fn(&TargetFile, Transfer) + Send + Sync> Progress for F {
    fn report(&self, target: &TargetFile, event: Transfer) {
        self(target, event);
    }
}

/// Ignores all progress.
impl Progress for () {
    fn report(&self, _target: &TargetFile, _event: Transfer) {}
}

/// What happens to one download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transfer {
    /// It starts.
    Started,
    /// This number of bytes has been received. It decreases if the download restarts.
    Advanced(u64),
    /// Every check has passed, and the file has its final name.
    Finished,
    /// It failed.
    Failed,
}

/// Something that the user should know although it is not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Another process holds the lock of the store, and the client waits for it.
    Waiting {
        /// The name of the store.
        store: String,
    },
    /// The clock shows an earlier time than at the last refresh (decision D4).
    ClockSteppedBack {
        /// The time of the clock now.
        now: DateTime<Utc>,
        /// The time of the clock at the last refresh.
        before: DateTime<Utc>,
    },
    /// Metadata has expired by this clock, or the server's clock differs by more than a day. The server's time is not
    /// authenticated and decides nothing.
    ClockInDoubt {
        /// The time of the clock now.
        now: DateTime<Utc>,
        /// What the server's clock shows, if it says so.
        server: Option<DateTime<Utc>>,
        /// What the clock showed at an earlier refresh.
        before: Option<DateTime<Utc>>,
    },
    /// A stored file cannot be used; its versions stay known, and it is fetched again.
    UnusableFile {
        /// Why.
        reason: String,
    },
    /// A mirror failed, and the next one is tried.
    MirrorFailed {
        /// The requested URL, without its user name and password.
        url: String,
        /// Why.
        reason: String,
    },
    /// A target that was to be fetched to this path is there already, and right.
    AlreadyThere {
        /// The target.
        target: TargetPath,
        /// Where it is.
        path: PathBuf,
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
                "this machine's clock reads {}, but read {} at the last refresh; if it is wrong, expired metadata may be \
                 accepted or valid metadata refused",
                format_time(now),
                format_time(before)
            ),
            Event::ClockInDoubt { now, server, before } => {
                write!(f, "this machine's clock reads {}", format_time(now))?;
                if let Some(server) = server {
                    write!(f, ", the server's reads {}", format_time(server))?;
                }
                if let Some(before) = before {
                    write!(f, "; at the last refresh it read {}", format_time(before))?;
                }
                f.write_str(
                    ". If it is wrong, correct it: a fast clock makes valid metadata look expired, a slow one lets \
                     expired metadata pass",
                )
            }
            Event::UnusableFile { reason } => {
                write!(f, "ignoring an unusable stored file: {reason}")
            }
            Event::MirrorFailed { url, reason } => {
                write!(f, "{url}: {reason}; trying the next mirror")
            }
            Event::AlreadyThere { target, path } => {
                write!(f, "`{target}` is already at {}", printable_path(path))
            }
        }
    }
}

/// Receives events.
pub trait EventSink: Send + Sync + 'static {
    /// Handles one event.
    fn handle(&self, event: &Event);
}

/// Sends events to `tracing` as warnings.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TracingSink;

impl EventSink for TracingSink {
    fn handle(&self, event: &Event) {
        tracing::warn!("{event}");
    }
}
