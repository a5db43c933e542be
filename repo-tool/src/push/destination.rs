//! A destination: the place from which a repository is served, such as the folder of a web server.

use std::fs::File;
use std::path::PathBuf;

use lastmile_client::BaseUrl;
use lastmile_metadata::{TargetFile, TargetNames};

use crate::invocation::LockWait;
use crate::served::transport::Transport;
use crate::{Error, PathError, PublicationError};

/// Reads and writes the objects of a destination. The name of an object is its path relative to the repository, such as
/// `metadata/timestamp.json`, and is not percent-encoded.
pub(crate) trait Destination: Send + Sync {
    fn url(&self) -> &BaseUrl;

    /// Returns a transport that reads the URLs below [`Destination::url`].
    fn transport(&self) -> Result<Transport, Error>;

    /// Takes the lock on the destination. If another process holds it, waits for at most `wait.at_most`.
    ///
    /// # Errors
    /// [`crate::PushError::Busy`] if another process holds the lock for too long.
    fn lock(&self, wait: &LockWait) -> Result<Box<dyn Lease>, Error>;

    /// Reads an object. Returns `None` if the object does not exist, and fails if the object is longer than `most`
    /// bytes.
    fn read(&self, name: &str, most: u64) -> Result<Option<Object>, Error>;

    /// Returns the length of an object in bytes, or `None` if it does not exist.
    fn length(&self, name: &str) -> Result<Option<u64>, Error>;

    /// Returns whether the object `name` is the file of `target`. If `names` is [`TargetNames::HashPrefixed`], the name
    /// identifies the content, so a destination may compare only the length. If `names` is [`TargetNames::Plain`] and
    /// the destination does not know the digest of the object, returns false.
    fn has_target(&self, name: &str, target: &TargetFile, names: TargetNames) -> Result<bool, Error>;

    /// Creates an object, or returns [`Written::Refused`] if it already exists. The default implementation is not
    /// atomic: it checks first and then writes, so only the lock keeps another process from writing in between.
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Written, Error> {
        if self.length(name)?.is_some() {
            return Ok(Written::Refused);
        }
        self.put(name, bytes).map(|()| Written::Done)
    }

    /// Replaces an object, or returns [`Written::Refused`] if it differs from `expected`. Like that of
    /// [`Destination::create`], the default implementation is not atomic.
    fn replace(&self, name: &str, bytes: &[u8], expected: &Object) -> Result<Written, Error> {
        if !expected.is_still_at(self, name)? {
            return Ok(Written::Refused);
        }
        self.put(name, bytes).map(|()| Written::Done)
    }

    /// Creates or replaces an object.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error>;

    /// Creates or replaces the file of a target. The object becomes visible only if its content matches the target.
    ///
    /// # Errors
    /// [`PublicationError::WrongTarget`] if the local file does not match the target.
    fn put_target(&self, name: &str, file: LocalTarget) -> Result<(), Error>;

    /// Removes an object if it exists.
    fn remove(&self, name: &str) -> Result<(), Error>;

    /// Removes an object. A destination may replace the object with an empty one instead. Leaves the object unchanged
    /// if another process has taken the lock and replaced the object.
    fn discard(&self, name: &str) -> Result<Written, Error> {
        self.remove(name).map(|()| Written::Done)
    }
}

/// The lock on a destination. Dropping this value releases the lock.
pub(crate) trait Lease: Send + Sync {
    /// Checks that this process still holds the lock. A push calls this before each write.
    ///
    /// # Errors
    /// [`crate::PushError::LeaseLost`] if another process may have taken the lock.
    fn check(&self) -> Result<(), Error>;
}

#[derive(Clone, Debug)]
#[cfg_attr(not(any(feature = "object-store", feature = "ssh")), expect(dead_code, reason = "folders have no tags"))]
pub(crate) struct Object {
    pub(crate) bytes: Vec<u8>,
    /// The entity tag, for a conditional replacement. `None` if the destination has no entity tags.
    pub(crate) e_tag: Option<String>,
    /// The version, if the destination has versions in addition to entity tags.
    pub(crate) version: Option<String>,
}

impl Object {
    /// Returns whether `other` is the same version of the same object.
    #[cfg(any(feature = "object-store", feature = "ssh"))]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.e_tag == other.e_tag && self.version == other.version && self.bytes == other.bytes
    }

    /// Returns whether the object `name` at `destination` still has the content of `self`.
    fn is_still_at<D: Destination + ?Sized>(&self, destination: &D, name: &str) -> Result<bool, Error> {
        match destination.read(name, self.bytes.len() as u64) {
            Err(Error::Path(PathError::TooLong { .. })) => Ok(false),
            there => Ok(there?.is_some_and(|there| there.bytes == self.bytes)),
        }
    }
}

/// The result of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Done,
    /// The condition was not met, so nothing was written.
    Refused,
}

/// An open target file in the repository's folder.
#[derive(Debug)]
pub(crate) struct LocalTarget {
    pub(crate) file: File,
    /// For messages.
    pub(crate) path: PathBuf,
    pub(crate) target: TargetFile,
}

impl LocalTarget {
    /// Passes the content of the file to `each` in parts, and checks that it matches the target.
    ///
    /// # Errors
    /// [`PublicationError::WrongTarget`] if it does not match. `each` may already have received
    /// some of the bytes.
    pub(crate) fn read(self, mut each: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        use std::io::Read as _;
        let Self { mut file, path, target } = self;
        let mut verifier = target.verifier();
        let mut part = vec![0; CHUNK_SIZE];
        loop {
            let count = file.read(&mut part).map_err(|error| Error::file("read", &path, error))?;
            let wrong =
                |error| PublicationError::WrongTarget { path: path.clone(), target: target.path.clone(), error };
            let Some(bytes) = part.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return Ok(verifier.finish().map_err(wrong)?);
            };
            verifier.update(bytes).map_err(wrong)?;
            each(bytes)?;
        }
    }
}

/// The maximum number of bytes in one read.
const CHUNK_SIZE: usize = 256 * 1024;
