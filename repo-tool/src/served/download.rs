//! Downloads many targets with several threads.

use lastmile_client::blocking::Session;
use lastmile_client::{Error as ClientError, Target};
use lastmile_metadata::TargetFile;

use crate::{Error, workers};

/// The number of targets that are looked up before their files are downloaded. It limits the memory use.
const BATCH: usize = 1000;

/// Looks up the targets, and calls `download` for several of them in parallel. Returns the results in the order of the
/// targets. If a target cannot be found, `looked_up` returns an error to stop, or `None` to skip the target.
///
/// # Errors
/// Returns the first error of `looked_up`, or one of the errors of `download`.
pub(crate) fn download_each<'t, R: Send>(
    session: &mut Session,
    targets: &[&'t TargetFile],
    mut looked_up: impl FnMut(&'t TargetFile, Result<Target, ClientError>) -> Result<Option<Target>, Error>,
    download: impl Fn(&Session, &Target) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    session.expect_many_searches();
    let mut results = Vec::new();
    for batch in targets.chunks(BATCH) {
        let found = batch.iter().map(|target| looked_up(target, session.target(target.path.as_str())));
        let found = found.filter_map(Result::transpose).collect::<Result<Vec<Target>, Error>>()?;
        let session = &*session;
        results.extend(workers::try_map(&found, |target| download(session, target))?);
    }
    Ok(results)
}
