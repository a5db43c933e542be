//! Attacks on the entries of transparency logs and on the times in these entries. The attacker has a signature by the
//! right workflow, for example because the workflow's short-lived key has leaked. The log that the policy trusts has
//! not recorded this signature.

use chrono::Duration;
use lastmile_testkit::sigstore::{self, Identity, Log, Sigstore, TimeAuthority, Verifier};
use serde_json::{Value, json};

use super::{
    ISSUER, instance, refused_evidence, signature, signed_by_workflow, under_with_root, workflow, workflow_policy,
};
use crate::{Case, EVIL, GOOD, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "7-other-entry",
        &["7-other-entry"],
        "the log entry of a bundle is for another signature, or for the certificate of another identity",
        "CVE-2022-36056, CVE-2026-22703, CVE-2022-23649, CVE-2024-51746",
        other_entry,
    ),
    Scenario::new(
        "7-log-proof",
        &["7-log-proof"],
        "the inclusion proof or the checkpoint of a log entry is changed, or belongs to another entry or another log",
        "sigstore-conformance",
        log_proof,
    ),
    Scenario::new(
        "7-unknown-log",
        &["7-unknown-log"],
        "no log has recorded the signature, or only the attacker's own log has recorded it",
        "CVE-2023-47122",
        unknown_log,
    ),
    Scenario::new(
        "7-log-time",
        &["7-log-time"],
        "the signed time of a log entry is missing, forged, changed or in the future",
        "sigstore-conformance",
        log_time,
    ),
    Scenario::new(
        "7-timestamp",
        &["7-timestamp"],
        "a Rekor v2 entry has no timestamp, or its timestamp is for another signature or from an untrusted authority",
        "CVE-2026-39984",
        timestamp,
    ),
    Scenario::new(
        "7-one-log",
        &["7-one-log"],
        "a policy requires two logs or two sources of time, but both log entries are from the same log",
        "CVE-2026-49834",
        one_log,
    ),
];

/// Returns a member of the first log entry in a bundle.
fn entry<'a>(bundle: &'a mut Value, pointer: &str) -> &'a mut Value {
    bundle.pointer_mut(&format!("/verificationMaterial/tlogEntries/0{pointer}")).expect("a member of an entry")
}

/// Returns evidence that the workflow has signed and only `log` has recorded.
fn recorded_by(log: &Log) -> Value {
    Sigstore { logs: vec![log.clone()], ..instance() }.attest(&workflow(), &signature(EVIL))
}

fn attackers_log() -> Log {
    Log::new("rekor.attacker.test")
}

fn other_entry() -> Vec<Case> {
    let honest = signed_by_workflow();
    let with_entry_of = |mut other: Value| {
        let mut bundle = recorded_by(&attackers_log());
        *entry(&mut bundle, "") = entry(&mut other, "").take();
        bundle.to_string()
    };
    let of_package = instance().attest(&workflow(), &signature(GOOD));
    let of_stranger = instance().attest(&Identity::uri(ISSUER, "https://forge.test/mallory/app"), &signature(EVIL));
    let because = "the log entry is for another signature";
    vec![
        refused_evidence(&honest, "the entry of another package", because, &[&with_entry_of(of_package)]),
        refused_evidence(&honest, "the entry of another identity", because, &[&with_entry_of(of_stranger)]),
    ]
}

