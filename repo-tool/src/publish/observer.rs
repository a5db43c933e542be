//! Observers of a publication. Tests use them to stop a publication at any point.

use std::io;
use std::path::Path;

/// Events of a publication, reported to an [`Observer`] just before they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishEvent<'a> {
    /// A new file is about to be written in `.publishing/`.
    Write(&'a Path),
    /// All new files are about to be flushed to disk (`fsync`).
    Sync,
    /// The journal is about to be written. Once it is written, the publication can only be finished, not undone.
    Journal,
    /// A file is about to be moved to its final path, which is relative to the repository's folder.
    Move(&'a Path),
    /// The journal is about to be removed.
    Finish,
}

/// Observes a publication. If the observer returns an error, the publication stops at that point, as in a crash.
pub trait Observer {
    /// Called just before each event.
    fn before(&mut self, event: PublishEvent<'_>) -> io::Result<()>;
}

/// An observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn before(&mut self, _: PublishEvent<'_>) -> io::Result<()> {
        Ok(())
    }
}
