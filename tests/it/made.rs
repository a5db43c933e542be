//! Repositories made with `lastmile-repo`, and attackers who have some of the private keys of such a repository.
//!
//! The simulator in `testkit/` can make any repository, including repositories that `lastmile-repo` would never make.
//! Tests of what `lastmile-repo` promises about its repositories use this module instead.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_attacks::{EVIL, GOOD};
use lastmile_client::{Error, Refusal};
use lastmile_keys::{PrivateKey, Scheme, Signer as _};
use lastmile_metadata::Key;
use lastmile_repo_tool::internal::cli::{self, ExitStatus, World};
use lastmile_testkit::{FakeNetwork, METADATA, TARGETS, TestClient, canonical, file_name, hash};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A repository in a temporary folder. Only commands of `lastmile-repo` change it.
pub(crate) struct Made {
    folder: TempDir,
}

impl Made {
    /// Creates a repository in which the top-level targets role lists `package`.
    pub(crate) fn new() -> Made {
        let made = Made { folder: tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap() };
        let phrase = made.folder.path().join("phrase");
        fs::write(&phrase, "correct horse battery staple").unwrap();
        fs::set_permissions(&phrase, fs::Permissions::from_mode(0o600)).unwrap();
        made.run(&["init", "--unencrypted-keys", "--immutable", "!*"]);
        made.add("package", GOOD, &[]);
        made
    }

    /// Like [`Made::new`], but also delegates to a role `team`, which lists `team/package`.
    pub(crate) fn with_team() -> Made {
        let made = Made::new();
        made.new_key("team-1");
        made.run(&["delegate", "team", "--paths", "team/*", "--key", "team-1"]);
        made.add("team/package", GOOD, &["--role", "team"]);
        made
    }

