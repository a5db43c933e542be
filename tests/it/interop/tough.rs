//! Uses the crate `tough` as a client and as an editor of repositories.

use std::collections::HashMap;
use std::fmt::Debug;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use futures_util::TryStreamExt as _;
use percent_encoding::percent_decode_str;
use tempfile::TempDir;
use tough::editor::RepositoryEditor;
use tough::editor::signed::SignedRole;
use tough::key_source::{KeySource, LocalKeySource};
use tough::schema::{KeyHolder, PathPattern, PathSet, RoleKeys, RoleType, Root};
use tough::{Repository, RepositoryLoader, TargetName, Transport, TransportError, TransportErrorKind, TransportStream};
use url::Url;

/// A transport for tough that reads the folder of a repository.
///
/// tough requests the target `a/b` as `HASH.a/b`, but TUF specification 5.7.3 puts the hash before the last segment.
/// The transport reads the file `a/HASH.b` instead, so that this bug in tough does not hide other differences.
#[derive(Clone, Debug)]
struct Folder(PathBuf);

#[tough::async_trait]
impl Transport for Folder {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let path = percent_decode_str(url.path().trim_start_matches('/')).decode_utf8().unwrap();
        let missing = || TransportError::new(TransportErrorKind::FileNotFound, url.as_str());
        let bytes = std::fs::read(self.0.join(as_specified(&path))).map_err(|_| missing())?;
        Ok(Box::pin(futures_util::stream::iter([Ok(bytes.into())])))
    }
}

/// Turns `targets/HASH.a/b` into `targets/a/HASH.b`.
fn as_specified(path: &str) -> String {
    let moved = path.strip_prefix("targets/").and_then(|target| {
        let (hash, name) = target.split_once('.').filter(|(hash, _)| hash.len() == 64 && !hash.contains('/'))?;
        let (folder, last) = name.rsplit_once('/')?;
        Some(format!("targets/{folder}/{hash}.{last}"))
    });
    moved.unwrap_or_else(|| path.to_owned())
}

pub(crate) async fn load(folder: &Path, root: &[u8]) -> Result<Repository, tough::error::Error> {
    let url = |name: &str| Url::parse(&format!("file:///{name}/")).unwrap();
    let loader = RepositoryLoader::new(&root, url("metadata"), url("targets"));
    loader.transport(Folder(folder.to_owned())).load().await
}

/// Returns `None` if the target does not exist.
pub(crate) async fn read(repository: &Repository, name: &str) -> Option<Vec<u8>> {
    let name = TargetName::new(name).unwrap();
    let parts: Vec<_> = repository.read_target(&name).await.unwrap()?.try_collect().await.unwrap();
    Some(parts.concat())
}

/// A repository that tough's editor made.
pub(crate) struct Made {
    folder: TempDir,
    keys: Vec<PathBuf>,
    version: u64,
}

