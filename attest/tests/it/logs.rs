//! Attacks on log entries: entries for other signatures, entries from other logs, forged proofs, and logs counted
//! twice.

use lastmile_attest::{Evidence, LogDemand, Rejection, SctDemand, Signed, Trust, TrustDemands, TrustRoot};
use lastmile_keys::{PrivateKey, Scheme, Signer as _};
use serde_json::Value;

use crate::fixtures::*;
use crate::generated::{self, FILE, Log, Promise, body, bundle, key, message_signature};

fn p256() -> PrivateKey {
    key(Scheme::EcdsaP256, 1)
}

/// Verifies a bundle that is signed with [`p256`] and contains the log entries `entries`.
fn verify_entries(entries: &[Value], root: &TrustRoot, demands: TrustDemands) -> Result<Signed, Rejection> {
    let key = p256();
    let bundle = bundle(message_signature(&key), entries).to_string();
    let evidence = Evidence::parse(bundle.as_bytes()).unwrap();
    let trust = Trust { root, demands };
    let artifact = artifact(&generated::sha256(FILE));
    evidence.items()[0].verify_key(&artifact, key.public_key(), Some(&trust), now())
}

fn logs(number: u32) -> TrustDemands {
    TrustDemands { logs: number, ..TrustDemands::default() }
}

#[test]
fn c_1_the_log_entry_for_another_signature_is_refused() {
    let rejection = rejected(CVE_2022_36056, CVE_DIGEST, STAGING_ROOT);
    assert!(rejection.contains("the log entry is for another signature"), "{rejection}");
}

#[test]
fn c_1_the_log_entry_for_another_key_is_refused() {
    let log = Log::new(9);
    let root = generated::root(&[&log]);
    let other = body(&key(Scheme::EcdsaP256, 2), "");
    let rejection = verify_entries(&log.record(&[&other], Promise::Signed), &root, logs(1)).unwrap_err();
    assert!(rejection.to_string().contains("the log entry is for another signature"), "{rejection}");
    assert!(verify_entries(&log.record(&[&body(&p256(), "")], Promise::Signed), &root, logs(1)).is_ok());
}

#[test]
fn c_2_a_changed_inclusion_proof_or_checkpoint_is_refused() {
    for (pointer, error) in [
        ("/inclusionProof/rootHash", "differs from the hash in the checkpoint"),
        ("/inclusionProof/hashes/3", "inclusion proof"),
        ("/canonicalizedBody", "the body of a log entry is not strict JSON"),
        ("/logId/keyId", "log"),
    ] {
        for (bundle, digest, root) in [
            (CUSTOM_ISSUER, CUSTOM_ISSUER_DIGEST, PUBLIC_ROOT),
            (REKOR_V2_STATEMENT, REKOR_V2_STATEMENT_DIGEST, STAGING_ROOT),
        ] {
            let changed = with_entry(bundle, |entry| flip(entry.pointer_mut(pointer).unwrap()));
            let found = match Evidence::parse(&changed) {
                Ok(_) => rejected(&changed, digest, root),
                Err(error) => error.to_string(),
            };
            assert!(found.contains(error), "{pointer}: {found}");
        }
    }
}

#[test]
fn c_2_the_inclusion_proof_of_another_entry_is_refused() {
    let other: Value = serde_json::from_slice(REKOR_V2_FILE).unwrap();
    let other = &other["verificationMaterial"]["tlogEntries"][0];
    let swapped = with_entry(REKOR_V2_STATEMENT, |entry| {
        entry["inclusionProof"] = other["inclusionProof"].clone();
        entry["logIndex"] = other["logIndex"].clone();
    });
    let rejection = rejected(&swapped, REKOR_V2_STATEMENT_DIGEST, STAGING_ROOT);
    assert!(rejection.contains("inclusion proof"), "{rejection}");
}

#[test]
fn c_2_a_checkpoint_of_another_log_is_refused() {
    let named = Log::new(9);
    let other = Log::new(10);
    let root = generated::root(&[&named, &other]);
    // `sigstore-verify` accepts this bundle, because some trusted log signed the checkpoint, and the log ID itself is
    // not signed.
    let mut entries = other.record(&[&body(&p256(), "")], Promise::Absent);
    entries[0]["logId"]["keyId"] = named.key_id().into();
    let no_times = TrustDemands { times: 0, ..TrustDemands::default() };
    let rejection = verify_entries(&entries, &root, no_times).unwrap_err();
    assert!(rejection.to_string().contains("is not signed by the log"), "{rejection}");
    entries[0]["logId"]["keyId"] = other.key_id().into();
    assert!(verify_entries(&entries, &root, no_times).is_ok());
}

#[test]
fn c_2_a_checkpoint_signature_under_a_name_other_than_the_origin_is_refused() {
    for name in ["rekor.sigstore.de", "rekor.sigstore.dex", "rekor.sigstore.dev2", "evil", "rekor"] {
        let renamed = with_entry(CUSTOM_ISSUER, |entry| {
            let envelope = &mut entry["inclusionProof"]["checkpoint"]["envelope"];
            let line = format!("\u{2014} {name} ");
            *envelope = envelope.as_str().unwrap().replace("\u{2014} rekor.sigstore.dev ", &line).into();
        });
        let rejection = rejected(&renamed, CUSTOM_ISSUER_DIGEST, PUBLIC_ROOT);
        assert!(rejection.contains("is not signed by the log"), "{name}: {rejection}");
    }
}