    /// Like [`Made::new`], but `package` is listed in one of two bins. Each bin must be signed with all of `keys`.
    pub(crate) fn with_bins(kind: &[&str], keys: &[&str]) -> Made {
        let made = Made::new();
        for key in keys.iter().filter(|key| !made.dir().join(format!("keys/{key}.pem")).exists()) {
            made.new_key(key);
        }
        let files: Vec<String> = keys.iter().map(|key| format!("file:keys/{key}.pem")).collect();
        let threshold = keys.len().to_string();
        let keys: Vec<&str> = ["--key"].into_iter().chain(files.iter().map(String::as_str)).collect();
        let command = ["bins", "--bit-length", "1", "--threshold", &threshold];
        made.run(&[&command[..], kind, &keys].concat());
        made
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    pub(crate) fn run(&self, command: &[&str]) {
        let exit = self.try_run(command);
        assert_eq!(exit, ExitStatus::Done, "lastmile-repo {command:?}");
    }

    pub(crate) fn try_run(&self, command: &[&str]) -> ExitStatus {
        let file = |name: &str| self.folder.path().join(name).into_os_string();
        let mut args: Vec<OsString> = vec!["lastmile-repo".into(), "--quiet".into(), "-C".into(), self.dir().into()];
        args.extend(["--config".into(), file("config.toml"), "--pass-phrase-file".into(), file("phrase")]);
        args.extend(command.iter().map(OsString::from));
        cli::run(args, World::system())
    }

    pub(crate) fn add(&self, name: &str, content: &[u8], options: &[&str]) {
        let file = self.folder.path().join("file");
        fs::write(&file, content).unwrap();
        self.run(&[&["add", file.to_str().unwrap(), "--name", name], options].concat());
    }

    pub(crate) fn add_with_evidence(&self, role: &str, name: &str, content: &[u8], evidence: &[Value]) {
        let lines: Vec<String> = evidence.iter().map(Value::to_string).collect();
        let file = self.folder.path().join("evidence.jsonl");
        fs::write(&file, lines.join("\n")).unwrap();
        self.add(name, content, &["--role", role, "--evidence", file.to_str().unwrap()]);
    }

    pub(crate) fn set_policy(&self, role: &str, policy: &Value) {
        let file = self.folder.path().join("policy.json");
        fs::write(&file, policy.to_string()).unwrap();
        self.run(&["policy", "set", file.to_str().unwrap(), "--role", role]);
    }

    /// Creates a key that no role lists yet.
    pub(crate) fn new_key(&self, name: &str) {
        self.run(&["key", "generate", name, "--unencrypted"]);
    }

    /// Creates the key `successor` for `role`, and then revokes `key`.
    pub(crate) fn revoke(&self, role: &str, key: &str, successor: &str) {
        self.new_key(successor);
        self.run(&["rotate", role, "--add", successor]);
        self.run(&["revoke", &format!("file:keys/{key}.pem"), "--unencrypted-online-keys"]);
    }

    /// Revokes an online key. The tool then makes new keys for both online roles.
    pub(crate) fn revoke_online(&self, key: &str) {
        self.run(&["revoke", &format!("file:keys/{key}.pem"), "--unencrypted-online-keys"]);
    }

    pub(crate) fn served(&self) -> FakeNetwork {
        let network = FakeNetwork::new();
        for (folder, base) in [("metadata", METADATA), ("targets", TARGETS)] {
            for (name, bytes) in files(&self.dir().join(folder)) {
                network.put(&format!("{base}{name}"), bytes);
            }
        }
        network
    }

    /// Returns a client that trusts only the first root.
    pub(crate) fn new_client(&self) -> TestClient {
        let served = self.served();
        let first = served.file(&format!("{METADATA}1.root.json")).unwrap();
        let mut client = TestClient::with_root(first, &served);
        client.now = Utc::now();
        client
    }

    /// Returns a client that has downloaded the current release of `packages`.
    pub(crate) fn client(&self, packages: &[&str]) -> TestClient {
        let client = self.new_client();
        for package in packages {
            client.get(package).unwrap();
        }
        client
    }

    /// Returns an attacker who has only the private keys `stolen`, and who serves the current files of the repository.
    pub(crate) fn attacker(&self, stolen: &[&str]) -> Attacker {
        let key = |name: &&str| {
            let pem = fs::read_to_string(self.dir().join("keys").join(format!("{name}.pem"))).unwrap();
            PrivateKey::from_pem(&pem, None).unwrap()
        };
        Attacker { network: self.served(), keys: stolen.iter().map(key).collect() }
    }

    pub(crate) fn bin_of(&self, path: &str) -> String {
        lastmile_testkit::bin_of("bin", 1, path)
    }
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            all.extend(files(&entry.path()).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            all.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    all
}

/// An attacker who controls the network and has some private keys.
pub(crate) struct Attacker {
    pub(crate) network: FakeNetwork,
    keys: Vec<PrivateKey>,
}

impl Attacker {
    /// Returns the `signed` member of the newest served file of `role`.
    pub(crate) fn newest(&self, role: &str) -> Value {
        let bytes = self.network.file(&self.path(role, None)).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()["signed"].take()
    }

    /// Returns the path of the file for `version` of `role`, or for the newest version if `version` is `None`.
    pub(crate) fn path(&self, role: &str, version: Option<u64>) -> String {
        let version = match (role, version) {
            ("timestamp", _) => None,
            (_, Some(version)) => Some(version),
            ("root", None) => (1..).take_while(|version| self.has_root(*version)).last(),
            ("snapshot", None) => self.newest("timestamp")["meta"]["snapshot.json"]["version"].as_u64(),
            (_, None) => self.newest("snapshot")["meta"][format!("{role}.json")]["version"].as_u64(),
        };
        format!("{METADATA}{}", file_name(role, version))
    }

    fn has_root(&self, version: u64) -> bool {
        self.network.file(&format!("{METADATA}{version}.root.json")).is_some()
    }

    /// Returns the key ID and the key object for metadata.
    pub(crate) fn own_key(&mut self) -> (String, Value) {
        let key = PrivateKey::generate(Scheme::Ed25519).unwrap();
        let public = key.public_key();
        let object = json!({
            "keytype": public.keytype(), "scheme": public.scheme(), "keyval": {"public": public.public()},
        });
        let keyid = keyid(&key);
        self.keys.push(key);
        (keyid, object)
    }

    /// Signs `signed` and returns the file. For a root, uses all of the attacker's keys. For any other role, uses those
    /// of the attacker's keys that are listed for `role`, or the attacker's first key if none is listed.
    pub(crate) fn sign(&self, role: &str, signed: &Value) -> Vec<u8> {
        let text = canonical::write(signed);
        let trusted = self.trusted_for(role);
        // A new root needs signatures by the keys of the old root and by its own keys.
        let is_trusted = |key: &&PrivateKey| role == "root" || trusted.contains(&keyid(key));
        let mut keys: Vec<&PrivateKey> = self.keys.iter().filter(is_trusted).collect();
        if keys.is_empty() {
            keys.extend(self.keys.first());
        }
        let signature = |key: &PrivateKey| json!({"keyid": keyid(key), "sig": hex::encode(key.sign(&text).unwrap())});
        let signatures: Vec<Value> = keys.into_iter().map(signature).collect();
        // Canonical JSON does not escape line breaks, so canonical JSON with a PEM key would not be valid JSON. The
        // file is therefore written as ordinary JSON.
        serde_json::to_vec(&json!({"signatures": signatures, "signed": signed})).unwrap()
    }

    /// Returns the IDs of the keys that the root or the top-level targets role lists for `role`.
    fn trusted_for(&self, role: &str) -> Vec<String> {
        let texts = |keyids: &Value| serde_json::from_value::<Vec<String>>(keyids.clone()).unwrap_or_default();
        let named = texts(&self.newest("root")["roles"][role]["keyids"]);
        if !named.is_empty() {
            return named;
        }
        let delegations = self.newest("targets")["delegations"].take();
        let listed = delegations["roles"].as_array().cloned().unwrap_or_default();
        let delegation = listed.into_iter().find(|listed| listed["name"] == json!(role));
        texts(&delegation.unwrap_or_else(|| delegations["succinct_roles"].clone())["keyids"])
    }

    /// Applies `edit` to the newest file of `role`, and serves the signed result under the same file name and version.
    pub(crate) fn replace(&self, role: &str, edit: impl FnOnce(&mut Value)) {
        let mut signed = self.newest(role);
        edit(&mut signed);
        self.network.put(&self.path(role, None), self.sign(role, &signed));
    }

    /// Applies `edit` to `role`, and publishes the result as the next version. Also publishes a new snapshot and
    /// timestamp if needed.
    pub(crate) fn release(&self, role: &str, edit: impl FnOnce(&mut Value)) {
        let entry = self.write_next(role, edit);
        match role {
            "root" | "timestamp" => {}
            "snapshot" => drop(self.list("timestamp", "snapshot", entry)),
            _ => {
                let snapshot = self.list("snapshot", role, entry);
                self.list("timestamp", "snapshot", snapshot);
            }
        }
    }

    /// Publishes the next version of `role`, in which `entry` is the entry for the role `listed`. Returns the entry for
    /// the new version of `role`.
    fn list(&self, role: &str, listed: &str, entry: Value) -> Value {
        self.write_next(role, |signed| signed["meta"][format!("{listed}.json")] = entry)
    }

    /// Writes the next version of `role`. Returns the entry for this version, to be put into the snapshot or timestamp.
    fn write_next(&self, role: &str, edit: impl FnOnce(&mut Value)) -> Value {
        let mut signed = self.newest(role);
        signed["version"] = json!(signed["version"].as_u64().unwrap() + 1);
        edit(&mut signed);
        let version = signed["version"].as_u64().unwrap();
        let bytes = self.sign(role, &signed);
        self.network.put(&self.path(role, Some(version)), bytes.clone());
        json!({"version": version, "length": bytes.len(), "hashes": {"sha256": hash(&bytes)}})
    }

    /// Serves malicious content for `path`, and lists it in `targets` instead of the honest content. The length stays
    /// the same.
    pub(crate) fn list_malicious(&self, targets: &mut Value, path: &str) {
        let length = targets["targets"][path]["length"].as_u64().map_or(EVIL.len(), |length| length as usize);
        let evil: Vec<u8> = EVIL.iter().chain([b'!'].iter().cycle()).take(length).copied().collect();
        let entry = &mut targets["targets"][path];
        entry["length"] = json!(length);
        entry["hashes"] = json!({"sha256": hash(&evil)});
        let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
        let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        self.network.put(&format!("{TARGETS}{folder}{}.{name}", hash(&evil)), evil);
    }
}

fn keyid(key: &PrivateKey) -> String {
    Key::from_public(key.public_key()).keyid().to_string()
}

/// Returns the time `days` days from now, as text for metadata.
pub(crate) fn in_days(days: i64) -> Value {
    json!(lastmile_metadata::format_time(&later(days)))
}

pub(crate) fn later(days: i64) -> DateTime<Utc> {
    Utc::now() + TimeDelta::days(days)
}

/// Describes an error of the client. The text starts with the role, the target or the file that was refused or not
/// found, or with `network`. The text ends with the name of the error or of the violated rule.
pub(crate) fn refusal<T: std::fmt::Debug>(result: &Result<T, Error>) -> String {
    let fault = |kind: String| kind.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
    match result {
        Err(Error::Refused(error) | Error::Limit(error)) => match &error.refusal {
            Refusal::Metadata(verdict) => format!("{}: {}", verdict.role, fault(format!("{:?}", verdict.kind))),
            Refusal::Target { path, error } => format!("{path}: {}", fault(format!("{error:?}"))),
            Refusal::TooLong { file, .. } => format!("{file}: TooLong"),
            Refusal::Policy(refused) => {
                let rule = refused.rule.as_deref().unwrap_or("policy");
                format!("{}: the rule {rule} of {}", refused.path, refused.origin)
            }
            other => panic!("{other}"),
        },
        Err(Error::Network(error)) => format!("network: {}", fault(format!("{:?}", error.cause))),
        Err(Error::NoSuchTarget(path)) => format!("{path}: NoSuchTarget"),
        other => panic!("not refused: {other:?}"),
    }
}
