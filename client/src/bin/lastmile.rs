//! The program `lastmile`: fetches and verifies updates.

use std::process::ExitCode;

use lastmile_client::cli::{World, run};

#[cfg(not(any(feature = "aws-lc", feature = "ring")))]
compile_error!("the program `lastmile` needs a cryptography provider for TLS: enable the feature `aws-lc` or `ring`");

#[expect(clippy::disallowed_methods, reason = "`main` passes the process arguments and the environment to the library")]
fn main() -> ExitCode {
    run(std::env::args_os(), World::system()).into()
}
