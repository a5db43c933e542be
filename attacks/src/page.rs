//! `docs/attacks.md`: each attack, where it was read of, and what the client says.

use std::fmt::Write as _;

use crate::in_process::CaseResult;

/// Most sayings of one scenario that are printed.
const MAX_MESSAGES: usize = 4;

const HEAD: &str = "\
# Attacks

What lastmile is attacked with in its own tests, where that was read of, and what the client then says. Each line is a scenario:
an honest history, an attacker, and one run of the client over a real socket with a real folder. Of each it is asserted, besides the
error, that nothing appears outside of the client's folders, that what was trusted is unchanged byte for byte, that no byte of an
unverified file is to be seen, that the same attack is refused again, that an honest repository is then followed to its newest
release, and that what is read is bounded.

Any client that speaks the client-under-test protocol can be put before the same attacks: `lastmile-repo attack-lab -- CLIENT`
([security-teams.md](security-teams.md)).

This page is written by `cargo run -p lastmile-tests --bin lastmile-scenarios -- --page`; a test keeps it true.

| id | attack | source | what the client says |
|---|---|---|---|
";

/// The page for these results, which are all in order.
#[must_use]
pub fn page(results: &[CaseResult]) -> String {
    let mut page = HEAD.to_owned();
    for group in results.chunk_by(|(one, ..), (other, ..)| one.id == other.id) {
        let Some((scenario, ..)) = group.first() else { continue };
        let mut sayings: Vec<String> = Vec::new();
        for (_, case, result) in group {
            let said = match result {
                Ok(Some(said)) => format!("`{}`", cell(said)),
                Ok(None) => "accepted, as it must be".to_owned(),
                Err(wrong) => format!("**wrong** [{}]: {}", cell(&case.sample), cell(wrong)),
            };
            if !sayings.contains(&said) {
                sayings.push(said);
            }
        }
        if sayings.len() > MAX_MESSAGES {
            sayings.truncate(MAX_MESSAGES);
            sayings.push("…".into());
        }
        let (attack, source) = (cell(scenario.attack), cell(scenario.source));
        // Writing to a string does not fail.
        let _ = writeln!(page, "| {} | {attack} | {source} | {} |", scenario.id, sayings.join("<br>"));
    }
    page
}

/// Text in a cell of a table, without what differs between systems, and without the middle of long words.
fn cell(text: &str) -> String {
    let text = text.split_inclusive("broke off").next().unwrap_or_default();
    let words = text.split(' ').map(|word| match word.char_indices().nth(16) {
        Some((end, _)) if word.len() >= 64 => format!("{}…", &word[..end]),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('`', "'")
}
