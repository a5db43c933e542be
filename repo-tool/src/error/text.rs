//! Text that several error messages share.

use std::error::Error;
use std::fmt::Display;

/// Formats an error and its causes on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// Formats each item on its own line. The result starts with a line break, so it can be appended to a message.
pub(super) fn lines(items: &[impl Display]) -> String {
    items.iter().map(|item| format!("\n  {item}")).collect()
}
