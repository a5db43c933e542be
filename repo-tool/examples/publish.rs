//! Creates a repository if it does not exist yet, and publishes files.
//!
//! ```console
//! $ cargo run --example publish -- packages config.toml app-1.2.tar.gz manual.pdf
//! root 1, timestamp 2: app-1.2.tar.gz manual.pdf
//! ```
//!
//! `packages` is the folder of the repository. `config.toml` is the user's configuration file, in which the root is
//! pinned: keep it outside the repository's folder. For a real repository, encrypt the keys and keep the root keys
//! offline.

#![expect(clippy::disallowed_methods, reason = "an example uses the clock and the file system")]
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::path::Path;

use chrono::Utc;
use lastmile_metadata::{RoleName, TargetPath};
use lastmile_repo_tool::{
    AddOptions, Invocation, NewRepository, Outcome, Protection, Repository, Signing, Source, Unobserved, UserConfig,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, config, files @ ..] = args.as_slice() else {
        return Err("usage: publish REPOSITORY CONFIG FILE…".into());
    };
    let invocation = Invocation::new(Utc::now(), UserConfig::at(Path::new(config)));
    let folder = Path::new(folder);
    if !folder.exists() {
        NewRepository::new(Protection::None).create(folder, &invocation, &mut Unobserved)?;
    }

    // Read and verify the published files as a client would, and lock the repository.
    let mut repository = Repository::open_for_change(folder, &invocation)?;
    let mut sources = Vec::new();
    for file in files {
        let name = Path::new(file).file_name().ok_or("not a file")?.to_string_lossy();
        sources.push(Source::new(file.into(), TargetPath::new(name)?));
    }
    let draft = repository.staged()?;
    let draft = repository.add_files(draft, &RoleName::TARGETS, &sources, &AddOptions::default(), &|_| {})?;
    let plan = repository.plan(draft, Signing::Now)?;
    match repository.conclude(&plan, &mut Unobserved)? {
        Outcome::Published { .. } => {
            let root = repository.published.root.version;
            let timestamp = repository.published.timestamp.version;
            println!("root {root}, timestamp {timestamp}: {}", files.join(" "));
            Ok(())
        }
        Outcome::Staged(documents) => Err(format!("{} documents lack signatures", documents.len()).into()),
        Outcome::Nothing => Err("nothing changed".into()),
    }
}
