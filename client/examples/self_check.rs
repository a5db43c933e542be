//! Checks whether a file is identical to a published target. With this check, a program can notice that its own
//! executable is outdated or has been modified.
//!
//! ```console
//! $ cargo run --example self_check -- root.json https://example.org/ state app /usr/bin/app
//! /usr/bin/app is identical to the published target app
//! ```
//!
//! Without the last argument, the example checks its own executable. If the network fails, the example uses the
//! metadata that this machine already trusts.

#![expect(clippy::disallowed_methods, reason = "an example is a program and may use the file system directly")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints to the terminal")]

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
        Ok(()) => println!("{} is identical to the published target {name}", file.display()),
        Err(difference) => println!("{} differs from the published target {name}: {difference}", file.display()),
    }
    Ok(())
}

/// Finds the target `name` in fresh metadata, or in the stored metadata if the network fails.
async fn published(updater: &Updater, name: &str) -> Result<TargetFile, Error> {
    let mut session = match updater.refresh().await {
        Err(Error::Network(error)) => {
            eprintln!("{error}; checking against the stored metadata");
            // `offline` refuses expired metadata, so an attacker who blocks the network cannot freeze this machine at
            // an old version forever.
            updater.offline().await?
        }
        refreshed => refreshed?,
    };
    Ok(session.target(name).await?.file().clone())
}

/// Checks the file against the length and all hashes that the metadata lists for the target.
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
