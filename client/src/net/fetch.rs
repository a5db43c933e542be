//! The interface and the errors of transports. A transport fetches files from a repository.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, Fuse, StreamExt};

/// A transport, which fetches the files of a repository.
///
/// Each call makes one request and reports its outcome. An implementation need not retry, limit lengths or verify
/// anything, because the client does all of this.
pub trait Fetch: Send + Sync + 'static {
    /// Requests the file at `url`, starting at byte `offset` if the server supports this.
    ///
    /// `url` is a configured base URL followed by a percent-encoded file name, and must be used unchanged. If the
    /// server cannot start at `offset`, return the file from byte 0 and set [`Response::offset`] to 0.
    ///
    /// # Errors
    ///
    /// Return [`FetchError::NotFound`] only if the server reports that the file does not exist.
    fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>>;

    /// Requests the metadata file at `url`, which may have at most `max_length` bytes. An implementation may accept a
    /// compressed body, but must return it decompressed. The default implementation calls [`fetch`](Fetch::fetch).
    ///
    /// Targets are always fetched with [`fetch`](Fetch::fetch), which does not decompress.
    ///
    /// # Errors
    ///
    /// The same errors as [`fetch`](Fetch::fetch), and [`FetchError::TooLong`] if the compressed body is too long for a
    /// file of `max_length` bytes.
    fn fetch_metadata(&self, url: &str, max_length: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let _ = max_length;
        self.fetch(url, 0)
    }

    /// Returns the time that a server reported in its latest response, if any. The client uses this time only in
    /// messages.
    fn server_time(&self) -> Option<DateTime<Utc>> {
        None
    }
}

/// A response whose body is still arriving.
pub struct Response {
    /// The byte offset in the file at which `body` starts: 0, or the requested offset.
    pub offset: u64,
    /// The body, as a stream of parts.
    pub body: BoxStream<'static, Result<Bytes, FetchError>>,
}

impl Response {
    /// Creates a response from a whole file in memory.
    #[must_use]
    pub fn whole(bytes: impl Into<Bytes>) -> Response {
        let bytes = bytes.into();
        Response { offset: 0, body: stream::once(async { Ok(bytes) }).boxed() }
    }

    /// Reads the whole body if it has at most `max_length` bytes.
    ///
    /// # Errors
    ///
    /// [`FetchError::TooLong`] as soon as the body exceeds `max_length`, without reading further; otherwise the error
    /// from reading the body.
    pub async fn read_all(self, max_length: u64) -> Result<Vec<u8>, FetchError> {
        self.reading(max_length)?.finish().await
    }

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
    /// Reads until at least `enough` bytes are in memory, or the body ends.
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

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.read.len()
    }

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

/// The reason why a file could not be fetched. These errors say nothing about whether the repository can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The server reported that the file does not exist.
    #[error("not found")]
    NotFound,
    /// The server answered with an HTTP error status.
    #[error("the server answered with HTTP status {0}")]
    Status(u16),
    /// The server requires a user name and a password, or refused those in the URL (HTTP 401).
    #[error("the server requires a user name and a password (HTTP status 401)")]
    Unauthorized,
    /// The proxy requires a user name and a password, or refused those in its URL (HTTP 407).
    #[error("{} requires a user name and a password (HTTP status 407)", named_proxy(proxy.as_deref()))]
    ProxyUnauthorized {
        /// The configured proxy, without its user name and password. `None` if no proxy is configured.
        proxy: Option<String>,
    },
    /// The network requires a login before it forwards requests (HTTP 511).
    #[error("the network requires a login (HTTP status 511)")]
    NetworkLogin,
    /// The response is not a metadata file. It may be, for example, the login page of a network or the error page of a
    /// server.
    #[error("{}", if *is_page { "received a web page instead of metadata" } else { "the response is not metadata" })]
    NotMetadata {
        /// Whether the response begins like a web page.
        is_page: bool,
    },
    /// The server asks the client to retry later (HTTP 429 or 503 with `Retry-After`).
    #[error("the server answered with HTTP status {status} and asked the client to wait {} s", after.as_secs())]
    RetryLater {
        /// The HTTP status of the response.
        status: u16,
        /// The time that the server asks the client to wait.
        after: Duration,
    },
    /// A time limit expired; the text describes what the client was waiting for.
    #[error("timed out: {0}")]
    Timeout(String),
    /// No connection could be made.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// TLS failed: the server could not prove its identity.
    #[error("no secure connection: {text}")]
    Tls {
        /// The kind of problem.
        problem: TlsProblem,
        /// The error message of the TLS library.
        text: String,
    },
    /// The connection ended before the file was complete.
    #[error("the transfer was interrupted: {0}")]
    Cut(String),
    /// The server redirected to a URL that the client does not follow.
    #[error("redirect refused: {0}")]
    Redirect(String),
    /// The server redirected too many times for one file.
    #[error("redirected more than {redirects} times (limit `redirects`)")]
    TooManyRedirects {
        /// The maximum number of redirects.
        redirects: u32,
    },
    /// The body has a transfer coding that the client did not request.
    #[error("the server used a transfer coding that was not requested: `{0}`")]
    Encoded(String),
    /// The body cannot be decoded from its content coding.
    #[error("cannot decode the body that the server sent as {coding}: {problem}")]
    Undecodable {
        /// The content coding, such as `gzip`.
        coding: &'static str,
        /// The error from the decoder.
        problem: String,
    },
    /// The server sent a different part of the file than the client requested.
    #[error("the server sent a different part of the file than requested: {0}")]
    WrongRange(String),
    /// The body is longer than the maximum length of the file.
    #[error("longer than the allowed {max_length} bytes")]
    TooLong {
        /// The maximum length in bytes.
        max_length: u64,
    },
    /// The URL is unusable, for example because the HTTP client would change it.
    #[error("unusable URL: {0}")]
    Url(String),
    /// A local file could not be read.
    #[error("cannot read: {0}")]
    Io(String),
}

/// The reason why a server could not prove its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is for another server name.
    OtherName,
    /// No trusted certificate authority has issued the certificate, or the system has no certificate authorities.
    UnknownIssuer,
    /// There is another problem with the certificate or the TLS handshake.
    Other,
}

fn named_proxy(proxy: Option<&str>) -> String {
    proxy.map_or_else(|| "a proxy".to_owned(), |proxy| format!("the proxy `{proxy}`"))
}

impl FetchError {
    /// Returns whether the failure may be temporary, so that a retry can succeed.
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

    /// Converts an I/O error from reading a local file.
    #[must_use]
    pub fn from_io(error: &io::Error) -> FetchError {
        if error.kind() == io::ErrorKind::NotFound { FetchError::NotFound } else { FetchError::Io(error.to_string()) }
    }
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
    async fn a_body_that_starts_at_another_offset_is_refused() {
        let elsewhere = Response { offset: 2, ..parts(&[b"cd"]) };
        assert!(matches!(elsewhere.read_all(4).await, Err(FetchError::WrongRange(_))));
    }

    #[test]
    fn only_temporary_failures_are_retried() {
        assert!(FetchError::Status(503).may_pass() && FetchError::Status(429).may_pass());
        assert!(!FetchError::Status(403).may_pass() && !FetchError::NotFound.may_pass());
        assert!(!FetchError::TooLong { max_length: 1 }.may_pass());
    }
}
