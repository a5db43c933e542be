//! Response headers that caches between the client and the server add to a response. Nothing in these headers is
//! authenticated; they only help administrators find a cache that serves an outdated file.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::HeaderMap;

/// The maximum recorded length of a header, in characters. The rest of a longer header is omitted.
const MAX_LENGTH: usize = 200;

/// The values of the headers that caches add to a response. A value is `None` if the response does not have the header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheReport {
    /// `Age`: the number of seconds since the response was fetched from the server (RFC 9111, 5.1).
    pub age: Option<String>,
    /// `Via`: the proxies between the server and the client (RFC 9110, 7.6.3).
    pub via: Option<String>,
    /// `X-Cache`: a common nonstandard header with a value such as `HIT from cache.example.org`.
    pub x_cache: Option<String>,
    /// `Cache-Status`: how each cache handled the request (RFC 9211).
    pub cache_status: Option<String>,
}

impl CacheReport {
    fn of(headers: &HeaderMap) -> CacheReport {
        let text = |name: &str| {
            let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
            let text = values.collect::<Vec<_>>().join(", ");
            (!text.is_empty()).then(|| text.chars().take(MAX_LENGTH).collect())
        };
        CacheReport { age: text("age"), via: text("via"), x_cache: text("x-cache"), cache_status: text("cache-status") }
    }

    /// Returns the names and values of the headers that the response had.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all =
            [("Age", &self.age), ("Via", &self.via), ("X-Cache", &self.x_cache), ("Cache-Status", &self.cache_status)];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

/// The reports of caches about the latest response from each URL. Clones share the reports.
#[derive(Debug, Clone, Default)]
pub struct CacheReports(Arc<Mutex<BTreeMap<String, CacheReport>>>);

impl CacheReports {
    /// Returns the report about the latest response to a request for `url`.
    #[must_use]
    pub fn of(&self, url: &str) -> Option<CacheReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned()
    }

    pub(crate) fn record(&self, url: &str, headers: &HeaderMap) {
        let report = CacheReport::of(headers);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(url.to_owned(), report);
    }
}
