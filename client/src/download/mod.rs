//! Downloads a target (spec 5.7). The received bytes are verified, and stored in memory or in a temporary file. The
//! file gets its final name only after every check has passed.

mod destination;
mod target_writer;

use std::path::PathBuf;

use futures_util::StreamExt;
use lastmile_metadata::{FileError, TargetFile, TargetNames};

pub(crate) use crate::download::destination::Destination;
use crate::download::destination::refused;
use crate::download::target_writer::{Content, GrowingFile, TargetWriter};
use crate::error::{Error, LocalError, MirrorFailure, MirrorReason, Refusal, all_failed};
use crate::event::{Event, Progress, Transfer};
use crate::net::base_url::FileUrl;
use crate::net::fetch::FetchError;
use crate::net::retry::Retries;
use crate::update_context::UpdateContext;

/// Downloads `target` to `destination`, unless the correct file already exists there, and returns the path.
pub(crate) async fn download(
    context: &UpdateContext,
    target: &TargetFile,
    names: TargetNames,
    destination: Destination,
    progress: &dyn Progress,
) -> Result<PathBuf, Error> {
    let path = destination.path();
    let (is_there, destination) = blocking({
        let target = target.clone();
        move || destination.holds(&target).map(|is_there| (is_there, destination))
    })
    .await?;
    if is_there {
        let target = target.path.clone();
        context.events.handle(&Event::AlreadyThere { target, path: path.clone() });
        return Ok(path);
    }
    progress.report(target, Transfer::Started);
    let fetched = fetch_to(context, target, names, destination, progress).await;
    progress.report(target, if fetched.is_ok() { Transfer::Finished } else { Transfer::Failed });
    fetched.map(|()| path)
}

pub(crate) async fn read(
    context: &UpdateContext,
    target: &TargetFile,
    names: TargetNames,
    max_length: u64,
) -> Result<Vec<u8>, Error> {
    if target.length > max_length {
        return Err(Error::TooLarge { path: target.path.clone(), length: target.length, max_length });
    }
    let url_path = target.url_path(names).map_err(refused)?;
    fetch(context, target, &url_path, Vec::new(), &()).await
}

async fn fetch_to(
    context: &UpdateContext,
    target: &TargetFile,
    names: TargetNames,
    destination: Destination,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let url_path = target.url_path(names).map_err(refused)?;
    let content = GrowingFile::new(destination.temporary(&context.cleaned_dirs)?);
    let file = fetch(context, target, &url_path, content, progress).await?.file;
    blocking(move || destination.finish(file)).await?;
    Ok(())
}

/// Downloads `target` into `content`, and returns the content after every check has passed (G-2-1 in
/// tests/spec-rows.txt).
async fn fetch<C: Content>(
    context: &UpdateContext,
    target: &TargetFile,
    url_path: &str,
    content: C,
    progress: &dyn Progress,
) -> Result<C, Error> {
    let writer = TargetWriter::start(content, target.clone());
    let mut download = Download { target, writer, progress, received: 0, from_several: false };
    let mut failures: Vec<MirrorFailure> = Vec::new();
    for mirror in context.mirrors.in_order() {
        context.report_failure(failures.last());
        let url = mirror.target(url_path);
        match download.fetch_whole(context, &url).await {
            Ok(()) => return Ok(download.writer.finish().await?),
            Err(Failure::Disk) => return Err(disk_failure(download.writer).await),
            Err(Failure::Mirror(reason)) => {
                if reason != MirrorReason::Network(FetchError::NotFound) {
                    mirror.failed();
                }
                failures.push(MirrorFailure { url: url.to_string(), reason });
            }
        }
    }
    // Wait until the writer has dropped the unfinished file. Dropping the file removes it.
    drop(download.writer.finish().await);
    Err(all_failed(format!("the target `{}`", target.path), failures))
}

struct Download<'a, C> {
    target: &'a TargetFile,
    writer: TargetWriter<C>,
    progress: &'a dyn Progress,
    received: u64,
    /// Whether the bytes came from several responses. Different responses may contain parts of different versions of
    /// the file.
    from_several: bool,
}

