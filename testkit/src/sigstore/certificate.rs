//! Certificates issued by a simulated certificate authority, with the extensions that Fulcio defines
//! (<https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md>).

use chrono::{DateTime, Duration, Utc};
use sha2::{Digest, Sha256};

use super::{Log, base64_decode, der};
use crate::TestKey;

/// The names that policies use for the claims in a certificate. The claim at index N is in the Fulcio extension
/// 1.3.6.1.4.1.57264.1.(N + 9).
const CLAIMS: [&str; 16] = [
    "build-signer-uri",
    "build-signer-digest",
    "runner-environment",
    "source-repository-uri",
    "source-repository-digest",
    "source-repository-ref",
    "source-repository-id",
    "source-repository-owner-uri",
    "source-repository-owner-id",
    "build-config-uri",
    "build-config-digest",
    "build-trigger",
    "run-invocation-uri",
    "source-repository-visibility",
    "deployment-environment",
    "token-subject",
];

const FULCIO: &str = "1.3.6.1.4.1.57264.1";
pub(super) const ECDSA_WITH_SHA256: &str = "1.2.840.10045.4.3.2";
const SCT_LIST: &str = "1.3.6.1.4.1.11129.2.4.2";

/// The identity of a signer in a certificate: an issuer, a subject and other claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    issuer: String,
    subject: Subject,
    claims: Vec<(usize, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Uri(String),
    Email(String),
    /// An `otherName` of the type that Fulcio defines, such as a user name.
    Other(String),
}

impl Identity {
    /// Returns an identity whose subject is a URI, such as the URI of a workflow.
    #[must_use]
    pub fn uri(issuer: &str, subject: &str) -> Identity {
        Identity { issuer: issuer.to_owned(), subject: Subject::Uri(subject.to_owned()), claims: Vec::new() }
    }

    /// Returns an identity whose subject is an email address.
    #[must_use]
    pub fn email(issuer: &str, subject: &str) -> Identity {
        Identity { issuer: issuer.to_owned(), subject: Subject::Email(subject.to_owned()), claims: Vec::new() }
    }

    /// Returns an identity whose subject is neither a URI nor an email address, but an `otherName`.
    #[must_use]
    pub fn other_name(issuer: &str, subject: &str) -> Identity {
        Identity { issuer: issuer.to_owned(), subject: Subject::Other(subject.to_owned()), claims: Vec::new() }
    }

    /// Sets the claim that policies call `name`, such as `source-repository-uri`.
    ///
    /// # Panics
    ///
    /// Panics if there is no such claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: &str) -> Identity {
        let number = CLAIMS.iter().position(|known| *known == name).unwrap_or_else(|| panic!("no claim {name}"));
        self.claims.retain(|(own, _)| *own != number);
        self.claims.push((number, value.to_owned()));
        self
    }

    /// Returns an identity with the same issuer and claims, but with the URI `subject` as its subject.
    #[must_use]
    pub fn with_uri(self, subject: &str) -> Identity {
        Identity { subject: Subject::Uri(subject.to_owned()), ..self }
    }

    /// Returns an identity with the same subject and claims, but with another issuer.
    #[must_use]
    pub fn from_issuer(self, issuer: &str) -> Identity {
        Identity { issuer: issuer.to_owned(), ..self }
    }

    /// Returns the key pair of this identity. Certificates for the identity contain its public key.
    #[must_use]
    pub fn key(&self) -> TestKey {
        TestKey::p256(&format!("{self:?}"))
    }

    fn extensions(&self) -> Vec<Vec<u8>> {
        let name = match &self.subject {
            Subject::Uri(uri) => der::value(0x86, uri.as_bytes()),
            Subject::Email(address) => der::value(0x81, address.as_bytes()),
            Subject::Other(text) => {
                let typed = [der::oid(&format!("{FULCIO}.7")), der::value(0xa0, &der::text(text))];
                der::value(0xa0, &typed.concat())
            }
        };
        let mut extensions = vec![
            critical("2.5.29.15", &der::value(0x03, &[7, 0x80])),
            extension("2.5.29.37", &Usage::Code.list()),
            critical("2.5.29.17", &der::sequence(&[name])),
            extension(&format!("{FULCIO}.1"), self.issuer.as_bytes()),
            extension(&format!("{FULCIO}.8"), &der::text(&self.issuer)),
        ];
        for (number, value) in &self.claims {
            extensions.push(extension(&format!("{FULCIO}.{}", number + 9), &der::text(value)));
        }
        extensions
    }
}

/// Returns the self-signed certificate of an authority.
pub(super) fn authority(key: &TestKey, name: &str, usage: Usage, start: DateTime<Utc>) -> Vec<u8> {
    let extensions = [
        critical("2.5.29.15", &der::value(0x03, &[2, 0x04])),
        extension("2.5.29.37", &usage.list()),
        critical("2.5.29.19", &der::sequence(&[der::boolean_true()])),
    ];
    let validity = (start, start + Duration::days(3_650));
    signed(key, &body(&distinguished_name(name), validity, &distinguished_name(name), key, &extensions))
}

