//! Formats numbers and lists of names for messages.

use std::fmt::Display;

/// The maximum number of names that a message lists. If there are more names, the message only says how many are left
/// out.
pub(crate) const MAX_NAMED: usize = 8;

/// Joins names with commas. If there are more than [`MAX_NAMED`] names, lists only the first ones and adds the number
/// of the other names, as in `and 2 more`.
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
