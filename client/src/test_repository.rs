//! A small repository in memory for the unit tests of the client. The tests of the workflow are in the folder `tests`
//! of the workspace.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use lastmile_keys::{PrivateKey, Scheme, Signer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::builder::UpdaterBuilder;
use crate::net::fetch::{Fetch, FetchError, Response};
use crate::updater::Updater;

pub(crate) type Answer = Result<Vec<u8>, FetchError>;

/// A repository with the mirrors `http://a/` and `http://b/`. Clones share the files and the log of requests.
#[derive(Clone, Default)]
pub(crate) struct TestRepository {
    files: Arc<Mutex<BTreeMap<String, Answer>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

pub(crate) fn now() -> DateTime<Utc> {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

fn key(name: &str) -> PrivateKey {
    PrivateKey::from_seed(Scheme::Ed25519, &Sha256::digest(name).into()).unwrap()
}

#[cfg(all(feature = "attest", feature = "cli"))]
pub(crate) fn signature(name: &str, message: &[u8]) -> Vec<u8> {
    key(name).sign(message).unwrap()
}

pub(crate) fn keyid(name: &str) -> String {
    hex::encode(Sha256::digest(key_object(name).to_string()))
}

pub(crate) fn key_object(name: &str) -> Value {
    json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": key(name).public_key().public() } })
}

/// Signs compact JSON with sorted members, which is already canonical as long as strings need no escapes.
pub(crate) fn sign(signed: &Value, by: &[&str]) -> Vec<u8> {
    let sign = |name: &&str| {
        let signature = key(name).sign(signed.to_string().as_bytes()).unwrap();
        json!({ "keyid": keyid(name), "sig": hex::encode(signature) })
    };
    let signatures: Vec<_> = by.iter().map(sign).collect();
    json!({ "signed": signed, "signatures": signatures }).to_string().into_bytes()
}

pub(crate) fn expires() -> String {
    lastmile_metadata::format_time(&(now() + TimeDelta::days(1)))
}

/// Returns a root metadata file with one key for each role, signed by `root_key`.
pub(crate) fn root(version: u64, root_key: &str, online_key: &str) -> Vec<u8> {
    let role = |name: &str| json!({ "keyids": [keyid(name)], "threshold": 1 });
    let keys: serde_json::Map<_, _> =
        [root_key, online_key, "targets"].iter().map(|name| (keyid(name), key_object(name))).collect();
    let roles = json!({
        "root": role(root_key), "timestamp": role(online_key), "snapshot": role(online_key), "targets": role("targets"),
    });
    let signed = json!({
        "_type": "root", "spec_version": "1.0.34", "version": version, "expires": expires(),
        "consistent_snapshot": true, "keys": keys, "roles": roles,
    });
    sign(&signed, &[root_key])
}

impl TestRepository {
    /// Returns a repository with all roles at version 1.
    pub(crate) fn new() -> TestRepository {
        let repository = TestRepository::default();
        repository.publish(1, "online");
        repository
    }

    pub(crate) fn updater(&self) -> UpdaterBuilder {
        Updater::builder(root(1, "root", "online")).fetch(self.clone()).mirror("http://a/", "http://a/t/")
    }

    /// Publishes every role except root at version `version`. The content of the target `x` is the version number.
    pub(crate) fn publish(&self, version: u64, online_key: &str) {
        let content = version.to_string();
        let target = json!({ "length": content.len(), "hashes": { "sha256": hex::encode(Sha256::digest(&content)) } });
        let role = |kind: &str, more: Value| {
            let mut signed =
                json!({ "_type": kind, "spec_version": "1.0.34", "version": version, "expires": expires() });
            signed.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            signed
        };
        let of_version = json!({ "version": version });
        let delegations = json!({
            "keys": { keyid("docs"): key_object("docs") },
            "roles": [{ "name": "docs", "keyids": [keyid("docs")], "threshold": 1, "terminating": false,
                "paths": ["docs/*"] }],
        });
        let targets = json!({ "targets": { "x": &target }, "delegations": delegations });
        let docs = json!({ "targets": { "docs/y": &target } });
        self.put(&format!("{version}.targets.json"), &sign(&role("targets", targets), &["targets"]));
        self.put(&format!("{version}.docs.json"), &sign(&role("targets", docs), &["docs"]));
        let meta = json!({ "meta": { "targets.json": &of_version, "docs.json": &of_version } });
        self.put(&format!("{version}.snapshot.json"), &sign(&role("snapshot", meta), &[online_key]));
        let meta = json!({ "meta": { "snapshot.json": &of_version } });
        self.put("timestamp.json", &sign(&role("timestamp", meta), &[online_key]));
    }

    /// Sets a member of the signed part of version 1 of a targets role, and signs the role again.
    #[cfg(any(not(feature = "attest"), feature = "cli"))]
    pub(crate) fn set_member(&self, role: &str, name: &str, value: &Value) {
        let file = format!("1.{role}.json");
        let mut signed = serde_json::from_slice::<Value>(&self.file(&file)).unwrap()["signed"].take();
        signed[name] = value.clone();
        self.put(&file, &sign(&signed, &[role]));
    }

    /// Puts a file on both mirrors.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        for mirror in ["http://a/", "http://b/"] {
            self.answer(&format!("{mirror}{name}"), Ok(bytes.to_vec()));
        }
    }

