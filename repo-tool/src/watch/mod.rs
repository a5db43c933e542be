//! Implements `renew --watch`: renews each role of a repository at a random time well before the role expires, until
//! the process ends. If the renewal of one role fails, the other roles are still renewed, and the failed renewal is
//! tried again later.

mod remote;
mod schedule;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_metadata::{RoleName, Version};

use crate::draft::Draft;
use crate::files::roots;
use crate::invocation::ServedState;
use crate::publish::observer::Unobserved;
use crate::root_digest::RootDigest;
use crate::served::catch_up::{Foreign, Mode, catch_up};
pub(crate) use crate::watch::remote::Remote;
use crate::watch::schedule::Jitter;
use crate::{Error, Invocation, Renewal, Repository, Signing};

/// The maximum time between two calls of [`Watch::step`]. Each call also notices changes by other processes.
const MAX_PAUSE: TimeDelta = TimeDelta::hours(6);

/// The delay before the first retry of a failed attempt. The delay doubles with each failure, up to [`MAX_RETRY_DELAY`].
const FIRST_RETRY_DELAY: TimeDelta = TimeDelta::minutes(1);
const MAX_RETRY_DELAY: TimeDelta = TimeDelta::hours(1);

/// Renews the roles of one repository. The caller calls [`Watch::step`] again at the time that the previous call
/// returned.
pub(crate) struct Watch<'a> {
    dir: PathBuf,
    invocation: Invocation,
    /// The names of the roles to renew besides timestamp and snapshot. `PREFIX*` means all delegated roles whose names
    /// begin with `PREFIX`.
    names: Vec<String>,
    jitter: Jitter,
    remote: Option<Remote<'a>>,
    /// The version of the timestamp at the destination, if it is known.
    pushed: Option<Version>,
    clock: &'a dyn Fn() -> DateTime<Utc>,
    /// The failed attempts of each role that could not be renewed. The key `None` stands for errors that ended a whole
    /// step, for example because the repository could not be opened.
    failed: BTreeMap<Option<RoleName>, Retry>,
    reported: BTreeMap<RoleName, Reported>,
}

pub(crate) struct Step {
    pub(crate) events: Vec<Event>,
    pub(crate) next: DateTime<Utc>,
}

/// An event that the user should know about. A step does not add the same [`Event::Planned`] or [`Event::NotRenewed`]
/// twice in a row for a role. [`Event::Planned`] is new if the version of the role is new. [`Event::NotRenewed`] is new
/// if the version of the role is new, or if the renewal has become more urgent.
#[derive(Debug)]
pub(crate) enum Event {
    /// A role will be renewed at this time.
    Planned { role: RoleName, version: Version, expires: DateTime<Utc>, at: DateTime<Utc> },
    /// The published state was pushed to the destination with this URL.
    Pushed { url: String, timestamp: Version },
    /// A role was renewed.
    Renewed { role: RoleName, version: Version, expires: DateTime<Utc> },
    /// A role is due, but this process does not renew it.
    NotRenewed { role: RoleName, expires: DateTime<Utc>, renewal: Renewal, reason: Reason },
    /// An attempt failed. `roles` lists the roles that could not be renewed. The list is empty if the whole step
    /// failed, or if a role could not be found or read.
    Failed { roles: Vec<RoleName>, error: Error, again: DateTime<Utc> },
}

/// The reason why a process does not renew a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The user did not name the role on the command line.
    NotWatched,
    /// Too few private keys of the role are on this machine.
    KeysMissing,
}

/// The last report about a role. It is stored so that the same report is not repeated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reported {
    Planned(Version),
    NotRenewed(Version, Renewal),
}

#[derive(Clone, Copy)]
struct Retry {
    failures: u32,
    at: DateTime<Utc>,
}

