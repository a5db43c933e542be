//! Formats a [`Verdict`], which says whether a package satisfies the policies, as text for people and as JSON.

use lastmile_attest::{Outcome, Proof, RuleVerdict, Verdict};
use lastmile_client::text::printable;
use serde_json::{Value, json};

pub(crate) fn json(verdict: &Verdict) -> Value {
    verdict.rules().iter().map(rule_json).collect()
}

fn rule_json(rule: &RuleVerdict) -> Value {
    let (outcome, found, proofs) = match &rule.outcome {
        Outcome::Satisfied(proofs) => ("satisfied", Vec::new(), proofs.iter().map(proof_json).collect()),
        Outcome::Refused(found) => ("refused", found.clone(), Vec::new()),
        Outcome::NeedsNewer(unknown) => ("needs-newer", vec![unknown.clone()], Vec::new()),
        Outcome::AllowedUpgrade(unknown) => ("allowed-upgrade", vec![unknown.clone()], Vec::new()),
    };
    json!({
        "role": rule.origin.to_string(), "rule": rule.rule.as_deref().unwrap_or("policy"), "kind": rule.kind, "wanted": rule.wanted, "outcome": outcome,
        "found": found, "proofs": proofs,
    })
}

fn proof_json(proof: &Proof) -> Value {
    json!({
        "evidence": proof.evidence.as_str(), "number": proof.number, "signer": proof.signer,
        "signed_by": proof.signed_by.to_string(), "statement": proof.statement,
        "builder": proof.builder.as_ref().map(|(name, level)| json!({ "name": name, "level": level })),
        "times": proof.times.iter().map(lastmile_metadata::format_time).collect::<Vec<_>>(), "logs": proof.logs,
    })
}

/// Describes, for each rule, what the rule requires and what was found.
pub(crate) fn lines(verdict: &Verdict) -> Vec<String> {
    let mut lines = Vec::new();
    for rule in verdict.rules() {
        let name = rule.name();
        let wanted = &rule.wanted;
        match &rule.outcome {
            Outcome::Satisfied(proofs) => {
                lines.push(format!("ok  {name} requires {wanted}"));
                lines.extend(proofs.iter().map(|proof| format!("      {}", proof_text(proof))));
            }
            Outcome::Refused(found) => {
                lines.push(format!("BAD {name} requires {wanted}"));
                lines.extend(found.iter().map(|found| format!("      found {found}")));
            }
            Outcome::NeedsNewer(unknown) => {
                lines.push(format!("BAD {name} needs a newer lastmile, because of {unknown}"));
            }
            Outcome::AllowedUpgrade(unknown) => {
                lines.push(format!(
                    "ok  {name}: older clients may install this package, although they do not understand {unknown}"
                ));
            }
        }
    }
    lines.iter().map(|line| printable(line)).collect()
}

fn proof_text(proof: &Proof) -> String {
    let mut text = format!("item {} of {}: signer {}, {}", proof.number, proof.evidence, proof.signer, proof.signed_by);
    if let Some((builder, level)) = &proof.builder {
        text += &format!(", builder {builder} of level {level}");
    }
    if let Some(time) = proof.times.first() {
        text += &format!(", signed {}", lastmile_metadata::format_time(time));
    }
    text
}
