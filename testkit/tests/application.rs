//! Shows how an application can test its updates. These tests contain the steps of the example in the README.

#![expect(clippy::unwrap_used, reason = "unwrapping makes the test fail")]

use std::fs;
use std::path::Path;

use lastmile_client::{DirectoryStore, Error, HttpFetch, HttpSettings, ProxyChoice, Updater, blocking};
use lastmile_metadata::{ErrorKind, RoleName};
use lastmile_testkit::{NetworkFault, Repository, Server, refused};
use tempfile::TempDir;

/// Installs the newest release of `app` in `dir`, as the application would. `root` is the root metadata that ships with
/// the application.
fn install(root: &[u8], url: &str, settings: &HttpSettings, dir: &Path) -> Result<(), Error> {
    let updater = Updater::builder(root)
        .mirror(format!("{url}metadata/"), format!("{url}targets/"))
        .store(DirectoryStore::open(dir.join("trust"))?)
        .fetch(HttpFetch::new(settings)?)
        .build()?;
    let mut session = blocking::Updater::new(updater)?.refresh()?;
    let target = session.target("app")?;
    session.download(&target, dir.join("app"))?;
    Ok(())
}

struct Installation {
    root: Vec<u8>,
    dir: TempDir,
}

impl Installation {
    fn new(repository: &Repository) -> Installation {
        Installation { root: repository.first_root(), dir: tempfile::tempdir().unwrap() }
    }

    fn update(&self, server: &Server) -> Result<(), Error> {
        // Bypass any proxy that is configured on this machine.
        let settings = HttpSettings { proxy: ProxyChoice::Direct, ..HttpSettings::default() };
        install(&self.root, &server.url(), &settings, self.dir.path())
    }

    fn app(&self) -> Option<Vec<u8>> {
        fs::read(self.dir.path().join("app")).ok()
    }
}

fn release(repository: &mut Repository, content: &[u8]) {
    repository.add_target("targets", "app", content);
    repository.publish(&["targets"]);
}

#[test]
fn the_newest_release_is_installed() {
    let mut repository = Repository::new();
    release(&mut repository, b"release 1");
    release(&mut repository, b"release 2");
    let server = Server::start(repository.network());
    let installation = Installation::new(&repository);
    installation.update(&server).unwrap();
    assert_eq!(installation.app().unwrap(), b"release 2");
    let location = repository.target_location("app", b"release 2");
    let mut requests = repository.network().requests();
    // The first two requests are sent at the same time, so they may arrive in either order.
    requests[..2].sort();
    assert_eq!(
        requests,
        [
            "metadata/2.root.json",
            "metadata/timestamp.json",
            "metadata/3.snapshot.json",
            "metadata/3.targets.json",
            &location
        ]
    );
}

#[test]
fn a_rollback_is_refused_and_the_old_file_is_kept() {
    let mut repository = Repository::new();
    release(&mut repository, b"release 1");
    let old = repository.fork();
    release(&mut repository, b"release 2");
    let installation = Installation::new(&repository);
    installation.update(&Server::start(repository.network())).unwrap();

    let error = refused(installation.update(&Server::start(old.network())));
    assert_eq!(error.role, RoleName::TIMESTAMP);
    assert!(matches!(error.kind, ErrorKind::Rollback { .. }), "{error}");
    assert_eq!(installation.app().unwrap(), b"release 2");
}

#[test]
fn a_server_that_closes_the_connection_early_leaves_the_old_file_and_the_next_update_succeeds() {
    let mut repository = Repository::new();
    release(&mut repository, b"release 1");
    let server = Server::start(repository.network());
    let installation = Installation::new(&repository);
    installation.update(&server).unwrap();

    release(&mut repository, b"release 2");
    let location = repository.target_location("app", b"release 2");
    repository.network().fault(&location, NetworkFault::Truncated(3));
    let result = installation.update(&server);
    assert!(matches!(result, Err(Error::Network(_))), "{result:?}");
    assert_eq!(installation.app().unwrap(), b"release 1");

    repository.network().clear_faults();
    installation.update(&server).unwrap();
    assert_eq!(installation.app().unwrap(), b"release 2");
}

#[test]
fn a_single_interruption_is_retried() {
    let mut repository = Repository::new();
    release(&mut repository, b"release 1");
    let location = repository.target_location("app", b"release 1");
    repository.network().fault_times(&location, NetworkFault::Truncated(3), 1);
    let installation = Installation::new(&repository);
    installation.update(&Server::start(repository.network())).unwrap();
    assert_eq!(installation.app().unwrap(), b"release 1");
}
