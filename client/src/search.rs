//! Searches for several targets at the same time (spec 5.6.7).

use std::collections::BTreeSet;

use lastmile_metadata::{Found, Stage, TargetPath, TargetSearch, TrustedMetadata};

use crate::driver::Driver;
use crate::error::Error;

/// Searches for all paths in rounds. In each round, every search advances until it needs a metadata file that is not
/// stored. The files needed by all searches are fetched in parallel, and then verified in the order of the paths.
/// `convert` converts each result to a smaller type, so that the delegation chains of many targets need not be in
/// memory at the same time.
pub(crate) async fn search_all<T>(
    driver: &mut Driver<'_>,
    trusted: &mut TrustedMetadata,
    paths: &[TargetPath],
    convert: impl Fn(Found) -> Result<T, Error>,
) -> Result<Vec<Option<T>>, Error> {
    let finish = |search: TargetSearch<'_>| search.finish()?.map(&convert).transpose();
    let mut found: Vec<_> = paths.iter().map(|_| Ok(None)).collect();
    let mut open: Vec<_> = paths.iter().zip(&mut found).collect();
    while !open.is_empty() {
        let mut waiting = Vec::new();
        let mut asked = BTreeSet::new();
        for (path, found) in open {
            let mut search = trusted.search(path.clone());
            let Some(request) = driver.recall(&mut search)? else {
                *found = finish(search);
                continue;
            };
            if asked.insert(request.file_name()) {
                driver.queue(&request);
            }
            waiting.push((path, found, request));
        }
        open = Vec::new();
        for (path, found, request) in waiting {
            let mut search = trusted.search(path.clone());
            let answered = match search.request() {
                Some(next) if next == request => driver.answer(&mut search, &request).await,
                // The search for another path may have fetched the file already.
                _ => Ok(()),
            };
            match answered {
                Ok(()) if search.request().is_some() => open.push((path, found)),
                Ok(()) => *found = finish(search),
                Err(error) => {
                    *found = Err(error);
                    // Stop the searches for later paths, because only the first error is returned.
                    break;
                }
            }
        }
    }
    found.into_iter().collect()
}
