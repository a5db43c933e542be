//! Requests files before the workflow needs them, so that several round trips overlap.
//!
//! Prefetching changes only the time at which files are requested. A prefetch request counts as the first attempt to
//! fetch the file. Like every attempt, it is subject to the length limit of the file, and is retried after a temporary
//! failure. Files are verified later, when the workflow needs them.

use std::collections::VecDeque;
use std::pin::pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::{poll_fn, ready};

use crate::net::attempt::{Attempt, attempt};
use crate::net::base_url::{BaseUrl, FileUrl};
use crate::net::fetch::{Fetch, FetchError, Reading};

const MAX_IN_FLIGHT: usize = 16;

/// The maximum number of bytes that are read from a prefetched file before the workflow needs the file. Without this
/// limit, a malicious mirror could make the client use a large amount of memory for files that the client may never
/// need.
const MAX_READ_AHEAD: u64 = 512 * 1024;

/// Dropping this value cancels the queued and the running requests.
pub(crate) struct Prefetch<'a> {
    fetch: &'a dyn Fetch,
    /// The URLs and maximum lengths of the requests that have not started, in the order in which the workflow will need
    /// the files.
    queued: VecDeque<(FileUrl, u64)>,
    in_flight: Vec<InFlight<'a>>,
}

struct InFlight<'a> {
    url: FileUrl,
    max_length: u64,
    answer: Answer<'a>,
    is_stale: bool,
}

enum Answer<'a> {
    Pending(Attempt<'a>),
    Received(Result<Reading, FetchError>),
}

impl<'a> Prefetch<'a> {
    pub(crate) fn new(fetch: &'a dyn Fetch) -> Prefetch<'a> {
        Prefetch { fetch, queued: VecDeque::new(), in_flight: Vec::new() }
    }

    /// The request starts during the next [`poll_beside`](Prefetch::poll_beside).
    pub(crate) fn queue(&mut self, url: FileUrl, max_length: u64) {
        self.queued.push_back((url, max_length));
    }

    /// Cancels the requests for files below `base`.
    pub(crate) fn forget(&mut self, base: &BaseUrl) {
        self.queued.retain(|(url, _)| !url.is_below(base));
        self.in_flight.retain(|request| !request.url.is_below(base));
    }

    /// Removes the request for the file at `url`, and returns the request if it has started. The returned flag is true
    /// if the request is stale: a new root has been accepted since the request started, and may have changed the file.
    pub(crate) fn take(&mut self, url: &FileUrl, max_length: u64) -> Option<(Attempt<'a>, bool)> {
        let found = self.in_flight.iter().position(|request| request.url == *url && request.max_length == max_length);
        let Some(found) = found else {
            // The caller now requests the file itself, so the queued request is no longer needed.
            if let Some(found) = self.queued.iter().position(|(queued, _)| queued == url) {
                self.queued.remove(found);
            }
            return None;
        };
        let request = self.in_flight.remove(found);
        let attempt = match request.answer {
            Answer::Pending(attempt) => attempt,
            Answer::Received(answer) => ready(answer).boxed(),
        };
        Some((attempt, request.is_stale))
    }

    /// Call this method when a new root has been accepted, because the repository may have replaced the requested files
    /// when it published this root.
    pub(crate) fn mark_stale(&mut self) {
        for request in &mut self.in_flight {
            request.is_stale = true;
        }
    }

    /// Awaits `work`. Until `work` is ready, starts the queued requests and polls the running ones.
    pub(crate) async fn poll_beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            let done = work.as_mut().poll(context);
            if done.is_pending() {
                self.advance(context);
            }
            done
        })
        .await
    }

    fn advance(&mut self, context: &mut Context<'_>) {
        while self.in_flight.len() < MAX_IN_FLIGHT
            && let Some((url, max_length)) = self.queued.pop_front()
        {
            let answer = Answer::Pending(attempt(self.fetch, url.clone(), max_length, MAX_READ_AHEAD));
            self.in_flight.push(InFlight { url, max_length, answer, is_stale: false });
        }
        for request in &mut self.in_flight {
            if let Answer::Pending(attempt) = &mut request.answer
                && let Poll::Ready(answer) = attempt.poll_unpin(context)
            {
                request.answer = Answer::Received(answer);
            }
        }
    }
}

#[cfg(test)]
#[path = "prefetch_tests.rs"]
mod tests;