#[test]
fn c_2_a_second_note_after_the_checkpoint_is_refused() {
    let hidden = with_entry(CUSTOM_ISSUER, |entry| {
        let envelope = &mut entry["inclusionProof"]["checkpoint"]["envelope"];
        *envelope = format!("{}\n\nanything", envelope.as_str().unwrap()).into();
    });
    assert!(unreadable(&hidden).contains("a checkpoint must consist of a text, an empty line and signatures"));
}

#[test]
fn c_7_one_log_counts_once() {
    let log = Log::new(9);
    let root = generated::root(&[&log]);
    let entries = log.record(&[&body(&p256(), ""), &body(&p256(), " ")], Promise::Signed);
    assert_eq!(verify_entries(&entries, &root, logs(1)).unwrap().logs.len(), 1);
    let rejection = verify_entries(&entries, &root, logs(2)).unwrap_err();
    assert_eq!(rejection, Rejection::TooFewLogs { found: 1, expected: 2 });
}

#[test]
fn c_7_two_logs_count_twice() {
    let first = Log::new(9);
    let second = Log::new(10);
    let body = body(&p256(), "");
    let entries = [first.record(&[&body], Promise::Signed), second.record(&[&body], Promise::Signed)].concat();
    let signed = verify_entries(&entries, &generated::root(&[&first, &second]), logs(2)).unwrap();
    assert_eq!(signed.logs.len(), 2);
}

#[test]
fn c_7_one_log_under_two_ids_counts_once() {
    let log = Log::new(9);
    let mut json = generated::root_json(&[&log, &log]);
    json["tlogs"][1]["logId"]["keyId"] = Log::new(10).key_id().into();
    let error = TrustRoot::parse(json.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "the trusted root lists one key under two log IDs");
}

#[test]
fn c_7_the_same_entry_twice_is_refused() {
    let twice = changed(CUSTOM_ISSUER, |bundle| {
        let entries = bundle["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap();
        entries.push(entries[0].clone());
    });
    assert!(unreadable(&twice).contains("the bundle contains a log entry twice"));
    // The log index of a Rekor v1 entry counts the entries of all shards, so it cannot be compared with the index in
    // the inclusion proof. Only the log's signature over the log index reveals that the log index was changed.
    let other_index =
        changed(&twice, |bundle| bundle["verificationMaterial"]["tlogEntries"][1]["logIndex"] = "7".into());
    assert!(unreadable(&other_index).contains("the bundle contains a log entry twice"));
}

#[test]
fn c_7_a_threshold_of_0_logs_counts_as_1() {
    let root = generated::root(&[&Log::new(9)]);
    assert_eq!(verify_entries(&[], &root, logs(0)).unwrap_err(), Rejection::TooFewLogs { found: 0, expected: 1 });
}

#[test]
fn c_7_evidence_without_a_log_entry_is_refused_if_a_log_is_demanded() {
    let rejection = rejected(NO_LOG_ENTRY, NO_LOG_ENTRY_DIGEST, STAGING_ROOT);
    assert_eq!(rejection, "0 distinct logs recorded the signature, expected at least 1");
}

#[test]
fn c_9_a_certificate_from_an_unknown_transparency_log_is_refused() {
    // The trusted root lists two certificate transparency logs. Only the second log recorded this certificate; the
    // first log was retired in 2022.
    let first_only = changed(PUBLIC_ROOT, |root| drop(root["ctlogs"].as_array_mut().unwrap().pop()));
    let rejection = rejected(CUSTOM_ISSUER, CUSTOM_ISSUER_DIGEST, &first_only);
    assert!(rejection.contains("signed certificate timestamp"), "{rejection}");
}

#[test]
fn c_10_evidence_of_another_instance_is_refused() {
    assert!(verify(FILE_V0_3, FILE_V0_3_DIGEST, &root(STAGING_ROOT)).is_ok());
    for (evidence, digest, root) in [
        (FILE_V0_3, FILE_V0_3_DIGEST, PUBLIC_ROOT),
        (CUSTOM_ISSUER, CUSTOM_ISSUER_DIGEST, STAGING_ROOT),
        (REKOR_V2_FILE, REKOR_V2_FILE_DIGEST, PUBLIC_ROOT),
    ] {
        rejected(evidence, digest, root);
    }
}

#[test]
fn c_10_relaxed_demands_do_not_admit_another_instance() {
    let demands = TrustDemands { log: LogDemand::None, sct: SctDemand::None, ..TrustDemands::default() };
    let rejection = verify_with(GITHUB_PRIVATE, GITHUB_PRIVATE_DIGEST, &root(PUBLIC_ROOT), demands).unwrap_err();
    assert!(matches!(rejection, Rejection::Timestamp(_)), "{rejection}");
}

#[test]
fn c_10_entries_are_verified_even_if_no_log_is_demanded() {
    let demands = TrustDemands { log: LogDemand::None, ..TrustDemands::default() };
    let forged = with_entry(CUSTOM_ISSUER, |entry| flip(&mut entry["inclusionProof"]["hashes"][3]));
    let rejection = verify_with(&forged, CUSTOM_ISSUER_DIGEST, &root(PUBLIC_ROOT), demands).unwrap_err();
    assert!(rejection.to_string().contains("inclusion proof"), "{rejection}");
}

#[test]
fn c_11_an_entry_of_an_unknown_log_is_refused() {
    let entries = Log::new(9).record(&[&body(&p256(), "")], Promise::Signed);
    let rejection = verify_entries(&entries, &generated::root(&[&Log::new(10)]), logs(1)).unwrap_err();
    assert!(matches!(rejection, Rejection::Log(_)), "{rejection}");
}
