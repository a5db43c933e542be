//! A destination in an object store: S3 and compatible stores, Google Cloud Storage, and Azure Blob Storage.
//!
//! Credentials never come from a URL or from the repository's folder; see
//! [`crate::push::credentials`]. They are removed from all error messages.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use lastmile_client::{BaseUrl, BoxFuture, Fetch, FetchError, Response};
use lastmile_metadata::{Algorithm, TargetFile, TargetNames};
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, Error as StoreError, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, UpdateVersion,
};
use percent_encoding::percent_decode_str;
use tokio::runtime::Runtime;

use crate::files::access::MAX_METADATA_LENGTH;
use crate::invocation::LockWait;
use crate::push::clock::Clock;
use crate::push::credentials::Secrets;
use crate::push::destination::{Destination, Lease, LocalTarget, Object, Written};
use crate::push::lease::{self, LOCK, MAX_LOCK_LENGTH, StoreLease};
use crate::push::settings::{StoreOptions, Writers};
use crate::push::write_guard::WriteGuard;
use crate::served::transport::Transport;
use crate::{Error, NetworkError, PathError, PushError, names};

/// The length of one part of a large object, in bytes. Shorter objects are uploaded with one request.
const PART_SIZE: usize = 8 << 20;
/// The object attribute that contains the SHA-256 of a target file in hexadecimal.
const DIGEST: Attribute = Attribute::Metadata(Cow::Borrowed("sha256"));
/// An entity tag that no object has. [`Store::probe`] uses it.
const NO_TAG: &str = "\"00000000000000000000000000000000\"";

pub(crate) struct Store {
    inner: Arc<Inner>,
    options: StoreOptions,
    /// Whether the store refuses writes whose condition is not met. Empty until the store has been tested.
    is_conditional: OnceLock<bool>,
}

struct Inner {
    url: BaseUrl,
    store: Arc<dyn ObjectStore>,
    prefix: String,
    secrets: Secrets,
    guard: WriteGuard,
    /// All requests run on this runtime, because the connections belong to it.
    runtime: Runtime,
}

impl Store {
    /// `prefix` is the path of the repository in the bucket of `store`. `guard` must be the guard that can stop the
    /// requests of `store`.
    pub(crate) fn new(
        url: &BaseUrl,
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        secrets: Secrets,
        guard: WriteGuard,
        options: &StoreOptions,
    ) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(NetworkError::Runtime)?;
        let inner = Inner { url: url.clone(), store, prefix: prefix.to_string(), secrets, guard, runtime };
        Ok(Self { inner: Arc::new(inner), options: options.clone(), is_conditional: OnceLock::new() })
    }

    /// Returns whether to send writes with conditions. Returns false once it is known that the store does not support
    /// conditions, or that only one machine pushes to the store.
    fn uses_conditions(&self) -> bool {
        self.is_conditional.get() != Some(&false)
    }

    /// Returns whether the store supports conditional writes. The store must refuse two requests: to create the lock
    /// object, which already exists, and to replace a version of the lock object that never existed.
    fn probe(&self) -> Result<bool, Error> {
        let content = b"probe";
        let inner = &self.inner;
        let wrong = UpdateVersion { e_tag: Some(NO_TAG.to_string()), version: Some("1".to_string()) };
        for mode in [PutMode::Create, PutMode::Update(wrong)] {
            match inner.write(LOCK, content, mode) {
                Ok(Written::Refused) => {}
                Ok(Written::Done) | Err(Failure::Unsupported) => return Ok(false),
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        Ok(true)
    }
}

enum Failure {
    /// The store does not support this kind of request.
    Unsupported,
    Other(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unsupported => Self::Failed("the store does not support conditional writes".to_string()),
            Failure::Other(error) => error,
        }
    }
}

