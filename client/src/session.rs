//! A session: the trusted metadata of one update, with methods to find, list and download targets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use lastmile_metadata::{Stage, TargetFile, TargetNames, TargetPath, TrustedMetadata};
use tokio::task::yield_now;

use crate::download::{Destination, download, read};
use crate::driver::{Driver, Source};
use crate::error::Error;
use crate::event::Progress;
use crate::search::search_all;
use crate::target::Target;
use crate::update_context::UpdateContext;

/// The number of targets that [`Session::list`] searches for before it yields to the async runtime. The call can be
/// cancelled only when it yields.
const SEARCHES_AT_ONCE: usize = 256;

/// The trusted metadata of one update cycle. All metadata is verified as of the time at which the cycle started. A
/// long-running program must therefore refresh from time to time, to get a new session.
///
/// # Cancellation
///
/// Every future of a session can be dropped at any time. Previously trusted metadata stays trusted, and a target
/// appears under its final name only if it has been verified completely.
pub struct Session {
    pub(crate) context: Arc<UpdateContext>,
    pub(crate) trusted: TrustedMetadata,
    pub(crate) source: Source,
    /// The trust roots that this session has already read, so that each is read only once.
    #[cfg(feature = "attest")]
    pub(crate) trust_roots: tokio::sync::Mutex<Vec<(TargetFile, Arc<[u8]>)>>,
}

impl Session {
    pub(crate) fn new(context: Arc<UpdateContext>, trusted: TrustedMetadata, source: Source) -> Session {
        Session {
            context,
            trusted,
            source,
            #[cfg(feature = "attest")]
            trust_roots: tokio::sync::Mutex::default(),
        }
    }

    /// Returns the trusted metadata.
    #[must_use]
    pub fn trusted(&self) -> &TrustedMetadata {
        &self.trusted
    }

    /// Finds the target `path` (spec 5.6.7), and collects the requirements of the policies that apply to the target.
    /// Fetches the delegated roles that the search visits, unless they are already stored.
    ///
    /// # Errors
    ///
    /// [`Error::TargetPath`] if `path` is not a valid target path, [`Error::NoSuchTarget`] if no trusted role lists the
    /// target, or one of the errors of [`find`](Session::find).
    pub async fn target(&mut self, path: impl AsRef<str>) -> Result<Target, Error> {
        let path = TargetPath::new(path.as_ref())?;
        // Spec 5.7.2: a target that no role lists is an error.
        self.find(&path).await?.ok_or(Error::NoSuchTarget(path))
    }

    /// Like [`target`](Session::target), but returns `None` if no trusted role lists the target.
    ///
    /// # Errors
    ///
    /// An error if a role that the search visits cannot be fetched or trusted. The search then does not continue with
    /// other roles. Also an error if a policy on the delegation chain cannot be used.
    pub async fn find(&mut self, path: &TargetPath) -> Result<Option<Target>, Error> {
        let path = path.clone();
        let Some(found) = self.drive(|trusted| trusted.search(path)).await? else { return Ok(None) };
        let mut found = [Some(Target::of(found, &self.context.policies)?)];
        self.complete(&mut found).await?;
        let [found] = found;
        Ok(found)
    }

    /// Builds an index of all delegations, which makes later searches faster. Building the index is worthwhile only if
    /// thousands of searches follow.
    pub fn expect_many_searches(&mut self) {
        self.trusted.expect_many_searches();
    }

    /// Finds several targets like [`find`](Session::find), but fetches the delegated roles in parallel. The results are
    /// in the order of the paths.
    ///
    /// # Errors
    ///
    /// The same errors as [`find`](Session::find), for the first path that fails.
    pub async fn find_all(&mut self, paths: &[TargetPath]) -> Result<Vec<Option<Target>>, Error> {
        let mut driver = Driver::of_session(&self.context, self.source, &self.trusted);
        let policies = &self.context.policies;
        let mut found = search_all(&mut driver, &mut self.trusted, paths, |found| Target::of(found, policies)).await?;
        drop(driver);
        self.complete(&mut found).await?;
        Ok(found)
    }

    /// Finds the evidence for the targets in `found`.
    async fn complete(&mut self, found: &mut [Option<Target>]) -> Result<(), Error> {
        #[cfg(feature = "attest")]
        self.find_evidence(found).await?;
        #[cfg(not(feature = "attest"))]
        let _ = found;
        Ok(())
    }

    /// Returns the length, hashes and custom data of every target that [`find`](Session::find) would find, sorted by
    /// path. To download a target, call [`find`](Session::find) with its path. Fetches all delegated roles. The running
    /// time is proportional to the length of the metadata. `Limits::list_steps` limits the number of steps.
    ///
    /// # Errors
    ///
    /// The same errors as [`find`](Session::find).
    pub async fn list(&mut self) -> Result<Vec<TargetFile>, Error> {
        let mut driver = Driver::of_session(&self.context, self.source, &self.trusted);
        let mut listing = self.trusted.listing();
        driver.feed(&mut listing).await?;
        while listing.search_some(SEARCHES_AT_ONCE) {
            yield_now().await;
        }
        Ok(listing.finish()?)
    }

