//! Verification of a file (TUF specification 4.2.1, 5.3.4, 5.4.2, 5.5.2, 5.5.3, 5.6.2, 5.6.3). Only this module
//! and the module `stored`, which verifies large targets files, turn a file into trusted metadata.
//!
//! First, the listed length and hashes are checked, then the number of signatures, and then the signatures themselves.
//! The signed content is parsed only after all these checks.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use crate::envelope::Envelope;
use crate::hashes::HashingVerifier;
use crate::{Error, ErrorKind, KeyRing, Limits, MetaFile, Received, Role, RoleName, Root, Signature};

#[derive(Clone, Copy)]
pub(crate) struct Required<'a> {
    pub(crate) role: &'a RoleName,
    /// The keys and the threshold that the delegator lists for the role.
    pub(crate) ring: &'a KeyRing,
    /// The version, length and hashes that trusted metadata lists for the file. If this is `None`, the file is not
    /// compared with listed values: no metadata lists the root or the timestamp, and a stored snapshot may be older
    /// than the listed one.
    pub(crate) listed: Option<&'a MetaFile>,
    pub(crate) limits: &'a Limits,
}

impl Required<'_> {
    pub(crate) fn verify<R: Role>(&self, bytes: Vec<u8>) -> Result<Verified<R>, Error> {
        self.judge(bytes).map_err(|kind| kind.of(self.role))
    }

    fn judge<R: Role>(&self, bytes: Vec<u8>) -> Result<Verified<R>, ErrorKind> {
        // Spec 1.5, 4.1: only these checks of the received bytes decide whether the file is trusted. The connection
        // does not matter.
        self.check_listed(&bytes)?;
        Verified::of(Envelope::read(bytes, self.limits.signatures)?, self.ring)
    }

    /// Checks the listed length and hashes of a file in memory (TUF specification 5.5.2, 5.6.2).
    pub(crate) fn check_listed(&self, bytes: &[u8]) -> Result<(), ErrorKind> {
        self.listed.map_or(Ok(()), |listed| listed.check(bytes))
    }

    /// Checks the listed length of a file, and returns a verifier for the listed hashes (TUF specification 5.5.2,
    /// 5.6.2).
    pub(crate) fn listed_hashes(&self, length: u64) -> Result<Option<HashingVerifier>, ErrorKind> {
        self.listed.map_or(Ok(None), |listed| listed.verifier(length))
    }
}

impl<R: Role> Envelope<R> {
    /// Verifies the file with `ring`, which contains the keys and the threshold that the delegator lists for `role`. A
    /// root must also be signed by a threshold of its own keys (TUF specification 5.3.4).
    ///
    /// # Errors
    /// Returns [`ErrorKind::ThresholdNotMet`] if too few keys have signed. Returns [`ErrorKind::Malformed`],
    /// [`ErrorKind::WrongType`] or [`ErrorKind::UnsupportedSpecVersion`] if the signatures are valid but the signed
    /// content is not.
    pub fn verify(self, role: &RoleName, ring: &KeyRing) -> Result<Verified<R>, Error> {
        Verified::of(self, ring).map_err(|kind| kind.of(role))
    }
}

impl Verified<Root> {
    /// Verifies a root with its own keys. This does not authenticate the root. The caller must trust the root for
    /// another reason, for example because it was shipped with the application.
    ///
    /// # Errors
    /// Returns an error if the file cannot be parsed ([`Envelope::parse`]) or verified ([`Envelope::verify`]).
    pub fn of_itself(bytes: Vec<u8>, limits: &Limits) -> Result<Self, Error> {
        let role = &RoleName::ROOT;
        let file: Envelope<Root> = Envelope::read(bytes, limits.signatures)
            .and_then(Envelope::ensure_canonical)
            .map_err(|kind| kind.of(role))?;
        let own = file.unverified(role)?.key_ring(role)?;
        file.verify(role, &own)
    }
}

/// Metadata that was verified with the keys and the threshold of its role. [`Deref`] gives access to the signed
/// content.
pub struct Verified<R> {
    file: Envelope<R>,
    content: R,
}

impl<R: Role> Verified<R> {
    /// Verifies the file with `ring`. A root must also be signed by a threshold of its own keys (TUF specification
    /// 5.3.4).
    pub(crate) fn of(file: Envelope<R>, ring: &KeyRing) -> Result<Self, ErrorKind> {
        let checked = check(&file, ring).and_then(|()| file.content());
        match checked {
            Ok(content) => {
                content.own_key_ring()?.map_or(Ok(()), |own| check(&file, &own))?;
                Ok(Self { file, content })
            }
            // The first attempt verifies the signatures over the bytes of the file as received. If the file is not
            // canonical, the signatures cover other bytes, so try again with a canonical copy.
            Err(kind) => match file.into_canonical()? {
                Some(canonical) => Self::of(canonical, ring),
                None => Err(kind),
            },
        }
    }

    /// Parses and verifies a file of `role`. `ring` contains the keys and the threshold that the delegator lists for
    /// `role`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be parsed ([`Envelope::parse`]) or verified ([`Envelope::verify`]).
    pub fn of_file(role: &RoleName, bytes: Vec<u8>, ring: &KeyRing, limits: &Limits) -> Result<Self, Error> {
        Required { role, ring, listed: None, limits }.verify(bytes)
    }

    /// Returns the file to store, byte for byte as received (TUF specification 4.1).
    #[must_use]
    pub fn bytes(&self) -> &Received {
        self.file.received()
    }

    /// Returns the canonical text that the signatures cover.
    #[must_use]
    pub fn signed(&self) -> &str {
        self.file.signed()
    }

    /// Returns all signatures as received, valid or not.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        self.file.signatures()
    }

    /// Verifies the signatures of the file with a different key ring.
    ///
    /// # Errors
    /// Returns [`ErrorKind::ThresholdNotMet`] if too few of these keys have signed.
    pub fn verify(&self, role: &RoleName, ring: &KeyRing) -> Result<(), Error> {
        check(&self.file, ring).map_err(|kind| kind.of(role))
    }
}

fn check<R>(file: &Envelope<R>, ring: &KeyRing) -> Result<(), ErrorKind> {
    let mut check = ring.check(file.signatures());
    check.update(file.signed().as_bytes());
    check.finish()
}

impl<R> Deref for Verified<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.content
    }
}

impl<R: Clone> Clone for Verified<R> {
    fn clone(&self) -> Self {
        Self { file: self.file.clone(), content: self.content.clone() }
    }
}

impl<R: fmt::Debug> fmt::Debug for Verified<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verified").field(&self.content).finish()
    }
}