impl Inner {
    fn key(&self, name: &str) -> Result<Key, Error> {
        let path = if self.prefix.is_empty() { name.to_string() } else { format!("{}/{name}", self.prefix) };
        // `Key::from` would encode some characters, so clients would not find the object.
        Key::parse(&path).map_err(|_| PathError::ForeignName { path: path.into() }.into())
    }

    fn failed(&self, error: &StoreError) -> Error {
        let text = self.secrets.hide(&crate::error::chain(error));
        NetworkError::Store { url: self.url.clone(), text }.into()
    }

    fn not_written(&self, error: &StoreError) -> Error {
        if self.guard.stops() { PushError::LeaseLost { url: self.url.clone() }.into() } else { self.failed(error) }
    }

    fn write(&self, name: &str, bytes: &[u8], mode: PutMode) -> Result<Written, Failure> {
        let payload = PutPayload::from_bytes(Bytes::copy_from_slice(bytes));
        self.write_with(name, payload, mode, attributes(name))
    }

    fn write_with(
        &self,
        name: &str,
        payload: PutPayload,
        mode: PutMode,
        attributes: Attributes,
    ) -> Result<Written, Failure> {
        let key = self.key(name).map_err(Failure::Other)?;
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        // `NotFound` means that the object to replace does not exist. For other writes, it means
        // that the bucket does not exist.
        let needs_object = matches!(options.mode, PutMode::Update(_));
        match self.runtime.block_on(self.store.put_opts(&key, payload, options)) {
            Ok(_) => Ok(Written::Done),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(Written::Refused),
            Err(StoreError::NotFound { .. }) if needs_object => Ok(Written::Refused),
            Err(StoreError::NotImplemented { .. } | StoreError::NotSupported { .. }) => Err(Failure::Unsupported),
            Err(error) => Err(Failure::Other(self.not_written(&error))),
        }
    }

    /// Like [`Inner::write`], but if the store refuses the write although the object already has the new content,
    /// returns [`Written::Done`]. The library causes such a refusal if the reply to a successful request is lost: it
    /// repeats the request, and the store refuses the repetition.
    fn write_once(&self, name: &str, bytes: &[u8], mode: PutMode) -> Result<Written, Error> {
        let written = self.write(name, bytes, mode)?;
        if written == Written::Done {
            return Ok(written);
        }
        let there = match self.read(name, bytes.len() as u64) {
            Err(Error::Path(PathError::TooLong { .. })) => None,
            there => there?,
        };
        Ok(if there.is_some_and(|there| there.bytes == bytes) { Written::Done } else { Written::Refused })
    }

