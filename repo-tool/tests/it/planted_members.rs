//! Manipulated metadata: pending metadata files that are changed before signers see them, and published metadata files
//! with content that this tool would not write.

use lastmile_keys::PrivateKey;
use lastmile_metadata::{Json, Key, RoleName, Signature, Version, assemble};
use lastmile_repo_tool::internal::diff;
use lastmile_repo_tool::{
    Accepted, Error, Invocation, Outcome, PinnedRoot, Repository, RootDigest, Signing, Unobserved,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::world::World;

pub(crate) const RSA: &str = "-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAjgFzRbnUK/Djk4f02oV+\n\
qMqKnO3R7s5chVlbdlByqP68X0JGVDJgsbmZecyWNu0Cv9VqLLgJchVFPBWhJecV\n\
SGH123LiFhhgYQgKHvh74QrH20fR8lGM4QYGei23zNP179CNhC5TpBFNoN+UmrZt\n\
MFQxuuxW2fyJw8atC07RNPuVXhzhpUfczzlKogcO+815fj+nKpa6qONv4vh1a2O2\n\
WbiN2/G1L0jCAXy6oIsFtQNfTU2VMfJJ7x1WFPmH3q21s9ogZJ7APy9L9Duqmn7c\n\
fJn1BLXr8c9YYBRKRKw65TzmwUphBzpqFWW1vMQJ7mQcnzoZtzwKwsdOGZXQVPda\n\
YwIDAQAB\n\
-----END PUBLIC KEY-----\n";

/// Returns a key in the format of TUF metadata, with its key ID.
pub(crate) fn key(keytype: &str, scheme: &str, public: &str) -> (String, Value) {
    let key = json!({ "keytype": keytype, "scheme": scheme, "keyval": { "public": public } });
    (id_of(&key), key)
}

/// Returns a key that python-tuf can use, but lastmile cannot.
pub(crate) fn foreign_key() -> (String, Value) {
    key("rsa", "rsa-pkcs1v15-sha512", RSA)
}

pub(crate) fn id_of(key: &Value) -> String {
    hex::encode(Sha256::digest(Json::parse(&key.to_string()).unwrap().canonical()))
}

pub(crate) fn keyids<'s>(signed: &'s mut Value, role: &str) -> &'s mut Vec<Value> {
    signed.pointer_mut(&format!("/roles/{role}/keyids")).unwrap().as_array_mut().unwrap()
}

pub(crate) fn list_in_root(signed: &mut Value, role: &str, (id, key): &(String, Value)) {
    signed.get_mut("keys").unwrap().as_object_mut().unwrap().insert(id.clone(), key.clone());
    keyids(signed, role).push(id.as_str().into());
}

impl World {
    /// Stages a new version of `role` while its keys are missing, and then applies `alter` to the signed part of the
    /// pending file.
    pub(crate) fn plant(&self, role: &RoleName, alter: impl FnOnce(&mut Value)) {
        self.plant_in_file(role, |staged| alter(staged.get_mut("signed").unwrap()));
    }

    /// Stages a new version of `role` while its keys are missing, and then applies `alter` to the pending file.
    fn plant_in_file(&self, role: &RoleName, alter: impl FnOnce(&mut Value)) {
        let keys = self.layout().keys();
        let elsewhere = self.folder.path().join("elsewhere");
        std::fs::rename(&keys, &elsewhere).unwrap();
        let staged = self.change(|edit| edit.sign_again(role).unwrap());
        std::fs::rename(&elsewhere, &keys).unwrap();
        assert!(matches!(staged, Ok(Outcome::Staged(_))), "{staged:?}");
        let path = self.layout().staged().join(format!("{role}.json"));
        let mut staged: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        alter(&mut staged);
        std::fs::write(&path, staged.to_string()).unwrap();
    }

    pub(crate) fn accepting(&self, names: &[&str]) -> Invocation {
        let accepted = Accepted::new(names.iter().map(ToString::to_string));
        Invocation { accepted, ..self.invocation() }
    }

    /// Returns the description of the pending change that signers see.
    pub(crate) fn shown(&self) -> String {
        let mut repository = self.open();
        let draft = repository.staged().unwrap();
        diff::full_text(&repository.plan(draft, Signing::Never).unwrap().diff)
    }

