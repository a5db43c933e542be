//! A signer that the calling program provides, such as a key in a hardware token, a key service or an agent.

use std::fmt;
use std::sync::Arc;

use lastmile_keys::{PublicKey, SignError, Signer};

/// A signer that the calling program provides, with a name for messages.
///
/// The user's list of allowed key files does not apply to signers: `repo.toml` cannot name a signer, and the program
/// allows the use of a signer by providing it. All other checks apply. A signer signs only for roles for which its
/// public key is trusted. It signs for root, targets and delegated roles only if the root is pinned.
#[derive(Clone)]
pub struct NamedSigner {
    name: String,
    public: PublicKey,
    signer: Arc<dyn Signer>,
}

impl NamedSigner {
    /// Creates a signer with a name such as `hsm:timestamp`, which is shown in messages and by `status`.
    pub fn new(name: impl Into<String>, signer: Arc<dyn Signer>) -> Self {
        let public = signer.public_key().clone();
        Self { name: name.into(), public, signer }
    }

    /// Returns the name of the signer for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Signer for NamedSigner {
    /// Returns the public key that the signer had when this value was created.
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs the text and verifies the signature. The signature is verified because the signer is not part of this
    /// library. For example, a token may contain a different key than expected. Without this check, the tool would
    /// count an invalid signature toward the threshold, and would notice the error only in the final check before
    /// publication.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.signer.sign(message)?;
        if self.public.verify(message, &signature) {
            Ok(signature)
        } else {
            Err(SignError::failed("the public key of the signer does not verify its signature"))
        }
    }
}

impl fmt::Debug for NamedSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedSigner").field("name", &self.name).field("public", &self.public).finish_non_exhaustive()
    }
}
