//! Tests of the requests that a push makes at its destination, and of the progress that it reports.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::DateTime;
use lastmile_cli_support::{ExitStatus, World};
use lastmile_client::{BoxFuture, Fetch, FetchError, Response};
use lastmile_metadata::{TargetFile, TargetNames};
use tempfile::TempDir;

use super::destination::{Lease, LocalTarget, Object, Written};
use super::*;
use crate::invocation::LockWait;
use crate::served::catch_up::{self, Foreign, catch_up_through};
use crate::served::transport::Transport;
use crate::{Invocation, UserConfig};

/// A folder with a repository, a home folder, and the folder to which the repository is pushed.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        site.run(&["init", "--unencrypted-keys"]);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, args: &[&str]) {
        let repository = self.path("repository").into_os_string();
        let world = World {
            env: Box::new(move |name| (name == "LASTMILE_REPOSITORY").then(|| repository.clone())),
            home: Some(self.path("home")),
            ..World::isolated(DateTime::from_timestamp(1_900_000_000, 0).unwrap())
        };
        let status = crate::cli::run(["lastmile-repo"].iter().chain(args).map(OsString::from), world);
        assert_eq!(status, ExitStatus::Done, "{args:?}");
    }

    fn add(&self, files: usize) {
        let dist = self.path("dist");
        fs::create_dir_all(&dist).unwrap();
        (0..files).for_each(|number| fs::write(dist.join(number.to_string()), number.to_string()).unwrap());
        self.run(&["add", dist.to_str().unwrap()]);
    }

    fn invocation(&self) -> Invocation {
        let user = UserConfig::at(&self.path("home/.config/lastmile-repo/config.toml"));
        Invocation::new(DateTime::from_timestamp(1_900_000_000, 0).unwrap(), user)
    }

    /// Pushes to the folder `to`, and returns the destination with its counts.
    fn push(&self, to: &Path) -> Watched {
        let watched = Watched::new(to);
        let mut repository = Repository::open_for_change(&self.path("repository"), &self.invocation()).unwrap();
        let settings = DestinationSettings::new(watched.directory.url().clone());
        let options = Options {
            mode: Mode::Upload,
            missing: MissingFiles::Refuse,
            name: "default",
            settings: &settings,
            emptied: Emptied::Refuse,
            progress: &watched.done,
        };
        push(&mut repository, &watched, &options).unwrap();
        watched
    }
}

/// A destination that counts requests.
struct Watched {
    directory: Directory,
    lengths: AtomicUsize,
    done: Done,
    /// For each uploaded target and delegated role, the number of files that were done before the upload.
    done_before: Mutex<Vec<usize>>,
}

#[derive(Default)]
struct Done(AtomicUsize);

impl Progress for Done {
    fn begin(&self, _: usize) {}

