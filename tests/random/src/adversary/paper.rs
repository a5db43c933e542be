//! Documents and keys: what each says and who signed it is known here from their making, and never read from their bytes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Days, Utc};
use lastmile_client::metadata::{RoleName, format_time, parse_time};
use lastmile_keys::{PrivateKey, Scheme, Signer as _};
use sha2::{Digest, Sha256};

/// A key pair; the number is its seed.
pub(crate) type Key = u16;

/// The roles of the play: the four of the top level, and two that are delegated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    Root,
    Timestamp,
    Snapshot,
    Targets,
    A,
    B,
}

pub(crate) const PARTS: [Part; 6] = [Part::Root, Part::Timestamp, Part::Snapshot, Part::Targets, Part::A, Part::B];

impl Part {
    pub(crate) fn name(self) -> &'static str {
        ["root", "timestamp", "snapshot", "targets", "a", "b"][self as usize]
    }

    pub(crate) fn role(self) -> RoleName {
        RoleName::listed(self.name()).unwrap()
    }

    /// The name of its file, which has a version unless it is the timestamp's.
    pub(crate) fn file(self, version: u64) -> String {
        match self {
            Part::Timestamp => "timestamp.json".into(),
            _ => format!("{version}.{}.json", self.name()),
        }
    }
}

/// These keys, this threshold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ring {
    pub(crate) keys: BTreeSet<Key>,
    pub(crate) threshold: usize,
    /// Each key stands there under two ids. It is one key nevertheless.
    pub(crate) aliased: bool,
}

impl Ring {
    pub(crate) fn vouches_for(&self, paper: &Paper) -> bool {
        self.keys.intersection(&paper.signers).count() >= self.threshold
    }

    fn ids(&self) -> Vec<String> {
        self.keys.iter().flat_map(|key| ids(*key, self.aliased)).collect()
    }
}

/// One delegation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delegation {
    pub(crate) to: Part,
    pub(crate) ring: Ring,
    /// `FOLDER/*`; without a folder everything.
    pub(crate) folder: Option<&'static str>,
    pub(crate) terminating: bool,
}

impl Delegation {
    pub(crate) fn covers(&self, path: &str) -> bool {
        self.folder.is_none_or(|folder| path.split('/').next() == Some(folder)) && path.contains('/')
    }
}

/// What a document says beside its version and expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// The rings of root, timestamp, snapshot and targets.
    Root([Ring; 4]),
    Timestamp(Listed),
    Snapshot(BTreeMap<Part, Listed>),
    /// Lengths of targets by path, which stand for their content.
    Targets(BTreeMap<&'static str, u64>, Vec<Delegation>),
    Nothing,
}

/// What is listed about a file: its version, and perhaps its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) version: u64,
    pub(crate) digest: Option<String>,
}

impl Listed {
    pub(crate) fn matches(&self, paper: &Paper) -> bool {
        self.digest.as_ref().is_none_or(|digest| *digest == hash(&paper.bytes))
    }
}

/// A document that somebody made.
#[derive(PartialEq, Eq)]
pub(crate) struct Paper {
    pub(crate) part: Part,
    pub(crate) version: u64,
    /// In days since the play began.
    pub(crate) expires: i32,
    pub(crate) says: Says,
    /// Whose signatures are valid.
    pub(crate) signers: BTreeSet<Key>,
    pub(crate) bytes: Bytes,
}

impl fmt::Debug for Paper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Paper { part, version, expires, says, signers, .. } = self;
        write!(f, "{} {version} until day {expires} by {signers:?}: {says:?}", part.name())
    }
}

/// Before it is signed.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) part: Part,
    pub(crate) version: u64,
    pub(crate) expires: i32,
    pub(crate) says: Says,
}

impl Draft {
    /// Signed by `signers`, each under both of its ids if `aliased`; signatures that are said to be by `claimed` are not valid.
    pub(crate) fn sign(self, signers: &BTreeSet<Key>, claimed: &BTreeSet<Key>, aliased: bool) -> Arc<Paper> {
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
        let Draft { part, version, expires, says } = self;
        Arc::new(Paper { part, version, expires, says, signers: signers.clone(), bytes })
    }