    async fn drive<'a, S: Stage + Send>(
        &'a mut self,
        stage: impl FnOnce(&'a mut TrustedMetadata) -> S,
    ) -> Result<S::Next, Error> {
        let mut driver = Driver::of_session(&self.context, self.source, &self.trusted);
        driver.drive(stage(&mut self.trusted)).await
    }

    /// Downloads a target to exactly `path`, and returns the path. The parent directory must exist. If the correct file
    /// already exists there, the target is not downloaded again.
    ///
    /// If a policy applies to the target, the session fetches and verifies the evidence before it requests the target.
    /// It requests the target only if the evidence satisfies all requirements.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if a policy refuses the target. After any [`Error`], the file at the path is unchanged.
    ///
    /// # Cancellation
    ///
    /// The future can be dropped at any time. The file at the path is then either unchanged or the complete verified
    /// target, and an unfinished download is removed.
    pub async fn download(&self, target: &Target, path: impl AsRef<Path>) -> Result<PathBuf, Error> {
        self.download_with_progress(target, path, &()).await
    }

    /// Like [`download`](Session::download), but also reports progress.
    ///
    /// # Errors
    ///
    /// The same errors as [`download`](Session::download).
    pub async fn download_with_progress(
        &self,
        target: &Target,
        path: impl AsRef<Path>,
        progress: &dyn Progress,
    ) -> Result<PathBuf, Error> {
        self.permit(target).await?;
        self.fetch(target, Destination::file(path.as_ref())?, progress).await
    }

    /// Downloads a target into `folder`, and returns the path of the file. The target path becomes the relative path of
    /// the file below `folder`. Symbolic links below `folder` are not followed.
    ///
    /// # Errors
    ///
    /// The same errors as [`download`](Session::download), and [`Error::Refused`] if the target path leads out of the
    /// folder, or does not have the same meaning on every operating system (decision D8 in docs/pouf.md).
    pub async fn download_below(&self, target: &Target, folder: impl AsRef<Path>) -> Result<PathBuf, Error> {
        self.download_below_with_progress(target, folder, &()).await
    }

    /// Like [`download_below`](Session::download_below), but also reports progress.
    ///
    /// # Errors
    ///
    /// The same errors as [`download_below`](Session::download_below).
    pub async fn download_below_with_progress(
        &self,
        target: &Target,
        folder: impl AsRef<Path>,
        progress: &dyn Progress,
    ) -> Result<PathBuf, Error> {
        self.permit(target).await?;
        self.fetch(target, Destination::below(folder.as_ref(), target)?, progress).await
    }

    /// Downloads several targets into `folder` like [`download_below`](Session::download_below), at most `at_once`
    /// targets at the same time. The results are in the order of the targets. A failed download does not stop the other
    /// downloads.
    pub async fn download_all(
        &self,
        targets: &[Target],
        folder: impl AsRef<Path>,
        at_once: usize,
    ) -> Vec<Result<PathBuf, Error>> {
        self.download_all_with_progress(targets, folder, at_once, &()).await
    }

    /// Like [`download_all`](Session::download_all), but also reports the progress of each target.
    pub async fn download_all_with_progress(
        &self,
        targets: &[Target],
        folder: impl AsRef<Path>,
        at_once: usize,
        progress: &dyn Progress,
    ) -> Vec<Result<PathBuf, Error>> {
        let folder = folder.as_ref();
        let downloads = targets.iter().enumerate().map(|(index, target)| async move {
            (index, self.download_below_with_progress(target, folder, progress).await)
        });
        // Do not use `buffered`: a slow download would then delay the start of later downloads.
        let downloads = stream::iter(downloads.collect::<Vec<_>>()).buffer_unordered(at_once.max(1));
        let mut results: Vec<_> = downloads.collect().await;
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// The maximum length of a target that [`read`](Session::read) accepts: 16 MiB.
    pub const MAX_READ_LENGTH: u64 = 16 * 1024 * 1024;

    /// Fetches a small target into memory. Reads at most the listed number of bytes.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the listed length is more than [`MAX_READ_LENGTH`](Session::MAX_READ_LENGTH); the target
    /// is then not requested. Otherwise the same errors as [`download`](Session::download).
    pub async fn read(&self, target: &Target) -> Result<Vec<u8>, Error> {
        self.permit(target).await?;
        read(&self.context, target, self.target_names(), Self::MAX_READ_LENGTH).await
    }

    /// Permits every target. Without the feature `attest`, a search fails with [`Error::PoliciesNotSupported`] if it
    /// finds a target whose policies must be enforced.
    #[cfg(not(feature = "attest"))]
    async fn permit(&self, _target: &Target) -> Result<(), Error> {
        Ok(())
    }

    async fn fetch(
        &self,
        target: &Target,
        destination: Destination,
        progress: &dyn Progress,
    ) -> Result<PathBuf, Error> {
        download(&self.context, target, self.target_names(), destination, progress).await
    }

    pub(crate) fn target_names(&self) -> TargetNames {
        self.trusted.root().target_names(self.context.target_names)
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
