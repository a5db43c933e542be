//! A lock on an object store or an SFTP server, which its holder must renew.
//!
//! The lock is an object that only one process can create or replace, because the server refuses writes whose condition
//! is not met. The holder replaces the object whenever a third of the lease's duration has passed. Another process may
//! take the lock if the object has not changed during one lease duration. The other process measures this duration with
//! its own clock, so clocks of different machines are never compared. This clock keeps running while the machine is
//! suspended. After a suspension, the holder can therefore tell that it may have lost the lock.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lastmile_client::BaseUrl;
use serde::{Deserialize, Serialize};

use crate::invocation::LockWait;
use crate::push::clock::Clock;
use crate::push::destination::{Lease, Object, Written};
use crate::{Error, PushError};

pub(crate) const LOCK: &str = ".lastmile-lock";
/// The maximum length of the lock object, in bytes.
pub(crate) const MAX_LOCK_LENGTH: u64 = 4096;
/// The duration that is assumed for a lock whose content cannot be parsed.
const DURATION: Duration = Duration::from_secs(30);
/// The maximum duration of a lock. If a lock object contains a longer duration, this maximum applies instead.
const MAX_DURATION: Duration = Duration::from_secs(600);

pub(crate) trait LockObject: Send + Sync {
    fn url(&self) -> &BaseUrl;
    fn read(&self) -> Result<Option<Object>, Error>;
    fn create(&self, bytes: &[u8]) -> Result<Written, Error>;
    fn replace(&self, bytes: &[u8], expected: &Object) -> Result<Written, Error>;
}

/// The content of the lock object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    /// The random name of the holder. It is empty once the lock is released.
    holder: String,
    /// The duration of the lease in milliseconds.
    milliseconds: u64,
    /// Counts the attempts to renew the lock, so that the content shows which attempt has written it.
    renewals: u64,
}

impl Content {
    fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Content that cannot be parsed counts as a lock of an unknown holder with the default duration.
    fn parse(bytes: &[u8]) -> Self {
        let unknown = || Self { holder: "unknown".to_string(), milliseconds: millis(DURATION), renewals: 0 };
        serde_json::from_slice(bytes).unwrap_or_else(|_| unknown())
    }

