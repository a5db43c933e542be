//! A device that updates from a repository: its store, its output folder, its clock, and what it asks for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use lastmile_client::{
    BoxFuture, DirectoryStore, Error, Event, EventSink, Fetch, FetchError, HttpFetch, HttpSettings, Refusal, Response,
    RetryPolicy, Session, Store, Updater,
};
use lastmile_metadata::{Limits, TargetFile, TargetPath};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::repository::{METADATA, Repository, TARGETS, file_name};
use crate::road::{Answer, BASE, Fault, Road};

/// Where a device has its folders, below a temporary one: so deep that a name full of `..` is still seen to escape.
const HOME: &str = "a/b/c";

/// The versions that are trusted: root, timestamp, snapshot, targets.
pub type Versions = [u64; 4];

/// A client installation with a folder of its own. Everything that a test may want to vary is a field.
#[derive(Debug)]
pub struct Device {
    shipped: Vec<u8>,
    folder: TempDir,
    mirrors: Mutex<Vec<Road>>,
    notices: Arc<Mutex<Vec<Event>>>,
    /// What its clock shows.
    pub now: DateTime<Utc>,
    /// How much it reads.
    pub limits: Limits,
    /// How long and how often it tries.
    pub patience: RetryPolicy,
    /// Whether it expects hashes in the names of targets.
    pub hash_prefixes: bool,
    /// Asks the server at this address, ending in `/`, over HTTP instead of the simulated network.
    pub http: Option<(String, HttpSettings)>,
}

impl Device {
    /// A new device that was shipped with the first root of `repository`.
    #[must_use]
    pub fn new(repository: &Repository) -> Device {
        let first = format!("{METADATA}{}", file_name("root", Some(1)));
        Device::shipping(repository.road().file(&first).expect("version 1 of the root"), repository)
    }

    /// A new device that was shipped with `root` and asks `repository`.
    #[must_use]
    pub fn shipping(root: Vec<u8>, repository: &Repository) -> Device {
        Device::asking(root, repository.road())
    }

    /// A new device that was shipped with `root` and asks whoever is on `road`.
    #[must_use]
    pub fn asking(root: Vec<u8>, road: &Road) -> Device {
        let device = Device {
            shipped: root,
            folder: folder(),
            mirrors: Mutex::new(vec![road.clone()]),
            notices: Arc::default(),
            now: time("2030-01-01T00:00:00Z"),
            limits: Limits::default(),
            patience: RetryPolicy { retries: 0, ..RetryPolicy::default() },
            hash_prefixes: true,
            http: None,
        };
        fs::create_dir_all(device.output_path()).unwrap();
        device
    }

    /// A device in the same state.
    #[must_use]
    pub fn copy(&self) -> Device {
        let copy = Device {
            shipped: self.shipped.clone(),
            folder: folder(),
            mirrors: Mutex::new(self.mirrors()),
            notices: Arc::default(),
            limits: self.limits.clone(),
            http: self.http.clone(),
            ..*self
        };
        fs::create_dir_all(copy.output_path()).unwrap();
        copy.take_store_of(self);
        copy
    }

    /// Puts a copy of `other`'s store in the place of this one's.
    pub fn take_store_of(&self, other: &Device) {
        copy_folder(&other.store_path(), &self.store_path());
    }

    /// Asks `road` alone from now on.
    pub fn follow(&self, road: &Road) {
        self.follow_all(&[road]);
    }

    /// Asks these, in this order, from now on.
    pub fn follow_all(&self, roads: &[&Road]) {
        *self.mirrors.lock().unwrap() = roads.iter().map(|road| (*road).clone()).collect();
    }

    fn mirrors(&self) -> Vec<Road> {
        self.mirrors.lock().unwrap().clone()
    }

    /// Its updater, as a program would set it up.
    #[must_use]
    pub fn updater(&self) -> Updater {
        self.updater_with(DirectoryStore::open(self.store_path()).expect("a store"))
    }