    pub(crate) fn answer(&self, url: &str, answer: Answer) {
        self.files.lock().unwrap().insert(url.to_owned(), answer);
    }

    pub(crate) fn file(&self, name: &str) -> Vec<u8> {
        self.files.lock().unwrap()[&format!("http://a/{name}")].clone().unwrap()
    }

    /// Returns the files on mirror `a`, by path.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let files = self.files.lock().unwrap();
        let of_a =
            files.iter().filter_map(|(url, answer)| Some((url.strip_prefix("http://a/")?, answer.as_ref().ok()?)));
        of_a.map(|(name, bytes)| (name.to_owned(), bytes.clone())).collect()
    }

    /// Writes the metadata to `dir` and the targets to `dir/targets`, for `file://` URLs.
    pub(crate) fn write_to(&self, dir: &std::path::Path) {
        std::fs::create_dir_all(dir.join("targets/docs")).unwrap();
        let files = self.files.lock().unwrap();
        for (url, bytes) in files.iter() {
            if let (Some(name), Ok(bytes)) = (url.strip_prefix("http://a/"), bytes) {
                std::fs::write(dir.join(name), bytes).unwrap();
            }
        }
    }

    /// Returns the URLs requested since the last call.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }
}

impl Fetch for TestRepository {
    fn fetch(&self, url: &str, _offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        self.requests.lock().unwrap().push(url.to_owned());
        let answer = self.files.lock().unwrap().get(url).cloned().unwrap_or(Err(FetchError::NotFound));
        Box::pin(async move { answer.map(Response::whole) })
    }
}

pub(crate) const DELAY: Duration = Duration::from_millis(300);

/// A repository that answers with a delay. The first requests for a URL get the answers that `at_first` lists for this
/// URL. Later requests get the files of `repository`.
#[derive(Clone, Default)]
pub(crate) struct FarAway {
    pub(crate) repository: TestRepository,
    pub(crate) at_first: Arc<Mutex<BTreeMap<String, Vec<Answer>>>>,
}

impl FarAway {
    pub(crate) fn at_first(&self, url: &str, answers: &[Answer]) {
        self.at_first.lock().unwrap().insert(url.to_owned(), answers.to_vec());
    }
}

impl Fetch for FarAway {
    fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let usual = self.repository.fetch(url, offset);
        let mut at_first = self.at_first.lock().unwrap();
        let other = at_first.get_mut(url).filter(|answers| !answers.is_empty()).map(|answers| answers.remove(0));
        Box::pin(async move {
            tokio::time::sleep(DELAY).await;
            match other {
                Some(answer) => answer.map(Response::whole),
                None => usual.await,
            }
        })
    }
}
