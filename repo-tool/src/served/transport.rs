//! The transport through which the repository on a server is read.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use lastmile_client::{Error as ClientError, Fetch, FetchByScheme, FetchError, HttpFetch, HttpSettings, Response};

use crate::{Error, NetworkError};

/// A transport that several clients can share.
#[derive(Clone)]
pub(crate) struct Transport(Arc<dyn Fetch>);

impl Transport {
    pub(crate) fn new(fetch: impl Fetch) -> Self {
        Self(Arc::new(fetch))
    }

    /// Supports the schemes http, https and file.
    pub(crate) fn by_scheme() -> Result<Self, Error> {
        Ok(Self::new(FetchByScheme::new(HttpFetch::new(&HttpSettings::default()).map_err(setup)?)))
    }
}

impl Fetch for Transport {
    fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        self.0.fetch(url, offset)
    }

    fn fetch_metadata(&self, url: &str, max_length: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        self.0.fetch_metadata(url, max_length)
    }

    fn server_time(&self) -> Option<DateTime<Utc>> {
        self.0.server_time()
    }
}

fn setup(error: ClientError) -> Error {
    NetworkError::Compare(NetworkError::Setup(error.into()).into()).into()
}
