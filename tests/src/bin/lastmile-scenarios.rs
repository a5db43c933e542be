//! Runs attack scenarios against the library: `lastmile-scenarios [ID…]`. Without IDs, all scenarios run.
//!
//! Prints a line for each case: the client's error, `accepted, as expected`, or `WRONG` and the reason. The exit code
//! is 1 if a case fails. With `--page`, prints `docs/attacks.md` instead, and the exit code is 0.

#![expect(clippy::print_stdout, reason = "the program prints its result")]

use std::process::ExitCode;

use lastmile_attacks as scenario;

fn main() -> ExitCode {
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_page = wanted.first().is_some_and(|word| word == "--page");
    wanted.retain(|word| word != "--page");
    let chosen: Vec<_> =
        scenario::all().into_iter().filter(|s| wanted.is_empty() || wanted.iter().any(|id| id == s.id)).collect();
    if chosen.is_empty() {
        println!("there is no such scenario: {wanted:?}");
        return ExitCode::FAILURE;
    }
    let results = scenario::in_process::run_all(&chosen);
    if is_page {
        print!("{}", scenario::page::page(&results));
        return ExitCode::SUCCESS;
    }
    let mut code = ExitCode::SUCCESS;
    for (scenario, case, result) in results {
        let printed = match result {
            Ok(printed) => printed.unwrap_or_else(|| "accepted, as expected".to_owned()),
            Err(wrong) => {
                code = ExitCode::FAILURE;
                format!("WRONG: {wrong}")
            }
        };
        println!("{} [{}]: {printed}", scenario.id, case.sample);
    }
    code
}
