//! The command `lastmile`: fetches and verifies updates.

use std::process::ExitCode;

use lastmile_client::cli::{World, run};

fn main() -> ExitCode {
    run(std::env::args_os(), World::system()).into()
}
