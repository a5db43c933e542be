//! Fault injection for tests: simulates a crash or a disk failure at any call that changes a disk ([`crate::disk`]).

#![expect(clippy::disallowed_methods, reason = "the simulated loss of power truncates files")]

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::{Place, Syscall};

/// A fault to inject at a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process crashes before the call. All later calls fail.
    Die,
    /// The process crashes during the call. If the call is a write, half of its bytes are written.
    Torn,
    /// Power is lost before the call. Each file with content that was not made durable (fsync) loses half of its bytes.
    Power,
    /// The call fails with the given error number, and later calls succeed. If the call is a write, half of its bytes
    /// are written.
    Once(i32),
    /// The call and all later calls fail with the given error number, as on a disk that stays full. With `ENOSPC`,
    /// locking and the calls that free space still succeed. If a failing call is a write, half of its bytes are
    /// written.
    FromNowOn(i32),
}

impl Fault {
    /// The error numbers of `ENOSPC`, `EIO`, `EROFS` and `EACCES`.
    pub const ERRORS: [i32; 4] = [
        Errno::NOSPC.raw_os_error(),
        Errno::IO.raw_os_error(),
        Errno::ROFS.raw_os_error(),
        Errno::ACCESS.raw_os_error(),
    ];
}

/// A fault that is armed for system calls on files below one folder. Dropping this value disarms the fault.
#[derive(Debug)]
pub struct Armed(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    below: PathBuf,
    /// The number of the call at which the fault occurs, counted from 0.
    at: usize,
    fault: Fault,
    calls: Vec<(Syscall, PathBuf)>,
    unsynced: Vec<File>,
}

static ARMED: Mutex<Vec<Arc<Mutex<State>>>> = Mutex::new(Vec::new());

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Arms `fault` for the files below the folder `below`. From now on, the calls that this process makes on these files
/// are counted. The fault occurs at call number `at`; the first call has the number 0.
#[must_use]
pub fn arm(below: &Path, at: usize, fault: Fault) -> Armed {
    let state = State { below: below.to_owned(), at, fault, calls: Vec::new(), unsynced: Vec::new() };
    let state = Arc::new(Mutex::new(state));
    lock(&ARMED).push(Arc::clone(&state));
    Armed(state)
}

impl Armed {
    /// Returns all calls on files below the folder so far, with their paths.
    #[must_use]
    pub fn calls(&self) -> Vec<(Syscall, PathBuf)> {
        lock(&self.0).calls.clone()
    }

    /// Returns whether the fault has occurred.
    #[must_use]
    pub fn has_struck(&self) -> bool {
        let state = lock(&self.0);
        state.calls.len() > state.at
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        lock(&ARMED).retain(|other| !Arc::ptr_eq(other, &self.0));
    }
}

fn armed_for(path: &Path) -> Option<Arc<Mutex<State>>> {
    lock(&ARMED).iter().find(|state| path.starts_with(&lock(state).below)).cloned()
}

/// If a fault is armed for the file, records the system call, and returns an error if the call must fail. Every
/// function of [`crate::disk`] that changes the disk calls this function first.
pub(crate) fn inject_fault(call: Syscall, place: Place<'_>) -> io::Result<()> {
    let path = place.path();
    let Some(state) = armed_for(&path) else { return Ok(()) };
    let mut state = lock(&state);
    let number = state.calls.len();
    state.calls.push((call, path));
    if number < state.at {
        return Ok(());
    }
    match state.fault {
        Fault::Once(error) if number == state.at => Err(io::Error::from_raw_os_error(error)),
        Fault::Once(_) => Ok(()),
        // On a full disk, locking and the calls that free space still succeed. After any other error, these calls fail
        // too.
        Fault::FromNowOn(error) if error == Errno::NOSPC.raw_os_error() => match call {
            Syscall::Remove | Syscall::RemoveFolder | Syscall::Lock | Syscall::Empty => Ok(()),
            _ => Err(io::Error::from_raw_os_error(error)),
        },
        Fault::FromNowOn(error) => Err(io::Error::from_raw_os_error(error)),
        Fault::Die | Fault::Torn | Fault::Power => {
            if state.fault == Fault::Power {
                state.lose_unsynced();
            }
            let is_torn = state.fault == Fault::Torn && number == state.at;
            Err(io::Error::other(if is_torn { TORN } else { "the simulated process has crashed" }))
        }
    }
}

const TORN: &str = "the simulated process crashes during this call";

/// Writes half of `bytes` if the injected fault makes this write fail or crashes the process during this write.
/// Otherwise, writes nothing.
pub(crate) fn write_torn(injected: &io::Result<()>, bytes: &[u8], write: impl FnOnce(&[u8]) -> io::Result<()>) {
    let is_torn = |error: &io::Error| error.raw_os_error().is_some() || error.to_string() == TORN;
    if injected.as_ref().is_err_and(is_torn) {
        let _ = write(bytes.get(..bytes.len() / 2).unwrap_or_default());
    }
}

/// Records that the file has content that is not durable yet.
pub(crate) fn wrote(path: &Path, file: &File) {
    if let (Some(state), Ok(file)) = (armed_for(path), file.try_clone()) {
        let mut state = lock(&state);
        state.unsynced.retain(|other| id(other) != id(&file));
        state.unsynced.push(file);
    }
}

pub(crate) fn synced(file: &File) {
    for state in lock(&ARMED).iter() {
        lock(state).unsynced.retain(|other| id(other) != id(file));
    }
}

pub(crate) fn all_synced() {
    for state in lock(&ARMED).iter() {
        lock(state).unsynced.clear();
    }
}

fn id(file: &File) -> Option<(u64, u64)> {
    file.metadata().ok().map(|found| (found.dev(), found.ino()))
}

impl State {
    fn lose_unsynced(&mut self) {
        for file in std::mem::take(&mut self.unsynced) {
            let _ = file.metadata().and_then(|found| file.set_len(found.len() / 2));
        }
    }
}
