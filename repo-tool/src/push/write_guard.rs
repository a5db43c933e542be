//! Stops requests that change an object store if this process may have lost the lock on the store.
//!
//! A push checks the lock before each write. This is not enough, because a failed request is
//! retried for up to a minute, a large target is uploaded with many requests, and the machine may
//! be suspended in between. Therefore this module checks the lock again before each attempt of each
//! request.

use std::sync::{Arc, Mutex, PoisonError};

use lastmile_client::BoxFuture;
use object_store::client::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService};
use percent_encoding::percent_decode_str;

use crate::push::lease::{LOCK, Validity};

/// The lock that must be valid for requests that change the store. Without a lock, no request is
/// stopped.
#[derive(Clone, Debug, Default)]
pub(super) struct WriteGuard(Arc<Mutex<Option<Arc<Validity>>>>);

impl WriteGuard {
    /// From now on, stops requests that change the store unless this lock is valid.
    pub(super) fn require(&self, lock: Arc<Validity>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
    }

    /// Returns true if a lock is required, but is not valid now.
    pub(super) fn stops(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|lock| !lock.is_valid())
    }

    /// Returns a client that passes each request on to `client`, unless this guard stops the request.
    pub(super) fn guarded(&self, client: HttpClient) -> HttpClient {
        HttpClient::new(Guarded { guard: self.clone(), client })
    }
}

#[derive(Debug)]
struct Guarded {
    guard: WriteGuard,
    client: HttpClient,
}

#[derive(Debug, thiserror::Error)]
#[error("this process may have lost the lock")]
struct Stopped;

impl HttpService for Guarded {
    fn call<'life0, 'async_trait>(
        &'life0 self,
        request: HttpRequest,
    ) -> BoxFuture<'async_trait, Result<HttpResponse, HttpError>>
    where
        'life0: 'async_trait,
    {
        // Writes to the lock object are never stopped, because they take, renew and release the
        // lock. The URLs of some stores encode the dot in its name.
        let path = percent_decode_str(request.uri().path()).decode_utf8_lossy();
        let is_write = !request.method().is_safe() && !path.ends_with(LOCK);
        Box::pin(async move {
            if is_write && self.guard.stops() {
                // The library does not retry a request after an error of this kind.
                return Err(HttpError::new(HttpErrorKind::Unknown, Stopped));
            }
            self.client.execute(request).await
        })
    }
}
