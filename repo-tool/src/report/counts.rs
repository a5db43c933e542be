//! Formats numbers and lists of names for messages.

use std::fmt::Display;

/// The maximum number of names that a message lists. If there are more names, the message contains only the number of
/// the others.
pub(crate) const NAMED: usize = 8;

/// Joins names with commas. If there are more than [`NAMED`] names, the result contains the first ones and the number
/// of the others.
pub(crate) fn some_of(names: impl IntoIterator<Item = String>) -> String {
    let mut names: Vec<String> = names.into_iter().collect();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

/// Returns a number with a noun, such as `1 key` or `2 keys`.
pub(crate) fn counted<N: Copy + Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let ending = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{ending}")
}
