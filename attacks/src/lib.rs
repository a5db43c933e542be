//! The attacks, each defined once and run against the library in process and against any client from outside.
//!
//! A [`Scenario`] says what is attacked, where the attack was read of, and gives its [`Case`]s: one for each sample. A case is
//! data. It holds the honest history that a client has seen, who stands on the network then and what the client is asked to do,
//! and what must come of it. Two runners case it over real sockets and real files:
//!
//! * [`in_process::run`], the client library in process, with typed errors;
//! * [`external::run`], any executable that speaks the client-under-test protocol, judged by exit code and files.
//!
//! What is asserted is written in the runners, so that no scenario can forget it:
//!
//! 1. the attack is refused, by an error that names the expected role and reason (in process);
//! 2. nothing is created or changed outside of the folders that the client was given;
//! 3. the trusted files are the same, byte for byte, but for those of the steps that had passed ([`Case::advances`]);
//! 4. no file appears or changes in the output folder;
//! 5. the same attack is refused again, with the same error, and changes nothing more;
//! 6. an honest repository is then followed to its newest release, and its packages arrive;
//! 7. no more bytes are sent than [`Case::max_bytes`] for each run, and the process stays below [`external::MAX_MEMORY`];
//! 8. nothing panics, is ended by a signal, or goes on for ever (outside: for longer than [`external::TIME_LIMIT`]).
//!
//! # Adding one
//!
//! Write a function that gives the cases, and list it with those of the file for its section:
//!
//! ```
//! use lastmile_attacks::{Case, release};
//!
//! let honest = release(3);
//! let mut attacker = honest.fork();
//! attacker.signed("timestamp")["version"] = 1.into();
//! attacker.write("timestamp");
//! let case = Case::against(&honest).attacker(attacker.network()).refused("timestamp", "Rollback");
//! lastmile_attacks::in_process::run(&case).unwrap();
//! ```
//!
//! A case is an attack unless it is marked as [`Case::form_only`]: then what the attacker serves is signed by whoever may sign it,
//! and only its form is wrong. A client that accepts it anyway is not harmed if it has the right packages at the right
//! versions; [`external::run`] reports that as a matter of strictness, not of security.
//!
//! The attacker serves a [`FakeNetwork`](lastmile_testkit::FakeNetwork): documents and faults. For an attack in the bytes of HTTP, give
//! [`Case::responder`] a function from the request and the [`Connection`](lastmile_testkit::Connection): it writes whatever it likes and answers
//! `Ok(None)`, or answers `Ok(Some(answer))` to have that written; `network.answer(&request.path)` is what would be served
//! otherwise. `Case::limits`, `Case::http` and `Case::clock` change the client in process; such plays are not run outside,
//! where only the protocol can be spoken.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "the attacks change documents of the simulator, whose form is known"
)]

mod case;
mod case_server;
pub mod external;
mod forgery;
mod harm;
mod hostile_server;
mod http;
pub mod in_process;
mod json;
mod named_attacks;
mod names;
pub mod page;
mod redirects;
mod section_2_1;
mod section_2_2;
mod section_2_3;
mod section_2_4;
mod signatures_and_delegations;
mod slow_and_endless;
mod stolen_keys;

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{iter, thread};

pub use case::{Action, Case, EVIL, Expect, GOOD, release, stranger};

/// One attack.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name: the id of its row, with a word behind it where the row has several.
    pub id: &'static str,
    /// The rows of `attack-rows.txt` that it covers.
    pub rows: &'static [&'static str],
    /// What the attacker does, in one line.
    pub attack: &'static str,
    /// Where it was read of.
    pub source: &'static str,
    /// One case for each sample.
    pub cases: fn() -> Vec<Case>,
}

impl Scenario {
    /// The attack `id`, which covers `rows`.
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

/// All of them, in the order of their rows.
#[must_use]
pub fn all() -> Vec<Scenario> {
    [
        section_2_1::SCENARIOS,
        section_2_2::SCENARIOS,
        section_2_3::SCENARIOS,
        section_2_4::SCENARIOS,
        named_attacks::SCENARIOS,
        &slow_and_endless::scenarios(),
        stolen_keys::SCENARIOS,
        json::SCENARIOS,
        names::SCENARIOS,
        signatures_and_delegations::SCENARIOS,
        &http::scenarios(),
        &redirects::scenarios(),
    ]
    .concat()
}

/// What `work` makes of each case of `scenarios`, in their order, done by so many threads; 0: two for each processor, for
/// they wait for disks.
///
/// # Panics
///
/// When `work` does.
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
