//! A repository in which one key signs for all roles, and a client that updates from it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lastmile_keys::{PrivateKey, Scheme, Signer as _};
use lastmile_metadata::{
    Error, FileContent, Key, Limits, Signature, Stage, StoredFloors, TrustedMetadata, UpdateRoot, assemble,
};

pub(crate) const EXPIRES: &str = r#""expires":"2030-01-01T00:00:00Z""#;

pub(crate) struct Repository {
    key: PrivateKey,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Repository {
    pub(crate) fn new() -> Self {
        Self { key: PrivateKey::from_seed(Scheme::Ed25519, &[7; 32]).unwrap(), files: BTreeMap::new() }
    }

    pub(crate) fn keyid(&self) -> String {
        Key::from_public(self.key.public_key()).keyid().as_str().to_owned()
    }

    pub(crate) fn key_text(&self) -> String {
        Key::from_public(self.key.public_key()).to_json().to_text()
    }

    pub(crate) fn sign(&mut self, file: &str, signed: &str) {
        let sig = self.key.sign(signed.as_bytes()).unwrap();
        let keyid = Key::from_public(self.key.public_key()).keyid();
        self.files.insert(file.to_owned(), assemble(signed, &[Signature::new(keyid, sig)]));
    }

    /// Publishes a targets role with `delegations`, and a snapshot that lists the delegated `roles`.
    pub(crate) fn publish(&mut self, delegations: &str, roles: &[String]) {
        self.sign("1.targets.json", &targets(delegations));
        let mut listed: Vec<String> = roles.to_vec();
        listed.push("targets".to_owned());
        listed.sort();
        let meta: Vec<String> = listed.iter().map(|role| format!(r#""{role}.json":{{"version":1}}"#)).collect();
        let meta = meta.join(",");
        self.sign(
            "1.snapshot.json",
            &format!(r#"{{"_type":"snapshot",{EXPIRES},"meta":{{{meta}}},"spec_version":"1.0","version":1}}"#),
        );
        let timestamp = r#""meta":{"snapshot.json":{"version":1}},"spec_version":"1.0","version":1}"#;
        self.sign("timestamp.json", &format!(r#"{{"_type":"timestamp",{EXPIRES},{timestamp}"#));
    }

    pub(crate) fn root(&mut self) -> Vec<u8> {
        let id = self.keyid();
        let role = |name: &str| format!(r#""{name}":{{"keyids":["{id}"],"threshold":1}}"#);
        let roles = ["root", "snapshot", "targets", "timestamp"].map(role).join(",");
        let key = self.key_text();
        self.sign(
            "1.root.json",
            &format!(
                r#"{{"_type":"root","consistent_snapshot":true,{EXPIRES},"keys":{{"{id}":{key}}},"roles":{{{roles}}},"spec_version":"1.0","version":1}}"#
            ),
        );
        self.files.get("1.root.json").unwrap().clone()
    }

    pub(crate) fn update(&mut self, limits: Limits) -> Result<TrustedMetadata, Error> {
        let start: DateTime<Utc> = DateTime::UNIX_EPOCH;
        let root = UpdateRoot::start(self.root(), StoredFloors::FirstRun, start, limits)?;
        let timestamp = self.drive(root)?;
        let snapshot = self.drive(timestamp)?;
        let targets = self.drive(snapshot)?;
        self.drive(targets)
    }

    pub(crate) fn drive<S: Stage>(&self, mut stage: S) -> Result<S::Next, Error> {
        while let Some(request) = stage.request() {
            let file = self.files.get(&request.file_name()).cloned();
            if file.is_none() && !request.may_be_absent() {
                break;
            }
            stage.apply(file.map(FileContent::Bytes))?;
        }
        stage.finish()
    }
}

pub(crate) fn targets(delegations: &str) -> String {
    let delegations = if delegations.is_empty() { String::new() } else { format!(r#""delegations":{delegations},"#) };
    format!(r#"{{"_type":"targets",{delegations}{EXPIRES},"spec_version":"1.0","targets":{{}},"version":1}}"#)
}
