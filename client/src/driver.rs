//! Runs the client workflow (spec 5). Each step is a [`Stage`], which requests metadata files. A [`Driver`] supplies
//! these files from the store and the mirrors. Only this module calls [`Stage::apply`].

use std::collections::BTreeSet;
use std::time::Duration;

use lastmile_metadata::{
    Accepted, ErrorKind, FileContent, Floors, Received, Request, RoleName, Stage, TrustedMetadata,
};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, LocalError, MirrorFailure, MirrorReason, Refusal, all_failed};
use crate::net::attempt::{Attempt, attempt, fetch_metadata};
use crate::net::base_url::FileUrl;
use crate::net::fetch::FetchError;
use crate::net::mirrors::MirrorHandle;
use crate::net::prefetch::Prefetch;
use crate::start::{FloorsRecord, MAX_FLOORS_LENGTH};
use crate::store::StoredFile;
use crate::store::pending::PendingChanges;
use crate::store::shared::LockedStore;
use crate::update_context::UpdateContext;

/// How long to wait for the other mirrors after the first mirror has answered a request for the next root or for the
/// timestamp.
const GRACE_PERIOD: Duration = Duration::from_secs(3);

/// The maximum number of files that are considered for prefetching whenever the stage requests a file.
const MAX_CONSIDERED: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The store and, if a stored copy is missing or outdated, the mirrors. Accepted files are stored.
    MirrorsAndStore,
    /// The store only. Nothing is written.
    Store,
}

/// When a [`Driver`] writes to the store.
enum Writing<'a> {
    /// Not at all, because the driver uses only stored files.
    Never,
    /// When the refresh ends. All changes are written together.
    Together(PendingChanges<'a>),
    /// As soon as a delegated role is accepted. If the stored timestamp differs from the timestamp of the session, the
    /// driver does not write the role, because the stored roles are newer.
    Beside(Received),
}

/// Supplies each [`Stage`] of the workflow with the files that it requests.
pub(crate) struct Driver<'a> {
    context: &'a UpdateContext,
    writing: Writing<'a>,
    floors: FloorsRecord,
    prefetch: Prefetch<'a>,
    /// The names of the files that were already considered for prefetching.
    considered: BTreeSet<String>,
}

