//! A blocking version of the API, for programs without an async runtime.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use lastmile_metadata::{TargetFile, TargetPath, TrustedMetadata};
use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, LocalError};
use crate::event::Progress;
use crate::target::Target;

/// The blocking version of [`crate::Updater`], which updates the trusted metadata of one repository.
///
/// The methods of this type panic if they are called inside an async runtime.
pub struct Updater {
    inner: crate::Updater,
    runtime: Arc<Runtime>,
}

impl Updater {
    /// Creates a blocking updater, which runs the async `updater` on its own runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Local`] if the internal async runtime cannot be started.
    pub fn new(updater: crate::Updater) -> Result<Updater, Error> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error: io::Error| LocalError::new("start", "a runtime", error))?;
        Ok(Updater { inner: updater, runtime: Arc::new(runtime) })
    }

    /// The blocking version of [`crate::Updater::prepare`].
    ///
    /// # Errors
    ///
    /// The same errors as the async method.
    pub fn prepare(&self) -> Result<(), Error> {
        self.runtime.block_on(self.inner.prepare())
    }

    /// The blocking version of [`crate::Updater::prepare_at`].
    ///
    /// # Errors
    ///
    /// The same errors as the async method.
    pub fn prepare_at(&self, time: DateTime<Utc>) -> Result<(), Error> {
        self.runtime.block_on(self.inner.prepare_at(time))
    }

    /// The blocking version of [`crate::Updater::refresh`].
    ///
    /// # Errors
    ///
    /// The same errors as the async method.
    pub fn refresh(&self) -> Result<Session, Error> {
        self.session(self.inner.refresh())
    }

    /// The blocking version of [`crate::Updater::refresh_at`].
    ///
    /// # Errors
    ///
    /// The same errors as the async method.
    pub fn refresh_at(&self, time: DateTime<Utc>) -> Result<Session, Error> {
        self.session(self.inner.refresh_at(time))
    }

    /// The blocking version of [`crate::Updater::offline`].
    ///
    /// # Errors
    ///
    /// The same errors as the async method.
    pub fn offline(&self) -> Result<Session, Error> {
        self.session(self.inner.offline())
    }

    /// The blocking version of [`crate::Updater::offline_at`].
    ///
    /// # Errors
    ///
    /// The same errors as the async method.
    pub fn offline_at(&self, time: DateTime<Utc>) -> Result<Session, Error> {
        self.session(self.inner.offline_at(time))
    }

    fn session(&self, work: impl Future<Output = Result<crate::Session, Error>>) -> Result<Session, Error> {
        let inner = self.runtime.block_on(work)?;
        Ok(Session { inner, runtime: Arc::clone(&self.runtime) })
    }
}

/// The blocking version of [`crate::Session`], the trusted metadata of one update.
pub struct Session {
    inner: crate::Session,
    runtime: Arc<Runtime>,
}

impl Session {
    /// Returns the trusted metadata, as [`crate::Session::trusted`] does.
    #[must_use]
    pub fn trusted(&self) -> &TrustedMetadata {
        self.inner.trusted()
    }

    /// The blocking version of [`crate::Session::target`].
    ///
    /// # Errors
    ///
    /// The same errors as the async method.
    pub fn target(&mut self, path: impl AsRef<str>) -> Result<Target, Error> {
        self.runtime.block_on(self.inner.target(path))
    }

    /// The blocking version of [`crate::Session::find`].
    ///
    /// # Errors
    ///
    /// The same errors as the async method.
    pub fn find(&mut self, path: &TargetPath) -> Result<Option<Target>, Error> {
        self.runtime.block_on(self.inner.find(path))
    }

    /// The blocking version of [`crate::Session::find_all`].
    ///
    /// # Errors
    ///
    /// The same errors as the async method.
    pub fn find_all(&mut self, paths: &[TargetPath]) -> Result<Vec<Option<Target>>, Error> {
        self.runtime.block_on(self.inner.find_all(paths))
    }

