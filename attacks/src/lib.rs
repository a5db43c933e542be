//! Known attacks on TUF update clients, each defined once and run against `lastmile-client` in process and against any other
//! client as a program.
//!
//! A [`Scenario`] describes an attack, cites its source, and lists [`Case`]s, one for each sample. A case is data: the honest
//! repositories that the client has followed, what the attacker then serves, what the client is asked to do, and the expected
//! result. Two runners execute a case over real sockets and real files:
//!
//! * [`in_process::run`] uses the client library and checks the typed error;
//! * [`external::run`] starts a program that implements the client-under-test protocol and judges its exit code and its files.
//!
//! The runners make these checks in every case:
//!
//! 1. The attack is refused, by an error that names the expected role and reason (in process only).
//! 2. Nothing is created or changed outside the folders that the client was given.
//! 3. The trusted files are byte for byte the same, except those of the steps that had passed ([`Case::advances`]).
//! 4. No file in the output folder appears or changes.
//! 5. The same attack is refused again, with the same error, and changes nothing more.
//! 6. The client then follows an honest repository to its newest release and installs its packages.
//! 7. The server sends at most [`Case::max_bytes`] in each run, and the process stays below [`external::MAX_MEMORY`].
//! 8. The client does not panic, is not ended by a signal, and finishes in time (a program: within [`external::TIME_LIMIT`]).
//!
//! # Run the attacks
//!
//! ```no_run
//! for (scenario, case, result) in lastmile_attacks::in_process::run_all(&lastmile_attacks::all()) {
//!     assert!(result.is_ok(), "{} [{}]: {result:?}", scenario.id, case.sample);
//! }
//! ```
//!
//! # Add an attack
//!
//! Write a function that returns the cases, and add a [`Scenario`] to `SCENARIOS` in the file for the subject:
//!
//! ```
//! use lastmile_attacks::{Case, in_process, release};
//!
//! let honest = release(3);
//! let mut attacker = honest.fork();
//! attacker.signed("timestamp")["version"] = 1.into();
//! attacker.write("timestamp");
//! let case = Case::against(&honest).attacker(attacker.network()).refused("timestamp", "Rollback");
//! in_process::run(&case).unwrap();
//! ```
//!
//! A case is an attack unless it is marked with [`Case::form_only`]: then the keys that may sign have signed what the attacker
//! serves, and only its form is invalid. A client that accepts it is not harmed if it has the right packages at the right versions;
//! [`external::run`] reports it as less strict, not as attacked.
//!
//! An attacker serves a [`FakeNetwork`](lastmile_testkit::FakeNetwork): documents and faults. To attack at the level of HTTP bytes,
//! pass [`Case::responder`] a function of the request and the [`Connection`](lastmile_testkit::Connection). It writes any bytes and
//! returns `Ok(None)`, or returns `Ok(Some(answer))` to have that written; `network.answer(&request.path)` is the answer without
//! the attack. [`Case::limits`], [`Case::http`] and [`Case::clock`] change settings that a program cannot be given, so such cases
//! run in process only.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "the attacks change documents of the simulator, whose form is known"
)]

mod arbitrary_software;
mod case;
mod case_server;
mod delegation_graph;
mod delegations;
pub mod external;
mod forgery;
mod freeze;
mod harm;
mod hostile_server;
mod http;
pub mod in_process;
mod json;
mod mix_and_match;
mod names;
pub mod page;
mod redirects;
mod rollback;
mod root;
mod signatures;
mod slow_and_endless;
mod stolen_keys;
mod target_files;
mod thresholds;
mod versions;

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{iter, thread};

pub use case::{Action, Case, EVIL, Expect, GOOD, release, stranger};

/// An attack, with one or more cases.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// The name. It begins with the id of a row; a word is appended if the row has several scenarios.
    pub id: &'static str,
    /// The ids of the rows in `tests/attack-rows.txt` of the project that it covers.
    pub rows: &'static [&'static str],
    /// What the attacker does, in one line.
    pub attack: &'static str,
    /// Where the attack is described: an advisory, a section of the TUF specification, or an issue.
    pub source: &'static str,
    /// Returns the cases, one for each sample.
    pub cases: fn() -> Vec<Case>,
}

impl Scenario {
    /// Creates a scenario; see the fields.
    #[must_use]
    pub const fn new(
        id: &'static str,
        rows: &'static [&'static str],
        attack: &'static str,
        source: &'static str,
        cases: fn() -> Vec<Case>,
    ) -> Scenario {
        Scenario { id, rows, attack, source, cases }
    }
}

/// Returns all scenarios, ordered by subject.
#[must_use]
pub fn all() -> Vec<Scenario> {
    [
        arbitrary_software::SCENARIOS,
        rollback::SCENARIOS,
        versions::SCENARIOS,
        freeze::SCENARIOS,
        mix_and_match::SCENARIOS,
        &slow_and_endless::scenarios(),
        stolen_keys::SCENARIOS,
        root::SCENARIOS,
        signatures::SCENARIOS,
        thresholds::SCENARIOS,
        delegations::SCENARIOS,
        delegation_graph::SCENARIOS,
        target_files::SCENARIOS,
        names::SCENARIOS,
        json::SCENARIOS,
        &http::scenarios(),
        &redirects::scenarios(),
    ]
    .concat()
}

/// Calls `work` for each case of `scenarios` on this many threads, and returns the results in the order of the cases. With 0
/// threads it uses two for each processor, because cases wait for disks.
///
/// # Panics
///
/// If `work` panics.
pub fn run_cases<T: Send>(
    threads: usize,
    scenarios: &[Scenario],
    work: impl Fn(&Scenario, &Case) -> T + Sync,
) -> Vec<(Scenario, Case, T)> {
    let cases: Vec<(Scenario, Case)> =
        scenarios.iter().flat_map(|scenario| (scenario.cases)().into_iter().map(|case| (*scenario, case))).collect();
    let threads = if threads == 0 { thread::available_parallelism().map_or(2, NonZero::get) * 2 } else { threads };
    let next = AtomicUsize::new(0);
    let mut done: Vec<(usize, T)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let take = || next.fetch_add(1, Ordering::Relaxed);
                    let mine = iter::repeat_with(take).map_while(|number| Some((number, cases.get(number)?)));
                    mine.map(|(number, (scenario, case))| (number, work(scenario, case))).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic in `work`")).collect()
    });
    done.sort_by_key(|(number, _)| *number);
    cases.into_iter().zip(done).map(|((scenario, case), (_, result))| (scenario, case, result)).collect()
}
