//! The hashes that metadata lists for files (TUF specification 4.4, 4.5, 5.7), and a streaming verifier.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::canonical;
use crate::reader::Reader;
use crate::{ErrorKind, Json};

/// A supported hash algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-256, which every TUF implementation supports.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Returns the name of the algorithm in metadata.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the length of a digest, in bytes.
    #[must_use]
    pub fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Describes the form of a digest in metadata, for error messages.
    fn digits(self) -> &'static str {
        match self {
            Self::Sha256 => "64 hexadecimal digits",
            Self::Sha384 => "96 hexadecimal digits",
            Self::Sha512 => "128 hexadecimal digits",
        }
    }

    /// Returns the algorithm with this name, if it is supported.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha384, Self::Sha512].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// The hashes of a file. There is at least one hash. Hashes of unknown algorithms are preserved, but not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashes {
    known: [Option<Digest>; 3],
    unknown: BTreeMap<String, Json>,
}

/// Stored without an allocation, because a role may list millions of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digest {
    algorithm: Algorithm,
    bytes: [u8; 64],
}

impl Digest {
    fn new(algorithm: Algorithm, digest: &[u8]) -> Option<Self> {
        let mut bytes = [0; 64];
        bytes.get_mut(..algorithm.length()).filter(|bytes| bytes.len() == digest.len())?.copy_from_slice(digest);
        Some(Self { algorithm, bytes })
    }

    fn read(algorithm: Algorithm, hexadecimal: &str) -> Option<Self> {
        let mut bytes = [0; 64];
        hex::decode_to_slice(hexadecimal, bytes.get_mut(..algorithm.length())?).ok()?;
        Some(Self { algorithm, bytes })
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.algorithm.length()).unwrap_or_default()
    }
}

impl Hashes {
    /// Computes the hashes of `bytes`. Returns `None` if `algorithms` is empty.
    #[must_use]
    pub fn of(bytes: &[u8], algorithms: &[Algorithm]) -> Option<Self> {
        let mut hashing = Hashing::new(algorithms.iter().copied());
        hashing.update(bytes);
        Self::new(hashing.finish())
    }

    /// Creates hashes from digests. Returns `None` if there are no digests, or if a digest has the wrong length.
    #[must_use]
    pub fn new(digests: impl IntoIterator<Item = (Algorithm, Vec<u8>)>) -> Option<Self> {
        let mut hashes = Self { known: [None; 3], unknown: BTreeMap::new() };
        for (algorithm, digest) in digests {
            hashes.set(Digest::new(algorithm, &digest)?);
        }
        hashes.is_usable().then_some(hashes)
    }

    /// Returns each digest whose algorithm is supported, with the algorithm.
    pub fn known(&self) -> impl Iterator<Item = (Algorithm, &[u8])> {
        self.known.iter().flatten().map(|digest| (digest.algorithm, digest.bytes()))
    }

    /// Returns the name and the value of each listed hash whose algorithm is not supported.
    pub fn unknown(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.unknown.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Returns the hexadecimal digests that consistent snapshots use as file name prefixes (TUF specification 6.2.1),
    /// shortest first.
    pub fn prefixes(&self) -> impl Iterator<Item = String> {
        self.known().map(|(_, digest)| hex::encode(digest))
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, ErrorKind> {
        let mut hashes = Self { known: [None; 3], unknown: BTreeMap::new() };
        Self::members(reader, |name, algorithm, value| match algorithm.map(|known| Digest::read(known, value)) {
            Some(digest) => digest.into_iter().for_each(|digest| hashes.set(digest)),
            None => drop(hashes.unknown.insert(name.to_string(), Json::from_canonical(value))),
        })?;
        Ok(hashes)
    }

    /// Checks hashes without storing them. Fails exactly when [`Hashes::read`] fails.
    pub(crate) fn check(reader: &mut Reader<'_>) -> Result<(), ErrorKind> {
        Self::members(reader, |_, _, _| {})
    }

    /// Calls `member` with the name and the value of each member. For a known algorithm, the value consists of
    /// hexadecimal digits. For an unknown algorithm, it is canonical JSON.
    fn members(
        reader: &mut Reader<'_>,
        mut member: impl FnMut(&str, Option<Algorithm>, &str),
    ) -> Result<(), ErrorKind> {
        let mut is_empty = true;
        reader.object(|name, value| {
            is_empty = false;
            // POUF A15: hashes of unknown algorithms are ignored.
            let Some(algorithm) = Algorithm::named(name) else {
                member(name, None, value.skip()?);
                return Ok(());
            };
            let start = value.position();
            let digits = value.string()?;
            // The loop has no early exit, so the compiler can vectorize it.
            let hexadecimal = digits.bytes().fold(true, |all, byte| all & byte.is_ascii_hexdigit());
            if !hexadecimal || digits.len() != 2 * algorithm.length() {
                return Err(value.expected_at(start, algorithm.digits()));
            }
            member(name, Some(algorithm), &digits);
            Ok(())
        })?;
        // Spec 4.4: at least one hash is required.
        if is_empty { Err(ErrorKind::expected("at least one hash")) } else { Ok(()) }
    }

    pub(crate) fn write(&self) -> String {
        let known = self.known().map(|(algorithm, digest)| (algorithm.name(), canonical::string(&hex::encode(digest))));
        canonical::object(known, &self.unknown)
    }

    /// Returns whether at least one hash has a known algorithm. Otherwise, no file can be verified with these hashes.
    pub(crate) fn is_usable(&self) -> bool {
        self.known().next().is_some()
    }

    fn set(&mut self, digest: Digest) {
        if let Some(place) = self.known.get_mut(digest.algorithm as usize) {
            *place = Some(digest);
        }
    }

    pub(crate) fn verifier(&self, length: Option<u64>) -> HashingVerifier {
        let hashing = Hashing::new(self.known().map(|(algorithm, _)| algorithm));
        HashingVerifier { expected: self.clone(), hashing, length, received: 0 }
    }
}

/// The reason why a file does not match its listed length and hashes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The length of the file differs from the listed length.
    #[error("has {found} bytes, expected {expected}")]
    Length {
        /// The listed length, in bytes.
        expected: u64,
        /// The number of bytes received. This may be less than the length of the file, because verification stops as
        /// soon as the file is too long.
        found: u64,
    },
    /// A hash of the file differs from the listed hash.
    #[error("{algorithm} is {found}, expected {expected}")]
    Hash {
        /// The name of the algorithm.
        algorithm: &'static str,
        /// The listed hash, in hexadecimal.
        expected: String,
        /// The hash of the received file, in hexadecimal.
        found: String,
    },
    /// No hash of a supported algorithm is listed.
    #[error("no supported hash is listed")]
    NoSupportedHash,
}

impl From<FileError> for ErrorKind {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Length { expected, found } => Self::LengthMismatch { expected, found },
            FileError::Hash { algorithm, expected, found } => Self::HashMismatch { algorithm, expected, found },
            FileError::NoSupportedHash => Self::NoSupportedHash("the file".to_string()),
        }
    }
}

