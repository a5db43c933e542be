//! Sources of the pass-phrases for encrypted private keys.

use lastmile_keys::Zeroizing;

use crate::{Error, InvalidInput, KeyReason};

/// A source of pass-phrases, such as a prompt, a file or an environment variable. Pass-phrases are never read from the
/// command line.
pub trait PassPhrases: Send + Sync {
    /// Returns the pass-phrase of the key file `key`. `attempt` is 0 in the first call for the key. In later calls, it
    /// is the number of earlier calls, all of which returned a wrong pass-phrase.
    ///
    /// # Errors
    /// Returns an error if there is no pass-phrase, or if the last one was wrong and there is no other pass-phrase to
    /// try.
    fn pass_phrase(&self, key: &str, attempt: u32) -> Result<Zeroizing<Vec<u8>>, Error>;

    /// Returns the pass-phrase with which new keys are encrypted.
    ///
    /// # Errors
    /// Returns an error if there is no pass-phrase.
    fn new_pass_phrase(&self) -> Result<Zeroizing<Vec<u8>>, Error>;
}

/// A source that has no pass-phrases, so that only unencrypted keys can be used.
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