struct Schedule {
    role: RoleName,
    version: Version,
    expires: DateTime<Utc>,
    at: DateTime<Utc>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        dir: &Path,
        invocation: Invocation,
        names: Vec<String>,
        remote: Option<Remote<'a>>,
        clock: &'a dyn Fn() -> DateTime<Utc>,
    ) -> Self {
        Self {
            dir: dir.to_path_buf(),
            invocation,
            names,
            jitter: Jitter::default(),
            remote,
            pushed: None,
            clock,
            failed: BTreeMap::new(),
            reported: BTreeMap::new(),
        }
    }

    /// Checks that this process can renew timestamp, snapshot and the named roles. Opens the keys of these roles, so
    /// that the user is asked for pass-phrases now and not at each renewal.
    ///
    /// # Errors
    /// Returns [`Error::MissingKeys`] if too few keys of a role are on this machine. Returns other errors if the
    /// repository or a key cannot be opened, or if a role does not exist.
    pub(crate) fn check(&mut self, now: DateTime<Utc>) -> Result<(), Error> {
        self.invocation.now = now;
        let mut repository = self.open()?;
        let mut watched = RoleName::ONLINE.to_vec();
        for name in &self.names {
            watched.extend(repository.published.named(name)?);
        }
        for role in &watched {
            read(&mut repository, role)?;
        }
        let lacking: Vec<RoleName> = watched.iter().filter(|role| !repository.can_sign(role)).cloned().collect();
        if !lacking.is_empty() {
            return Err(Error::MissingKeys { roles: lacking });
        }
        for role in &watched {
            for (_, key) in repository.published.key_ring(role)?.keys() {
                repository.keys.signer(key)?;
            }
        }
        Ok(())
    }

    /// Reports when each watched role will be renewed, and which roles are due but will not be renewed. Renews nothing.
    ///
    /// # Errors
    /// Returns an error if the repository cannot be opened.
    pub(crate) fn plan(&mut self, now: DateTime<Utc>) -> Result<Vec<Event>, Error> {
        self.invocation.now = now;
        let mut repository = Repository::open(&self.dir, &self.invocation)?;
        let mut events = Vec::new();
        let schedules = self.schedules(&mut repository, &mut events);
        self.report(&repository, &schedules, now, &mut events);
        Ok(events)
    }

    /// Renews the roles whose renewal time has been reached, pushes the published state, and returns the events and the
    /// time of the next step.
    pub(crate) fn step(&mut self) -> Step {
        let now = (self.clock)();
        self.invocation.now = now;
        let mut events = Vec::new();
        let next = match self.try_step(now, &mut events) {
            Ok(next) => {
                self.failed.remove(&None);
                next
            }
            Err(error) => {
                let again = self.retry(None);
                events.push(Event::Failed { roles: Vec::new(), error, again });
                again
            }
        };
        Step { events, next: next.clamp(now, now + MAX_PAUSE) }
    }

    fn try_step(&mut self, now: DateTime<Utc>, events: &mut Vec<Event>) -> Result<DateTime<Utc>, Error> {
        let mut repository = self.open()?;
        let mut schedules = self.schedules(&mut repository, events);
        let is_due = schedules.iter().any(|schedule| schedule.at <= now);
        if (is_due || self.needs_push(&repository)) && self.has_server(&repository)? {
            // First adopt newer files from the destination or the server. Another host may have renewed the roles.
            drop(repository);
            self.catch_up()?;
            repository = self.open()?;
            schedules = self.schedules(&mut repository, events);
        }
        let due = schedules.iter().filter(|schedule| schedule.at <= now).map(|schedule| schedule.role.clone());
        let (online, others): (Vec<_>, Vec<_>) = due.partition(|role| RoleName::ONLINE.contains(role));
        // If the snapshot cannot be renewed, renew the timestamp alone. Renew other roles only after the timestamp, so
        // that an error in another role cannot prevent the renewal of the timestamp.
        if !online.is_empty() && !self.renew(&mut repository, &online, events) && online.len() > 1 {
            self.renew(&mut repository, &[RoleName::TIMESTAMP], events);
        }
        for role in others {
            self.renew(&mut repository, &[role], events);
        }
        let schedules = self.schedules(&mut repository, events);
        self.report(&repository, &schedules, now, events);
        self.push(repository, events)?;
        Ok(schedules.iter().map(|schedule| schedule.at).min().unwrap_or(now + MAX_PAUSE))
    }

    fn open(&self) -> Result<Repository, Error> {
        Repository::open_for_change(&self.dir, &self.invocation)
    }

    /// Returns when to renew each watched role that this process can sign for. Adds an event for each role that cannot
    /// be read.
    fn schedules(&mut self, repository: &mut Repository, events: &mut Vec<Event>) -> Vec<Schedule> {
        let mut roles = RoleName::ONLINE.to_vec();
        for name in &self.names.clone() {
            let found = repository.published.named(name).and_then(|found| {
                found.iter().try_for_each(|role| read(repository, role))?;
                Ok(found)
            });
            match found {
                Ok(found) => roles.extend(found),
                Err(error) => self.fail(&[], error, events),
            }
        }
        let now = (self.clock)();
        let able = roles.into_iter().filter(|role| repository.can_sign(role));
        let schedules = able.filter_map(|role| {
            let (version, expires) = version_of(repository, &role)?;
            let config = repository.config.role(&role);
            let planned = self.jitter.renewal_time(&role, (version, expires), &config);
            // If the clock was set back, ignore a retry time that is now too far in the future.
            let retry = self.failed.get(&Some(role.clone())).filter(|retry| retry.at - now <= MAX_RETRY_DELAY);
            let at = retry.map_or(planned, |retry| planned.max(retry.at));
            Some(Schedule { role, version, expires, at })
        });
        schedules.collect()
    }

    /// Renews roles and publishes them together. Returns whether this succeeded.
    fn renew(&mut self, repository: &mut Repository, roles: &[RoleName], events: &mut Vec<Event>) -> bool {
        match publish(repository, roles) {
            Ok(()) => {
                for role in roles {
                    self.failed.remove(&Some(role.clone()));
                    if let Some((version, expires)) = version_of(repository, role) {
                        events.push(Event::Renewed { role: role.clone(), version, expires });
                    }
                }
                true
            }
            Err(error) => {
                self.fail(roles, error, events);
                false
            }
        }
    }

    fn fail(&mut self, roles: &[RoleName], error: Error, events: &mut Vec<Event>) {
        let again = roles.iter().map(|role| self.retry(Some(role.clone()))).min();
        let again = again.unwrap_or_else(|| (self.clock)() + MAX_RETRY_DELAY);
        events.push(Event::Failed { roles: roles.to_vec(), error, again });
    }

    /// Records a failed attempt, and returns the time at which to repeat it. The pause begins now and not when the
    /// attempt began, because the attempt may have taken longer than the pause.
    fn retry(&mut self, role: Option<RoleName>) -> DateTime<Utc> {
        let now = (self.clock)();
        let retry = self.failed.entry(role).or_insert(Retry { failures: 0, at: now });
        let pause = FIRST_RETRY_DELAY * 2_i32.saturating_pow(retry.failures.min(10));
        retry.failures += 1;
        retry.at = now + pause.min(MAX_RETRY_DELAY);
        retry.at
    }

    /// Adds an event for each planned renewal that has not been reported yet. Also adds an event for each role that is
    /// due but is not renewed by this process.
    fn report(&mut self, repository: &Repository, schedules: &[Schedule], now: DateTime<Utc>, events: &mut Vec<Event>) {
        for Schedule { role, version, expires, at } in schedules {
            if self.is_new(role, Reported::Planned(*version)) {
                events.push(Event::Planned { role: role.clone(), version: *version, expires: *expires, at: *at });
            }
        }
        let read = repository.published.read_roles().map(|(role, _)| role.clone());
        for role in [RoleName::ROOT, RoleName::SNAPSHOT, RoleName::TIMESTAMP].into_iter().chain(read) {
            let Some((version, expires)) = version_of(repository, &role) else { continue };
            let renewal = repository.config.role(&role).renewal(expires, now);
            let is_planned = schedules.iter().any(|schedule| schedule.role == role);
            if is_planned || renewal < Renewal::Due || !self.is_new(&role, Reported::NotRenewed(version, renewal)) {
                continue;
            }
            let reason = if repository.can_sign(&role) { Reason::NotWatched } else { Reason::KeysMissing };
            events.push(Event::NotRenewed { role, expires, renewal, reason });
        }
    }

    /// Records the report about a role, and returns whether it differs from the last report.
    fn is_new(&mut self, role: &RoleName, report: Reported) -> bool {
        self.reported.insert(role.clone(), report) != Some(report)
    }

    /// Pushes the published state, unless the destination already has it. Releases the lock of the repository first,
    /// because a long upload must not block other commands.
    fn push(&mut self, mut repository: Repository, events: &mut Vec<Event>) -> Result<(), Error> {
        let Some(remote) = self.remote.as_ref().filter(|_| self.needs_push(&repository)) else { return Ok(()) };
        repository.unlock();
        if let Some((url, timestamp)) = remote.push(&mut repository)? {
            events.push(Event::Pushed { url, timestamp });
        }
        self.pushed = Some(repository.published.timestamp.version);
        Ok(())
    }

    /// Returns whether the published state may be newer than the state at the destination. Other processes may have
    /// published since the last push of this process.
    fn needs_push(&self, repository: &Repository) -> bool {
        self.remote.is_some() && self.pushed != Some(repository.published.timestamp.version)
    }

    /// Returns whether there is a destination, or a server with which the folder is to be compared. The user's
    /// configuration contains the URL of the server.
    fn has_server(&self, repository: &Repository) -> Result<bool, Error> {
        if self.remote.is_some() {
            return Ok(true);
        }
        let compares = self.invocation.served == ServedState::Compare;
        Ok(compares && self.invocation.user.metadata_url(repository.digest)?.is_some())
    }

    /// Adopts newer files from the destination or, if there is none, from the server.
    fn catch_up(&self) -> Result<(), Error> {
        if let Some(remote) = &self.remote {
            return remote.catch_up(&self.dir, &self.invocation);
        }
        let digest = RootDigest::of(&roots::oldest_root(&self.invocation.layout(&self.dir))?);
        let Some(url) = self.invocation.user.metadata_url(digest)? else { return Ok(()) };
        catch_up(&self.dir, &self.invocation, &url, Foreign::Refuse, Mode::Apply).map(drop)
    }
}

