//! The transport for HTTP and HTTPS, which uses reqwest and has a time limit for every wait. The transport accepts
//! compressed metadata, but requests targets uncompressed.

use std::error::Error as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use lastmile_cli_support::text::{hide_credentials, hide_possible_credentials};
use reqwest::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, DATE, HeaderMap, HeaderName, HeaderValue, PRAGMA,
    RANGE, RETRY_AFTER, TRANSFER_ENCODING,
};
use reqwest::{Client, RequestBuilder, StatusCode, Url, redirect};
use rustls::crypto::CryptoProvider;

use crate::error::Error;
use crate::net::caches::CacheReports;
use crate::net::decode::{ACCEPTED, Coding, decoded};
use crate::net::fetch::{Fetch, FetchError, Response, TlsProblem};
use crate::net::proxy::{Proxies, ProxyChoice};
use crate::net::tls::{Authorities, default_provider};

/// The maximum number of bytes that are read from the body of an error response. The connection can be reused only if
/// the whole body has been read.
const FEW_WORDS: usize = 16 * 1024;

/// The maximum time for reading the body of an error response.
const SHORTLY: Duration = Duration::from_secs(1);

/// The message of hyper's error when a proxy answers `CONNECT` with the status 407. This error has no public type, so
/// it is recognized by its message.
const TUNNEL_UNAUTHORIZED: &str = "proxy authorization required";

type Body = BoxStream<'static, Result<Bytes, FetchError>>;

/// Settings for HTTP and HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// The `User-Agent` of every request.
    pub user_agent: String,
    /// The maximum time for making a connection.
    pub connect_timeout: Duration,
    /// The maximum time to wait for data from the server, both before the response and between two parts of its body.
    pub gap_timeout: Duration,
    /// The maximum number of consecutive redirects for one file.
    pub redirects: u32,
    /// How to choose the proxy for each request.
    pub proxy: ProxyChoice,
    /// Certificate authorities trusted for TLS in addition to the system's, as PEM bundles.
    pub extra_ca: Vec<Vec<u8>>,
    /// Whether HTTP 403 means "not found" (decision D2 in docs/pouf.md). Some object stores respond with 403 instead of
    /// 404 if the client has no permission to list files. If this is false, 403 is an error.
    pub forbidden_means_absent: bool,
    /// Whether every request asks the caches between the client and the server to contact the server before they answer
    /// (`Cache-Control: no-cache`). This is useful for finding a cache that serves outdated metadata.
    pub bypass_caches: bool,
}

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings {
            user_agent: concat!("lastmile/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(10),
            gap_timeout: Duration::from_secs(30),
            redirects: 5,
            proxy: ProxyChoice::System,
            extra_ca: Vec::new(),
            forbidden_means_absent: false,
            bypass_caches: false,
        }
    }
}

/// Fetches `http://` and `https://` URLs over pooled connections.
#[derive(Debug, Clone)]
pub struct HttpFetch {
    pub(super) client: Client,
    pub(super) authorities: Arc<Authorities>,
    proxies: Proxies,
    forbidden_means_absent: bool,
    /// The `Date` header of the latest response.
    date: Arc<Mutex<Option<HeaderValue>>>,
    cache_reports: Option<CacheReports>,
}

impl HttpFetch {
    /// Creates a client with the given settings. TLS uses the cryptography provider that the application installed as
    /// the process default of rustls. Without a process default, TLS uses the provider of an enabled feature: AWS-LC
    /// (`aws-lc`) or ring (`ring`). If both features are enabled, TLS uses AWS-LC.
    ///
    /// # Errors
    ///
    /// The same errors as [`with_provider`](HttpFetch::with_provider), and [`Error::Config`] if there is neither a
    /// process default nor an enabled feature with a provider.
    pub fn new(settings: &HttpSettings) -> Result<HttpFetch, Error> {
        HttpFetch::with_provider(settings, default_provider()?)
    }

