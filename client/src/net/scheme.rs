//! Chooses the transport for a URL by its scheme.

#[cfg(feature = "http")]
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use lastmile_cli_support::text::hide_possible_credentials;

use crate::net::fetch::{Fetch, FetchError, Response};
use crate::net::file::FileFetch;
#[cfg(feature = "http")]
use crate::net::http::HttpFetch;

/// A transport that passes each request to another transport, which it chooses by the scheme of the URL. The scheme
/// `file` is always supported. The schemes `http` and `https` need the feature `http`.
#[derive(Debug, Clone, Default)]
pub struct FetchByScheme {
    file: FileFetch,
    #[cfg(feature = "http")]
    http: Option<HttpFetch>,
}

impl FetchByScheme {
    /// Creates a transport that uses `http` for `http:` and `https:` URLs.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn new(http: HttpFetch) -> FetchByScheme {
        FetchByScheme { http: Some(http), ..FetchByScheme::default() }
    }

    fn source(&self, url: &str) -> Result<&dyn Fetch, FetchError> {
        if url.starts_with("file:") {
            return Ok(&self.file);
        }
        #[cfg(feature = "http")]
        if let Some(http) = &self.http {
            return Ok(http);
        }
        Err(FetchError::Url(format!("`{}` has a scheme that is not supported", hide_possible_credentials(url))))
    }
}

impl Fetch for FetchByScheme {
    fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        match self.source(url) {
            Ok(source) => source.fetch(url, offset),
            Err(error) => ready(Err(error)).boxed(),
        }
    }

    fn fetch_metadata(&self, url: &str, max_length: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        match self.source(url) {
            Ok(source) => source.fetch_metadata(url, max_length),
            Err(error) => ready(Err(error)).boxed(),
        }
    }

    #[cfg(feature = "http")]
    fn server_time(&self) -> Option<DateTime<Utc>> {
        self.http.as_ref()?.server_time()
    }
}
