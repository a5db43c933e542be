//! Reads the local policy from a file, and formats verdicts as text and as JSON. A verdict is the result of evaluating
//! the policies for a target.

use std::path::{Path, PathBuf};

use lastmile_attest::policy::to_json;
use lastmile_attest::{LocalPolicy, Origin, Outcome, Proof, RuleVerdict, SignedBy, Verdict};
use lastmile_metadata::{Key, format_time};
use serde_json::{Value, json};

use super::args::PolicyFile;
use super::setup::read_at_most;
use super::{App, Failure};
use crate::builder::UpdaterBuilder;
use crate::cli::repositories::Repository;
use crate::error::LocalError;

/// The maximum length, in bytes, of a file that contains a local policy.
const MAX_POLICY_LENGTH: u64 = 1024 * 1024;

impl App<'_> {
    /// A policy file given on the command line replaces the file in the settings of the repository.
    pub(super) fn with_local_policy(
        &self,
        builder: UpdaterBuilder,
        repository: &Repository,
        given: &PolicyFile,
    ) -> Result<UpdaterBuilder, Failure> {
        match given.path.as_ref().or(repository.settings.policy.as_ref()) {
            Some(path) => Ok(builder.local_policy(read(path)?)),
            None => Ok(builder),
        }
    }
}

/// Checks a file with a local policy, and returns its absolute path.
pub(super) fn checked(path: &Path) -> Result<PathBuf, Failure> {
    read(path)?;
    Ok(std::path::absolute(path).map_err(|error| LocalError::new("find", path, error))?)
}

fn read(path: &Path) -> Result<LocalPolicy, LocalError> {
    let unusable = |problem: String| {
        LocalError::invalid("use the local policy", path, problem)
            .with_hint("correct the file; to remove it from the settings of a repository, run `lastmile trust set NAME --no-policy`")
    };
    let json = to_json(&read_at_most(path, MAX_POLICY_LENGTH)?).map_err(|error| unusable(error.to_string()))?;
    LocalPolicy::parse(json.as_bytes()).map_err(|error| unusable(error.to_string()))
}

/// Returns a line that lists the rules that the target satisfies, or `None` if the target satisfies no rule.
pub(super) fn summary(verdict: &Verdict) -> Option<String> {
    let satisfied = verdict.rules().iter().filter(|rule| matches!(rule.outcome, Outcome::Satisfied(_)));
    let names: Vec<_> =
        satisfied.map(|rule| format!("{} ({})", rule.rule.as_deref().unwrap_or("policy"), rule.origin)).collect();
    if names.is_empty() { None } else { Some(format!("`{}` satisfies {}", verdict.path(), names.join(", "))) }
}

/// Returns the JSON document of a verdict, or `None` if no rule applies to the target.
pub(super) fn document(verdict: &Verdict) -> Option<Value> {
    if verdict.rules().is_empty() {
        return None;
    }
    let rules: Vec<_> = verdict.rules().iter().map(rule_document).collect();
    let is_satisfied = !verdict.rules().iter().any(|rule| is_refusal(&rule.outcome));
    Some(json!({ "satisfied": is_satisfied, "exception": verdict.exception(), "rules": rules }))
}

fn rule_document(rule: &RuleVerdict) -> Value {
    let role = match &rule.origin {
        Origin::Role(role) => Some(role.as_str()),
        Origin::Local => None,
    };
    let (outcome, proofs, found) = match &rule.outcome {
        Outcome::Satisfied(proofs) => ("satisfied", proofs.as_slice(), Vec::new()),
        Outcome::Refused(found) => ("refused", [].as_slice(), found.clone()),
        Outcome::NeedsNewer(unknown) => ("needs-newer", [].as_slice(), vec![unknown.clone()]),
        Outcome::AllowedUpgrade(unknown) => ("allowed-upgrade", [].as_slice(), vec![unknown.clone()]),
    };
    json!({
        "role": role, "rule": rule.rule.as_deref().unwrap_or("policy"), "kind": rule.kind, "wanted": rule.wanted, "outcome": outcome, "found": found,
        "proofs": proofs.iter().map(proof_document).collect::<Vec<_>>(),
    })
}

