//! A TUF repository in memory (TUF specification 4 and 6). A test can change every member of a document before the
//! document is signed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fake_network::FakeNetwork;
use crate::key::TestKey;

/// The path prefix of metadata files on the [`FakeNetwork`].
pub const METADATA: &str = "metadata/";
/// The path prefix of target files on the [`FakeNetwork`].
pub const TARGETS: &str = "targets/";
/// The default expiry of every document.
pub const DEFAULT_EXPIRY: &str = "2040-01-01T00:00:00Z";

/// The characters that are percent-encoded in file names and target paths.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A TUF repository. It consists of documents, the keys that sign them, and the network on which they are published. A
/// test can change the documents before they are published.
///
/// In a new repository, the root role has three keys and a threshold of two, and every other top-level role has one
/// Ed25519 key. The repository uses consistent snapshots, and version 1 of every top-level role is published. Clients
/// do not see changes until [`Repository::publish`] is called.
///
/// ```
/// use lastmile_testkit::Repository;
///
/// let mut repository = Repository::new();
/// repository.add_target("targets", "hello.txt", b"hello");
/// repository.publish(&["targets"]);
/// assert_eq!(repository.version("targets"), 2);
/// assert!(repository.network().file("metadata/2.targets.json").is_some());
/// ```
#[derive(Debug)]
pub struct Repository {
    network: FakeNetwork,
    documents: BTreeMap<String, Value>,
    signers: BTreeMap<String, Vec<TestKey>>,
    written: BTreeMap<String, Vec<u8>>,
    /// The root keys that were replaced since the last root was published. They also sign the next root.
    outgoing: Vec<TestKey>,
    /// Whether entries in the snapshot and the timestamp contain lengths and hashes, or only versions. The default is
    /// `true`: lengths and hashes are included.
    pub lists_hashes: bool,
}

impl Default for Repository {
    fn default() -> Repository {
        Repository::new()
    }
}

impl Repository {
    /// Creates a repository with consistent snapshots on a new network.
    #[must_use]
    pub fn new() -> Repository {
        Repository::on_network(FakeNetwork::new())
    }

    /// Creates a repository without consistent snapshots on a new network.
    #[must_use]
    pub fn without_consistent_snapshots() -> Repository {
        let mut root = blank_root();
        root["consistent_snapshot"] = json!(false);
        Repository::with_root(FakeNetwork::new(), root)
    }

    /// Creates a repository with consistent snapshots on `network`. Replaces existing files with the same paths.
    #[must_use]
    pub fn on_network(network: FakeNetwork) -> Repository {
        Repository::with_root(network, blank_root())
    }

    fn with_root(network: FakeNetwork, root: Value) -> Repository {
        let mut repository = Repository {
            network,
            documents: BTreeMap::new(),
            signers: BTreeMap::new(),
            written: BTreeMap::new(),
            outgoing: Vec::new(),
            lists_hashes: true,
        };
        repository.documents.insert("root".into(), root);
        for role in ["targets", "snapshot", "timestamp"] {
            repository.documents.insert(role.into(), blank(role));
        }
        let root_keys = ["root-1", "root-2", "root-3"].map(TestKey::new);
        repository.set_keys("root", &root_keys, 2);
        for role in ["targets", "snapshot", "timestamp"] {
            repository.set_keys(role, &[TestKey::new(role)], 1);
        }
        repository.publish(&["root", "targets"]);
        repository
    }

    /// Creates an independent copy on a separate network, for example to let an attacker continue from the same state.
    #[must_use]
    pub fn fork(&self) -> Repository {
        Repository {
            network: self.network.fork(),
            documents: self.documents.clone(),
            signers: self.signers.clone(),
            written: self.written.clone(),
            outgoing: self.outgoing.clone(),
            lists_hashes: self.lists_hashes,
        }
    }

    /// Returns the network on which the repository is published.
    #[must_use]
    pub fn network(&self) -> &FakeNetwork {
        &self.network
    }

    /// Returns the document of `role`. When the role is published next, the document becomes the `signed` member of the
    /// file. A test may change the document in any way, and even make it invalid.
    ///
    /// # Panics
    ///
    /// Panics if there is no such role. All methods that read the document of a role panic in this case.
    #[must_use]
    pub fn signed(&mut self, role: &str) -> &mut Value {
        self.documents.get_mut(role).unwrap_or_else(|| panic!("no role {role}"))
    }

    /// Returns the version number in the document of `role`.
    #[must_use]
    pub fn version(&self, role: &str) -> u64 {
        self.documents[role]["version"].as_u64().unwrap()
    }

