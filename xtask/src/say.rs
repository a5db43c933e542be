//! The one place that prints.

use std::io::{self, Write};

/// A line on standard output. A closed pipe is no failure of ours.
pub(crate) fn line(text: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", text.as_ref());
    let _ = out.flush();
}

/// A line on standard error.
pub(crate) fn warn(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
}