    /// Creates a client with the given settings. TLS uses `provider`, for example a provider that is validated for FIPS
    /// 140-3. This method neither reads nor sets the process default of rustls.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if the provider, a proxy URL or a certificate authority cannot be used. Unusable settings are
    /// never silently ignored.
    pub fn with_provider(settings: &HttpSettings, provider: Arc<CryptoProvider>) -> Result<HttpFetch, Error> {
        let redirects = settings.redirects;
        let proxies = Proxies::new(&settings.proxy)?;
        let mut builder = Client::builder()
            .proxy(proxies.rule())
            .user_agent(&settings.user_agent)
            .default_headers(headers_of_all(settings))
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.gap_timeout)
            .redirect(redirect::Policy::custom(move |attempt| judge_redirect(attempt, redirects)))
            .referer(false);
        let authorities = Authorities::new(&settings.extra_ca, provider)?;
        builder = builder.tls_backend_preconfigured(authorities.config()?);
        let client = builder.build().map_err(|error| unusable("connection settings", &error))?;
        let forbidden_means_absent = settings.forbidden_means_absent;
        Ok(HttpFetch {
            client,
            authorities,
            proxies,
            forbidden_means_absent,
            date: Arc::default(),
            cache_reports: None,
        })
    }

    /// Records the response headers that caches add. `reports` contains these headers for the latest response from each
    /// URL.
    #[must_use]
    pub fn cache_reports(self, reports: CacheReports) -> HttpFetch {
        HttpFetch { cache_reports: Some(reports), ..self }
    }

    /// Returns the HTTP client of this transport, with all its settings. This method is for the programs of this
    /// project, and is not part of the public API.
    #[doc(hidden)]
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    fn get(&self, url: &str) -> Result<RequestBuilder, FetchError> {
        let url = exact_url(url).map_err(FetchError::Url)?;
        if url.scheme() == "https" {
            self.authorities.expect_use();
        }
        Ok(self.client.get(url))
    }

    /// Returns the response, and the offset within the file at which its body starts.
    async fn ask(
        &self,
        url: &str,
        request: RequestBuilder,
        offset: u64,
    ) -> Result<(u64, reqwest::Response), FetchError> {
        let answer = request.send().await.map_err(|error| fetch_error(&error, self.via(error.url())))?;
        if let Some(reports) = &self.cache_reports {
            reports.record(url, answer.headers());
        }
        if let (Some(date), Ok(mut newest)) = (answer.headers().get(DATE), self.date.lock()) {
            *newest = Some(date.clone());
        }
        match self.start_of(&answer, offset) {
            Ok(start) => Ok((start, answer)),
            Err(refusal) => {
                read_off(answer).await;
                Err(refusal)
            }
        }
    }

    /// Returns the offset within the requested file at which the body of `answer` starts.
    fn start_of(&self, answer: &reqwest::Response, asked: u64) -> Result<u64, FetchError> {
        let status = answer.status();
        let headers = answer.headers();
        match status {
            StatusCode::OK => Ok(0),
            StatusCode::PARTIAL_CONTENT if asked > 0 => check_range(headers, asked),
            // Spec 5.3.3: only these answers mean that a root does not exist.
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(FetchError::NotFound),
            StatusCode::FORBIDDEN if self.forbidden_means_absent => Err(FetchError::NotFound),
            StatusCode::UNAUTHORIZED => Err(FetchError::Unauthorized),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                let proxy = self.proxies.of(answer.url()).map(ToString::to_string);
                Err(FetchError::ProxyUnauthorized { proxy })
            }
            StatusCode::NETWORK_AUTHENTICATION_REQUIRED => Err(FetchError::NetworkLogin),
            _ => Err(match retry_after(headers) {
                Some(after) => FetchError::RetryLater { status: status.as_u16(), after },
                None => FetchError::Status(status.as_u16()),
            }),
        }
    }
}

impl HttpFetch {
    fn via(&self, url: Option<&Url>) -> Option<String> {
        self.proxies.of(url?).map(ToString::to_string)
    }

    fn body(&self, answer: reqwest::Response) -> Body {
        let proxy = self.via(Some(answer.url()));
        answer.bytes_stream().map_err(move |error| fetch_error(&error, proxy.clone())).boxed()
    }
}

impl Fetch for HttpFetch {
    fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let request = self.get(url);
        let url = url.to_owned();
        Box::pin(async move {
            let mut request = request?;
            if offset > 0 {
                request = request.header(RANGE, format!("bytes={offset}-"));
            }
            let (offset, answer) = self.ask(&url, request, offset).await?;
            check_transfer(answer.headers())?;
            // Ignore the header `Content-Encoding`. The client requested no content coding, so the header describes the
            // file itself: for a `.tar.gz` file, some servers send `x-gzip`. If a server encodes the body nevertheless,
            // the later check of length and hashes fails.
            Ok(Response { offset, body: self.body(answer) })
        })
    }

    fn fetch_metadata(&self, url: &str, max_length: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let request = self.get(url);
        let url = url.to_owned();
        Box::pin(async move {
            let request = request?.header(ACCEPT_ENCODING, ACCEPTED);
            let (offset, answer) = self.ask(&url, request, 0).await?;
            check_transfer(answer.headers())?;
            // Decode only the content codings that the client requested. Leave every other body unchanged: if it is not
            // metadata, verification fails later.
            let body = match asked_coding(answer.headers()) {
                Some(coding) => decoded(coding, self.body(answer), max_length),
                None => self.body(answer),
            };
            Ok(Response { offset, body: unless_page(body) })
        })
    }

    fn server_time(&self) -> Option<DateTime<Utc>> {
        let date = self.date.lock().ok()?.clone()?;
        date_of(&date)
    }
}

