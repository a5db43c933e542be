//! Errors in configuration files.

use lastmile_client::BaseUrlError;
use lastmile_client::text::printable;

use crate::user::RootDigest;

/// What is wrong with `repo.toml` or with the user's configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// The file is not TOML, lacks an entry, or has an unknown one.
    #[error("{text}")]
    Toml {
        /// What the parser says, with the line.
        text: String,
    },
    /// A role has an entry in `[roles]` and in `[delegations]`.
    #[error("role `{}` occurs twice", printable(role))]
    RoleTwice {
        /// The role.
        role: String,
    },
    /// A top-level role has no entry.
    #[error("[roles.{role}] is missing")]
    RoleMissing {
        /// The role.
        role: &'static str,
    },
    /// A role has a threshold or a lifetime of 0.
    #[error("role `{}`: threshold and expires_days are at least 1", printable(role))]
    Zero {
        /// The role.
        role: String,
    },
    /// A role would be renewed as soon as it is signed.
    #[error("role `{}`: renew_days must be less than expires_days", printable(role))]
    RenewDays {
        /// The role.
        role: String,
    },
    /// A role has a key that is not a URI.
    #[error("role `{}`: {error}", printable(role))]
    Key {
        /// The role.
        role: String,
        /// The text.
        error: InvalidKeyUri,
    },
    /// No hash algorithm is chosen.
    #[error("`hashes` lists no algorithm")]
    NoHash,
    /// A hash algorithm is unknown.
    #[error("hash `{}` is not one of sha256, sha384, sha512", printable(name))]
    Hash {
        /// Its name.
        name: String,
    },
    /// A pattern of immutable names matches no target path.
    #[error("`immutable`: the pattern `{}` matches nothing", printable(pattern))]
    Immutable {
        /// The pattern.
        pattern: String,
    },
    /// A content coding is unknown.
    #[error("coding `{}` is not one of gzip, zstd", printable(name))]
    Coding {
        /// Its name.
        name: String,
    },
    /// A content coding is listed twice.
    #[error("`compress` lists `{}` twice", printable(name))]
    CodingTwice {
        /// Its name.
        name: String,
    },
    /// The user's configuration has a pinned root that is not valid.
    #[error("[repositories.{repository}] pinned-root must have a version and the sha256 of that root")]
    PinnedRoot {
        /// The digest of the oldest root of the repository.
        repository: RootDigest,
    },
    /// The user's configuration has a folder whose repository is not a valid digest.
    #[error("repository must be the sha256 of a root")]
    Repository,
    /// The user's configuration has a metadata URL that is not a string.
    #[error("metadata-url must be a string")]
    MetadataUrl,
    /// The user's configuration has a metadata URL that cannot be used.
    #[error("metadata-url: {0}")]
    InvalidMetadataUrl(BaseUrlError),
    /// The user's configuration has keys that are not a list.
    #[error("keys must be a list of files")]
    KeyList,
    /// The user's configuration has a group that is neither a name nor a number.
    #[error("shared-with-group must be the name or number of a group")]
    Group,
    /// The user's configuration names a group that this machine does not know.
    #[error("shared-with-group: there is no group `{}` on this machine", printable(group))]
    NoSuchGroup {
        /// Its name.
        group: String,
    },
    /// A section of the user's configuration is not a table of tables.
    #[error("[{section}] must be a table of tables")]
    NoTable {
        /// The name of the section.
        section: &'static str,
    },
}

/// A text is not the URI of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a key URI such as `file:keys/root-1.pem`", printable(text))]
pub struct InvalidKeyUri {
    /// The text.
    pub text: String,
}

/// A text is not a SHA-256 digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a SHA-256 digest of 64 hexadecimal digits", printable(text))]
pub struct InvalidDigest {
    /// The text.
    pub text: String,
}
