//! Key pairs derived from names: the same name gives the same key in every test and on every machine.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::{Signer as _, SigningKey};
use lastmile_keys::{PrivateKey, Scheme, Signer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::canonical;

type Sign = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

/// A key pair, and the key object that describes it in metadata (TUF specification 4.2.2).
///
/// Never use such a key outside of tests: anyone who knows the name can derive the private key.
#[derive(Clone)]
pub struct TestKey {
    keyid: String,
    object: Value,
    sign: Arc<Sign>,
}

impl TestKey {
    /// Returns the Ed25519 key whose seed is the SHA-256 of `name`, with the key ID that the specification defines.
    #[must_use]
    pub fn new(name: &str) -> TestKey {
        let pair = SigningKey::from_bytes(&Sha256::digest(name).into());
        let public = hex::encode(pair.verifying_key().as_bytes());
        let object = json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}});
        TestKey::from_parts(object, move |message| pair.sign(message).to_bytes().to_vec())
    }

    /// Returns the ECDSA key on the curve P-256 whose seed is the SHA-256 of `name`.
    #[must_use]
    pub fn p256(name: &str) -> TestKey {
        TestKey::ecdsa(Scheme::EcdsaP256, name)
    }

    /// Returns the ECDSA key on the curve P-384 whose seed is the SHA-256 of `name`.
    #[must_use]
    pub fn p384(name: &str) -> TestKey {
        TestKey::ecdsa(Scheme::EcdsaP384, name)
    }

    fn ecdsa(scheme: Scheme, name: &str) -> TestKey {
        let private =
            PrivateKey::from_seed(scheme, &Sha256::digest(name).into()).expect("a SHA-256 digest is a valid seed");
        let public = private.public_key();
        let object = json!({
            "keytype": public.keytype(), "scheme": public.scheme(), "keyval": {"public": public.public()},
        });
        TestKey::from_parts(object, move |message| {
            private.sign(message).expect("signing with a key in memory cannot fail")
        })
    }

    fn from_parts(object: Value, sign: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> TestKey {
        TestKey { keyid: TestKey::computed_keyid(&object), object, sign: Arc::new(sign) }
    }

    /// Returns the key ID that the TUF specification (4.2.1) defines: the SHA-256 of the canonical key object, in
    /// hexadecimal.
    #[must_use]
    pub fn computed_keyid(object: &Value) -> String {
        hex::encode(Sha256::digest(canonical::write(object)))
    }

    /// Returns the same key with a different key ID.
    #[must_use]
    pub fn with_keyid(&self, keyid: &str) -> TestKey {
        TestKey { keyid: keyid.to_owned(), ..self.clone() }
    }

    /// Returns the same key with a changed key object, and with the key ID of the changed object.
    #[must_use]
    pub fn with_object(&self, edit: impl FnOnce(&mut Value)) -> TestKey {
        let mut key = self.clone();
        edit(&mut key.object);
        key.keyid = TestKey::computed_keyid(&key.object);
        key
    }

    /// Returns the key ID.
    #[must_use]
    pub fn keyid(&self) -> &str {
        &self.keyid
    }

    /// Returns the key object: `keytype`, `scheme` and `keyval`.
    #[must_use]
    pub fn object(&self) -> &Value {
        &self.object
    }

    /// Returns the raw signature over `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        (self.sign)(message)
    }

    /// Returns the signature object for the document `signed` (TUF specification 4.2.1): `keyid` and `sig`.
    #[must_use]
    pub fn signature(&self, signed: &Value) -> Value {
        self.signature_of(&canonical::write(signed))
    }

    /// Returns the signature object for the bytes `signed`, whether or not they are canonical.
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
