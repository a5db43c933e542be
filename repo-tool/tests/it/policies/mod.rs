//! Policies: `policy …`, `add --evidence`, and the check that prevents the publication of packages that clients would
//! refuse.
//!
//! The commands run in this process, with unencrypted keys. The evidence consists of DSSE envelopes that are signed
//! with keys derived from fixed seeds.

mod cost;
mod documentation;
mod evidence;
mod gate;
mod set;
mod trust_root;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lastmile_cli_support::{Captured, ExitStatus, World};
use lastmile_keys::{PrivateKey, Scheme, Signer as _};
use lastmile_metadata::Key;
use lastmile_repo_tool::internal::cli;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::world::folder;

/// A folder with a repository, and methods that run commands as the maintainer of the repository.
pub(crate) struct Maintainer {
    pub(crate) folder: TempDir,
}

#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that the exit status of the command is `status`, and returns everything that the command wrote.
    pub(crate) fn text(self, status: ExitStatus) -> String {
        assert_eq!(self.status, status, "{self:?}");
        self.stdout + &self.stderr
    }
}

impl Maintainer {
    pub(crate) fn new() -> Self {
        let maintainer = Self { folder: folder() };
        maintainer.run(&["init", "--unencrypted-keys"]).text(ExitStatus::Done);
        maintainer
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file next to the repository.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_string()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let stdout = Captured::default();
        let stderr = Captured::default();
        let repository = self.path("repository").into_os_string();
        let world = World {
            env: Box::new(move |name| (name == "LASTMILE_REPOSITORY").then(|| repository.clone())),
            home: Some(self.path("home")),
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(stderr.clone()),
            ..World::isolated("2030-01-01T12:00:00Z".parse().unwrap())
        };
        let status = cli::run(["lastmile-repo"].iter().chain(args).map(OsString::from), world);
        Ran { status, stdout: stdout.take_text(), stderr: stderr.take_text() }
    }

    /// Runs a command that must succeed, and returns everything that it wrote.
    pub(crate) fn done(&self, args: &[&str]) -> String {
        self.run(args).text(ExitStatus::Done)
    }

    pub(crate) fn add(&self, name: &str, content: &str, evidence: &[&str]) -> Ran {
        self.add_to("targets", name, content, evidence)
    }

    pub(crate) fn add_to(&self, role: &str, name: &str, content: &str, evidence: &[&str]) -> Ran {
        let file = self.file("package", content);
        let mut files = Vec::new();
        for (number, evidence) in evidence.iter().enumerate() {
            files.push(self.file(&format!("evidence-{number}"), evidence));
        }
        let mut args = vec!["add", &file, "--name", name, "--role", role];
        if !files.is_empty() {
            args.push("--evidence");
            args.extend(files.iter().map(String::as_str));
        }
        self.run(&args)
    }

    pub(crate) fn set(&self, role: &str, policy: &str) -> Ran {
        let file = self.file("policy.toml", policy);
        self.run(&["policy", "set", &file, "--role", role])
    }

    /// Delegates paths to a role, with a newly generated key.
    pub(crate) fn delegate(&self, role: &str, more: &[&str]) {
        self.done(&["key", "generate", role, "--unencrypted"]);
        let key = format!("file:keys/{role}.pem");
        self.done(&[&["delegate", role, "--key", &key], more].concat());
    }

    /// Returns the signed part of the newest metadata of a role.
    pub(crate) fn signed(&self, role: &str) -> Value {
        let metadata = self.path("repository/metadata");
        let versions = std::fs::read_dir(&metadata).unwrap().filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(&format!(".{role}.json"))?.parse::<u64>().ok()
        });
        let newest = versions.max().unwrap();
        let text = std::fs::read(metadata.join(format!("{newest}.{role}.json"))).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap().get("signed").unwrap().clone()
    }

    /// Returns the paths of all evidence that is listed for a package.
    pub(crate) fn listed_evidence(&self, package: &str) -> Vec<String> {
        let signed = self.signed("targets");
        let custom = signed.pointer(&format!("/targets/{}/custom/lastmile/evidence", package.replace('/', "~1")));
        let listed = custom.and_then(Value::as_array).cloned().unwrap_or_default();
        listed.iter().map(|path| path.as_str().unwrap().to_string()).collect()
    }
}

pub(crate) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(Scheme::Ed25519, &[seed; 32]).unwrap()
}

/// Returns the public key that is derived from `seed`, in the format of TUF metadata, as a TOML table.
pub(crate) fn toml_key(seed: u8) -> String {
    let key = Key::from_public(key(seed).public_key());
    let json: Value = serde_json::from_str(&key.to_json().to_text()).unwrap();
    let text = |pointer: &str| json.pointer(pointer).unwrap().as_str().unwrap().to_string();
    let (keytype, scheme, public) = (text("/keytype"), text("/scheme"), text("/keyval/public"));
    format!("{{ keytype = \"{keytype}\", scheme = \"{scheme}\", keyval = {{ public = \"{public}\" }} }}")
}

/// Returns a policy with one rule: packages that match `paths` must be signed by `threshold` of the keys that are
/// derived from `seeds`.
pub(crate) fn policy(rule: &str, paths: &str, seeds: &[u8], threshold: u32) -> String {
    let mut text = String::from("version = 1\n");
    for seed in seeds {
        text += &format!("[signer.key-{seed}]\nkey = {}\n", toml_key(*seed));
    }
    let by: Vec<String> = seeds.iter().map(|seed| format!("\"key-{seed}\"")).collect();
    text + &format!(
        "[[require]]\nname = \"{rule}\"\nkind = \"signature\"\npaths = [\"{paths}\"]\nby = [{}]\nthreshold = {threshold}\n",
        by.join(", ")
    )
}

/// Returns a statement about `content` in a DSSE envelope, signed with the key that is derived from `seed`.
pub(crate) fn signature(seed: u8, content: &str) -> String {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "package", "digest": { "sha256": hex::encode(Sha256::digest(content)) } }],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    });
    envelope(seed, &statement)
}

/// Returns, as indented JSON, a DSSE envelope that contains `statement` and is signed with the key derived from `seed`.
pub(crate) fn envelope(seed: u8, statement: &Value) -> String {
    let kind = "application/vnd.in-toto+json";
    let payload = statement.to_string();
    let message = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
    let signature = key(seed).sign(message.as_bytes()).unwrap();
    let envelope = json!({
        "payloadType": kind, "payload": STANDARD.encode(&payload),
        "signatures": [{ "keyid": "", "sig": STANDARD.encode(signature) }],
    });
    format!("{envelope:#}\n")
}

/// Returns the names of the target files of the repository in `folder`, without their hash prefixes.
pub(crate) fn targets(folder: &Path) -> Vec<String> {
    let files = walkdir::WalkDir::new(folder.join("targets")).into_iter().map(Result::unwrap);
    let mut names: Vec<String> = files
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.file_name().to_str().unwrap().split_once('.').unwrap().1.to_string())
        .collect();
    names.sort();
    names
}
