//! Formats numbers and lists of names for messages.

use std::fmt::Display;

/// The maximum number of names that a message lists. The message says only how many other names there are.
pub(crate) const MAX_NAMED: usize = 8;

/// Joins names with commas. If there are more than [`MAX_NAMED`] names, lists the first ones and says how many are missing,
/// such as `and 2 more`.
pub(crate) fn some_of(names: impl IntoIterator<Item = String>) -> String {
    let mut names: Vec<String> = names.into_iter().collect();
    let more = names.len().saturating_sub(MAX_NAMED);
    names.truncate(MAX_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

/// Returns a number with a noun, such as `1 key` or `2 keys`.
pub(crate) fn counted<N: Copy + Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let ending = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{ending}")
}
