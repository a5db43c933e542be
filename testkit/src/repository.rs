//! An honest repository in memory (spec 4 and 6), every member of which a test can bend before it is signed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::key::TestKey;
use crate::road::Road;

/// The folder of metadata on the [`Road`].
pub const METADATA: &str = "metadata/";
/// The folder of targets on the [`Road`].
pub const TARGETS: &str = "targets/";
/// When everything that the simulator writes expires, unless a test says otherwise.
pub const SHIPPED_EXPIRY: &str = "2040-01-01T00:00:00Z";

/// What stays as it is in the file name of a role.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The repository: documents being worked on, the keys that sign each, and the road on which they are published.
///
/// A new one has a root role with a threshold of 2 of 3, one key for each other role, consistent snapshots, and
/// version 1 of each top-level role published.
#[derive(Debug)]
pub struct Repository {
    road: Road,
    documents: BTreeMap<String, Value>,
    signers: BTreeMap<String, Vec<TestKey>>,
    written: BTreeMap<String, Vec<u8>>,
    /// Keys of earlier roots that the next root has to be signed with as well.
    outgoing: Vec<TestKey>,
    /// Whether snapshot and timestamp list lengths and hashes beside versions.
    pub lists_hashes: bool,
}

impl Default for Repository {
    fn default() -> Repository {
        Repository::new()
    }
}

impl Repository {
    /// A repository with consistent snapshots on a road of its own.
    #[must_use]
    pub fn new() -> Repository {
        Repository::on(Road::new(), true)
    }

    /// A repository whose files are overwritten in place.
    #[must_use]
    pub fn without_consistent_snapshots() -> Repository {
        Repository::on(Road::new(), false)
    }

    /// A repository on `road`.
    #[must_use]
    pub fn on(road: Road, consistent_snapshot: bool) -> Repository {
        let mut repository = Repository {
            road,
            documents: BTreeMap::new(),
            signers: BTreeMap::new(),
            written: BTreeMap::new(),
            outgoing: Vec::new(),
            lists_hashes: true,
        };
        repository.documents.insert(
            "root".into(),
            json!({
                "_type": "root", "spec_version": "1.0.34", "version": 0, "expires": SHIPPED_EXPIRY,
                "consistent_snapshot": consistent_snapshot, "keys": {}, "roles": {},
            }),
        );
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

    /// The same repository state, to play two continuations of one history on two roads.
    #[must_use]
    pub fn fork(&self) -> Repository {
        Repository {
            road: self.road.fork(),
            documents: self.documents.clone(),
            signers: self.signers.clone(),
            written: self.written.clone(),
            outgoing: self.outgoing.clone(),
            lists_hashes: self.lists_hashes,
        }
    }

    /// Where the files are published, and what a client asked for.
    #[must_use]
    pub fn road(&self) -> &Road {
        &self.road
    }

    /// The `signed` member of `role` as it will be published next.
    #[must_use]
    pub fn signed(&mut self, role: &str) -> &mut Value {
        self.documents.get_mut(role).unwrap_or_else(|| panic!("no role {role}"))
    }

    /// The current version of `role`.
    #[must_use]
    pub fn version(&self, role: &str) -> u64 {
        self.documents[role]["version"].as_u64().unwrap()
    }

    /// The file of `role` as it was written last.
    #[must_use]
    pub fn written(&self, role: &str) -> Vec<u8> {
        self.written[role].clone()
    }

    /// The names of all delegated roles, in the order of their names.
    #[must_use]
    pub fn delegated_roles(&self) -> Vec<String> {
        let top_level = ["root", "timestamp", "snapshot", "targets"];
        self.documents.keys().filter(|role| !top_level.contains(&role.as_str())).cloned().collect()
    }

    /// Gives a new role an empty targets document, keeping one that is there.
    pub(crate) fn admit(&mut self, role: &str, signers: &[TestKey]) {
        self.documents.entry(role.into()).or_insert_with(|| blank("targets"));
        self.signers.insert(role.into(), signers.to_vec());
    }

    /// Replaces the keys and the threshold of a top-level role in the root document. The next root is signed with
    /// the old root keys as well.
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

    /// Chooses who signs `role` from now on, whatever the delegator says.
    pub fn set_signers(&mut self, role: &str, keys: &[TestKey]) {
        self.signers.insert(role.into(), keys.to_vec());
    }

    /// Who signs `role` at present.
    #[must_use]
    pub fn signers(&self, role: &str) -> Vec<TestKey> {
        self.signers[role].clone()
    }

    /// Raises the version of each of `roles`, writes them, and brings snapshot and timestamp into step.
    ///
    /// A root alone needs neither. Any other role raises snapshot and timestamp too; naming `snapshot` or
    /// `timestamp` alone renews that one (and, for the snapshot, the timestamp).
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

    /// Writes `roles` again under their present versions, with everything above them in step: what an attacker
    /// with the keys would do.
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

    /// Raises the version of `role` by one.
    pub fn bump(&mut self, role: &str) {
        let version = self.version(role) + 1;
        self.signed(role)["version"] = json!(version);
    }

    /// Signs `role` as it stands and puts it on the road, touching no other role.
    pub fn write(&mut self, role: &str) -> Vec<u8> {
        let mut signers = self.signers[role].clone();
        if role == "root" {
            signers.append(&mut self.outgoing);
            signers.sort_by(|a, b| a.keyid().cmp(b.keyid()));
            signers.dedup_by(|a, b| a.keyid() == b.keyid());
        }
        let bytes = sign(&self.documents[role], &signers);
        self.place(role, bytes.clone());
        bytes
    }

    /// Puts `bytes` where the current version of `role` is looked for.
    pub fn place(&mut self, role: &str, bytes: Vec<u8>) {
        let versioned = role == "root" || (role != "timestamp" && self.is_consistent());
        let version = versioned.then(|| self.version(role));
        self.road.put(&format!("{METADATA}{}", file_name(role, version)), bytes.clone());
        self.written.insert(role.into(), bytes);
    }

    /// Lists `role` in the snapshot as it was written last.
    pub fn list_in_snapshot(&mut self, role: &str) {
        let entry = self.entry(role);
        self.signed("snapshot")["meta"][format!("{role}.json")] = entry;
    }

    /// Lists the snapshot in the timestamp as it was written last.
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

    /// Whether the root document asks for consistent snapshots.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.documents["root"]["consistent_snapshot"] == json!(true)
    }

