//! A repository on the web: HTTP and HTTPS through reqwest, with limits on every wait. Metadata may
//! come compressed; targets come as they are.

use std::error::Error as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, DATE, HeaderMap, HeaderName, HeaderValue, RANGE, RETRY_AFTER,
    TRANSFER_ENCODING,
};
use reqwest::{Client, Proxy, RequestBuilder, StatusCode, Url, redirect};
use rustls::crypto::CryptoProvider;

use crate::error::Error;
use crate::net::decode::{ACCEPTED, Coding, decoded};
use crate::net::fetch::{Fetch, FetchError, Response};
use crate::net::tls::{Authorities, default_provider};

/// An answer without a file is read up to here, and no longer than so long, to keep the connection.
const FEW_WORDS: usize = 16 * 1024;
const SHORTLY: Duration = Duration::from_secs(1);

/// How to reach the web.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// What the client calls itself.
    pub user_agent: String,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How long a server may be silent before or within a body.
    pub gap_timeout: Duration,
    /// How many times in a row a server may send us elsewhere for one file.
    pub redirects: u32,
    /// Through which proxy.
    pub proxy: ProxyChoice,
    /// Certificate authorities trusted for TLS besides the system's, as PEM bundles.
    pub extra_ca: Vec<Vec<u8>>,
    /// Whether HTTP 403 says that a file is absent: some object stores answer so to those who may
    /// not list (decision D2). Otherwise 403 is an error.
    pub forbidden_means_absent: bool,
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
        }
    }
}

/// Which proxy is used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ProxyChoice {
    /// What the environment says: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`.
    #[default]
    System,
    /// None, whatever the environment says.
    Direct,
    /// The proxy at this URL for everything.
    Url(String),
}

/// Fetches `http://` and `https://` URLs over pooled connections.
#[derive(Debug, Clone)]
pub struct HttpFetch {
    client: Client,
    authorities: Arc<Authorities>,
    forbidden_means_absent: bool,
    /// The newest `Date`, as it was sent.
    date: Arc<Mutex<Option<HeaderValue>>>,
}

impl HttpFetch {
    /// Makes a client with these settings. The cryptography of TLS comes from the process default of rustls if the
    /// application installed one, otherwise from AWS-LC or ring, whichever feature is enabled (AWS-LC if both are).
    ///
    /// # Errors
    ///
    /// As [`with_provider`](HttpFetch::with_provider); also [`Error::Config`] where there is no process default and
    /// neither the feature `aws-lc` nor `ring` is enabled.
    pub fn new(settings: &HttpSettings) -> Result<HttpFetch, Error> {
        HttpFetch::with_provider(settings, default_provider()?)
    }

    /// Makes a client with these settings whose TLS uses this cryptography provider, for example one that is validated
    /// for FIPS 140-3. It neither reads nor sets the process default of rustls.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] where the provider, a proxy URL or a certificate authority cannot be used: we refuse to start
    /// rather than go on with less than was asked for.
    pub fn with_provider(settings: &HttpSettings, provider: Arc<CryptoProvider>) -> Result<HttpFetch, Error> {
        let redirects = settings.redirects;
        let mut builder = Client::builder()
            .user_agent(&settings.user_agent)
            .default_headers(HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]))
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.gap_timeout)
            .redirect(redirect::Policy::custom(move |attempt| judge_redirect(attempt, redirects)))
            .referer(false);
        builder = match &settings.proxy {
            ProxyChoice::System => builder,
            ProxyChoice::Direct => builder.no_proxy(),
            ProxyChoice::Url(url) => {
                builder.proxy(Proxy::all(url).map_err(|error| unusable(&format!("proxy `{url}`"), &error))?)
            }
        };
        let authorities = Authorities::new(&settings.extra_ca, provider)?;
        builder = builder.tls_backend_preconfigured(authorities.config()?);
        let client = builder.build().map_err(|error| unusable("connection settings", &error))?;
        let forbidden_means_absent = settings.forbidden_means_absent;
        Ok(HttpFetch { client, authorities, forbidden_means_absent, date: Arc::default() })
    }

    /// A request for exactly this URL.
    fn get(&self, url: &str) -> Result<RequestBuilder, FetchError> {
        let url = exact_url(url)?;
        if url.scheme() == "https" {
            self.authorities.expect_use();
        }
        Ok(self.client.get(url))
    }

    /// Asks, and tells where the body of the answer begins in the file.
    async fn ask(&self, request: RequestBuilder, offset: u64) -> Result<(u64, reqwest::Response), FetchError> {
        let answer = request.send().await.map_err(|error| fetch_error(&error))?;
        if let (Some(date), Ok(mut newest)) = (answer.headers().get(DATE), self.date.lock()) {
            *newest = Some(date.clone());
        }
        match self.start_of(answer.status(), answer.headers(), offset) {
            Ok(start) => Ok((start, answer)),
            Err(refusal) => {
                read_off(answer).await;
                Err(refusal)
            }
        }
    }

    /// Where the body of this answer begins in the file.
    fn start_of(&self, status: StatusCode, headers: &HeaderMap, asked: u64) -> Result<u64, FetchError> {
        match status {
            StatusCode::OK => Ok(0),
            StatusCode::PARTIAL_CONTENT if asked > 0 => check_range(headers, asked),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(FetchError::NotFound),
            StatusCode::FORBIDDEN if self.forbidden_means_absent => Err(FetchError::NotFound),
            _ => Err(match seconds(headers, &RETRY_AFTER) {
                Some(after) => FetchError::RetryLater { status: status.as_u16(), after },
                None => FetchError::Status(status.as_u16()),
            }),
        }
    }
}

