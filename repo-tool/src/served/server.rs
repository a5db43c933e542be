//! A static file server for testing. It serves only `metadata/` and `targets/` of one repository. A client that accepts
//! a compressed encoding gets the compressed copy of a metadata file, if there is one.
//!
//! `tower_http::services::ServeDir` is not suitable: it opens files by path, and cannot be configured to refuse links.

use std::convert::Infallible;
use std::fmt;
use std::io::{self, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap,
    RANGE, VARY,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use lastmile_client::text::printable;
use percent_encoding::percent_decode_str;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::files::access::open_regular;
use crate::publish::compress::Coding;
use crate::served::connections::{self, Limits};

/// The number of bytes that are read at once.
const CHUNK_SIZE: usize = 256 * 1024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

type Body = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;

/// A request that the server has answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The requested path, before percent-decoding.
    pub path: String,
    /// The HTTP status.
    pub status: u16,
}

impl fmt::Display for Answered {
    /// Control characters are escaped, because clients choose the path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, printable(&self.path))
    }
}

/// A server that is bound to an address but not yet running.
pub struct Server {
    listener: TcpListener,
    folder: Arc<Path>,
    header_timeout: Duration,
}

impl Server {
    /// Binds `address` to serve the repository in `folder`. Port 0 chooses a free port.
    ///
    /// # Errors
    /// Fails if the address is in use or not available.
    pub async fn bind(folder: &Path, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, folder: folder.into(), header_timeout: HEADER_TIMEOUT })
    }

    /// Disconnects clients that take longer than `limit` to send the headers of a request. The default is 30 seconds.
    #[must_use]
    pub fn header_timeout(mut self, limit: Duration) -> Self {
        self.header_timeout = limit;
        self
    }

    /// Returns the address that the server listens on.
    ///
    /// # Errors
    /// Fails if the operating system does not report the address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves requests until the future is dropped.
    pub async fn run(self, answered: impl Fn(Answered) + Clone + Send + 'static) {
        self.run_until(std::future::pending(), answered).await;
    }

    /// Serves requests until `stop` is ready. Then takes at most 5 seconds to finish the responses that have begun.
    pub async fn run_until(self, stop: impl Future<Output = ()>, answered: impl Fn(Answered) + Clone + Send + 'static) {
        let service = service_fn(move |request: Request<Incoming>| {
            let folder = Arc::clone(&self.folder);
            let answered = answered.clone();
            async move {
                let response = answer(&folder, &request).await;
                let path = request.uri().path().to_string();
                answered(Answered { path, status: response.status().as_u16() });
                Ok::<_, Infallible>(response)
            }
        });
        // Set no other limits: the download of a large target may take any time, and tests open many connections.
        let limits =
            Limits { headers: self.header_timeout, connection: Duration::MAX, connections: Semaphore::MAX_PERMITS };
        connections::serve(self.listener, http1::Builder::new(), limits, service, stop).await;
    }
}

async fn answer(folder: &Path, request: &Request<Incoming>) -> Response<Body> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let Some(path) = path_of(folder, request.uri().path()) else {
        return empty(StatusCode::NOT_FOUND);
    };
    let headers = request.headers();
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok());
    // Only metadata files have compressed copies.
    let varies = path.starts_with(folder.join("metadata"));
    // Ranges always refer to the uncompressed file.
    let codings = if varies && range.is_none() { accepted(headers) } else { Vec::new() };
    let opened = tokio::task::spawn_blocking(move || open_best(&path, &codings));
    let mut response = match opened.await {
        Ok(Ok((file, length, coding))) => {
            let mut response = send(file.into(), length, range, request.method()).await;
            if let Some(coding) = coding {
                insert(&mut response, CONTENT_ENCODING, coding.name());
            }
            response
        }
        Ok(Err(error)) if is_absent(&error) => empty(StatusCode::NOT_FOUND),
        _ => empty(StatusCode::INTERNAL_SERVER_ERROR),
    };
    if varies {
        insert(&mut response, VARY, "Accept-Encoding");
    }
    response
}

/// Opens the first compressed copy that exists, in the order of `codings`. If there is none, opens the plain file. Also
/// returns the length in bytes, and the coding of the copy.
fn open_best(path: &Path, codings: &[Coding]) -> io::Result<(std::fs::File, u64, Option<Coding>)> {
    let open = |path: &Path| {
        let file = open_regular(path)?;
        let length = file.metadata()?.len();
        Ok::<_, io::Error>((file, length))
    };
    for coding in codings {
        if let Ok((file, length)) = open(&coding.beside(path)) {
            return Ok((file, length, Some(*coding)));
        }
    }
    open(path).map(|(file, length)| (file, length, None))
}

