//! Measures a refresh in a program that keeps its connections open: `refresh METADATA_URL TARGETS_URL ROOT STATE`
//! refreshes twice, and prints the duration of the second refresh in seconds.

use std::error::Error;
use std::io::{self, Write as _};
use std::time::Instant;

use lastmile_client::{DirectoryStore, Updater};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [metadata, targets, root, state] = arguments.as_slice() else {
        return Err("usage: refresh METADATA_URL TARGETS_URL ROOT STATE".into());
    };
    let builder = Updater::builder(std::fs::read(root)?).mirror(metadata, targets);
    let updater = builder.store(DirectoryStore::open(state)?).build()?;
    updater.refresh().await?;
    let started = Instant::now();
    updater.refresh().await?;
    writeln!(io::stdout(), "{}", started.elapsed().as_secs_f64())?;
    Ok(())
}
