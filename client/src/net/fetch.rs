//! The interface of a transport: how bytes come from a repository, and how that can fail.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, Fuse, StreamExt};

/// A transport: fetches the files of a repository.
///
/// An implementation makes one request and reports its outcome. It does not retry, does not limit lengths and verifies
/// nothing; the client does.
pub trait Fetch: Send + Sync + 'static {
    /// Requests the file at `url`, starting at byte `offset` if the source supports that.
    ///
    /// `url` is a configured base followed by a percent-encoded file name, and must be used unchanged. A source that
    /// cannot start at `offset` starts at byte 0 and sets [`Response::offset`] accordingly.
    ///
    /// # Errors
    ///
    /// [`FetchError::NotFound`] only where the source says definitely that the file does not exist.
    fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>>;

    /// Requests the metadata file at `url`, which has at most `max_length` bytes. The server may compress it; the body
    /// of the response is decompressed. The default calls [`fetch`](Fetch::fetch).
    ///
    /// Targets are always fetched by [`fetch`](Fetch::fetch), which decompresses nothing.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Fetch::fetch); also [`FetchError::TooLong`] where the compressed body is longer than a file of
    /// `max_length` bytes can be.
    fn fetch_metadata(&self, url: &str, max_length: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let _ = max_length;
        self.fetch(url, 0)
    }

    /// Returns the time that a server gave in its latest response, if any. It appears in messages and decides nothing.
    fn server_time(&self) -> Option<DateTime<Utc>> {
        None
    }
}

/// A response whose body is still arriving.
pub struct Response {
    /// The position in the file at which `body` starts: 0, or the requested offset.
    pub offset: u64,
    /// The parts of the body as they arrive.
    pub body: BoxStream<'static, Result<Bytes, FetchError>>,
}

impl Response {
    /// Makes a response from a whole file in memory.
    #[must_use]
    pub fn whole(bytes: impl Into<Bytes>) -> Response {
        let bytes = bytes.into();
        Response { offset: 0, body: stream::once(async { Ok(bytes) }).boxed() }
    }

    /// Reads the whole body if it has at most `max_length` bytes.
    ///
    /// # Errors
    ///
    /// [`FetchError::TooLong`] on the first byte beyond `max_length`, after which nothing more is read; otherwise the
    /// error of the body.
    pub async fn read_all(self, max_length: u64) -> Result<Vec<u8>, FetchError> {
        self.reading(max_length)?.finish().await
    }

    /// Starts reading the whole body.
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

    /// The number of bytes in memory.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.read.len()
    }

    /// Reads the rest of the body.
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

/// Why a file did not arrive. None of these says anything about whether the repository can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The source reported that the file does not exist.
    #[error("not found")]
    NotFound,
    /// The server answered with an HTTP status that does not deliver the file.
    #[error("the server answered with HTTP status {0}")]
    Status(u16),
    /// The server requires a user name and a password, or refuses those in the URL (HTTP 401).
    #[error("the server requires a user name and a password (HTTP status 401)")]
    Unauthorized,
    /// The proxy requires a user name and a password, or refuses those in its URL (HTTP 407).
    #[error("{} requires a user name and a password (HTTP status 407)", named_proxy(proxy.as_deref()))]
    ProxyUnauthorized {
        /// The proxy, without its user name and password, if the client knows of one.
        proxy: Option<String>,
    },
    /// The network requires a login before it passes requests on (HTTP 511).
    #[error("the network requires a login (HTTP status 511)")]
    NetworkLogin,
    /// The response is no metadata, which is a JSON object: a login page of the network, or an error page of the server.
    #[error("{}", if *is_page { "a web page came instead of metadata" } else { "what came is not metadata" })]
    NotMetadata {
        /// Whether it begins like a web page.
        is_page: bool,
    },
    /// The server asks the client to retry later (HTTP 429 or 503 with `Retry-After`).
    #[error("the server answered with HTTP status {status} and asked the client to wait {} s", after.as_secs())]
    RetryLater {
        /// The HTTP status.
        status: u16,
        /// How long it asks to wait.
        after: Duration,
    },
    /// Nothing arrived for too long; the text says what the client waited for.
    #[error("timed out: {0}")]
    Timeout(String),
    /// No connection could be made.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// TLS failed: the server could not prove its identity.
    #[error("no secure connection: {text}")]
    Tls {
        /// What is wrong.
        problem: TlsProblem,
        /// What TLS reports.
        text: String,
    },
    /// The connection ended before the file did.
    #[error("the transfer broke off: {0}")]
    Cut(String),
    /// The server redirected to a URL that the client does not follow.
    #[error("redirect refused: {0}")]
    Redirect(String),
    /// The server redirected too many times for one file.
    #[error("redirected more than the {redirects} times in a row that the limit `redirects` allows")]
    TooManyRedirects {
        /// The limit.
        redirects: u32,
    },
    /// The body has a transfer coding that the client did not ask for.
    #[error("the server sent the body with the transfer coding `{0}`, which was not asked for")]
    Encoded(String),
    /// The body does not match its content coding.
    #[error("the server sent the body as {coding}, and it cannot be decoded: {problem}")]
    Undecodable {
        /// The content coding.
        coding: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The server sent another part of the file than the client asked for.
    #[error("the server sent another part of the file than was asked for: {0}")]
    WrongRange(String),
    /// The body is longer than the file is allowed to be.
    #[error("longer than the {max_length} bytes that are allowed here")]
    TooLong {
        /// The limit in bytes.
        max_length: u64,
    },
    /// The URL cannot be used unchanged.
    #[error("unusable URL: {0}")]
    Url(String),
    /// A local source could not be read.
    #[error("cannot read: {0}")]
    Io(String),
}

/// Why a server could not prove its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is for another name.
    OtherName,
    /// No trusted authority has issued the certificate, or the system has none.
    UnknownIssuer,
    /// Another fault of the certificate or of the handshake.
    Other,
}

fn named_proxy(proxy: Option<&str>) -> String {
    proxy.map_or_else(|| "a proxy".to_owned(), |proxy| format!("the proxy `{proxy}`"))
}

impl FetchError {
    /// Whether this is a temporary failure, so that a retry may succeed.
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

    /// Converts the error of a local read.
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
    async fn a_body_that_starts_elsewhere_is_refused() {
        let elsewhere = Response { offset: 2, ..parts(&[b"cd"]) };
        assert!(matches!(elsewhere.read_all(4).await, Err(FetchError::WrongRange(_))));
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert!(FetchError::Status(503).may_pass() && FetchError::Status(429).may_pass());
        assert!(!FetchError::Status(403).may_pass() && !FetchError::NotFound.may_pass());
        assert!(!FetchError::TooLong { max_length: 1 }.may_pass());
    }
}
