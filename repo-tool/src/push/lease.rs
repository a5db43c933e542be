//! A lock on an object store or an SFTP server, which its holder must renew.
//!
//! The lock is an object that only one process can create or replace, because the server refuses writes whose condition
//! is not met. The holder replaces the object at a third of the lease's duration. Another process may take the lock
//! after it has seen the same version of the object for the whole duration. It measures this time with its own clock,
//! so clocks of different machines are never compared.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lastmile_client::BaseUrl;
use serde::{Deserialize, Serialize};

use crate::invocation::LockWait;
use crate::push::destination::{Lease, Object, Written};
use crate::{Error, PushError};

/// The name of the lock object.
pub(crate) const LOCK: &str = ".lastmile-lock";
/// The maximum length of the lock object, in bytes.
pub(crate) const LONGEST_LOCK: u64 = 4096;
/// The duration of a lock whose content cannot be read.
const DURATION: Duration = Duration::from_secs(30);
/// The longest duration that another holder can ask for.
const LONGEST: Duration = Duration::from_secs(600);

/// The object that represents the lock.
pub(crate) trait LockObject: Send + Sync {
    fn url(&self) -> &BaseUrl;
    fn read(&self) -> Result<Option<Object>, Error>;
    fn create(&self, bytes: &[u8]) -> Result<Written, Error>;
    fn replace(&self, bytes: &[u8], expected: &Object) -> Result<Written, Error>;
}

/// The content of the lock object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    /// A random name of the holder. It is empty after the lock was released.
    holder: String,
    /// The duration of the lease in milliseconds.
    milliseconds: u64,
    /// The number of renewals.
    renewals: u64,
}

impl Content {
    fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Parses the content of the object. Anything else counts as a lock with the default duration.
    fn parse(bytes: &[u8]) -> Self {
        let unknown = || Self { holder: "unknown".to_string(), milliseconds: millis(DURATION), renewals: 0 };
        serde_json::from_slice(bytes).unwrap_or_else(|_| unknown())
    }

    fn duration(&self) -> Duration {
        Duration::from_millis(self.milliseconds).min(LONGEST)
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
    duration: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    content: Content,
    /// The lock object as this process last wrote it, or `None` if the lock was lost.
    object: Option<Object>,
    /// A time before the last successful renewal.
    renewed: Instant,
    is_ending: bool,
}

impl StoreLease {
    /// Takes the lock, and starts to renew it. Waits for at most `wait.at_most` while another process holds it.
    pub(crate) fn take(lock: Arc<dyn LockObject>, duration: Duration, wait: &LockWait) -> Result<Self, Error> {
        let content = Content { holder: random_name()?, milliseconds: millis(duration), renewals: 0 };
        let start = Instant::now();
        let mut watched: Option<(Object, Instant)> = None;
        let mut has_waited = false;
        let (object, renewed) = loop {
            let before = Instant::now();
            if let Some(object) = attempt(lock.as_ref(), &content, &mut watched)? {
                break (object, before);
            }
            if start.elapsed() >= wait.at_most {
                return Err(PushError::Busy { url: lock.url().clone() }.into());
            }
            if !has_waited {
                has_waited = true;
                (wait.on_wait)();
            }
            std::thread::sleep((duration / 10).clamp(Duration::from_millis(20), Duration::from_secs(1)));
        };
        let state = Mutex::new(State { content, object: Some(object), renewed, is_ending: false });
        let shared = Arc::new(Shared { lock, duration, state, changed: Condvar::new() });
        let renewing = Arc::clone(&shared);
        let renewer = std::thread::Builder::new().spawn(move || renewing.renew_until_end());
        let renewer = renewer.map_err(crate::NetworkError::Runtime)?;
        Ok(Self { shared, renewer: Some(renewer) })
    }

    /// Reads the lock object, and checks that this process still holds the lock.
    ///
    /// # Errors
    /// [`PushError::LeaseLost`] if another process has taken the lock.
    #[cfg(feature = "ssh")]
    pub(crate) fn confirm(&self) -> Result<(), Error> {
        // While this process reads, it does not renew the lock.
        let state = self.shared.state();
        let there = self.shared.lock.read()?;
        if there.is_some_and(|there| Content::parse(&there.bytes).holder == state.content.holder) {
            return Ok(());
        }
        Err(self.shared.lost())
    }
}

/// Tries once to take the lock. Returns the object as it was written. `watched` is the object of another holder, and
/// the time when this process first saw it.
fn attempt(
    lock: &dyn LockObject,
    content: &Content,
    watched: &mut Option<(Object, Instant)>,
) -> Result<Option<Object>, Error> {
    let seen = Instant::now();
    let written = match lock.read()? {
        None => lock.create(&content.text())?,
        Some(found) => {
            let there = Content::parse(&found.bytes);
            let since = watched.as_ref().filter(|(object, _)| object.is_same(&found)).map(|(_, since)| *since);
            let is_abandoned = since.is_some_and(|since| since.elapsed() > there.duration());
            if !there.holder.is_empty() && !is_abandoned {
                *watched = Some((found, since.unwrap_or(seen)));
                return Ok(None);
            }
            lock.replace(&content.text(), &found)?
        }
    };
    if written == Written::Refused {
        return Ok(None);
    }
    Ok(lock.read()?.filter(|found| Content::parse(&found.bytes) == *content))
}

/// Returns a name that no other process has.
pub(crate) fn random_name() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| crate::NetworkError::Runtime(error.into()))?;
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
        let pause = self.duration / 3;
        loop {
            let state = self.state();
            let waited = self.changed.wait_timeout_while(state, pause, |state| !state.is_ending);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if state.is_ending || state.object.is_none() {
                return;
            }
            let before = Instant::now();
            let mut content = state.content.clone();
            content.renewals += 1;
            let Some(object) = &state.object else { return };
            match self.lock.replace(&content.text(), object) {
                Ok(Written::Done) => {
                    // Only this process replaces an object that it holds, so the object that is read is its own.
                    state.object = match self.lock.read() {
                        Ok(Some(found)) if Content::parse(&found.bytes) == content => Some(found),
                        _ => None,
                    };
                    state.content = content;
                    state.renewed = before;
                }
                Ok(Written::Refused) => state.object = None,
                // Try again after the next pause. The lease is lost when its duration has passed.
                Err(_) => {}
            }
        }
    }
}