    fn read(&self, name: &str, most: u64) -> Result<Option<Object>, Error> {
        let key = self.key(name)?;
        let read = self.runtime.block_on(async {
            let found = self.store.get(&key).await?;
            let meta = found.meta.clone();
            if meta.size > most {
                return Ok((meta, None));
            }
            Ok::<_, StoreError>((meta, Some(found.bytes().await?)))
        });
        match read {
            Ok((meta, Some(bytes))) => {
                let tag = UpdateVersion { e_tag: meta.e_tag, version: meta.version };
                Ok(Some(Object { bytes: bytes.to_vec(), e_tag: tag.e_tag, version: tag.version }))
            }
            Ok((_, None)) => Err(PathError::TooLong { path: name.into(), most }.into()),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Uploads a target in several parts. The object becomes visible only after all parts have been
    /// verified.
    fn put_in_parts(&self, name: &str, target: LocalTarget) -> Result<(), Error> {
        let key = self.key(name)?;
        let attributes = target_attributes(name, &target.target);
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let started = self.runtime.block_on(self.store.put_multipart_opts(&key, options));
        let mut upload = started.map_err(|error| self.not_written(&error))?;
        let mut part = Vec::with_capacity(PART_SIZE);
        let mut send = |part: &mut Vec<u8>| {
            let payload = PutPayload::from_bytes(Bytes::from(std::mem::take(part)));
            self.runtime.block_on(upload.put_part(payload)).map_err(|error| self.not_written(&error))
        };
        let sent = target.read(|bytes| {
            part.extend_from_slice(bytes);
            if part.len() < PART_SIZE { Ok(()) } else { send(&mut part) }
        });
        let sent = sent.and_then(|()| if part.is_empty() { Ok(()) } else { send(&mut part) });
        if let Err(error) = sent {
            let _ = self.runtime.block_on(upload.abort());
            return Err(error);
        }
        let completed = self.runtime.block_on(upload.complete());
        completed.map(drop).map_err(|error| self.not_written(&error))
    }
}

/// Returns the HTTP headers with which an object is served.
fn attributes(name: &str) -> Attributes {
    let mut attributes = Attributes::new();
    let is_json = name.ends_with(".json");
    let kind = if is_json { "application/json" } else { "application/octet-stream" };
    attributes.insert(Attribute::ContentType, kind.into());
    let file = name.strip_prefix("metadata/").unwrap_or_default();
    if name == LOCK {
        attributes.insert(Attribute::CacheControl, "no-store".into());
    } else if is_json && !file.is_empty() && !names::has_version(file) {
        attributes.insert(Attribute::CacheControl, "max-age=60".into());
    }
    attributes
}

/// Like [`attributes`], but adds the digest of the target. This is also the digest of the object, because the object
/// becomes visible only if its content matches the target.
fn target_attributes(name: &str, target: &TargetFile) -> Attributes {
    let mut attributes = attributes(name);
    if let Some(digest) = digest(target) {
        attributes.insert(DIGEST, digest.into());
    }
    attributes
}

/// Returns the SHA-256 of a target in hexadecimal, if the metadata lists one.
fn digest(target: &TargetFile) -> Option<String> {
    let (_, digest) = target.hashes.known().find(|(algorithm, _)| *algorithm == Algorithm::Sha256)?;
    Some(hex::encode(digest))
}

impl Destination for Store {
    fn url(&self) -> &BaseUrl {
        &self.inner.url
    }

    fn transport(&self) -> Result<Transport, Error> {
        Ok(Transport::new(StoreFetch(Arc::clone(&self.inner))))
    }

    fn lock(&self, wait: &LockWait) -> Result<Box<dyn Lease>, Error> {
        if self.options.writers == Writers::Single {
            let _ = self.is_conditional.set(false);
            return Ok(Box::new(NoLease));
        }
        let lock = StoreLease::take(self.lock_object(), self.options.lease, wait, Clock::of_system())?;
        self.inner.guard.require(lock.validity());
        let supports = self.probe()?;
        let _ = self.is_conditional.set(supports);
        if !supports {
            return Err(PushError::NoConditions { url: self.url().clone() }.into());
        }
        Ok(Box::new(lock))
    }

    fn read(&self, name: &str, most: u64) -> Result<Option<Object>, Error> {
        self.inner.read(name, most)
    }

    fn length(&self, name: &str) -> Result<Option<u64>, Error> {
        let inner = &self.inner;
        let key = inner.key(name)?;
        match inner.runtime.block_on(inner.store.head(&key)) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(inner.failed(&error)),
        }
    }

    fn has_target(&self, name: &str, target: &TargetFile, names: TargetNames) -> Result<bool, Error> {
        // A name with a hash prefix identifies the content.
        if names == TargetNames::HashPrefixed {
            return Ok(self.length(name)? == Some(target.length));
        }
        // A plain name does not identify the content. Therefore a push stores the digest as an attribute of the object.
        // If another program replaces the content, it also replaces the attributes, so the digest never describes
        // earlier content.
        let inner = &self.inner;
        let options = GetOptions { head: true, ..GetOptions::default() };
        match inner.runtime.block_on(inner.store.get_opts(&inner.key(name)?, options)) {
            Ok(found) => {
                let stored = found.attributes.get(&DIGEST).map(AsRef::as_ref);
                Ok(found.meta.size == target.length && stored.is_some() && stored == digest(target).as_deref())
            }
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(inner.failed(&error)),
        }
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<Written, Error> {
        let mode = if self.uses_conditions() { PutMode::Create } else { PutMode::Overwrite };
        self.inner.write_once(name, bytes, mode)
    }

    fn replace(&self, name: &str, bytes: &[u8], expected: &Object) -> Result<Written, Error> {
        let version = UpdateVersion { e_tag: expected.e_tag.clone(), version: expected.version.clone() };
        let mode = if self.uses_conditions() { PutMode::Update(version) } else { PutMode::Overwrite };
        self.inner.write_once(name, bytes, mode)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.inner.write(name, bytes, PutMode::Overwrite).map(drop)?)
    }

    fn put_target(&self, name: &str, file: LocalTarget) -> Result<(), Error> {
        if file.target.length > PART_SIZE as u64 {
            return self.inner.put_in_parts(name, file);
        }
        let attributes = target_attributes(name, &file.target);
        let mut content = Vec::new();
        file.read(|bytes| {
            content.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(self.inner.write_with(name, PutPayload::from(content), PutMode::Overwrite, attributes).map(drop)?)
    }

    fn discard(&self, name: &str) -> Result<Written, Error> {
        // Stores support conditional replacements, but no conditional removals. Therefore replace the object with an
        // empty one.
        let Some(found) = self.read(name, MAX_METADATA_LENGTH)? else { return Ok(Written::Done) };
        self.replace(name, b"", &found)
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let inner = &self.inner;
        let key = inner.key(name)?;
        match inner.runtime.block_on(inner.store.delete(&key)) {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(inner.not_written(&error)),
        }
    }
}

impl Store {
    fn lock_object(&self) -> Arc<dyn lease::LockObject> {
        Arc::new(StoreLock(Arc::clone(&self.inner)))
    }
}

struct StoreLock(Arc<Inner>);

impl lease::LockObject for StoreLock {
    fn url(&self) -> &BaseUrl {
        &self.0.url
    }

    fn read(&self) -> Result<Option<Object>, Error> {
        self.0.read(LOCK, MAX_LOCK_LENGTH)
    }

    fn create(&self, bytes: &[u8]) -> Result<Written, Error> {
        Ok(self.0.write(LOCK, bytes, PutMode::Create)?)
    }

    fn replace(&self, bytes: &[u8], expected: &Object) -> Result<Written, Error> {
        let version = UpdateVersion { e_tag: expected.e_tag.clone(), version: expected.version.clone() };
        Ok(self.0.write(LOCK, bytes, PutMode::Update(version))?)
    }
}

/// A lock that does nothing, for a destination to which only one machine pushes according to the
/// user's configuration.
struct NoLease;

impl Lease for NoLease {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

struct StoreFetch(Arc<Inner>);

impl Fetch for StoreFetch {
    fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let inner = Arc::clone(&self.0);
        let name = url.strip_prefix(inner.url.as_str()).map(|name| percent_decode_str(name).decode_utf8_lossy());
        let key = name.and_then(|name| inner.key(&name).ok()).ok_or_else(|| FetchError::Url(url.to_string()));
        let fetched = self.0.runtime.spawn(async move {
            let range = (offset > 0).then_some(GetRange::Offset(offset));
            let options = GetOptions { range, ..GetOptions::default() };
            match inner.store.get_opts(&key?, options).await {
                Ok(found) => {
                    let secrets = inner.secrets.clone();
                    let failed = move |error| FetchError::Cut(secrets.hide(&crate::error::chain(&error)));
                    Ok(Response { offset, body: found.into_stream().map_err(failed).boxed() })
                }
                Err(StoreError::NotFound { .. }) => Err(FetchError::NotFound),
                Err(error) => Err(FetchError::Io(inner.secrets.hide(&crate::error::chain(&error)))),
            }
        });
        Box::pin(async move { fetched.await.unwrap_or_else(|error| Err(FetchError::Io(error.to_string()))) })
    }
}
