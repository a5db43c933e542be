//! Downloads and verifies one target of a repository.
//!
//! ```console
//! $ cargo run --example fetch_one_file -- root.json https://example.org/ state app-1.2.tar.gz app.tar.gz
//! app.tar.gz
//! ```
//!
//! Ship `root.json` with the program, or get it from the maintainers through a channel that you trust. The folder
//! `state` contains the trusted metadata: keep this folder between runs, and do not download files into it.

#![expect(clippy::disallowed_methods, reason = "an example is a program and may use the file system directly")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints to the terminal")]

use std::process::ExitCode;

use lastmile_client::{DirectoryStore, Error, Updater};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [root, url, state, name, file] = args.as_slice() else {
        eprintln!("usage: fetch_one_file ROOT URL STATE TARGET FILE");
        return ExitCode::from(2);
    };
    let root = match std::fs::read(root) {
        Ok(root) => root,
        Err(error) => {
            eprintln!("cannot read {root}: {error}");
            return ExitCode::FAILURE;
        }
    };
    match fetch(root, url, state, name, file).await {
        Ok(()) => ExitCode::SUCCESS,
        // This may be an attack: do not install anything, and do not retry in a loop.
        Err(error @ Error::Refused(_)) => {
            eprintln!("refused: {}", described(&error));
            ExitCode::from(5)
        }
        Err(error) => {
            eprintln!("{}", described(&error));
            ExitCode::FAILURE
        }
    }
}

async fn fetch(root: Vec<u8>, url: &str, state: &str, name: &str, file: &str) -> Result<(), Error> {
    let updater = Updater::builder(root)
        .mirror(format!("{url}metadata/"), format!("{url}targets/"))
        .store(DirectoryStore::open(state)?)
        .build()?;
    let mut session = updater.refresh().await?;
    let target = session.target(name).await?;
    session.download(&target, file).await?;
    println!("{file}");
    Ok(())
}

/// Formats the error and its causes on one line.
fn described(error: &Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