/// Returns the codings that a client accepts, in the client's order of preference (RFC 9110, 12.5.3).
fn accepted(headers: &HeaderMap) -> Vec<Coding> {
    let values = headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    let listed: Vec<(String, u16)> = values.flat_map(|value| value.split(',')).map(parse_coding).collect();
    let quality = |name: &str| listed.iter().find(|(other, _)| other == name).map(|(_, quality)| *quality);
    // The header calls the plain file `identity`. Skip each coding with a lower weight than `identity`.
    let identity_quality = quality("identity").unwrap_or(0);
    let quality_of = |coding: &Coding| quality(coding.name()).or_else(|| quality("*")).unwrap_or(0);
    let mut codings: Vec<Coding> = Coding::ALL
        .into_iter()
        .filter(|coding| quality_of(coding) > 0 && quality_of(coding) >= identity_quality)
        .collect();
    codings.sort_by_key(|coding| std::cmp::Reverse(quality_of(coding)));
    codings
}

/// Parses one coding of the header and its weight in thousandths. An invalid weight counts as 0.
fn parse_coding(part: &str) -> (String, u16) {
    let mut parameters = part.split(';').map(str::trim);
    let name = parameters.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parameters.find_map(|parameter| parameter.strip_prefix(['q', 'Q'])?.trim_start().strip_prefix('='));
    let quality = match weight.map(|weight| weight.trim().parse::<f32>()) {
        None => 1000.0,
        Some(Ok(weight)) if (0.0..=1.0).contains(&weight) => weight * 1000.0,
        Some(_) => 0.0,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
    let quality = quality.round() as u16;
    (name, quality)
}

fn is_absent(error: &io::Error) -> bool {
    // With `O_NOFOLLOW`, opening a symbolic link fails with `ELOOP`.
    let is_link = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    is_link
        || matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput | io::ErrorKind::NotADirectory)
}

async fn send(mut file: File, length: u64, range: Option<&str>, method: &Method) -> Response<Body> {
    let part = match range.map(|range| parse_range(range, length)) {
        None | Some(ByteRange::Whole) => None,
        Some(ByteRange::Part(first, last)) => Some((first, last)),
        Some(ByteRange::Beyond) => {
            let mut response = empty(StatusCode::RANGE_NOT_SATISFIABLE);
            insert(&mut response, CONTENT_RANGE, &format!("bytes */{length}"));
            return response;
        }
    };
    let (first, count) = part.map_or((0, length), |(first, last)| (first, last - first + 1));
    if file.seek(SeekFrom::Start(first)).await.is_err() {
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let body = if method == Method::HEAD { stream::empty().boxed() } else { parts(file, count) };
    let mut response = Response::new(StreamBody::new(body));
    insert(&mut response, ACCEPT_RANGES, "bytes");
    insert(&mut response, CONTENT_LENGTH, &count.to_string());
    insert(&mut response, CONTENT_TYPE, "application/octet-stream");
    if let Some((first, last)) = part {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        insert(&mut response, CONTENT_RANGE, &format!("bytes {first}-{last}/{length}"));
    }
    response
}

fn parts(file: File, count: u64) -> BoxStream<'static, io::Result<Frame<Bytes>>> {
    stream::try_unfold((file, count), |(mut file, left)| async move {
        let mut part = BytesMut::with_capacity(usize::try_from(left).map_or(CHUNK_SIZE, |left| left.min(CHUNK_SIZE)));
        if left == 0 || (&mut file).take(left).read_buf(&mut part).await? == 0 {
            return Ok(None);
        }
        let left = left - part.len() as u64;
        Ok(Some((Frame::data(part.freeze()), (file, left))))
    })
    .boxed()
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(stream::empty().boxed()));
    *response.status_mut() = status;
    insert(&mut response, CONTENT_LENGTH, "0");
    response
}

fn insert(response: &mut Response<Body>, name: hyper::header::HeaderName, value: &str) {
    if let Ok(value) = value.parse() {
        response.headers_mut().insert(name, value);
    }
}

/// Returns the path of the requested file. Returns `None` if the path is not below `metadata/` or `targets/`, or if it
/// leads through a link to a folder.
fn path_of(folder: &Path, url_path: &str) -> Option<PathBuf> {
    let mut segments = url_path.strip_prefix('/')?.split('/');
    let top = segments.next().filter(|top| ["metadata", "targets"].contains(top))?;
    let mut path = folder.join(top);
    for segment in segments {
        if !path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            return None;
        }
        let name = percent_decode_str(segment).decode_utf8().ok()?;
        if matches!(&*name, "" | "." | "..") || name.contains(['/', '\\', '\0']) {
            return None;
        }
        path.push(&*name);
    }
    Some(path)
}