impl<'a> Driver<'a> {
    fn new(context: &'a UpdateContext, writing: Writing<'a>) -> Driver<'a> {
        let prefetch = Prefetch::new(&*context.fetch);
        let considered = BTreeSet::new();
        Driver { context, writing, floors: FloorsRecord::Text(None), prefetch, considered }
    }

    pub(crate) fn of_refresh(
        context: &'a UpdateContext,
        changes: PendingChanges<'a>,
        floors: FloorsRecord,
    ) -> Driver<'a> {
        Driver { floors, ..Driver::new(context, Writing::Together(changes)) }
    }

    /// Creates a driver that loads the delegated roles of a session.
    pub(crate) fn of_session(context: &'a UpdateContext, source: Source, trusted: &TrustedMetadata) -> Driver<'a> {
        let writing = match source {
            Source::MirrorsAndStore => Writing::Beside(trusted.timestamp().bytes().clone()),
            Source::Store => Writing::Never,
        };
        Driver::new(context, writing)
    }

    /// Writes the changes made by a refresh to the store. Writes nothing and returns false if another process has
    /// changed the store.
    pub(crate) async fn commit(self) -> Result<bool, Error> {
        match self.writing {
            Writing::Together(changes) => changes.commit().await,
            Writing::Never | Writing::Beside(_) => Ok(true),
        }
    }

    fn is_offline(&self) -> bool {
        matches!(self.writing, Writing::Never)
    }

    /// Removes the stored timestamp and snapshot (spec 5.3.11).
    pub(crate) fn forget(&mut self) {
        if let Writing::Together(changes) = &mut self.writing {
            changes.remove(StoredFile::Role(RoleName::TIMESTAMP));
            changes.remove(StoredFile::Role(RoleName::SNAPSHOT));
        }
    }

    /// If the record of trusted versions was lost, allows the driver to write a new record. Call this method when the
    /// trusted version of every role is known, or when a key rotation has made the recorded versions obsolete.
    pub(crate) fn complete_floors(&mut self) {
        if self.floors == FloorsRecord::Lost {
            self.floors = FloorsRecord::Text(None);
        }
    }

    /// Runs one stage to completion, and returns its result, which is usually the next stage.
    pub(crate) async fn drive<S: Stage + Send>(&mut self, mut stage: S) -> Result<S::Next, Error> {
        let fed = self.feed(&mut stage).await;
        // Store the record of trusted versions even after an error, because metadata that became trusted before the
        // error stays trusted (W-5-0 in tests/spec-rows.txt).
        self.keep_floors(stage.floors())?;
        fed?;
        Ok(stage.finish()?)
    }

    /// The main loop of the client. Offers the stored copy of each requested file to the stage. If the stage does not
    /// accept that copy, fetches the file from the mirrors, and stores the file once the stage has accepted it.
    pub(crate) async fn feed<S: Stage + Send>(&mut self, stage: &mut S) -> Result<(), Error> {
        loop {
            match offer_stored(stage, |request| self.stored(request))? {
                Offered::Nothing => return Ok(()),
                // Yield, because many roles may be stored, and the caller must be able to cancel between two of them.
                Offered::Recalled => yield_now().await,
                Offered::NotEnough(request) => {
                    self.queue_upcoming(stage, &request);
                    self.answer(stage, &request).await?;
                }
            }
        }
    }

    /// Prefetches the files that the stage will need later and that are not stored. Errors are reported only when the
    /// stage needs the file.
    fn queue_upcoming<S: Stage>(&mut self, stage: &S, request: &Request) {
        if !self.considered.insert(request.file_name()) {
            return;
        }
        let most = if self.context.sequential { 0 } else { MAX_CONSIDERED };
        for next in stage.upcoming(most) {
            if self.considered.insert(next.file_name()) && !self.is_stored(stage, &next) {
                self.queue(&next);
            }
        }
    }

    fn is_stored<S: Stage>(&self, stage: &S, request: &Request) -> bool {
        let (file, longest) = self.context.stored_file(request);
        match self.open(&file, longest) {
            Ok(Some(stored)) => stage.would_recall(request, stored),
            Ok(None) => false,
            // Ignore the error here; it is reported when the stage needs the file.
            Err(_) => true,
        }
    }

    /// Offers stored copies to the stage. Returns the first request that the store cannot satisfy, or `None` if the
    /// stage has no more requests.
    pub(crate) fn recall<S: Stage>(&self, stage: &mut S) -> Result<Option<Request>, Error> {
        loop {
            match offer_stored(stage, |request| self.stored(request))? {
                Offered::Nothing => return Ok(None),
                Offered::Recalled => {}
                Offered::NotEnough(request) => return Ok(Some(request)),
            }
        }
    }

    /// Fetches a file for the stage, and stores the file. Offline, calls [`refuse_stored`] instead.
    pub(crate) async fn answer<S: Stage + Send>(&mut self, stage: &mut S, request: &Request) -> Result<(), Error> {
        if self.is_offline() {
            return refuse_stored(stage, request, |request| self.stored(request));
        }
        if let Some(kept) = self.fetch_and_apply(stage, request).await? {
            self.keep(request, kept).await?;
            if request.role == RoleName::ROOT {
                // A file that was prefetched earlier may be signed by keys that this root has replaced. If the stage
                // refuses the prefetched file, the file must be requested once more.
                self.prefetch.mark_stale();
            }
        }
        Ok(())
    }

    /// Tries the mirrors in order until the stage accepts a file. After a refused file, the next mirror is tried
    /// (decision D6 in docs/pouf.md). If no mirror is left, the error lists every failure (spec 1.5).
    async fn fetch_and_apply<S: Stage + Send>(
        &mut self,
        stage: &mut S,
        request: &Request,
    ) -> Result<Option<Accepted>, Error> {
        let mut failures: Vec<MirrorFailure> = Vec::new();
        let context = self.context;
        if request.may_be_absent() {
            for other in context.mirrors.in_order().skip(1).filter(|mirror| !mirror.has_failed()) {
                self.queue_from(&other, request);
            }
        }
        for mirror in context.mirrors.in_order() {
            context.report_failure(failures.last());
            let url = mirror.metadata(&request.file_name());
            let (prefetched, is_stale) = self.prefetch.take(&url, request.max_length).unzip();
            let mut answer = self.ask(stage, request, &url, prefetched).await?;
            if is_stale == Some(true) && matches!(answer, Err(MirrorReason::Refused(_))) {
                answer = self.ask(stage, request, &url, None).await?;
            }
            match answer {
                // For the next root and the timestamp, ask the other mirrors as well.
                Ok(None) if request.may_be_absent() => {
                    return Ok(self.newest_elsewhere(stage, request, mirror, None).await);
                }
                Ok(kept) if request.role == RoleName::TIMESTAMP => {
                    return Ok(self.newest_elsewhere(stage, request, mirror, kept).await);
                }
                Ok(kept) => return Ok(kept),
                Err(reason) => failures.push(MirrorFailure { url: url.to_string(), reason }),
            }
            mirror.failed();
            // Cancel the prefetches from the mirror that failed, and prefetch the files again from the mirror that is
            // now first in order.
            self.prefetch.forget(mirror.base());
            self.considered.clear();
        }
        Err(all_failed(format!("`{}`", request.file_name()), failures))
    }

    /// Offers the answers from the other mirrors to the stage, and returns the newest valid file. The mirror `first`
    /// has either reported that there is no newer root, or sent the timestamp `kept`. That mirror may be out of date or
    /// withhold a newer file. The requests to the other mirrors were sent at the same time as the request to `first`.
    /// Failed requests are not retried, and slow requests get only a short time more ([`GRACE_PERIOD`]).
    async fn newest_elsewhere<S: Stage + Send>(
        &mut self,
        stage: &mut S,
        request: &Request,
        first: MirrorHandle<'_>,
        kept: Option<Accepted>,
    ) -> Option<Accepted> {
        let context = self.context;
        let last = Instant::now() + GRACE_PERIOD;
        let mut newest = kept;
        let mut its_mirror = first;
        let others: Vec<_> =
            context.mirrors.in_order().filter(|mirror| !mirror.is(&its_mirror) && !mirror.has_failed()).collect();
        for mirror in others {
            match self.second_opinion(stage, request, &mirror, last).await {
                Ok(Some(kept)) => {
                    // From now on, ask this mirror first, because it has the newer file.
                    its_mirror.failed();
                    self.prefetch.forget(its_mirror.base());
                    (newest, its_mirror) = (Some(kept), mirror);
                    if request.may_be_absent() {
                        // There may be an even newer root. The next request asks all mirrors for it.
                        break;
                    }
                }
                Ok(None) => {}
                Err(reason) => {
                    let url = mirror.metadata(&request.file_name()).to_string();
                    context.report_failure(reason.map(|reason| MirrorFailure { url, reason }).as_ref());
                    mirror.failed();
                }
            }
        }
        newest
    }

    /// Offers the answer from another mirror to the stage, and returns the file to store. Returns `Ok(None)` if the
    /// mirror delivers no file. If the stage refuses the file, the error is the reason. If the mirror is merely out of
    /// date or too slow, the error is `None`, because a warning at every refresh would be useless.
    async fn second_opinion<S: Stage + Send>(
        &mut self,
        stage: &mut S,
        request: &Request,
        mirror: &MirrorHandle<'_>,
        last: Instant,
    ) -> Result<Option<Accepted>, Option<MirrorReason>> {
        let context = self.context;
        let url = mirror.metadata(&request.file_name());
        let anew = || attempt(&*context.fetch, url.clone(), request.max_length, u64::MAX);
        let (mut prefetched, mut is_stale) = self.prefetch.take(&url, request.max_length).unzip();
        loop {
            let attempt = prefetched.take().unwrap_or_else(anew);
            let whole = self.prefetch.poll_beside(async { attempt.await?.finish().await });
            let bytes = match timeout_at(last, whole).await {
                Ok(Ok(bytes)) => bytes,
                Ok(Err(_)) => return Ok(None),
                Err(_) => return Err(None),
            };
            let first = first_character(&bytes);
            match stage.apply(Some(FileContent::Bytes(bytes))) {
                Ok(kept) => return Ok(kept),
                Err(_) if is_stale.take() == Some(true) => {}
                Err(verdict) if is_rollback(&verdict.kind) => return Err(None),
                Err(verdict) => return Err(Some(reason_of(verdict, first, request))),
            }
        }
    }

    async fn ask<S: Stage + Send>(
        &mut self,
        stage: &mut S,
        request: &Request,
        url: &FileUrl,
        prefetched: Option<Attempt<'_>>,
    ) -> Result<Result<Option<Accepted>, MirrorReason>, Error> {
        let context = self.context;
        let fetched = fetch_metadata(&*context.fetch, &context.retry_policy, url, request.max_length, prefetched);
        let reason = match self.prefetch.poll_beside(fetched).await {
            Ok(fetched) => {
                let first = fetched.as_deref().and_then(first_character);
                match stage.apply(fetched.map(|bytes| self.context.store.hold(bytes))) {
                    Ok(kept) => return Ok(Ok(kept)),
                    // The store is damaged, so other mirrors cannot help.
                    Err(verdict) if verdict.kind == ErrorKind::StateLost => return Err(verdict.into()),
                    Err(verdict) if verdict.kind == ErrorKind::Absent => FetchError::NotFound.into(),
                    Err(verdict) => reason_of(verdict, first, request),
                }
            }
            Err(FetchError::TooLong { max_length }) => {
                let file = request.file_name();
                let limit = request.limit;
                MirrorReason::Refused(Refusal::TooLong { file, max_length, limit })
            }
            Err(error) => error.into(),
        };
        Ok(Err(reason))
    }

    /// Prefetches the requested file from the mirror that is currently first in order.
    pub(crate) fn queue(&mut self, request: &Request) {
        if self.is_offline() {
            return;
        }
        if let Some(mirror) = self.context.mirrors.in_order().next() {
            self.queue_from(&mirror, request);
        }
    }

    pub(crate) fn queue_from_all(&mut self, request: &Request) {
        let context = self.context;
        context.mirrors.in_order().for_each(|mirror| self.queue_from(&mirror, request));
    }

    fn queue_from(&mut self, mirror: &MirrorHandle<'_>, request: &Request) {
        if !self.context.sequential {
            self.prefetch.queue(mirror.metadata(&request.file_name()), request.max_length);
        }
    }

    fn open(&self, file: &StoredFile, max_length: u64) -> Result<Option<FileContent>, LocalError> {
        match &self.writing {
            Writing::Together(changes) => changes.open(file, max_length),
            Writing::Never | Writing::Beside(_) => self.context.store.open(file, max_length),
        }
    }

    fn stored(&self, request: &Request) -> Result<Option<FileContent>, LocalError> {
        self.context.stored(request, |file, longest| self.open(file, longest))
    }

    /// Stores an accepted file before the stage requests the next file (spec 4.1, 5.3.7, 5.3.8). A refresh adds the
    /// file to its pending changes, which are written when the refresh ends.
    async fn keep(&mut self, request: &Request, kept: Accepted) -> Result<(), Error> {
        let role = StoredFile::Role(request.role.clone());
        match &mut self.writing {
            Writing::Never => Ok(()),
            Writing::Together(changes) => {
                let root = request.version.filter(|_| request.role == RoleName::ROOT).map(StoredFile::Root);
                changes.keep(root.into_iter().chain([role]).collect(), kept);
                Ok(())
            }
            Writing::Beside(timestamp) => {
                let longest = self.context.longest(&RoleName::TIMESTAMP);
                let timestamp = &*timestamp;
                let work = |store: &LockedStore<'_>| {
                    // A changed timestamp means that another process has refreshed the store since this session
                    // started. The stored roles are then newer than the roles of the session.
                    let stored = match store.read(&StoredFile::Role(RoleName::TIMESTAMP), longest) {
                        Err(error) if error.is_unusable_content() => None,
                        stored => stored?,
                    };
                    if stored.is_some_and(|stored| stored == **timestamp) {
                        Ok(store.keep(&role, &kept)?)
                    } else {
                        Ok(())
                    }
                };
                self.context.store.exclusively(work).await
            }
        }
    }

    /// Stores the record of trusted versions, if it has changed.
    pub(crate) fn keep_floors(&mut self, floors: Option<&Floors>) -> Result<(), LocalError> {
        let Writing::Together(changes) = &mut self.writing else { return Ok(()) };
        let (Some(floors), FloorsRecord::Text(record)) = (floors, &mut self.floors) else { return Ok(()) };
        if record.as_ref().is_some_and(|record| floors.is_recorded(record)) {
            return Ok(());
        }
        let text = floors.to_text();
        if text.len() as u64 > MAX_FLOORS_LENGTH {
            let problem = format!("the record would exceed {MAX_FLOORS_LENGTH} bytes, the maximum that can be read");
            return Err(LocalError::invalid("write", "the record of trusted versions", problem));
        }
        changes.write(StoredFile::Floors, text.clone().into_bytes());
        *record = Some(text);
        Ok(())
    }

    /// Stores the trusted root under its unversioned name. The root may have been fetched, read from the stored root
    /// history, or shipped with the program.
    pub(crate) fn keep_root(&mut self, bytes: &Received) {
        let file = StoredFile::Role(RoleName::ROOT);
        let longest = self.context.longest(&RoleName::ROOT);
        let stored = self.open(&file, longest).ok().flatten().and_then(FileContent::into_bytes);
        if let Writing::Together(changes) = &mut self.writing
            && stored.is_none_or(|stored| stored != **bytes)
        {
            changes.keep(vec![file], Accepted::Received(bytes.clone()));
        }
    }
}

