//! An in-memory network, which contains the published files and the injected faults, and records requests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use lastmile_client::{BoxFuture, Fetch, FetchError, Response};

/// The base URL of every [`FakeNetwork`] that is used as a [`Fetch`].
pub const BASE: &str = "http://repository.test/";

/// A fault: the response that a request gets instead of the published file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkFault {
    /// A response with this HTTP status and a short body.
    Status(u16),
    /// No response. The connection stays open until the client gives up.
    Timeout,
    /// A connection that is closed before the first byte of the response.
    Reset,
    /// The published file, followed by an endless sequence of spaces.
    Endless,
    /// At most this number of bytes from the start of the published file. Then the connection is closed. A
    /// [`Server`](crate::Server) nevertheless announces the length of the whole file.
    Truncated(usize),
    /// These bytes, as a complete response.
    Body(Vec<u8>),
}

/// The response to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The published file.
    File(Vec<u8>),
    /// No file is published at this path.
    Absent,
    /// An injected fault, and the content of the published file (empty if no file is published at this path).
    Fault(NetworkFault, Vec<u8>),
}

#[derive(Debug, Default, Clone)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    faults: BTreeMap<String, (NetworkFault, usize)>,
    queued: BTreeMap<String, VecDeque<Vec<u8>>>,
    requests: Vec<String>,
}

/// An in-memory network. Clones are handles to the same network.
///
/// Paths are relative to the server's root, percent-encoded as in the URL, and have no leading `/`; for example,
/// `metadata/timestamp.json`. As a [`Fetch`], the network serves URLs that begin with [`BASE`]. A
/// [`Server`](crate::Server) serves the network over HTTP.
///
/// ```
/// use lastmile_testkit::{FakeNetwork, NetworkFault};
///
/// let network = FakeNetwork::new();
/// network.put("targets/app", b"release 1".to_vec());
/// network.fault_times("targets/app", NetworkFault::Truncated(3), 1);
/// assert_eq!(network.file("targets/app").unwrap(), b"release 1");
/// assert!(network.requests().is_empty());
/// ```
#[derive(Debug, Default, Clone)]
pub struct FakeNetwork {
    state: Arc<Mutex<State>>,
}

impl FakeNetwork {
    /// Creates a network without files.
    #[must_use]
    pub fn new() -> FakeNetwork {
        FakeNetwork::default()
    }

    /// Creates an independent network with the same files, faults and queued answers, and an empty record of requests.
    #[must_use]
    pub fn fork(&self) -> FakeNetwork {
        FakeNetwork { state: Arc::new(Mutex::new(State { requests: Vec::new(), ..self.state().clone() })) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds this lock")
    }

    /// Publishes `bytes` at `path`, replacing any file there.
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        self.state().files.insert(path.into(), bytes);
    }

    /// Removes the file at `path`, if there is one.
    pub fn remove(&self, path: &str) {
        self.state().files.remove(path);
    }

    /// Returns the published file at `path`.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.state().files.get(path).cloned()
    }

    /// Returns all published files by path.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.state().files.clone()
    }

    /// Answers every request for `path` with `fault`, until the fault is replaced or [`FakeNetwork::clear_faults`] is
    /// called.
    pub fn fault(&self, path: &str, fault: NetworkFault) {
        self.fault_times(path, fault, usize::MAX);
    }

    /// Answers the next `times` requests for `path` with `fault`. Replaces an earlier fault for the same path.
    pub fn fault_times(&self, path: &str, fault: NetworkFault, times: usize) {
        self.state().faults.insert(path.into(), (fault, times));
    }

    /// Answers the next requests for `path` with the elements of `answers`, in order, instead of the published file.
    pub fn queue(&self, path: &str, answers: impl IntoIterator<Item = Vec<u8>>) {
        self.state().queued.entry(path.into()).or_default().extend(answers);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Returns the paths requested since the last call, in order, and clears the record.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    /// Clears the record of requests.
    pub fn forget_requests(&self) {
        self.state().requests.clear();
    }

    /// Records a request for `path` and returns the answer to it.
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

impl Fetch for FakeNetwork {
    /// Serves URLs that begin with [`BASE`], and refuses connections to every other host. Every response begins at byte
    /// 0, even if the client requests a later offset.
    fn fetch(&self, url: &str, _offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let answer = match url.strip_prefix(BASE) {
            Some(path) => response(self.answer(path)),
            None => Err(FetchError::Connect(format!("`{url}` is not on the fake network"))),
        };
        Box::pin(std::future::ready(answer))
    }
}

pub(crate) fn response(answer: Answer) -> Result<Response, FetchError> {
    match answer {
        Answer::File(bytes) | Answer::Fault(NetworkFault::Body(bytes), _) => Ok(Response::whole(bytes)),
        Answer::Absent | Answer::Fault(NetworkFault::Status(404), _) => Err(FetchError::NotFound),
        Answer::Fault(NetworkFault::Status(status), _) => Err(FetchError::Status(status)),
        Answer::Fault(NetworkFault::Timeout, _) => Err(FetchError::Timeout("the simulated server".into())),
        Answer::Fault(NetworkFault::Reset, _) => Err(FetchError::Cut("simulated".into())),
        Answer::Fault(NetworkFault::Truncated(kept), bytes) => {
            let kept = kept.min(bytes.len());
            let parts = [Ok(Bytes::copy_from_slice(&bytes[..kept])), Err(FetchError::Cut("simulated".into()))];
            Ok(Response { offset: 0, body: stream::iter(parts).boxed() })
        }
        Answer::Fault(NetworkFault::Endless, bytes) => {
            let rest = stream::repeat_with(|| Ok(Bytes::from_static(&[b' '; 4096])));
            let body = stream::once(std::future::ready(Ok(Bytes::from(bytes)))).chain(rest);
            Ok(Response { offset: 0, body: body.boxed() })
        }
    }
}