    fn duration(&self) -> Duration {
        Duration::from_millis(self.milliseconds).min(MAX_DURATION)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A held lock.
pub(crate) struct StoreLease {
    shared: Arc<Shared>,
    renewer: Option<JoinHandle<()>>,
}

struct Shared {
    lock: Arc<dyn LockObject>,
    validity: Arc<Validity>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    content: Content,
    /// The lock object as this process read it after its last successful write, or `None` if the lock was lost.
    object: Option<Object>,
    /// Whether the lock must be renewed immediately, without waiting for the current pause to end.
    is_due: bool,
    is_ending: bool,
    /// The error of the last attempt to renew the lock, if it is not known whether this attempt succeeded.
    failure: Option<Error>,
}

/// Determines how long a lock stays valid.
#[derive(Debug)]
pub(super) struct Validity {
    clock: Clock,
    duration: Duration,
    /// The time at which the last successful renewal began. `None` if the lock was lost or released.
    renewed: Mutex<Option<Duration>>,
}

impl Validity {
    /// `renewed` is the time at which the request for the lock was sent.
    pub(super) fn new(clock: Clock, duration: Duration, renewed: Duration) -> Self {
        Self { clock, duration, renewed: Mutex::new(Some(renewed)) }
    }

    /// Returns true if this process certainly holds the lock and more than a quarter of the lock's duration is left.
    /// The remaining time is needed for the write that follows the check.
    pub(super) fn is_valid(&self) -> bool {
        self.left().is_some()
    }

    /// Returns how long [`Validity::is_valid`] will stay true if the lock is not lost. Returns `None` if
    /// [`Validity::is_valid`] is false now.
    fn left(&self) -> Option<Duration> {
        let renewed = (*self.renewed())?;
        (self.duration * 3 / 4).checked_sub(self.clock.elapsed(renewed)).filter(|left| !left.is_zero())
    }

    fn renewed(&self) -> MutexGuard<'_, Option<Duration>> {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lock object of another holder.
struct Watched {
    object: Object,
    /// The time when this process first saw this version of the object.
    since: Duration,
    /// Whether the object has changed while this process was waiting. A change shows that a holder is alive.
    has_changed: bool,
}

impl StoreLease {
    /// Takes the lock, and starts a thread that renews it. If another process holds the lock, waits
    /// for at most `wait.at_most`.
    pub(super) fn take(
        lock: Arc<dyn LockObject>,
        duration: Duration,
        wait: &LockWait,
        clock: Clock,
    ) -> Result<Self, Error> {
        let content = Content { holder: random_name()?, milliseconds: millis(duration), renewals: 0 };
        let start = clock.now();
        let mut watched: Option<Watched> = None;
        let mut has_waited = false;
        let (object, renewed) = loop {
            let before = clock.now();
            if let Some(object) = attempt(lock.as_ref(), &content, &mut watched, &clock)? {
                break (object, before);
            }
            if clock.elapsed(start) >= wait.at_most {
                return Err(busy(lock.url(), watched.as_ref(), wait.at_most).into());
            }
            if !has_waited {
                has_waited = true;
                (wait.on_wait)();
            }
            std::thread::sleep((duration / 10).clamp(Duration::from_millis(20), Duration::from_secs(1)));
        };
        let validity = Arc::new(Validity::new(clock, duration, renewed));
        let state = Mutex::new(State { content, object: Some(object), is_due: false, is_ending: false, failure: None });
        let shared = Arc::new(Shared { lock, validity, state, changed: Condvar::new() });
        let renewing = Arc::clone(&shared);
        let renewer = std::thread::Builder::new().spawn(move || renewing.renew_until_end());
        let renewer = renewer.map_err(crate::NetworkError::Runtime)?;
        Ok(Self { shared, renewer: Some(renewer) })
    }

    /// Renews the lock immediately, and waits until the renewal succeeds. Only the holder can renew the lock, so a
    /// renewal shows that no other process has taken the lock.
    ///
    /// # Errors
    /// [`PushError::LeaseLost`] if another process has taken the lock; the error of the last attempt if no attempt
    /// succeeded in time.
    #[cfg(feature = "ssh")]
    pub(crate) fn confirm(&self) -> Result<(), Error> {
        let validity = &self.shared.validity;
        let start = validity.clock.now();
        let mut state = self.shared.state();
        state.is_due = true;
        self.shared.changed.notify_all();
        while let Some(left) = validity.left() {
            if validity.renewed().is_some_and(|renewed| renewed >= start) {
                return Ok(());
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        Err(state.failure.take().unwrap_or_else(|| self.shared.lost()))
    }

    #[cfg(feature = "object-store")]
    pub(super) fn validity(&self) -> Arc<Validity> {
        Arc::clone(&self.shared.validity)
    }
}

/// Returns the error for a lock that could not be taken in time. If the lock object did not change while this process
/// waited, its holder may have been killed. In this case, the error contains the duration for which a process must
/// watch the object before the process can take over the lock.
fn busy(url: &BaseUrl, watched: Option<&Watched>, waited: Duration) -> PushError {
    let url = url.clone();
    match watched.map(|watched| (Content::parse(&watched.object.bytes).duration(), watched.has_changed)) {
        Some((duration, false)) if waited <= duration => {
            PushError::Locked { url, seconds: duration.as_secs_f64().ceil() as u64 }
        }
        _ => PushError::Busy { url },
    }
}

/// Tries once to take the lock. Returns the written object, or `None` if another process holds the lock. Records the
/// lock object of the other process in `watched`, to notice when this object no longer changes.
fn attempt(
    lock: &dyn LockObject,
    content: &Content,
    watched: &mut Option<Watched>,
    clock: &Clock,
) -> Result<Option<Object>, Error> {
    let now = clock.now();
    match lock.read()? {
        None => lock.create(&content.text())?,
        Some(found) => {
            let there = Content::parse(&found.bytes);
            let same = watched.as_ref().filter(|watched| watched.object.is_same(&found));
            let is_abandoned = same.is_some_and(|same| now.saturating_sub(same.since) > there.duration());
            if !there.holder.is_empty() && !is_abandoned {
                if same.is_none() {
                    *watched = Some(Watched { object: found, since: now, has_changed: watched.is_some() });
                }
                return Ok(None);
            }
            lock.replace(&content.text(), &found)?
        }
    };
    // The result of the write does not show whether this process has taken the lock: if the reply to a successful
    // request is lost, the request is repeated, and the server refuses the repetition. Only the content of the object
    // shows which process has taken the lock.
    Ok(lock.read()?.filter(|found| Content::parse(&found.bytes) == *content))
}

/// Returns a name that no other process has.
pub(crate) fn random_name() -> Result<String, Error> {
    let mut bytes = [0; 16];
    let failed = |error: getrandom::Error| crate::NetworkError::Runtime(io::Error::other(error.to_string()));
    getrandom::fill(&mut bytes).map_err(failed)?;
    Ok(hex::encode(bytes))
}

impl Shared {
    fn lost(&self) -> Error {
        PushError::LeaseLost { url: self.lock.url().clone() }.into()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renew_until_end(&self) {
        let (regular, retry) = (self.validity.duration / 3, self.validity.duration / 24);
        let mut pause = regular;
        loop {
            let state = self.state();
            let waited = self.changed.wait_timeout_while(state, pause, |state| !state.is_ending && !state.is_due);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            state.is_due = false;
            let Some(object) = state.object.clone().filter(|_| !state.is_ending) else { return };
            state.content.renewals += 1;
            let content = state.content.clone();
            // Unlock the state, so that `confirm` can stop waiting if the server does not respond.
            drop(state);
            let before = self.validity.clock.now();
            let attempt = self.renew(&content, &object);
            let mut state = self.state();
            pause = if matches!(attempt, Attempt::Renewed(_)) { regular } else { retry };
            state.failure = None;
            match attempt {
                Attempt::Renewed(object) => {
                    state.object = Some(object);
                    *self.validity.renewed() = Some(before);
                }
                Attempt::Held(object) => state.object = Some(object),
                Attempt::Lost => {
                    state.object = None;
                    *self.validity.renewed() = None;
                }
                // The lease expires if no attempt succeeds in time.
                Attempt::Unknown(error) => state.failure = Some(error),
            }
            self.changed.notify_all();
        }
    }

    /// Tries once to replace `object`, which this process wrote, with `content`.
    fn renew(&self, content: &Content, object: &Object) -> Attempt {
        // The result of the write does not show whether it was carried out: if the reply to a successful request is
        // lost, the request is repeated, and the server refuses the repetition. Only the content of the object shows
        // which process wrote the object last.
        let found = self.lock.replace(&content.text(), object).and_then(|_| self.lock.read());
        match found.map(|found| found.map(|found| (Content::parse(&found.bytes), found))) {
            Ok(Some((there, found))) if there == *content => Attempt::Renewed(found),
            Ok(Some((there, found))) if there.holder == content.holder => Attempt::Held(found),
            Ok(_) => Attempt::Lost,
            Err(error) => Attempt::Unknown(error),
        }
    }
}

/// The result of an attempt to renew the lock.
enum Attempt {
    /// The object has the content that this attempt has written.
    Renewed(Object),
    /// The object has the content of an earlier attempt of this process, which seemed to fail. The lock is still held,
    /// but this attempt has not renewed it.
    Held(Object),
    /// The object is missing, or another process has taken the lock.
    Lost,
    /// A request failed, so it is not known whether the object was replaced.
    Unknown(Error),
}

impl Lease for StoreLease {
    fn check(&self) -> Result<(), Error> {
        if self.shared.validity.is_valid() {
            return Ok(());
        }
        Err(self.shared.lost())
    }
}

impl Drop for StoreLease {
    fn drop(&mut self) {
        self.shared.state().is_ending = true;
        self.shared.changed.notify_all();
        if let Some(renewer) = self.renewer.take() {
            let _ = renewer.join();
        }
        *self.shared.validity.renewed() = None;
        let mut state = self.shared.state();
        if let Some(object) = state.object.take() {
            let released = Content { holder: String::new(), ..state.content.clone() };
            // If this write fails, the next process has to wait until the lease expires.
            let _ = self.shared.lock.replace(&released.text(), &object);
        }
    }
}
