//! Errors about keys and revocations.

use std::path::PathBuf;

use lastmile_client::text::{printable, printable_path};
use lastmile_keys::{KeyError, PemError, SignError};
use lastmile_metadata::RoleName;

use crate::shell;

/// The reason why a key cannot be used.
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
    /// The public key file next to the private key file contains a different key.
    #[error(
        "{} next to it contains the public key {beside}, but the private key is {private}: find out who wrote that file, and \
         remove it",
        printable_path(path)
    )]
    OtherPublicKey {
        /// The public key file.
        path: PathBuf,
        /// The first digits of the key ID of the key in the public key file.
        beside: String,
        /// The first digits of the key ID of the private key.
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
        /// The instructions for converting the file.
        advice: String,
    },
    /// The file starts like JSON but is not valid JSON.
    #[error("is not valid JSON")]
    NoJson,
    /// A public key in JSON lacks a required member.
    #[error("lacks keytype, scheme or keyval.public")]
    IncompletePublicKey,
}

/// The reason why a key cannot be revoked as requested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// The pending change already revokes the key.
    #[error("the pending change already revokes the key {key}: sign and publish it")]
    Pending {
        /// The first characters of the public key, for messages.
        key: String,
    },
    /// The key would still be trusted for a role, because a second role also delegates to that role with this key.
    #[error(
        "the key would still be trusted for {role}, because {delegator} also delegates to {role} with this key: remove \
         one of the delegations with `lastmile-repo undelegate --from={} {}`, then revoke the key again",
        shell::quoted(&printable(delegator.as_str())),
        shell::arguments([role])
    )]
    StillTrusted {
        /// The role for which the key would still be trusted.
        role: RoleName,
        /// The second role that delegates to `role`.
        delegator: RoleName,
    },
    /// The replacement is the revoked key.
    #[error("the replacement {key} is the revoked key itself: give another key")]
    ReplacementIsRevoked {
        /// The first digits of the replacement's key ID.
        key: String,
    },
    /// The replacement is already a key of every role that would get it.
    #[error("the replacement {key} is already a key of every role that would get it")]
    ReplacementIsTrusted {
        /// The first digits of the replacement's key ID.
        key: String,
    },
    /// A replacement key was given for a role that loses no key.
    #[error(
        "{} loses no key: use `lastmile-repo rotate --add KEY.pub {}` to add one",
        printable(role),
        shell::arguments([role])
    )]
    LosesNoKey {
        /// The name of a role, or the start of role names followed by `*`, as the user gave it.
        role: String,
    },
    /// All keys of the role must be replaced, but their number does not fit in 32 bits.
    #[error("{role} has too many keys to replace all of them")]
    TooManyKeys {
        /// The role.
        role: RoleName,
    },
    /// Roles would have fewer keys than their thresholds.
    #[error(
        "{}: give the public key of the new key holder (`--replace-with FILE.pub`, or `--replace-with ROLE=FILE.pub` for one \
         role), or generate a new key on this machine (`--generate`)",
        lacking(.roles)
    )]
    TooFewKeys {
        /// The roles with too few keys.
        roles: Vec<LackingKeys>,
    },
}

/// A role that would have fewer keys than its threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LackingKeys {
    /// The role.
    pub role: RoleName,
    /// The number of keys that the role would have.
    pub keys: usize,
    /// The number of keys that must sign.
    pub threshold: u32,
}

/// The maximum number of roles that an error names.
const MAX_NAMED: usize = 8;

fn lacking(roles: &[LackingKeys]) -> String {
    let named = roles.iter().take(MAX_NAMED).map(|LackingKeys { role, keys, threshold }| {
        let noun = if *keys == 1 { "key" } else { "keys" };
        format!("{role} would have {keys} {noun}, but {threshold} must sign")
    });
    let mut text = named.collect::<Vec<_>>().join("; ");
    if let Some(more) = roles.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
        text += &format!("; {more} more roles would have too few keys");
    }
    text
}
