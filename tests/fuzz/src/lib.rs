//! The fuzz targets, one function for each kind of untrusted input. `cargo xtask fuzz` runs the targets under
//! libFuzzer. The tests of this crate run each target for a short time.
//!
//! A target panics if it finds a bug.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a target panics if it finds a bug"
)]

mod attest;
mod documents;
#[cfg(feature = "http")]
mod http;
mod names;
mod store;
mod workflow;

pub use lastmile_random::adversary::Chance;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of the target and of its corpus.
    pub name: &'static str,
    /// Runs one input.
    pub run: fn(&[u8]),
    /// Returns valid inputs, from which the random inputs are derived.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many random inputs the tests of this crate try.
    pub short: u64,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "root", run: documents::root, seeds: documents::seeds, short: 1_500 },
    Target { name: "timestamp", run: documents::timestamp, seeds: documents::seeds, short: 1_500 },
    Target { name: "snapshot", run: documents::snapshot, seeds: documents::seeds, short: 1_500 },
    Target { name: "targets", run: documents::targets, seeds: documents::seeds, short: 1_500 },
    Target { name: "canonical", run: documents::canonical, seeds: documents::seeds, short: 3_000 },
    Target { name: "keys", run: documents::keys, seeds: documents::key_seeds, short: 1_500 },
    Target { name: "policy", run: attest::policy, seeds: attest::policy_seeds, short: 3_000 },
    Target { name: "statement", run: attest::statement, seeds: attest::statement_seeds, short: 3_000 },
    Target { name: "evidence", run: attest::evidence, seeds: attest::evidence_seeds, short: 1_000 },
    Target { name: "trust", run: attest::trust_root, seeds: attest::trust_root_seeds, short: 300 },
    Target { name: "patterns", run: names::patterns, seeds: names::pattern_seeds, short: 10_000 },
    Target { name: "names", run: names::names, seeds: names::name_seeds, short: 10_000 },
    Target { name: "store", run: store::store, seeds: store::seeds, short: 300 },
    Target { name: "workflow", run: workflow::workflow, seeds: workflow::seeds, short: 300 },
    Target { name: "stored", run: workflow::stored, seeds: workflow::seeds, short: 300 },
    #[cfg(feature = "http")]
    Target { name: "http", run: http::http, seeds: http::seeds, short: 150 },
];

/// Returns the target called `name`.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Returns a random input that is derived from one of `seeds`. Each change flips a bit, inserts a string from `WORDS`,
/// or removes, repeats or replaces some bytes. The replacement is a string from `WORDS` or a part of another seed.
#[must_use]
pub fn mutated(seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "\"",
        "\\",
        "{",
        "}",
        "[]",
        "{}",
        "null",
        "-1",
        "0",
        "18446744073709551616",
        "1e9",
        "\\u0000",
        "../",
        "*",
        "\u{e9}",
        ",",
    ];
    let mut draw = |below: usize| usize::try_from(chance.draw()).unwrap_or(usize::MAX) % below.max(1);
    let mut input = seeds[draw(seeds.len())].clone();
    for _ in 0..=draw(4) {
        let from = draw(input.len() + 1);
        let to = draw(input.len() + 1);
        let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 64));
        match draw(6) {
            0 if !input.is_empty() => {
                let at = draw(input.len());
                input[at] ^= 1 << draw(8);
            }
            1 => drop(input.drain(from..to)),
            2 => drop(input.splice(from..from, WORDS[draw(WORDS.len())].bytes())),
            3 => drop(input.splice(from..to, WORDS[draw(WORDS.len())].bytes())),
            4 => {
                let part = input[from..to].to_vec();
                input.splice(to..to, part);
            }
            _ => {
                let other = &seeds[draw(seeds.len())];
                let start = draw(other.len() + 1);
                let end = draw(other.len() + 1);
                input.splice(from..to, other[start.min(end)..start.max(end)].iter().copied());
            }
        }
    }
    input
}