impl Lease for StoreLease {
    fn check(&self) -> Result<(), Error> {
        let state = self.shared.state();
        // Leave a quarter of the duration for the write that follows.
        let is_fresh = state.renewed.elapsed() < self.shared.duration * 3 / 4;
        if state.object.is_some() && is_fresh {
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
        let mut state = self.shared.state();
        if let Some(object) = state.object.take() {
            let released = Content { holder: String::new(), ..state.content.clone() };
            // Without this write, the next process waits until the lease has expired.
            let _ = self.shared.lock.replace(&released.text(), &object);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lock object in memory, with a counter as its version.
    struct Memory {
        url: BaseUrl,
        object: Mutex<Option<(Vec<u8>, u64)>>,
    }

    impl Memory {
        fn new() -> Arc<Self> {
            Arc::new(Self { url: BaseUrl::new("s3://bucket/a").unwrap(), object: Mutex::new(None) })
        }

        fn steal(&self) {
            *self.object.lock().unwrap() = Some((b"{}".to_vec(), 1000));
        }
    }

    impl LockObject for Memory {
        fn url(&self) -> &BaseUrl {
            &self.url
        }

        fn read(&self) -> Result<Option<Object>, Error> {
            let object = self.object.lock().unwrap();
            Ok(object.as_ref().map(|(bytes, version)| Object {
                bytes: bytes.clone(),
                e_tag: Some(version.to_string()),
                version: None,
            }))
        }

        fn create(&self, bytes: &[u8]) -> Result<Written, Error> {
            let mut object = self.object.lock().unwrap();
            if object.is_some() {
                return Ok(Written::Refused);
            }
            *object = Some((bytes.to_vec(), 1));
            Ok(Written::Done)
        }

        fn replace(&self, bytes: &[u8], expected: &Object) -> Result<Written, Error> {
            let mut object = self.object.lock().unwrap();
            match &mut *object {
                Some((_, version)) if expected.e_tag == Some(version.to_string()) => {
                    let next = *version + 1;
                    *object = Some((bytes.to_vec(), next));
                    Ok(Written::Done)
                }
                _ => Ok(Written::Refused),
            }
        }
    }

    fn within(at_most: Duration) -> LockWait {
        LockWait { at_most, ..LockWait::none() }
    }

    const SHORT: Duration = Duration::from_millis(300);

    fn is_busy(taken: &Result<StoreLease, Error>) -> bool {
        matches!(taken, Err(Error::Push(PushError::Busy { .. })))
    }

    #[test]
    fn a_renewed_lease_is_not_taken_over_and_a_released_one_is_free_at_once() {
        let memory = Memory::new();
        let held = StoreLease::take(memory.clone(), SHORT, &LockWait::none()).unwrap();
        assert!(is_busy(&StoreLease::take(memory.clone(), SHORT, &within(SHORT * 4))));
        held.check().unwrap();
        drop(held);
        StoreLease::take(memory, SHORT, &LockWait::none()).unwrap().check().unwrap();
    }

    #[test]
    fn an_abandoned_lease_is_taken_over_only_after_its_duration() {
        let memory = Memory::new();
        let content = Content { holder: "gone".to_string(), milliseconds: millis(SHORT), renewals: 7 };
        memory.create(&content.text()).unwrap();
        assert!(is_busy(&StoreLease::take(memory.clone(), SHORT, &within(SHORT / 3))));
        let start = Instant::now();
        StoreLease::take(memory, SHORT, &within(SHORT * 20)).unwrap();
        assert!(start.elapsed() >= SHORT);
    }

    #[test]
    fn a_lost_lease_is_noticed() {
        let memory = Memory::new();
        let held = StoreLease::take(memory.clone(), SHORT, &LockWait::none()).unwrap();
        memory.steal();
        let start = Instant::now();
        while held.check().is_ok() {
            assert!(start.elapsed() < Duration::from_secs(30));
            std::thread::yield_now();
        }
        drop(held);
        assert_eq!(memory.read().unwrap().unwrap().bytes, b"{}", "another holder's lock is not released");
    }
}
