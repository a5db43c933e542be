//! Publishes the requests of several processes together, with a single new snapshot and timestamp (see
//! [`crate::publish::queue`]).

use lastmile_fs::disk;
use lastmile_metadata::RoleName;

use crate::draft::{Draft, NewTargetFile};
use crate::edit::intake::Incoming;
use crate::error::RefusalKind;
use crate::files::take::take_target;
use crate::publish::observer::Observer;
use crate::publish::queue::{self, Answer, Change, Claimed, PublishRequest, Queue, Turn};
use crate::publish::staged;
use crate::publish::transaction;
use crate::{Error, Invocation, NotFound, Outcome, Plan, Repository, Signing, names, parallel};

/// The result of a [`PublishRequest`] that either this process or another process handled.
pub enum Shared {
    /// This process published the request or added it to the pending change.
    ByUs(Box<OwnResult>),
    /// Another process published or refused the request.
    ByOther(Answer),
}

/// The result of a request that this process published or added to the pending change.
pub struct OwnResult {
    /// The repository after publication. Other processes may already be modifying the files in the repository's folder.
    pub repository: Repository,
    /// The plan that was published or stored as the pending change.
    pub plan: Plan,
    /// Whether the plan was published or stored as the pending change.
    pub outcome: Outcome,
}

/// Publishes `request` together with all other waiting requests, or waits until another process has published or
/// refused `request`.
///
/// # Errors
/// Returns the error for this request. An error for another request is reported to the process that made that request.
pub fn publish(
    request: &PublishRequest,
    invocation: &Invocation,
    observer: &mut dyn Observer,
) -> Result<Shared, Error> {
    let lock = match request.wait(invocation.lock_wait.at_most, invocation.lock_wait.on_wait.as_ref())? {
        Turn::Mine(lock) => lock,
        Turn::Answered(answer) => return Ok(Shared::ByOther(answer)),
    };
    // The previous holder of the lock may have died while it was publishing this request.
    transaction::recover(request.layout(), &lock)?;
    if let Some(answer) = request.answer()? {
        return Ok(Shared::ByOther(answer));
    }
    let mut repository = Repository::open_layout(request.layout().clone(), invocation, Some(lock))?;
    repository.prefetch_keys(&[RoleName::TARGETS]);
    let (plan, outcome) = repository.publish_with_others(request, observer)?;
    repository.unlock();
    Ok(Shared::ByUs(Box::new(OwnResult { repository, plan, outcome })))
}

impl Repository {
    fn publish_with_others(
        &mut self,
        request: &PublishRequest,
        observer: &mut dyn Observer,
    ) -> Result<(Plan, Outcome), Error> {
        let mine = request.claimed();
        // If a change is pending, do not claim the requests of other processes. This request may have to be added to
        // the pending change, and then the other requests could not be published with it.
        let is_alone = staged::is_staged(&self.layout);
        let files = self.take_files(&mine)?;
        let (draft, ()) = self.prepare(|repository, draft| Ok((repository.changed(draft, &mine, &files)?, ())))?;
        let others =
            if is_alone { Vec::new() } else { Queue::new(&self.layout, self.lock()?)?.claim_others(request)? };
        if others.is_empty() {
            return self.finish(draft, observer);
        }
        match self.publish_together(draft, &others, observer) {
            Ok(Some(done)) => return Ok(done),
            // Signatures are missing, so each process must add its own request to the pending change.
            Ok(None) => self.give_back(&others)?,
            Err(error) => match RefusalKind::of(&error) {
                Some(_) => return self.publish_one_by_one(&mine, &others, observer),
                None => {
                    self.give_back(&others)?;
                    return Err(error);
                }
            },
        }
        self.forget_incoming()?;
        let draft = self.with_change(Draft::default(), &mine)?;
        self.finish(draft, observer)
    }

    /// Publishes the draft together with `others`. Returns `None` if signatures are missing.
    fn publish_together(
        &mut self,
        mut draft: Draft,
        others: &[Claimed],
        observer: &mut dyn Observer,
    ) -> Result<Option<(Plan, Outcome)>, Error> {
        for other in others {
            match self.with_change(draft.clone(), other) {
                Ok(changed) => {
                    draft = changed;
                    draft.requests.push(other.name.clone());
                }
                Err(error) => self.refuse(other, &error)?,
            }
        }
        let plan = self.plan(draft, Signing::Now)?;
        if plan.completed.incomplete().next().is_some() {
            return Ok(None);
        }
        let outcome = self.conclude(&plan, observer)?;
        Ok(Some((plan, outcome)))
    }