impl Fetch for HttpFetch {
    fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let request = self.get(url);
        Box::pin(async move {
            let mut request = request?;
            if offset > 0 {
                request = request.header(RANGE, format!("bytes={offset}-"));
            }
            let (offset, answer) = self.ask(request, offset).await?;
            let codings = codings(answer.headers())?;
            if codings.is_empty() {
                return Ok(Response { offset, body: body(answer) });
            }
            Err(FetchError::Encoded(codings.join(", ")))
        })
    }

    fn fetch_metadata(&self, url: &str, max_length: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let request = self.get(url);
        Box::pin(async move {
            let request = request?.header(ACCEPT_ENCODING, ACCEPTED);
            let (offset, answer) = self.ask(request, 0).await?;
            let codings = codings(answer.headers())?;
            let coding = match codings.as_slice() {
                [] => return Ok(Response { offset, body: body(answer) }),
                [coding] => Coding::named(coding),
                _ => None,
            };
            let coding = coding.ok_or_else(|| FetchError::Encoded(codings.join(", ")))?;
            Ok(Response { offset, body: decoded(coding, body(answer), max_length) })
        })
    }

    fn server_time(&self) -> Option<DateTime<Utc>> {
        let date = self.date.lock().ok()?.clone()?;
        Some(DateTime::parse_from_rfc2822(date.to_str().ok()?).ok()?.to_utc())
    }
}

fn body(answer: reqwest::Response) -> BoxStream<'static, Result<Bytes, FetchError>> {
    answer.bytes_stream().map_err(|error| fetch_error(&error)).boxed()
}

/// The URL, if it goes over the wire exactly as it is written.
///
/// A parser would turn `%2e%2e/` into a step upwards and encode what is not ASCII: then other names
/// would be asked for than the repository has.
fn exact_url(text: &str) -> Result<Url, FetchError> {
    let url = Url::parse(text).map_err(|error| FetchError::Url(format!("`{text}`: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        let message = format!("`{text}` has a scheme that is not supported");
        return Err(FetchError::Url(message));
    }
    let after_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
    let written = after_scheme.find('/').and_then(|start| after_scheme.get(start..));
    if written != Some(url.path()) {
        let message = format!(
            "`{text}` would be sent as `{url}`; write it percent-encoded, without `.` and `..` \
             segments, `?` and `#`"
        );
        return Err(FetchError::Url(message));
    }
    Ok(url)
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

/// Why we do not go where a server sends us, after these URLs.
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

/// Reads the few words that come with an answer like "not found": only then can the connection be
/// used again, and every refresh ends in such an answer.
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
    // Whatever comes of it: the answer has been given.
    drop(tokio::time::timeout(SHORTLY, reading).await);
}

/// How the body is encoded, the last coding last; nothing where it is sent as it is. What a
/// connection does to it on the way may be `chunked` and nothing else.
fn codings(headers: &HeaderMap) -> Result<Vec<String>, FetchError> {
    let listed = |name, plain: &'static str| {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let names = values.flat_map(|value| value.split(',').map(str::to_owned).collect::<Vec<_>>());
        let names = names.map(|name| name.trim().to_ascii_lowercase());
        names.filter(move |name| !name.is_empty() && name != plain).collect::<Vec<_>>()
    };
    match listed(TRANSFER_ENCODING, "chunked").as_slice() {
        [] => Ok(listed(CONTENT_ENCODING, "identity")),
        codings => Err(FetchError::Encoded(codings.join(", "))),
    }
}

/// A partial answer must begin where we asked it to.
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

fn seconds(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    let seconds = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn unusable(what: &str, error: &reqwest::Error) -> Error {
    Error::Config(format!("unusable {what}: {}", innermost(error)))
}

/// What reqwest reports, in our words.
fn fetch_error(error: &reqwest::Error) -> FetchError {
    let cause = innermost(error);
    if let Some(RedirectRefused(refusal)) = causes(error).find_map(|cause| cause.downcast_ref()) {
        refusal.clone()
    } else if error.is_redirect() {
        FetchError::Redirect(cause)
    } else if error.is_timeout() {
        FetchError::Timeout(if error.is_connect() {
            "no connection".to_owned()
        } else {
            "the server fell silent".to_owned()
        })
    } else if error.is_connect() && is_tls(error) {
        FetchError::Tls(cause)
    } else if error.is_connect() {
        FetchError::Connect(cause)
    } else {
        FetchError::Cut(cause)
    }
}

/// A failed TLS handshake comes as an I/O error of this kind, perhaps within others; it does not
/// pass by waiting.
fn is_tls(error: &reqwest::Error) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|outer| {
        let mut next = Some(outer);
        while let Some(error) = next {
            if error.kind() == io::ErrorKind::InvalidData {
                return true;
            }
            next = error.get_ref().and_then(|inner| inner.downcast_ref());
        }
        false
    })
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