impl Made {
    /// Creates a repository in which every role has one key of each type that tough supports.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = vec![
            key(folder.path(), "ED25519", &[], "DER"),
            key(folder.path(), "EC", &["-pkeyopt", "ec_paramgen_curve:P-256"], "DER"),
            key(folder.path(), "RSA", &["-pkeyopt", "rsa_keygen_bits:2048"], "PEM"),
        ];
        std::fs::create_dir(folder.path().join("new")).unwrap();
        let made = Self { folder, keys, version: 0 };
        made.sign_root(1, 2).await;
        made
    }

    /// Returns the folder with `metadata` and `targets`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn root(&self) -> Vec<u8> {
        std::fs::read(self.folder().join("metadata/1.root.json")).unwrap()
    }

    fn sources(&self) -> Vec<Box<dyn KeySource>> {
        let source = |path: &PathBuf| Box::new(LocalKeySource { path: path.clone() }) as Box<dyn KeySource>;
        self.keys.iter().map(source).collect()
    }

    /// Writes and signs `version` of the root, in which every role has the threshold `threshold`.
    pub(crate) async fn sign_root(&self, version: u64, threshold: u64) {
        let sources = self.sources();
        let mut keys = HashMap::new();
        for source in &sources {
            let key = source.as_sign().await.unwrap().tuf_key();
            keys.insert(key.key_id().unwrap(), key);
        }
        let role = RoleKeys {
            keyids: keys.keys().cloned().collect(),
            threshold: NonZeroU64::new(threshold).unwrap(),
            _extra: HashMap::new(),
        };
        let roles = [RoleType::Root, RoleType::Snapshot, RoleType::Targets, RoleType::Timestamp];
        let root = Root {
            spec_version: "1.0.0".into(),
            consistent_snapshot: true,
            version: NonZeroU64::new(version).unwrap(),
            expires: expiry(),
            keys,
            roles: roles.into_iter().map(|kind| (kind, role.clone())).collect(),
            _extra: HashMap::new(),
        };
        let rng = aws_lc_rs::rand::SystemRandom::new();
        let signed = SignedRole::new(root.clone(), &KeyHolder::Root(root), &sources, &rng).await.unwrap();
        let metadata = self.folder().join("metadata");
        std::fs::create_dir_all(&metadata).unwrap();
        std::fs::write(metadata.join(format!("{version}.root.json")), signed.buffer()).unwrap();
    }

    /// Publishes the next version of all roles except the root, with targets in the top-level targets role and in a
    /// delegated role.
    pub(crate) async fn publish(&mut self, root_version: u64, targets: &[(&str, &str)], delegated: &[(&str, &str)]) {
        self.version += 1;
        let version = NonZeroU64::new(self.version).unwrap();
        let root = self.folder().join(format!("metadata/{root_version}.root.json"));
        let mut editor = RepositoryEditor::new(&root).await.unwrap();
        editor.targets_version(version).unwrap().targets_expires(expiry()).unwrap();
        for (name, content) in targets {
            self.add(&mut editor, name, content).await;
        }
        editor.snapshot_version(version).snapshot_expires(expiry());
        editor.timestamp_version(version).timestamp_expires(expiry());
        let sources = self.sources();
        let pattern = PathPattern::new("sub/*").unwrap();
        editor
            .delegate_role("sub", &sources, PathSet::Paths(vec![pattern]), false, NonZeroU64::MIN, expiry(), version)
            .await
            .unwrap();
        editor.sign_targets_editor(&sources).await.unwrap();
        editor.change_delegated_targets("sub").unwrap();
        editor.targets_version(version).unwrap().targets_expires(expiry()).unwrap();
        for (name, content) in delegated {
            self.add(&mut editor, name, content).await;
        }
        editor.sign_targets_editor(&sources).await.unwrap();
        let signed = editor.sign(&sources).await.unwrap();
        signed.write(self.folder().join("metadata")).await.unwrap();
    }

    /// Adds a target, and writes its file. The file name starts with the hash, as consistent snapshots require.
    async fn add(&self, editor: &mut RepositoryEditor, name: &str, content: &str) {
        let file = self.folder().join("new/file");
        std::fs::write(&file, content).unwrap();
        let (_, target) = RepositoryEditor::build_target(&file).await.unwrap();
        let hash: String = hex::encode(&target.hashes.sha256);
        editor.add_target(name, target).unwrap();
        let (folder, last) = name.rsplit_once('/').unwrap_or(("", name));
        let place = self.folder().join("targets").join(folder);
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join(format!("{hash}.{last}")), content).unwrap();
    }
}

/// Creates a private key with openssl, in PKCS#8, which tough can read. `form` is DER or PEM.
fn key(folder: &Path, algorithm: &str, options: &[&str], form: &str) -> PathBuf {
    let made = folder.join(format!("{algorithm}.pem"));
    let path = folder.join(algorithm);
    openssl(&[&["genpkey", "-algorithm", algorithm, "-out", &made.to_string_lossy()], options].concat());
    let from = made.to_string_lossy();
    let to = path.to_string_lossy();
    openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", form, "-in", &from, "-out", &to]);
    path
}

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output();
    let output = output.expect("`openssl` is missing; run `cargo xtask setup`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the time 30 days from now, in the type that tough requires.
fn expiry<T: FromStr<Err: Debug>>() -> T {
    let expiry = chrono::Utc::now() + chrono::TimeDelta::days(30);
    expiry.format("%Y-%m-%dT%H:%M:%SZ").to_string().parse().unwrap()
}
