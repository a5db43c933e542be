//! Tests of the lock, with a lock object in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::*;

/// A lock object in memory, with a counter as its version.
struct Memory {
    url: BaseUrl,
    object: Mutex<Option<(Vec<u8>, u64)>>,
    /// Every replacement of the object waits while a test locks this mutex.
    stuck: Mutex<()>,
    fault: Mutex<Option<Fault>>,
}

/// A fault of the network. The server has already carried out the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The reply to the write is lost.
    NoReply,
    /// The reply to the write is lost, so the request is repeated, and the repetition is refused.
    Repeated,
    /// The read that follows the write fails.
    NoRead,
}

fn no_reply<T>() -> Result<T, Error> {
    Err(crate::NetworkError::Runtime(io::ErrorKind::TimedOut.into()).into())
}

impl Memory {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            url: BaseUrl::new("s3://bucket/a").unwrap(),
            object: Mutex::new(None),
            stuck: Mutex::new(()),
            fault: Mutex::new(None),
        })
    }

    /// Returns the result of a write that was carried out.
    fn reply(&self) -> Result<Written, Error> {
        match self.fault.lock().unwrap().take_if(|fault| *fault != Fault::NoRead) {
            Some(Fault::NoReply) => no_reply(),
            Some(_) => Ok(Written::Refused),
            None => Ok(Written::Done),
        }
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
        if self.fault.lock().unwrap().take_if(|fault| *fault == Fault::NoRead).is_some() {
            return no_reply();
        }
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
        self.reply()
    }

    fn replace(&self, bytes: &[u8], expected: &Object) -> Result<Written, Error> {
        let _stuck = self.stuck.lock().unwrap();
        let mut object = self.object.lock().unwrap();
        match &mut *object {
            Some((_, version)) if expected.e_tag == Some(version.to_string()) => {
                let next = *version + 1;
                *object = Some((bytes.to_vec(), next));
                self.reply()
            }
            _ => Ok(Written::Refused),
        }
    }
}

fn take(memory: &Arc<Memory>, duration: Duration, wait: &LockWait) -> Result<StoreLease, Error> {
    StoreLease::take(memory.clone(), duration, wait, Clock::of_system())
}

fn within(at_most: Duration) -> LockWait {
    LockWait { at_most, ..LockWait::none() }
}

const SHORT: Duration = Duration::from_millis(300);

fn is_busy(taken: &Result<StoreLease, Error>) -> bool {
    matches!(taken, Err(Error::Push(PushError::Busy { .. })))
}

fn is_locked_for(taken: &Result<StoreLease, Error>, expected: u64) -> bool {
    matches!(taken, Err(Error::Push(PushError::Locked { seconds, .. })) if *seconds == expected)
}

#[test]
fn a_renewed_lease_is_not_taken_over_and_a_released_one_is_free_at_once() {
    let memory = Memory::new();
    let held = take(&memory, SHORT, &LockWait::none()).unwrap();
    assert!(is_busy(&take(&memory, SHORT, &within(SHORT * 4))));
    held.check().unwrap();
    drop(held);
    take(&memory, SHORT, &LockWait::none()).unwrap().check().unwrap();
}

#[test]
fn an_abandoned_lease_is_taken_over_only_after_its_duration() {
    let memory = Memory::new();
    let content = Content { holder: "gone".to_string(), milliseconds: millis(SHORT), renewals: 7 };
    memory.create(&content.text()).unwrap();
    assert!(is_locked_for(&take(&memory, SHORT, &within(SHORT / 3)), 1));
    let start = Instant::now();
    take(&memory, SHORT, &within(SHORT * 20)).unwrap();
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn a_lost_lease_is_noticed() {
    let memory = Memory::new();
    let held = take(&memory, SHORT, &LockWait::none()).unwrap();
    memory.steal();
    let start = Instant::now();
    while held.check().is_ok() {
        assert!(start.elapsed() < Duration::from_secs(30));
        std::thread::yield_now();
    }
    drop(held);
    assert_eq!(memory.read().unwrap().unwrap().bytes, b"{}", "another holder's lock is not released");
}

#[test]
fn a_lock_that_was_watched_for_less_than_its_duration_may_be_abandoned() {
    let memory = Memory::new();
    let content = Content { holder: "other".to_string(), milliseconds: 90_000, renewals: 7 };
    memory.create(&content.text()).unwrap();
    assert!(is_locked_for(&take(&memory, SHORT, &LockWait::none()), 90));
    let error = take(&memory, SHORT, &LockWait::none()).err().unwrap().to_string();
    assert!(error.contains("expires 90 seconds after its last renewal"), "{error}");
}

#[test]
fn the_lease_has_expired_after_the_machine_was_suspended() {
    let memory = Memory::new();
    let hour = Duration::from_secs(3600);
    let suspended = Arc::new(AtomicU64::new(0));
    let (seconds, system) = (Arc::clone(&suspended), Clock::of_system());
    let clock = Clock::new(move || system.now() + Duration::from_secs(seconds.load(Ordering::SeqCst)));
    let held = StoreLease::take(memory.clone(), hour, &LockWait::none(), clock).unwrap();
    held.check().unwrap();
    suspended.store(hour.as_secs(), Ordering::SeqCst);
    assert!(matches!(held.check(), Err(Error::Push(PushError::LeaseLost { .. }))));
}

#[test]
fn a_lease_is_lost_while_a_renewal_is_stuck() {
    let memory = Memory::new();
    let held = take(&memory, SHORT, &LockWait::none()).unwrap();
    let stuck = memory.stuck.lock().unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while held.check().is_ok() {
                std::thread::yield_now();
            }
            send.send(held.check()).unwrap();
        });
        let checked = receive.recv_timeout(Duration::from_secs(30));
        drop(stuck);
        assert!(matches!(checked, Ok(Err(Error::Push(PushError::LeaseLost { .. })))), "{checked:?}");
    });
}

#[cfg(feature = "ssh")]
#[test]
fn a_lease_is_confirmed_only_while_this_process_holds_it_and_the_server_responds() {
    let long = SHORT * 10;
    let memory = Memory::new();
    let held = take(&memory, long, &LockWait::none()).unwrap();
    held.confirm().unwrap();
    let is_lost = |held: &StoreLease| matches!(held.confirm(), Err(Error::Push(PushError::LeaseLost { .. })));
    let stuck = memory.stuck.lock().unwrap();
    assert!(is_lost(&held));
    drop(stuck);
    drop(held);
    let held = take(&memory, long, &LockWait::none()).unwrap();
    memory.steal();
    let start = Instant::now();
    assert!(is_lost(&held));
    assert!(start.elapsed() < long / 2, "the loss must be noticed at once");
}

#[cfg(feature = "ssh")]
#[test]
fn a_lease_is_kept_after_a_temporary_failure_of_a_renewal() {
    for fault in [Fault::NoReply, Fault::Repeated, Fault::NoRead] {
        let memory = Memory::new();
        let held = take(&memory, SHORT * 20, &LockWait::none()).unwrap();
        *memory.fault.lock().unwrap() = Some(fault);
        held.confirm().unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(*memory.fault.lock().unwrap(), None, "{fault:?}");
        drop(held);
        take(&memory, SHORT, &LockWait::none()).unwrap_or_else(|error| panic!("not released, {fault:?}: {error}"));
    }
}

#[test]
fn a_lock_is_taken_although_the_reply_was_lost() {
    let memory = Memory::new();
    *memory.fault.lock().unwrap() = Some(Fault::Repeated);
    take(&memory, SHORT, &LockWait::none()).unwrap().check().unwrap();
}