    pub(crate) fn sign(&self, accepted: &[&str]) -> Result<(), Error> {
        let mut repository = Repository::open_for_change(&self.dir(), &self.accepting(accepted))?;
        let draft = repository.staged()?;
        let keys = repository.keys.clone();
        repository.sign_staged(&draft, &keys, &[].into()).map(drop)
    }

    pub(crate) fn publish(&self, accepted: &[&str]) -> Result<Outcome, Error> {
        let mut repository = Repository::open_for_change(&self.dir(), &self.accepting(accepted))?;
        let draft = repository.staged()?;
        let plan = repository.plan(draft, Signing::Now)?;
        repository.conclude(&plan, &mut Unobserved)
    }

    /// Applies `alter` to the signed part of the published file `file`, and signs the file again with `keys`. No other
    /// published file may list the hash of `file`, because that hash changes.
    pub(crate) fn republish(&self, file: &str, keys: &[&str], alter: impl FnOnce(&mut Value)) {
        let path = self.layout().metadata().join(file);
        let mut published: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        alter(published.get_mut("signed").unwrap());
        let signed = Json::parse(&published.get("signed").unwrap().to_string()).unwrap();
        let signatures: Vec<Signature> = keys
            .iter()
            .map(|name| {
                use lastmile_keys::Signer as _;
                let pem = std::fs::read_to_string(self.layout().keys().join(format!("{name}.pem"))).unwrap();
                let key = PrivateKey::from_pem(&pem, None).unwrap();
                let sig = key.sign(signed.canonical().as_bytes()).unwrap();
                Signature::new(Key::from_public(key.public_key()).keyid(), sig)
            })
            .collect();
        let bytes = assemble(signed.canonical(), &signatures);
        std::fs::write(path, &bytes).unwrap();
        if file == "1.root.json" {
            // Pin the manipulated root, as the owners of the repository would.
            let digest = RootDigest::of(&bytes);
            self.invocation().user.pin(digest, PinnedRoot { version: Version::ONE, digest }).unwrap();
            self.invocation().user.set_repository_in(&self.dir(), digest).unwrap();
        }
    }
}

pub(crate) fn names_to_accept(refused: &Error) -> Vec<String> {
    let text = refused.to_string();
    text.split("--accept '").skip(1).map(|rest| rest.split('\'').next().unwrap().to_string()).collect()
}

/// Returns three invalid signatures. The first two signatures have invalid key IDs, which tough cannot parse. The third
/// signature has a member `x`, which signers do not see.
fn junk() -> [Value; 3] {
    [
        json!({ "keyid": "not hex", "sig": "AB" }),
        json!({ "keyid": "", "sig": "ab" }),
        json!({ "keyid": "ab".repeat(32), "sig": "ab", "x": { "y": "z" } }),
    ]
}

#[test]
fn only_valid_signatures_are_published() {
    let world = World::new();
    world.plant_in_file(&RoleName::ROOT, |staged| {
        let signatures = staged["signatures"].as_array_mut().unwrap();
        signatures.extend(junk());
        // Add a signature with the key ID of a root key and an invalid value.
        let id = staged["signed"]["roles"]["root"]["keyids"][0].clone();
        staged["signatures"].as_array_mut().unwrap().push(json!({ "keyid": id, "sig": "ab", "x": 1 }));
    });
    world.sign(&[]).unwrap();
    // Change the file again, after a signer has reviewed and signed it.
    let path = world.layout().staged().join("root.json");
    let mut staged: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let signatures = staged["signatures"].as_array_mut().unwrap();
    assert_eq!(signatures.len(), 2, "{signatures:?}");
    signatures[0]["x"] = "y".into();
    signatures.extend(junk());
    std::fs::write(&path, staged.to_string()).unwrap();
    assert!(matches!(world.publish(&[]), Ok(Outcome::Published { .. })));
    let root = world.metadata("2.root.json");
    let ids: Vec<&Value> = root["signatures"].as_array().unwrap().iter().map(|one| &one["keyid"]).collect();
    let listed = root["signed"]["roles"]["root"]["keyids"].as_array().unwrap();
    assert_eq!(ids.len(), 2, "{root}");
    assert!(ids.iter().all(|id| listed.contains(id)), "{root}");
    for signature in root["signatures"].as_array().unwrap() {
        let members: Vec<&String> = signature.as_object().unwrap().keys().collect();
        assert_eq!(members, ["keyid", "sig"], "{signature}");
    }
}