#[derive(Debug, PartialEq, Eq)]
enum ByteRange {
    Whole,
    /// The first and the last byte to send, both inclusive, counted from 0.
    Part(u64, u64),
    Beyond,
}

/// Parses a range of bytes. Only a single range that specifies its first byte is supported. For every other range, such
/// as `bytes=-100`, the client gets the whole file (RFC 9110, 14.2).
fn parse_range(range: &str, length: u64) -> ByteRange {
    let parts = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let (first, last) = match parts.map(|(first, last)| (first.parse::<u64>(), last, last.parse::<u64>())) {
        Some((Ok(first), "", _)) => (first, u64::MAX),
        Some((Ok(first), _, Ok(last))) if last >= first => (first, last),
        _ => return ByteRange::Whole,
    };
    if first >= length { ByteRange::Beyond } else { ByteRange::Part(first, last.min(length - 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_ranges_are_parsed() {
        assert_eq!(parse_range("bytes=3-", 10), ByteRange::Part(3, 9));
        assert_eq!(parse_range("bytes=3-4", 10), ByteRange::Part(3, 4));
        assert_eq!(parse_range("bytes=3-99", 10), ByteRange::Part(3, 9));
        assert_eq!(parse_range("bytes=10-", 10), ByteRange::Beyond);
        assert_eq!(parse_range("bytes=-3", 10), ByteRange::Whole);
        assert_eq!(parse_range("bytes=1-2,4-5", 10), ByteRange::Whole);
        assert_eq!(parse_range("lines=1-2", 10), ByteRange::Whole);
    }

    #[test]
    fn accepted_codings_are_sorted_by_preference() {
        let names = |values: &[&'static str]| -> Vec<&str> {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(ACCEPT_ENCODING, value.parse().unwrap());
            }
            accepted(&headers).into_iter().map(|coding| coding.name()).collect()
        };
        assert_eq!(names(&[]), Vec::<&str>::new());
        assert_eq!(names(&["gzip, deflate, br, zstd"]), ["zstd", "gzip"]);
        assert_eq!(names(&["GZIP;q=1.0 , zstd; q=0.5"]), ["gzip", "zstd"]);
        assert_eq!(names(&["gzip", "zstd"]), ["zstd", "gzip"]);
        assert_eq!(names(&["zstd;q=0, *"]), ["gzip"]);
        assert_eq!(names(&["*;q=0"]), Vec::<&str>::new());
        assert_eq!(names(&["*;q=0, gzip"]), ["gzip"]);
        assert_eq!(names(&["identity"]), Vec::<&str>::new());
        assert_eq!(names(&["identity;q=0.5, gzip;q=0.8, zstd;q=0.3"]), ["gzip"]);
        assert_eq!(names(&["gzip;q=2, zstd;q=x, *;q=-1"]), Vec::<&str>::new());
    }

    #[test]
    fn a_compressed_copy_is_opened_only_in_an_accepted_coding() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.root.json");
        std::fs::write(&path, "{}").unwrap();
        std::fs::write(dir.path().join("1.root.json.gz"), "gzip").unwrap();
        let opened = |codings: &[Coding]| {
            let (_, length, coding) = open_best(&path, codings).unwrap();
            (length, coding.map(|coding| coding.name()))
        };
        assert_eq!(opened(&Coding::ALL), (4, Some("gzip")));
        assert_eq!(opened(&[Coding::Zstd]), (2, None));
        assert_eq!(opened(&[]), (2, None));
        assert!(open_best(&dir.path().join("2.root.json"), &Coding::ALL).is_err());
    }

    #[test]
    fn only_metadata_and_targets_are_served() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["metadata", "targets", "targets/a", "keys", "staged"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let path = |url: &str| path_of(dir.path(), url);
        assert_eq!(path("/targets/a/b%20c"), Some(dir.path().join("targets/a/b c")));
        assert!(path("/metadata/timestamp.json").is_some());
        let refused = [
            "/",
            "/keys/root-1.pem",
            "/repo.toml",
            "/targets/../keys/x",
            "/targets/%2e%2e/keys/x",
            "/targets/..%2fkeys/x",
            "/targets//etc/passwd",
            "//etc/passwd",
            "/targets/a%00",
            "/targets/a\\..\\x",
            "/staged/root.json",
        ];
        for url in refused {
            assert_eq!(path(url), None, "{url}");
        }
    }

    #[test]
    fn links_to_folders_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("targets")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("targets/out")).unwrap();
        assert_eq!(path_of(dir.path(), "/targets/out/passwd"), None);
    }
}