    fn opened(&self) -> Result<Updater, Error> {
        Ok(self.updater_with(DirectoryStore::open(self.store_path())?))
    }

    /// Its updater with another store.
    #[must_use]
    pub fn updater_with(&self, store: impl Store) -> Updater {
        let mirrors = self.mirrors();
        let bases = match &self.http {
            Some((base, _)) => vec![base.clone()],
            None => (0..mirrors.len()).map(mirror_url).collect(),
        };
        let mut builder = Updater::builder(self.shipped.clone());
        for base in bases {
            builder = builder.mirror(format!("{base}{METADATA}"), format!("{base}{TARGETS}"));
        }
        builder = match &self.http {
            Some((_, settings)) => builder.fetch(HttpFetch::new(settings).expect("settings of the network")),
            None => builder.fetch(Roads(mirrors)),
        };
        let notices = Arc::clone(&self.notices);
        builder
            .store(store)
            .limits(self.limits.clone())
            .retry_policy(self.patience)
            .hash_prefixed_targets(self.hash_prefixes)
            .event_sink(Notebook(notices))
            .build()
            .expect("settings that can be used")
    }

    /// A runtime in which waiting costs no time, unless it is for a real server, or between the parts of a target:
    /// time stands still while a thread writes one.
    fn runtime(&self) -> Runtime {
        let paused = self.http.is_none() && self.patience.retries == 0;
        let mut builder = Builder::new_current_thread();
        #[cfg(feature = "paused-time")]
        builder.start_paused(paused);
        #[cfg(not(feature = "paused-time"))]
        let _ = paused;
        builder.enable_all().build().expect("a runtime")
    }

    /// One update; the versions that are then trusted.
    ///
    /// # Errors
    ///
    /// What the client reports.
    pub fn refresh(&self) -> Result<Versions, Error> {
        let updater = self.opened()?;
        self.runtime().block_on(updater.refresh_at(self.now)).map(|session| versions(&session))
    }

    /// One update with another store; the versions that are then trusted.
    ///
    /// # Errors
    ///
    /// What the client reports.
    pub fn refresh_with(&self, store: impl Store) -> Result<Versions, Error> {
        self.runtime().block_on(self.updater_with(store).refresh_at(self.now)).map(|session| versions(&session))
    }

    /// What is trusted already, verified again without a request.
    ///
    /// # Errors
    ///
    /// What the client reports.
    pub fn offline(&self) -> Result<Versions, Error> {
        self.runtime().block_on(self.updater().offline_at(self.now)).map(|session| versions(&session))
    }

    /// One update and a search in it.
    ///
    /// # Errors
    ///
    /// What the client reports.
    pub fn find(&self, path: &str) -> Result<Option<TargetFile>, Error> {
        self.find_each(&[path]).pop().expect("one answer for one path")
    }

    /// One update and several searches in it.
    #[must_use]
    pub fn find_each(&self, paths: &[&str]) -> Vec<Result<Option<TargetFile>, Error>> {
        self.runtime().block_on(async {
            let mut session = match self.updater().refresh_at(self.now).await {
                Ok(session) => session,
                Err(error) => return vec![Err(error)],
            };
            let mut found = Vec::new();
            for path in paths {
                found.push(session.find(&target_path(path)).await);
            }
            found
        })
    }

    /// One update and the paths of all targets.
    ///
    /// # Errors
    ///
    /// What the client reports.
    pub fn list(&self) -> Result<Vec<String>, Error> {
        self.runtime().block_on(async {
            let targets = self.updater().refresh_at(self.now).await?.list().await?;
            Ok(targets.into_iter().map(|target| target.path.as_str().to_owned()).collect())
        })
    }

    /// One update; then each of `paths` is found and downloaded below the output folder. What is then trusted.
    ///
    /// # Errors
    ///
    /// What the client reports.
    pub fn update(&self, paths: &[TargetPath]) -> Result<Versions, Error> {
        self.runtime().block_on(async {
            let mut session = self.updater().refresh_at(self.now).await?;
            for path in paths {
                let target = session.find(path).await?.ok_or_else(|| Error::NoSuchTarget(path.clone()))?;
                session.download_below(&target, self.output_path()).await?;
            }
            Ok(versions(&session))
        })
    }

