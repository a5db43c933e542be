//! A simulated timestamp authority (RFC 3161). A timestamp is CMS signed data (RFC 5652) that contains a `TSTInfo`.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::certificate::{self, ECDSA_WITH_SHA256, Usage, distinguished_name};
use super::{RECORDED, base64, der};
use crate::TestKey;

const SHA256: &str = "2.16.840.1.101.3.4.2.1";
const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";
const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";

/// A timestamp authority with its own root certificate, which signs the authority's certificate.
#[derive(Debug, Clone)]
pub struct TimeAuthority {
    /// The name of the root certificate.
    pub name: String,
    /// The key of the root certificate.
    pub root: TestKey,
    /// The key that signs timestamps.
    pub key: TestKey,
}

impl TimeAuthority {
    /// Returns the authority called `name`. The name determines the keys.
    #[must_use]
    pub fn new(name: &str) -> TimeAuthority {
        let root = TestKey::p256(&format!("the root of the time authority {name}"));
        TimeAuthority { name: name.to_owned(), root, key: TestKey::p256(&format!("the time authority {name}")) }
    }

    /// Returns a timestamp for `signature` as JSON, as in a bundle.
    #[must_use]
    pub fn timestamp(&self, signature: &[u8], time: DateTime<Utc>) -> Value {
        let sha256 = || der::sequence(&[der::oid(SHA256)]);
        let info = der::sequence(&[
            der::integer(&[1]),
            der::oid("1.3.6.1.4.1.57264.2"),
            der::sequence(&[sha256(), der::octets(&Sha256::digest(signature))]),
            der::integer(&[1]),
            der::generalized_time(time),
        ]);
        let attributes = [
            der::sequence(&[der::oid(CONTENT_TYPE), der::set(&[der::oid(TST_INFO)])]),
            der::sequence(&[der::oid(MESSAGE_DIGEST), der::set(&[der::octets(&Sha256::digest(&info))])]),
        ];
        let signer = der::sequence(&[
            der::integer(&[1]),
            der::sequence(&[distinguished_name(&self.name), der::integer(&[1])]),
            sha256(),
            der::value(0xa0, &attributes.concat()),
            der::sequence(&[der::oid(ECDSA_WITH_SHA256)]),
            der::octets(&self.key.sign(&der::set(&attributes))),
        ]);
        let data = der::sequence(&[
            der::integer(&[3]),
            der::set(&[sha256()]),
            der::sequence(&[der::oid(TST_INFO), der::value(0xa0, &der::octets(&info))]),
            der::value(0xa0, &self.certificate()),
            der::set(&[signer]),
        ]);
        let token = der::sequence(&[der::oid(SIGNED_DATA), der::value(0xa0, &data)]);
        let response = der::sequence(&[der::sequence(&[der::integer(&[0])]), token]);
        json!({ "signedTimestamp": base64(response) })
    }

    fn start() -> DateTime<Utc> {
        RECORDED - Duration::days(365)
    }

    fn certificate(&self) -> Vec<u8> {
        certificate::time_authority((&self.root, &self.name), &self.key, TimeAuthority::start())
    }

    /// Returns the JSON object that describes this authority in a trusted root.
    pub(super) fn trusted(&self) -> Value {
        let root = certificate::authority(&self.root, &self.name, Usage::TimeStamping, TimeAuthority::start());
        let chain = [self.certificate(), root].map(|certificate| json!({ "rawBytes": base64(certificate) }));
        json!({
            "subject": { "organization": "test", "commonName": self.name },
            "uri": format!("https://{}", self.name),
            "certChain": { "certificates": chain },
            "validFor": { "start": "2025-01-01T00:00:00Z" },
        })
    }
}
