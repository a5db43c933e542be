//! Uploads the files of a plan in order.

use std::io;
use std::path::Path;

use lastmile_metadata::TargetNames;

use crate::edit::revert::MissingFiles;
use crate::files::access::{self, MAX_METADATA_LENGTH};
use crate::files::layout::Layout;
use crate::publish::compress::Coding;
use crate::publish::journal::FileKind;
use crate::push::destination::{Destination, Lease, LocalTarget, Object, Written};
use crate::push::guard::{Earlier, MAX_TIMESTAMP_LENGTH, TIMESTAMP};
use crate::push::plan::{MetadataItem, Plan, RootPlace, TargetItem};
use crate::push::{Mode, Options};
use crate::{Error, PushError, names, workers};

pub(super) struct Upload<'a> {
    pub(super) destination: &'a dyn Destination,
    /// `None` in a preview.
    pub(super) lease: Option<&'a dyn Lease>,
    pub(super) layout: &'a Layout,
    pub(super) names: TargetNames,
    /// `None` if the destination is empty.
    pub(super) earlier: Option<&'a Earlier>,
    pub(super) options: &'a Options<'a>,
    pub(super) uploading: Uploading,
}

#[derive(Debug, Default)]
pub(super) struct Uploading {
    pub(super) sent: Vec<(String, u64)>,
    pub(super) present: usize,
    pub(super) missing: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Sent(u64),
    Present,
    Missing,
}

