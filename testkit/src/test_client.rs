//! A client installation for tests: `lastmile-client` with a store and an output folder in a temporary directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use lastmile_client::{
    BoxFuture, DirectoryStore, Error, Event, EventSink, Fetch, FetchError, HttpFetch, HttpSettings, Response,
    RetryPolicy, Session, Store, Target, Updater, UpdaterBuilder,
};
use lastmile_metadata::{Limits, TargetNames, TargetPath};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::fake_network::{BASE, FakeNetwork, response};
use crate::outcome::time;
use crate::repository::{METADATA, Repository, TARGETS, file_name};

/// The folder of the installation, relative to its temporary directory. A faulty client may follow `..` in a path and
/// write a file outside this folder. The folder is nested, so this file is still inside the temporary directory, and
/// [`TestClient::files_outside`] finds it.
const HOME: &str = "a/b/c";

/// The trusted versions of root, timestamp, snapshot and targets, in this order.
pub type Versions = [u64; 4];

/// A client installation with its own store and output folder, which are removed when this value is dropped.
///
/// Each method that updates the metadata opens the store again, as a program does whenever it starts. The client uses
/// the time [`TestClient::now`] and never reads the machine's clock. With the feature `paused-time`, timeouts on the
/// fake network expire immediately, unless the client retries.
///
/// ```
/// use lastmile_testkit::{Repository, TestClient};
///
/// let mut repository = Repository::new();
/// repository.add_target("targets", "app", b"release 1");
/// repository.publish(&["targets"]);
/// let client = TestClient::new(&repository);
/// assert_eq!(client.get("app").unwrap(), b"release 1");
/// assert_eq!(client.output(), ["app"]);
/// ```
#[derive(Debug)]
pub struct TestClient {
    shipped: Vec<u8>,
    folder: TempDir,
    mirrors: Mutex<Vec<FakeNetwork>>,
    events: Arc<Mutex<Vec<Event>>>,
    /// The time at which updates are verified. The default is 2030-01-01T00:00:00Z.
    pub now: DateTime<Utc>,
    /// The limits on metadata. The default limits are those of `lastmile-client`.
    pub limits: Limits,
    /// The retry policy. By default, the client does not retry, and the other settings are those of `lastmile-client`.
    pub retry_policy: RetryPolicy,
    /// How target files are named in repositories with consistent snapshots. The default is
    /// [`TargetNames::HashPrefixed`].
    pub target_names: TargetNames,
    /// If set, the client uses an HTTP server with this URL and these settings instead of the fake network. The URL
    /// ends with `/`.
    pub http: Option<(String, HttpSettings)>,
}

impl TestClient {
    /// Creates a client that trusts version 1 of the root of `repository` and updates from it.
    ///
    /// # Panics
    ///
    /// Panics if version 1 of the root is not published, or if no temporary directory can be created.
    #[must_use]
    pub fn new(repository: &Repository) -> TestClient {
        TestClient::with_root(repository.first_root(), repository.network())
    }

    /// Creates a client that trusts `root` and updates from `network`.
    ///
    /// # Panics
    ///
    /// Panics if no temporary directory can be created.
    #[must_use]
    pub fn with_root(root: Vec<u8>, network: &FakeNetwork) -> TestClient {
        let client = TestClient {
            shipped: root,
            folder: temporary_dir(),
            mirrors: Mutex::new(vec![network.clone()]),
            events: Arc::default(),
            now: time("2030-01-01T00:00:00Z"),
            limits: Limits::default(),
            retry_policy: RetryPolicy { retries: 0, ..RetryPolicy::default() },
            target_names: TargetNames::HashPrefixed,
            http: None,
        };
        fs::create_dir_all(client.output_path()).unwrap();
        client
    }

    /// Creates another client with the same settings, a copy of the store, and an empty output folder.
    #[must_use]
    pub fn copy(&self) -> TestClient {
        let copy = TestClient {
            shipped: self.shipped.clone(),
            folder: temporary_dir(),
            mirrors: Mutex::new(self.mirrors()),
            events: Arc::default(),
            limits: self.limits.clone(),
            http: self.http.clone(),
            ..*self
        };
        fs::create_dir_all(copy.output_path()).unwrap();
        copy.copy_store_of(self);
        copy
    }

    /// Replaces the store with a copy of the store of `other`.
    pub fn copy_store_of(&self, other: &TestClient) {
        copy_dir(&other.store_path(), &self.store_path());
    }

    /// Makes the client use only `network` in later updates.
    pub fn use_network(&self, network: &FakeNetwork) {
        self.use_mirrors(&[network]);
    }

    /// Makes the client use the mirrors `networks` in later updates. The client tries them in this order.
    pub fn use_mirrors(&self, networks: &[&FakeNetwork]) {
        *self.mirrors.lock().unwrap() = networks.iter().map(|network| (*network).clone()).collect();
    }

