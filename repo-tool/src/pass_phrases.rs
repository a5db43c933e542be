//! Where the pass-phrases of encrypted private keys come from.

use lastmile_keys::Zeroizing;

use crate::{Error, InvalidInput, KeyReason};

/// A source of pass-phrases: a prompt, a file, the environment. Never the command line.
pub trait PassPhrases: Send + Sync {
    /// Returns the pass-phrase of the key file `key`. `attempt` starts at 0 and counts wrong pass-phrases.
    ///
    /// # Errors
    /// When there is no pass-phrase, or no further one.
    fn pass_phrase(&self, key: &str, attempt: u32) -> Result<Zeroizing<Vec<u8>>, Error>;

    /// Returns the pass-phrase for encrypting new keys.
    ///
    /// # Errors
    /// When there is none.
    fn new_pass_phrase(&self) -> Result<Zeroizing<Vec<u8>>, Error>;
}

/// A source without pass-phrases: only unencrypted keys can be used.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPassPhrases;

impl PassPhrases for NoPassPhrases {
    fn pass_phrase(&self, key: &str, _: u32) -> Result<Zeroizing<Vec<u8>>, Error> {
        Err(Error::key(key, KeyReason::NoPassPhrase))
    }

    fn new_pass_phrase(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        Err(InvalidInput::NoPassPhrase.into())
    }
}