/// Returns the body unchanged, unless it begins like a web page. If it does, reading the returned body yields an error
/// instead of the page. Some networks answer every request with their login page, and some broken servers answer with
/// an error page. Neither page comes from the repository, so the client must not report the repository as untrusted.
fn unless_page(body: Body) -> Body {
    let checked = stream::unfold((body, false), |(mut body, is_known)| async move {
        let part = body.next().await?;
        let first = part.as_ref().ok().and_then(|part| part.iter().find(|byte| !byte.is_ascii_whitespace()));
        if !is_known && first == Some(&b'<') {
            return Some((Err(FetchError::NotMetadata { is_page: true }), (stream::empty().boxed(), true)));
        }
        let is_known = is_known || first.is_some();
        Some((part, (body, is_known)))
    });
    checked.boxed()
}

/// Parses a URL. Returns an error message if the URL would not be sent exactly as written.
///
/// The parser of `Url` resolves `%2e%2e/` to the parent directory and percent-encodes non-ASCII characters. The client
/// would then request names that differ from those in the repository.
pub(crate) fn exact_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`{}`: {error}", hide_possible_credentials(text)))?;
    let shown = hide_credentials(text);
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{shown}` has a scheme that is not supported"));
    }
    let after_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
    let written = after_scheme.find('/').and_then(|start| after_scheme.get(start..));
    if written == Some(url.path()) {
        return Ok(url);
    }
    let sent = hide_credentials(url.as_str());
    Err(format!(
        "`{shown}` would be sent as `{sent}`; write it percent-encoded, without `?` and `#`, and without the segments \
         `.` and `..`"
    ))
}

fn judge_redirect(attempt: redirect::Attempt<'_>, redirects: u32) -> redirect::Action {
    if attempt.previous().len() > redirects as usize {
        return attempt.error(RedirectRefused(FetchError::TooManyRedirects { redirects }));
    }
    match refusal_of(attempt.url(), attempt.previous()) {
        Some(refusal) => attempt.error(RedirectRefused(FetchError::Redirect(refusal))),
        None => attempt.follow(),
    }
}

fn refusal_of(to: &Url, previous: &[Url]) -> Option<String> {
    let from_https = previous.last().is_some_and(|from| from.scheme() == "https");
    if !matches!(to.scheme(), "http" | "https") {
        Some(format!("to the scheme `{}`", to.scheme()))
    } else if from_https && to.scheme() == "http" {
        Some("from https to http".to_owned())
    } else if !to.username().is_empty() || to.password().is_some() {
        Some("to a URL with credentials".to_owned())
    } else {
        None
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct RedirectRefused(FetchError);

/// Reads the body of an error response to its end if the body is short, so that the connection can be reused. Every
/// refresh gets such a response when it asks for a root that does not exist yet.
async fn read_off(mut answer: reqwest::Response) {
    let mut left = FEW_WORDS;
    let reading = async {
        while let Ok(Some(part)) = answer.chunk().await {
            left = left.saturating_sub(part.len());
            if left == 0 {
                break;
            }
        }
    };
    // Errors can be ignored, because the status of the response is already known.
    drop(tokio::time::timeout(SHORTLY, reading).await);
}

/// Refuses every transfer coding except `chunked`. The client neither requests nor decodes any other transfer coding.
fn check_transfer(headers: &HeaderMap) -> Result<(), FetchError> {
    match listed(headers, &TRANSFER_ENCODING, "chunked").as_slice() {
        [] => Ok(()),
        codings => Err(FetchError::Encoded(codings.join(", "))),
    }
}

/// Returns the content coding of the body, if there is exactly one and the client supports it.
fn asked_coding(headers: &HeaderMap) -> Option<Coding> {
    match listed(headers, &CONTENT_ENCODING, "identity").as_slice() {
        [coding] => Coding::named(coding),
        _ => None,
    }
}

/// Returns the codings that the header `name` lists, except the coding `plain`, which leaves the body unchanged.
fn listed(headers: &HeaderMap, name: &HeaderName, plain: &str) -> Vec<String> {
    let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let names = values.flat_map(|value| value.split(',').map(str::to_owned).collect::<Vec<_>>());
    let names = names.map(|name| name.trim().to_ascii_lowercase());
    names.filter(|name| !name.is_empty() && name != plain).collect()
}

/// Returns `asked`, the requested offset, or an error if the partial response does not start at this offset.
fn check_range(headers: &HeaderMap, asked: u64) -> Result<u64, FetchError> {
    let value = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let start = value
        .and_then(|value| value.strip_prefix("bytes "))
        .and_then(|range| range.split_once('-'))
        .and_then(|(start, _)| start.parse::<u64>().ok());
    if start == Some(asked) {
        return Ok(asked);
    }
    let found = value.unwrap_or("no Content-Range");
    Err(FetchError::WrongRange(format!("asked for `bytes={asked}-`, got `{found}`")))
}

fn headers_of_all(settings: &HttpSettings) -> HeaderMap {
    let mut headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
    if settings.bypass_caches {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    }
    headers
}

/// Returns how long the server asks the client to wait (RFC 9110, 10.2.3). The header `Retry-After` contains either a
/// number of seconds or an HTTP date. A date is compared with the `Date` header of the response instead of this
/// machine's clock, which may be wrong.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(text).ok()?.to_utc();
    let now = date_of(headers.get(DATE)?)?;
    // If the date is in the past, the server asks for no wait at all.
    Some((until - now).to_std().unwrap_or_default())
}

fn date_of(header: &HeaderValue) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc2822(header.to_str().ok()?).ok()?.to_utc())
}

