//! How bytes come from a repository: one method to implement, and what can go wrong on the road.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, Fuse, StreamExt};

/// Where bytes come from.
///
/// An implementation asks once and reports what it met; it does not retry (`retry.rs` does), does
/// not limit lengths (the driver does) and judges nothing.
pub trait Fetch: Send + Sync + 'static {
    /// Asks for the file at `url`, from byte `offset` on if the source can do that.
    ///
    /// `url` is a base as configured followed by a percent-encoded file name, and must be used as
    /// it is. A source that cannot start at `offset` answers from byte 0 and says so in
    /// [`Response::offset`].
    ///
    /// # Errors
    ///
    /// [`FetchError::NotFound`] only where the source says definitely that there is no such file.
    fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>>;

    /// Asks for the metadata file at `url`, whose length is at most `max_length` bytes. It may be
    /// sent encoded, but the answer is decoded. The default asks as for any other file.
    ///
    /// Targets are fetched by [`fetch`](Fetch::fetch) alone, which decodes nothing.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Fetch::fetch); [`FetchError::TooLong`] also where what is sent is longer than
    /// `max_length` before it is decoded.
    fn fetch_metadata(&self, url: &str, max_length: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let _ = max_length;
        self.fetch(url, 0)
    }

    /// What time a server said it was when it answered last, if it did: for messages to people, never for decisions.
    fn server_time(&self) -> Option<DateTime<Utc>> {
        None
    }
}

/// An answer whose body is still on its way.
pub struct Response {
    /// The position in the file at which `body` begins: 0, or the offset that was asked for.
    pub offset: u64,
    /// The parts of the body as they arrive; decoded, if they may be.
    pub body: BoxStream<'static, Result<Bytes, FetchError>>,
}

impl Response {
    /// A whole file that is in memory already.
    #[must_use]
    pub fn whole(bytes: impl Into<Bytes>) -> Response {
        let bytes = bytes.into();
        Response { offset: 0, body: stream::once(async { Ok(bytes) }).boxed() }
    }

    /// The whole body, when it is at most `max_length` bytes.
    ///
    /// # Errors
    ///
    /// [`FetchError::TooLong`] on the first byte beyond `max_length`, after which nothing more is
    /// read; else what the body reports.
    pub async fn read_all(self, max_length: u64) -> Result<Vec<u8>, FetchError> {
        self.reading(max_length)?.finish().await
    }

    /// Begins to read the whole body.
    pub(crate) fn reading(self, max_length: u64) -> Result<Reading, FetchError> {
        if self.offset != 0 {
            return Err(FetchError::WrongRange(format!("starts at byte {}", self.offset)));
        }
        Ok(Reading { body: self.body.fuse(), max_length, read: Vec::new() })
    }
}

/// A body that is being read into memory.
pub(crate) struct Reading {
    body: Fuse<BoxStream<'static, Result<Bytes, FetchError>>>,
    max_length: u64,
    read: Vec<u8>,
}

impl Reading {
    /// Reads on until `enough` bytes are here, or all of them.
    pub(crate) async fn advance(&mut self, enough: u64) -> Result<(), FetchError> {
        while (self.read.len() as u64) < enough
            && let Some(part) = self.body.next().await
        {
            let part = part?;
            if (self.read.len() + part.len()) as u64 > self.max_length {
                return Err(FetchError::TooLong { max_length: self.max_length });
            }
            self.read.extend_from_slice(&part);
        }
        Ok(())
    }

    /// How many bytes are here.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.read.len()
    }

    /// Reads what is still to come.
    pub(crate) async fn finish(mut self) -> Result<Vec<u8>, FetchError> {
        self.advance(u64::MAX).await?;
        Ok(self.read)
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response").field("offset", &self.offset).finish_non_exhaustive()
    }
}

