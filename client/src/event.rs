//! What a program may watch: transfers as they go on, and notices that are no errors.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use lastmile_metadata::{TargetFile, TargetPath, format_time};

/// Watches the transfer of targets. Called often and from the transfer itself: be quick.
pub trait Progress: Send + Sync {
    /// Something happened to the transfer of `target`.
    fn report(&self, target: &TargetFile, event: Transfer);
}

/// A closure watches, such as `|target: &TargetFile, event: Transfer| …`.
impl<F: Fn(&TargetFile, Transfer) + Send + Sync> Progress for F {
    fn report(&self, target: &TargetFile, event: Transfer) {
        self(target, event);
    }
}

/// Nobody watches.
impl Progress for () {
    fn report(&self, _target: &TargetFile, _event: Transfer) {}
}

/// What happens to one transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transfer {
    /// It begins.
    Started,
    /// So many bytes are here; less than before when it had to start anew.
    Advanced(u64),
    /// Every check has passed and the file is in its place.
    Finished,
    /// It came to nothing.
    Failed,
}

/// What a person should know although it is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Another process holds the lock of this store; we wait.
    Waiting {
        /// What a person calls the store.
        store: String,
    },
    /// The clock shows an earlier time than at an earlier refresh (decision D4).
    ClockSteppedBack {
        /// What the clock shows.
        now: DateTime<Utc>,
        /// What it showed before.
        before: DateTime<Utc>,
    },
    /// Something has expired by this clock, or the server's clock shows another day. What the server says is vouched for
    /// by nobody, and nothing is decided by it.
    ClockInDoubt {
        /// What the clock shows.
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
    /// A mirror failed, and another one is asked.
    MirrorFailed {
        /// The URL that was asked for.
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
    /// A directory that holds trusted metadata can be changed by others.
    LoosePermissions {
        /// The directory.
        path: PathBuf,
    },
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Notice::Waiting { store } => {
                write!(f, "another process is using {store}; waiting until it is done")
            }
            Notice::ClockSteppedBack { now, before } => write!(
                f,
                "the clock shows {} but showed {} at an earlier refresh; if it is wrong, expired \
                 metadata may be accepted or good metadata refused",
                format_time(now),
                format_time(before)
            ),
            Notice::ClockInDoubt { now, server, before } => {
                write!(f, "your clock says {}", format_time(now))?;
                if let Some(server) = server {
                    write!(f, ", the server's says {}", format_time(server))?;
                }
                if let Some(before) = before {
                    write!(f, ", yours said {} at an earlier refresh", format_time(before))?;
                }
                f.write_str(
                    "; if yours is wrong, set it: with one that is ahead good metadata counts as expired, with one \
                             that is behind expired metadata is accepted",
                )
            }
            Notice::UnusableFile { reason } => {
                write!(f, "a stored file is unusable and counts as absent: {reason}")
            }
            Notice::MirrorFailed { url, reason } => {
                write!(f, "{url}: {reason}; trying the next mirror")
            }
            Notice::AlreadyThere { target, path } => {
                write!(f, "`{target}` is already at {}", path.display())
            }
            Notice::LoosePermissions { path } => {
                write!(f, "`{}` can be changed by other users", path.display())
            }
        }
    }
}

/// Takes notices.
pub trait Notify: Send + Sync + 'static {
    /// Takes one notice.
    fn notify(&self, notice: &Notice);
}

/// Hands notices to `tracing` as warnings.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TracingSink;

impl Notify for TracingSink {
    fn notify(&self, notice: &Notice) {
        tracing::warn!("{notice}");
    }
}
