//! Downloads several files without an async runtime, and reports the progress of each download.
//!
//! ```console
//! $ cargo run --example blocking -- root.json https://example.org/ state downloads app-1.2.tar.gz manual.pdf
//! app-1.2.tar.gz: 13 of 13 bytes
//! manual.pdf: 40960 of 40960 bytes
//! ```

#![expect(clippy::disallowed_methods, reason = "an example is a program and may use the file system directly")]
#![expect(clippy::print_stdout, reason = "an example prints to the terminal")]

use lastmile_client::blocking::Updater;
use lastmile_client::metadata::TargetFile;
use lastmile_client::{DirectoryStore, Transfer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [root, url, state, folder, names @ ..] = args.as_slice() else {
        return Err("usage: blocking ROOT URL STATE FOLDER TARGET…".into());
    };
    let updater = lastmile_client::Updater::builder(std::fs::read(root)?)
        .mirror(format!("{url}metadata/"), format!("{url}targets/"))
        .store(DirectoryStore::open(state)?)
        .build()?;
    let mut session = Updater::new(updater)?.refresh()?;
    for name in names {
        let target = session.target(name)?;
        session.download_below_with_progress(&target, folder, &report)?;
    }
    Ok(())
}

fn report(target: &TargetFile, event: Transfer) {
    if let Transfer::Advanced(bytes) = event {
        println!("{}: {bytes} of {} bytes", target.path, target.length);
    }
}