/// Signs roles again and publishes them.
fn publish(repository: &mut Repository, roles: &[RoleName]) -> Result<(), Error> {
    let mut edit = repository.edit(Draft::default());
    for role in roles {
        edit.sign_again(role)?;
    }
    let draft = edit.finish()?;
    let plan = repository.plan(draft, Signing::Now)?;
    let incomplete: Vec<RoleName> = plan.completed.incomplete().map(|document| document.role.clone()).collect();
    if !incomplete.is_empty() {
        return Err(Error::MissingKeys { roles: incomplete });
    }
    repository.conclude(&plan, &mut Unobserved).map(drop)
}

/// Reads the metadata of `role`, unless it is a top-level role. Top-level roles were read when the repository was
/// opened.
fn read(repository: &mut Repository, role: &RoleName) -> Result<(), Error> {
    if role.is_top_level() { Ok(()) } else { repository.published.role(role).map(drop) }
}

/// Returns the published version of a role and the date at which it expires, or `None` if the role has not been read
/// yet.
fn version_of(repository: &Repository, role: &RoleName) -> Option<(Version, DateTime<Utc>)> {
    let published = &repository.published;
    let expires = match role.as_str() {
        "root" => published.root.expires,
        "snapshot" => published.snapshot.expires,
        "timestamp" => published.timestamp.expires,
        _ => published.known(role)?.expires,
    };
    Some((published.version(role)?, expires))
}
