//! Describes the requirements of rules, for the user to whom a verdict is shown.

use crate::policy::{Credential, Demand, Parameters, Policy, Rule, SignerName, one_of};

/// Describes the requirement of a rule, such as "a signature by release (https://…)".
pub(crate) fn describe(policy: &Policy, rule: &Rule) -> String {
    match &rule.demand {
        Demand::Signature(demand) => match demand.threshold.get() {
            1 => format!("a signature by {}", signers(policy, &demand.by)),
            threshold => format!("signatures by {threshold} of {}", signers(policy, &demand.by)),
        },
        Demand::Attestation(demand) => {
            let mut text = format!("an attestation of type {}", one_of(&demand.types));
            for (pointer, values) in &demand.allowed {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                text.push_str(&format!(" with {} at {pointer}", values.join(" or ")));
            }
            match demand.threshold.get() {
                1 => text.push_str(&format!(" by {}", signers(policy, &demand.by))),
                threshold => text.push_str(&format!(" by {threshold} of {}", signers(policy, &demand.by))),
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
            let mut text = format!("provenance of level {} by {}", demand.level, builders.join(" or "));
            text.push_str(&format!(" from {}", one_of(&demand.source)));
            if !demand.reference.is_empty() {
                text.push_str(&format!(" at {}", one_of(&demand.reference)));
            }
            match &demand.parameters {
                Parameters::Listed(listed) if listed.is_empty() => text.push_str(" without parameters"),
                Parameters::Listed(_) => text.push_str(" with only the listed parameters"),
                Parameters::Any => {}
            }
            text
        }
        Demand::Unsupported { .. } => "a client that understands the rule".into(),
    }
}

fn signers(policy: &Policy, names: &[SignerName]) -> String {
    let describe = |name: &SignerName| {
        let SignerName::Own(own) = name else { return name.to_string() };
        match policy.signers.get(own).map(|signer| &signer.credential) {
            Some(Credential::Identity(identity)) => format!("{own} ({})", one_of(&identity.subject)),
            _ => own.to_string(),
        }
    };
    names.iter().map(describe).collect::<Vec<_>>().join(" or ")
}
