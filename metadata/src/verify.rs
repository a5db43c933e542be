//! The one way in which a file becomes trusted (spec 4.2.1, 5.3.4, 5.4.2, 5.5.2, 5.5.3, 5.6.2, 5.6.3), in memory and where
//! it is stored.
//!
//! The order is: limits, length and hashes as listed, signatures; and only then is anything built from what the file says.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use crate::envelope::Envelope;
use crate::hashes::HashingVerifier;
use crate::{Error, ErrorKind, KeyRing, Limits, MetaFile, Received, Role, RoleName, Root, Signature};

/// What is required of a file before it is trusted.
#[derive(Clone, Copy)]
pub(crate) struct Required<'a> {
    /// Whose file it is.
    pub(crate) role: &'a RoleName,
    /// Who must have signed it, as its delegator says.
    pub(crate) ring: &'a KeyRing,
    /// What trusted metadata lists about it; none for root and timestamp, which nothing lists.
    pub(crate) listed: Option<&'a MetaFile>,
    /// How much a client reads.
    pub(crate) limits: &'a Limits,
}

impl Required<'_> {
    /// Verifies a file in memory.
    pub(crate) fn verify<R: Role>(&self, bytes: Vec<u8>) -> Result<Verified<R>, Error> {
        self.judge(bytes).map_err(|kind| kind.of(self.role))
    }

    fn judge<R: Role>(&self, bytes: Vec<u8>) -> Result<Verified<R>, ErrorKind> {
        self.check_listed(&bytes)?;
        Verified::of(Envelope::read(bytes, self.limits.signatures)?, self.ring)
    }

    /// 5.5.2, 5.6.2: length and hashes of a file in memory.
    pub(crate) fn check_listed(&self, bytes: &[u8]) -> Result<(), ErrorKind> {
        self.listed.map_or(Ok(()), |listed| listed.check(bytes))
    }

    /// 5.5.2, 5.6.2: compares the length of a file with the listed one, and gives the check of the listed hashes.
    pub(crate) fn listed_hashes(&self, length: u64) -> Result<Option<HashingVerifier>, ErrorKind> {
        self.listed.map_or(Ok(None), |listed| listed.verifier(length))
    }
}

impl Verified<Root> {
    /// A root that its own keys have signed, for whoever trusts it for another reason: it was shipped, or its digest was
    /// compared.
    ///
    /// # Errors
    /// As [`Envelope::parse`] and [`Envelope::verify`].
    pub fn of_itself(bytes: Vec<u8>, limits: &Limits) -> Result<Self, Error> {
        let role = &RoleName::ROOT;
        let file: Envelope<Root> =
            Envelope::read(bytes, limits.signatures).and_then(Envelope::settled).map_err(|kind| kind.of(role))?;
        let own = file.unverified(role)?.key_ring(role)?;
        file.verify(role, &own)
    }
}

/// Metadata that a threshold of the right keys has signed. It derefs to what it says.
pub struct Verified<R> {
    file: Envelope<R>,
    content: R,
}

impl<R: Role> Verified<R> {
    /// The file, if `ring` has signed it; a root also must be signed by its own keys (5.3.4).
    pub(crate) fn of(file: Envelope<R>, ring: &KeyRing) -> Result<Self, ErrorKind> {
        let checked = check(&file, ring).and_then(|()| file.content());
        match checked {
            Ok(content) => {
                content.own_key_ring()?.map_or(Ok(()), |own| check(&file, &own))?;
                Ok(Self { file, content })
            }
            // The file was taken for canonical as it stands. If it is not, the signatures are over other bytes.
            Err(kind) => match file.into_canonical()? {
                Some(canonical) => Self::of(canonical, ring),
                None => Err(kind),
            },
        }
    }

    /// The file of `role`, if whoever delegates to it trusts it with `ring`, and it keeps to the `limits`.
    ///
    /// # Errors
    /// As [`Envelope::parse`] and [`Envelope::verify`].
    pub fn of_file(role: &RoleName, bytes: Vec<u8>, ring: &KeyRing, limits: &Limits) -> Result<Self, Error> {
        Required { role, ring, listed: None, limits }.verify(bytes)
    }

    /// The file as it was received, byte for byte.
    #[must_use]
    pub fn bytes(&self) -> &Received {
        self.file.received()
    }

    /// The canonical text that signatures cover.
    #[must_use]
    pub fn signed(&self) -> &str {
        self.file.signed()
    }

    /// The signatures as received; valid ones and others.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        self.file.signatures()
    }

    /// Verifies the same file against another ring.
    ///
    /// # Errors
    /// [`ErrorKind::ThresholdNotMet`] about `role`.
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
