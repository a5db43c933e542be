//! Where the real client meets the play: a network in memory, and a store that may die while something is written.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lastmile_client::metadata::{FileContent, Version};
use lastmile_client::{
    BoxFuture, Event, EventSink, Fetch, FetchError, LocalError, MemoryStore, Response, RetryPolicy, Session, Store,
    StoreLock, StoredFile, Updater,
};

use super::model::{Kept, Marks, Served};
use super::paper::{PARTS, Paper, Part};

/// The real client with its network and its store.
pub(crate) struct Client {
    pub(crate) updater: Updater,
    pub(crate) network: Network,
    pub(crate) store: DyingStore,
}

impl Client {
    pub(crate) fn new(shipped: &Bytes, mirrors: usize, sequential: bool) -> Self {
        let (network, store) = (Network::default(), DyingStore::default());
        let mut builder = Updater::builder(shipped.to_vec());
        for mirror in 0..mirrors {
            builder = builder.mirror(format!("{mirror}/"), "targets/");
        }
        let retry_policy = RetryPolicy { retries: 0, ..RetryPolicy::default() };
        let builder = builder.fetch(network.clone()).store(store.clone()).retry_policy(retry_policy).event_sink(Deaf);
        Self { updater: builder.sequential(sequential).build().unwrap(), network, store }
    }
}

/// Answers with what is served at the moment.
#[derive(Clone, Default)]
pub(crate) struct Network(Arc<Mutex<Served>>);

impl Network {
    pub(crate) fn serve(&self, served: Served) {
        *self.0.lock().unwrap() = served;
    }
}

impl Fetch for Network {
    fn fetch(&self, url: &str, _offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let (mirror, name) = url.split_once('/').unwrap();
        let mirror: usize = mirror.parse().unwrap();
        let found = self.0.lock().unwrap()[mirror].get(name).map(|paper| paper.bytes.clone());
        Box::pin(async move {
            // What is asked for ahead gets its turn.
            tokio::task::yield_now().await;
            found.map(Response::whole).ok_or(FetchError::NotFound)
        })
    }
}

/// A store that dies at a chosen write, as a machine does: nothing is written after that.
#[derive(Clone, Default)]
pub(crate) struct DyingStore {
    inner: MemoryStore,
    /// How many writes are left, and whether one was refused.
    life: Arc<Mutex<(Option<u32>, bool)>>,
}

impl DyingStore {
    /// After so many writes it dies; without a number it lives.
    pub(crate) fn dies_after(&self, writes: Option<u32>) {
        *self.life.lock().unwrap() = (writes, false);
    }

    pub(crate) fn has_died(&self) -> bool {
        self.life.lock().unwrap().1
    }

    fn spend(&self) -> Result<(), LocalError> {
        let mut life = self.life.lock().unwrap();
        match &mut life.0 {
            None => return Ok(()),
            Some(0) => life.1 = true,
            Some(left) => {
                *left -= 1;
                return Ok(());
            }
        }
        Err(LocalError::new("write to", "the store of the play", io::Error::other("died")))
    }

    /// The bytes of a file.
    pub(crate) fn bytes(&self, file: &StoredFile) -> Option<Vec<u8>> {
        self.inner.read(file, u64::MAX).unwrap()
    }

    /// What is kept, in the model's terms: `known` tells documents by their bytes.
    pub(crate) fn kept(&self, shipped: &Arc<Paper>, known: &BTreeMap<Bytes, Arc<Paper>>) -> Kept {
        let find = |file: StoredFile| {
            let paper = |bytes: Vec<u8>| known.get(&Bytes::from(bytes)).expect("nothing is kept that nobody made");
            self.bytes(&file).map(paper).cloned()
        };
        let mut kept = Kept::new(Arc::clone(shipped));
        while let Some(next) = find(StoredFile::Root(Version::new(kept.root().version + 1).unwrap())) {
            kept.roots.push(next);
        }
        for part in PARTS.into_iter().filter(|part| *part != Part::Root) {
            kept.files.extend(find(StoredFile::Role(part.role())).map(|paper| (part, paper)));
        }
        if let Some(record) = self.bytes(&StoredFile::Floors) {
            kept.marks = read_marks(&String::from_utf8(record).unwrap());
        }
        kept
    }
}

/// The record of trusted versions, read as it is documented.
fn read_marks(record: &str) -> Marks {
    let mut marks = Marks { root: 0, timestamp: None, snapshot: None };
    for line in record.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "root" => marks.root = number(1),
            "timestamp" => marks.timestamp = Some((number(1), number(2))),
            "snapshot" => marks.snapshot = Some((number(1), BTreeMap::new())),
            "role" => {
                let part = PARTS.into_iter().find(|part| part.name() == words[2]).unwrap();
                marks.snapshot.as_mut().unwrap().1.insert(part, number(1));
            }
            "lastmile" | "checksum" => {}
            other => panic!("a record of trusted versions with {other}"),
        }
    }
    marks
}

impl Store for DyingStore {
    fn read(&self, file: &StoredFile, max_length: u64) -> Result<Option<Vec<u8>>, LocalError> {
        self.inner.read(file, max_length)
    }

    fn open(&self, file: &StoredFile, max_length: u64) -> Result<Option<FileContent>, LocalError> {
        self.inner.open(file, max_length)
    }

    fn write(&self, file: &StoredFile, bytes: &[u8]) -> Result<(), LocalError> {
        self.spend()?;
        self.inner.write(file, bytes)
    }

    fn remove(&self, file: &StoredFile) -> Result<(), LocalError> {
        self.spend()?;
        self.inner.remove(file)
    }

    fn try_lock(&self) -> Result<Option<StoreLock>, LocalError> {
        self.inner.try_lock()
    }

    fn description(&self) -> String {
        self.inner.description()
    }
}

struct Deaf;

impl EventSink for Deaf {
    fn handle(&self, _event: &Event) {}
}

/// The documents that a session trusts: root, timestamp, snapshot, targets.
pub(crate) fn trusted(session: &Session) -> [Vec<u8>; 4] {
    let trusted = session.trusted();
    [
        trusted.root().bytes().to_vec(),
        trusted.timestamp().bytes().to_vec(),
        trusted.snapshot().bytes().to_vec(),
        trusted.targets().held().unwrap().bytes().to_vec(),
    ]
}
