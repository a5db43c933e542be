//! The common parts of the four kinds of roles (TUF specification 4.3 to 4.6).

pub(crate) mod delegations;
mod pattern_index;
pub(crate) mod root;
pub(crate) mod router;
pub(crate) mod snapshot;
pub(crate) mod targets;
pub(crate) mod timestamp;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::ops::DerefMut;

use chrono::{DateTime, Utc};

use crate::canonical;
use crate::error::quote;
use crate::reader::Reader;
use crate::{ErrorKind, KeyRing, Unknown, Version, format_time, parse_time};

/// The version of the specification that this crate implements and writes into metadata.
pub const SPEC_VERSION: &str = "1.0.34";

/// The content of `signed` in one of the four kinds of metadata: [`Root`](crate::Root),
/// [`Timestamp`](crate::Timestamp), [`Snapshot`](crate::Snapshot) or [`Targets`](crate::Targets).
pub trait Role: Sized + DerefMut<Target = Header> + sealed::Sealed {
    /// The value of `_type`.
    const TYPE: &'static str;

    /// Returns the canonical form of `signed`.
    fn write(&self) -> String;

    /// Reads the canonical form of `signed` at the position of `reader`, which must be a reader of `text`.
    #[doc(hidden)]
    fn read(reader: &mut Reader<'_>, text: &Arc<String>) -> Result<Self, ErrorKind>;

    /// Returns the keys and the threshold that this metadata lists for its own role. Only a root lists them: a
    /// threshold of its own keys must sign it, in addition to a threshold of the previous root's keys (TUF
    /// specification 5.3.4).
    #[doc(hidden)]
    fn own_key_ring(&self) -> Result<Option<KeyRing>, ErrorKind> {
        Ok(None)
    }
}

mod sealed {
    pub trait Sealed {}
}

/// The members that all roles have. Each role dereferences to its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version of the specification to which the metadata conforms.
    pub spec_version: String,
    /// The version of the metadata.
    pub version: Version,
    /// The time at which the metadata expires.
    pub expires: DateTime<Utc>,
    /// Members of the role that this crate does not know. They are preserved when the metadata is written.
    pub unknown: Unknown,
}

impl Header {
    /// Creates the header of new metadata, with [`SPEC_VERSION`] as the version of the specification.
    #[must_use]
    pub fn new(version: Version, expires: DateTime<Utc>) -> Self {
        Self { spec_version: SPEC_VERSION.to_string(), version, expires, unknown: Unknown::new() }
    }

    /// Returns the canonical form of `signed`. `own` contains the members that only the role type `R` has.
    fn write<'m, R: Role>(&'m self, own: impl IntoIterator<Item = (&'m str, String)>) -> String {
        let members = [
            ("_type", canonical::string(R::TYPE)),
            ("spec_version", canonical::string(&self.spec_version)),
            ("version", self.version.to_string()),
            ("expires", canonical::string(&format_time(&self.expires))),
        ];
        canonical::object(members.into_iter().chain(own), &self.unknown)
    }
}

/// Implements the private trait `Sealed` for one of the four role types, and makes the type dereference to its header.
macro_rules! has_header {
    ($role:ty) => {
        impl crate::role::sealed::Sealed for $role {}

        impl core::ops::Deref for $role {
            type Target = Header;

            fn deref(&self) -> &Header {
                &self.header
            }
        }

        impl core::ops::DerefMut for $role {
            fn deref_mut(&mut self) -> &mut Header {
                &mut self.header
            }
        }
    };
}
use has_header;

/// The members of a header that have been read so far.
#[derive(Default)]
struct HeaderFields {
    spec_version: Option<String>,
    version: Option<Version>,
    expires: Option<DateTime<Utc>>,
    typed: bool,
    unknown: Unknown,
}

impl HeaderFields {
    /// Reads a member of the header, or an unknown member.
    fn member<R: Role>(&mut self, name: &str, value: &mut Reader<'_>) -> Result<(), ErrorKind> {
        match name {
            "_type" => {
                let found = value.string()?;
                // Spec 4.2.1: the type must be the type of the expected role.
                if found != R::TYPE {
                    return Err(ErrorKind::WrongType { expected: R::TYPE, found: quote(&found) });
                }
                self.typed = true;
            }
            "spec_version" => {
                let found = value.string()?;
                // Spec 4.3: metadata for an unknown major version of the specification is refused.
                if !is_supported(&found) {
                    return Err(ErrorKind::UnsupportedSpecVersion(quote(&found)));
                }
                self.spec_version = Some(found.into_owned());
            }
            "version" => self.version = Some(read_version(value)?),
            "expires" => self.expires = Some(parse_time(&value.string()?)?),
            _ => value.keep(name, &mut self.unknown)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<Header, ErrorKind> {
        if !self.typed {
            return Err(ErrorKind::missing("_type"));
        }
        let spec_version = self.spec_version.ok_or_else(|| ErrorKind::missing("spec_version"))?;
        let version = self.version.ok_or_else(|| ErrorKind::missing("version"))?;
        let expires = self.expires.ok_or_else(|| ErrorKind::missing("expires"))?;
        Ok(Header { spec_version, version, expires, unknown: self.unknown })
    }
}

/// Reads a version, which is an integer from 1 to 2⁶³−1 (TUF specification 4.3, POUF A16).
fn read_version(reader: &mut Reader<'_>) -> Result<Version, ErrorKind> {
    let start = reader.position();
    let number = reader.unsigned().ok();
    number.and_then(Version::new).ok_or_else(|| reader.expected_at(start, "a version from 1 to 2^63-1"))
}

/// Returns whether the major version of the specification is supported (TAP 6, POUF A19). Repositories use `1`, `1.0`
/// and forms like `1.0.34`.
fn is_supported(spec_version: &str) -> bool {
    let mut parts = spec_version.split('.');
    let number = |part: &str| !part.is_empty() && part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.next() == Some("1") && parts.clone().count() <= 2 && parts.all(number)
}
