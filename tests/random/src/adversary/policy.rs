//! The policies of targets roles, the evidence for packages, and a model of how clients decide whether a package may be
//! installed. Every policy on the delegation chain applies. For each rule that covers the package, enough of the keys
//! that the rule names must have signed the package.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::history::Chance;
use super::ledger::{Body, Document, Key, hash, public, signature};

/// The keys that policies name and that sign evidence. They sign no metadata.
pub(crate) const SIGNERS: [Key; 3] = [5_001, 5_002, 5_003];

/// A key that signs evidence but that no policy names.
const NOBODY: Key = 5_999;

/// Every policy defines signers with these names. Each policy assigns its own keys to the names.
const NAMES: [&str; 2] = ["a", "b"];

/// The path patterns of the rules. Each segment is either `*` or a name.
const PATTERNS: [&str; 6] = ["*", "x", "a/*", "*/1", "*/*", "b/2"];

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// A policy. Every rule requires signatures.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Policy {
    /// Clients understand only version 1.
    version: u64,
    /// The keys of the signers in [`NAMES`], in the same order.
    keys: [Key; 2],
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    path: &'static str,
    except: Option<&'static str>,
    by: Vec<By>,
    threshold: usize,
}

/// A signer that a rule names, by its index in [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Own(usize),
    /// A signer in the policy of the role that lists the package.
    OfListingRole(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A package. In place of a real hash, metadata lists the package's length as a hexadecimal number.
    Package {
        length: u64,
        has_evidence: bool,
    },
    Evidence(Evidence),
}

/// An evidence file, which contains signatures by the keys in `signers` over the package whose length is `about`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Evidence {
    pub(crate) about: u64,
    pub(crate) signers: BTreeSet<Key>,
}

impl Policy {
    /// Returns the policy that is generated from the seed `number`. About one in sixteen policies has a version that
    /// clients do not understand.
    pub(crate) fn random(number: u64) -> Policy {
        let mut chance = Chance(number);
        let version = if chance.draw().is_multiple_of(16) { 2 } else { 1 };
        let keys = NAMES.map(|_| SIGNERS[chance.draw() as usize % SIGNERS.len()]);
        let rules = (0..=chance.draw() % 2).map(|_| Rule::random(&mut chance, keys)).collect();
        Policy { version, keys, rules }
    }

    /// Returns this policy, but assigns `key` to every signer and sets the threshold of every rule to 1.
    pub(crate) fn with_key(mut self, key: Key) -> Policy {
        self.keys = [key; 2];
        self.rules.iter_mut().for_each(|rule| rule.threshold = 1);
        self
    }