    /// Builds an index that makes searches faster; see [`crate::Session::expect_many_searches`].
    pub fn expect_many_searches(&mut self) {
        self.inner.expect_many_searches();
    }

    /// The blocking version of [`crate::Session::list`].
    ///
    /// # Errors
    ///
    /// The same errors as the async method.
    pub fn list(&mut self) -> Result<Vec<TargetFile>, Error> {
        self.runtime.block_on(self.inner.list())
    }

    /// The blocking version of [`crate::Session::judge`].
    ///
    /// # Errors
    ///
    /// The same errors as the async method.
    #[cfg(feature = "attest")]
    pub fn judge(&self, target: &Target) -> Result<lastmile_attest::Verdict, Error> {
        self.runtime.block_on(self.inner.judge(target))
    }

    /// The blocking version of [`crate::Session::judge_stored`].
    ///
    /// # Errors
    ///
    /// The same errors as the async method.
    #[cfg(feature = "attest")]
    pub fn judge_stored(&self, target: &Target) -> Result<lastmile_attest::Verdict, Error> {
        self.runtime.block_on(self.inner.judge_stored(target))
    }

    /// The blocking version of [`crate::Session::download`].
    ///
    /// # Errors
    ///
    /// The same errors as the async method.
    pub fn download(&self, target: &Target, path: impl AsRef<Path>) -> Result<PathBuf, Error> {
        self.runtime.block_on(self.inner.download(target, path))
    }

    /// The blocking version of [`crate::Session::download_with_progress`].
    ///
    /// # Errors
    ///
    /// The same errors as the async method.
    pub fn download_with_progress(
        &self,
        target: &Target,
        path: impl AsRef<Path>,
        progress: &dyn Progress,
    ) -> Result<PathBuf, Error> {
        self.runtime.block_on(self.inner.download_with_progress(target, path, progress))
    }

    /// The blocking version of [`crate::Session::download_below`].
    ///
    /// # Errors
    ///
    /// The same errors as the async method.
    pub fn download_below(&self, target: &Target, folder: impl AsRef<Path>) -> Result<PathBuf, Error> {
        self.runtime.block_on(self.inner.download_below(target, folder))
    }

    /// The blocking version of [`crate::Session::download_below_with_progress`].
    ///
    /// # Errors
    ///
    /// The same errors as the async method.
    pub fn download_below_with_progress(
        &self,
        target: &Target,
        folder: impl AsRef<Path>,
        progress: &dyn Progress,
    ) -> Result<PathBuf, Error> {
        self.runtime.block_on(self.inner.download_below_with_progress(target, folder, progress))
    }

    /// The blocking version of [`crate::Session::download_all`].
    pub fn download_all(
        &self,
        targets: &[Target],
        folder: impl AsRef<Path>,
        at_once: usize,
    ) -> Vec<Result<PathBuf, Error>> {
        self.runtime.block_on(self.inner.download_all(targets, folder, at_once))
    }

    /// The blocking version of [`crate::Session::download_all_with_progress`].
    pub fn download_all_with_progress(
        &self,
        targets: &[Target],
        folder: impl AsRef<Path>,
        at_once: usize,
        progress: &dyn Progress,
    ) -> Vec<Result<PathBuf, Error>> {
        self.runtime.block_on(self.inner.download_all_with_progress(targets, folder, at_once, progress))
    }

    /// The maximum length of a target for [`Session::read`]; see [`crate::Session::MAX_READ_LENGTH`].
    pub const MAX_READ_LENGTH: u64 = crate::Session::MAX_READ_LENGTH;

    /// The blocking version of [`crate::Session::read`].
    ///
    /// # Errors
    ///
    /// The same errors as the async method.
    pub fn read(&self, target: &Target) -> Result<Vec<u8>, Error> {
        self.runtime.block_on(self.inner.read(target))
    }
}
