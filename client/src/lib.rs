#![doc = include_str!("../README.md")]
#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests make the files that they need"))]

#[cfg(not(unix))]
compile_error!("lastmile-client needs a Unix system: it opens files without following links");

mod ahead;
#[cfg(test)]
mod api_tests;
pub mod blocking;
mod builder;
// What the program `lastmile` runs.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod clock;
#[cfg(feature = "http")]
mod decode;
mod directory;
// Shared with the repository tool.
#[doc(hidden)]
pub mod disk;
mod download;
mod driver;
mod error;
#[cfg(feature = "faults")]
#[doc(hidden)]
pub mod faults;
mod fetch;
mod file;
mod folder;
#[cfg(feature = "http")]
mod http;
mod large;
mod mirrors;
mod opening;
mod progress;
#[cfg(feature = "cli")]
mod repositories;
mod retry;
mod road;
mod session;
mod sink;
mod stamp;
mod store;
#[cfg(test)]
mod test_repository;
#[cfg(test)]
mod test_server;
#[cfg(feature = "http")]
mod tls;
mod updater;

pub use builder::UpdaterBuilder;
pub use bytes::Bytes;
pub use directory::DirectoryStore;
pub use error::{Error, LocalError, MirrorFailure, MirrorReason, NetworkError, Refusal, RefusedError};
#[doc(hidden)]
pub use fetch::url_of;
pub use fetch::{Fetch, FetchByScheme, FetchError, Response};
pub use file::FileFetch;
pub use futures_util::future::BoxFuture;
pub use futures_util::stream::BoxStream;
#[cfg(feature = "http")]
pub use http::{HttpFetch, HttpSettings, ProxyChoice};
// Shared with the repository tool.
#[doc(hidden)]
pub use lastmile_cli_support::text;
/// What metadata is and when to trust it.
pub use lastmile_metadata as metadata;
pub use progress::{Notice, Notify, Progress, Transfer};
pub use retry::Patience;
/// Where TLS gets its cryptography, for [`HttpFetch::with_provider`].
#[cfg(feature = "http")]
pub use rustls::crypto::CryptoProvider;
pub use session::Session;
pub use store::{MemoryStore, Store, StoreLock, StoredFile};
pub use updater::Updater;
