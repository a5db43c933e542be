#![doc = include_str!("../README.md")]
#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests create the files that they need"))]

#[cfg(not(unix))]
compile_error!("lastmile-client needs a Unix system: it opens files without following links");

#[cfg(test)]
mod api_tests;
pub mod blocking;
mod builder;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod clock;
mod download;
mod driver;
mod error;
mod event;
#[cfg(feature = "attest")]
mod judge;
mod net;
mod open_directory;
mod policies;
mod search;
mod session;
mod start;
mod store;
mod target;
#[cfg(test)]
mod test_repository;
#[cfg(test)]
mod test_server;
mod update_context;
mod updater;

pub use builder::UpdaterBuilder;
pub use bytes::Bytes;
pub use error::{Error, LocalError, MirrorFailure, MirrorReason, NetworkError, Refusal, RefusedError};
pub use event::{Event, EventSink, Progress, Transfer};
pub use futures_util::future::BoxFuture;
pub use futures_util::stream::BoxStream;
/// The crate that evaluates evidence against policies.
#[cfg(feature = "attest")]
pub use lastmile_attest as attest;
pub use net::base_url::{BaseUrl, BaseUrlError, BaseUrlProblem, FileUrl};
#[cfg(feature = "http")]
pub use net::caches::{CacheReport, CacheReports};
pub use net::fetch::{Fetch, FetchError, Response, TlsProblem};
pub use net::file::FileFetch;
#[cfg(feature = "http")]
pub use net::http::{HttpFetch, HttpSettings};
#[cfg(feature = "http")]
#[doc(hidden)]
pub use net::post::{PostUrl, post_json};
#[cfg(feature = "http")]
pub use net::proxy::{ProxyChoice, ProxyVariables};
pub use net::scheme::FetchByScheme;
// The repository tool uses this module.
#[doc(hidden)]
pub use lastmile_cli_support::text;
/// The metadata formats and their verification.
pub use lastmile_metadata as metadata;
pub use net::retry::RetryPolicy;
#[cfg(feature = "attest")]
pub use policies::Approve;
/// The type of the cryptography provider that [`HttpFetch::with_provider`] takes, re-exported from rustls.
#[cfg(feature = "http")]
pub use rustls::crypto::CryptoProvider;
pub use session::Session;
pub use store::directory::DirectoryStore;
pub use store::memory::MemoryStore;
pub use store::{LockKind, Store, StoreLock, StoredFile};
pub use target::Target;
pub use update_context::Unreachable;
pub use updater::Updater;
