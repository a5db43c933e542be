//! Files asked for before it is their turn, so that several wait for the road at the same time.
//!
//! Nothing is judged here and nothing changes but the timing: what was begun ahead is the first
//! attempt at a file, begun early. It fails as that attempt would, and is followed by the same ones.

use std::collections::VecDeque;
use std::pin::pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::{poll_fn, ready};

use crate::net::attempt::{Attempt, attempt};
use crate::net::fetch::{Fetch, FetchError, Reading};

/// How many files are on their way before it is their turn.
const MAX_IN_FLIGHT: usize = 16;

/// Of each of them no more is read in advance: what a mirror can make us hold is bounded by this
/// and by the limit of the one file whose turn it is.
const MAX_READ_AHEAD: u64 = 512 * 1024;

/// The first attempts at files that will be needed. Dropped, they come to nothing.
pub(crate) struct Prefetch<'a> {
    fetch: &'a dyn Fetch,
    /// Not begun, in the order in which they will be needed.
    queued: VecDeque<(String, u64)>,
    in_flight: Vec<InFlight<'a>>,
}

struct InFlight<'a> {
    url: String,
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

    /// The file at `url` will be needed, of which at most `max_length` bytes are to be read. It is
    /// asked for beside the next file that is waited for.
    pub(crate) fn queue(&mut self, url: String, max_length: u64) {
        self.queued.push_back((url, max_length));
    }

    /// What is at URLs that begin so is not needed after all.
    pub(crate) fn forget(&mut self, base: &str) {
        self.queued.retain(|(url, _)| !url.starts_with(base));
        self.in_flight.retain(|request| !request.url.starts_with(base));
    }

    /// It is this file's turn: the attempt at it, if one was begun, and whether something has been
    /// accepted since that may have changed what is there.
    pub(crate) fn take(&mut self, url: &str, max_length: u64) -> Option<(Attempt<'a>, bool)> {
        let found = self.in_flight.iter().position(|request| request.url == url && request.max_length == max_length);
        let Some(found) = found else {
            // Not begun, or with another limit: then it is no answer to this request.
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

    /// Something was accepted that may change what is at the URLs that were asked already.
    pub(crate) fn mark_stale(&mut self) {
        for request in &mut self.in_flight {
            request.is_stale = true;
        }
    }

    /// Waits for `work`, and lets what is asked for ahead come in beside it.
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
