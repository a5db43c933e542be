//! What one update has come to trust, and what can be done with it: find, list, download.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use lastmile_metadata::{RoleName, Stage, TargetFile, TargetPath, TrustedMetadata};

use crate::download::{Destination, download, read};
use crate::driver::{Driver, Source};
use crate::error::{Error, LocalError};
use crate::event::Progress;
use crate::store::StoredFile;
use crate::update_context::UpdateContext;

/// The trusted metadata of one update cycle. Everything is judged at the time at which the cycle
/// started: a program that runs for long refreshes for a new session.
///
/// # Cancellation
///
/// Every future of a session can be dropped at any time. What was trusted before stays trusted, the lock of the store is
/// released, and a target appears under its final name only if all of it was verified.
pub struct Session {
    context: Arc<UpdateContext>,
    trusted: TrustedMetadata,
    source: Source,
}

impl Session {
    pub(crate) fn new(context: Arc<UpdateContext>, trusted: TrustedMetadata, source: Source) -> Session {
        Session { context, trusted, source }
    }

    /// The trusted metadata.
    #[must_use]
    pub fn trusted(&self) -> &TrustedMetadata {
        &self.trusted
    }

    /// Looks for the target with this path (spec 5.6.7), and fetches the delegated roles on the way that are not there
    /// yet.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchTarget`] where no trusted role lists it, [`Error::TargetPath`] where `path` cannot be the path of
    /// a target; otherwise as [`find`](Session::find).
    pub async fn target(&mut self, path: impl AsRef<str>) -> Result<TargetFile, Error> {
        let path = TargetPath::new(path.as_ref())?;
        self.find(&path).await?.ok_or(Error::NoSuchTarget(path))
    }

    /// Like [`target`](Session::target), but returns `None` where no trusted role lists the target.
    ///
    /// # Errors
    ///
    /// [`Error`] where a role on the way cannot be fetched or trusted: never the answer of a later role.
    pub async fn find(&mut self, path: &TargetPath) -> Result<Option<TargetFile>, Error> {
        let path = path.clone();
        Ok(self.drive(|trusted| trusted.search(path)).await?.map(|found| found.target))
    }

    /// Makes very many searches that follow quicker, at the price of one look at all delegations.
    pub fn expect_many_searches(&mut self) {
        self.trusted.expect_many_searches();
    }

    /// Looks for several targets as [`find`](Session::find) does, in this order; but what the
    /// searches wait for is fetched at once. The answers are in the order of the paths.
    ///
    /// # Errors
    ///
    /// As [`find`](Session::find), for the first path for which there is one.
    pub async fn find_all(&mut self, paths: &[TargetPath]) -> Result<Vec<Option<TargetFile>>, Error> {
        let _lock = self.context.lock().await?;
        let source = source_now(&self.context, self.source, &self.trusted)?;
        search_all(&mut Driver::new(&self.context, source), &mut self.trusted, paths).await
    }

    /// Every target that [`find`](Session::find) would find, in the order of their paths; fetches
    /// all delegated roles.
    ///
    /// # Errors
    ///
    /// As [`find`](Session::find).
    pub async fn list(&mut self) -> Result<Vec<TargetFile>, Error> {
        self.drive(TrustedMetadata::listing).await
    }

    async fn drive<'a, S: Stage + Send>(
        &'a mut self,
        stage: impl FnOnce(&'a mut TrustedMetadata) -> S,
    ) -> Result<S::Next, Error> {
        let _lock = self.context.lock().await?;
        let source = source_now(&self.context, self.source, &self.trusted)?;
        let mut driver = Driver::new(&self.context, source);
        driver.drive(stage(&mut self.trusted)).await
    }

    /// Downloads a target to exactly this path, whose directory must exist, and returns the path. A file that is there
    /// already and right is not fetched again.
    ///
    /// # Errors
    ///
    /// Whatever the [`Error`], what was at the path before is unchanged.
    ///
    /// # Cancellation
    ///
    /// The future can be dropped at any time: at the path is then what was there before or the whole verified file, and
    /// the unfinished one is removed.
    pub async fn download(&self, target: &TargetFile, path: impl AsRef<Path>) -> Result<PathBuf, Error> {
        self.download_with_progress(target, path, &()).await
    }

    /// Like [`download`](Session::download), and reports how far it is.
    ///
    /// # Errors
    ///
    /// As [`download`](Session::download).
    pub async fn download_with_progress(
        &self,
        target: &TargetFile,
        path: impl AsRef<Path>,
        progress: &dyn Progress,
    ) -> Result<PathBuf, Error> {
        self.fetch(target, Destination::file(path.as_ref())?, progress).await
    }

