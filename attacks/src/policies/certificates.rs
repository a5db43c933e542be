//! Attacks on certificates: their validity period, their certificate authority, and the certificate transparency log.

use chrono::Duration;
use lastmile_testkit::sigstore::{Log, Sigstore};
use serde_json::json;

use super::{instance, refused_evidence, signature, signed_by_workflow, under_with_root, workflow, workflow_policy};
use crate::{Case, EVIL, GOOD, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "7-certificate-time",
        &["7-certificate-time"],
        "a signature was recorded when its certificate, or the certificate authority, was not valid",
        "CVE-2026-24122",
        certificate_time,
    ),
    Scenario::new(
        "7-certificate-log",
        &["7-certificate-log"],
        "a certificate is in no certificate transparency log, or only in one that the client does not trust",
        "sigstore-conformance",
        certificate_log,
    ),
    Scenario::new(
        "7-other-instance",
        &["7-other-instance"],
        "the evidence is from another Sigstore instance, whose certificates name the same identity",
        "a weakness that the policy format prevents",
        other_instance,
    ),
];

fn certificate_time() -> Vec<Case> {
    let mut root = instance().trusted_root();
    root["certificateAuthorities"][0]["validFor"]["end"] = "2026-01-01T12:00:00Z".into();
    let evidence = instance().attest(&workflow(), &signature(GOOD)).to_string();
    let honest = under_with_root(workflow_policy(json!({})), &root, &[&evidence]);
    let at = |issued: Duration, recorded: Duration| {
        let instance = instance();
        let (issued, recorded) = (instance.issued + issued, instance.recorded + recorded);
        Sigstore { issued, recorded, ..instance }.attest(&workflow(), &signature(EVIL)).to_string()
    };
    let [hour, day] = [Duration::hours(1), Duration::days(1)];
    vec![
        refused_evidence(&honest, "an expired certificate", "CertExpired", &[&at(Duration::zero(), hour)]),
        refused_evidence(
            &honest,
            "a certificate that is not valid yet",
            "CertNotValidYet",
            &[&at(hour, Duration::zero())],
        ),
        refused_evidence(&honest, "an expired authority", "no trusted certificate authority", &[&at(day, day)]),
    ]
}

fn certificate_log() -> Vec<Case> {
    let honest = signed_by_workflow();
    let recorded_by =
        |ct_log: Option<Log>| Sigstore { ct_log, ..instance() }.attest(&workflow(), &signature(EVIL)).to_string();
    vec![
        refused_evidence(&honest, "none", "certificate is missing SCT extension", &[&recorded_by(None)]),
        refused_evidence(
            &honest,
            "of the attacker",
            "key not found",
            &[&recorded_by(Some(Log::new("ct.attacker.test")))],
        ),
    ]
}

fn other_instance() -> Vec<Case> {
    let honest = signed_by_workflow();
    let staging = Sigstore::new("staging.test");
    let signed = |instance: &Sigstore| instance.attest(&workflow(), &signature(EVIL));
    let all = signed(&staging);
    let authority = signed(&Sigstore { ct_log: instance().ct_log, logs: instance().logs, ..staging.clone() });
    // This bundle also contains the certificate of the staging authority.
    let mut chain = authority.clone();
    let root = &staging.trusted_root()["certificateAuthorities"][0]["certChain"]["certificates"][0]["rawBytes"];
    let leaf = chain["verificationMaterial"]["certificate"].take();
    chain["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.2".into();
    let material = chain["verificationMaterial"].as_object_mut().expect("the material");
    material.remove("certificate");
    material.insert("x509CertificateChain".to_owned(), json!({"certificates": [leaf, {"rawBytes": root}]}));
    // The relaxed policy requires neither a transparency log nor a certificate transparency log. However, certificates
    // must still come from the Sigstore instance that the policy names.
    let relaxed = workflow_policy(json!({"log": "none", "sct": false}));
    let evidence = instance().attest(&workflow(), &signature(GOOD)).to_string();
    let relaxed = under_with_root(relaxed, &instance().trusted_root(), &[&evidence]);
    let bare = signed(&Sigstore { ct_log: None, logs: Vec::new(), ..staging });
    vec![
        refused_evidence(&honest, "the other logs and authority", "No log key valid", &[&all.to_string()]),
        refused_evidence(&honest, "the other authority", "UnknownIssuer", &[&authority.to_string()]),
        refused_evidence(&honest, "the other authority, in the bundle", "UnknownIssuer", &[&chain.to_string()]),
        refused_evidence(&relaxed, "under a relaxed policy", "UnknownIssuer", &[&authority.to_string()]),
        refused_evidence(&relaxed, "without a log", "at least one tlog entry or timestamp", &[&bare.to_string()]),
    ]
}
