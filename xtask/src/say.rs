//! Prints lines. No other module writes to the standard streams.

use std::io::{self, Write};

/// Prints a line on standard output. A closed pipe is not an error.
pub fn line(text: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", text.as_ref());
    let _ = out.flush();
}

/// Prints a line on standard error.
pub fn warn(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
}
