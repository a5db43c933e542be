//! Metadata that comes compressed: decoded while it arrives, on a thread of its own, within limits.
//!
//! Of what is sent no more is taken than a file of the greatest length may take encoded, and of
//! what that decodes to no more than its reader takes: a decoder that has a few parts in advance
//! waits. When the body is dropped, it ends.

use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes};
use flate2::bufread::GzDecoder;
use futures_util::stream::{self, BoxStream, StreamExt};
use ruzstd::decoding::StreamingDecoder;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::net::fetch::FetchError;

/// What servers are told that they may send.
pub(crate) const ACCEPTED: &str = "zstd, gzip";

/// How far back a zstd frame may reach. Every decoder of this content coding has to manage so much,
/// and no encoder may ask for more (RFC 9659).
const WINDOW: u64 = 8 * 1024 * 1024;

/// Bytes decoded at once.
const PART: usize = 64 * 1024;

/// Parts on their way into and out of the decoder.
const PARTS: usize = 4;

type Body = BoxStream<'static, Result<Bytes, FetchError>>;

/// A content coding (RFC 9110, 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Zstd,
}

impl Coding {
    pub(crate) fn named(name: &str) -> Option<Coding> {
        match name {
            "gzip" | "x-gzip" => Some(Coding::Gzip),
            "zstd" => Some(Coding::Zstd),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Zstd => "zstd",
        }
    }
}

/// What a coding adds where it finds nothing to compress, as in small files full of hashes: some bytes for each block
/// and for the whole. Both codings stay well below this.
fn longest_encoding(max_length: u64) -> u64 {
    max_length.saturating_add(max_length / 256).saturating_add(256)
}

/// What `raw` decodes to, when `raw` is no longer than `max_length` bytes may be encoded and one whole stream.
pub(crate) fn decoded(coding: Coding, mut raw: Body, max_length: u64) -> Body {
    let (feed, inbox) = mpsc::channel(PARTS);
    let (outbox, mut parts) = mpsc::channel(PARTS);
    spawn_blocking(move || {
        let source =
            Source { inbox, part: Bytes::new(), left: longest_encoding(max_length), max_length, failure: None };
        work(coding, source, &outbox);
    });
    let mut feeding = Some(Box::pin(async move {
        while let Some(part) = raw.next().await {
            if feed.send(part).await.is_err() {
                break;
            }
        }
    }));
    let next = async move || loop {
        match &mut feeding {
            None => return parts.recv().await,
            Some(fed) => tokio::select! {
                part = parts.recv() => return part,
                () = fed => feeding = None,
            },
        }
    };
    stream::unfold(Some(next), move |next| async move {
        let mut next = next?;
        match next().await {
            // Nothing more: the end was reached.
            Some(Ok(part)) if part.is_empty() => None,
            Some(Ok(part)) => Some((Ok(part), Some(next))),
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Err(undecodable(coding, "the decoder ended early")), None)),
        }
    })
    .boxed()
}

fn undecodable(coding: Coding, problem: &str) -> FetchError {
    FetchError::Undecodable { coding: coding.name(), problem: problem.to_owned() }
}

/// Decodes until the end, of which an empty part tells, or an error. Nobody listens any more when a
/// part cannot be sent.
fn work(coding: Coding, mut source: Source, outbox: &mpsc::Sender<Result<Bytes, FetchError>>) {
    let outcome = match decode(coding, &mut source, outbox) {
        Ok(()) => Ok(Bytes::new()),
        Err(error) => Err(source.failure.unwrap_or_else(|| undecodable(coding, &error.to_string()))),
    };
    drop(outbox.blocking_send(outcome));
}

fn decode(coding: Coding, source: &mut Source, outbox: &mpsc::Sender<Result<Bytes, FetchError>>) -> io::Result<()> {
    match coding {
        Coding::Gzip => pass_on(GzDecoder::new(&mut *source), outbox)?,
        Coding::Zstd => {
            let decoder = StreamingDecoder::new_with_max_window_size(&mut *source, WINDOW);
            pass_on(decoder.map_err(io::Error::other)?, outbox)?;
        }
    }
    if source.fill_buf()?.is_empty() { Ok(()) } else { Err(io::Error::other("something follows its end")) }
}

fn pass_on(mut decoder: impl Read, outbox: &mpsc::Sender<Result<Bytes, FetchError>>) -> io::Result<()> {
    loop {
        let mut part = vec![0; PART];
        let read = decoder.read(&mut part)?;
        if read == 0 {
            return Ok(());
        }
        part.truncate(read);
        outbox.blocking_send(Ok(part.into())).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
    }
}

/// The parts of the body as one text, for decoders that read.
struct Source {
    inbox: mpsc::Receiver<Result<Bytes, FetchError>>,
    part: Bytes,
    /// How many more bytes may come.
    left: u64,
    max_length: u64,
    /// Why there is no more to read, if it is not the end.
    failure: Option<FetchError>,
}

impl Source {
    fn fail(&mut self, failure: FetchError) -> io::Error {
        let error = io::Error::other(failure.clone());
        self.failure = Some(failure);
        error
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.part.is_empty() {
            let part = match self.inbox.blocking_recv() {
                None => break,
                Some(Err(failure)) => return Err(self.fail(failure)),
                Some(Ok(part)) => part,
            };
            let Some(left) = self.left.checked_sub(part.len() as u64) else {
                return Err(self.fail(FetchError::TooLong { max_length: self.max_length }));
            };
            self.left = left;
            self.part = part;
        }
        Ok(&self.part)
    }

    fn consume(&mut self, amount: usize) {
        self.part.advance(amount);
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
