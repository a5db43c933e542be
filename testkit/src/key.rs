//! Keys from names: the same name is the same key in every test and on every machine.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::{Signer as _, SigningKey};
use lastmile_keys::{PrivateKey, Scheme, Signer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::canonical;

/// The private half: raw signature of a message.
type Sign = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

/// A key pair with the object that stands for it in metadata (spec 4.2.2).
#[derive(Clone)]
pub struct TestKey {
    keyid: String,
    object: Value,
    sign: Arc<Sign>,
}

impl TestKey {
    /// An ed25519 key whose seed is the digest of `name`, under the key id that the specification computes.
    #[must_use]
    pub fn new(name: &str) -> TestKey {
        let pair = SigningKey::from_bytes(&Sha256::digest(name).into());
        let public = hex::encode(pair.verifying_key().as_bytes());
        let object = json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}});
        TestKey::from_parts(object, move |message| pair.sign(message).to_bytes().to_vec())
    }

    /// An ECDSA key over P-256 whose seed is the digest of `name`.
    #[must_use]
    pub fn p256(name: &str) -> TestKey {
        TestKey::ecdsa(Scheme::EcdsaP256, name)
    }

    /// An ECDSA key over P-384 whose seed is the digest of `name`.
    #[must_use]
    pub fn p384(name: &str) -> TestKey {
        TestKey::ecdsa(Scheme::EcdsaP384, name)
    }

    fn ecdsa(scheme: Scheme, name: &str) -> TestKey {
        let private = PrivateKey::from_seed(scheme, &Sha256::digest(name).into()).expect("a digest is a scalar");
        let public = private.public_key();
        let object = json!({
            "keytype": public.keytype(), "scheme": public.scheme(), "keyval": {"public": public.public()},
        });
        TestKey::from_parts(object, move |message| private.sign(message).expect("a key in memory signs"))
    }

    fn from_parts(object: Value, sign: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> TestKey {
        TestKey { keyid: TestKey::computed_keyid(&object), object, sign: Arc::new(sign) }
    }

    /// The key id that spec 4.2.1 computes: the digest of the canonical key object.
    #[must_use]
    pub fn computed_keyid(object: &Value) -> String {
        hex::encode(Sha256::digest(canonical::write(object)))
    }

    /// The same key under another id.
    #[must_use]
    pub fn called(&self, keyid: &str) -> TestKey {
        TestKey { keyid: keyid.to_owned(), ..self.clone() }
    }

    /// The same key with its object changed, under the id of the changed object.
    #[must_use]
    pub fn spelled(&self, edit: impl FnOnce(&mut Value)) -> TestKey {
        let mut key = self.clone();
        edit(&mut key.object);
        key.keyid = TestKey::computed_keyid(&key.object);
        key
    }

    /// The id under which metadata lists this key.
    #[must_use]
    pub fn keyid(&self) -> &str {
        &self.keyid
    }

    /// The key object as it stands in metadata.
    #[must_use]
    pub fn object(&self) -> &Value {
        &self.object
    }

    /// The raw signature of `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        (self.sign)(message)
    }

    /// The signature object over `signed`, as it stands in an envelope (spec 4.2.1).
    #[must_use]
    pub fn signature(&self, signed: &Value) -> Value {
        self.signature_of(&canonical::write(signed))
    }

    /// The signature object over these bytes.
    #[must_use]
    pub fn signature_of(&self, signed: &[u8]) -> Value {
        json!({"keyid": self.keyid, "sig": hex::encode(self.sign(signed))})
    }
}

impl fmt::Debug for TestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestKey({})", self.keyid)
    }
}