/// What went wrong on the road. Nothing here is a verdict about a repository's metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The source says definitely that it has no such file.
    #[error("not found")]
    NotFound,
    /// The server answered with another HTTP status than one that gives the file.
    #[error("the server answered with HTTP status {0}")]
    Status(u16),
    /// The server asks to come back later (HTTP 429 or 503 with `Retry-After`).
    #[error("the server answered with HTTP status {status} and asks to wait {} s", after.as_secs())]
    RetryLater {
        /// The HTTP status.
        status: u16,
        /// How long it asks to wait.
        after: Duration,
    },
    /// Nothing came for too long; the text says what was waited for.
    #[error("timed out: {0}")]
    Timeout(String),
    /// No connection could be made.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The server could not prove who it is (TLS).
    #[error("no secure connection: {0}")]
    Tls(String),
    /// The connection ended before the file did.
    #[error("the transfer broke off: {0}")]
    Cut(String),
    /// The server sent us somewhere we do not go.
    #[error("redirect refused: {0}")]
    Redirect(String),
    /// The server sent us somewhere else too often for one file.
    #[error("redirected more than the {redirects} times in a row that the limit `redirects` allows")]
    TooManyRedirects {
        /// The limit.
        redirects: u32,
    },
    /// The body is encoded in another way than we asked for.
    #[error("the server sent the body encoded as `{0}`, which was not asked for")]
    Encoded(String),
    /// The body is not what its encoding says.
    #[error("the server sent the body as {coding}, and it cannot be decoded: {problem}")]
    Undecodable {
        /// The content coding.
        coding: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Another part of the file was sent than the one that was asked for.
    #[error("the server sent another part of the file than was asked for: {0}")]
    WrongRange(String),
    /// The body is longer than the file can be.
    #[error("longer than the {max_length} bytes that are allowed here")]
    TooLong {
        /// The limit in bytes.
        max_length: u64,
    },
    /// The URL cannot be used as it is written.
    #[error("unusable URL: {0}")]
    Url(String),
    /// A local source could not be read.
    #[error("cannot read: {0}")]
    Io(String),
}

impl FetchError {
    /// Whether the same question may be answered a little later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            FetchError::Timeout(_) | FetchError::Connect(_) | FetchError::Cut(_) | FetchError::RetryLater { .. } => {
                true
            }
            FetchError::Status(status) => *status == 429 || (500..=599).contains(status),
            _ => false,
        }
    }

    /// How a local read failed.
    #[must_use]
    pub fn from_io(error: &io::Error) -> FetchError {
        if error.kind() == io::ErrorKind::NotFound { FetchError::NotFound } else { FetchError::Io(error.to_string()) }
    }
}

/// A base URL and a file name joined as they are written; a missing `/` between them is added.
///
/// Never `Url::join`: a name that looks like a URL must not change the host (advisories of several
/// implementations).
#[must_use]
pub fn url_of(base: &str, name: &str) -> String {
    if base.ends_with('/') { format!("{base}{name}") } else { format!("{base}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: &'static [&'static [u8]]) -> Response {
        let body = stream::iter(parts.iter().map(|part| Ok(Bytes::from_static(part)))).boxed();
        Response { offset: 0, body }
    }

    #[tokio::test]
    async fn a_body_of_exactly_the_limit_is_read() {
        assert_eq!(parts(&[b"ab", b"cd"]).read_all(4).await, Ok(b"abcd".to_vec()));
    }

    #[tokio::test]
    async fn the_first_byte_over_the_limit_ends_the_reading() {
        let body = stream::repeat_with(|| Ok(Bytes::from_static(b"x"))).boxed();
        let endless = Response { offset: 0, body };
        assert_eq!(endless.read_all(1000).await, Err(FetchError::TooLong { max_length: 1000 }));
    }

    #[tokio::test]
    async fn a_body_that_starts_elsewhere_is_refused() {
        let elsewhere = Response { offset: 2, ..parts(&[b"cd"]) };
        assert!(matches!(elsewhere.read_all(4).await, Err(FetchError::WrongRange(_))));
    }

    #[test]
    fn names_never_change_the_host() {
        assert_eq!(url_of("http://h/m", "x.json"), "http://h/m/x.json");
        assert_eq!(url_of("http://h/%7Em/", "//evil/x"), "http://h/%7Em///evil/x");
        assert_eq!(url_of("http://h/m/", "http://evil/x"), "http://h/m/http://evil/x");
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert!(FetchError::Status(503).may_pass() && FetchError::Status(429).may_pass());
        assert!(!FetchError::Status(403).may_pass() && !FetchError::NotFound.may_pass());
        assert!(!FetchError::TooLong { max_length: 1 }.may_pass());
    }
}