    fn uploaded(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Watched {
    fn new(folder: &Path) -> Self {
        Self {
            directory: Directory::new(folder).unwrap(),
            lengths: AtomicUsize::new(0),
            done: Done::default(),
            done_before: Mutex::default(),
        }
    }

    fn note_upload(&self) {
        self.done_before.lock().unwrap().push(self.done.0.load(Ordering::SeqCst));
    }
}

impl Destination for Watched {
    fn url(&self) -> &BaseUrl {
        self.directory.url()
    }

    fn transport(&self) -> Result<Transport, Error> {
        self.directory.transport()
    }

    fn lock(&self, wait: &LockWait) -> Result<Box<dyn Lease>, Error> {
        self.directory.lock(wait)
    }

    fn read(&self, name: &str, most: u64) -> Result<Option<Object>, Error> {
        self.directory.read(name, most)
    }

    fn length(&self, name: &str) -> Result<Option<u64>, Error> {
        self.lengths.fetch_add(1, Ordering::SeqCst);
        self.directory.length(name)
    }

    fn has_target(&self, name: &str, target: &TargetFile, names: TargetNames) -> Result<bool, Error> {
        self.directory.has_target(name, target, names)
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<Written, Error> {
        if name.contains("bin-") {
            self.note_upload();
        }
        self.directory.create(name, bytes)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.directory.put(name, bytes)
    }

    fn put_target(&self, name: &str, file: LocalTarget) -> Result<(), Error> {
        self.note_upload();
        self.directory.put_target(name, file)
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        self.directory.remove(name)
    }
}

#[test]
fn progress_is_reported_after_each_file() {
    let site = Site::new();
    site.run(&["bins", "--bit-length", "5"]);
    site.add(32);
    let pushed = site.push(&site.path("www"));
    let done_before = pushed.done_before.into_inner().unwrap();
    assert_eq!(done_before.len(), 64);
    for (number, done) in done_before.into_iter().enumerate() {
        // Eight files are uploaded at a time, after the root.
        assert!(done + 8 > number, "{done} files were done before upload {number}");
    }
    // The other files are the root, role targets, the snapshot and the timestamp.
    assert_eq!(pushed.done.0.into_inner(), 64 + 4);
}

#[test]
fn the_number_of_requests_of_a_first_push_does_not_grow_with_the_number_of_versions() {
    let site = Site::new();
    let renew = |times| (0..times).for_each(|_| site.run(&["renew", "--force"]));
    renew(2);
    let few = site.push(&site.path("one")).lengths.into_inner();
    renew(10);
    let first = site.push(&site.path("two"));
    assert_eq!(first.lengths.into_inner(), few);
    // A later push makes a request for each version that it skips.
    let current = site.push(&site.path("one")).lengths.into_inner();
    assert!(current >= 9, "{current}");
}

#[test]
fn a_snapshot_of_an_interrupted_first_push_is_discarded() {
    let site = Site::new();
    site.run(&["renew", "--force"]);
    let www = site.path("www");
    fs::create_dir_all(www.join("metadata")).unwrap();
    fs::copy(site.path("repository/metadata/1.root.json"), www.join("metadata/1.root.json")).unwrap();
    fs::write(www.join("metadata/1.snapshot.json"), "abandoned").unwrap();
    site.push(&www);
    assert!(!www.join("metadata/1.snapshot.json").exists());
    assert!(www.join("metadata/2.snapshot.json").exists());
}

/// A transport that waits until two targets have been requested before it sends a target.
struct TwoAtOnce {
    transport: Transport,
    requested: AtomicUsize,
}

impl Fetch for TwoAtOnce {
    fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let fetched = self.transport.fetch(url, offset);
        if !url.contains("/targets/") {
            return fetched;
        }
        self.requested.fetch_add(1, Ordering::SeqCst);
        let start = Instant::now();
        Box::pin(async move {
            while self.requested.load(Ordering::SeqCst) < 2 {
                if start.elapsed() > Duration::from_secs(5) {
                    return Err(FetchError::NotFound);
                }
                tokio::task::yield_now().await;
            }
            fetched.await
        })
    }
}

#[test]
fn an_adoption_downloads_several_targets_at_once() {
    let site = Site::new();
    let (www, other) = (site.path("www"), site.path("other"));
    let copied = std::process::Command::new("cp").arg("-r").arg(site.path("repository")).arg(&other).status().unwrap();
    assert!(copied.success());
    site.add(12);
    let url = site.push(&www).url().folder("metadata");
    let transport = Transport::by_scheme().unwrap();
    let transport = Transport::new(TwoAtOnce { transport, requested: AtomicUsize::new(0) });
    let mode = catch_up::Mode::Apply;
    let done = catch_up_through(&transport, &other, &site.invocation(), &url, Foreign::Adopt, mode).unwrap();
    assert_eq!(done.missing, [""; 0]);
    assert_eq!(
        walkdir::WalkDir::new(other.join("targets"))
            .into_iter()
            .filter(|entry| entry.as_ref().unwrap().file_type().is_file())
            .count(),
        12
    );
}

#[cfg(feature = "object-store")]
#[test]
fn credentials_in_the_url_of_a_destination_are_refused_and_not_printed() {
    for text in [
        "s3://AKIA:secret@bucket/a",
        "s3://AKIA:sec/ret@bucket/a",
        "gs://AKIA:secret/",
        "az://alice:sec/ret@container",
        "s3://AKIA:sec\\ret@bucket/a",
        "sftp://alice:sec/ret@h/a",
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(!error.contains("sec") && !error.contains("ret@"), "{text}: {error}");
    }
    for text in ["s3://bucket/a@b", "gs://bucket", "az://container/a:b"] {
        assert!(parse(text).is_ok(), "{text}");
    }
}
