//! The content of a targets role in a draft. The content is on disk if targets were added from a list on disk, and in
//! memory otherwise.

use std::borrow::Cow;
use std::sync::Arc;

use lastmile_attest::policy::MEMBER;
use lastmile_metadata::{Delegations, Envelope, Role as _, RoleName, Targets, assemble};

use crate::Error;
use crate::files::spool::{Spool, SpooledText};

/// The content of a targets role in a draft.
#[derive(Clone, Debug)]
pub(crate) enum RoleContent {
    /// A role in memory.
    Held(Targets),
    /// A role on disk. Thousands of such roles may be part of one draft.
    Spooled(SpooledRole),
}

/// A role on disk. The delegations of the role are also in memory.
#[derive(Clone, Debug)]
pub(crate) struct SpooledRole {
    delegations: Option<Delegations>,
    /// The number of targets.
    count: usize,
    /// Whether the role has a policy for its packages.
    has_policy: bool,
    /// The signed text of the role. The version and the expiry date in the text are not final.
    text: SpooledText,
}

impl RoleContent {
    /// Writes `targets` to the temporary file `spool`.
    ///
    /// # Errors
    /// [`Error::File`] if the text cannot be written, for example because the disk is full.
    pub(crate) fn write(targets: &Targets, spool: &Arc<Spool>) -> Result<Self, Error> {
        let text = spool.add(&targets.write())?;
        let delegations = targets.delegations.clone();
        let has_policy = targets.header.unknown.contains_key(MEMBER);
        Ok(Self::Spooled(SpooledRole { delegations, count: targets.len(), has_policy, text }))
    }

    /// Returns the delegations of the role.
    pub(crate) fn delegations(&self) -> Option<&Delegations> {
        match self {
            Self::Held(targets) => targets.delegations.as_ref(),
            Self::Spooled(role) => role.delegations.as_ref(),
        }
    }

    /// Returns whether the role has a policy.
    pub(crate) fn has_policy(&self) -> bool {
        match self {
            Self::Held(targets) => targets.header.unknown.contains_key(MEMBER),
            Self::Spooled(role) => role.has_policy,
        }
    }

    /// Returns the number of targets that the role itself lists.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Held(targets) => targets.len(),
            Self::Spooled(role) => role.count,
        }
    }

    /// Returns the temporary file that contains this role, or `None` if the role is in memory.
    pub(crate) fn spool(&self) -> Option<&Arc<Spool>> {
        match self {
            Self::Held(_) => None,
            Self::Spooled(role) => Some(role.text.spool()),
        }
    }

    /// Returns the role. Reads the role from disk if it is not in memory.
    ///
    /// # Errors
    /// [`Error::File`] if the text on disk cannot be read.
    pub(crate) fn read(&self) -> Result<Cow<'_, Targets>, Error> {
        match self {
            Self::Held(targets) => Ok(Cow::Borrowed(targets)),
            Self::Spooled(role) => role.read().map(Cow::Owned),
        }
    }

    /// Returns the role for editing. Moves the role into memory if it is on disk.
    ///
    /// # Errors
    /// [`Error::File`] if the text on disk cannot be read.
    pub(crate) fn hold(&mut self) -> Result<&mut Targets, Error> {
        if let Self::Spooled(role) = self {
            *self = Self::Held(role.read()?);
        }
        match self {
            Self::Held(targets) => Ok(targets),
            Self::Spooled(_) => unreachable!("the role was just moved into memory"),
        }
    }
}

impl SpooledRole {
    fn read(&self) -> Result<Targets, Error> {
        let file = assemble(&self.text.read()?, &[]);
        // The name is used only in error messages.
        let role = RoleName::TARGETS;
        Ok(Envelope::<Targets>::parse(&role, file)?.unverified(&role)?)
    }
}