/// Returns cases in which the trusted log has signed the time of the entry, but the proof that the log has recorded the
/// entry is forged.
fn log_proof() -> Vec<Case> {
    let second = Log::new("rekor2.sigstore.test");
    let both = Sigstore { logs: vec![instance().logs.remove(0), second.clone()], ..instance() };
    let evidence = instance().attest(&workflow(), &signature(GOOD)).to_string();
    let honest = under_with_root(workflow_policy(json!({})), &both.trusted_root(), &[&evidence]);
    let case = |sample: &str, because: &'static str, change: &dyn Fn(&mut Value)| {
        let mut bundle = instance().attest(&workflow(), &signature(EVIL));
        change(&mut bundle);
        refused_evidence(&honest, sample, because, &[&bundle.to_string()])
    };
    let proof_of = |mut other: Value| entry(&mut other, "/inclusionProof").take();
    let proofs = [
        proof_of(recorded_by(&attackers_log())),
        proof_of(recorded_by(&second)),
        proof_of(instance().attest(&workflow(), &signature(GOOD))),
    ];
    let hash = sigstore::base64([7; 32]);
    vec![
        case("of the attacker's log", "checkpoint", &|bundle| {
            *entry(bundle, "/inclusionProof") = proofs[0].clone();
        }),
        case("of the attacker's log, renamed", "checkpoint", &|bundle| {
            *entry(bundle, "/inclusionProof") = proofs[0].clone();
            let checkpoint = entry(bundle, "/inclusionProof/checkpoint/envelope");
            let text = checkpoint.as_str().expect("a text").replace("rekor.attacker.test", "rekor.sigstore.test");
            *checkpoint = text.into();
        }),
        case("of another trusted log", "is not signed by the log", &|bundle| {
            *entry(bundle, "/inclusionProof") = proofs[1].clone();
        }),
        case("of another entry", "inclusion proof", &|bundle| *entry(bundle, "/inclusionProof") = proofs[2].clone()),
        case("another hash of the tree", "differs from the hash in the checkpoint", &|bundle| {
            *entry(bundle, "/inclusionProof/rootHash") = hash.clone().into();
        }),
        case("one more hash", "inclusion proof", &|bundle| *entry(bundle, "/inclusionProof/hashes") = json!([hash])),
        case("a second note", "a checkpoint must consist of", &|bundle| {
            let checkpoint = entry(bundle, "/inclusionProof/checkpoint/envelope");
            *checkpoint = format!("{}\n\nanything", checkpoint.as_str().expect("a text")).into();
        }),
    ]
}

fn unknown_log() -> Vec<Case> {
    let honest = signed_by_workflow();
    let unrecorded = Sigstore { logs: Vec::new(), ..instance() }.attest(&workflow(), &signature(EVIL));
    let recorded = recorded_by(&attackers_log()).to_string();
    let root = Sigstore { logs: vec![attackers_log()], ..instance() }.trusted_root();
    let own_root = super::refused(&honest, "the attacker's trusted root", "No log key valid", |attacker| {
        super::add(attacker, "team/other", EVIL, &[&recorded]);
        let mut policy = workflow_policy(json!({}));
        policy["trust"]["public"]["root"] = json!("team/root.json");
        attacker.add_target("team", "team/root.json", root.to_string().as_bytes());
        attacker.signed("team")["x-lastmile-policy"] = policy;
    });
    vec![
        refused_evidence(&honest, "no entry", "0 distinct logs recorded the signature", &[&unrecorded.to_string()]),
        refused_evidence(&honest, "the attacker's log", "No log key valid", &[&recorded]),
        own_root,
    ]
}

fn log_time() -> Vec<Case> {
    let honest = signed_by_workflow();
    let case = |sample: &str, because: &'static str, change: &dyn Fn(&mut Value)| {
        let mut bundle = instance().attest(&workflow(), &signature(EVIL));
        change(&mut bundle);
        refused_evidence(&honest, sample, because, &[&bundle.to_string()])
    };
    let mut forged = recorded_by(&attackers_log());
    let forged = entry(&mut forged, "/inclusionPromise").take();
    let time = instance().recorded.timestamp();
    let later = Sigstore {
        issued: instance().issued + Duration::days(30),
        recorded: instance().recorded + Duration::days(30),
        ..instance()
    };
    let future = later.attest(&workflow(), &signature(EVIL)).to_string();
    let day = "2026-01-15T00:00:00Z";
    vec![
        case("missing", "the time of the signature is not trusted", &|bundle| {
            entry(bundle, "").as_object_mut().expect("an entry").remove("inclusionPromise");
        }),
        case("signed by another log", "SET verification failed", &|bundle| {
            *entry(bundle, "/inclusionPromise") = forged.clone();
        }),
        case("changed", "SET verification failed", &|bundle| {
            *entry(bundle, "/integratedTime") = (time + 1).to_string().into();
        }),
        case("absent", "is absent, but `inclusionPromise` signs it", &|bundle| {
            entry(bundle, "").as_object_mut().expect("an entry").remove("integratedTime");
        }),
        refused_evidence(&honest, "in the future", "is later than the start of the update", &[&future]).clock([day; 3]),
    ]
}

