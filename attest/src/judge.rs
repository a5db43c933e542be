//! Checks whether the evidence for a package satisfies the rules that apply to the package.
//!
//! Evidence can satisfy a rule, but never weaken one. Evidence is rejected if it cannot be read or verified, or is
//! about another file. If a rule is not satisfied, the verdict contains the reasons why evidence was rejected. A
//! package without evidence satisfies no rule.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use lastmile_keys::PublicKey;
use lastmile_metadata::TargetPath;

use crate::artifact::Artifact;
use crate::demands::{Demands, Source, TrustRoots};
use crate::evidence::Item;
use crate::evidence_file::EvidenceFile;
use crate::matching::{check_attestation, check_provenance, check_signature};
use crate::policy::{Credential, Demand, Name, ProvenanceDemand, Rule, Signer, SignerName};
use crate::signed::{Content, Signed, SignedBy};
use crate::trust::Trust;
use crate::verdict::{Outcome, Proof, RuleVerdict, Verdict};
use crate::wanted;

/// The maximum number of pieces of evidence for one package, counted over all of its evidence files.
const MAX_ITEMS: usize = 64;

const MAX_REASONS: usize = 16;

/// The maximum length of a reason in characters. Reasons quote the evidence, which may contain very long values.
const MAX_REASON: usize = 1000;

impl Demands {
    /// Checks whether the evidence satisfies each rule for the package. `now` is the fixed update start time (TUF
    /// specification, 5.1). `roots` should contain every trust root in [`Demands::trust_roots`]; evidence that needs a
    /// missing trust root does not count.
    pub fn judge(&self, evidence: &[EvidenceFile], roots: &TrustRoots, now: DateTime<Utc>) -> Verdict {
        let mut judgement = Judgement::new(self, evidence, roots, now);
        let mut rules = Vec::new();
        for index in 0..self.sources.len() {
            judgement.judge_source(index, &mut rules);
        }
        let exception = self.local.exception(&self.target.path, now);
        let exception = exception.map(|exception| exception.reason.clone());
        Verdict { path: self.target.path.clone(), rules, exception }
    }
}

struct Piece {
    file: TargetPath,
    /// The position of the piece in the file, starting at 1.
    number: usize,
    item: Item,
}

impl Piece {
    fn place(&self) -> String {
        format!("item {} of {}", self.number, self.file)
    }
}

/// The trust root or the key with which a piece of evidence is verified. A trust root is identified by its name and by
/// the index of the policy that defines this name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum VerifiedWith {
    Identity { source: usize, trust: Name },
    Key { key: PublicKey, log: Option<(usize, Name)> },
}

struct Judgement<'a> {
    demands: &'a Demands,
    artifact: Artifact,
    pieces: Vec<Piece>,
    /// The reasons why evidence files, or the package's list of evidence files, cannot be used.
    unreadable: Vec<String>,
    roots: &'a TrustRoots,
    now: DateTime<Utc>,
    /// A cache of verification results, because several rules may name the same signers.
    verified: BTreeMap<(usize, VerifiedWith), Result<Arc<Signed>, String>>,
}

impl<'a> Judgement<'a> {
    fn new(demands: &'a Demands, evidence: &[EvidenceFile], roots: &'a TrustRoots, now: DateTime<Utc>) -> Self {
        let mut pieces = Vec::new();
        let invalid_list = demands.evidence.as_ref().err().map(|error| format!("an invalid list of evidence: {error}"));
        let mut unreadable: Vec<String> = invalid_list.into_iter().collect();
        for file in evidence {
            match file.items() {
                Ok(items) if pieces.len() + items.len() > MAX_ITEMS => {
                    unreadable.push(format!(
                        "{}: with this file, the package has more than {MAX_ITEMS} pieces of evidence",
                        file.path
                    ));
                }
                Ok(items) => pieces.extend(items.into_iter().enumerate().map(|(index, item)| Piece {
                    file: file.path.clone(),
                    number: index + 1,
                    item,
                })),
                Err(reason) => unreadable.push(shortened(format!("{}: {reason}", file.path))),
            }
        }
        let artifact = Artifact::of(&demands.target);
        Self { demands, artifact, pieces, unreadable, roots, now, verified: BTreeMap::new() }
    }

