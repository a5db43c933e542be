//! Runs 100,000 random histories if the code is optimised, and 200 otherwise.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use lastmile_random::adversary::History;

/// The default number of histories. Without optimisation, the client is too slow for many histories.
const HISTORIES: u64 = if cfg!(debug_assertions) { 200 } else { 100_000 };

#[test]
fn in_random_histories_the_client_behaves_like_the_model() {
    let threads = thread::available_parallelism().map_or(2, |number| number.get() as u64);
    let set = |name, default| std::env::var(name).map_or(default, |number| number.parse().unwrap());
    let (first, histories): (u64, u64) = (set("FIRST_HISTORY", 0), set("HISTORIES", HISTORIES));
    // The number of the first failing history found so far. Histories with a higher number are not run.
    let failing = AtomicU64::new(u64::MAX);
    let search = |thread| {
        for seed in (first + thread..first + histories).step_by(threads as usize) {
            if seed < failing.load(Relaxed) && History::of(seed).run().is_err() {
                failing.fetch_min(seed, Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        (0..threads).for_each(|thread| {
            drop(scope.spawn({
                let search = &search;
                move || search(thread)
            }))
        })
    });
    let failing = failing.into_inner();
    if failing < u64::MAX {
        let shrunk = History::of(failing).shrunk();
        panic!("history {failing} fails: {}\nadd this line to regressions.txt:\n{shrunk}", shrunk.run().unwrap_err());
    }
}

#[test]
fn in_random_histories_policies_accept_many_packages_and_refuse_many() {
    let verdicts = (0..100).map(|seed| History::of(seed).run().unwrap());
    let (accepted, refused) = verdicts
        .fold((0, 0), |(accepted, refused), verdicts| (accepted + verdicts.accepted, refused + verdicts.refused));
    assert!(accepted > 100 && refused > 50, "{accepted} accepted, {refused} refused");
}

#[test]
fn in_histories_that_once_failed_the_client_behaves_like_the_model() {
    let lines: Vec<&str> =
        include_str!("../regressions.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert!(!lines.is_empty(), "regressions.txt must contain histories");
    for line in lines {
        let history: History = line.parse().unwrap();
        assert_eq!(history.to_string(), line);
        history.run().unwrap_or_else(|problem| panic!("{line}\n{problem}"));
    }
}