/// Runs a stage with only stored files. Makes no requests and does not change the store (decision D5 in docs/pouf.md).
pub(crate) fn drive_stored<S: Stage>(
    context: &UpdateContext,
    store: &LockedStore<'_>,
    mut stage: S,
) -> Result<S::Next, Error> {
    let stored = |request: &Request| context.stored(request, |file, longest| store.open(file, longest));
    loop {
        match offer_stored(&mut stage, stored)? {
            Offered::Nothing => return Ok(stage.finish()?),
            Offered::Recalled => {}
            Offered::NotEnough(request) => refuse_stored(&mut stage, &request, stored)?,
        }
    }
}

enum Offered {
    /// The stage has no more requests.
    Nothing,
    /// The stored copy satisfies the request.
    Recalled,
    /// The stored copy is missing, or does not satisfy this request.
    NotEnough(Request),
}

/// Offers the stored copy of the next requested file to the stage.
fn offer_stored<S: Stage>(
    stage: &mut S,
    stored: impl FnOnce(&Request) -> Result<Option<FileContent>, LocalError>,
) -> Result<Offered, LocalError> {
    let Some(request) = stage.request() else { return Ok(Offered::Nothing) };
    let is_enough = stored(&request)?.is_some_and(|stored| stage.recall(stored));
    Ok(if is_enough { Offered::Recalled } else { Offered::NotEnough(request) })
}