fn proof_document(proof: &Proof) -> Value {
    let signed_by = match &proof.signed_by {
        SignedBy::Key(key) => json!({ "keyid": Key::from_public(key).keyid().as_str() }),
        SignedBy::Identity(certificate) => {
            json!({ "subject": certificate.subject.as_str(), "issuer": certificate.issuer })
        }
    };
    let builder = proof.builder.as_ref().map(|(name, level)| json!({ "name": name, "level": level }));
    json!({
        "evidence": proof.evidence.as_str(), "number": proof.number, "signer": proof.signer, "signed_by": signed_by,
        "statement": proof.statement, "builder": builder, "logs": proof.logs,
        "times": proof.times.iter().map(format_time).collect::<Vec<_>>(),
    })
}

/// Returns the lines that explain a verdict. They show each rule and its requirement, with the proofs that satisfy the
/// rule or with what was found instead.
pub(super) fn lines(verdict: &Verdict) -> Vec<String> {
    let path = verdict.path();
    if verdict.rules().is_empty() {
        return vec![format!("{path}: no rule applies")];
    }
    let head = match (verdict.check(), verdict.exception()) {
        (_, Some(reason)) => format!("{path}: allowed only by an exception in the local policy; reason: {reason}"),
        (Ok(()), None) if verdict.rules().iter().any(|rule| matches!(rule.outcome, Outcome::AllowedUpgrade(_))) => {
            format!("{path}: allowed as an upgrade, although some rules need a newer lastmile")
        }
        (Ok(()), None) => format!("{path}: all rules are satisfied"),
        (Err(_), None) => format!("{path}: refused"),
    };
    let rules = verdict.rules().iter().flat_map(rule_lines);
    std::iter::once(head).chain(rules).collect()
}

fn rule_lines(rule: &RuleVerdict) -> Vec<String> {
    let outcome = match &rule.outcome {
        Outcome::Satisfied(_) => "satisfied",
        Outcome::Refused(_) => "not satisfied",
        Outcome::NeedsNewer(_) => "needs a newer lastmile",
        Outcome::AllowedUpgrade(_) => "needs a newer lastmile, but the policy lists this target under `upgrade`",
    };
    let mut lines = vec![format!("{} ({}): {outcome}", rule.name(), rule.kind), format!("  expected: {}", rule.wanted)];
    match &rule.outcome {
        Outcome::Satisfied(proofs) => {
            lines.extend(proofs.iter().map(|proof| format!("  proof: {}", proof_line(proof))))
        }
        Outcome::Refused(found) => lines.extend(found.iter().map(|found| format!("  found: {found}"))),
        Outcome::NeedsNewer(unknown) | Outcome::AllowedUpgrade(unknown) => {
            lines.push(format!("  not understood: {unknown}"));
        }
    }
    lines
}

fn proof_line(proof: &Proof) -> String {
    let mut line = format!("signed by {}, {}", proof.signer, proof.signed_by);
    if let Some((name, level)) = &proof.builder {
        line.push_str(&format!(", built by {name} (SLSA level {level})"));
    }
    let times: Vec<_> = proof.times.iter().map(format_time).collect();
    line.push_str(&if times.is_empty() {
        "; signing time: unknown".to_owned()
    } else {
        format!("; signing time: {}", times.join(", "))
    });
    let logs: Vec<_> = proof.logs.iter().map(|log| log.get(..8).unwrap_or(log)).collect();
    line.push_str(&if logs.is_empty() { "; log: none".to_owned() } else { format!("; log: {}", logs.join(", ")) });
    line.push_str(&format!("; evidence: item {} of {}", proof.number, proof.evidence));
    line
}

fn is_refusal(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(_) | Outcome::NeedsNewer(_))
}
