//! Everything that reaches a network or a mirror: transports, mirrors, retries, and requests made ahead.

#[cfg(feature = "http")]
pub(crate) mod decode;
pub(crate) mod fetch;
pub(crate) mod file;
#[cfg(feature = "http")]
pub(crate) mod http;
pub(crate) mod mirrors;
pub(crate) mod prefetch;
pub(crate) mod retry;
#[cfg(feature = "http")]
mod tls;
