//! Files asked for before it is their turn, so that several wait for the road at the same time.
//!
//! Nothing is judged here and nothing changes but the timing: what was begun ahead is the first
//! attempt at a file, begun early. It fails as that attempt would, and is followed by the same ones.

use std::collections::VecDeque;
use std::pin::pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, poll_fn, ready};

use crate::net::fetch::{FetchError, Reading};
use crate::update_context::Road;

/// How many files are on their way before it is their turn.
const AT_ONCE: usize = 16;

/// Of each of them no more is read in advance: what a mirror can make us hold is bounded by this
/// and by the limit of the one file whose turn it is.
const READ_AHEAD: u64 = 512 * 1024;

/// An attempt at one file.
pub(crate) type Attempt<'a> = BoxFuture<'a, Result<Reading, FetchError>>;

/// The first attempts at files that will be needed. Dropped, they come to nothing.
pub(crate) struct Ahead<'a> {
    road: &'a Road,
    /// Not begun, in the order in which they will be needed.
    waiting: VecDeque<(String, u64)>,
    begun: Vec<Begun<'a>>,
}

struct Begun<'a> {
    url: String,
    max_length: u64,
    answer: Answer<'a>,
    is_overtaken: bool,
}

enum Answer<'a> {
    Coming(Attempt<'a>),
    Here(Result<Reading, FetchError>),
}

impl<'a> Ahead<'a> {
    pub(crate) fn new(road: &'a Road) -> Ahead<'a> {
        Ahead { road, waiting: VecDeque::new(), begun: Vec::new() }
    }

    /// The file at `url` will be needed, of which at most `max_length` bytes are to be read. It is
    /// asked for beside the next file that is waited for.
    pub(crate) fn expect(&mut self, url: String, max_length: u64) {
        if !self.road.sequential {
            self.waiting.push_back((url, max_length));
        }
    }

    /// What is at URLs that begin so is not needed after all.
    pub(crate) fn forget(&mut self, base: &str) {
        self.waiting.retain(|(url, _)| !url.starts_with(base));
        self.begun.retain(|begun| !begun.url.starts_with(base));
    }

    /// It is this file's turn: the attempt at it, if one was begun, and whether something has been
    /// accepted since that may have changed what is there.
    pub(crate) fn take(&mut self, url: &str, max_length: u64) -> Option<(Attempt<'a>, bool)> {
        let found = self.begun.iter().position(|begun| begun.url == url && begun.max_length == max_length);
        let Some(found) = found else {
            // Not begun, or with another limit: then it is no answer to this request.
            if let Some(found) = self.waiting.iter().position(|(waiting, _)| waiting == url) {
                self.waiting.remove(found);
            }
            return None;
        };
        let begun = self.begun.remove(found);
        let attempt = match begun.answer {
            Answer::Coming(attempt) => attempt,
            Answer::Here(answer) => ready(answer).boxed(),
        };
        Some((attempt, begun.is_overtaken))
    }

    /// Something was accepted that may change what is at the URLs that were asked already.
    pub(crate) fn overtake(&mut self) {
        for begun in &mut self.begun {
            begun.is_overtaken = true;
        }
    }

    /// Waits for `work`, and lets what is asked for ahead come in beside it.
    pub(crate) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
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
        while self.begun.len() < AT_ONCE
            && let Some((url, max_length)) = self.waiting.pop_front()
        {
            let answer = Answer::Coming(self.road.attempt(url.clone(), max_length, READ_AHEAD));
            self.begun.push(Begun { url, max_length, answer, is_overtaken: false });
        }
        for begun in &mut self.begun {
            if let Answer::Coming(attempt) = &mut begun.answer
                && let Poll::Ready(answer) = attempt.poll_unpin(context)
            {
                begun.answer = Answer::Here(answer);
            }
        }
    }
}

#[cfg(test)]
#[path = "prefetch_tests.rs"]
mod tests;