    /// After an error, publishes each request separately, to find the request that caused the error.
    fn publish_one_by_one(
        &mut self,
        mine: &Claimed,
        others: &[Claimed],
        observer: &mut dyn Observer,
    ) -> Result<(Plan, Outcome), Error> {
        self.forget_incoming()?;
        let done = self.with_change(Draft::default(), mine).and_then(|draft| self.finish(draft, observer));
        for (number, other) in others.iter().enumerate() {
            if Queue::new(&self.layout, self.lock()?)?.is_answered(&other.name)? {
                continue;
            }
            self.forget_incoming()?;
            let draft = self.with_change(Draft::default(), other);
            let published = draft.and_then(|mut draft| {
                draft.requests.push(other.name.clone());
                self.publish_together(draft, &[], observer)
            });
            match published {
                Ok(Some(_)) => {}
                Ok(None) => self.give_back(std::slice::from_ref(other))?,
                Err(error) if RefusalKind::of(&error).is_some() => self.refuse(other, &error)?,
                Err(_) => {
                    self.give_back(others.get(number..).unwrap_or_default())?;
                    break;
                }
            }
        }
        done
    }

    fn finish(&mut self, draft: Draft, observer: &mut dyn Observer) -> Result<(Plan, Outcome), Error> {
        let plan = self.plan(draft, Signing::Now)?;
        let outcome = self.conclude(&plan, observer)?;
        Ok((plan, outcome))
    }

    /// Adds the change of a request to the draft, after taking its files into `.publishing/`.
    fn with_change(&mut self, draft: Draft, request: &Claimed) -> Result<Draft, Error> {
        let files = self.take_files(request)?;
        self.changed(draft, request, &files)
    }

    /// Hard-links or copies the files of a request into `.publishing/`, so that the publication no longer depends on
    /// the request's folder. If another process wrote the files, compares them with the request's target entries.
    fn take_files(&self, request: &Claimed) -> Result<(Vec<Incoming>, Vec<NewTargetFile>), Error> {
        let added = &request.change.added;
        let mut incoming = Vec::new();
        if !added.is_empty() {
            let gone = || NotFound::Request { name: request.name.clone() };
            let from = Queue::new(&self.layout, self.lock()?)?.request(&request.name)?.ok_or_else(gone)?;
            let to = self.layout.make_publishing()?;
            incoming = parallel::try_map(added, |taken_in| {
                let name = names::of_file(&taken_in.file)?;
                let new = format!("{}-{name}", request.name);
                let target = taken_in.target.clone();
                if request.is_hashed {
                    // No check is needed, because this process hashed the file while writing it to a folder that only
                    // this user can change.
                    disk::link_or_copy(from.place(name), to.place(&new))
                        .map_err(|error| Error::file("copy", &taken_in.file, error))?;
                } else {
                    take_target(&from, name, &to, &new, &target)?;
                }
                Ok(Incoming { target, file: to.path_of(new) })
            })?;
        }
        let files = self.new_files(&incoming)?;
        Ok((incoming, files))
    }

    fn changed(
        &mut self,
        draft: Draft,
        request: &Claimed,
        (incoming, files): &(Vec<Incoming>, Vec<NewTargetFile>),
    ) -> Result<Draft, Error> {
        let Change { role, options, removed, .. } = &request.change;
        let to = role.as_ref().unwrap_or(&RoleName::TARGETS);
        let mut draft = self.list_files(draft, to, (incoming, files), options)?;
        if !removed.is_empty() {
            let mut edit = self.edit(draft);
            edit.remove_packages(role.as_ref(), removed)?;
            draft = edit.finish()?;
        }
        Ok(draft)
    }

    /// If the request caused the error, reports the error to the process that made the request. Otherwise, puts the
    /// request back into the queue.
    fn refuse(&self, request: &Claimed, error: &Error) -> Result<(), Error> {
        match RefusalKind::of(error) {
            Some((fault, text)) => queue::answer(&self.layout, &request.name, &Answer::Refused(fault, text)),
            None => self.give_back(std::slice::from_ref(request)),
        }
    }

    fn give_back(&self, requests: &[Claimed]) -> Result<(), Error> {
        Queue::new(&self.layout, self.lock()?)?.give_back(requests);
        Ok(())
    }
}
