//! Checks whether the process can open enough files to start.

use std::fs::File;
use std::io;

use crate::Failure;

/// The number of files that the process must be able to open. It is higher than the number of files that the async
/// runtime opens when it starts: an event queue, a waker for the queue, and a socket pair for signals.
const NEEDED: usize = 8;

/// Returns an error if the process cannot open a few more files. Programs call this function before they start the
/// async runtime, which would otherwise panic.
///
/// # Errors
///
/// The I/O error, usually "too many open files", with a hint.
pub fn spare_descriptors() -> Result<(), Failure> {
    let opened: io::Result<Vec<File>> = (0..NEEDED).map(|_| File::open("/dev/null")).collect();
    opened.map(drop).map_err(|error| {
        Failure::failed(format!("cannot start: {error}"))
            .with_hint("allow more open files, for example with `ulimit -n 256`")
    })
}
