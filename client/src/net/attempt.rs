//! Fetches one metadata file from one mirror, with retries according to the retry policy.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::net::base_url::FileUrl;
use crate::net::fetch::{Fetch, FetchError, Reading};
use crate::net::retry::RetryPolicy;

/// A future that makes a single attempt to fetch one file.
pub(crate) type Attempt<'a> = BoxFuture<'a, Result<Reading, FetchError>>;

/// Requests the metadata file at `url` once, and reads at least its first `enough` bytes, or the whole file if it is
/// shorter.
pub(crate) fn attempt(fetch: &dyn Fetch, url: FileUrl, max_length: u64, enough: u64) -> Attempt<'_> {
    async move {
        tracing::debug!(%url, "fetch");
        let mut reading = fetch.fetch_metadata(url.as_str(), max_length).await?.reading(max_length)?;
        reading.advance(enough).await?;
        Ok(reading)
    }
    .boxed()
}

/// Fetches the metadata file at `url`. `prefetched` is an attempt that is already running, if there is one; it counts
/// as the first attempt. Returns `None` if the server reports that the file does not exist.
pub(crate) async fn fetch_metadata<'a>(
    fetch: &'a dyn Fetch,
    retry_policy: &RetryPolicy,
    url: &FileUrl,
    max_length: u64,
    mut prefetched: Option<Attempt<'a>>,
) -> Result<Option<Vec<u8>>, FetchError> {
    let mut retries = retry_policy.start(0);
    loop {
        let next = prefetched.take().unwrap_or_else(|| attempt(fetch, url.clone(), max_length, u64::MAX));
        match retries.within(async { next.await?.finish().await }).await {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(FetchError::NotFound) => return Ok(None),
            Err(error) => retries.pause_after(error).await?,
        }
    }
}