/// Verifies a file, part by part, against its listed length and against every listed hash of a known algorithm (TUF
/// specification 5.7.3).
#[derive(Clone)]
pub struct HashingVerifier {
    expected: Hashes,
    hashing: Hashing,
    length: Option<u64>,
    received: u64,
}

impl HashingVerifier {
    /// Processes the next bytes of the file.
    ///
    /// # Errors
    /// [`FileError::Length`] as soon as the file is longer than its listed length.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.received = self.received.saturating_add(bytes.len() as u64);
        match self.length {
            Some(expected) if self.received > expected => Err(FileError::Length { expected, found: self.received }),
            _ => {
                self.hashing.update(bytes);
                Ok(())
            }
        }
    }

    /// Returns the number of bytes processed so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Finishes the verification of the file.
    ///
    /// # Errors
    /// [`FileError`] if the length or a hash differs from the listed value, or if no hash of a supported algorithm is
    /// listed.
    pub fn finish(self) -> Result<(), FileError> {
        if !self.expected.is_usable() {
            return Err(FileError::NoSupportedHash);
        }
        if let Some(expected) = self.length.filter(|length| *length != self.received) {
            return Err(FileError::Length { expected, found: self.received });
        }
        let found = self.hashing.finish();
        let pairs = self.expected.known().zip(&found);
        match pairs.into_iter().find(|((_, expected), (_, found))| expected != found) {
            None => Ok(()),
            Some(((algorithm, expected), (_, found))) => Err(FileError::Hash {
                algorithm: algorithm.name(),
                expected: hex::encode(expected),
                found: hex::encode(found),
            }),
        }
    }
}

/// Computes several digests of the same bytes.
#[derive(Clone)]
struct Hashing(Vec<Hasher>);

#[derive(Clone)]
enum Hasher {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hashing {
    fn new(algorithms: impl Iterator<Item = Algorithm>) -> Self {
        let hasher = |algorithm| match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha384 => Hasher::Sha384(Sha384::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        };
        Self(algorithms.map(hasher).collect())
    }

    fn update(&mut self, bytes: &[u8]) {
        for hasher in &mut self.0 {
            match hasher {
                Hasher::Sha256(hasher) => hasher.update(bytes),
                Hasher::Sha384(hasher) => hasher.update(bytes),
                Hasher::Sha512(hasher) => hasher.update(bytes),
            }
        }
    }

    fn finish(self) -> Vec<(Algorithm, Vec<u8>)> {
        let digest = |hasher| match hasher {
            Hasher::Sha256(hasher) => (Algorithm::Sha256, hasher.finalize().to_vec()),
            Hasher::Sha384(hasher) => (Algorithm::Sha384, hasher.finalize().to_vec()),
            Hasher::Sha512(hasher) => (Algorithm::Sha512, hasher.finalize().to_vec()),
        };
        self.0.into_iter().map(digest).collect()
    }
}

#[cfg(test)]
#[path = "hashes_tests.rs"]
mod tests;
