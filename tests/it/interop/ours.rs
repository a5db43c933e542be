//! A client that uses lastmile-client over HTTP, with a store in memory.

use chrono::{DateTime, Utc};
use lastmile_client::metadata::{ErrorKind, RoleName, TargetPath};
use lastmile_client::{Error, MemoryStore, Refusal, RefusedError, Session, Updater};

/// A client with a fixed clock.
pub(crate) struct TestClient {
    updater: Updater,
    now: DateTime<Utc>,
    downloads: tempfile::TempDir,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Fetched {
    pub(crate) versions: [u64; 4],
    pub(crate) targets: Vec<Option<Vec<u8>>>,
}

impl TestClient {
    pub(crate) fn new(root: &[u8], base: &str) -> Self {
        let updater = Updater::builder(root)
            .mirror(format!("{base}metadata/"), format!("{base}targets/"))
            .store(MemoryStore::default())
            .build()
            .unwrap();
        Self { updater, now: Utc::now(), downloads: tempfile::tempdir().unwrap() }
    }

    pub(crate) async fn fetch(&self, names: &[&str]) -> Result<Fetched, Error> {
        let mut session = self.updater.refresh_at(self.now).await?;
        let mut targets = Vec::new();
        for name in names {
            targets.push(self.read(&mut session, name).await?);
        }
        let trusted = session.trusted();
        let versions = [
            trusted.root().version,
            trusted.timestamp().version,
            trusted.snapshot().version,
            trusted.targets().version(),
        ];
        Ok(Fetched { versions: versions.map(|version| version.get()), targets })
    }

    pub(crate) async fn list(&self) -> Vec<String> {
        let mut session = self.updater.refresh_at(self.now).await.unwrap();
        session.list().await.unwrap().into_iter().map(|target| target.path.as_str().to_owned()).collect()
    }

    async fn read(&self, session: &mut Session, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(target) = session.find(&TargetPath::new(name).unwrap()).await? else {
            return Ok(None);
        };
        let path = self.downloads.path().join("file");
        session.download(&target, &path).await?;
        Ok(Some(std::fs::read(path).unwrap()))
    }
}

pub(crate) fn refusal(result: Result<Fetched, Error>) -> (RoleName, ErrorKind) {
    match result {
        Err(
            Error::Refused(RefusedError { refusal: Refusal::Metadata(error), .. })
            | Error::Limit(RefusedError { refusal: Refusal::Metadata(error), .. }),
        ) => (error.role, error.kind),
        other => panic!("expected a refused metadata file, got {other:?}"),
    }
}
