//! The command `lastmile-repo`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lastmile_repo_tool::cli::main()
}
