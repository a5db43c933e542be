//! The documents (metadata files) and keys of a history. The content and the signers of a document are recorded when
//! the document is created. They are never parsed from its bytes, so the model does not depend on a parser.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Days, Utc};
use lastmile_client::metadata::{RoleName, format_time, parse_time};
use lastmile_keys::{PrivateKey, Scheme, Signer as _};
use sha2::{Digest, Sha256};

use super::policy::{Policy, Target};

/// A key pair, identified by its seed.
pub(crate) type Key = u16;

/// `A` and `B` are delegated roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    Root,
    Timestamp,
    Snapshot,
    Targets,
    A,
    B,
}

pub(crate) const ROLES: [Role; 6] = [Role::Root, Role::Timestamp, Role::Snapshot, Role::Targets, Role::A, Role::B];

impl Role {
    pub(crate) fn name(self) -> &'static str {
        ["root", "timestamp", "snapshot", "targets", "a", "b"][self as usize]
    }

    pub(crate) fn role_name(self) -> RoleName {
        RoleName::listed(self.name()).unwrap()
    }

    /// Returns the name of the role's file. All files but the timestamp have a version in their names.
    pub(crate) fn file(self, version: u64) -> String {
        match self {
            Role::Timestamp => "timestamp.json".into(),
            _ => format!("{version}.{}.json", self.name()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ring {
    pub(crate) keys: BTreeSet<Key>,
    pub(crate) threshold: usize,
    /// `true` if each key is listed under two key IDs. A key that signs under both key IDs counts only once towards the
    /// threshold.
    pub(crate) aliased: bool,
}

impl Ring {
    /// Returns `true` if enough of the keys have signed `document`.
    pub(crate) fn has_signed(&self, document: &Document) -> bool {
        self.keys.intersection(&document.signers).count() >= self.threshold
    }

    fn ids(&self) -> Vec<String> {
        self.keys.iter().flat_map(|key| ids(*key, self.aliased)).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delegation {
    pub(crate) to: Role,
    pub(crate) ring: Ring,
    /// The folder to which the delegation is restricted (`FOLDER/*`). If it is `None`, the delegation covers the paths
    /// `*/*`.
    pub(crate) folder: Option<&'static str>,
    pub(crate) terminating: bool,
}

impl Delegation {
    pub(crate) fn covers(&self, path: &str) -> bool {
        self.folder.is_none_or(|folder| path.split('/').next() == Some(folder)) && path.contains('/')
    }
}

/// The content of a document without its version and expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// The keys of root, timestamp, snapshot and targets, in this order.
    Root([Ring; 4]),
    Timestamp(Listed),
    Snapshot(BTreeMap<Role, Listed>),
    Targets(BTreeMap<&'static str, Target>, Vec<Delegation>, Option<Policy>),
    Nothing,
}

/// The entry for a metadata file in a timestamp or a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) version: u64,
    pub(crate) digest: Option<String>,
}

impl Listed {
    pub(crate) fn matches(&self, document: &Document) -> bool {
        self.digest.as_ref().is_none_or(|digest| *digest == hash(&document.bytes))
    }
}

#[derive(PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) role: Role,
    pub(crate) version: u64,
    /// The day of expiry, counted from the start of the history.
    pub(crate) expires: i32,
    pub(crate) body: Body,
    /// The keys with valid signatures.
    pub(crate) signers: BTreeSet<Key>,
    pub(crate) bytes: Bytes,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Document { role, version, expires, body, signers, .. } = self;
        write!(f, "{} {version} until day {expires} by {signers:?}: {body:?}", role.name())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) role: Role,
    pub(crate) version: u64,
    pub(crate) expires: i32,
    pub(crate) body: Body,
}

impl Draft {
    /// Signs the document with the keys in `signers`, under both key IDs of each key if `aliased` is set. Adds invalid
    /// signatures for the keys in `claimed`.
    pub(crate) fn sign(self, signers: &BTreeSet<Key>, claimed: &BTreeSet<Key>, aliased: bool) -> Arc<Document> {
        let signed = self.text();
        let mut signatures = Vec::new();
        for key in signers {
            let sig = hex::encode(signature(*key, signed.as_bytes()));
            signatures.extend(ids(*key, aliased).into_iter().map(|id| (id, sig.clone())));
        }
        for key in claimed.difference(signers) {
            let by = signers.first().copied().unwrap_or_default();
            let sig = hex::encode(signature(by, signed.as_bytes()));
            signatures.extend(ids(*key, false).into_iter().map(|id| (id, sig.clone())));
        }
        let signatures = signatures.iter().map(|(id, sig)| format!(r#"{{"keyid":"{id}","sig":"{sig}"}}"#));
        let signatures = signatures.collect::<Vec<_>>().join(",");
        let bytes = Bytes::from(format!(r#"{{"signatures":[{signatures}],"signed":{signed}}}"#));
        let Draft { role, version, expires, body } = self;
        Arc::new(Document { role, version, expires, body, signers: signers.clone(), bytes })
    }

    /// Returns the document as canonical JSON.
    fn text(&self) -> String {
        let expires = format_time(&day(self.expires));
        let end = format!(r#""spec_version":"1.0","version":{}"#, self.version);
        match &self.body {
            Body::Root(rings) => {
                let listed = [Role::Root, Role::Snapshot, Role::Targets, Role::Timestamp];
                let members = listed.map(|role| {
                    let Ring { threshold, .. } = &rings[role as usize];
                    let ids = quoted(&rings[role as usize].ids());
                    format!(r#""{}":{{"keyids":[{ids}],"threshold":{threshold}}}"#, role.name())
                });
                let keys = key_objects(rings.iter());
                let roles = members.join(",");
                format!(
                    r#"{{"_type":"root","consistent_snapshot":true,"expires":"{expires}","keys":{{{keys}}},"roles":{{{roles}}},{end}}}"#
                )
            }
            Body::Timestamp(listed) => {
                let meta = meta(&BTreeMap::from([("snapshot", listed)]));
                format!(r#"{{"_type":"timestamp","expires":"{expires}","meta":{{{meta}}},{end}}}"#)
            }
            Body::Snapshot(listed) => {
                let meta = meta(&listed.iter().map(|(role, listed)| (role.name(), listed)).collect());
                format!(r#"{{"_type":"snapshot","expires":"{expires}","meta":{{{meta}}},{end}}}"#)
            }
            Body::Targets(targets, delegations, policy) => {
                let target = |(path, target): (&&str, &Target)| format!(r#""{path}":{}"#, target.text(path));
                let targets = targets.iter().map(target).collect::<Vec<_>>().join(",");
                let policy = policy.as_ref().map(|policy| format!(r#","x-lastmile-policy":{}"#, policy.text()));
                let policy = policy.unwrap_or_default();
                let delegations = delegated(delegations);
                format!(
                    r#"{{"_type":"targets",{delegations}"expires":"{expires}","spec_version":"1.0","targets":{{{targets}}},"version":{}{policy}}}"#,
                    self.version
                )
            }
            Body::Nothing => "{".into(),
        }
    }
}

fn delegated(delegations: &[Delegation]) -> String {
    if delegations.is_empty() {
        return String::new();
    }
    let keys = key_objects(delegations.iter().map(|delegation| &delegation.ring));
    let role = |Delegation { to, ring, folder, terminating }: &Delegation| {
        let ids = quoted(&ring.ids());
        let threshold = ring.threshold;
        let paths = format!("{}/*", folder.unwrap_or("*"));
        format!(
            r#"{{"keyids":[{ids}],"name":"{}","paths":["{paths}"],"terminating":{terminating},"threshold":{threshold}}}"#,
            to.name()
        )
    };
    let roles = delegations.iter().map(role).collect::<Vec<_>>().join(",");
    format!(r#""delegations":{{"keys":{{{keys}}},"roles":[{roles}]}},"#)
}

fn meta(listed: &BTreeMap<&str, &Listed>) -> String {
    let file = |(name, Listed { version, digest }): (&&str, &&Listed)| {
        let hashes = digest.as_ref().map(|digest| format!(r#""hashes":{{"sha256":"{digest}"}},"#)).unwrap_or_default();
        format!(r#""{name}.json":{{{hashes}"version":{version}}}"#)
    };
    listed.iter().map(file).collect::<Vec<_>>().join(",")
}

fn key_objects<'r>(rings: impl Iterator<Item = &'r Ring>) -> String {
    let mut objects = BTreeMap::new();
    for ring in rings {
        for key in &ring.keys {
            objects.extend(ids(*key, ring.aliased).into_iter().map(|id| (id, *key)));
        }
    }
    let mut text = String::new();
    for (id, key) in objects {
        let comma = if text.is_empty() { "" } else { "," };
        let public = public(key);
        let _ = write!(
            text,
            r#"{comma}"{id}":{{"keytype":"ed25519","keyval":{{"public":"{public}"}},"scheme":"ed25519"}}"#
        );
    }
    text
}

fn ids(key: Key, aliased: bool) -> Vec<String> {
    let id = format!("k{key}");
    if aliased { vec![id.clone(), id + "-again"] } else { vec![id] }
}

fn quoted(ids: &[String]) -> String {
    ids.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(",")
}

/// Returns a metadata file that contains `signed`, and valid signatures over `canonical`, which is the canonical form
/// of `signed`.
pub(crate) fn file(signed: &str, canonical: &str, signers: &BTreeSet<Key>) -> Bytes {
    let sign = |key: &Key| {
        let sig = hex::encode(signature(*key, canonical.as_bytes()));
        format!(r#"{{"keyid":"k{key}","sig":"{sig}"}}"#)
    };
    let signatures = signers.iter().map(sign).collect::<Vec<_>>().join(",");
    Bytes::from(format!(r#"{{"signatures":[{signatures}],"signed":{signed}}}"#))
}

/// Returns the SHA-256 digest of `bytes` in hexadecimal.
pub(crate) fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Returns the time `number` days after the start of a history.
#[must_use]
pub fn day(number: i32) -> DateTime<Utc> {
    let start = parse_time("2030-01-01T00:00:00Z").unwrap();
    let days = Days::new(u64::from(number.unsigned_abs()));
    if number < 0 { start - days } else { start + days }
}

/// Signatures by key and by digest of the message.
type Signatures = HashMap<(Key, [u8; 32]), Vec<u8>>;

thread_local! {
    static PAIRS: RefCell<HashMap<Key, PrivateKey>> = RefCell::default();
    /// A cache of signatures. Many histories start with the same documents, and so need the same signatures.
    static SIGNATURES: RefCell<Signatures> = RefCell::default();
}

fn with_pair<T>(key: Key, work: impl FnOnce(&PrivateKey) -> T) -> T {
    let make = || PrivateKey::from_seed(Scheme::Ed25519, &Sha256::digest(key.to_be_bytes()).into()).unwrap();
    PAIRS.with_borrow_mut(|pairs| work(pairs.entry(key).or_insert_with(make)))
}

/// Returns the public key as it appears in metadata.
pub(crate) fn public(key: Key) -> String {
    with_pair(key, |pair| pair.public_key().public())
}

pub(crate) fn signature(key: Key, message: &[u8]) -> Vec<u8> {
    SIGNATURES.with_borrow_mut(|known| {
        if known.len() > 50_000 {
            known.clear();
        }
        let digest = Sha256::digest(message).into();
        known.entry((key, digest)).or_insert_with(|| with_pair(key, |pair| pair.sign(message).unwrap())).clone()
    })
}