enum Failure {
    Disk,
    Mirror(MirrorReason),
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Failure {
        Failure::Mirror(error.into())
    }
}

impl<C: Content> Download<'_, C> {
    /// Fetches the missing bytes of the target from `url`, and verifies the whole target. Resumes an interrupted
    /// transfer. If a resumed download fails verification, fetches the target once more from the start.
    async fn fetch_whole(&mut self, context: &UpdateContext, url: &FileUrl) -> Result<(), Failure> {
        let mut retries = context.retry_policy.start(self.target.length);
        let mut has_restarted = false;
        loop {
            let before = self.received;
            let fetched = self.fetch_rest(context, url, &retries).await;
            if self.received > before {
                retries.progressed();
            }
            let verdict = match fetched {
                Ok(()) if self.received < self.target.length && self.received > before => {
                    // The body ended early: either the transfer was interrupted, or the file is too short. The next
                    // request shows which of the two happened.
                    let error = format!("after {} of {} bytes", self.received, self.target.length);
                    retries.pause_after(FetchError::Cut(error)).await?;
                    continue;
                }
                Ok(()) => self.writer.verify().await.ok_or(Failure::Disk)?,
                Err(Failure::Mirror(MirrorReason::Network(FetchError::Status(416)))) if before > 0 => {
                    Err(self.length_error(before))
                }
                Err(Failure::Mirror(MirrorReason::Network(error))) => {
                    retries.pause_after(error).await?;
                    continue;
                }
                Err(Failure::Mirror(MirrorReason::Refused(Refusal::Target { error, .. }))) => Err(error),
                Err(failure) => return Err(failure),
            };
            let Err(error) = verdict else { return Ok(()) };
            let may_be_mixed = self.from_several && !has_restarted;
            self.restart().await?;
            if !may_be_mixed {
                return Err(self.refusal(error));
            }
            has_restarted = true;
        }
    }

    /// Requests the missing part of the target, without retries.
    async fn fetch_rest(&mut self, context: &UpdateContext, url: &FileUrl, retries: &Retries) -> Result<(), Failure> {
        tracing::debug!(%url, offset = self.received, "fetch");
        let response = retries.within(context.fetch.fetch(url.as_str(), self.received)).await?;
        if response.offset == 0 {
            self.restart().await?;
        } else if response.offset == self.received {
            self.from_several = true;
        } else {
            let found = format!("starts at byte {}", response.offset);
            return Err(FetchError::WrongRange(found).into());
        }
        let mut body = response.body;
        while let Some(part) = retries.within(async { body.next().await.transpose() }).await? {
            self.received = self.received.saturating_add(part.len() as u64);
            if self.received > self.target.length {
                return Err(self.refusal(self.length_error(self.received)));
            }
            if !self.writer.append(part).await {
                return Err(Failure::Disk);
            }
            self.progress.report(self.target, Transfer::Advanced(self.received));
        }
        Ok(())
    }

    async fn restart(&mut self) -> Result<(), Failure> {
        self.from_several = false;
        if self.received == 0 {
            return Ok(());
        }
        self.received = 0;
        if self.writer.restart().await { Ok(()) } else { Err(Failure::Disk) }
    }

    fn length_error(&self, found: u64) -> FileError {
        FileError::Length { expected: self.target.length, found }
    }

    fn refusal(&self, error: FileError) -> Failure {
        Failure::Mirror(Refusal::Target { path: self.target.path.clone(), error }.into())
    }
}

async fn disk_failure<C: Content>(writer: TargetWriter<C>) -> Error {
    match writer.finish().await {
        Err(error) => error.into(),
        Ok(_) => {
            let error = std::io::Error::other("the writer thread ended too early");
            LocalError::new("write", "the target", error).into()
        }
    }
}

/// Runs disk operations on another thread, so that they do not delay network requests.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LocalError> + Send + 'static,
) -> Result<T, LocalError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(LocalError::new("finish work on", "the disk", std::io::Error::other(error))))
}

#[cfg(test)]
#[path = "download_tests.rs"]
mod tests;
