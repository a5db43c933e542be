//! Errors about keys and revocations.

use std::path::PathBuf;

use lastmile_client::text::{printable, printable_path};
use lastmile_keys::{KeyError, PemError, SignError};
use lastmile_metadata::RoleName;

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyReason {
    /// The key file does not exist.
    #[error("the file does not exist")]
    Missing,
    /// A private key file is not UTF-8.
    #[error("is not PEM")]
    NotPem,
    /// A public key file is not UTF-8.
    #[error("is not text")]
    NotText,
    /// A pass-phrase is required but was not given.
    #[error("is encrypted, and no pass-phrase was given")]
    NoPassPhrase,
    /// The key file changed between two reads.
    #[error("was replaced while it was being used")]
    Replaced,
    /// The public key file next to the private one has another key.
    #[error(
        "{} next to it has another public key, {beside}, but the private key is {private}: find out who wrote it, and remove it",
        printable_path(path)
    )]
    OtherPublicKey {
        /// The public key file.
        path: PathBuf,
        /// The start of the id of the key in it.
        beside: String,
        /// The start of the id of the private key.
        private: String,
    },
    /// The file is not a private key, or cannot be decrypted.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The key could not be generated, used or encoded.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The public key is not valid.
    #[error(transparent)]
    Public(#[from] KeyError),
    /// The private key file has the format of another tool.
    #[error("is {format}; {}", printable(advice))]
    OtherFormat {
        /// The format.
        format: &'static str,
        /// How to convert it.
        advice: String,
    },
    /// The file starts like JSON and is not JSON.
    #[error("is not valid JSON")]
    NoJson,
    /// A public key in JSON lacks a member.
    #[error("lacks keytype, scheme or keyval.public")]
    IncompletePublicKey,
}

/// Why a key cannot be revoked as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// The pending change revokes the key already.
    #[error("the pending change already revokes the key {key}: sign and publish it")]
    Pending {
        /// The beginning of the key, for messages.
        key: String,
    },
    /// A role would still trust the key, because another role also delegates with it.
    #[error(
        "{role} would still trust the key, because {delegator} delegates to it as well: remove one of the delegations with \
         `lastmile-repo undelegate {role} --from {delegator}`, then revoke again"
    )]
    StillTrusted {
        /// The role that would still trust the key.
        role: RoleName,
        /// The role that also delegates to it.
        delegator: RoleName,
    },
    /// The replacement is the revoked key.
    #[error("the replacement {key} is the revoked key: give another one")]
    ReplacementIsRevoked {
        /// The start of the replacement's id.
        key: String,
    },
    /// The roles trust the replacement already.
    #[error("the roles that lose a key already trust the replacement {key}")]
    ReplacementIsTrusted {
        /// The start of the replacement's id.
        key: String,
    },
    /// A replacement was given for roles that lose no key.
    #[error("{role} loses no key: use `lastmile-repo rotate {role} --add` to add one", role = printable(role))]
    LosesNoKey {
        /// The role, or a prefix of role names and `*`, as it was given.
        role: String,
    },
    /// A role has more keys than can be counted.
    #[error("{role} has too many keys to replace them all")]
    TooManyKeys {
        /// The role.
        role: RoleName,
    },
    /// Roles would have fewer keys than must sign.
    #[error(
        "{}: give the public key of the new key holder (`--replace-with FILE.pub`, or `--replace-with ROLE=FILE.pub` for one \
         role), or generate a new key on this machine (`--generate`)",
        lacking(.roles)
    )]
    TooFewKeys {
        /// All of these roles.
        roles: Vec<LackingKeys>,
    },
}

/// A role that would have too few keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LackingKeys {
    /// The role.
    pub role: RoleName,
    /// How many keys it would have.
    pub keys: usize,
    /// How many must sign.
    pub threshold: u32,
}

/// The maximum number of roles that an error names.
const NAMED: usize = 8;

fn lacking(roles: &[LackingKeys]) -> String {
    let named = roles.iter().take(NAMED).map(|LackingKeys { role, keys, threshold }| {
        let noun = if *keys == 1 { "key" } else { "keys" };
        format!("{role} would have {keys} {noun}, but {threshold} must sign")
    });
    let mut text = named.collect::<Vec<_>>().join("; ");
    if let Some(more) = roles.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text += &format!("; so would {more} more roles");
    }
    text
}
