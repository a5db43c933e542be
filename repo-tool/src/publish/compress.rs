//! Compressed copies of metadata files, for servers that can send them with `Content-Encoding`.
//!
//! The uncompressed file is authoritative: lengths, hashes and signatures refer to it. [`crate::publish::transaction`]
//! ensures that a compressed copy either matches the uncompressed file or does not exist.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// A compression format for copies of metadata files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coding {
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Coding {
    /// All supported codings, from the best compression to the worst.
    pub const ALL: [Self; 2] = [Self::Zstd, Self::Gzip];

    /// Returns the name of the coding in `repo.toml` and in HTTP headers (RFC 9110, 8.4.1).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Returns the coding that is called `name` in `repo.toml`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|coding| coding.name() == name)
    }

    /// Returns the file name extension, without the dot.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
        }
    }

    /// Returns the path of the compressed copy of the file `plain`.
    #[must_use]
    pub fn beside(self, plain: &Path) -> PathBuf {
        let mut name = OsString::from(plain);
        name.push(".");
        name.push(self.ending());
        name.into()
    }

    pub(crate) fn encode(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Self::Zstd => Ok(compress_to_vec(bytes, CompressionLevel::Fastest)),
        }
    }

    /// Returns whether `compressed` decompresses to exactly `plain`. Decompresses at most one byte more than the length
    /// of `plain`.
    pub(crate) fn is_copy(self, compressed: &[u8], plain: &[u8]) -> bool {
        let mut decoded = Vec::new();
        let most = plain.len() as u64 + 1;
        let read = match self {
            Self::Gzip => GzDecoder::new(compressed).take(most).read_to_end(&mut decoded),
            Self::Zstd => match StreamingDecoder::new(compressed) {
                Ok(decoder) => decoder.take(most).read_to_end(&mut decoded),
                Err(_) => return false,
            },
        };
        read.is_ok() && decoded == plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_bytes_decode_only_to_the_original() {
        let text = br#"{"bin-0000.json":{"version":1},"bin-0001.json":{"version":1}}"#.repeat(2000);
        for plain in [&b""[..], b"{}", &text] {
            for coding in Coding::ALL {
                let compressed = coding.encode(plain).unwrap();
                assert!(coding.is_copy(&compressed, plain));
                assert!(!coding.is_copy(&compressed, &[plain, b" "].concat()));
                assert!(plain.is_empty() || !coding.is_copy(&compressed, &plain[1..]));
                assert!(!coding.is_copy(&compressed[..compressed.len() / 2], plain));
                assert!(plain.len() < 1000 || compressed.len() < plain.len() / 4, "{coding:?} {}", compressed.len());
            }
        }
    }
}