fn timestamp() -> Vec<Case> {
    let logs = vec![Log::v2("rekor2.sigstore.test")];
    let instance = Sigstore { logs, time_authorities: vec![TimeAuthority::new("times.sigstore.test")], ..instance() };
    let mut root = instance.trusted_root();
    root["timestampAuthorities"][0]["validFor"]["end"] = "2026-01-01T12:00:00Z".into();
    let evidence = instance.attest(&workflow(), &signature(GOOD)).to_string();
    let honest = under_with_root(workflow_policy(json!({})), &root, &[&evidence]);
    let stamped_by = |authorities: &[TimeAuthority]| {
        Sigstore { time_authorities: authorities.to_vec(), ..instance.clone() }.attest(&workflow(), &signature(EVIL))
    };
    let trusted = &instance.time_authorities[0];
    let impostor = TimeAuthority { key: TimeAuthority::new("attacker.test").key, ..trusted.clone() };
    let mut of_log = stamped_by(&[]);
    entry(&mut of_log, "")["integratedTime"] = instance.recorded.timestamp().to_string().into();
    let mut of_package = stamped_by(&[]);
    of_package["verificationMaterial"]["timestampVerificationData"] =
        instance.attest(&workflow(), &signature(GOOD))["verificationMaterial"]["timestampVerificationData"].take();
    let day = Duration::days(1);
    let expired = Sigstore { issued: instance.issued + day, recorded: instance.recorded + day, ..instance.clone() };
    let case = |sample: &str, because: &'static str, evidence: &Value| {
        refused_evidence(&honest, sample, because, &[&evidence.to_string()])
    };
    let unknown = "does not match any trusted TSA certificate";
    vec![
        case("none", "requires RFC3161 timestamp", &stamped_by(&[])),
        case("only the unsigned time of the entry", "requires RFC3161 timestamp", &of_log),
        case("of another signature", "hash mismatch", &of_package),
        case("of an unknown authority", unknown, &stamped_by(&[TimeAuthority::new("times.attacker.test")])),
        case(
            "with the name of the trusted authority",
            "Failed to verify timestamp signature",
            &stamped_by(&[impostor]),
        ),
        case(
            "of an unknown authority beside the trusted one",
            unknown,
            &stamped_by(&[trusted.clone(), TimeAuthority::new("x")]),
        ),
        case("of an expired authority", "outside the validity period", &expired.attest(&workflow(), &signature(EVIL))),
    ]
}

fn one_log() -> Vec<Case> {
    let logs = vec![Log::new("rekor.sigstore.test"), Log::new("rekor2.sigstore.test")];
    let both = Sigstore { logs, ..instance() };
    let honest = |demand: &str| {
        let evidence = both.attest(&workflow(), &signature(GOOD)).to_string();
        under_with_root(workflow_policy(json!({demand: 2})), &both.trusted_root(), &[&evidence])
    };
    let certificate = both.certificate(&workflow());
    let mut bundle = instance().attest(&workflow(), &signature(EVIL));
    let log = &both.logs[0];
    let body = log.body(&bundle["dsseEnvelope"], Verifier::Certificate(&certificate));
    // The second log entry differs from the first entry only in white space.
    let other_body = body.replacen('{', "{ ", 1);
    let entries = log.record_both([&body, &other_body], both.recorded);
    bundle["verificationMaterial"]["tlogEntries"] = entries.to_vec().into();
    let mut repeated = bundle.clone();
    let entry = repeated["verificationMaterial"]["tlogEntries"][0].clone();
    repeated["verificationMaterial"]["tlogEntries"] = json!([entry, entry]);
    let bundle = bundle.to_string();
    vec![
        refused_evidence(&honest("logs"), "as a log", "1 distinct logs recorded", &[&bundle]),
        refused_evidence(&honest("times"), "as a source of time", "1 distinct sources attest", &[&bundle]),
        refused_evidence(
            &honest("logs"),
            "the same entry",
            "the bundle contains a log entry twice",
            &[&repeated.to_string()],
        ),
    ]
}
