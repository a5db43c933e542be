//! Signs a document that has been reviewed.

use lastmile_metadata::KeyRing;

use crate::document::Document;
use crate::key_store::KeyStore;
use crate::pin::Authority;
use crate::sign::review::Reviewed;
use crate::{Error, PublicationError};

impl Document {
    /// Signs the document with the available keys until each key ring reaches its threshold. The document must have
    /// been reviewed.
    ///
    /// # Errors
    /// [`Error::NotPinned`] if a key must not sign for this role, and [`Error::Publication`] if `reviewed` is the
    /// review of a different document. Also returns an error if a key on this machine cannot be opened or cannot sign.
    pub fn sign(&mut self, keys: &KeyStore, authority: &Authority, reviewed: &Reviewed) -> Result<(), Error> {
        if !reviewed.is_of(self) {
            return Err(PublicationError::NotReviewed { role: self.role.clone(), version: self.version }.into());
        }
        let text = self.signed()?;
        let rings: Vec<KeyRing> = self.rings().required.iter().chain(&self.rings().wanted).cloned().collect();
        for ring in &rings {
            let (avoided, preferred): (Vec<_>, Vec<_>) = ring.keys().partition(|(_, key)| keys.is_avoided(key));
            for (id, key) in preferred.into_iter().chain(avoided) {
                if self.lacking(ring) == 0 {
                    break;
                }
                if self.is_signed_by(ring, key) || !keys.has(key) {
                    continue;
                }
                authority.check(&self.role, key)?;
                if let Some(signer) = keys.signer(key)? {
                    let name = || keys.name_of(key).map_or_else(|| id.to_string(), ToString::to_string);
                    let sig = signer.sign(text.as_bytes()).map_err(|error| Error::key(name(), error))?;
                    self.add_signature(id, key, sig);
                }
            }
        }
        Ok(())
    }
}
