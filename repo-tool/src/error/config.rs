//! Errors in configuration files.

use lastmile_client::BaseUrlError;
use lastmile_client::text::printable;

use crate::root_digest::RootDigest;

/// A fault in `repo.toml` or in the user's configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// The file is not valid TOML, lacks an entry, or has an unknown entry.
    #[error("{text}")]
    Toml {
        /// The parser's message, which contains the line number.
        text: String,
    },
    /// The sections `[roles]` and `[delegations]` both have an entry for the same role.
    #[error("role `{}` occurs twice", printable(role))]
    RoleTwice {
        /// The role.
        role: String,
    },
    /// A top-level role has no entry in `[roles]`.
    #[error("[roles.{role}] is missing")]
    RoleMissing {
        /// The role.
        role: &'static str,
    },
    /// A role has a threshold or a lifetime of 0.
    #[error("role `{}`: threshold and expires_days must be at least 1", printable(role))]
    Zero {
        /// The role.
        role: String,
    },
    /// `renew_days` is not less than `expires_days`. The role would always be due for renewal.
    #[error("role `{}`: renew_days must be less than expires_days", printable(role))]
    RenewDays {
        /// The role.
        role: String,
    },
    /// A key of a role is not a valid key URI.
    #[error("role `{}`: {error}", printable(role))]
    Key {
        /// The role.
        role: String,
        /// The error for the invalid key URI.
        error: InvalidKeyUri,
    },
    /// `hashes` lists no algorithm.
    #[error("`hashes` lists no algorithm")]
    NoHash,
    /// `hashes` lists an unknown algorithm.
    #[error("hash `{}` is not one of sha256, sha384, sha512", printable(name))]
    Hash {
        /// The name of the algorithm.
        name: String,
    },
    /// One of the patterns in `immutable` does not match any valid target path.
    #[error("`immutable`: the pattern `{}` matches no valid target path", printable(pattern))]
    Immutable {
        /// The pattern.
        pattern: String,
    },
    /// `compress` lists an unknown content coding.
    #[error("coding `{}` is not one of gzip, zstd", printable(name))]
    Coding {
        /// The name of the coding.
        name: String,
    },
    /// `compress` lists a content coding twice.
    #[error("`compress` lists `{}` twice", printable(name))]
    CodingTwice {
        /// The name of the coding.
        name: String,
    },
    /// The entry `pinned-root` in the user's configuration is not valid.
    #[error("[repositories.{repository}] pinned-root must give the `version` and the `sha256` of a root")]
    PinnedRoot {
        /// The SHA-256 of the repository's oldest root.
        repository: RootDigest,
    },
    /// The entry `repository` of a folder in the user's configuration is not a SHA-256 digest.
    #[error("repository must be the sha256 of a root")]
    Repository,
    /// The metadata URL in the user's configuration is not a string.
    #[error("metadata-url must be a string")]
    MetadataUrl,
    /// The metadata URL in the user's configuration is not a valid base URL.
    #[error("metadata-url: {0}")]
    InvalidMetadataUrl(BaseUrlError),
    /// A destination in the user's configuration is not valid.
    #[error("destinations.{}: `url` or `public-url` is not a URL, or another entry is not valid", printable(name))]
    Destination {
        /// The name of the destination.
        name: String,
    },
    /// The entry `keys` in the user's configuration is not a list of files. The entry lists the private keys outside
    /// the repository's folder that the tool may use.
    #[error("keys must be a list of files")]
    KeyList,
    /// The entry `shared-with-group` in the user's configuration is neither a name nor a number.
    #[error("shared-with-group must be the name or number of a group")]
    Group,
    /// The group in the entry `shared-with-group` of the user's configuration does not exist on this machine.
    #[error("shared-with-group: there is no group `{}` on this machine", printable(group))]
    NoSuchGroup {
        /// The name of the group.
        group: String,
    },
    /// The section `[monitor]` in the user's configuration is not valid. The section specifies where notifications are
    /// sent.
    #[error("[monitor] {}", printable(reason))]
    Monitor {
        /// The reason. The text never contains the URL for notifications, because that URL may contain a secret.
        reason: String,
    },
    /// A section of the user's configuration is not a table of tables.
    #[error("[{section}] must be a table of tables")]
    NoTable {
        /// The name of the section.
        section: &'static str,
    },
}

/// The error for a string that is not a key URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a key URI such as `file:keys/root-1.pem`", printable(text))]
pub struct InvalidKeyUri {
    /// The invalid text.
    pub text: String,
}