    /// Returns the last metadata file that was written for `role`.
    ///
    /// # Panics
    ///
    /// Panics if no file was ever written for the role.
    #[must_use]
    pub fn written(&self, role: &str) -> Vec<u8> {
        self.written[role].clone()
    }

    /// Returns version 1 of the root, which an application would ship.
    ///
    /// # Panics
    ///
    /// Panics if the file is no longer on the network.
    #[must_use]
    pub fn first_root(&self) -> Vec<u8> {
        let path = format!("{METADATA}{}", file_name("root", Some(1)));
        self.network.file(&path).expect("version 1 of the root")
    }

    /// Returns the names of all delegated roles, sorted.
    #[must_use]
    pub fn delegated_roles(&self) -> Vec<String> {
        let top_level = ["root", "timestamp", "snapshot", "targets"];
        self.documents.keys().filter(|role| !top_level.contains(&role.as_str())).cloned().collect()
    }

    /// Sets the keys that sign the metadata of `role`. If the role does not exist, adds it with an empty targets
    /// document.
    pub(crate) fn add_role(&mut self, role: &str, signers: &[TestKey]) {
        self.documents.entry(role.into()).or_insert_with(|| blank("targets"));
        self.signers.insert(role.into(), signers.to_vec());
    }

    /// Replaces the keys and the threshold of a top-level role in the root document. If `role` is the root, the old
    /// keys sign the next root as well.
    pub fn set_keys(&mut self, role: &str, keys: &[TestKey], threshold: u32) {
        let keyids: Vec<&str> = keys.iter().map(TestKey::keyid).collect();
        let root = self.signed("root");
        for key in keys {
            root["keys"][key.keyid()] = key.object().clone();
        }
        root["roles"][role] = json!({"keyids": keyids, "threshold": threshold});
        let old = self.signers.insert(role.into(), keys.to_vec());
        if role == "root" {
            self.outgoing.extend(old.unwrap_or_default());
        }
    }

    /// Makes `keys` sign for `role` from now on, even if the root or the delegating role does not list them.
    pub fn set_signers(&mut self, role: &str, keys: &[TestKey]) {
        self.signers.insert(role.into(), keys.to_vec());
    }

    /// Returns the keys that sign for `role`.
    #[must_use]
    pub fn signers(&self, role: &str) -> Vec<TestKey> {
        self.signers[role].clone()
    }

    /// Publishes new versions of `roles`, and, if necessary, of the snapshot and the timestamp.
    ///
    /// Publishing the root changes no other role. Publishing a targets role also publishes the snapshot and the
    /// timestamp; publishing the snapshot also publishes the timestamp.
    pub fn publish(&mut self, roles: &[&str]) {
        let named = |role: &str| roles.contains(&role);
        for role in roles.iter().filter(|role| !["snapshot", "timestamp"].contains(role)) {
            self.bump(role);
            self.write(role);
            if *role != "root" {
                self.list_in_snapshot(role);
            }
        }
        let snapshot_due = named("snapshot") || roles.iter().any(|role| !["root", "timestamp"].contains(role));
        if snapshot_due {
            self.bump("snapshot");
            self.write("snapshot");
            self.list_in_timestamp();
        }
        if snapshot_due || named("timestamp") {
            self.bump("timestamp");
            self.write("timestamp");
        }
    }

    /// Signs and publishes `roles` again without raising their versions, and updates the snapshot and the timestamp
    /// accordingly. An attacker who has the keys of these roles could do this.
    pub fn reissue(&mut self, roles: &[&str]) {
        for role in roles {
            self.write(role);
            if !["root", "snapshot", "timestamp"].contains(role) {
                self.list_in_snapshot(role);
            }
        }
        if roles.iter().any(|role| !["root", "timestamp"].contains(role)) {
            self.write("snapshot");
            self.list_in_timestamp();
            self.write("timestamp");
        }
    }

    /// Raises the version in the document of `role` by one, without publishing the document.
    pub fn bump(&mut self, role: &str) {
        let version = self.version(role) + 1;
        self.signed(role)["version"] = json!(version);
    }

    /// Signs the document of `role` and publishes it, without raising its version and without changing any other role.
    /// Returns the content of the published file.
    pub fn write(&mut self, role: &str) -> Vec<u8> {
        let mut signers = self.signers[role].clone();
        if role == "root" {
            signers.append(&mut self.outgoing);
            signers.sort_by(|a, b| a.keyid().cmp(b.keyid()));
            signers.dedup_by(|a, b| a.keyid() == b.keyid());
        }
        let bytes = sign(&self.documents[role], &signers);
        self.put_metadata(role, bytes.clone());
        bytes
    }

