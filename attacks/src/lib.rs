//! Known attacks on TUF update clients. Each attack is defined once and can be run against `lastmile-client` in
//! process, or against any other client as a program.
//!
//! A [`Scenario`] describes an attack, cites its source, and has one or more [`Case`]s, which are the variants of the
//! attack. A case contains the honest repositories from which the client first updates, the attacker's files, the
//! client's action, and the expected result. Two runners run cases with real sockets and real files:
//!
//! * [`in_process::run`] calls the client library and checks the typed error;
//! * [`external::run`] starts a program that implements the client-under-test protocol, and checks its exit code and
//!   its files.
//!
//! The runners make these checks in every case:
//!
//! 1. The client refuses the attack. In process, the error must name the expected role and reason, and contain the text
//!    of [`Case::because`].
//! 2. The client neither creates nor changes files outside its folders.
//! 3. The trusted files stay the same, byte for byte, except the files of the roles in [`Case::advances`].
//! 4. The client neither creates nor changes files in the output folder.
//! 5. The client refuses the same attack a second time for the same reason, and this time changes no files.
//! 6. The client then updates to the newest release of an honest repository and downloads its packages.
//! 7. The server sends at most [`Case::max_bytes`] in each run, and the program uses at most [`external::MAX_MEMORY`].
//! 8. The client does not panic, is not terminated by a signal, and ends in time. The time limit for a program is
//!    [`external::TIME_LIMIT`].
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
//! Write a function that returns the cases, and add a [`Scenario`] to `SCENARIOS` in the source file for the kind of
//! attack:
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
//! Mark a case with [`Case::form_only`] if the metadata is malformed but validly signed. If a client accepts the
//! malformed metadata, but still has the right packages at the right versions, the attack has done no harm.
//! [`external::run`] then reports that the client is less strict than expected, not that the attack succeeded.
//!
//! The attacker usually serves a [`FakeNetwork`](lastmile_testkit::FakeNetwork), which contains files and faults. To
//! send arbitrary bytes instead of HTTP responses, call [`Case::responder`] with a function that takes the request and
//! the [`Connection`](lastmile_testkit::Connection). This function either writes to the connection and returns
//! `Ok(None)`, or returns `Ok(Some(answer))`, and the server sends the answer. If `network` is the fake network of the
//! honest repository, `Ok(Some(network.answer(&request.path)))` is the honest answer. Cases that call [`Case::limits`],
//! [`Case::http`], [`Case::retry_policy`] or [`Case::clock`] run in process only, because the client-under-test
//! protocol has no options for these settings.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "the attacks only access members that the repository simulator has written"
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
mod policies;
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
    /// The name of the scenario. It is the ID of a row in `tests/attack-rows.txt`, with a word appended if the row has
    /// several scenarios.
    pub id: &'static str,
    /// The IDs of the rows in `tests/attack-rows.txt` that the scenario covers.
    pub rows: &'static [&'static str],
    /// A description of the attack in one line. It starts with `harmless` if clients must accept the input.
    pub attack: &'static str,
    /// The source of the attack, such as an advisory, an issue, or a section of the TUF specification.
    pub source: &'static str,
    /// A function that returns the cases.
    pub cases: fn() -> Vec<Case>,
}

impl Scenario {
    /// Creates a scenario from the values of its fields.
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
        &policies::scenarios(),
    ]
    .concat()
}

/// Calls `work` for each case of `scenarios`, in parallel on `threads` threads, and returns the results in the order of
/// the cases.
///
/// If `threads` is 0, the number of threads is twice the number of processors, because cases often wait for disks.
///
/// # Panics
///
/// Panics if `work` panics.
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