fn unusable(what: &str, error: &reqwest::Error) -> Error {
    Error::Config(format!("unusable {what}: {}", innermost(error)))
}

pub(super) fn fetch_error(error: &reqwest::Error, proxy: Option<String>) -> FetchError {
    let cause = innermost(error);
    if error.is_connect() && proxy.is_some() && cause.contains(TUNNEL_UNAUTHORIZED) {
        return FetchError::ProxyUnauthorized { proxy };
    }
    let through = proxy.map_or_else(String::new, |proxy| format!("through the proxy `{proxy}`: "));
    let cause = format!("{through}{cause}");
    if let Some(RedirectRefused(refusal)) = causes(error).find_map(|cause| cause.downcast_ref()) {
        refusal.clone()
    } else if error.is_redirect() {
        FetchError::Redirect(cause)
    } else if error.is_timeout() {
        let silent = if error.is_connect() { "no connection" } else { "the server stopped responding" };
        FetchError::Timeout(format!("{through}{silent}"))
    } else if let Some(problem) = tls_problem(error).filter(|_| error.is_connect()) {
        FetchError::Tls { problem, text: cause }
    } else if error.is_connect() {
        FetchError::Connect(cause)
    } else {
        FetchError::Cut(cause)
    }
}

/// Returns the reason why the TLS handshake failed, or `None` if the error has another cause. TLS errors are I/O errors
/// of the kind `InvalidData`, possibly nested in other I/O errors. Such errors are not retried, because a retry would
/// fail in the same way.
fn tls_problem(error: &reqwest::Error) -> Option<TlsProblem> {
    causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).find_map(|outer| {
        let mut next = Some(outer);
        let mut is_tls = false;
        while let Some(error) = next {
            is_tls |= error.kind() == io::ErrorKind::InvalidData;
            if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
                return Some(problem_of(error));
            }
            next = error.get_ref().and_then(|inner| inner.downcast_ref());
        }
        is_tls.then_some(TlsProblem::Other)
    })
}

fn problem_of(error: &rustls::Error) -> TlsProblem {
    use rustls::CertificateError as Fault;
    match error {
        rustls::Error::InvalidCertificate(fault) => match fault {
            Fault::Expired | Fault::ExpiredContext { .. } => TlsProblem::Expired,
            Fault::NotValidYet | Fault::NotValidYetContext { .. } => TlsProblem::NotYetValid,
            Fault::NotValidForName | Fault::NotValidForNameContext { .. } => TlsProblem::OtherName,
            Fault::UnknownIssuer => TlsProblem::UnknownIssuer,
            _ => TlsProblem::Other,
        },
        // The verifier reports this error if the system has no certificate authorities.
        rustls::Error::General(_) => TlsProblem::UnknownIssuer,
        _ => TlsProblem::Other,
    }
}

fn innermost(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
