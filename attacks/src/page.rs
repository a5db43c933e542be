//! `docs/attacks.md` of the project: each attack, its source, and the client's error.

use std::fmt::Write as _;

use crate::in_process::CaseResult;

/// The maximum number of messages printed for one scenario.
const MAX_MESSAGES: usize = 4;

const HEAD: &str = "\
# Attacks

The attacks in lastmile's own tests, by subject, with their sources and the errors that the client reports. Each line is a scenario:
honest repositories, an attacker, and a client with real sockets and a real folder. The tests check the error, and also that nothing
appears outside the client's folders, that trusted files are unchanged byte for byte, that no byte of an unverified file becomes
visible, that the same attack is refused again, that the client then follows an honest repository to its newest release, and that the
amount of data read is bounded.

`lastmile-repo attack-lab -- CLIENT` runs the same attacks against any client that implements the client-under-test protocol
([security-teams.md](security-teams.md)).

This page is written by `cargo run -p lastmile-tests --bin lastmile-scenarios -- --page`; a test checks that it is up to date.

| id | attack | source | the client's errors |
|---|---|---|---|
";

/// Returns the page for these results.
#[must_use]
pub fn page(results: &[CaseResult]) -> String {
    let mut page = HEAD.to_owned();
    for group in results.chunk_by(|(one, ..), (other, ..)| one.id == other.id) {
        let Some((scenario, ..)) = group.first() else { continue };
        let mut messages: Vec<String> = Vec::new();
        for (_, case, result) in group {
            let message = match result {
                Ok(Some(said)) => format!("`{}`", cell(said)),
                Ok(None) => "accepted, as it must be".to_owned(),
                Err(wrong) => format!("**wrong** [{}]: {}", cell(&case.sample), cell(wrong)),
            };
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        if messages.len() > MAX_MESSAGES {
            messages.truncate(MAX_MESSAGES);
            messages.push("…".into());
        }
        let attack = cell(scenario.attack);
        let source = cell(scenario.source);
        // Writing to a string does not fail.
        let _ = writeln!(page, "| {} | {attack} | {source} | {} |", scenario.id, messages.join("<br>"));
    }
    page
}

/// Returns text for a table cell, without the parts that differ between systems, and with long words shortened.
fn cell(text: &str) -> String {
    let text = text.split_inclusive("broke off").next().unwrap_or_default();
    let words = text.split(' ').map(|word| match word.char_indices().nth(16) {
        Some((end, _)) if word.len() >= 64 => format!("{}…", &word[..end]),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('`', "'")
}