    /// Publishes `bytes`, which need not be valid metadata, as the current version of `role`.
    pub fn put_metadata(&mut self, role: &str, bytes: Vec<u8>) {
        let versioned = role == "root" || (role != "timestamp" && self.is_consistent());
        let version = versioned.then(|| self.version(role));
        self.network.put(&format!("{METADATA}{}", file_name(role, version)), bytes.clone());
        self.written.insert(role.into(), bytes);
    }

    /// Updates the entry for `role` in the snapshot document, so that the entry describes the last file written for the
    /// role.
    pub fn list_in_snapshot(&mut self, role: &str) {
        let entry = self.entry(role);
        self.signed("snapshot")["meta"][format!("{role}.json")] = entry;
    }

    /// Updates the entry for the snapshot in the timestamp document, so that the entry describes the last written
    /// snapshot.
    pub fn list_in_timestamp(&mut self) {
        let entry = self.entry("snapshot");
        self.signed("timestamp")["meta"]["snapshot.json"] = entry;
    }

    fn entry(&self, role: &str) -> Value {
        let bytes = &self.written[role];
        let version = self.version(role);
        if self.lists_hashes {
            json!({"version": version, "length": bytes.len(), "hashes": {"sha256": hash(bytes)}})
        } else {
            json!({"version": version})
        }
    }

    /// Returns whether the root document enables consistent snapshots.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.documents["root"]["consistent_snapshot"] == json!(true)
    }

    /// Lists the target `path` with the content `content` in `role`, and puts the file on the network. Clients find the
    /// target after [`Repository::publish`].
    pub fn add_target(&mut self, role: &str, path: &str, content: &[u8]) {
        self.signed(role)["targets"][path] = json!({"length": content.len(), "hashes": {"sha256": hash(content)}});
        self.put_target(path, content);
    }

    /// Puts the file of the target `path` on the network, but does not list the target in any role.
    pub fn put_target(&self, path: &str, content: &[u8]) {
        self.network.put(&self.target_location(path, content), content.to_vec());
    }

    /// Returns the network path at which the target `path` with the content `content` is published.
    #[must_use]
    pub fn target_location(&self, path: &str, content: &[u8]) -> String {
        let location = if self.is_consistent() {
            let (folder, name) = path.rsplit_once('/').map_or((String::new(), path), |(f, n)| (format!("{f}/"), n));
            format!("{folder}{}.{name}", hash(content))
        } else {
            path.to_owned()
        };
        format!("{TARGETS}{}", escape_path(&location))
    }

    /// Writes all published files to `folder`.
    ///
    /// # Panics
    ///
    /// Panics if a file cannot be written.
    pub fn dump(&self, folder: &Path) {
        for (path, bytes) in self.network.files() {
            let goal = folder.join(path);
            fs::create_dir_all(goal.parent().unwrap()).unwrap();
            fs::write(goal, bytes).unwrap();
        }
    }
}

/// Returns an empty root document with version 0, so that the first published version is 1.
fn blank_root() -> Value {
    json!({
        "_type": "root", "spec_version": "1.0.34", "version": 0, "expires": DEFAULT_EXPIRY,
        "consistent_snapshot": true, "keys": {}, "roles": {},
    })
}

/// Returns an empty document for a role other than root, with version 0.
fn blank(role: &str) -> Value {
    let mut signed = json!({"_type": role, "spec_version": "1.0.34", "version": 0, "expires": DEFAULT_EXPIRY});
    let body = if role == "targets" { "targets" } else { "meta" };
    signed[body] = json!({});
    signed
}

/// Returns a metadata file with the document `signed` and one signature by each of `keys`.
///
/// The file is indented JSON, but the signatures cover the canonical form. A faulty client that verifies signatures
/// over the bytes of the file, instead of the canonical form, refuses the file, so tests detect the fault.
#[must_use]
pub fn sign(signed: &Value, keys: &[TestKey]) -> Vec<u8> {
    let signatures: Vec<Value> = keys.iter().map(|key| key.signature(signed)).collect();
    serde_json::to_vec_pretty(&json!({"signatures": signatures, "signed": signed})).unwrap()
}

/// Returns the name of the metadata file of `role`: `ROLE.json` or `VERSION.ROLE.json`, with the role name
/// percent-encoded.
#[must_use]
pub fn file_name(role: &str, version: Option<u64>) -> String {
    let name = utf8_percent_encode(role, ENCODED);
    version.map_or_else(|| format!("{name}.json"), |version| format!("{version}.{name}.json"))
}

fn escape_path(path: &str) -> String {
    path.split('/').map(|part| utf8_percent_encode(part, ENCODED).to_string()).collect::<Vec<_>>().join("/")
}

/// Returns the SHA-256 of `bytes` in lower-case hexadecimal.
#[must_use]
pub fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
