//! Drives the stages of the workflow (spec 5) with files from the store and from mirrors. Only this module calls
//! `apply`.

use std::collections::BTreeSet;
use std::time::Duration;

use lastmile_metadata::{Accepted, ErrorKind, FileContent, Floors, Request, RoleName, Stage};
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, LocalError, MirrorFailure, MirrorReason, Refusal, all_failed};
use crate::event::Event;
use crate::net::attempt::{Attempt, attempt, fetch_metadata};
use crate::net::fetch::FetchError;
use crate::net::mirrors::MirrorHandle;
use crate::net::prefetch::Prefetch;
use crate::start::LONGEST_FLOORS;
use crate::store::StoredFile;
use crate::update_context::UpdateContext;

/// How long to wait for the other mirrors after one says that a file does not exist.
const SECOND_OPINIONS: Duration = Duration::from_secs(3);

/// The number of upcoming files of one stage that are considered for prefetching.
const MAX_CONSIDERED: usize = 64;

/// Where the driver gets files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The store, then the mirrors. Accepted files are stored.
    MirrorsAndStore,
    /// The mirrors alone. Nothing is stored, because another process has refreshed the store since.
    MirrorsOnly,
    /// The store alone. Nothing is stored.
    Store,
}

/// Drives stages.
pub(crate) struct Driver<'a> {
    context: &'a UpdateContext,
    source: Source,
    /// The record of floors as it was last stored.
    floors: Option<String>,
    /// The stored record of floors is damaged. Until all floors are known again, no new record may hide that.
    floors_lost: bool,
    /// Requests for files that later stages will need.
    prefetch: Prefetch<'a>,
    /// File names already considered for prefetching.
    considered: BTreeSet<String>,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(context: &'a UpdateContext, source: Source) -> Driver<'a> {
        let (prefetch, considered) = (Prefetch::new(&*context.fetch), BTreeSet::new());
        Driver { context, source, floors: None, floors_lost: false, prefetch, considered }
    }

    /// Makes a driver that knows the stored record of floors, or that it is lost.
    pub(crate) fn resuming(
        context: &'a UpdateContext,
        source: Source,
        floors: Option<String>,
        floors_lost: bool,
    ) -> Driver<'a> {
        Driver { floors, floors_lost, ..Driver::new(context, source) }
    }

    /// Allows a lost record to be written again, because the next stage knows all floors.
    pub(crate) fn complete_floors(&mut self) {
        self.floors_lost = false;
    }

    /// Drives one stage to its end.
    pub(crate) async fn drive<S: Stage + Send>(&mut self, mut stage: S) -> Result<S::Next, Error> {
        let fed = self.feed(&mut stage).await;
        // Also after an error: what became trusted before the error stays trusted.
        self.keep_floors(stage.floors())?;
        fed?;
        Ok(stage.finish()?)
    }

    /// The one loop of the client: offers the stage each file that it requests, from the store if the stored copy
    /// suffices and otherwise from the mirrors, and stores what the stage accepts.
    async fn feed<S: Stage + Send>(&mut self, stage: &mut S) -> Result<(), Error> {
        while let Some(request) = self.recall(stage)? {
            self.queue_upcoming(stage, &request);
            self.answer(stage, &request).await?;
        }
        Ok(())
    }

    /// Prefetches the files that the stage will need after this one, unless a stored copy suffices. This changes only
    /// the timing: errors are reported when the stage needs the file.
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
        let (file, longest) = self.stored_file(request);
        match self.context.store.open(&file, longest) {
            Ok(Some(stored)) => stage.would_recall(request, stored),
            Ok(None) => false,
            // The error is reported when the stage needs the file.
            Err(_) => true,
        }
    }

    /// Offers stored copies until one does not suffice, and returns the request for that file.
    pub(crate) fn recall<S: Stage>(&self, stage: &mut S) -> Result<Option<Request>, Error> {
        while let Some(request) = stage.request() {
            if !self.stored(&request)?.is_some_and(|stored| stage.recall(stored)) {
                return Ok(Some(request));
            }
        }
        Ok(None)
    }

    /// Answers a request for which no stored copy suffices, and stores the file.
    pub(crate) async fn answer<S: Stage + Send>(&mut self, stage: &mut S, request: &Request) -> Result<(), Error> {
        if self.source == Source::Store {
            // Applied once more to get the reason why it does not suffice.
            let again = if request.may_be_absent() { None } else { self.stored(request)? };
            stage.apply(again)?;
            return Ok(());
        }
        if let Some(kept) = self.fetch_and_apply(stage, request).await? {
            self.keep(request, &kept)?;
            if request.role == RoleName::ROOT {
                // Files that were requested earlier may be signed by keys that this root replaces.
                self.prefetch.mark_stale();
            }
        }
        Ok(())
    }

    /// Tries the mirrors in order until the stage accepts a file. After a refused file, the next mirror is tried
    /// (decision D6).
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
                Ok(None) if request.may_be_absent() => return Ok(self.found_elsewhere(stage, request, &mirror).await),
                Ok(kept) => return Ok(kept),
                Err(reason) => failures.push(MirrorFailure { url, reason }),
            }
            mirror.failed();
            // From now on another mirror is tried first, so prefetch from that one.
            self.prefetch.forget(&mirror.metadata(""));
            self.considered.clear();
        }
        Err(all_failed(format!("`{}`", request.file_name()), failures))
    }

    /// The mirror `first` says that the file does not exist. It may be out of date, or hide the file. The other mirrors
    /// were asked at the same time, once, and get a little longer to answer.
    async fn found_elsewhere<S: Stage + Send>(
        &mut self,
        stage: &mut S,
        request: &Request,
        first: &MirrorHandle<'_>,
    ) -> Option<Accepted> {
        let context = self.context;
        let last = Instant::now() + SECOND_OPINIONS;
        for mirror in context.mirrors.in_order().filter(|mirror| !mirror.is(first) && !mirror.has_failed()) {
            let url = mirror.metadata(&request.file_name());
            let prefetched = self.prefetch.take(&url, request.max_length).map(|(prefetched, _)| prefetched);
            let attempt =
                prefetched.unwrap_or_else(|| attempt(&*context.fetch, url.clone(), request.max_length, u64::MAX));
            let whole = self.prefetch.poll_beside(async { attempt.await?.finish().await });
            let Ok(Ok(bytes)) = timeout_at(last, whole).await else { continue };
            match stage.apply(Some(FileContent::Bytes(bytes))) {
                Ok(Some(kept)) => {
                    first.failed();
                    return Some(kept);
                }
                Ok(None) => {}
                Err(verdict) => {
                    let reason = MirrorReason::Refused(verdict.into());
                    context.report_failure(Some(&MirrorFailure { url, reason }));
                    mirror.failed();
                }
            }
        }
        None
    }

    /// Fetches the file from one mirror, and lets the stage verify it.
    async fn ask<S: Stage + Send>(
        &mut self,
        stage: &mut S,
        request: &Request,
        url: &str,
        prefetched: Option<Attempt<'_>>,
    ) -> Result<Result<Option<Accepted>, MirrorReason>, Error> {
        let context = self.context;
        let fetched = fetch_metadata(&*context.fetch, &context.retry_policy, url, request.max_length, prefetched);
        let reason = match self.prefetch.poll_beside(fetched).await {
            Ok(fetched) => match stage.apply(fetched.map(|bytes| self.context.store.hold(bytes))) {
                Ok(kept) => return Ok(Ok(kept)),
                // This is about the store: no mirror can help.
                Err(verdict) if verdict.kind == ErrorKind::StateLost => return Err(verdict.into()),
                Err(verdict) if verdict.kind == ErrorKind::Absent => FetchError::NotFound.into(),
                Err(verdict) => MirrorReason::Refused(verdict.into()),
            },
            Err(FetchError::TooLong { max_length }) => {
                let (file, limit) = (request.file_name(), request.limit);
                MirrorReason::Refused(Refusal::TooLong { file, max_length, limit })
            }
            Err(error) => error.into(),
        };
        Ok(Err(reason))
    }

    /// Prefetches this file from the mirror that is currently first.
    pub(crate) fn queue(&mut self, request: &Request) {
        if self.source == Source::Store {
            return;
        }
        if let Some(mirror) = self.context.mirrors.in_order().next() {
            self.queue_from(&mirror, request);
        }
    }

    fn queue_from(&mut self, mirror: &MirrorHandle<'_>, request: &Request) {
        if !self.context.sequential {
            self.prefetch.queue(mirror.metadata(&request.file_name()), request.max_length);
        }
    }

    /// Returns the stored copy for a request. One that is not a file that the store writes counts as empty, and is
    /// refused as damaged.
    fn stored(&self, request: &Request) -> Result<Option<FileContent>, LocalError> {
        if self.source == Source::MirrorsOnly {
            return Ok(None);
        }
        let (file, longest) = self.stored_file(request);
        match self.context.store.open(&file, longest) {
            Err(error) if error.is_unusable_content() => {
                let reason = format!("{error}: {}", error.error);
                self.context.events.handle(&Event::UnusableFile { reason });
                Ok(Some(FileContent::Bytes(Vec::new())))
            }
            answer => answer,
        }
    }

    /// Returns the stored file for a request, and its greatest length.
    fn stored_file(&self, request: &Request) -> (StoredFile, u64) {
        let file = match request.version {
            Some(version) if request.role == RoleName::ROOT => StoredFile::Root(version),
            _ => StoredFile::Role(request.role.clone()),
        };
        (file, self.context.longest(&request.role).max(request.max_length))
    }

    /// Stores a file that a stage has accepted, as received.
    fn keep(&self, request: &Request, kept: &Accepted) -> Result<(), LocalError> {
        if self.source != Source::MirrorsAndStore {
            return Ok(());
        }
        if let Some(version) = request.version.filter(|_| request.role == RoleName::ROOT) {
            self.context.store.keep(&StoredFile::Root(version), kept)?;
        }
        self.context.store.keep(&StoredFile::Role(request.role.clone()), kept)
    }

    /// Stores the record of floors if it has changed.
    pub(crate) fn keep_floors(&mut self, floors: Option<&Floors>) -> Result<(), LocalError> {
        let keeps = !self.floors_lost && self.source == Source::MirrorsAndStore;
        let Some(floors) = floors.filter(|_| keeps) else { return Ok(()) };
        if self.floors.as_ref().is_some_and(|record| floors.is_recorded(record)) {
            return Ok(());
        }
        let text = floors.to_text();
        if text.len() as u64 > LONGEST_FLOORS {
            let problem = format!("it would be longer than {LONGEST_FLOORS} bytes and could not be read again");
            return Err(LocalError::invalid("write", "the record of trusted versions", problem));
        }
        self.context.store.write(&StoredFile::Floors, text.as_bytes())?;
        self.floors = Some(text);
        Ok(())
    }

    /// Stores the trusted root under its unversioned name, also if it came from the history or was shipped with a new
    /// version of the program.
    pub(crate) fn keep_root(&self, bytes: &[u8]) -> Result<(), LocalError> {
        let file = StoredFile::Role(RoleName::ROOT);
        let longest = self.context.longest(&RoleName::ROOT);
        let is_kept = self.context.store.read(&file, longest).ok().flatten().as_deref() == Some(bytes);
        if is_kept || self.source != Source::MirrorsAndStore {
            return Ok(());
        }
        self.context.store.write(&file, bytes)
    }
}
