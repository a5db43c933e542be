//! The content of a targets role in a draft. The content is on disk if targets were added from a list on disk, and in
//! memory otherwise.

use std::borrow::Cow;
use std::sync::Arc;

use lastmile_attest::policy::MEMBER;
use lastmile_metadata::{Delegations, Envelope, Role as _, RoleName, Targets, assemble};

use crate::Error;
use crate::files::spool::{Spool, SpooledText};

#[derive(Clone, Debug)]
pub(crate) enum RoleContent {
    Held(Targets),
    /// The targets are on disk, because one draft may contain thousands of roles to which targets were added in bulk.
    Spooled(SpooledRole),
}

/// A role whose targets are on disk. Its delegations stay in memory.
#[derive(Clone, Debug)]
pub(crate) struct SpooledRole {
    delegations: Option<Delegations>,
    count: usize,
    has_policy: bool,
    /// The signed text of the role. The version and the expiry date in the text are not final.
    text: SpooledText,
}

impl RoleContent {
    pub(crate) fn write(targets: &Targets, spool: &Arc<Spool>) -> Result<Self, Error> {
        let text = spool.add(&targets.write())?;
        let delegations = targets.delegations.clone();
        let has_policy = targets.header.unknown.contains_key(MEMBER);
        Ok(Self::Spooled(SpooledRole { delegations, count: targets.len(), has_policy, text }))
    }

    pub(crate) fn delegations(&self) -> Option<&Delegations> {
        match self {
            Self::Held(targets) => targets.delegations.as_ref(),
            Self::Spooled(role) => role.delegations.as_ref(),
        }
    }

    pub(crate) fn has_policy(&self) -> bool {
        match self {
            Self::Held(targets) => targets.header.unknown.contains_key(MEMBER),
            Self::Spooled(role) => role.has_policy,
        }
    }

    /// Does not count the targets of delegated roles.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Held(targets) => targets.len(),
            Self::Spooled(role) => role.count,
        }
    }

    pub(crate) fn spool(&self) -> Option<&Arc<Spool>> {
        match self {
            Self::Held(_) => None,
            Self::Spooled(role) => Some(role.text.spool()),
        }
    }

    /// Reads the role from disk if it is not in memory.
    ///
    /// # Errors
    /// [`Error::File`] if the text on disk cannot be read.
    pub(crate) fn read(&self) -> Result<Cow<'_, Targets>, Error> {
        match self {
            Self::Held(targets) => Ok(Cow::Borrowed(targets)),
            Self::Spooled(role) => role.read().map(Cow::Owned),
        }
    }

    /// Moves the role into memory if it is on disk.
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
