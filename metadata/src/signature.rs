//! The signatures in an envelope (TUF specification 4.2.1).

use alloc::string::String;
use alloc::vec::Vec;

use crate::canonical;
use crate::reader::Reader;
use crate::{ErrorKind, KeyId, Unknown};

/// A signature, which may be invalid. A [`KeyRing`](crate::KeyRing) verifies signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The ID of the key to which the signature is attributed.
    pub keyid: KeyId,
    /// The bytes of the signature. If `sig` in the file is not hexadecimal, this field is empty and the signature is
    /// never valid.
    pub sig: Vec<u8>,
    /// Members that this crate does not know. They are preserved when the metadata is written.
    pub unknown: Unknown,
}

impl Signature {
    /// Creates a signature by the key with the ID `keyid`.
    #[must_use]
    pub fn new(keyid: KeyId, sig: Vec<u8>) -> Self {
        Self { keyid, sig, unknown: Unknown::new() }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, ErrorKind> {
        let mut keyid = None;
        let mut sig = None;
        let mut unknown = Unknown::new();
        reader.object(|name, value| {
            match name {
                "keyid" => keyid = Some(KeyId::new(value.string()?)),
                // Spec 4.2.1: a signature that is not hexadecimal is invalid, but it does not make the file malformed.
                "sig" => sig = Some(hex::decode(value.string()?.as_bytes()).unwrap_or_default()),
                _ => value.keep(name, &mut unknown)?,
            }
            Ok(())
        })?;
        let keyid = keyid.ok_or_else(|| ErrorKind::missing("keyid"))?;
        let sig = sig.ok_or_else(|| ErrorKind::missing("sig"))?;
        Ok(Self { keyid, sig, unknown })
    }

    pub(crate) fn write(&self) -> String {
        let members =
            [("keyid", canonical::string(self.keyid.as_str())), ("sig", canonical::string(&hex::encode(&self.sig)))];
        canonical::object(members, &self.unknown)
    }
}