    fn mirrors(&self) -> Vec<FakeNetwork> {
        self.mirrors.lock().unwrap().clone()
    }

    /// Builds an updater with the settings and the store of this client.
    ///
    /// # Panics
    ///
    /// Panics if the store cannot be opened.
    #[must_use]
    pub fn updater(&self) -> Updater {
        self.updater_with(DirectoryStore::open(self.store_path()).expect("the store can be opened"))
    }

    fn open_updater(&self) -> Result<Updater, Error> {
        Ok(self.updater_with(DirectoryStore::open(self.store_path())?))
    }

    /// Builds an updater with the settings of this client and with `store`.
    ///
    /// # Panics
    ///
    /// Panics if the settings are unusable.
    #[must_use]
    pub fn updater_with(&self, store: impl Store) -> Updater {
        self.builder(store).build().expect("usable settings")
    }

    /// Returns a builder with the settings of this client and with `store`. A test can then change more settings.
    ///
    /// # Panics
    ///
    /// Panics if the HTTP settings are unusable.
    pub fn builder(&self, store: impl Store) -> UpdaterBuilder {
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
            Some((_, settings)) => builder.fetch(HttpFetch::new(settings).expect("usable HTTP settings")),
            None => builder.fetch(Mirrors(mirrors)),
        };
        let events = Arc::clone(&self.events);
        builder
            .store(store)
            .limits(self.limits.clone())
            .retry_policy(self.retry_policy)
            .target_names(self.target_names)
            .event_sink(RecordEvents(events))
    }

    /// Returns a tokio runtime. If the client uses the fake network and does not retry, the runtime's clock is paused,
    /// so timeouts expire immediately. If the client retries, the clock is not paused. Tokio moves a paused clock to
    /// the next timeout whenever all tasks wait, so this timeout would expire while a thread writes a part of a target.
    fn runtime(&self) -> Runtime {
        let paused = self.http.is_none() && self.retry_policy.retries == 0;
        let mut builder = Builder::new_current_thread();
        #[cfg(feature = "paused-time")]
        builder.start_paused(paused);
        #[cfg(not(feature = "paused-time"))]
        let _ = paused;
        builder.enable_all().build().expect("a runtime")
    }

    /// Updates the trusted metadata and returns its versions.
    ///
    /// # Errors
    ///
    /// Any error from the client.
    pub fn refresh(&self) -> Result<Versions, Error> {
        let updater = self.open_updater()?;
        self.runtime().block_on(updater.refresh_at(self.now)).map(|session| versions(&session))
    }

    /// Like [`TestClient::refresh`], but uses `store` instead of the client's own store.
    ///
    /// # Errors
    ///
    /// Any error from the client.
    pub fn refresh_with(&self, store: impl Store) -> Result<Versions, Error> {
        self.runtime().block_on(self.updater_with(store).refresh_at(self.now)).map(|session| versions(&session))
    }

    /// Verifies the stored metadata again, without making a request, and returns its versions.
    ///
    /// # Errors
    ///
    /// Any error from the client.
    pub fn offline(&self) -> Result<Versions, Error> {
        self.runtime().block_on(self.updater().offline_at(self.now)).map(|session| versions(&session))
    }

    /// Updates the trusted metadata, then searches for the target `path`. Returns `None` if no trusted role lists the
    /// target.
    ///
    /// # Errors
    ///
    /// Any error from the client.
    pub fn find(&self, path: &str) -> Result<Option<Target>, Error> {
        self.find_each(&[path]).pop().expect("`find_each` returns one result for each path")
    }

    /// Updates the trusted metadata once, then searches for each of `paths`. If the update fails, the only element of
    /// the result is the error.
    #[must_use]
    pub fn find_each(&self, paths: &[&str]) -> Vec<Result<Option<Target>, Error>> {
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

    /// Updates the trusted metadata and returns the paths of all targets.
    ///
    /// # Errors
    ///
    /// Any error from the client.
    pub fn list(&self) -> Result<Vec<String>, Error> {
        self.runtime().block_on(async {
            let targets = self.updater().refresh_at(self.now).await?.list().await?;
            Ok(targets.into_iter().map(|target| target.path.as_str().to_owned()).collect())
        })
    }

    /// Updates the trusted metadata, downloads each of `paths` into the output folder, and returns the trusted
    /// versions.
    ///
    /// # Errors
    ///
    /// Any error from the client; [`Error::NoSuchTarget`] for a path that no trusted role lists.
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

    /// Updates the trusted metadata, downloads the target `path` into the output folder, and returns its content.
    ///
    /// # Errors
    ///
    /// Any error from the client; [`Error::NoSuchTarget`] if no trusted role lists the target.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, Error> {
        self.download(path, None).map(|file| fs::read(file).unwrap())
    }

    /// Like [`TestClient::get`], but writes to the file `name` in the output folder.
    ///
    /// # Errors
    ///
    /// Any error from the client; [`Error::NoSuchTarget`] if no trusted role lists the target.
    pub fn get_as(&self, path: &str, name: &str) -> Result<Vec<u8>, Error> {
        self.download(path, Some(name)).map(|file| fs::read(file).unwrap())
    }

    fn download(&self, path: &str, name: Option<&str>) -> Result<PathBuf, Error> {
        let path = target_path(path);
        self.runtime().block_on(async {
            let mut session = self.open_updater()?.refresh_at(self.now).await?;
            let target = session.find(&path).await?.ok_or(Error::NoSuchTarget(path))?;
            match name {
                Some(name) => session.download(&target, self.output_path().join(name)).await,
                None => session.download_below(&target, self.output_path()).await,
            }
        })
    }

    /// Returns the events that the client has sent since the last call.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().unwrap())
    }

    /// Returns the path of the client's store, which is a folder.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.folder.path().join(HOME).join("store")
    }

    /// Returns the path of the folder for downloaded targets.
    #[must_use]
    pub fn output_path(&self) -> PathBuf {
        self.folder.path().join(HOME).join("output")
    }

    /// Returns the stored metadata of `role`.
    #[must_use]
    pub fn stored(&self, role: &str) -> Option<Vec<u8>> {
        fs::read(self.store_path().join(file_name(role, None))).ok()
    }

    /// Returns the trusted metadata files in the store, by file name. Does not include the subfolders, in which the
    /// client keeps other state.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let names = below(&self.store_path()).into_iter().filter(|name| !name.contains('/'));
        names.map(|name| (name.clone(), fs::read(self.store_path().join(name)).unwrap())).collect()
    }

    /// Returns all files in the store by path: the trusted metadata and the client's other state.
    #[must_use]
    pub fn all_stored(&self) -> BTreeMap<String, Vec<u8>> {
        let names = below(&self.store_path()).into_iter();
        names.map(|name| (name.clone(), fs::read(self.store_path().join(name)).unwrap())).collect()
    }

    /// Writes a file into the store, to simulate a damaged store or an attacker.
    pub fn put_stored(&self, name: &str, content: &[u8]) {
        fs::write(self.store_path().join(name), content).unwrap();
    }

    /// Returns the paths of all files in the output folder, sorted.
    #[must_use]
    pub fn output(&self) -> Vec<String> {
        below(&self.output_path())
    }

    /// Returns the content of the file `name` in the output folder.
    ///
    /// # Panics
    ///
    /// Panics if there is no such file.
    #[must_use]
    pub fn read_output(&self, name: &str) -> Vec<u8> {
        fs::read(self.output_path().join(name)).unwrap()
    }

    /// Writes a file into the output folder.
    pub fn put_output(&self, name: &str, content: &[u8]) {
        fs::write(self.output_path().join(name), content).unwrap();
    }

    /// Returns the paths of all files in the temporary directory that are neither in the store nor in the output
    /// folder. A correct client creates no such files.
    #[must_use]
    pub fn files_outside(&self) -> Vec<String> {
        let inside = |name: &String| ["store/", "output/"].iter().any(|own| name.starts_with(&format!("{HOME}/{own}")));
        below(self.folder.path()).into_iter().filter(|name| !inside(name)).collect()
    }
}