    /// Lists `content` in `role` under `path` and puts it on the road.
    pub fn add_target(&mut self, role: &str, path: &str, content: &[u8]) {
        self.signed(role)["targets"][path] = json!({"length": content.len(), "hashes": {"sha256": hash(content)}});
        self.put_target(path, content);
    }

    /// Puts `content` where a client looks for `path`, listed or not.
    pub fn put_target(&self, path: &str, content: &[u8]) {
        let location = if self.is_consistent() {
            let (folder, name) = path.rsplit_once('/').map_or((String::new(), path), |(f, n)| (format!("{f}/"), n));
            format!("{folder}{}.{name}", hash(content))
        } else {
            path.to_owned()
        };
        self.road.put(&format!("{TARGETS}{}", escape_path(&location)), content.to_vec());
    }

    /// Writes everything that is published below `folder`, for a person to look at.
    ///
    /// # Panics
    ///
    /// When `folder` cannot be written to.
    pub fn dump(&self, folder: &Path) {
        for (path, bytes) in self.road.files() {
            let goal = folder.join(path);
            fs::create_dir_all(goal.parent().unwrap()).unwrap();
            fs::write(goal, bytes).unwrap();
        }
    }
}

/// An empty document of a role below root, at version 0: publishing makes it version 1.
fn blank(role: &str) -> Value {
    let mut signed = json!({"_type": role, "spec_version": "1.0.34", "version": 0, "expires": SHIPPED_EXPIRY});
    let body = if role == "targets" { "targets" } else { "meta" };
    signed[body] = json!({});
    signed
}

/// The file that holds `signed` with one signature of each of `keys`: indented, so that what is hashed and stored
/// is told apart from what is signed.
#[must_use]
pub fn sign(signed: &Value, keys: &[TestKey]) -> Vec<u8> {
    let signatures: Vec<Value> = keys.iter().map(|key| key.signature(signed)).collect();
    serde_json::to_vec_pretty(&json!({"signatures": signatures, "signed": signed})).unwrap()
}

/// The name of the file of `role`, percent-encoded, with its version in front where it has one.
#[must_use]
pub fn file_name(role: &str, version: Option<u64>) -> String {
    let name = utf8_percent_encode(role, UNRESERVED);
    version.map_or_else(|| format!("{name}.json"), |version| format!("{version}.{name}.json"))
}

/// A target path as it stands in a URL: every segment percent-encoded.
fn escape_path(path: &str) -> String {
    path.split('/').map(|part| utf8_percent_encode(part, UNRESERVED).to_string()).collect::<Vec<_>>().join("/")
}

/// SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
