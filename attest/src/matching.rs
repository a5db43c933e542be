//! Checks whether verified evidence has the signer, statement, builder and source that a rule requires.

use crate::policy::{
    AttestationDemand, Builder, Credential, Identity, Parameters, Pattern, ProvenanceDemand, SignatureDemand, Signer,
    one_of,
};
use crate::signed::{Content, Signed, SignedBy, Subject};
use crate::slsa::Provenance;

impl Signer {
    /// Checks that a verified signature was made by this signer.
    pub(crate) fn check_claims(&self, signed_by: &SignedBy) -> Result<(), String> {
        match (&self.credential, signed_by) {
            (Credential::Key { key, .. }, SignedBy::Key(signed)) if key == signed => Ok(()),
            (Credential::Identity(identity), SignedBy::Identity(certificate)) => {
                if certificate.issuer != identity.issuer {
                    return Err(format!("the issuer is {}, expected {}", certificate.issuer, identity.issuer));
                }
                check_subject(identity, &certificate.subject)?;
                for (claim, patterns) in &identity.claims {
                    let value = certificate.claims.get(claim).ok_or_else(|| {
                        format!("the certificate has no claim {}, expected {}", claim.name(), one_of(patterns))
                    })?;
                    check(&format!("claim {}", claim.name()), value, patterns)?;
                }
                Ok(())
            }
            _ => Err("the evidence is not signed by this signer".into()),
        }
    }
}

/// Checks the subject of a certificate. A pattern that contains `://` matches only URIs, and any other pattern matches
/// only email addresses.
fn check_subject(identity: &Identity, subject: &Subject) -> Result<(), String> {
    let is_of_kind = |pattern: &&Pattern| match subject {
        Subject::Uri(_) => pattern.as_str().contains("://"),
        Subject::Email(_) => !pattern.as_str().contains("://"),
    };
    let matches = identity.subject.iter().filter(is_of_kind).any(|pattern| pattern.matches(subject.as_str()));
    if matches {
        return Ok(());
    }
    Err(format!("the evidence is signed by {}, expected {}", subject.as_str(), one_of(&identity.subject)))
}

/// Checks that evidence is a signature over the file itself, or a statement that counts as such a signature.
pub(crate) fn check_signature(signed: &Signed, demand: &SignatureDemand) -> Result<(), String> {
    match &signed.content {
        Content::File => Ok(()),
        Content::Statement(statement) => check("statement type", statement.predicate_type(), &demand.statements),
    }
}

pub(crate) fn check_attestation(signed: &Signed, demand: &AttestationDemand) -> Result<(), String> {
    let Content::Statement(statement) = &signed.content else {
        return Err("the evidence is a signature without a statement".into());
    };
    check("statement type", statement.predicate_type(), &demand.types)?;
    for (pointer, allowed) in &demand.allowed {
        let value = statement.predicate().pointer(pointer);
        let value = value.ok_or_else(|| format!("the predicate has nothing at {pointer}"))?;
        if !allowed.contains(value) {
            let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            return Err(format!("the predicate has {value} at {pointer}, expected {}", allowed.join(" or ")));
        }
    }
    Ok(())
}

/// Checks that evidence is provenance that names `builder` and satisfies `demand`. Returns the level that the
/// provenance proves.
pub(crate) fn check_provenance(signed: &Signed, builder: &Builder, demand: &ProvenanceDemand) -> Result<u8, String> {
    let Content::Statement(statement) = &signed.content else {
        return Err("the evidence is a signature without a statement".into());
    };
    if !Provenance::is_type(statement.predicate_type()) {
        return Err(format!("the statement type is {}, expected a type of provenance", statement.predicate_type()));
    }
    let provenance = Provenance::read(statement)?;
    if let SignedBy::Identity(certificate) = &signed.signer {
        provenance.check_certificate(certificate)?;
    }
    check("builder", &provenance.builder, &builder.id)?;
    if !builder.build_types.is_empty() {
        check("build type", &provenance.build_type, &builder.build_types)?;
    }
    let level = provenance.most_level(builder.level);
    if level < demand.level {
        return Err(format!(
            "the builder {} has level {level}, expected at least {}",
            provenance.builder, demand.level
        ));
    }
    check("source", &provenance.source, &demand.source)?;
    if !demand.reference.is_empty() {
        let reference = provenance.reference.as_deref().ok_or("the provenance names no ref")?;
        check("ref", reference, &demand.reference)?;
    }
    check_parameters(&provenance, &demand.parameters)?;
    Ok(level)
}

fn check_parameters(provenance: &Provenance, demand: &Parameters) -> Result<(), String> {
    let Parameters::Listed(listed) = demand else { return Ok(()) };
    let parameters = provenance.parameters.as_ref();
    let parameters = parameters.ok_or("the provenance does not record the parameters of the build")?;
    for (name, value) in parameters {
        let patterns =
            listed.get(name).ok_or_else(|| format!("the build has the parameter {name}, which is not allowed"))?;
        check(&format!("parameter {name}"), value, patterns)?;
    }
    Ok(())
}

fn check(what: &str, value: &str, patterns: &[Pattern]) -> Result<(), String> {
    if patterns.iter().any(|pattern| pattern.matches(value)) {
        return Ok(());
    }
    Err(format!("the {what} is {value}, expected {}", one_of(patterns)))
}

#[cfg(test)]
#[path = "matching_tests.rs"]
mod tests;