    /// One update, a search and a download below the output folder; the file's content.
    ///
    /// # Errors
    ///
    /// What the client reports.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, Error> {
        self.download(path, None).map(|file| fs::read(file).unwrap())
    }

    /// The same into the file `name` in the output folder.
    ///
    /// # Errors
    ///
    /// What the client reports.
    pub fn get_as(&self, path: &str, name: &str) -> Result<Vec<u8>, Error> {
        self.download(path, Some(name)).map(|file| fs::read(file).unwrap())
    }

    fn download(&self, path: &str, name: Option<&str>) -> Result<PathBuf, Error> {
        let path = target_path(path);
        self.runtime().block_on(async {
            let mut session = self.opened()?.refresh_at(self.now).await?;
            let target = session.find(&path).await?.ok_or(Error::NoSuchTarget(path))?;
            match name {
                Some(name) => session.download(&target, self.output_path().join(name)).await,
                None => session.download_below(&target, self.output_path()).await,
            }
        })
    }

    /// What was said besides errors, since the last time this was asked.
    #[must_use]
    pub fn notices(&self) -> Vec<Event> {
        std::mem::take(&mut self.notices.lock().unwrap())
    }

    /// Where trusted metadata is kept.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.folder.path().join(HOME).join("store")
    }

    /// Where targets go.
    #[must_use]
    pub fn output_path(&self) -> PathBuf {
        self.folder.path().join(HOME).join("output")
    }

    /// The stored metadata of `role`.
    #[must_use]
    pub fn stored(&self, role: &str) -> Option<Vec<u8>> {
        fs::read(self.store_path().join(file_name(role, None))).ok()
    }

    /// The trusted roles on disk, by the name of their file. What the client keeps for itself is left out.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let names = below(&self.store_path()).into_iter().filter(|name| !name.contains('/'));
        names.map(|name| (name.clone(), fs::read(self.store_path().join(name)).unwrap())).collect()
    }

    /// Everything in the store, what the client keeps for itself included.
    #[must_use]
    pub fn all_stored(&self) -> BTreeMap<String, Vec<u8>> {
        let names = below(&self.store_path()).into_iter();
        names.map(|name| (name.clone(), fs::read(self.store_path().join(name)).unwrap())).collect()
    }

    /// Puts a file into the store.
    pub fn put_stored(&self, name: &str, content: &[u8]) {
        fs::write(self.store_path().join(name), content).unwrap();
    }

    /// The paths of all files in the output folder.
    #[must_use]
    pub fn output(&self) -> Vec<String> {
        below(&self.output_path())
    }

    /// The content of a file in the output folder.
    #[must_use]
    pub fn read_output(&self, name: &str) -> Vec<u8> {
        fs::read(self.output_path().join(name)).unwrap()
    }

    /// Puts a file into the output folder.
    pub fn put_output(&self, name: &str, content: &[u8]) {
        fs::write(self.output_path().join(name), content).unwrap();
    }

    /// Files that are neither in the store nor in the output folder: there must be none.
    #[must_use]
    pub fn outside(&self) -> Vec<String> {
        let inside = |name: &String| ["store/", "output/"].iter().any(|own| name.starts_with(&format!("{HOME}/{own}")));
        below(self.folder.path()).into_iter().filter(|name| !inside(name)).collect()
    }
}

/// A folder in memory, where there is such a thing: to sync a file costs nothing there.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

fn mirror_url(number: usize) -> String {
    if number == 0 { BASE.to_owned() } else { format!("http://mirror-{number}.test/") }
}

fn target_path(path: &str) -> TargetPath {
    TargetPath::new(path).expect("a target path")
}

/// The moment that `text` names.
///
/// # Panics
///
/// When it names none.
#[must_use]
pub fn time(text: &str) -> DateTime<Utc> {
    text.parse().expect("a date-time")
}

