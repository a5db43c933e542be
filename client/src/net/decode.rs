//! Decompresses metadata as it arrives, on a separate thread and within limits.
//!
//! The compressed body must not be longer than the maximum length of the decoded file plus the overhead of the coding.
//! The decoder is at most a few parts ahead of the reader, and stops when the returned body is dropped.

use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes};
use flate2::bufread::GzDecoder;
use futures_util::stream::{self, BoxStream, StreamExt};
use ruzstd::decoding::StreamingDecoder;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::net::fetch::FetchError;

/// The value of the `Accept-Encoding` header in requests for metadata.
pub(crate) const ACCEPTED: &str = "zstd, gzip";

/// The maximum window size of a zstd frame. Decoders must support windows up to this size, and encoders must not use
/// larger ones (RFC 9659).
const WINDOW: u64 = 8 * 1024 * 1024;

/// The number of bytes per decoded part.
const CHUNK_SIZE: usize = 64 * 1024;

/// The capacity, in parts, of the channel to the decoder and of the channel from the decoder.
const CHUNKS: usize = 4;

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

/// Returns the maximum length of a compressed file. Some files, such as small files that consist mostly of hashes,
/// become longer when they are compressed: by a few bytes per file and per block. The returned maximum allows more
/// growth than gzip or zstd can cause.
fn longest_encoding(max_length: u64) -> u64 {
    max_length.saturating_add(max_length / 256).saturating_add(256)
}

/// Decodes `raw`, which must be one complete compressed stream. The decoded file may have at most `max_length` bytes.
pub(crate) fn decoded(coding: Coding, mut raw: Body, max_length: u64) -> Body {
    let (feed, inbox) = mpsc::channel(CHUNKS);
    let (outbox, mut parts) = mpsc::channel(CHUNKS);
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
            // The decoder sends an empty part at the end.
            Some(Ok(part)) if part.is_empty() => None,
            Some(Ok(part)) => Some((Ok(part), Some(next))),
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Err(undecodable(coding, "the decoder thread ended early")), None)),
        }
    })
    .boxed()
}

fn undecodable(coding: Coding, problem: &str) -> FetchError {
    FetchError::Undecodable { coding: coding.name(), problem: problem.to_owned() }
}

/// Decodes until the body ends or an error occurs. Sends an empty part at the end, or the error if one occurred.
/// Ignores a failure to send, because sending fails only if the body was dropped.
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
    if source.fill_buf()?.is_empty() {
        Ok(())
    } else {
        Err(io::Error::other("there is data after the end of the stream"))
    }
}

fn pass_on(mut decoder: impl Read, outbox: &mpsc::Sender<Result<Bytes, FetchError>>) -> io::Result<()> {
    loop {
        let mut part = vec![0; CHUNK_SIZE];
        let read = decoder.read(&mut part)?;
        if read == 0 {
            return Ok(());
        }
        part.truncate(read);
        outbox.blocking_send(Ok(part.into())).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
    }
}

/// Joins the received parts of the body into one stream, from which the decoders read.
struct Source {
    inbox: mpsc::Receiver<Result<Bytes, FetchError>>,
    part: Bytes,
    /// The number of bytes that may still be read before the limit is exceeded.
    left: u64,
    max_length: u64,
    /// The reason why the rest of the body cannot be read, if there is one.
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
