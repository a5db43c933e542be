//! The `tough` library as a client, for the benchmarks: `tough METADATA_DIR TARGETS_DIR ROOT STATE OUTPUT NAME…`.
//!
//! The program reads the repository from the disk, which is faster than HTTP.

use std::error::Error;
use std::path::Path;

use futures_util::TryStreamExt as _;
use tough::{Limits, RepositoryLoader, TargetName};
use url::Url;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [metadata, targets, root, state, output, names @ ..] = arguments.as_slice() else {
        return Err("usage: tough METADATA_DIR TARGETS_DIR ROOT STATE OUTPUT NAME…".into());
    };
    std::fs::create_dir_all(state)?;
    std::fs::create_dir_all(output)?;
    let root = std::fs::read(root)?;
    // The metadata files are larger than the default limit.
    let limits = Limits { max_snapshot_size: 1 << 31, max_targets_size: 1 << 32, ..Limits::default() };
    let loader = RepositoryLoader::new(&root, folder(metadata)?, folder(targets)?);
    let repository = loader.datastore(Path::new(state)).limits(limits).load().await?;
    for name in names {
        let Some(content) = repository.read_target(&TargetName::new(name)?).await? else {
            return Err(format!("no target {name}").into());
        };
        let parts: Vec<_> = content.try_collect().await?;
        std::fs::write(Path::new(output).join(name), parts.concat())?;
    }
    Ok(())
}

fn folder(path: &str) -> Result<Url, Box<dyn Error>> {
    Url::from_directory_path(path).map_err(|()| format!("{path} is not absolute").into())
}
