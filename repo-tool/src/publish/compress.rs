//! Metadata that lies beside itself compressed, for servers that send it so (`Content-Encoding`) to whoever accepts that.
//!
//! The plain file is the truth: what clients trust is listed, hashed and signed as it is there. A compressed copy says
//! the same or is not there; [`crate::publish::transaction`] sees to that.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// A way to compress metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// All of them, the better ones first.
    pub const ALL: [Self; 2] = [Self::Zstd, Self::Gzip];

    /// In the configuration, and in HTTP (RFC 9110, 8.4.1).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The coding of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|coding| coding.name() == name)
    }

    /// What follows the name of the plain file, after a dot.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
        }
    }

    /// Where the copy of a file lies that is compressed so.
    #[must_use]
    pub fn beside(self, plain: &Path) -> PathBuf {
        let mut name = OsString::from(plain);
        name.push(".");
        name.push(self.ending());
        name.into()
    }

    /// These bytes, compressed.
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

    /// Whether `compressed` decodes to exactly `plain`; no more of it is decoded than that.
    pub(crate) fn is_copy(self, compressed: &[u8], plain: &[u8]) -> bool {
        let (mut decoded, most) = (Vec::new(), plain.len() as u64 + 1);
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
    fn what_is_compressed_decodes_to_the_same_and_to_nothing_else() {
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
