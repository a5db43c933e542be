//! The road between repository and client: what is published, what was asked for, and what goes wrong on the way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

/// The address under which a [`Road`] answers when it is used as a `Fetch`.
pub const BASE: &str = "http://repository.test/";

/// What happens instead of an honest answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The server answers with this status and a short body.
    Status(u16),
    /// Nothing arrives until the client gives up.
    Timeout,
    /// The connection breaks before the reply.
    Reset,
    /// The file begins as published and never ends.
    Endless,
    /// The connection breaks after so many bytes.
    Truncated(usize),
    /// Other bytes than the published ones.
    Body(Vec<u8>),
}

/// What a request meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The published file.
    File(Vec<u8>),
    /// Nothing is published there.
    Absent,
    /// What [`Road::fault`] asked for, with the file as far as one is published.
    Fault(Fault, Vec<u8>),
}

#[derive(Debug, Default, Clone)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    faults: BTreeMap<String, (Fault, usize)>,
    queued: BTreeMap<String, VecDeque<Vec<u8>>>,
    requests: Vec<String>,
}

/// A shared handle: clones see the same files, faults and requests. Paths are those of the URL, as they were sent.
#[derive(Debug, Default, Clone)]
pub struct Road {
    state: Arc<Mutex<State>>,
}

impl Road {
    /// An empty road.
    #[must_use]
    pub fn new() -> Road {
        Road::default()
    }

    /// A road of its own with the same files.
    #[must_use]
    pub fn fork(&self) -> Road {
        Road { state: Arc::new(Mutex::new(State { requests: Vec::new(), ..self.state().clone() })) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds this lock")
    }

    /// Publishes `bytes` at `path`, over what was there.
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        self.state().files.insert(path.into(), bytes);
    }

    /// Takes the file at `path` away.
    pub fn remove(&self, path: &str) {
        self.state().files.remove(path);
    }

    /// The file at `path`.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.state().files.get(path).cloned()
    }

    /// All files by path.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.state().files.clone()
    }

    /// Answers every request for `path` with `fault`.
    pub fn fault(&self, path: &str, fault: Fault) {
        self.fault_times(path, fault, usize::MAX);
    }

    /// Answers the next `times` requests for `path` with `fault`.
    pub fn fault_times(&self, path: &str, fault: Fault, times: usize) {
        self.state().faults.insert(path.into(), (fault, times));
    }

    /// Answers the next requests for `path` with these, one after the other, whatever is published there.
    pub fn queue(&self, path: &str, answers: impl IntoIterator<Item = Vec<u8>>) {
        self.state().queued.entry(path.into()).or_default().extend(answers);
    }

    /// Takes all faults away.
    pub fn mend(&self) {
        self.state().faults.clear();
    }

    /// The requests since the last time this was asked, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.state().requests.clear();
    }

    /// Notes a request for `path` and decides what it meets.
    #[must_use]
    pub fn answer(&self, path: &str) -> Answer {
        let mut state = self.state();
        state.requests.push(path.into());
        let queued = state.queued.get_mut(path).and_then(VecDeque::pop_front);
        let file = queued.or_else(|| state.files.get(path).cloned());
        if let Some((fault, times)) = state.faults.get_mut(path)
            && *times > 0
        {
            *times -= 1;
            return Answer::Fault(fault.clone(), file.unwrap_or_default());
        }
        file.map_or(Answer::Absent, Answer::File)
    }
}