    /// Returns the policy as canonical JSON.
    pub(crate) fn text(&self) -> String {
        let rules: Vec<String> = self.rules.iter().enumerate().map(|(number, rule)| rule.text(number)).collect();
        let signer = |(name, key): (&str, &Key)| {
            let public = public(*key);
            format!(r#""{name}":{{"key":{{"keytype":"ed25519","keyval":{{"public":"{public}"}},"scheme":"ed25519"}}}}"#)
        };
        let signers: Vec<String> = NAMES.into_iter().zip(&self.keys).map(signer).collect();
        let Policy { version, .. } = self;
        format!(r#"{{"require":[{}],"signer":{{{}}},"version":{version}}}"#, rules.join(","), signers.join(","))
    }

    fn rules(&self, path: &str) -> impl Iterator<Item = &Rule> {
        self.rules
            .iter()
            .filter(move |rule| matches(rule.path, path) && !rule.except.is_some_and(|pattern| matches(pattern, path)))
    }

    fn is_understood(&self) -> bool {
        self.version == 1
    }
}

impl Rule {
    fn random(chance: &mut Chance, keys: [Key; 2]) -> Rule {
        let mut draw = |below: usize| chance.draw() as usize % below;
        let path = PATTERNS[draw(PATTERNS.len())];
        let except = if draw(4) == 0 { Some(PATTERNS[draw(PATTERNS.len())]) } else { None };
        let by = match draw(6) {
            0 | 1 => vec![By::Own(0)],
            2 => vec![By::Own(0), By::Own(1)],
            3 => vec![By::OfListingRole(1)],
            4 => vec![By::Own(1), By::OfListingRole(0)],
            _ => vec![By::Own(0), By::Own(1), By::OfListingRole(0)],
        };
        // Limit the threshold to the number of keys, because a policy with a higher threshold would be invalid.
        let own = by.iter().filter_map(|by| by.own()).map(|name| keys[name]).collect::<BTreeSet<_>>().len();
        let most = own + by.iter().filter(|by| by.own().is_none()).count();
        Rule { path, except, by, threshold: (1 + draw(2)).min(most) }
    }

    fn text(&self, number: usize) -> String {
        let by: Vec<String> = self.by.iter().map(|by| format!("\"{}\"", by.name())).collect();
        let except = self.except.map(|pattern| format!(r#""except":["{pattern}"],"#)).unwrap_or_default();
        let Rule { path, threshold, .. } = self;
        format!(
            r#"{{"by":[{}],{except}"kind":"signature","name":"r{number}","paths":["{path}"],"threshold":{threshold}}}"#,
            by.join(",")
        )
    }

    fn is_satisfied(&self, own: &Policy, listing: Option<&Policy>, signed: &BTreeSet<Key>) -> bool {
        let key = |by: &By| match by {
            By::Own(name) => Some(own.keys[*name]),
            By::OfListingRole(name) => Some(listing?.keys[*name]),
        };
        let counted: BTreeSet<Key> = self.by.iter().filter_map(key).filter(|key| signed.contains(key)).collect();
        counted.len() >= self.threshold
    }
}

impl By {
    fn own(self) -> Option<usize> {
        match self {
            By::Own(name) => Some(name),
            By::OfListingRole(_) => None,
        }
    }

    fn name(self) -> String {
        match self {
            By::Own(name) => NAMES[name].to_owned(),
            By::OfListingRole(name) => format!("@{}", NAMES[name]),
        }
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let patterns: Vec<&str> = pattern.split('/').collect();
    let names: Vec<&str> = path.split('/').collect();
    patterns.len() == names.len()
        && patterns.iter().zip(names).all(|(pattern, name)| *pattern == "*" || *pattern == name)
}

pub(crate) fn evidence_path(path: &str) -> &'static str {
    match path {
        "x" => "x.intoto.jsonl",
        "a/1" => "a/1.intoto.jsonl",
        "a/2" => "a/2.intoto.jsonl",
        "b/1" => "b/1.intoto.jsonl",
        _ => panic!("no package has the path {path}"),
    }
}

/// Returns `true` if the client searches for the evidence of the package: if a policy on the delegation chain has a
/// rule for the package, or has a version that the client does not understand.
pub(crate) fn is_demanded(chain: &[&Document], path: &str) -> bool {
    policies(chain).any(|policy| !policy.is_understood() || policy.rules(path).next().is_some())
}

pub(crate) fn may_be_installed(chain: &[&Document], path: &str, length: u64, evidence: Option<&Evidence>) -> bool {
    let signed = evidence.filter(|evidence| evidence.about == length).map(|evidence| evidence.signers.clone());
    let signed = signed.unwrap_or_default();
    let listing = chain.last().and_then(|document| policy_of(document));
    policies(chain).all(|policy| {
        policy.is_understood() && policy.rules(path).all(|rule| rule.is_satisfied(policy, listing, &signed))
    })
}

fn policies<'d>(chain: &[&'d Document]) -> impl Iterator<Item = &'d Policy> {
    chain.iter().filter_map(|document| policy_of(document))
}

fn policy_of(document: &Document) -> Option<&Policy> {
    match &document.body {
        Body::Targets(_, _, policy) => policy.as_ref(),
        _ => None,
    }
}

thread_local! {
    static CONTENTS: RefCell<BTreeMap<Evidence, (Bytes, String)>> = RefCell::default();
}

impl Evidence {
    /// Returns the content of the file, and its SHA-256 in hexadecimal.
    pub(crate) fn content(&self) -> (Bytes, String) {
        CONTENTS.with_borrow_mut(|known| {
            if known.len() > 20_000 {
                known.clear();
            }
            let entry = known.entry(self.clone()).or_insert_with(|| {
                let text = self.text();
                let digest = hash(text.as_bytes());
                (Bytes::from(text), digest)
            });
            entry.clone()
        })
    }

    /// Returns one envelope for each signer. If there are no signers, [`NOBODY`] signs a single envelope, because an
    /// evidence file must not be empty.
    fn text(&self) -> String {
        let statement = format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","predicate":{{}},"predicateType":"https://sigstore.dev/cosign/sign/v1","subject":[{{"digest":{{"sha256":"{:064x}"}},"name":"package"}}]}}"#,
            self.about
        );
        let signed = format!("DSSEv1 {} {PAYLOAD_TYPE} {} {statement}", PAYLOAD_TYPE.len(), statement.len());
        let payload = STANDARD.encode(&statement);
        let nobody = BTreeSet::from([NOBODY]);
        let signers = if self.signers.is_empty() { &nobody } else { &self.signers };
        let envelope = |key: &Key| {
            let signature = STANDARD.encode(signature(*key, signed.as_bytes()));
            format!(
                r#"{{"payload":"{payload}","payloadType":"{PAYLOAD_TYPE}","signatures":[{{"sig":"{signature}"}}]}}"#
            )
        };
        signers.iter().map(envelope).collect::<Vec<_>>().join("\n")
    }
}

impl Target {
    /// Returns the entry as canonical JSON.
    pub(crate) fn text(&self, path: &str) -> String {
        match self {
            Target::Package { length, has_evidence } => {
                let evidence = if *has_evidence {
                    format!(r#""custom":{{"lastmile":{{"evidence":["{}"]}}}},"#, evidence_path(path))
                } else {
                    String::new()
                };
                format!(r#"{{{evidence}"hashes":{{"sha256":"{length:064x}"}},"length":{length}}}"#)
            }
            Target::Evidence(evidence) => {
                let (content, digest) = evidence.content();
                format!(r#"{{"hashes":{{"sha256":"{digest}"}},"length":{}}}"#, content.len())
            }
        }
    }
}