/// Returns the first non-whitespace byte of a file.
fn first_character(bytes: &[u8]) -> Option<u8> {
    bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace())
}

/// Converts the verification error for a file into the reason why the mirror failed. `first` is the first
/// non-whitespace byte of the file. A file that is not JSON usually is a login page or an error page, so it counts as a
/// network failure. A file that has the length and hashes listed in metadata is from the repository, so it counts as
/// refused even if it is not JSON.
fn reason_of(verdict: lastmile_metadata::Error, first: Option<u8>, request: &Request) -> MirrorReason {
    let is_json =
        first.is_some_and(|first| matches!(first, b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'));
    let is_listed = match verdict.kind {
        ErrorKind::Malformed { .. } => request.limit.is_none(),
        ErrorKind::LengthMismatch { .. } | ErrorKind::HashMismatch { .. } => false,
        _ => true,
    };
    if is_json || is_listed { Refusal::from(verdict).into() } else { FetchError::NotMetadata { is_page: false }.into() }
}

fn is_rollback(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::Rollback { .. } | ErrorKind::ListedRollback { .. })
}

/// Passes the stored copy to [`Stage::apply`] although it does not satisfy the request, so that the stage returns an
/// error that says why. Passes `None` if the request is for the next root, which need not exist.
fn refuse_stored<S: Stage>(
    stage: &mut S,
    request: &Request,
    stored: impl Fn(&Request) -> Result<Option<FileContent>, LocalError>,
) -> Result<(), Error> {
    let again = if request.may_be_absent() { None } else { stored(request)? };
    stage.apply(again)?;
    Ok(())
}