    fn judge_source(&mut self, index: usize, verdicts: &mut Vec<RuleVerdict>) {
        let demands = self.demands;
        let Some(source) = demands.sources.get(index) else { return };
        let path = &demands.target.path;
        let whole_policy = |wanted: &str, outcome| RuleVerdict {
            origin: source.origin.clone(),
            rule: None,
            kind: "policy".into(),
            wanted: wanted.into(),
            outcome,
        };
        if let Some(problem) = &source.problem {
            return verdicts.push(whole_policy("a usable policy", Outcome::Refused(vec![problem.clone()])));
        }
        let not_understood = |unknown: &str| {
            let unknown = unknown.to_owned();
            if source.policy.is_upgrade(path) { Outcome::AllowedUpgrade(unknown) } else { Outcome::NeedsNewer(unknown) }
        };
        if let Some(unknown) = &source.policy.unsupported {
            let wanted = "a policy that this version of lastmile understands completely";
            verdicts.push(whole_policy(wanted, not_understood(unknown)));
            if !source.policy.is_upgrade(path) {
                return;
            }
        }
        for rule in source.rules(path) {
            let outcome = match &rule.demand {
                Demand::Unsupported { reason, .. } => not_understood(reason),
                // The rule names a signer, builder or trust root that is not defined, or whose definition this version
                // does not understand.
                _ if !rule.names_are_defined(&source.policy) => {
                    not_understood("a signer, builder or trust root with an unknown definition")
                }
                _ => self.judge_rule(index, source, rule),
            };
            verdicts.push(RuleVerdict {
                origin: source.origin.clone(),
                rule: Some(rule.name().to_string()),
                kind: rule.kind().to_owned(),
                wanted: wanted::describe(&source.policy, rule),
                outcome,
            });
        }
    }

    fn judge_rule(&mut self, index: usize, source: &'a Source, rule: &'a Rule) -> Outcome {
        let mut count = Count { proofs: Vec::new(), voices: Vec::new(), reasons: self.unreadable.clone() };
        let threshold = match &rule.demand {
            Demand::Signature(demand) => {
                self.count_signers(index, &demand.by, &mut count, |signed| check_signature(signed, demand));
                demand.threshold.get()
            }
            Demand::Attestation(demand) => {
                self.count_signers(index, &demand.by, &mut count, |signed| check_attestation(signed, demand));
                demand.threshold.get()
            }
            Demand::Provenance(demand) => {
                self.count_builds(index, source, demand, &mut count);
                1
            }
            Demand::Unsupported { reason, .. } => return Outcome::NeedsNewer(reason.clone()),
        };
        count.outcome(threshold, self.pieces.is_empty())
    }

    /// For each signer in `by`, adds to `count` the evidence that the signer signed and that `check` accepts.
    fn count_signers(
        &mut self,
        source: usize,
        by: &[SignerName],
        count: &mut Count,
        check: impl Fn(&Signed) -> Result<(), String>,
    ) {
        for name in by {
            self.count_signer(source, name, count, |signed| check(signed).map(|()| None));
        }
    }

    /// Adds to `count` the provenance that names one of the builders in `demand` and satisfies `demand`.
    fn count_builds(&mut self, index: usize, source: &'a Source, demand: &ProvenanceDemand, count: &mut Count) {
        for builder_name in &demand.builders {
            let Some(builder) = source.policy.builders.get(builder_name) else { continue };
            let check = |signed: &Signed| {
                check_provenance(signed, builder, demand).map(|level| Some((builder_name.to_string(), level)))
            };
            for name in &builder.by {
                self.count_signer(index, name, count, check);
            }
        }
    }

    /// Adds to `count` the evidence that the signer `name` signed and that `check` accepts. If the evidence is
    /// provenance, `check` returns the builder and its level.
    fn count_signer(
        &mut self,
        source: usize,
        name: &SignerName,
        count: &mut Count,
        check: impl Fn(&Signed) -> Result<Option<(String, u8)>, String>,
    ) {
        let (source, signer) = match self.signer(source, name) {
            Ok(found) => found,
            Err(reason) => return count.refuse(reason),
        };
        for at in 0..self.pieces.len() {
            let verdict =
                self.verify(at, source, signer).and_then(|signed| check(&signed).map(|build| (signed, build)));
            let Some(piece) = self.pieces.get(at) else { continue };
            match verdict {
                Ok((signed, build)) => count.accept(name, proof(piece, name, &signed, build)),
                Err(reason) => count.refuse(format!("{}: {reason}", piece.place())),
            }
        }
    }