/// Creates a temporary directory, in `/dev/shm` if possible, because `fsync` takes no time in this in-memory file
/// system.
fn temporary_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory")
}

fn mirror_url(number: usize) -> String {
    if number == 0 { BASE.to_owned() } else { format!("http://mirror-{number}.test/") }
}

fn target_path(path: &str) -> TargetPath {
    TargetPath::new(path).expect("a valid target path")
}

fn versions(session: &Session) -> Versions {
    let trusted = session.trusted();
    let versions =
        [trusted.root().version, trusted.timestamp().version, trusted.snapshot().version, trusted.targets().version()];
    versions.map(lastmile_metadata::Version::get)
}

/// Returns the paths of all files below `dir`, relative to it and sorted.
fn below(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
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

fn copy_dir(from: &Path, to: &Path) {
    drop(fs::remove_dir_all(to));
    fs::create_dir_all(to).unwrap();
    for name in below(from) {
        fs::create_dir_all(to.join(&name).parent().unwrap()).unwrap();
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

struct RecordEvents(Arc<Mutex<Vec<Event>>>);

impl EventSink for RecordEvents {
    fn handle(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// A transport for several fake networks. The first network has the URL [`BASE`], the second `http://mirror-1.test/`,
/// and so on.
struct Mirrors(Vec<FakeNetwork>);

impl Fetch for Mirrors {
    fn fetch(&self, url: &str, _offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let mut mirrors = self.0.iter().enumerate();
        let requested =
            mirrors.find_map(|(number, network)| Some((network, url.strip_prefix(&mirror_url(number))?.to_owned())));
        let (network, path) = requested.unwrap_or_else(|| panic!("`{url}` does not belong to a fake network"));
        Box::pin(std::future::ready(response(network.answer(&path))))
    }
}
