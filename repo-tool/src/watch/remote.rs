//! The destination to which `renew --watch --push` uploads the repository after each renewal.

use std::path::Path;

use lastmile_metadata::Version;

use crate::edit::revert::MissingFiles;
use crate::push::merge::Merge;
use crate::push::settings::DestinationSettings;
use crate::push::{self, Emptied, Mode, Options, Progress, Variables};
use crate::root_digest::RootDigest;
use crate::served::catch_up::{Foreign, Mode as CatchUpMode, catch_up_through};
use crate::{Error, Invocation, NotFound, Repository, ServedError};

/// A destination in the user's configuration.
pub(crate) struct Remote<'a> {
    name: String,
    repository: RootDigest,
    /// The user's environment variables, which may contain credentials.
    variables: Variables<'a>,
}

impl<'a> Remote<'a> {
    pub(crate) fn new(name: String, repository: RootDigest, variables: Variables<'a>) -> Self {
        Self { name, repository, variables }
    }

    fn settings(&self, invocation: &Invocation) -> Result<DestinationSettings, Error> {
        let settings = invocation.user.destination(self.repository, &self.name)?;
        settings.ok_or_else(|| NotFound::Destination { name: self.name.clone() }.into())
    }

    /// Adopts the files that another host has pushed, and then publishes the changes of this folder on top of them.
    /// Does nothing if no command of this user has used the destination yet.
    pub(crate) fn catch_up(&self, dir: &Path, invocation: &Invocation) -> Result<(), Error> {
        let settings = self.settings(invocation)?;
        if settings.served.is_none() && settings.intended.is_empty() {
            // This user has neither pushed to the destination nor pulled from it. The next push compares the folder
            // with the destination.
            return Ok(());
        }
        let destination = push::open(&settings, self.variables)?;
        let transport = destination.transport()?;
        let url = settings.url.folder("metadata");
        match catch_up_through(&transport, dir, invocation, &url, Foreign::Refuse, CatchUpMode::Apply) {
            // Another machine has pushed new content. Merge it with the changes of this folder.
            Err(Error::Served(ServedError::Foreign { .. })) => {}
            done => return done.map(drop),
        }
        let (destination, name, missing) = (destination.as_ref(), self.name.as_str(), MissingFiles::Allow);
        let merge = Merge { dir, invocation, destination, name, url: &settings.url, missing };
        merge.run().map(drop)
    }

    /// Returns the URL of the destination and the version of the timestamp, or `None` if the destination already had
    /// the published state.
    pub(crate) fn push(&self, repository: &mut Repository) -> Result<Option<(String, Version)>, Error> {
        let settings = self.settings(&repository.invocation)?;
        let destination = push::open(&settings, self.variables)?;
        let options = Options {
            mode: Mode::Upload,
            missing: MissingFiles::Allow,
            name: &self.name,
            settings: &settings,
            emptied: Emptied::Refuse,
            progress: &NoProgress,
        };
        let pushed = push::push(repository, destination.as_ref(), &options)?;
        Ok((!pushed.is_unchanged()).then(|| (settings.url.to_string(), pushed.after.timestamp)))
    }
}

/// Ignores progress, because the command runs unattended.
struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _: usize) {}

    fn uploaded(&self) {}
}