    /// Canonical JSON.
    fn text(&self) -> String {
        let expires = format_time(&day(self.expires));
        let end = format!(r#""spec_version":"1.0","version":{}"#, self.version);
        match &self.says {
            Says::Root(rings) => {
                let parts = [Part::Root, Part::Snapshot, Part::Targets, Part::Timestamp];
                let roles = parts.map(|part| {
                    let Ring { threshold, .. } = &rings[part as usize];
                    let ids = quoted(&rings[part as usize].ids());
                    format!(r#""{}":{{"keyids":[{ids}],"threshold":{threshold}}}"#, part.name())
                });
                let keys = key_objects(rings.iter());
                let roles = roles.join(",");
                format!(
                    r#"{{"_type":"root","consistent_snapshot":true,"expires":"{expires}","keys":{{{keys}}},"roles":{{{roles}}},{end}}}"#
                )
            }
            Says::Timestamp(listed) => {
                let meta = meta(&BTreeMap::from([("snapshot", listed)]));
                format!(r#"{{"_type":"timestamp","expires":"{expires}","meta":{{{meta}}},{end}}}"#)
            }
            Says::Snapshot(listed) => {
                let meta = meta(&listed.iter().map(|(part, listed)| (part.name(), listed)).collect());
                format!(r#"{{"_type":"snapshot","expires":"{expires}","meta":{{{meta}}},{end}}}"#)
            }
            Says::Targets(targets, delegations) => {
                let target = |(path, length): (&&str, &u64)| {
                    format!(r#""{path}":{{"hashes":{{"sha256":"{length:064x}"}},"length":{length}}}"#)
                };
                let targets = targets.iter().map(target).collect::<Vec<_>>().join(",");
                let delegations = delegated(delegations);
                format!(
                    r#"{{"_type":"targets",{delegations}"expires":"{expires}","spec_version":"1.0","targets":{{{targets}}},"version":{}}}"#,
                    self.version
                )
            }
            Says::Nothing => "{".into(),
        }
    }
}

fn delegated(delegations: &[Delegation]) -> String {
    if delegations.is_empty() {
        return String::new();
    }
    let keys = key_objects(delegations.iter().map(|delegation| &delegation.ring));
    let role = |Delegation { to, ring, folder, terminating }: &Delegation| {
        let (ids, threshold) = (quoted(&ring.ids()), ring.threshold);
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
        let public = with_pair(key, |pair| pair.public_key().public());
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

/// A file that says `signed`, with valid signatures of its canonical form.
pub(crate) fn file(signed: &str, canonical: &str, signers: &BTreeSet<Key>) -> Bytes {
    let sign = |key: &Key| {
        let sig = hex::encode(signature(*key, canonical.as_bytes()));
        format!(r#"{{"keyid":"k{key}","sig":"{sig}"}}"#)
    };
    let signatures = signers.iter().map(sign).collect::<Vec<_>>().join(",");
    Bytes::from(format!(r#"{{"signatures":[{signatures}],"signed":{signed}}}"#))
}

/// SHA-256 in hexadecimal.
pub(crate) fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The time so many days after the beginning.
#[must_use]
pub fn day(number: i32) -> DateTime<Utc> {
    let beginning = parse_time("2030-01-01T00:00:00Z").unwrap();
    let days = Days::new(u64::from(number.unsigned_abs()));
    if number < 0 { beginning - days } else { beginning + days }
}

/// Whose signature of which digest.
type Signatures = HashMap<(Key, [u8; 32]), Vec<u8>>;

thread_local! {
    static PAIRS: RefCell<HashMap<Key, PrivateKey>> = RefCell::default();
    /// Most histories begin alike.
    static SIGNATURES: RefCell<Signatures> = RefCell::default();
}

fn with_pair<T>(key: Key, work: impl FnOnce(&PrivateKey) -> T) -> T {
    let make = || PrivateKey::from_seed(Scheme::Ed25519, &Sha256::digest(key.to_be_bytes()).into()).unwrap();
    PAIRS.with_borrow_mut(|pairs| work(pairs.entry(key).or_insert_with(make)))
}

fn signature(key: Key, message: &[u8]) -> Vec<u8> {
    SIGNATURES.with_borrow_mut(|known| {
        if known.len() > 50_000 {
            known.clear();
        }
        let digest = Sha256::digest(message).into();
        known.entry((key, digest)).or_insert_with(|| with_pair(key, |pair| pair.sign(message).unwrap())).clone()
    })
}
