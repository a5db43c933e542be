//! Fuzz targets that test the update workflow after the signature checks, with validly signed metadata of arbitrary
//! content.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lastmile_client::metadata::{FileContent, Json, RandomAccess, RoleName, TargetPath};
use lastmile_client::{
    BoxFuture, Error, Fetch, FetchError, LocalError, LockKind, MemoryStore, Response, RetryPolicy, Session, Store,
    StoreLock, StoredFile, Updater,
};
use lastmile_random::adversary::{day, published, resigned};
use tokio::runtime::{Builder, Runtime};

const KIND: u32 = 1 << 27;

/// The newest files of the top-level roles in a repository from [`published`].
pub(crate) const FILES: [&str; 4] = ["1.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"];

/// Each input is the number of a role, followed by the signed part of its file.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let (_, published) = published(KIND);
    let signed = |(number, name): (usize, &&str)| {
        let text = std::str::from_utf8(&published[*name]).unwrap();
        let signed = &text[text.find("\"signed\":").unwrap() + 9..text.len() - 1];
        [&[u8::try_from(number).unwrap()][..], signed.as_bytes()].concat()
    };
    FILES.iter().enumerate().map(signed).collect()
}

/// Returns a repository in which one role has the signed part from the input, with valid signatures.
fn repository(input: &[u8]) -> Option<(Bytes, BTreeMap<String, Bytes>)> {
    let (number, text) = input.split_first()?;
    let text = std::str::from_utf8(text).ok()?;
    let signed = Json::parse(text).ok()?;
    let (mut shipped, mut published) = published(KIND);
    let number = usize::from(*number) % FILES.len();
    let file = resigned(KIND, number, text, signed.canonical());
    if number == 0 {
        shipped = file.clone();
    }
    published.insert(FILES[number].to_owned(), file);
    Some((shipped, published))
}

/// Checks that the client stores trusted files exactly as received, and that the next refresh trusts the stored files.
pub(crate) fn workflow(input: &[u8]) {
    let Some((shipped, published)) = repository(input) else { return };
    let store = MemoryStore::default();
    let Ok(trusted) = refresh(&shipped, &published, store.clone()) else { return };
    for (role, bytes) in RoleName::TOP_LEVEL.into_iter().zip(&trusted) {
        assert_eq!(
            store.read(&StoredFile::Role(role), u64::MAX).unwrap().as_ref(),
            Some(bytes),
            "the store must contain the bytes as received"
        );
    }
    assert_eq!(refresh(&shipped, &published, store).expect("a second refresh must succeed"), trusted);
}

/// Searches once with the targets role in memory, and once with a targets role that is read in parts from its stored
/// file. Both searches must give the same results.
pub(crate) fn stored(input: &[u8]) {
    let Some((shipped, published)) = repository(input) else { return };
    let held = MemoryStore::default();
    let Ok(_) = refresh(&shipped, &published, held.clone()) else { return };
    let large = LargeStore(held.fork());
    let [one, other] = [find(&shipped, &published, held), find(&shipped, &published, large)];
    assert_eq!(one, other, "reading from the store and from memory must give the same result");
}

type Found = Result<(u64, usize, Vec<Result<Option<String>, String>>, Result<Vec<String>, String>), String>;

fn find(shipped: &Bytes, published: &BTreeMap<String, Bytes>, store: impl Store) -> Found {
    let found = |target: &lastmile_client::metadata::TargetFile| format!("{target:?}");
    runtime().block_on(async {
        let updater = updater(shipped, published, store);
        let mut session: Session = updater.offline_at(day(1)).await.map_err(|error| format!("{error:?}"))?;
        let targets = session.trusted().targets();
        let version = targets.version().get();
        let length = targets.len();
        let mut each = Vec::new();
        for path in ["x", "a/1", "y"] {
            let answer = session.find(&TargetPath::new(path).unwrap()).await;
            each.push(answer.map(|target| target.as_deref().map(found)).map_err(|error| format!("{error:?}")));
        }
        let all = session.list().await.map(|all| all.iter().map(found).collect());
        Ok((version, length, each, all.map_err(|error| format!("{error:?}"))))
    })
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn updater(shipped: &Bytes, published: &BTreeMap<String, Bytes>, store: impl Store) -> Updater {
    let retry_policy = RetryPolicy { retries: 0, ..RetryPolicy::default() };
    let builder = Updater::builder(shipped.to_vec())
        .mirror("fuzz://metadata/", "fuzz://targets/")
        .store(store)
        .retry_policy(retry_policy);
    builder.fetch(Published(published.clone())).build().unwrap()
}

/// Returns the trusted files in the order root, timestamp, snapshot, targets.
pub(crate) fn refresh(
    shipped: &Bytes,
    published: &BTreeMap<String, Bytes>,
    store: impl Store,
) -> Result<Vec<Vec<u8>>, Error> {
    let updater = updater(shipped, published, store);
    let session = runtime().block_on(updater.refresh_at(day(1)))?;
    let trusted = session.trusted();
    Ok(vec![
        trusted.root().bytes().to_vec(),
        trusted.timestamp().bytes().to_vec(),
        trusted.snapshot().bytes().to_vec(),
        trusted.targets().held().expect("the targets role is in memory").bytes().to_vec(),
    ])
}

struct Published(BTreeMap<String, Bytes>);

impl Fetch for Published {
    fn fetch(&self, url: &str, _offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let found = self.0.get(url.trim_start_matches("fuzz://metadata/")).cloned();
        Box::pin(async { found.map(Response::whole).ok_or(FetchError::NotFound) })
    }
}

/// A store from which even a small targets role is read in parts, as if it were too large for the memory.
struct LargeStore(MemoryStore);

#[derive(Debug)]
struct Parts(Vec<u8>);

impl RandomAccess for Parts {
    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        let part = usize::try_from(offset).ok().and_then(|start| self.0.get(start..start.checked_add(into.len())?));
        part.inspect(|part| into.copy_from_slice(part)).is_some()
    }
}

impl Store for LargeStore {
    fn read(&self, file: &StoredFile, max_length: u64) -> Result<Option<Vec<u8>>, LocalError> {
        self.0.read(file, max_length)
    }

    fn open(&self, file: &StoredFile, max_length: u64) -> Result<Option<FileContent>, LocalError> {
        let bytes = self.0.read(file, max_length)?;
        Ok(bytes.map(|bytes| {
            if *file == StoredFile::Role(RoleName::TARGETS) {
                FileContent::File(Arc::new(Parts(bytes)))
            } else {
                FileContent::Bytes(bytes)
            }
        }))
    }

    fn write(&self, file: &StoredFile, bytes: &[u8]) -> Result<(), LocalError> {
        self.0.write(file, bytes)
    }

    fn remove(&self, file: &StoredFile) -> Result<(), LocalError> {
        self.0.remove(file)
    }

    fn try_lock(&self, kind: LockKind) -> Result<Option<StoreLock>, LocalError> {
        self.0.try_lock(kind)
    }

    fn description(&self) -> String {
        self.0.description()
    }
}
