//! The real client, with a network in memory and a store that can crash when it changes a file.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lastmile_client::metadata::{FileContent, Version};
use lastmile_client::{
    BoxFuture, Event, EventSink, Fetch, FetchError, LocalError, LockKind, MemoryStore, Response, RetryPolicy, Session,
    Store, StoreLock, StoredFile, Updater,
};

use super::ledger::{Document, ROLES, Role};
use super::model::{ClientState, Floors, Served};
use super::policy::Evidence;

pub(crate) struct Client {
    pub(crate) updater: Updater,
    pub(crate) network: Network,
    pub(crate) store: CrashingStore,
}

impl Client {
    pub(crate) fn new(shipped: &Bytes, mirrors: usize, sequential: bool) -> Self {
        let network = Network::default();
        let store = CrashingStore::default();
        let mut builder = Updater::builder(shipped.to_vec());
        for mirror in 0..mirrors {
            builder = builder.mirror(format!("random://{mirror}/"), "random://targets/");
        }
        let retry_policy = RetryPolicy { retries: 0, ..RetryPolicy::default() };
        let builder =
            builder.fetch(network.clone()).store(store.clone()).retry_policy(retry_policy).event_sink(IgnoreEvents);
        let builder = if sequential { builder.sequential() } else { builder };
        Self { updater: builder.build().unwrap(), network, store }
    }
}

/// A network in memory.
#[derive(Clone, Default)]
pub(crate) struct Network {
    served: Arc<Mutex<Served>>,
    /// All evidence files, by their hashes. The network always serves all of them: the model does not record which
    /// evidence files the client has stored, so it could not predict the result if a file were missing. The attacker
    /// withholds evidence by publishing metadata that does not list the evidence.
    evidence: Arc<Mutex<BTreeMap<String, Bytes>>>,
}

impl Network {
    pub(crate) fn serve(&self, served: Served) {
        *self.served.lock().unwrap() = served;
    }

    pub(crate) fn offer(&self, evidence: &Evidence) {
        let (content, digest) = evidence.content();
        self.evidence.lock().unwrap().insert(digest, content);
    }

    /// Returns the evidence file whose hash is in the file name `name`.
    fn target(&self, name: &str) -> Option<Bytes> {
        let (digest, _) = name.rsplit('/').next()?.split_once('.')?;
        self.evidence.lock().unwrap().get(digest).cloned()
    }
}

impl Fetch for Network {
    fn fetch(&self, url: &str, _offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let (mirror, name) = url.strip_prefix("random://").unwrap().split_once('/').unwrap();
        let found = match mirror.parse::<usize>() {
            Ok(mirror) => self.served.lock().unwrap()[mirror].get(name).map(|document| document.bytes.clone()),
            Err(_) => self.target(name),
        };
        Box::pin(async move {
            // Yields once before the response, so that the client can poll its prefetch requests.
            tokio::task::yield_now().await;
            found.map(Response::whole).ok_or(FetchError::NotFound)
        })
    }
}

/// A store that can crash when a file is written or removed. The change at which it crashes fails, and so do all later
/// changes.
#[derive(Clone, Default)]
pub(crate) struct CrashingStore {
    inner: MemoryStore,
    /// The first element is the number of changes that still succeed before the crash, or `None` if the store never
    /// crashes. The second element is `true` after the crash.
    crash: Arc<Mutex<(Option<u32>, bool)>>,
}

impl CrashingStore {
    /// Makes the store crash after `writes` more changes, or never if `writes` is `None`.
    pub(crate) fn crash_after(&self, writes: Option<u32>) {
        *self.crash.lock().unwrap() = (writes, false);
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.crash.lock().unwrap().1
    }

    fn count_write(&self) -> Result<(), LocalError> {
        let mut crash = self.crash.lock().unwrap();
        match &mut crash.0 {
            None => return Ok(()),
            Some(0) => crash.1 = true,
            Some(left) => {
                *left -= 1;
                return Ok(());
            }
        }
        Err(LocalError::new("write to", "the simulated store", io::Error::other("crashed")))
    }

    pub(crate) fn bytes(&self, file: &StoredFile) -> Option<Vec<u8>> {
        self.inner.read(file, u64::MAX).unwrap()
    }

    /// Returns the stored state in the form that the model uses. `known` maps the bytes of each document to the
    /// document.
    pub(crate) fn state(&self, shipped: &Arc<Document>, known: &BTreeMap<Bytes, Arc<Document>>) -> ClientState {
        let find = |file: StoredFile| {
            let document =
                |bytes: Vec<u8>| known.get(&Bytes::from(bytes)).expect("the client must store only known documents");
            self.bytes(&file).map(document).cloned()
        };
        let mut state = ClientState::new(Arc::clone(shipped));
        while let Some(next) = find(StoredFile::Root(Version::new(state.root().version + 1).unwrap())) {
            state.roots.push(next);
        }
        for role in ROLES.into_iter().filter(|role| *role != Role::Root) {
            state.files.extend(find(StoredFile::Role(role.role_name())).map(|document| (role, document)));
        }
        if let Some(record) = self.bytes(&StoredFile::Floors) {
            state.floors = read_floors(&String::from_utf8(record).unwrap());
        }
        state
    }
}

/// Parses the record of trusted versions according to its documented format.
fn read_floors(record: &str) -> Floors {
    let mut floors = Floors { root: 0, timestamp: None, snapshot: None };
    for line in record.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "root" => floors.root = number(1),
            "timestamp" => floors.timestamp = Some((number(1), number(2))),
            "snapshot" => floors.snapshot = Some((number(1), BTreeMap::new())),
            "role" => {
                let role = ROLES.into_iter().find(|role| role.name() == words[2]).unwrap();
                floors.snapshot.as_mut().unwrap().1.insert(role, number(1));
            }
            "lastmile" | "checksum" => {}
            other => panic!("unknown line `{other}` in the record of trusted versions"),
        }
    }
    floors
}

impl Store for CrashingStore {
    fn read(&self, file: &StoredFile, max_length: u64) -> Result<Option<Vec<u8>>, LocalError> {
        self.inner.read(file, max_length)
    }

    fn open(&self, file: &StoredFile, max_length: u64) -> Result<Option<FileContent>, LocalError> {
        self.inner.open(file, max_length)
    }

    fn write(&self, file: &StoredFile, bytes: &[u8]) -> Result<(), LocalError> {
        self.count_write()?;
        self.inner.write(file, bytes)
    }

    fn remove(&self, file: &StoredFile) -> Result<(), LocalError> {
        self.count_write()?;
        self.inner.remove(file)
    }

    fn try_lock(&self, kind: LockKind) -> Result<Option<StoreLock>, LocalError> {
        self.inner.try_lock(kind)
    }

    fn description(&self) -> String {
        self.inner.description()
    }
}

struct IgnoreEvents;

impl EventSink for IgnoreEvents {
    fn handle(&self, _event: &Event) {}
}

/// Returns the files that a session trusts: root, timestamp, snapshot, targets.
pub(crate) fn trusted(session: &Session) -> [Vec<u8>; 4] {
    let trusted = session.trusted();
    [
        trusted.root().bytes().to_vec(),
        trusted.timestamp().bytes().to_vec(),
        trusted.snapshot().bytes().to_vec(),
        trusted.targets().held().unwrap().bytes().to_vec(),
    ]
}
