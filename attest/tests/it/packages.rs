//! Creates a test repository whose roles have policies, and creates evidence that is signed with keys.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use lastmile_attest::{
    Demands, DemandsError, EvidenceContent, EvidenceFile, LocalPolicy, PAYLOAD_TYPE, TrustRoots, Verdict,
};
use lastmile_keys::{PrivateKey, Scheme, Signer as _};
use lastmile_metadata::{Algorithm, Found, Hashes, Key, Limits, TargetPath, parse_time};

use crate::repository::{EXPIRES, Repository};

pub(crate) const PACKAGE: &str = "app/1.tar";

pub(crate) const CONTENT: &[u8] = b"the package";

/// The predicate type of statements that count as a signature.
pub(crate) const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

pub(crate) const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// Returns the default start time of the update. A test can set another time in [`Packages`].
pub(crate) fn now() -> DateTime<Utc> {
    parse_time("2026-06-01T00:00:00Z").unwrap()
}

/// Returns the private key whose seed consists of the byte `number`.
pub(crate) fn key(number: u8) -> PrivateKey {
    PrivateKey::from_seed(Scheme::Ed25519, &[number; 32]).unwrap()
}

/// Returns the JSON member of a signer that contains the public key of `key(number)`.
pub(crate) fn signer(number: u8) -> String {
    format!(r#""key":{}"#, Key::from_public(key(number).public_key()).to_json().to_text())
}

/// Returns a policy with the given `entries` and `rules`, and with the signers `a` (key 1), `b` (key 2) and `c` (key
/// 3).
pub(crate) fn policy(entries: &str, rules: &str) -> String {
    let signers = [("a", 1), ("b", 2), ("c", 3)].map(|(name, number)| format!(r#""{name}":{{{}}}"#, signer(number)));
    format!(r#"{{"version":1,{entries}"signer":{{{}}},"require":[{rules}]}}"#, signers.join(","))
}

/// Returns a rule that requires a signature by one of the signers `by`.
pub(crate) fn signature_rule(name: &str, by: &str) -> String {
    format!(r#"{{"name":"{name}","kind":"signature","paths":["app/*"],"by":[{by}]}}"#)
}

/// Returns an envelope with a statement about the package. `keys` are the numbers of the keys that sign it.
pub(crate) fn envelope(keys: &[u8], predicate_type: &str, predicate: &str) -> String {
    let digest = hex::encode(Hashes::of(CONTENT, &[Algorithm::Sha256]).unwrap().known().next().unwrap().1);
    let subject = format!(r#"[{{"name":"x","digest":{{"sha256":"{digest}"}}}}]"#);
    let kind = "https://in-toto.io/Statement/v1";
    envelope_of(
        keys,
        &format!(
            r#"{{"_type":"{kind}","subject":{subject},"predicateType":"{predicate_type}","predicate":{predicate}}}"#
        ),
    )
}

/// Returns an envelope with `statement`. `keys` are the numbers of the keys that sign it.
pub(crate) fn envelope_of(keys: &[u8], statement: &str) -> String {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), statement.len());
    let signature = |number: &u8| {
        let signature = key(*number).sign((head.clone() + statement).as_bytes()).unwrap();
        format!(r#"{{"sig":"{}"}}"#, STANDARD.encode(signature))
    };
    let signatures: Vec<String> = keys.iter().map(signature).collect();
    let payload = STANDARD.encode(statement);
    format!(r#"{{"payloadType":"{PAYLOAD_TYPE}","payload":"{payload}","signatures":[{}]}}"#, signatures.join(","))
}

/// A repository in which either the top-level role or the delegated role `team` lists the package.
pub(crate) struct Packages {
    /// The policy of the top-level role. If the text is empty, the role has no policy.
    pub(crate) top: String,
    /// The policy of the delegated role `team`. If the text is empty, the role has no policy. If the value is `None`,
    /// there is no such role.
    pub(crate) team: Option<String>,
    /// The JSON member of the delegation that says for which paths the role is trusted, such as `"paths":["app/*"]`.
    pub(crate) paths: &'static str,
    /// The paths and contents of other targets of the role that lists the package.
    pub(crate) others: BTreeMap<&'static str, Vec<u8>>,
    pub(crate) local: LocalPolicy,
    pub(crate) now: DateTime<Utc>,
}

impl Packages {
    /// Creates a repository whose top-level role lists the package and signs a policy.
    pub(crate) fn of_top(policy: String) -> Self {
        let paths = r#""paths":["app/*"]"#;
        let local = LocalPolicy::default();
        Self { top: policy, team: None, paths, others: BTreeMap::new(), local, now: now() }
    }

    /// Creates a repository whose top-level role signs one policy, and whose delegated role lists the package and signs
    /// another policy.
    pub(crate) fn of_team(top: String, team: String) -> Self {
        Self { team: Some(team), ..Self::of_top(top) }
    }

    fn found(&self) -> Found {
        let mut repository = Repository::new();
        let entry = |(path, content): (&str, &[u8])| {
            let digest = hex::encode(Hashes::of(content, &[Algorithm::Sha256]).unwrap().known().next().unwrap().1);
            format!(r#""{path}":{{"hashes":{{"sha256":"{digest}"}},"length":{}}}"#, content.len())
        };
        let others = self.others.iter().map(|(path, content)| (*path, &content[..]));
        let mut entries: Vec<String> = [(PACKAGE, CONTENT)].into_iter().chain(others).map(entry).collect();
        entries.sort();
        let entries = entries.join(",");
        let id = repository.keyid();
        let key = repository.key_text();
        let delegation = format!(
            r#"{{"keys":{{"{id}":{key}}},"roles":[{{"keyids":["{id}"],"name":"team",{},"terminating":true,"threshold":1}}]}}"#,
            self.paths
        );
        let (delegations, roles) =
            if self.team.is_some() { (delegation, vec!["team".to_owned()]) } else { (String::new(), Vec::new()) };
        repository.publish(&delegations, &roles);
        let own = if self.team.is_some() { "" } else { &entries };
        repository.sign("1.targets.json", &role(&delegations, own, &self.top));
        if let Some(policy) = &self.team {
            repository.sign("1.team.json", &role("", &entries, policy));
        }
        let mut trusted = repository.update(Limits::default()).unwrap();
        repository.drive(trusted.search(TargetPath::new(PACKAGE).unwrap())).unwrap().unwrap()
    }

    pub(crate) fn demands(&self) -> Result<Demands, DemandsError> {
        Demands::on(&self.found(), &self.local)
    }

    /// Checks the package with one evidence file, whose lines are `evidence`.
    pub(crate) fn judge(&self, evidence: &[String]) -> Verdict {
        self.judge_files(&[file("app/1.tar.intoto.jsonl", Some(&evidence.join("\n")))])
    }

    pub(crate) fn judge_files(&self, evidence: &[EvidenceFile]) -> Verdict {
        self.demands().unwrap().judge(evidence, &TrustRoots::default(), self.now)
    }

    /// Like [`Self::judge`], but returns the error message. `evidence` must leave at least one rule unsatisfied.
    pub(crate) fn refusal(&self, evidence: &[String]) -> String {
        self.judge(evidence).check().unwrap_err().to_string()
    }
}

/// Returns an evidence file. If `content` is `None`, no role lists the file.
pub(crate) fn file(path: &str, content: Option<&str>) -> EvidenceFile {
    let content = content.map_or(EvidenceContent::Unlisted, |content| EvidenceContent::Read(content.into()));
    EvidenceFile { path: TargetPath::new(path).unwrap(), content }
}

fn role(delegations: &str, entries: &str, policy: &str) -> String {
    let delegations = if delegations.is_empty() { String::new() } else { format!(r#""delegations":{delegations},"#) };
    let policy = if policy.is_empty() { String::new() } else { format!(r#","x-lastmile-policy":{policy}"#) };
    let text = format!(
        r#"{{"_type":"targets",{delegations}{EXPIRES},"spec_version":"1.0","targets":{{{entries}}},"version":1{policy}}}"#
    );
    lastmile_metadata::Json::parse(&text).unwrap().to_text()
}
