//! Network access: transports, mirrors, retries and prefetching.

pub(crate) mod attempt;
pub(crate) mod base_url;
#[cfg(feature = "http")]
pub(crate) mod caches;
#[cfg(feature = "http")]
pub(crate) mod decode;
pub(crate) mod fetch;
pub(crate) mod file;
#[cfg(feature = "http")]
pub(crate) mod http;
pub(crate) mod mirrors;
#[cfg(feature = "http")]
pub(crate) mod post;
pub(crate) mod prefetch;
#[cfg(feature = "http")]
pub(crate) mod proxy;
pub(crate) mod retry;
pub(crate) mod scheme;
#[cfg(feature = "http")]
mod tls;