pub(super) fn time_authority(authority: (&TestKey, &str), key: &TestKey, start: DateTime<Utc>) -> Vec<u8> {
    let extensions =
        [critical("2.5.29.15", &der::value(0x03, &[7, 0x80])), critical("2.5.29.37", &Usage::TimeStamping.list())];
    let validity = (start, start + Duration::days(3_650));
    let name = distinguished_name(authority.1);
    signed(authority.0, &body(&name, validity, &distinguished_name("times"), key, &extensions))
}

/// The extended key usage of a certificate.
#[derive(Clone, Copy)]
pub(super) enum Usage {
    Code,
    TimeStamping,
}

impl Usage {
    fn list(self) -> Vec<u8> {
        let oid = match self {
            Usage::Code => "1.3.6.1.5.5.7.3.3",
            Usage::TimeStamping => "1.3.6.1.5.5.7.3.8",
        };
        der::sequence(&[der::oid(oid)])
    }
}

/// Returns a certificate for the key of `identity`. The certificate is valid for 10 minutes. If `ct_log` is given, the
/// certificate contains a signed certificate timestamp from this log.
pub(super) fn issue(
    authority: (&TestKey, &str),
    identity: &Identity,
    start: DateTime<Utc>,
    ct_log: Option<&Log>,
) -> Vec<u8> {
    let (authority, name) = authority;
    let key = identity.key();
    let mut extensions = identity.extensions();
    let validity = (start, start + Duration::minutes(10));
    let write =
        |extensions: &[Vec<u8>]| body(&distinguished_name(name), validity, &der::sequence(&[]), &key, extensions);
    if let Some(log) = ct_log {
        let timestamp = timestamp(log, authority, &write(&extensions), start);
        let list = [u16_length(timestamp.len() + 2), u16_length(timestamp.len()), timestamp].concat();
        extensions.push(extension(SCT_LIST, &der::octets(&list)));
    }
    signed(authority, &write(&extensions))
}

/// Returns a signed certificate timestamp from `log`. `body` is the body of the certificate before the timestamp is
/// added (RFC 6962 3.2).
fn timestamp(log: &Log, authority: &TestKey, body: &[u8], time: DateTime<Utc>) -> Vec<u8> {
    let millis = u64::try_from(time.timestamp_millis()).expect("a time after 1970").to_be_bytes();
    let length = u32::try_from(body.len()).expect("a short certificate").to_be_bytes();
    let issuer = Sha256::digest(public_key(authority));
    let entry = [&[0, 0], &millis[..], &[0, 1], &issuer[..], &length[1..], body, &[0, 0]].concat();
    let signature = log.key().sign(&entry);
    [&[0], &log.id()[..], &millis[..], &[0, 0, 4, 3], &u16_length(signature.len())[..], &signature].concat()
}

fn u16_length(length: usize) -> Vec<u8> {
    u16::try_from(length).expect("a short list").to_be_bytes().to_vec()
}

fn body(
    issuer: &[u8],
    validity: (DateTime<Utc>, DateTime<Utc>),
    subject: &[u8],
    key: &TestKey,
    extensions: &[Vec<u8>],
) -> Vec<u8> {
    der::sequence(&[
        der::value(0xa0, &der::integer(&[2])),
        der::integer(&[1]),
        der::sequence(&[der::oid(ECDSA_WITH_SHA256)]),
        issuer.to_vec(),
        der::sequence(&[der::utc_time(validity.0), der::utc_time(validity.1)]),
        subject.to_vec(),
        public_key(key),
        der::value(0xa3, &der::sequence(extensions)),
    ])
}

fn signed(key: &TestKey, body: &[u8]) -> Vec<u8> {
    der::sequence(&[body.to_vec(), der::sequence(&[der::oid(ECDSA_WITH_SHA256)]), der::bits(&key.sign(body))])
}

pub(super) fn distinguished_name(name: &str) -> Vec<u8> {
    der::sequence(&[der::set(&[der::sequence(&[der::oid("2.5.4.3"), der::text(name)])])])
}

fn extension(oid: &str, content: &[u8]) -> Vec<u8> {
    der::sequence(&[der::oid(oid), der::octets(content)])
}

fn critical(oid: &str, content: &[u8]) -> Vec<u8> {
    der::sequence(&[der::oid(oid), der::boolean_true(), der::octets(content)])
}

/// Returns the public key of an ECDSA key as a SubjectPublicKeyInfo.
pub(super) fn public_key(key: &TestKey) -> Vec<u8> {
    let pem = key.object()["keyval"]["public"].as_str().expect("a key in PEM");
    base64_decode(&pem.lines().filter(|line| !line.starts_with('-')).collect::<String>())
}