    fn signer(&self, source: usize, name: &SignerName) -> Result<(usize, &'a Signer), String> {
        let demands = self.demands;
        demands
            .signer(source, name)
            .ok_or_else(|| format!("no signer {name} in the policy of the role that lists the package"))
    }

    fn verify(&mut self, at: usize, source: usize, signer: &Signer) -> Result<Arc<Signed>, String> {
        let with = match &signer.credential {
            Credential::Identity(identity) => VerifiedWith::Identity { source, trust: identity.trust.clone() },
            Credential::Key { key, trust } => {
                VerifiedWith::Key { key: key.clone(), log: trust.clone().map(|trust| (source, trust)) }
            }
        };
        let id = (at, with);
        if !self.verified.contains_key(&id) {
            let signed = self.verify_with(at, &id.1).map(Arc::new).map_err(shortened);
            self.verified.insert(id.clone(), signed);
        }
        let signed = self.verified.get(&id).cloned().unwrap_or_else(|| Err("the evidence was not verified".into()))?;
        signer.check_claims(&signed.signer)?;
        // If no signing time is authenticated, the signer must be valid at the start of the update.
        let times = if signed.times.is_empty() { vec![self.now] } else { signed.times.clone() };
        signer.check_times(&times)?;
        Ok(signed)
    }

    fn verify_with(&self, at: usize, with: &VerifiedWith) -> Result<Signed, String> {
        let piece = self.pieces.get(at).ok_or("there is no evidence with this index")?;
        let signed = match with {
            VerifiedWith::Identity { source, trust } => {
                let trust = self.trust(*source, trust)?;
                piece.item.verify_identity(&self.artifact, &trust, self.now)
            }
            VerifiedWith::Key { key, log: None } => piece.item.verify_key(&self.artifact, key, None, self.now),
            VerifiedWith::Key { key, log: Some((source, trust)) } => {
                let trust = self.trust(*source, trust)?;
                piece.item.verify_key(&self.artifact, key, Some(&trust), self.now)
            }
        };
        signed.map_err(|rejection| rejection.to_string())
    }

    fn trust(&self, source: usize, name: &Name) -> Result<Trust<'a>, String> {
        let root = self.roots.get(source, name)?;
        let trust = self.demands.sources.get(source).and_then(|source| source.policy.trust.get(name));
        let trust = trust.ok_or_else(|| format!("the policy has no trust root {name}"))?;
        Ok(Trust { root, demands: trust.demands })
    }
}

/// The evidence that counts for a rule, and the reasons why other evidence does not.
struct Count {
    proofs: Vec<Proof>,
    /// The distinct keys and identities whose signatures count, each with the names that the rule uses for it.
    voices: Vec<(Vec<u8>, Vec<SignerName>)>,
    reasons: Vec<String>,
}

impl Count {
    fn accept(&mut self, name: &SignerName, proof: Proof) {
        let voice = voice(&proof.signed_by);
        match self.voices.iter_mut().find(|(own, _)| *own == voice) {
            Some((_, names)) if names.contains(name) => {}
            Some((_, names)) => names.push(name.clone()),
            None => {
                self.voices.push((voice, vec![name.clone()]));
                self.proofs.push(proof);
            }
        }
    }

    /// Returns how many of the signers that the rule names have signed. A name counts once, even if its patterns match
    /// several identities. A key or identity counts once, even if several names match it. The result is therefore the
    /// size of a maximum matching between the names on one side and the keys and identities on the other.
    fn signers(&self) -> usize {
        let mut taken = BTreeMap::new();
        (0..self.voices.len()).filter(|at| self.assign(*at, &mut taken, &mut Vec::new())).count()
    }