fn versions(session: &Session) -> Versions {
    let trusted = session.trusted();
    let versions =
        [trusted.root().version, trusted.timestamp().version, trusted.snapshot().version, trusted.targets().version()];
    versions.map(lastmile_metadata::Version::get)
}

/// The verdict about metadata because of which `result` is an error.
///
/// # Panics
///
/// When it is no error, or another one.
pub fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> lastmile_metadata::Error {
    match result {
        Err(Error::State(verdict)) => verdict,
        Err(Error::Refused(error)) => match error.refusal {
            Refusal::Metadata(verdict) => verdict,
            other => panic!("refused for another reason: {other}"),
        },
        other => panic!("not refused: {other:?}"),
    }
}

/// The most bytes that would have been read of a file that is longer.
///
/// # Panics
///
/// When `result` is no error, or another one.
pub fn too_long<T: std::fmt::Debug>(result: Result<T, Error>) -> u64 {
    match result {
        Err(Error::Refused(error)) => match error.refusal {
            Refusal::TooLong { max_length, .. } => max_length,
            other => panic!("refused for another reason: {other}"),
        },
        other => panic!("not refused: {other:?}"),
    }
}

/// The failure of the network because of which `result` is an error.
///
/// # Panics
///
/// When it is no error, or another one.
pub fn road_error<T: std::fmt::Debug>(result: Result<T, Error>) -> FetchError {
    match result {
        Err(Error::Network(error)) => error.cause,
        other => panic!("no failure of the network: {other:?}"),
    }
}

/// All files below `folder`, sorted.
fn below(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            names.extend(below(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}")));
        } else {
            names.push(name);
        }
    }
    names.sort();
    names
}

fn copy_folder(from: &Path, to: &Path) {
    drop(fs::remove_dir_all(to));
    fs::create_dir_all(to).unwrap();
    for name in below(from) {
        fs::create_dir_all(to.join(&name).parent().unwrap()).unwrap();
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

/// Writes down what is said.
struct Notebook(Arc<Mutex<Vec<Event>>>);

impl EventSink for Notebook {
    fn handle(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// Roads as the network of a client: the first at [`BASE`], the others at addresses of their own.
struct Roads(Vec<Road>);

impl Fetch for Roads {
    fn fetch(&self, url: &str, _offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let asked = self
            .0
            .iter()
            .enumerate()
            .find_map(|(number, road)| Some((road, url.strip_prefix(&mirror_url(number))?.to_owned())));
        let (road, path) = asked.unwrap_or_else(|| panic!("`{url}` is on no road"));
        Box::pin(std::future::ready(response(road.answer(&path))))
    }
}

fn response(answer: Answer) -> Result<Response, FetchError> {
    match answer {
        Answer::File(bytes) | Answer::Fault(Fault::Body(bytes), _) => Ok(Response::whole(bytes)),
        Answer::Absent | Answer::Fault(Fault::Status(404), _) => Err(FetchError::NotFound),
        Answer::Fault(Fault::Status(status), _) => Err(FetchError::Status(status)),
        Answer::Fault(Fault::Timeout, _) => Err(FetchError::Timeout("the simulated server".into())),
        Answer::Fault(Fault::Reset, _) => Err(FetchError::Cut("simulated".into())),
        Answer::Fault(Fault::Truncated(kept), bytes) => {
            let parts = [Ok(Bytes::copy_from_slice(&bytes[..kept])), Err(FetchError::Cut("simulated".into()))];
            Ok(Response { offset: 0, body: stream::iter(parts).boxed() })
        }
        Answer::Fault(Fault::Endless, bytes) => {
            let rest = stream::repeat_with(|| Ok(Bytes::from_static(&[b' '; 4096])));
            let body = stream::once(std::future::ready(Ok(Bytes::from(bytes)))).chain(rest);
            Ok(Response { offset: 0, body: body.boxed() })
        }
    }
}
