//! The command `lastmile-repo`.

use std::process::ExitCode;

use lastmile_repo_tool::internal::cli::{World, run, wait_for_signals};

#[expect(clippy::disallowed_methods, reason = "only `main` reads the arguments and the environment of the process")]
fn main() -> ExitCode {
    let world = World {
        ask_secret: Box::new(|question| rpassword::prompt_password(question)),
        wait: wait_for_signals(),
        ..World::system()
    };
    run(std::env::args_os(), world).into()
}
