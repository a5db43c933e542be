//! Checks whether a file is what a repository publishes under a name: a program does so with its own executable, to
//! notice that it is out of date or was changed.
//!
//! ```console
//! $ cargo run --example self_check -- root.json https://example.org/ state app /usr/bin/app
//! /usr/bin/app is what is published as app
//! ```
//!
//! Without the last argument it checks its own executable. Where the network fails, it checks against what this machine
//! has trusted before.

#![expect(clippy::disallowed_methods, reason = "an example is a program")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a person")]

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use lastmile_client::metadata::{FileError, TargetFile};
use lastmile_client::{DirectoryStore, Error, Updater};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (root, url, name, state, file) = match args.as_slice() {
        [root, url, state, name] => (root, url, name, state, std::env::current_exe()?),
        [root, url, state, name, file] => (root, url, name, state, PathBuf::from(file)),
        _ => return Err("usage: self_check ROOT URL STATE TARGET [FILE]".into()),
    };
    let updater = Updater::builder(std::fs::read(root)?)
        .mirror(format!("{url}metadata/"), format!("{url}targets/"))
        .store(DirectoryStore::open(state)?)
        .build()?;
    let target = published(&updater, name).await?;
    match judge(&file, &target)? {
        Ok(()) => println!("{} is what is published as {name}", file.display()),
        Err(difference) => println!("{} is not what is published as {name}: {difference}", file.display()),
    }
    Ok(())
}

/// What is published under this name, as far as this machine can know.
async fn published(updater: &Updater, name: &str) -> Result<TargetFile, Error> {
    let mut session = match updater.refresh().await {
        Err(Error::Network(error)) => {
            eprintln!("{error}; checking against what was trusted before");
            // It must not have expired: an attacker cannot keep this machine offline forever.
            updater.offline().await?
        }
        refreshed => refreshed?,
    };
    session.target(name).await
}

/// Reads the file through the verifier of the target: its exact length and every hash that is listed.
fn judge(path: &Path, target: &TargetFile) -> std::io::Result<Result<(), FileError>> {
    let mut file = File::open(path)?;
    let mut verifier = target.verifier();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        match buffer.get(..read) {
            Some([]) | None => return Ok(verifier.finish()),
            Some(bytes) => {
                if let Err(error) = verifier.update(bytes) {
                    return Ok(Err(error));
                }
            }
        }
    }
}