    /// Assigns a name to a key or identity, and returns whether this was possible. If a name is already taken, tries to
    /// assign another name to the key or identity that took it.
    fn assign<'a>(
        &'a self,
        at: usize,
        taken: &mut BTreeMap<&'a SignerName, usize>,
        seen: &mut Vec<&'a SignerName>,
    ) -> bool {
        let Some((_, names)) = self.voices.get(at) else { return false };
        for name in names {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            let holder = taken.get(name).copied();
            if holder.is_none_or(|holder| self.assign(holder, taken, seen)) {
                taken.insert(name, at);
                return true;
            }
        }
        false
    }

    fn refuse(&mut self, reason: String) {
        let reason = shortened(reason);
        if self.reasons.len() < MAX_REASONS && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    fn outcome(mut self, threshold: u32, has_no_evidence: bool) -> Outcome {
        let count = self.signers();
        if u32::try_from(count).is_ok_and(|count| count >= threshold) {
            return Outcome::Satisfied(self.proofs);
        }
        if has_no_evidence && self.reasons.is_empty() {
            self.reasons.push("no evidence".into());
        }
        if count > 0 {
            self.reasons.insert(0, format!("{count} of the {threshold} required signers"));
        }
        Outcome::Refused(self.reasons)
    }
}

/// Shortens a reason to at most [`MAX_REASON`] characters.
fn shortened(reason: String) -> String {
    match reason.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}…", reason.get(..end).unwrap_or_default()),
        None => reason,
    }
}

/// Returns bytes that identify a signer: the key, or the issuer and the subject of the certificate.
fn voice(signer: &SignedBy) -> Vec<u8> {
    match signer {
        SignedBy::Key(key) => [b"key\0", key.material()].concat(),
        SignedBy::Identity(certificate) => {
            format!("identity\0{}\0{}", certificate.issuer, certificate.subject.as_str()).into_bytes()
        }
    }
}

fn proof(piece: &Piece, name: &SignerName, signed: &Signed, builder: Option<(String, u8)>) -> Proof {
    let statement = match &signed.content {
        Content::File => None,
        Content::Statement(statement) => Some(statement.predicate_type().to_owned()),
    };
    Proof {
        evidence: piece.file.clone(),
        number: piece.number,
        signer: name.to_string(),
        signed_by: signed.signer.clone(),
        statement,
        builder,
        times: signed.times.clone(),
        logs: signed.logs.iter().cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signed::{Certificate, Subject};

    /// Returns how many signers count. Each element of `signed` is the name of a signer and the subject of a
    /// certificate that matches this name.
    fn signers(signed: &[(&str, &str)]) -> usize {
        let mut count = Count { proofs: Vec::new(), voices: Vec::new(), reasons: Vec::new() };
        for (name, subject) in signed {
            let certificate = Certificate {
                issuer: "https://issuer.example".to_owned(),
                subject: Subject::Email((*subject).to_owned()),
                claims: BTreeMap::new(),
            };
            let proof = Proof {
                evidence: TargetPath::new("evidence").unwrap(),
                number: 1,
                signer: (*name).to_owned(),
                signed_by: SignedBy::Identity(certificate),
                statement: None,
                builder: None,
                times: Vec::new(),
                logs: Vec::new(),
            };
            count.accept(&SignerName::Own(Name::new(name).unwrap()), proof);
        }
        count.signers()
    }

    #[test]
    fn c_25_each_name_and_each_identity_counts_once() {
        assert_eq!(signers(&[]), 0);
        // A name whose patterns match two identities counts as one signer.
        assert_eq!(signers(&[("team", "a"), ("team", "b")]), 1);
        // An identity that two names match counts as one signer.
        assert_eq!(signers(&[("release", "a"), ("team", "a")]), 1);
        assert_eq!(signers(&[("release", "a"), ("team", "b")]), 2);
        // If two names match an identity, and one of them matches a second identity, both names count.
        assert_eq!(signers(&[("release", "a"), ("team", "a"), ("release", "b")]), 2);
        assert_eq!(signers(&[("release", "a"), ("team", "a"), ("team", "b")]), 2);
        assert_eq!(signers(&[("x", "a"), ("y", "a"), ("y", "b"), ("z", "b"), ("z", "c"), ("x", "c")]), 3);
    }
}
