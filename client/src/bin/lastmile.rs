//! The command `lastmile`: fetches and verifies updates.

use std::process::ExitCode;

use lastmile_client::cli::{World, run};

#[expect(clippy::disallowed_methods, reason = "this is where the program gets its arguments and its world")]
fn main() -> ExitCode {
    run(std::env::args_os(), World::system()).into()
}