impl Upload<'_> {
    /// Uploads all files of the plan, and calls `before_timestamp` just before it uploads the timestamp. In a preview,
    /// uploads nothing, and only determines which files are missing at the destination.
    pub(super) fn run(
        &mut self,
        plan: &Plan,
        before_timestamp: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        if plan.root_place == RootPlace::First {
            self.roots(plan)?;
        }
        self.targets(&plan.targets)?;
        let (delegated, others): (Vec<_>, Vec<_>) =
            plan.roles.iter().partition(|item| item.kind == FileKind::Delegated);
        let outcomes = workers::try_map(&delegated, |item| self.metadata(item))?;
        self.record(delegated.iter().map(|item| &item.name).zip(outcomes));
        for item in others {
            let outcome = self.metadata(item)?;
            self.record([(&item.name, outcome)]);
        }
        if plan.root_place == RootPlace::BeforeTimestamp {
            self.roots(plan)?;
        }
        if let Some(timestamp) = &plan.timestamp {
            self.discard_abandoned_snapshots(plan)?;
            if self.may_write()? {
                before_timestamp()?;
            }
            let outcome = self.metadata(timestamp)?;
            self.record([(&timestamp.name, outcome)]);
        }
        if plan.root_place == RootPlace::Last {
            self.roots(plan)?;
        }
        Ok(())
    }

    /// Discards the snapshots that interrupted pushes uploaded and whose versions this push skips. After that, if a
    /// snapshot at the destination is older than the served snapshot, the destination has served it at some time.
    /// [`crate::push::base`] relies on this.
    fn discard_abandoned_snapshots(&self, plan: &Plan) -> Result<(), Error> {
        if self.is_first(plan) || !self.may_write()? {
            return Ok(());
        }
        workers::try_map(&plan.skipped_snapshots, |name| {
            if self.destination.length(name)?.is_some_and(|length| length > 0) {
                self.may_write()?;
                self.check_timestamp()?;
                if self.destination.discard(name)? == Written::Refused {
                    return Err(PushError::LeaseLost { url: self.destination.url().clone() }.into());
                }
                self.remove_copies(name)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Returns whether this push is certainly the first one to this destination. If so, no earlier push can have
    /// uploaded a snapshot. A push is certainly the first one if it uploaded the oldest root, because a push to an
    /// empty destination uploads that root before all other files.
    fn is_first(&self, plan: &Plan) -> bool {
        let is_oldest = |(name, _): &(String, u64)| plan.roots.first().is_some_and(|oldest| oldest.name == *name);
        self.earlier.is_none() && self.uploading.sent.first().is_some_and(is_oldest)
    }

    fn record<'i>(&mut self, outcomes: impl IntoIterator<Item = (&'i String, Outcome)>) {
        for (name, outcome) in outcomes {
            match outcome {
                Outcome::Sent(length) => self.uploading.sent.push((name.clone(), length)),
                Outcome::Present => self.uploading.present += 1,
                Outcome::Missing => self.uploading.missing.push(name.clone()),
            }
        }
    }

    fn roots(&mut self, plan: &Plan) -> Result<(), Error> {
        for root in &plan.roots {
            let outcome = self.metadata(root)?;
            self.record([(&root.name, outcome)]);
        }
        Ok(())
    }

    fn targets(&mut self, targets: &[TargetItem]) -> Result<(), Error> {
        // Find all missing files before the first upload.
        let states = workers::try_map(targets, |item| self.target_state(item))?;
        let missing = || targets.iter().zip(&states).filter(|(_, state)| matches!(state, TargetState::Nowhere));
        if let Some((first, _)) = missing().next()
            && self.options.missing == MissingFiles::Refuse
        {
            return Err(PushError::MissingTargets { count: missing().count(), first: first.name.clone() }.into());
        }
        let work: Vec<_> = targets.iter().zip(states).collect();
        let outcomes = workers::try_map(&work, |(item, state)| match state {
            TargetState::Here => self.target(item),
            TargetState::AtDestination => Ok(Outcome::Present),
            TargetState::Nowhere => Ok(Outcome::Missing),
        })?;
        self.record(work.iter().map(|(item, _)| &item.name).zip(outcomes));
        Ok(())
    }

    fn target_state(&self, item: &TargetItem) -> Result<TargetState, Error> {
        let state = if self.destination.has_target(&item.name, &item.target, self.names)? {
            TargetState::AtDestination
        } else if self.open(item)?.is_some() {
            // The progress counts this file once it has been uploaded.
            return Ok(TargetState::Here);
        } else {
            TargetState::Nowhere
        };
        self.options.progress.uploaded();
        Ok(state)
    }

    /// Opens the file of a target in the repository's folder. Does not follow symbolic links.
    fn open(&self, item: &TargetItem) -> Result<Option<LocalTarget>, Error> {
        let relative = Path::new(&item.name);
        let Some(folder) = self.layout.open()?.find(relative.parent().unwrap_or(Path::new("")))? else {
            return Ok(None);
        };
        let path = self.layout.dir().join(relative);
        match folder.open_file(names::of_file(relative)?) {
            Ok(file) => Ok(Some(LocalTarget { file, path, target: item.target.clone() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", &path, error)),
        }
    }

    fn target(&self, item: &TargetItem) -> Result<Outcome, Error> {
        let outcome = match self.open(item)? {
            None => Outcome::Missing,
            Some(file) => {
                if self.may_write()? {
                    self.destination.put_target(&item.name, file)?;
                }
                Outcome::Sent(item.target.length)
            }
        };
        self.options.progress.uploaded();
        Ok(outcome)
    }

    /// Fails if the lock may have been lost. Returns false in a preview.
    fn may_write(&self) -> Result<bool, Error> {
        match (self.options.mode, self.lease) {
            (Mode::Upload, Some(lease)) => lease.check().map(|()| true),
            _ => Ok(false),
        }
    }

    fn metadata(&self, item: &MetadataItem) -> Result<Outcome, Error> {
        let outcome = if item.is_versioned { self.versioned(item) } else { self.unversioned(item) }?;
        self.options.progress.uploaded();
        Ok(outcome)
    }

    /// Uploads a file whose name contains its version. If the destination has a different file with
    /// this name, an interrupted push left it behind, and no served metadata lists it. Therefore
    /// the file is replaced, unless it is a root.
    fn versioned(&self, item: &MetadataItem) -> Result<Outcome, Error> {
        let length = item.bytes.len() as u64;
        let other = || PushError::OtherContent { url: self.destination.url().clone(), name: item.name.clone() };
        let there = match self.destination.length(&item.name)? {
            None => None,
            Some(found) => {
                let limit = found.max(length).saturating_add(1).min(MAX_METADATA_LENGTH);
                self.destination.read(&item.name, limit)?
            }
        };
        if there.as_ref().is_some_and(|there| there.bytes == item.bytes) {
            self.copies(item)?;
            return Ok(Outcome::Present);
        }
        // A root is never replaced, because clients request a new root as soon as it exists.
        if there.is_some() && item.kind == FileKind::Root {
            return Err(other().into());
        }
        if self.may_write()? {
            let written = match &there {
                None => self.destination.create(&item.name, &item.bytes)?,
                Some(there) => {
                    self.check_timestamp()?;
                    self.remove_copies(&item.name)?;
                    self.destination.replace(&item.name, &item.bytes, there)?
                }
            };
            if written == Written::Refused {
                return Err(other().into());
            }
            self.copies(item)?;
        }
        Ok(Outcome::Sent(length))
    }

    fn unversioned(&self, item: &MetadataItem) -> Result<Outcome, Error> {
        let length = item.bytes.len() as u64;
        if !self.may_write()? {
            return Ok(Outcome::Sent(length));
        }
        self.remove_copies(&item.name)?;
        if item.kind == FileKind::Timestamp {
            self.timestamp(item, self.earlier.map(|earlier| &earlier.timestamp))?;
        } else {
            self.destination.put(&item.name, &item.bytes)?;
        }
        self.copies(item)?;
        Ok(Outcome::Sent(length))
    }

    /// Removes the compressed copies of a file that is about to be replaced. A web server may send such a copy instead
    /// of the file.
    fn remove_copies(&self, name: &str) -> Result<(), Error> {
        for coding in Coding::ALL {
            let copy = format!("{name}.{}", coding.ending());
            if self.destination.length(&copy)?.is_some() {
                self.destination.remove(&copy)?;
            }
        }
        Ok(())
    }

    /// Checks that the timestamp is still the one that was verified. If another process has pushed while this process
    /// was suspended, a file that seems abandoned may belong to the state that the other process pushed.
    fn check_timestamp(&self) -> Result<(), Error> {
        let expected = self.earlier.map(|earlier| &earlier.timestamp.bytes);
        let found = self.destination.read(TIMESTAMP, MAX_TIMESTAMP_LENGTH)?.map(|found| found.bytes);
        if found.as_ref() == expected {
            return Ok(());
        }
        Err(PushError::LeaseLost { url: self.destination.url().clone() }.into())
    }

    /// Fails if the timestamp at the destination is no longer the one that was verified.
    fn timestamp(&self, item: &MetadataItem, expected: Option<&Object>) -> Result<(), Error> {
        let written = match expected {
            Some(expected) => self.destination.replace(&item.name, &item.bytes, expected)?,
            None => self.destination.create(&item.name, &item.bytes)?,
        };
        match written {
            Written::Done => Ok(()),
            Written::Refused => Err(PushError::LeaseLost { url: self.destination.url().clone() }.into()),
        }
    }

    /// Uploads the compressed copies of a metadata file from the folder. Skips copies whose content differs from the
    /// file.
    fn copies(&self, item: &MetadataItem) -> Result<(), Error> {
        for coding in Coding::ALL {
            let local = coding.beside(&self.layout.dir().join(&item.name));
            let Some(copy) = access::read_small(&local, MAX_METADATA_LENGTH)? else { continue };
            let name = format!("{}.{}", item.name, coding.ending());
            if !coding.is_copy(&copy, &item.bytes) {
                continue;
            }
            let is_there = item.is_versioned && self.destination.length(&name)? == Some(copy.len() as u64);
            if !is_there && self.may_write()? {
                self.destination.put(&name, &copy)?;
            }
        }
        Ok(())
    }
}

enum TargetState {
    Here,
    AtDestination,
    Nowhere,
}
