//! What is fuzzed: one function for each kind of input that strangers can send. `cargo xtask fuzz` runs them under
//! libFuzzer for long; the tests of this crate run them for a short time on any machine.
//!
//! A function panics when something is wrong; whatever else it does is fine.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a target stops where something is wrong"
)]

mod documents;
#[cfg(feature = "http")]
mod http;
mod names;
mod store;
mod workflow;

pub use lastmile_random::adversary::Chance;

/// A kind of input.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Judges one input.
    pub run: fn(&[u8]),
    /// Good inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many inputs are made from them in the short run.
    pub short: u64,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "root", run: documents::root, seeds: documents::seeds, short: 1_500 },
    Target { name: "timestamp", run: documents::timestamp, seeds: documents::seeds, short: 1_500 },
    Target { name: "snapshot", run: documents::snapshot, seeds: documents::seeds, short: 1_500 },
    Target { name: "targets", run: documents::targets, seeds: documents::seeds, short: 1_500 },
    Target { name: "canonical", run: documents::canonical, seeds: documents::seeds, short: 3_000 },
    Target { name: "keys", run: documents::keys, seeds: documents::key_seeds, short: 1_500 },
    Target { name: "patterns", run: names::patterns, seeds: names::pattern_seeds, short: 10_000 },
    Target { name: "names", run: names::names, seeds: names::name_seeds, short: 10_000 },
    Target { name: "store", run: store::store, seeds: store::seeds, short: 300 },
    Target { name: "workflow", run: workflow::workflow, seeds: workflow::seeds, short: 300 },
    Target { name: "stored", run: workflow::stored, seeds: workflow::seeds, short: 300 },
    #[cfg(feature = "http")]
    Target { name: "http", run: http::http, seeds: http::seeds, short: 150 },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// An input made from seeds by chance: bytes changed, left out, repeated, and exchanged between two of them.
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
        let (from, to) = (draw(input.len() + 1), draw(input.len() + 1));
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
                let (start, end) = (draw(other.len() + 1), draw(other.len() + 1));
                input.splice(from..to, other[start.min(end)..start.max(end)].iter().copied());
            }
        }
    }
    input
}
