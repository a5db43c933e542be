//! For tests: a machine that dies, or a disk that refuses, at any call that changes a disk ([`crate::disk`]).

#![expect(clippy::disallowed_methods, reason = "a test cuts files short as a loss of power does")]

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::disk::{Call, Place};

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process dies before it: nothing that comes later happens.
    Die,
    /// The process dies in the middle of it: half of the bytes are written.
    Torn,
    /// The power fails before it: of files that were not synced, half is lost.
    Power,
    /// It fails with this error number; what comes later goes well. A write that fails writes half.
    Once(i32),
    /// It fails with this error number, and so does all that comes later, as on a disk that stays full.
    FromNowOn(i32),
}

impl Fault {
    /// `ENOSPC`, `EIO`, `EROFS` and `EACCES`, by number.
    pub const ERRORS: [i32; 4] = [
        Errno::NOSPC.raw_os_error(),
        Errno::IO.raw_os_error(),
        Errno::ROFS.raw_os_error(),
        Errno::ACCESS.raw_os_error(),
    ];
}

/// A fault that is armed for the calls below one folder, until it is dropped.
#[derive(Debug)]
pub struct Armed(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    below: PathBuf,
    /// At which call, counted from 0.
    at: usize,
    fault: Fault,
    calls: Vec<(Call, PathBuf)>,
    unsynced: Vec<File>,
}

static ARMED: Mutex<Vec<Arc<Mutex<State>>>> = Mutex::new(Vec::new());

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Arms `fault` for the call number `at`, counted from 0, of those below the folder `below` in this process.
#[must_use]
pub fn arm(below: &Path, at: usize, fault: Fault) -> Armed {
    let state = State { below: below.to_owned(), at, fault, calls: Vec::new(), unsynced: Vec::new() };
    let state = Arc::new(Mutex::new(state));
    lock(&ARMED).push(Arc::clone(&state));
    Armed(state)
}

impl Armed {
    /// The calls so far: what, and where.
    #[must_use]
    pub fn calls(&self) -> Vec<(Call, PathBuf)> {
        lock(&self.0).calls.clone()
    }

    /// Whether it has struck.
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

/// What is armed for this path.
fn armed_for(path: &Path) -> Option<Arc<Mutex<State>>> {
    lock(&ARMED).iter().find(|state| path.starts_with(&lock(state).below)).cloned()
}

/// Called before each call.
pub(crate) fn inject_fault(call: Call, place: Place<'_>) -> io::Result<()> {
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
        // Whoever has no room can still make some; whoever may not write, may not remove.
        Fault::FromNowOn(error) if error == Errno::NOSPC.raw_os_error() => match call {
            Call::Remove | Call::RemoveFolder | Call::Lock | Call::Empty => Ok(()),
            _ => Err(io::Error::from_raw_os_error(error)),
        },
        Fault::FromNowOn(error) => Err(io::Error::from_raw_os_error(error)),
        Fault::Die | Fault::Torn | Fault::Power => {
            if state.fault == Fault::Power {
                state.lose_unsynced();
            }
            let is_torn = state.fault == Fault::Torn && number == state.at;
            Err(io::Error::other(if is_torn { TORN } else { "the machine has died" }))
        }
    }
}

const TORN: &str = "the machine dies in the middle of this";

/// Of a write that fails, half happens.
pub(crate) fn write_torn(injected: &io::Result<()>, file: &mut File, bytes: &[u8]) {
    let is_torn = |error: &io::Error| error.raw_os_error().is_some() || error.to_string() == TORN;
    if injected.as_ref().is_err_and(is_torn) {
        let _ = file.write_all(bytes.get(..bytes.len() / 2).unwrap_or_default());
    }
}

/// Bytes were written that are not durable yet.
pub(crate) fn wrote(path: &Path, file: &File) {
    if let (Some(state), Ok(file)) = (armed_for(path), file.try_clone()) {
        let mut state = lock(&state);
        state.unsynced.retain(|other| id(other) != id(&file));
        state.unsynced.push(file);
    }
}

/// The bytes of this file are durable.
pub(crate) fn synced(file: &File) {
    for state in lock(&ARMED).iter() {
        lock(state).unsynced.retain(|other| id(other) != id(file));
    }
}

/// All is durable.
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
