//! What one update has come to trust, and what can be done with it: find, list, download.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use lastmile_metadata::{Stage, TargetFile, TargetPath, TrustedMetadata};

use crate::ahead::Ahead;
use crate::download::{Goal, download};
use crate::error::{Error, MachineError};
use crate::opening::LONGEST_FLOORS;
use crate::progress::Progress;
use crate::road::Road;
use crate::store::StoredFile;
use crate::updater::{Driver, Source};

/// The trusted metadata of one update cycle. Everything is judged at the time at which the cycle
/// started: a program that runs for long refreshes for a new session.
pub struct Session {
    road: Arc<Road>,
    trusted: TrustedMetadata,
    source: Source,
    floors: Option<String>,
}

impl Session {
    pub(crate) fn new(road: Arc<Road>, trusted: TrustedMetadata, source: Source, floors: Option<String>) -> Session {
        Session { road, trusted, source, floors }
    }

    /// The trusted metadata.
    #[must_use]
    pub fn trusted(&self) -> &TrustedMetadata {
        &self.trusted
    }

    /// Looks for a target (spec 5.6.7), and fetches the delegated roles on the way that are not
    /// there yet. None: no trusted role lists it.
    ///
    /// # Errors
    ///
    /// [`Error`] where a role on the way cannot be had or trusted: never a later role's answer.
    pub async fn find(&mut self, path: &TargetPath) -> Result<Option<TargetFile>, Error> {
        let path = path.clone();
        self.drive(|trusted| trusted.search(path)).await
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
        let _lock = self.road.lock().await?;
        let mut driver = Driver {
            road: &self.road,
            source: source_now(&self.road, self.source, self.floors.as_deref())?,
            floors: self.floors.clone(),
            floors_lost: false,
            ahead: Ahead::new(&self.road),
        };
        driver.drive(stage(&mut self.trusted)).await
    }

    /// Fetches a target to exactly this path, whose directory must exist. A file that is there
    /// already and right is not fetched again.
    ///
    /// # Errors
    ///
    /// [`Error`] by culprit; whatever it is, what was at the path before is unchanged.
    pub async fn download(&self, target: &TargetFile, to: &Path, progress: &dyn Progress) -> Result<PathBuf, Error> {
        self.fetch(target, Goal::file(to)?, progress).await
    }

    /// Fetches a target to its own path below `folder`, and returns where it is. Links below
    /// `folder` are not followed.
    ///
    /// # Errors
    ///
    /// As [`download`](Session::download); [`Error::Repository`] for a path that is not the same
    /// file on every system or leads out of the folder (decision D8).
    pub async fn download_below(
        &self,
        target: &TargetFile,
        folder: &Path,
        progress: &dyn Progress,
    ) -> Result<PathBuf, Error> {
        self.fetch(target, Goal::below(folder, target)?, progress).await
    }

    /// Fetches several targets below `folder`, at most `at_once` at a time. The results are in the
    /// order of the targets; one that fails does not stop the others.
    pub async fn download_all(
        &self,
        targets: &[TargetFile],
        folder: &Path,
        at_once: usize,
        progress: &dyn Progress,
    ) -> Vec<Result<PathBuf, Error>> {
        let downloads = targets.iter().map(|target| self.download_below(target, folder, progress));
        stream::iter(downloads.collect::<Vec<_>>()).buffered(at_once.max(1)).collect().await
    }

    async fn fetch(&self, target: &TargetFile, goal: Goal, progress: &dyn Progress) -> Result<PathBuf, Error> {
        let consistent = self.trusted.root().consistent_snapshot;
        download(&self.road, target, consistent, goal, progress).await
    }
}

/// Where delegated roles come from now. When another process has refreshed the store since, what it
/// keeps is newer than what this session trusts, and is left alone.
fn source_now(road: &Road, source: Source, floors: Option<&str>) -> Result<Source, MachineError> {
    if source != Source::MirrorsAndStore {
        return Ok(source);
    }
    let kept = road.store.read(&StoredFile::Floors, LONGEST_FLOORS)?;
    let is_ours = kept.as_deref() == floors.map(str::as_bytes);
    Ok(if is_ours { Source::MirrorsAndStore } else { Source::MirrorsOnly })
}