    /// Downloads a target to its own path below `folder`, and returns where it is. Links below `folder` are not
    /// followed.
    ///
    /// # Errors
    ///
    /// As [`download`](Session::download); [`Error::Refused`] for a path that is not the same file on every system or
    /// leads out of the folder (decision D8).
    pub async fn download_below(&self, target: &TargetFile, folder: impl AsRef<Path>) -> Result<PathBuf, Error> {
        self.download_below_with_progress(target, folder, &()).await
    }

    /// Like [`download_below`](Session::download_below), and reports how far it is.
    ///
    /// # Errors
    ///
    /// As [`download_below`](Session::download_below).
    pub async fn download_below_with_progress(
        &self,
        target: &TargetFile,
        folder: impl AsRef<Path>,
        progress: &dyn Progress,
    ) -> Result<PathBuf, Error> {
        self.fetch(target, Destination::below(folder.as_ref(), target)?, progress).await
    }

    /// Downloads several targets below `folder`, at most `at_once` at a time. The results are in the order of the
    /// targets; one that fails does not stop the others.
    pub async fn download_all(
        &self,
        targets: &[TargetFile],
        folder: impl AsRef<Path>,
        at_once: usize,
    ) -> Vec<Result<PathBuf, Error>> {
        self.download_all_with_progress(targets, folder, at_once, &()).await
    }

    /// Like [`download_all`](Session::download_all), and reports how far each target is.
    pub async fn download_all_with_progress(
        &self,
        targets: &[TargetFile],
        folder: impl AsRef<Path>,
        at_once: usize,
        progress: &dyn Progress,
    ) -> Vec<Result<PathBuf, Error>> {
        let folder = folder.as_ref();
        let downloads = targets.iter().enumerate().map(|(index, target)| async move {
            (index, self.download_below_with_progress(target, folder, progress).await)
        });
        // One that takes long holds up none of those after it.
        let downloads = stream::iter(downloads.collect::<Vec<_>>()).buffer_unordered(at_once.max(1));
        let mut results: Vec<_> = downloads.collect().await;
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// The most bytes that [`read`](Session::read) holds in memory: 16 MiB.
    pub const MAX_READ_LENGTH: u64 = 16 * 1024 * 1024;

    /// Fetches a small target into memory. Never reads more than its listed length.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] where that length is more than [`MAX_READ_LENGTH`](Session::MAX_READ_LENGTH), without a
    /// request; otherwise as [`download`](Session::download).
    pub async fn read(&self, target: &TargetFile) -> Result<Vec<u8>, Error> {
        read(&self.context, target, self.trusted.root().consistent_snapshot, Self::MAX_READ_LENGTH).await
    }

    async fn fetch(
        &self,
        target: &TargetFile,
        destination: Destination,
        progress: &dyn Progress,
    ) -> Result<PathBuf, Error> {
        let consistent = self.trusted.root().consistent_snapshot;
        download(&self.context, target, consistent, destination, progress).await
    }
}

/// Searches for all paths in rounds. In each, every search goes on to the file that it waits for, all
/// of these are asked for, and then judged in the order of the paths.
async fn search_all(
    driver: &mut Driver<'_>,
    trusted: &mut TrustedMetadata,
    paths: &[TargetPath],
) -> Result<Vec<Option<TargetFile>>, Error> {
    let mut found: Vec<_> = paths.iter().map(|_| Ok(None)).collect();
    let mut open: Vec<_> = paths.iter().zip(&mut found).collect();
    while !open.is_empty() {
        let (mut waiting, mut asked) = (Vec::new(), BTreeSet::new());
        for (path, found) in open {
            let mut search = trusted.search(path.clone());
            let Some(request) = driver.recall(&mut search)? else {
                *found = search.finish().map(|found| found.map(|found| found.target)).map_err(Error::from);
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
                // It was answered for another path.
                _ => Ok(()),
            };
            match answered {
                Ok(()) if search.request().is_some() => open.push((path, found)),
                Ok(()) => *found = search.finish().map(|found| found.map(|found| found.target)).map_err(Error::from),
                Err(error) => {
                    *found = Err(error);
                    // Nothing after it counts any more.
                    break;
                }
            }
        }
    }
    found.into_iter().collect()
}

/// Where delegated roles come from now. When another process has refreshed the store since, what it
/// keeps is newer than what this session trusts, and is left alone: then the stored timestamp, on
/// which all else depends, is another one.
fn source_now(context: &UpdateContext, source: Source, trusted: &TrustedMetadata) -> Result<Source, LocalError> {
    if source != Source::MirrorsAndStore {
        return Ok(source);
    }
    let kept = match context.store.read(&StoredFile::Role(RoleName::TIMESTAMP), context.longest(&RoleName::TIMESTAMP)) {
        Err(error) if error.is_unusable_content() => None,
        kept => kept?,
    };
    let is_ours = kept.is_some_and(|kept| kept == **trusted.timestamp().bytes());
    Ok(if is_ours { Source::MirrorsAndStore } else { Source::MirrorsOnly })
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
