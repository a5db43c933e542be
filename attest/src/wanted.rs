//! Describes what rules require, for verdicts that users read.

use crate::policy::{Credential, Demand, Parameters, Policy, Rule, SignerName, one_of};

/// Describes what a rule requires, such as "a signature by release (https://…)".
pub(crate) fn describe(policy: &Policy, rule: &Rule) -> String {
    match &rule.demand {
        Demand::Signature(demand) => match demand.threshold.get() {
            1 => format!("a signature by {}", signers(policy, &demand.by, "or")),
            threshold => format!("signatures by {threshold} of {}", signers(policy, &demand.by, "and")),
        },
        Demand::Attestation(demand) => {
            let types = one_of(&demand.types);
            let mut text = match demand.threshold.get() {
                1 => format!("an attestation of type {types} by {}", signers(policy, &demand.by, "or")),
                threshold => {
                    format!("attestations of type {types} by {threshold} of {}", signers(policy, &demand.by, "and"))
                }
            };
            for (index, (pointer, values)) in demand.allowed.iter().enumerate() {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                let start = if index == 0 { ", with" } else { " and" };
                text.push_str(&format!("{start} {} at {pointer}", values.join(" or ")));
            }
            text
        }
        Demand::Provenance(demand) => {
            let builders: Vec<String> = demand
                .builders
                .iter()
                .map(|name| match policy.builders.get(name) {
                    Some(builder) => format!("{name} ({})", one_of(&builder.id)),
                    None => name.to_string(),
                })
                .collect();
            let mut text = format!("provenance of at least level {} by {}", demand.level, builders.join(" or "));
            text.push_str(&format!(", for source {}", one_of(&demand.source)));
            if !demand.reference.is_empty() {
                text.push_str(&format!(" at ref {}", one_of(&demand.reference)));
            }
            match &demand.parameters {
                Parameters::Listed(listed) if listed.is_empty() => text.push_str(", without parameters"),
                Parameters::Listed(_) => text.push_str(", with no parameters except those that the rule lists"),
                Parameters::Any => {}
            }
            text
        }
        Demand::Unsupported { .. } => "a rule that this version of lastmile understands".into(),
    }
}

/// Returns the names of signers, joined with `conjunction`. If a signer in `policy` is a certificate holder, the name
/// is followed by the accepted subjects.
fn signers(policy: &Policy, names: &[SignerName], conjunction: &str) -> String {
    let describe = |name: &SignerName| {
        let SignerName::Own(own) = name else { return name.to_string() };
        match policy.signers.get(own).map(|signer| &signer.credential) {
            Some(Credential::Identity(identity)) => format!("{own} ({})", one_of(&identity.subject)),
            _ => own.to_string(),
        }
    };
    names.iter().map(describe).collect::<Vec<_>>().join(&format!(" {conjunction} "))
}
