//! A signer that the program hands over: a key in a hardware token, a key service or an agent.

use std::fmt;
use std::sync::Arc;

use lastmile_keys::{PublicKey, SignError, Signer};

/// A signer that the program hands over, with a name for messages.
///
/// A repository's folder cannot name such a signer, and no pass-phrase opens it. Handing it over is what authorizes its use,
/// so the list of allowed key files does not apply to it. Everything else does: it signs only for roles that trust its
/// public key, and root, targets and delegated roles only under a pinned root.
#[derive(Clone)]
pub struct NamedSigner {
    name: String,
    public: PublicKey,
    signer: Arc<dyn Signer>,
}

impl NamedSigner {
    /// A signer under a name such as `hsm:timestamp`, which messages and `status` show.
    pub fn new(name: impl Into<String>, signer: Arc<dyn Signer>) -> Self {
        let public = signer.public_key().clone();
        Self { name: name.into(), public, signer }
    }

    /// The name that messages show.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Signer for NamedSigner {
    /// The public key that the signer had when it was handed over.
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs, and verifies the signature. The signer is outside this library, and a token may hold another key than expected:
    /// without the check, a wrong signature would count as one until the file is published.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.signer.sign(message)?;
        match self.public.verify(message, &signature) {
            true => Ok(signature),
            false => Err(SignError::failed("the signer made a signature that its public key does not verify")),
        }
    }
}

impl fmt::Debug for NamedSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedSigner").field("name", &self.name).field("public", &self.public).finish_non_exhaustive()
    }
}
