//! Whether the process can open enough files to start.

use std::fs::File;
use std::io;

/// What the asynchronous runtime opens when it starts: an event queue, a way to wake it, and a socket pair for signals.
const NEEDED: usize = 8;

/// Fails if the process cannot open a few more files. The asynchronous runtime panics in that case, so programs ask first.
///
/// # Errors
///
/// What the system reports, usually "too many open files".
pub fn spare_descriptors() -> io::Result<()> {
    let opened: io::Result<Vec<File>> = (0..NEEDED).map(|_| File::open("/dev/null")).collect();
    opened.map(drop)
}
